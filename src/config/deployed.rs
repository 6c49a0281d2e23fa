//! What the files below `deploy/` set is a setting, and its value is one that it accepts.

use std::{fs, path::Path};

use super::table;

const FILES: [&str; 7] = [
    "Dockerfile",
    "compose.yaml",
    "kubernetes/settings.yaml",
    "kubernetes/gateway.yaml",
    "kubernetes/saga.yaml",
    "systemd/gateway.env",
    "systemd/workers.env",
];

/// Every `WAYBILL_…` that is given a value in `text`, as an environment, as YAML or in a pair of name and value.
fn given(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        for (at, _) in line.match_indices("WAYBILL_") {
            let rest = &line[at..];
            let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(rest.len());
            let (name, rest) = rest.split_at(end);
            let value = rest.trim_start_matches([':', '=', ' ']).trim_start_matches(", value: ");
            let value = value.split([' ', '}']).next().unwrap_or_default().trim_matches('"');
            found.push((name.to_owned(), value.to_owned()));
        }
    }
    found
}

/// With each `${VARIABLE:-default}` as its default.
fn filled(text: &str) -> String {
    let mut parts = text.split("${");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').unwrap();
        filled += variable.split_once(":-").unwrap().1;
        filled += rest;
    }
    filled
}

#[test]
fn every_setting_that_a_deployment_sets_is_one_with_a_value_that_it_accepts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for file in FILES {
        let pairs = given(&filled(&fs::read_to_string(folder.join(file)).unwrap()));
        assert!(!pairs.is_empty(), "{file}");
        for (name, value) in pairs {
            let setting = table::by_env(&name).unwrap_or_else(|| panic!("{file}: {name} is no setting"));
            let read = setting.kind.parse(&value);
            assert!(read.is_ok(), "{file}: {name} = {value:?}: {read:?}");
        }
    }
}
