//! What this process says of itself over the gRPC health protocol, from the table that every part
//! reports to. Nothing is serving until somebody has said so.

use std::collections::HashMap;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic_health::{ServingStatus, server::HealthReporter};
use waybill_messaging::{
    StoreError,
    health::{Health, Parts, Status},
};
use waybill_proto::v1::{
    dispatch_gateway_server::DispatchGatewayServer, dispatch_operator_server::DispatchOperatorServer,
};

use crate::service::{Operator, Service};

/// The gateway in the table of parts: up while the database takes what is accepted.
const PART: &str = "gateway";
/// The whole process in the health protocol.
const OVERALL: &str = "";
/// The services that are up while the database answers.
const SERVICES: [&str; 2] = [
    <DispatchGatewayServer<Service> as NamedService>::NAME,
    <DispatchOperatorServer<Operator> as NamedService>::NAME,
];

/// Reports how the database answered. What it says of one request says nothing of the gateway.
pub(crate) fn report(health: &Health, error: Option<&StoreError>) {
    match error {
        None => health.set(PART, Status::Up),
        Some(StoreError::Unavailable(reason) | StoreError::Unknown(reason)) => {
            health.set(PART, Status::Down(reason.clone()));
        }
        Some(
            StoreError::Conflict(_) | StoreError::Taken(_) | StoreError::Refused(_) | StoreError::Failed(_),
        ) => {}
    }
}

/// The bridge to the health service.
pub(crate) struct Readiness {
    reporter: HealthReporter,
    health: Health,
    ready: Option<watch::Receiver<bool>>,
    /// What was said last: telling it twice would wake everybody who watches.
    said: HashMap<String, ServingStatus>,
}

impl Readiness {
    /// Says that nothing is serving yet. `ready` decides for the whole process; without it the gateway does.
    pub(crate) async fn new(
        reporter: HealthReporter,
        health: Health,
        ready: Option<watch::Receiver<bool>>,
    ) -> Self {
        let mut readiness = Self { reporter, health, ready, said: HashMap::new() };
        readiness.say(OVERALL, false).await;
        for service in SERVICES {
            readiness.say(service, false).await;
        }
        readiness
    }

    /// Passes on every change. On `stop` everything is said to be not serving, those who watch are let
    /// go, and it returns: only then may the server turn new calls away.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut parts = self.health.subscribe();
        loop {
            let now = parts.borrow_and_update().clone();
            self.pass_on(&now).await;
            tokio::select! {
                // The table outlives us: `self` holds a sender.
                _ = parts.changed() => {}
                () = changed(self.ready.as_mut()) => {}
                () = stop.cancelled() => return self.withdraw().await,
            }
        }
    }

    async fn pass_on(&mut self, parts: &Parts) {
        let gateway = parts.get(PART) == Some(&Status::Up);
        let overall = self.ready.as_mut().map_or(gateway, |ready| *ready.borrow_and_update());
        self.say(OVERALL, overall).await;
        for service in SERVICES {
            self.say(service, gateway).await;
        }
        for (part, status) in parts {
            self.say(part, *status == Status::Up).await;
        }
    }

    async fn withdraw(mut self) {
        let names: Vec<String> = self.said.keys().cloned().collect();
        for name in names {
            self.say(&name, false).await;
            // Who watches hears the last word and then the end of the stream, which would otherwise keep
            // its connection, and with it the drain, open.
            self.reporter.clear_service_status(&name).await;
        }
    }

    async fn say(&mut self, name: &str, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        if self.said.insert(name.to_owned(), status) != Some(status) {
            self.reporter.set_service_status(name, status).await;
        }
    }
}

async fn changed(ready: Option<&mut watch::Receiver<bool>>) {
    if let Some(ready) = ready
        && ready.changed().await.is_ok()
    {
        return;
    }
    // Nobody will ever say anything.
    std::future::pending::<()>().await;
}
