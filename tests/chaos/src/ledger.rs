//! What the clients have asked for and what they were told: all that the auditor knows of the run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use crate::mix::Case;

/// What a client was told about its request to undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undoing {
    /// It is being undone, or has been.
    Granted,
    /// It will be completed.
    TooLate,
}

/// A case, as it went.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) case: Case,
    /// The dispatches that receipts named.
    pub(crate) receipts: BTreeSet<String>,
    pub(crate) undoing: Option<Undoing>,
    /// Answers that no fault excuses.
    pub(crate) wrong: Vec<String>,
}

/// All cases, by `message_id`.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<BTreeMap<String, Asked>>);

impl Ledger {
    /// Before the first call.
    pub(crate) fn attempt(&self, case: &Case) {
        let asked = Asked { case: case.clone(), receipts: BTreeSet::new(), undoing: None, wrong: Vec::new() };
        self.cases().insert(case.request.message_id.clone(), asked);
    }

    pub(crate) fn acknowledge(&self, case: &Case, dispatch_id: String) {
        self.note(case, |asked| {
            asked.receipts.insert(dispatch_id);
        });
    }

    pub(crate) fn undo(&self, case: &Case, told: Undoing) {
        self.note(case, |asked| asked.undoing = Some(told));
    }

    pub(crate) fn wrong(&self, case: &Case, answer: String) {
        self.note(case, |asked| asked.wrong.push(answer));
    }

    /// How many were attempted, and how many of them acknowledged.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let cases = self.cases();
        (cases.len(), cases.values().filter(|asked| !asked.receipts.is_empty()).count())
    }

    pub(crate) fn all(&self) -> Vec<Asked> {
        self.cases().values().cloned().collect()
    }

    fn note(&self, case: &Case, note: impl FnOnce(&mut Asked)) {
        if let Some(asked) = self.cases().get_mut(&case.request.message_id) {
            note(asked);
        }
    }

    fn cases(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
