//! What happens next when something fails. The place that knows the reason chooses the variant;
//! everything above only acts on it. A business refusal is a reply, not a failure.

/// Why a message could not be handled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// May succeed later: the message is retried, each time after a longer delay, a bounded number of times.
    #[error("transient: {0}")]
    Transient(String),
    /// Will never succeed: the message goes to the dead letters at once.
    #[error("permanent: {0}")]
    Permanent(String),
}

/// Why a transaction has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another transaction came first; running again may succeed. Nothing was written.
    #[error("conflict: {0}")]
    Conflict(String),
    /// A unique key was taken. Running again shows whose it is; when that does not help it is a bug.
    #[error("taken: {0}")]
    Taken(String),
    /// The database is away or has no room for us now. Nothing was written.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// The connection was lost while committing: it may have been written or not.
    #[error("outcome of the commit unknown: {0}")]
    Unknown(String),
    /// The database refused a statement: a bug, or data that breaks a constraint. Nothing was written.
    #[error("database refused: {0}")]
    Refused(String),
    /// The work itself gave up and was rolled back.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl StoreError {
    /// Whether waiting for the database, and nothing else, is the cure. Such an error says nothing about
    /// the message at hand and must not be counted against it.
    pub const fn is_outage(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Unknown(_) | Self::Conflict(_) => true,
            Self::Taken(_) | Self::Refused(_) | Self::Failed(_) => false,
        }
    }
}
