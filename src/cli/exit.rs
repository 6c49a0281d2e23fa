//! Exit codes, and the error that ends a command. One table says what each code means; the help text
//! shows the same.

use std::{fmt, process::ExitCode};

use super::{clean::clean, status::chain};
use crate::config::ConfigError;

/// Wrong usage or configuration; the code that clap uses too.
pub(super) const USAGE: u8 = 2;
pub(super) const INVALID: u8 = 3;
pub(super) const EXISTS: u8 = 4;
pub(super) const NOT_FOUND: u8 = 5;
pub(super) const UNREACHABLE: u8 = 6;
pub(super) const EXHAUSTED: u8 = 7;
pub(super) const PRECONDITION: u8 = 8;
pub(super) const CANCELLED: u8 = 10;
pub(super) const STUCK: u8 = 11;
pub(super) const OTHER: u8 = 1;

pub(super) const HELP: &str = "\
Exit codes:
   0  done; with --wait: the dispatch ended COMPLETED
   1  any other error
   2  wrong usage or configuration
   3  INVALID_ARGUMENT: the server names every field that is wrong
   4  ALREADY_EXISTS
   5  NOT_FOUND
   6  UNAVAILABLE or DEADLINE_EXCEEDED: the outcome is unknown, ask again with the same message id
   7  RESOURCE_EXHAUSTED: too much at once, try again later
   8  FAILED_PRECONDITION
   9  serve: the drain time-out was over before everything in hand was finished; nothing is lost
  10  the dispatch ended CANCELLED
  11  the dispatch is STUCK: it waits for an operator, or for the answer that never came
 130  serve: told to stop a second time, and stopped at once";

/// Why a command ends without success: one line, and perhaps a list of details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(super) code: u8,
    /// Empty: there is nothing to say.
    pub(super) message: String,
    pub(super) details: Vec<String>,
}

impl Failure {
    pub(super) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new() }
    }

    /// The environment asks for something that cannot be had.
    pub(crate) fn environment(error: &anyhow::Error) -> Self {
        Self::new(USAGE, chain(error.as_ref()))
    }

    /// Wrong usage.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, message)
    }

    /// Any error without a code of its own.
    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::new(OTHER, message)
    }

    /// Nobody reads the output any more; that is no error of ours.
    pub(super) fn silent() -> Self {
        Self::new(0, "")
    }

    /// Prints it to standard error.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            eprintln!("{self}");
        }
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waybill: {}", clean(&self.message))?;
        self.details.iter().try_for_each(|detail| write!(f, "\n  {}", clean(detail)))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let details = error.to_string().lines().map(str::to_owned).collect();
        Self { code: USAGE, message: "the configuration cannot be used".to_owned(), details }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::other(chain(error.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;

    #[test]
    fn a_failure_is_one_line_and_its_details() {
        let mut failure = Failure::other("no\u{1b}[31m way");
        failure.details = vec!["a: b".to_owned()];
        assert_eq!(failure.to_string(), "waybill: no\u{fffd}[31m way\n  a: b");
    }
}
