//! The bill of materials is whole: what is linked into the program, or built with it, is named.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn every_package_of_the_lock_file_is_named_with_its_licence_and_its_checksum() {
    let lock: toml::Table = fs::read_to_string(format!("{ROOT}/Cargo.lock")).unwrap().parse().unwrap();
    let text = |package: &toml::Value, key: &str| Some(package.get(key)?.as_str()?.to_owned());
    let locked: BTreeSet<_> = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (text(package, "name"), text(package, "version"), text(package, "checksum")))
        .collect();

    let Ok(output) = Command::new("python3").arg(format!("{ROOT}/deploy/scripts/sbom.py")).output() else {
        eprintln!("SKIPPED: there is no python3");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bom: Value = serde_json::from_slice(&output.stdout).unwrap();
    let program = &bom["metadata"]["component"];
    let components = bom["components"].as_array().unwrap().iter().chain([program]);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let named: BTreeSet<_> = components
        .clone()
        .map(|it| (text(&it["name"]), text(&it["version"]), text(&it["hashes"][0]["content"])))
        .collect();
    assert_eq!(named, locked);
    let bare: Vec<_> = components.filter(|it| it["licenses"][0]["expression"].is_null()).collect();
    assert!(bare.is_empty(), "without a licence: {bare:?}");
}
