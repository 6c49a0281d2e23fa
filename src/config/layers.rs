//! Puts the layers on top of each other: defaults, then the file, then the environment, then flags.
//! The environment comes in as an argument, so that a test has its own.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use super::{
    error::{ConfigError, Problem},
    file,
    setting::Setting,
    source::Source,
    table::{self, SETTINGS},
    value::Value,
};

/// Names that begin like ours and are not settings.
const OTHER_PREFIX: &str = "WAYBILL_TEST_";
const OTHER_NAMES: [&str; 6] = [
    "WAYBILL_ENDPOINT",
    "WAYBILL_TLS_CA",
    "WAYBILL_TLS_CERTIFICATE",
    "WAYBILL_TLS_KEY",
    "WAYBILL_TOKEN",
    "WAYBILL_TOKEN_FILE",
];

/// What the layers above the defaults are made from.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    pub(crate) file: Option<PathBuf>,
    /// The whole environment; names that are not ours are left alone.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Later ones win.
    pub(crate) flags: Vec<Flag>,
}

/// A setting given on the command line.
#[derive(Debug)]
pub(crate) struct Flag {
    /// The flag as it was typed, for example `--set`.
    pub(crate) name: &'static str,
    pub(crate) key: String,
    pub(crate) text: String,
}

/// A setting, the text that holds for it and where that came from.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) setting: &'static Setting,
    pub(crate) text: String,
    pub(crate) source: Source,
}

/// Every setting once, in the order of the table.
pub(super) type Entries = Vec<Entry>;

/// Every value, by key.
pub(super) type Values = BTreeMap<&'static str, Value>;

/// Stacks the layers and reads every value that holds. A bad value that a stronger layer replaces is
/// not looked at; an unknown name is an error in whichever layer it stands.
pub(super) fn stack(inputs: &Inputs) -> Result<(Entries, Values), ConfigError> {
    let mut errors = ConfigError::default();
    let mut holding: BTreeMap<&'static str, Entry> = BTreeMap::new();
    let (file, problems) = inputs.file.as_deref().map(file::read).unwrap_or_default();
    for problem in problems {
        errors.push(problem);
    }
    for entry in defaults().chain(file) {
        holding.insert(entry.setting.key, entry);
    }
    let named = inputs.environment.iter().filter_map(variable).chain(inputs.flags.iter().map(flag));
    for entry in named {
        match entry {
            Ok(entry) => drop(holding.insert(entry.setting.key, entry)),
            Err(problem) => errors.push(problem),
        }
    }
    let entries: Entries = SETTINGS.iter().filter_map(|setting| holding.remove(setting.key)).collect();
    let values = read(&entries, &mut errors);
    errors.into_result().map(|()| (entries, values))
}

fn defaults() -> impl Iterator<Item = Entry> {
    SETTINGS.iter().map(|setting| Entry {
        setting,
        text: setting.default.to_owned(),
        source: Source::Default,
    })
}

fn variable((name, text): &(OsString, OsString)) -> Option<Result<Entry, Problem>> {
    let name = name.to_str().filter(|name| name.starts_with("WAYBILL_"))?;
    if name.starts_with(OTHER_PREFIX) || OTHER_NAMES.contains(&name) {
        return None;
    }
    let source = Source::Environment(name.to_owned());
    let Some(setting) = table::by_env(name) else {
        let known = SETTINGS.iter().map(|setting| setting.env);
        return Some(Err(Problem::unknown(name, source, known)));
    };
    Some(match text.to_str() {
        Some(text) => Ok(Entry { setting, text: text.to_owned(), source }),
        None => Err(Problem::bad(setting, &text.to_string_lossy(), source, "is not UTF-8")),
    })
}

fn flag(flag: &Flag) -> Result<Entry, Problem> {
    let source = Source::Flag(flag.name);
    match table::by_key(&flag.key) {
        Some(setting) => Ok(Entry { setting, text: flag.text.clone(), source }),
        None => Err(Problem::unknown(&flag.key, source, SETTINGS.iter().map(|setting| setting.key))),
    }
}

fn read(entries: &[Entry], errors: &mut ConfigError) -> Values {
    let mut values = Values::new();
    for Entry { setting, text, source } in entries {
        match setting.kind.parse(text) {
            Ok(value) => drop(values.insert(setting.key, value)),
            Err(what) => errors.push(Problem::bad(setting, text, source.clone(), what)),
        }
    }
    values
}
