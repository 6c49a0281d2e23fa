//! Every setting as a TOML file in which each stands explained and commented out, so that the file as it is
//! changes nothing. `deploy/waybill.toml` is this; a test holds the two against each other.

use std::fmt::Write as _;

use super::{
    setting::{Kind, Setting},
    table::SETTINGS,
    value,
};

const HEAD: &str = "\
# Every setting of Waybill with its default, as `waybill config --toml` prints it. Uncomment what you want to change, and
# start with `waybill serve --config waybill.toml`. The environment and flags win over this file. Passwords are better
# kept in the environment.
";

/// The whole file.
pub(crate) fn sample() -> String {
    let mut text = HEAD.to_owned();
    // TOML has no way back to the top: what is in no table comes first.
    for setting in SETTINGS.iter().filter(|setting| table_of(setting).is_none()) {
        describe(&mut text, setting);
    }
    let mut tables: Vec<&str> = Vec::new();
    for table in SETTINGS.iter().filter_map(table_of) {
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    for table in tables {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n[{table}]\n");
        for setting in SETTINGS.iter().filter(|setting| table_of(setting) == Some(table)) {
            describe(&mut text, setting);
        }
    }
    text
}

fn table_of(setting: &Setting) -> Option<&'static str> {
    setting.key.rsplit_once('.').map(|(table, _)| table)
}

fn describe(text: &mut String, setting: &Setting) {
    let Setting { key, env, default, kind, doc } = setting;
    let name = key.rsplit('.').next().unwrap_or(key);
    let _ = write!(
        text,
        "\n## {doc}.\n## Allowed: {}. Environment: {env}\n#{name} = {}\n",
        kind.allowed(),
        written(*kind, default)
    );
}

fn written(kind: Kind, default: &str) -> toml::Value {
    match kind {
        Kind::Switch => default.parse().map_or_else(|_| default.into(), toml::Value::Boolean),
        Kind::Count { .. } => default.parse().map_or_else(|_| default.into(), toml::Value::Integer),
        list if list.is_list() => value::items(default).into(),
        _ => default.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{SETTINGS, sample};
    use crate::config::file;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/waybill.toml");

    #[test]
    fn the_sample_file_is_what_the_program_prints() {
        let kept = std::fs::read_to_string(FILE).expect("deploy/waybill.toml can be read");
        assert_eq!(kept, sample(), "waybill config --toml > deploy/waybill.toml");
    }

    #[test]
    fn the_sample_changes_nothing_until_something_is_uncommented() {
        let (entries, problems) = file::parse(&sample(), "sample");
        assert!(entries.is_empty() && problems.is_empty(), "{entries:?} {problems:?}");
    }

    #[test]
    fn uncommented_it_sets_every_setting_to_its_default() {
        let uncommented: String = sample()
            .lines()
            .filter(|line| !line.starts_with("##") && !line.starts_with("# "))
            .map(|line| line.strip_prefix('#').unwrap_or(line).to_owned() + "\n")
            .collect();
        let (mut entries, problems) = file::parse(&uncommented, "sample");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(entries.len(), SETTINGS.len());
        entries.sort_by_key(|entry| SETTINGS.iter().position(|setting| setting.key == entry.setting.key));
        for (entry, setting) in entries.iter().zip(SETTINGS) {
            let read = |text| setting.kind.parse(text).expect("a default is allowed");
            assert_eq!((entry.setting.key, read(&entry.text)), (setting.key, read(setting.default)));
        }
    }
}
