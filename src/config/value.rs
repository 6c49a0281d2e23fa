//! The readers behind each kind of setting. Every one takes untrusted text and returns either a
//! value within its limits or a sentence on what is wrong; what is allowed is said by the kind.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use url::Url;

use super::{money::Money, role::Role, url::SecretUrl};

/// A setting's value, read and within its limits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Url(Option<SecretUrl>),
    Text(String),
    File(Option<PathBuf>),
    Address(SocketAddr),
    Count(u64),
    OptionalCount(Option<u64>),
    Time(Duration),
    OptionalTime(Option<Duration>),
    Switch(bool),
    Roles(Vec<Role>),
    List(Vec<String>),
    Versions(Vec<u32>),
    Money(Money),
}

pub(super) fn url(text: &str, schemes: &[&str], optional: bool) -> Result<Value, String> {
    if text.is_empty() && optional {
        return Ok(Value::Url(None));
    }
    if !schemes.iter().any(|scheme| text.starts_with(scheme) && text.len() > scheme.len()) {
        return Err("is no such URL".to_owned());
    }
    // Here, because those who connect by it would complain with all of it, the password included.
    match Url::parse(text) {
        Ok(_) => Ok(Value::Url(Some(SecretUrl::new(text)))),
        Err(error) => Err(format!("is no URL: {error}")),
    }
}

pub(super) fn name(text: &str, max: usize) -> Result<Value, String> {
    if text.len() > max {
        return Err(format!("is {} characters long", text.len()));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("holds a character that is not visible ASCII".to_owned());
    }
    Ok(Value::Text(text.to_owned()))
}

pub(super) fn file(text: &str) -> Result<Value, String> {
    if text.chars().any(char::is_control) {
        return Err("holds a control character".to_owned());
    }
    Ok(Value::File((!text.is_empty()).then(|| PathBuf::from(text))))
}

pub(super) fn address(text: &str) -> Result<Value, String> {
    text.parse().map(Value::Address).map_err(|_| "is no such address".to_owned())
}

pub(super) fn count(text: &str, min: u64, max: u64) -> Result<u64, String> {
    // `parse` would take a leading plus sign.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("is not a whole number".to_owned());
    }
    match text.parse() {
        Ok(count) if (min..=max).contains(&count) => Ok(count),
        _ => Err("is out of range".to_owned()),
    }
}

pub(super) fn optional_count(text: &str, min: u64, max: u64) -> Result<Value, String> {
    if text.is_empty() || text == "none" {
        return Ok(Value::OptionalCount(None));
    }
    count(text, min, max).map(|count| Value::OptionalCount(Some(count)))
}

pub(super) fn time(text: &str, min: Duration, max: Duration) -> Result<Value, String> {
    if text.bytes().next_back().is_some_and(|byte| byte.is_ascii_digit()) {
        return Err("has no unit".to_owned());
    }
    match humantime::parse_duration(text) {
        Ok(time) if (min..=max).contains(&time) => Ok(Value::Time(time)),
        Ok(_) => Err("is out of range".to_owned()),
        Err(_) => Err("is not a time".to_owned()),
    }
}

pub(super) fn optional_time(text: &str, min: Duration, max: Duration) -> Result<Value, String> {
    if text.is_empty() || text == "none" {
        return Ok(Value::OptionalTime(None));
    }
    match time(text, min, max)? {
        Value::Time(time) => Ok(Value::OptionalTime(Some(time))),
        other => Ok(other),
    }
}

pub(super) fn switch(text: &str) -> Result<Value, String> {
    text.parse().map(Value::Switch).map_err(|_| "is neither".to_owned())
}

pub(super) fn choice(text: &str, words: &[&str]) -> Result<Value, String> {
    if words.contains(&text) { Ok(Value::Text(text.to_owned())) } else { Err("is none of them".to_owned()) }
}

/// The items between the commas, trimmed, without empty ones.
pub(super) fn items(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// As browsers send them: nothing after the port, which is absent where it is the scheme's own.
pub(super) fn origins(text: &str) -> Result<Value, String> {
    let origins = items(text);
    let is_origin = |item: &String| {
        let url = Url::parse(item).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        url.is_some_and(|url| url.origin().ascii_serialization() == *item)
    };
    match origins.iter().find(|item| !is_origin(item)) {
        Some(wrong) => {
            Err(format!("holds `{wrong}`, which is no origin: a scheme, a host, and a port if it needs one"))
        }
        None => Ok(Value::List(origins)),
    }
}

pub(super) fn versions(text: &str) -> Result<Value, String> {
    let version = |item: &String| match item.parse() {
        Ok(version) if version > 0 => Ok(version),
        _ => Err(format!("holds `{item}`, which is no version")),
    };
    items(text).iter().map(version).collect::<Result<_, _>>().map(Value::Versions)
}

pub(super) fn patterns(text: &str) -> Result<Value, String> {
    let patterns = items(text);
    for pattern in &patterns {
        let code = pattern.strip_suffix('*').unwrap_or(pattern);
        if code.contains('*') || !code.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("holds `{pattern}`, which is neither"));
        }
    }
    Ok(Value::List(patterns))
}
