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
    use super::markdown;

    const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

    #[test]
    fn readme_documents_every_setting() {
        let readme = std::fs::read_to_string(README).expect("README.md can be read");
        let (_, rest) = readme.split_once("<!-- settings -->").expect("README.md has the marker");
        let (section, _) = rest.split_once("<!-- /settings -->").expect("README.md has the end marker");
        let message =
            "README.md is behind: put the output of `waybill config --markdown` between the markers";
        assert_eq!(section.trim(), markdown().trim(), "{message}");
    }
}
