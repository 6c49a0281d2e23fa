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
    tell_by(readiness, sd_notify::watchdog_enabled(), STILL, send).await;
}

/// `watchdog`: how long systemd waits for a pulse; `still`: how long the loop may before there is none.
async fn tell_by(
    readiness: Readiness,
    watchdog: Option<Duration>,
    still: Duration,
    say: impl Fn(&NotifyState<'_>),
) {
    let mut parts = readiness.health().subscribe();
    let watchdog = watchdog.map(|limit| limit / 2);
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
            say(&NotifyState::Status(&one_line(&status)));
            said = status;
        }
        tokio::select! {
            () = changed(&mut parts) => {}
            _ = beat.tick() => {
                if watchdog.is_some() && readiness.health().still_for() < still {
                    say(&NotifyState::Watchdog);
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

#[cfg(test)]
mod tests {
    use tokio::{sync::mpsc, time::sleep};
    use waybill_messaging::health::{Health, Status};

    use super::*;

    #[tokio::test]
    async fn the_pulse_stops_while_the_process_is_stuck_and_goes_on_when_it_turns_again() {
        let (health, still) = (Health::default(), Duration::from_millis(100));
        let (sender, mut said) = mpsc::unbounded_channel();
        let say = move |state: &NotifyState<'_>| drop(sender.send(state.to_string()));
        let watchdog = Some(Duration::from_millis(2));
        let telling = tokio::spawn(tell_by(Readiness::of(health.clone()), watchdog, still, say));
        let is_pulse = |said: &str| said.starts_with("WATCHDOG=1");
        health.turn();
        while !is_pulse(&said.recv().await.unwrap()) {}

        while health.still_for() < still {
            sleep(Duration::from_millis(1)).await;
        }
        // Whatever was said until then is behind this.
        health.set("database", Status::Down("stuck".to_owned()));
        while !said.recv().await.unwrap().contains("stuck") {}
        for round in 0..50 {
            health.set("database", Status::Down(format!("round {round}")));
            let told = said.recv().await.unwrap();
            assert!(told.contains(&format!("round {round}")), "{told}");
            // Some pulses long.
            sleep(Duration::from_millis(3)).await;
        }

        health.turn();
        while !is_pulse(&said.recv().await.unwrap()) {}
        telling.abort();
    }
}
