//! How much of what waits goes into one commit, and when the next one may begin.
//!
//! Clients that wait for their receipts come back together, and who takes all of them keeps them together: then all
//! are read, then all are committed, then all are answered, and one party works while the others wait for it. So a
//! commit takes half of those who come and go, and the other half is read and answered meanwhile.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sea_orm::DbBackend;
use tokio::{
    sync::Notify,
    time::{Duration, Instant, timeout_at},
};

/// Fewer are not worth a second transaction.
const FEW: usize = 16;
/// So much of what was lately counts less with each commit.
const FADING: usize = 8;
/// A commit of PostgreSQL's that takes longer waits for a disk or a network more than it works: another may then wait
/// beside it.
const WORK: Duration = Duration::from_millis(2);
/// Of SQLite's any other would only wait for the same writer. No commit takes as long.
const ALONE: Duration = Duration::from_mins(1);

/// What all committers of a queue know of each other.
#[derive(Debug)]
pub(super) struct Pace {
    /// How long the next commit waits for one that runs.
    patience: Duration,
    commits: Mutex<Commits>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct Commits {
    /// Requests of the commits that began last, the most of them: those who were answered are about to ask again.
    lately: usize,
    /// When the last one of more than a few began.
    begun: Option<Instant>,
    /// How many of more than a few run.
    large: usize,
}

/// A commit, until it is dropped.
#[derive(Debug)]
pub(super) struct Running<'a> {
    pace: &'a Pace,
    is_large: bool,
}

impl Pace {
    pub(super) fn new(database: DbBackend) -> Self {
        let patience = if database == DbBackend::Postgres { WORK } else { ALONE };
        Self { patience, commits: Mutex::default(), ended: Notify::new() }
    }

    /// Waits until another commit may begin. One committer may ask at a time.
    pub(super) async fn turn(&self) {
        loop {
            let busy = self.commits().busy_until(Instant::now(), self.patience);
            let Some(until) = busy else { return };
            // Either way the question is asked anew.
            let _ = timeout_at(until, self.ended.notified()).await;
        }
    }

    /// How many of those that wait the next commit takes.
    pub(super) fn most(&self, waiting: usize) -> usize {
        waiting.saturating_add(self.commits().lately).div_ceil(2).max(FEW)
    }

    /// Takes note that a commit of so many requests begins.
    pub(super) fn begin(&self, requests: usize) -> Running<'_> {
        let is_large = requests >= FEW;
        let mut commits = self.commits();
        commits.lately = requests.max(commits.lately - commits.lately / FADING);
        if is_large {
            commits.large += 1;
            commits.begun = Some(Instant::now());
        }
        Running { pace: self, is_large }
    }

    fn commits(&self) -> MutexGuard<'_, Commits> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Commits {
    /// When the one that runs has taken too long, if that is after `now`.
    fn busy_until(&self, now: Instant, patience: Duration) -> Option<Instant> {
        let until = self.begun.filter(|_| self.large > 0)? + patience;
        (until > now).then_some(until)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.is_large {
            self.pace.commits().large -= 1;
            self.pace.ended.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_clients_who_come_back_together_half_is_taken() {
        let pace = Pace::new(DbBackend::Postgres);
        assert_eq!(pace.most(128), 64);
        let first = pace.begin(64);
        assert_eq!(pace.most(64), 64, "the others, while the first half is out");
        drop(first);
        assert_eq!(pace.most(64), 64, "and when the first half has not come back yet");
        drop(pace.begin(2));
        assert_eq!(pace.most(64), 60, "also after a few stragglers");
    }

    #[test]
    fn a_steady_stream_is_taken_whole() {
        let pace = Pace::new(DbBackend::Postgres);
        let mut taken = 0;
        for _ in 0..20 {
            // As many come while a commit runs, whoever has been answered.
            taken = pace.most(100).min(100);
            drop(pace.begin(taken));
        }
        assert_eq!(taken, 100);
    }

    #[test]
    fn few_are_not_parted() {
        assert_eq!(Pace::new(DbBackend::Postgres).most(FEW), FEW);
    }

    #[test]
    fn the_next_commit_waits_for_one_that_works_but_not_for_one_that_waits() {
        let pace = Pace::new(DbBackend::Postgres);
        let busy_until = |now| pace.commits().busy_until(now, pace.patience);
        let _small = pace.begin(FEW - 1);
        assert_eq!(busy_until(Instant::now()), None);
        let large = pace.begin(FEW);
        let begun = pace.commits().begun.expect("a large one runs");
        assert_eq!(busy_until(begun + WORK / 2), Some(begun + WORK));
        assert_eq!(busy_until(begun + WORK), None);
        drop(large);
        assert_eq!(busy_until(begun + WORK / 2), None);
    }

    #[test]
    fn sqlite_has_one_writer() {
        let pace = Pace::new(DbBackend::Sqlite);
        let _large = pace.begin(FEW);
        let begun = pace.commits().begun.expect("a large one runs");
        assert_eq!(pace.commits().busy_until(begun + WORK, pace.patience), Some(begun + ALONE));
    }
}
