//! The table of settings as the README shows it. A test holds the two against each other, so that the
//! documentation cannot fall behind the code.

use std::fmt::Write as _;

use super::table::SETTINGS;

/// Every setting as one row of a Markdown table.
pub(crate) fn markdown() -> String {
    let mut text = String::from(
        "| Key | Environment variable | Default | What it is | Allowed |\n|---|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let default = match setting.kind.shown(setting.default) {
            shown if shown.is_empty() => "nothing".to_owned(),
            shown => format!("`{shown}`"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | `{}` | {default} | {} | {} |",
            setting.key,
            setting.env,
            setting.doc,
            setting.kind.allowed()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fs};

    use super::{SETTINGS, markdown};

    const ROOT: &str = env!("CARGO_MANIFEST_DIR");
    const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    /// What reads like a setting and is an exchange, a routing key or the end of a sentence.
    const OTHERS: [&str; 5] =
        ["dispatch.events", "dispatch.completed", "dispatch.cancelled", "dispatch.stuck", "http."];

    #[test]
    fn readme_documents_every_setting() {
        let readme = std::fs::read_to_string(README).expect("README.md can be read");
        let (_, rest) = readme.split_once("<!-- settings -->").expect("README.md has the marker");
        let (section, _) = rest.split_once("<!-- /settings -->").expect("README.md has the end marker");
        let message =
            "README.md is behind: put the output of `waybill config --markdown` between the markers";
        assert_eq!(section.trim(), markdown().trim(), "{message}");
    }

    #[test]
    fn every_setting_that_the_documentation_names_is_there() {
        let keys: HashSet<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        let groups: HashSet<_> =
            keys.iter().filter_map(|key| key.split_once('.')).map(|(group, _)| group).collect();
        let guides = fs::read_dir(format!("{ROOT}/docs")).expect("docs can be read");
        let guides = guides.map(|entry| entry.expect("docs can be read").path());
        let mut named = HashSet::new();
        for path in
            guides.filter(|path| path.extension().is_some_and(|kind| kind == "md")).chain([README.into()])
        {
            let text = fs::read_to_string(&path).expect("a guide can be read");
            for name in text.split('`').filter_map(|code| code.split('=').next()) {
                let is_key = name.chars().all(|letter| letter.is_ascii_lowercase() || "._".contains(letter));
                let group = name.split_once('.').map_or("", |(group, _)| group);
                if is_key && groups.contains(group) && !OTHERS.contains(&name) {
                    assert!(keys.contains(name), "{}: there is no setting {name}", path.display());
                    named.insert(name.to_owned());
                }
            }
        }
        assert!(named.len() > 50, "few are found: {named:?}");
    }
}
