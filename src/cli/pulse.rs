//! Notices silence. Whoever hears from the server beats; whoever waits learns when nothing was heard for
//! too long. So a long wait with news is fine and a short one without is not.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// The moment of the last news, shared by its clones.
#[derive(Debug, Clone)]
pub(super) struct Pulse(Arc<Mutex<Instant>>);

impl Pulse {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// There was news just now.
    pub(super) fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when there was no news for this long. May be dropped and called again at any time.
    pub(super) async fn silence(&self, patience: Duration) {
        loop {
            let until = self.last() + patience;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::Pulse;

    #[tokio::test]
    async fn news_puts_silence_off() {
        let (pulse, start) = (Pulse::new(), Instant::now());
        let (news, listener) = (Duration::from_millis(20), pulse.clone());
        tokio::spawn(async move {
            sleep(news).await;
            listener.beat();
        });
        let patience = Duration::from_millis(200);
        pulse.silence(patience).await;
        assert!(start.elapsed() >= news + patience);
    }
}
