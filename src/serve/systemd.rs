//! What systemd is told, where it asks (`Type=notify`): that the process has started, how it is, that it stops, and, as
//! the watchdog, that it still turns.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::{sync::watch, time::interval};

use super::readiness::Readiness;

/// The loop that asks the databases turns every few seconds, whatever is away; after this long it is stuck.
const STILL: Duration = Duration::from_mins(1);

/// Tells how the process is, at every change, and that it turns. Runs until dropped.
pub(super) async fn tell(readiness: Readiness) {
    let mut parts = readiness.health().subscribe();
    let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 2);
    // Without a watchdog nobody waits for this.
    let mut beat = interval(watchdog.unwrap_or(Duration::from_hours(1)).max(Duration::from_millis(1)));
    let mut said = String::new();
    loop {
        parts.mark_unchanged();
        let status = match (readiness.not_started(), readiness.not_ready()) {
            (Some(reason), _) => format!("starting: {reason}"),
            (None, Some(reason)) => format!("not ready: {reason}"),
            (None, None) => "ready".to_owned(),
        };
        if status != said {
            send(&NotifyState::Status(&one_line(&status)));
            said = status;
        }
        tokio::select! {
            () = changed(&mut parts) => {}
            _ = beat.tick() => {
                if watchdog.is_some() && readiness.health().still_for() < STILL {
                    send(&NotifyState::Watchdog);
                }
            }
        }
    }
}

/// Says that the process has started.
pub(super) fn started() {
    send(&NotifyState::Ready);
}

/// Says that the process stops.
pub(super) fn stopping() {
    send(&NotifyState::Stopping);
}

/// Nobody listens: then nothing is said.
fn send(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}

/// A line end would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

async fn changed<T>(parts: &mut watch::Receiver<T>) {
    if parts.changed().await.is_err() {
        // Nobody will ever say anything.
        std::future::pending::<()>().await;
    }
}
