//! How many calls are worked on at once, over all connections. Who comes beyond that is told at once and
//! when to come back: a queue here would only hide the load from those who make it.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::status;

/// Calls are short: after this long many of them have ended.
const PAUSE: Duration = Duration::from_millis(200);
/// RPCs that last as long as their client likes.
const STREAMS: [&str; 5] = [
    "/RequestDispatches",
    "/WatchDispatch",
    "/ReplayDeadLetters",
    "/DiscardDeadLetters",
    "/ServerReflectionInfo",
];

/// Room for calls, and apart from it room for streams.
pub(super) struct Admission {
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl Admission {
    pub(super) fn new(most: u32) -> Self {
        let room = || Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS)));
        Self { calls: room(), streams: room() }
    }

    /// A place, for as long as the permit lives.
    pub(super) fn enter(&self, is_stream: bool) -> Result<OwnedSemaphorePermit, Status> {
        let (room, what) = if is_stream { (&self.streams, "streams") } else { (&self.calls, "calls") };
        Arc::clone(room)
            .try_acquire_owned()
            .map_err(|_| status::exhausted(&format!("too many {what} at the same time"), PAUSE))
    }
}

/// Whether the RPC of that path streams.
pub(super) fn is_stream(path: &str) -> bool {
    STREAMS.iter().any(|method| path.ends_with(method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_do_not_keep_calls_out() {
        let admission = Admission::new(1);
        let stream = admission.enter(true).unwrap();
        assert_eq!(admission.enter(true).unwrap_err().code(), tonic::Code::ResourceExhausted);
        assert!(admission.enter(false).is_ok());
        drop(stream);
        assert!(admission.enter(true).is_ok());
    }
}
