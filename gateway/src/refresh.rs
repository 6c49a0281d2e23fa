//! When files are to be looked at again: every few seconds, and when somebody asks for it by SIGHUP.

use std::time::Duration;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(5);

/// Says when.
pub struct Refresh(Option<Signal>);

impl Refresh {
    /// Where the process may have no handlers at all, there is still the interval.
    pub fn new() -> Self {
        Self(signal(SignalKind::hangup()).ok())
    }

    /// Waits until it is time for the next look.
    pub async fn due(&mut self) {
        let asked = async {
            match &mut self.0 {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep(INTERVAL) => {}
            _ = asked => {}
        }
    }
}

impl Default for Refresh {
    fn default() -> Self {
        Self::new()
    }
}
