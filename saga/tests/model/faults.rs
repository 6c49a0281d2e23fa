//! What may go wrong, and how often: the bounds that make the world finite.

/// A number of each fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Faults {
    /// The broker has a message twice, or a consumer dies between its commit and its acknowledgement.
    pub(crate) copies: u8,
    /// A confirm is lost, or the relay dies between the confirm and the clearing of the row.
    pub(crate) unheard: u8,
    /// The broker forgets everything.
    pub(crate) amnesias: u8,
    /// The inboxes forget everything about a dispatch.
    pub(crate) purges: u8,
    /// The client cancels.
    pub(crate) cancels: u8,
    /// A participant refuses.
    pub(crate) refusals: u8,
    /// A deadline passes although the answer is on its way.
    pub(crate) early: u8,
}

/// Why a model is expected to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A consumer acknowledges first and commits then.
    AckBeforeCommit,
    /// A compensation that finds nothing to undo leaves no mark.
    NoMark,
    /// The inbox row is written in a transaction of its own.
    InboxApart,
    /// The relay clears a row when it has written to the socket.
    ClearedBeforeConfirm,
    /// The gateway never sends a request again.
    NoReconcile,
    /// The gateway sends a cancel request once and forgets it.
    CancelNotKept,
    /// A consumer that knows a message acknowledges it without a word.
    NoReplyToDuplicates,
    /// A participant trusts its inbox alone and does not look at its row.
    InboxAlone,
}
