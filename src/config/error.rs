//! What can be wrong with a configuration. Everything found is reported at once, and each problem
//! names the key, the bad value, where it came from and what is allowed.

use std::{fmt, net::SocketAddr};

use super::{nearest::nearest, setting::Setting, source::Source};

/// A configuration that cannot be used; holds at least one problem.
#[derive(Debug, Default)]
pub(crate) struct ConfigError {
    problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug)]
pub(crate) enum Problem {
    /// A name that no setting has.
    UnknownKey { name: String, source: Source, nearest: Option<&'static str> },
    /// A value that its setting does not accept. `shown` holds no password.
    BadValue { key: &'static str, shown: String, source: Source, what: String, allowed: String },
    /// Two values that do not go together.
    Conflict { first: &'static str, second: &'static str, what: String },
    /// A port that other machines can reach, without the protection that it needs.
    Exposed { key: &'static str, address: SocketAddr, lacks: &'static str },
    /// What a value names cannot be used. `what` holds no secret.
    Unusable { key: &'static str, what: String },
    /// A layer that cannot be read at all.
    Unreadable { source: Source, what: String },
    /// The code asks for a key or a type that the table does not have.
    Table { key: &'static str },
}

impl Problem {
    /// A name that is none of `known`; the most similar one is suggested.
    pub(super) fn unknown(name: &str, source: Source, known: impl Iterator<Item = &'static str>) -> Self {
        Self::UnknownKey { name: name.to_owned(), source, nearest: nearest(name, known) }
    }

    /// A value that `setting` does not accept.
    pub(super) fn bad(setting: &Setting, text: &str, source: Source, what: impl Into<String>) -> Self {
        Self::BadValue {
            key: setting.key,
            shown: setting.kind.shown(text),
            source,
            what: what.into(),
            allowed: setting.kind.allowed(),
        }
    }
}

impl ConfigError {
    pub(super) fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    pub(super) fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        self.problems.extend(problems);
    }

    /// `Ok` when nothing was found.
    pub(super) fn into_result(self) -> Result<(), Self> {
        if self.problems.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { name, source, nearest } => {
                write!(f, "{name} (from {source}) is no setting")?;
                nearest.map_or(Ok(()), |nearest| write!(f, "; did you mean {nearest}?"))
            }
            Self::BadValue { key, shown, source, what, allowed } => {
                write!(f, "{key} = \"{shown}\" (from {source}) {what}; allowed: {allowed}")
            }
            Self::Conflict { first, second, what } => write!(f, "{first} and {second}: {what}"),
            Self::Exposed { key, address, lacks } => exposed(f, key, *address, lacks),
            Self::Unusable { key, what } => write!(f, "{key}: {what}"),
            Self::Unreadable { source, what } => write!(f, "{source}: {what}"),
            Self::Table { key } => write!(f, "{key} is not in the table of settings as it is used"),
        }
    }
}

fn exposed(f: &mut fmt::Formatter<'_>, key: &str, address: SocketAddr, lacks: &str) -> fmt::Result {
    let port = key.trim_end_matches(".addr");
    write!(f, "{key} = {address} can be reached from other machines, without {lacks}: ")?;
    let ways = [
        lacks.contains("TLS").then(|| format!("set {port}.tls_certificate and {port}.tls_key")),
        lacks
            .contains("authentication")
            .then(|| format!("set auth.clients_file, auth.jwt_issuer or {port}.tls_client_ca")),
    ];
    let ways: Vec<String> = ways.into_iter().flatten().collect();
    write!(
        f,
        "{}; or bind 127.0.0.1; or, where something else protects it, say so with ",
        ways.join(" and ")
    )?;
    f.write_str("--insecure (setting insecure, environment variable WAYBILL_INSECURE=true)")
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.problems.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigError {}
