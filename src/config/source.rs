//! Where a value came from. Every value keeps its source, so that `waybill config` and every error
//! message can say which of four places to look at.

use std::fmt;

/// One of the four layers, weakest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The table of settings.
    Default,
    /// The TOML file with this path.
    File(String),
    /// The environment variable with this name.
    Environment(String),
    /// The flag with this name.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

impl Source {
    /// One word for tables and programs.
    pub(crate) fn layer(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File(_) => "file",
            Self::Environment(_) => "environment",
            Self::Flag(_) => "flag",
        }
    }
}
