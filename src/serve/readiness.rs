//! Whether this process has started, and whether it can do its work: the same answer for HTTP, gRPC health and
//! systemd.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use waybill_messaging::health::{Health, Parts, Status};

use crate::config::{Config, Role};

/// Parts that a gateway cannot do without: the outbox takes what the broker cannot.
const OF_A_GATEWAY: [&str; 2] = ["database", "intake"];
/// Parts over which no process is ready, once they are down: the one is for a person to mend, and no new release is to
/// go on over it; the other is what `ready.max_outbox_age` asks for.
const OF_ALL: [&str; 2] = ["topology", "outbox"];

/// What this process says of itself. Cheap to clone.
#[derive(Clone)]
pub(super) struct Readiness {
    health: Health,
    takes_requests: bool,
    started: CancellationToken,
}

impl Readiness {
    /// Nothing has started yet; the parts of `config` are known from here on.
    pub(super) fn new(config: &Config, health: Health) -> Self {
        let takes_requests = config.roles.contains(&Role::Gateway);
        health.expect(["database", "relay", "broker", "broker-consume"]);
        health.expect(config.roles.iter().filter_map(|role| match role {
            Role::Gateway => Some("intake"),
            Role::Relay => None,
            Role::Saga | Role::Order | Role::Payment | Role::Dispatch => Some(role.name()),
        }));
        Self { health, takes_requests, started: CancellationToken::new() }
    }

    /// Of a process that has not started.
    #[cfg(test)]
    pub(super) fn of(health: Health) -> Self {
        Self { health, takes_requests: true, started: CancellationToken::new() }
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// Says that everything has been started.
    pub(super) fn set_started(&self) {
        self.started.cancel();
    }

    /// What the start waits for. Once it is over it stays so, whatever goes down.
    pub(super) fn not_started(&self) -> Option<String> {
        if self.started.is_cancelled() {
            return None;
        }
        Some(match self.health.subscribe().borrow().get("database") {
            Some(Status::Down(reason)) => format!("database: {reason}"),
            _ => "starting".to_owned(),
        })
    }

    /// Why this process cannot do its work.
    pub(super) fn not_ready(&self) -> Option<String> {
        not_ready(&self.health.subscribe().borrow(), self.takes_requests)
    }

    /// Whether it can, now and at every change.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        let (ready, told) = watch::channel(false);
        let this = self.clone();
        tokio::spawn(async move {
            let mut parts = this.health.subscribe();
            loop {
                let now = not_ready(&parts.borrow_and_update(), this.takes_requests).is_none();
                ready.send_if_modified(|said| std::mem::replace(said, now) != now);
                tokio::select! {
                    changed = parts.changed() => if changed.is_err() { return },
                    () = ready.closed() => return,
                }
            }
        });
        told
    }
}

/// A process that is no gateway needs all of its parts.
fn not_ready(parts: &Parts, takes_requests: bool) -> Option<String> {
    let is_needed = |part: &str| !takes_requests || OF_A_GATEWAY.contains(&part) || OF_ALL.contains(&part);
    parts.iter().filter(|(part, _)| is_needed(part)).find_map(|(part, status)| match status {
        Status::Starting => Some(format!("{part}: starting")),
        Status::Down(reason) => Some(format!("{part}: {reason}")),
        Status::Up => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: &[(&'static str, Status)]) -> Parts {
        parts.iter().cloned().collect()
    }

    fn down(reason: &str) -> Status {
        Status::Down(reason.to_owned())
    }

    #[test]
    fn a_gateway_does_without_the_broker_and_others_do_not() {
        let away = parts(&[("broker", down("away")), ("database", Status::Up), ("intake", Status::Up)]);
        assert_eq!(not_ready(&away, true), None);
        assert_eq!(not_ready(&away, false).as_deref(), Some("broker: away"));
        let starting = parts(&[("database", Status::Starting), ("intake", Status::Up)]);
        assert_eq!(not_ready(&starting, true).as_deref(), Some("database: starting"));
    }

    #[test]
    fn nobody_is_ready_over_a_topology_that_differs_or_an_outbox_that_lags() {
        for part in OF_ALL {
            let of_a_gateway = [("database", Status::Up), ("intake", Status::Up), (part, down("so"))];
            assert_eq!(not_ready(&parts(&of_a_gateway), true), Some(format!("{part}: so")));
        }
    }
}
