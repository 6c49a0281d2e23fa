//! A saga as data: which steps there are, in which order, and how long each may take.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::contract::Command;

/// What may become of a step once it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It can be undone.
    Compensatable,
    /// From here on the saga only goes forward.
    Pivot,
    /// It succeeds in the end, if it is tried often enough.
    Retriable,
}

impl Kind {
    /// As it is shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compensatable => "compensatable",
            Self::Pivot => "pivot",
            Self::Retriable => "retriable",
        }
    }
}

/// How often a command is sent, and how long an answer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the first answer.
    pub timeout: Duration,
    /// It doubles with each attempt, up to this.
    pub most: Duration,
    /// Commands sent in all.
    pub attempts: u32,
    /// Every wait is longer by up to this many percent of itself, so that the many sagas which wait for one
    /// participant do not ask it all at once. At most 100.
    pub jitter: u32,
}

impl Patience {
    /// How long the answer to the given attempt (from 1) may take. `spread`, from 0 to 999, says how much of
    /// the jitter is added.
    pub fn wait(&self, attempt: u32, spread: u32) -> Duration {
        let doubling = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        self.jittered(self.timeout.saturating_mul(doubling).min(self.longest()), spread)
    }

    /// How long a saga that is stuck waits before it asks again.
    pub fn wait_stuck(&self, spread: u32) -> Duration {
        self.jittered(self.longest(), spread)
    }

    fn longest(&self) -> Duration {
        self.most.max(self.timeout)
    }

    fn jittered(&self, wait: Duration, spread: u32) -> Duration {
        wait.saturating_add(wait.saturating_mul(self.jitter.saturating_mul(spread)) / 100_000)
    }

    /// From the first command until nobody waits for an answer any more, at the longest: the sum of all waits.
    pub fn total(&self) -> Duration {
        (1..=self.attempts).fold(Duration::ZERO, |sum, attempt| sum.saturating_add(self.wait(attempt, 1_000)))
    }
}

/// One step: what does it, what undoes it, how long either may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Unique within the definition.
    pub name: &'static str,
    /// What may become of it.
    pub kind: Kind,
    /// Does it.
    pub command: Command,
    /// Undoes it, whether or not it was done.
    pub compensation: Option<Command>,
    /// For the command's answer.
    pub patience: Patience,
    /// For the compensation's answer.
    pub compensation_patience: Patience,
}

/// A saga. An instance is pinned to the one that it began with: name, version and hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: &'static str,
    /// Grows whenever the steps change.
    pub version: u32,
    /// From its beginning. Past it a saga before its pivot turns back, and one after it is stuck.
    pub timeout: Duration,
    /// In the order in which they are done.
    pub steps: Vec<Step>,
}

/// Why a definition cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// It has no steps.
    #[error("a saga needs a step")]
    Empty,
    /// Two steps share a name.
    #[error("step {0} stands twice")]
    Twice(&'static str),
    /// Two steps could not tell whose reply it is.
    #[error("command {0} is used by two steps")]
    CommandTwice(&'static str),
    /// What is done could not be undone any more.
    #[error("step {0} is compensatable but stands after the pivot or a retriable step")]
    CompensatableAfterPivot(&'static str),
    /// Nothing undoes it.
    #[error("step {0} is compensatable and has no compensation")]
    NoCompensation(&'static str),
    /// It would be undone where the saga only goes forward.
    #[error("step {0} is retriable and has a compensation")]
    CompensatedRetriable(&'static str),
    /// A retriable step that is done cannot be undone when the pivot fails.
    #[error("step {0} is the pivot and stands after a retriable step")]
    PivotAfterRetriable(&'static str),
    /// Nobody else knows what there is to undo.
    #[error("step {0} is compensated by another participant than the one that does it")]
    CompensatedElsewhere(&'static str),
    /// There is one point of no return.
    #[error("step {0} is a second pivot")]
    SecondPivot(&'static str),
    /// It could hang for ever.
    #[error("step {0} has no time-out or no attempt")]
    NoPatience(&'static str),
    /// A wait may not more than double by chance.
    #[error("step {0} has a jitter of more than 100 percent")]
    TooMuchJitter(&'static str),
    /// An instance could not tell which of them it began with.
    #[error("version {0} of the saga stands twice")]
    VersionTwice(u32),
    /// It is asked for and not there.
    #[error("version {0} of the saga is not known, or not live")]
    NoSuchVersion(u32),
    /// The whole could go on for ever.
    #[error("a saga needs a time-out")]
    NoTimeout,
}

impl Definition {
    /// Refuses what breaks the rules of a saga.
    pub fn check(&self) -> Result<(), DefinitionError> {
        if self.steps.is_empty() {
            return Err(DefinitionError::Empty);
        }
        if self.timeout.is_zero() {
            return Err(DefinitionError::NoTimeout);
        }
        let mut seen: Vec<&Step> = Vec::new();
        for step in &self.steps {
            check_alone(step)?;
            check_after(step, &seen)?;
            seen.push(step);
        }
        Ok(())
    }

    /// For how long a saga may send one and the same command again.
    pub fn resend_horizon(&self) -> Duration {
        let patiences = self.steps.iter().flat_map(|step| [step.patience, step.compensation_patience]);
        patiences.map(|patience| patience.total()).max().unwrap_or_default()
    }

    /// Index of the step that a command belongs to, and whether it does it or undoes it.
    pub fn locate(&self, command: Command) -> Option<(usize, crate::Action)> {
        self.steps.iter().enumerate().find_map(|(index, step)| {
            if step.command == command {
                Some((index, crate::Action::Do))
            } else if step.compensation == Some(command) {
                Some((index, crate::Action::Undo))
            } else {
                None
            }
        })
    }

    /// First 16 hexadecimal digits of the SHA-256 of all that decides how an instance runs: names, kinds,
    /// commands and compensations in order. Time-outs are tuning and not part of it.
    pub fn hash(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(format!("{}/{}", self.name, self.version));
        for step in &self.steps {
            let undo = step.compensation.map_or("-", Command::name);
            digest.update(format!("|{} {:?} {} {undo}", step.name, step.kind, step.command.name()));
        }
        let bytes = digest.finalize();
        let head = bytes.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        format!("{head:016x}")
    }
}

fn check_alone(step: &Step) -> Result<(), DefinitionError> {
    match (step.kind, step.compensation) {
        (Kind::Compensatable, None) => return Err(DefinitionError::NoCompensation(step.name)),
        (Kind::Retriable, Some(_)) => return Err(DefinitionError::CompensatedRetriable(step.name)),
        (Kind::Compensatable | Kind::Pivot, Some(_)) | (Kind::Pivot | Kind::Retriable, None) => {}
    }
    for patience in [step.patience, step.compensation_patience] {
        if patience.timeout.is_zero() || patience.attempts == 0 {
            return Err(DefinitionError::NoPatience(step.name));
        }
        if patience.jitter > 100 {
            return Err(DefinitionError::TooMuchJitter(step.name));
        }
    }
    let participant = step.command.participant();
    if step.compensation.is_some_and(|undo| undo.participant() != participant) {
        return Err(DefinitionError::CompensatedElsewhere(step.name));
    }
    Ok(())
}

fn check_after(step: &Step, seen: &[&Step]) -> Result<(), DefinitionError> {
    if seen.iter().any(|earlier| earlier.name == step.name) {
        return Err(DefinitionError::Twice(step.name));
    }
    let commands = |step: &Step| [Some(step.command), step.compensation].into_iter().flatten();
    let mut own = commands(step);
    if let Some(command) = own.find(|c| seen.iter().any(|earlier| commands(earlier).any(|e| e == *c))) {
        return Err(DefinitionError::CommandTwice(command.name()));
    }
    let forward_only = seen.iter().any(|earlier| earlier.kind != Kind::Compensatable);
    match step.kind {
        Kind::Compensatable if forward_only => Err(DefinitionError::CompensatableAfterPivot(step.name)),
        Kind::Pivot if seen.iter().any(|earlier| earlier.kind == Kind::Pivot) => {
            Err(DefinitionError::SecondPivot(step.name))
        }
        Kind::Pivot if forward_only => Err(DefinitionError::PivotAfterRetriable(step.name)),
        Kind::Compensatable | Kind::Pivot | Kind::Retriable => Ok(()),
    }
}
