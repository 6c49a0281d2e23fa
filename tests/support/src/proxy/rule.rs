//! Rules of a proxy: what to do when certain bytes have passed.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::oneshot;

use super::Way;

/// Longest pattern that is found across two reads.
const TAIL: usize = 256;

/// What happens when a rule comes true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing but that somebody is told.
    Tell,
    /// Nobody hears the server any more.
    SwallowAnswers,
    /// The server does not hear this connection any more, what came last included.
    Freeze,
}

/// The rules that have not come true yet.
#[derive(Default)]
pub(super) struct Rules(Mutex<Vec<Rule>>);

struct Rule {
    way: Way,
    patterns: Vec<Vec<u8>>,
    /// How many of the patterns have passed, by connection.
    passed: HashMap<u64, usize>,
    effect: Effect,
    tell: Option<oneshot::Sender<()>>,
}

impl Rules {
    pub(super) fn add(&self, way: Way, patterns: &[&[u8]], effect: Effect) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        let patterns = patterns.iter().map(|pattern| pattern.to_vec()).collect();
        let rule = Rule { way, patterns, passed: HashMap::new(), effect, tell: Some(tell) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
        told
    }

    /// Looks at what is about to pass, and says what follows from it.
    pub(super) fn note(&self, way: Way, connection: u64, bytes: &[u8]) -> Vec<Effect> {
        let mut rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut effects = Vec::new();
        rules.retain_mut(|rule| {
            let came_true = rule.way == way && rule.note(connection, bytes);
            effects.extend(came_true.then_some(rule.effect));
            !came_true
        });
        effects
    }
}

impl Rule {
    fn note(&mut self, connection: u64, bytes: &[u8]) -> bool {
        let passed = self.passed.entry(connection).or_default();
        while let Some(pattern) = self.patterns.get(*passed)
            && bytes.windows(pattern.len()).any(|window| window == pattern)
        {
            *passed += 1;
        }
        if *passed < self.patterns.len() {
            return false;
        }
        // Fails only when nobody waits.
        let _ = self.tell.take().map(|tell| tell.send(()));
        true
    }
}

/// The end of what was read before, so that a pattern is found that two reads have torn apart.
#[derive(Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    /// The tail and the bytes after it.
    pub(super) fn with(&mut self, bytes: &[u8]) -> &[u8] {
        let surplus = self.0.len().saturating_sub(TAIL);
        self.0.drain(..surplus);
        self.0.extend_from_slice(bytes);
        &self.0
    }
}
