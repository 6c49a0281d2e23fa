//! Hands out the tickets of a schedule when they are due.

use std::{thread, time::Duration};

use tokio::{sync::mpsc, time::Instant};

use super::schedule::{Schedule, Ticket};
use crate::cli::Failure;

/// Tickets handed out ahead of a sender that cannot keep up. It is no limit on what is late: a ticket keeps
/// its time however late it is fetched.
const AHEAD: usize = 1_024;

/// Where the sender fetches its tickets.
#[derive(Debug)]
pub(super) enum Tickets {
    /// One whenever it is asked for.
    Closed { schedule: Schedule, start: Instant },
    /// One whenever it is due.
    Open(mpsc::Receiver<Ticket>),
}

impl Tickets {
    /// An open loop keeps time in a thread of its own: the timers of the runtime are a millisecond coarse,
    /// which would show in latencies of a few.
    pub(super) fn start(schedule: Schedule, open: bool, start: Instant) -> Result<Self, Failure> {
        if !open {
            return Ok(Self::Closed { schedule, start });
        }
        let (sender, receiver) = mpsc::channel(AHEAD);
        let clock = thread::Builder::new().name("bench-clock".to_owned());
        clock
            .spawn(move || keep_time(schedule, start, &sender))
            .map_err(|error| Failure::other(format!("no thread for the clock: {error}")))?;
        Ok(Self::Open(receiver))
    }

    /// The next one; none when the load is over. May be dropped and called again: none is lost.
    pub(super) async fn next(&mut self) -> Option<Ticket> {
        match self {
            Self::Closed { schedule, start } => schedule.take(start.elapsed()),
            Self::Open(receiver) => receiver.recv().await,
        }
    }
}

/// Ends with the schedule, or when nobody fetches any more.
fn keep_time(mut schedule: Schedule, start: Instant, sender: &mpsc::Sender<Ticket>) {
    loop {
        let now = start.elapsed();
        wait(schedule.due(now).saturating_sub(now));
        let Some(ticket) = schedule.take(now) else { return };
        if sender.blocking_send(ticket).is_err() {
            return;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this thread is no thread of the runtime")]
fn wait(time: Duration) {
    if !time.is_zero() {
        thread::sleep(time);
    }
}
