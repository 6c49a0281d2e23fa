//! What the doctor found.

/// How it is; the worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Ok,
    Warn,
    Bad,
}

impl Verdict {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Bad => "BAD",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    /// What was looked at: `database common`, `queue waybill.saga`, a setting.
    pub(super) about: String,
    /// How it is.
    pub(super) what: String,
    /// What mends it; empty where nothing has to be.
    pub(super) mend: String,
}

/// All of them, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn ok(&mut self, about: &str, what: impl Into<String>) {
        self.add(Verdict::Ok, about, what, "");
    }

    pub(super) fn warn(&mut self, about: &str, what: impl Into<String>, mend: impl Into<String>) {
        self.add(Verdict::Warn, about, what, mend);
    }

    pub(super) fn bad(&mut self, about: &str, what: impl Into<String>, mend: impl Into<String>) {
        self.add(Verdict::Bad, about, what, mend);
    }

    pub(super) fn all(self) -> Vec<Finding> {
        self.0
    }

    fn add(&mut self, verdict: Verdict, about: &str, what: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Finding { verdict, about: about.to_owned(), what: what.into(), mend: mend.into() });
    }
}
