//! The TOML layer. Nested tables are dotted keys; a value becomes the text that an environment
//! variable would hold, so that every layer is checked by the same reader.

use std::{fs, path::Path};

use toml::{Table, Value};

use super::{
    error::Problem,
    layers::Entry,
    source::Source,
    table::{self, SETTINGS},
};

/// Reads a file into entries; what is wrong is collected beside them.
pub(super) fn read(path: &Path) -> (Vec<Entry>, Vec<Problem>) {
    let name = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => parse(&text, &name),
        Err(error) => {
            let what = format!("cannot be read: {error}");
            (Vec::new(), vec![Problem::Unreadable { source: Source::File(name), what }])
        }
    }
}

/// As [`read`], of text that is already there.
pub(super) fn parse(text: &str, name: &str) -> (Vec<Entry>, Vec<Problem>) {
    let source = Source::File(name.to_owned());
    let mut found = (Vec::new(), Vec::new());
    match text.parse::<Table>() {
        Ok(table) => walk(&table, "", &source, &mut found),
        Err(error) => {
            // The error's own text would quote the line, and with it perhaps a password.
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            let what = format!("is no TOML: line {line}: {}", error.message());
            found.1.push(Problem::Unreadable { source, what });
        }
    }
    found
}

fn walk(table: &Table, prefix: &str, source: &Source, found: &mut (Vec<Entry>, Vec<Problem>)) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match (table::by_key(&key), value) {
            (None, Value::Table(inner)) => walk(inner, &key, source, found),
            (None, _) => {
                let known = SETTINGS.iter().map(|setting| setting.key);
                found.1.push(Problem::unknown(&key, source.clone(), known));
            }
            (Some(setting), value) => match text_of(value, setting.kind.is_list()) {
                Ok(text) => found.0.push(Entry { setting, text, source: source.clone() }),
                Err(what) => {
                    let shown = value.to_string();
                    found.1.push(Problem::bad(setting, &shown, source.clone(), what));
                }
            },
        }
    }
}

fn text_of(value: &Value, list: bool) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(switch) => Ok(switch.to_string()),
        Value::Array(items) if list => join(items),
        Value::Array(_) => Err("is a list"),
        Value::Float(_) => Err("is a floating-point number"),
        Value::Datetime(_) => Err("is a date"),
        Value::Table(_) => Err("is a table"),
    }
}

fn join(items: &[Value]) -> Result<String, &'static str> {
    let mut texts = Vec::new();
    for item in items {
        match item {
            Value::String(text) if !text.contains(',') => texts.push(text.as_str()),
            _ => return Err("holds an item that is no text without a comma"),
        }
    }
    Ok(texts.join(","))
}
