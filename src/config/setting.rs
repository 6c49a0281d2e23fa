//! What one setting is: its names, its default, what it accepts and what it is for. The table in
//! `table.rs` is made of these, and nothing else in the program knows a key by heart without it.

use std::time::Duration;

use super::{
    money::Money,
    role::Role,
    url::SecretUrl,
    value::{self, Value},
};

/// One line of the table of settings.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Dotted name, as in the TOML file and in `--set`.
    pub(crate) key: &'static str,
    /// Environment variable.
    pub(crate) env: &'static str,
    /// Text that holds when no layer sets it.
    pub(crate) default: &'static str,
    pub(crate) kind: Kind,
    /// One line for people, without a full stop.
    pub(crate) doc: &'static str,
}

/// What a setting accepts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A URL that may hold a password and begins with one of these. An optional one may be empty.
    Url { schemes: &'static [&'static str], optional: bool },
    /// Visible ASCII characters, at most `max`; may be empty.
    Name { max: usize },
    /// Path of a file; may be empty. Whether it is there shows when it is read.
    File,
    /// IP address and port.
    Address,
    /// A whole number.
    Count { min: u64, max: u64 },
    /// A whole number, or `none`.
    OptionalCount { min: u64, max: u64 },
    /// A time with its unit.
    Time { min: Duration, max: Duration },
    /// A time with its unit, or `none`.
    OptionalTime { min: Duration, max: Duration },
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Names of roles, at least one.
    Roles,
    /// Names of roles that are participants; may be empty.
    Participants,
    /// Items separated by commas; may be empty.
    List,
    /// Origins of web pages, separated by commas; may be empty.
    Origins,
    /// Whole numbers from 1, separated by commas; may be empty.
    Versions,
    /// Codes, or prefixes that end in `*`, separated by commas; may be empty.
    Patterns,
    /// An amount and its currency.
    Money,
}

impl Kind {
    /// Turns text into a value that cannot be wrong, or says what is wrong with it.
    pub(crate) fn parse(&self, text: &str) -> Result<Value, String> {
        match *self {
            Self::Url { schemes, optional } => value::url(text, schemes, optional),
            Self::Name { max } => value::name(text, max),
            Self::File => value::file(text),
            Self::Address => value::address(text),
            Self::Count { min, max } => value::count(text, min, max).map(Value::Count),
            Self::OptionalCount { min, max } => value::optional_count(text, min, max),
            Self::Time { min, max } => value::time(text, min, max),
            Self::OptionalTime { min, max } => value::optional_time(text, min, max),
            Self::Switch => value::switch(text),
            Self::Choice(words) => value::choice(text, words),
            Self::Roles => Role::parse_list(text).map(Value::Roles),
            Self::Participants => Role::parse_participants(text).map(Value::Roles),
            Self::List => Ok(Value::List(value::items(text))),
            Self::Origins => value::origins(text),
            Self::Versions => value::versions(text),
            Self::Patterns => value::patterns(text),
            Self::Money => text.parse::<Money>().map(Value::Money).map_err(|error| error.to_string()),
        }
    }

    /// What is allowed, for error messages and the documentation.
    pub(crate) fn allowed(&self) -> String {
        match *self {
            Self::Url { schemes, optional } => {
                let or_empty = if optional { ", or nothing" } else { "" };
                format!("a URL that begins with {}{or_empty}", quoted(schemes))
            }
            Self::Name { max } => format!("at most {max} visible ASCII characters"),
            Self::File => "the path of a file, or nothing".to_owned(),
            Self::Address => "an IP address and a port, such as `127.0.0.1:50051` or `[::]:50051`".to_owned(),
            Self::Count { min, max } => format!("a whole number from {min} to {max}"),
            Self::OptionalCount { min, max } => format!("`none` or a whole number from {min} to {max}"),
            Self::Time { min, max } => time(min, max),
            Self::OptionalTime { min, max } => format!("`none` or {}", time(min, max)),
            Self::Switch => "`true` or `false`".to_owned(),
            Self::Choice(words) => format!("one of {}", quoted(words)),
            Self::Roles => format!("a list of {}", quoted(&Role::NAMES)),
            Self::Participants => "a list of `order`, `payment`, `dispatch`, or nothing".to_owned(),
            Self::List => "a list separated by commas".to_owned(),
            Self::Origins => "a list of origins, such as `https://shop.example`, or nothing".to_owned(),
            Self::Versions => "a list of versions, such as `1,2`, or nothing".to_owned(),
            Self::Patterns => "a list of codes, or prefixes that end in `*`, separated by commas".to_owned(),
            Self::Money => "an amount and its currency, such as `1000.00 EUR`".to_owned(),
        }
    }

    /// Whether a TOML array is a way to write it.
    pub(crate) fn is_list(&self) -> bool {
        matches!(
            self,
            Self::Roles | Self::Participants | Self::List | Self::Origins | Self::Versions | Self::Patterns
        )
    }

    /// The text as it may be shown: without passwords.
    pub(crate) fn shown(&self, text: &str) -> String {
        match self {
            Self::Url { .. } => SecretUrl::new(text).to_string(),
            _ => text.to_owned(),
        }
    }
}

fn time(min: Duration, max: Duration) -> String {
    let [min, max] = [min, max].map(humantime::format_duration);
    format!("a time with its unit, such as `500ms`, `30s` or `7d`, from {min} to {max}")
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
