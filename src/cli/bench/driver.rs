//! How requests reach the server: by calls of their own, or through streams.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};

use super::{
    ledger::{Flight, Ledger},
    stream, unary,
};
use crate::cli::{
    client::{ClientArgs, Gateway},
    status,
};

/// How long a place stays empty after an error that names no time, so that a server in trouble is not
/// asked as fast as it can fail.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The way of requests over all connections, in turn.
pub(super) struct Driver {
    args: ClientArgs,
    ledger: Arc<Ledger>,
    tasks: TaskTracker,
    lanes: Vec<Lane>,
    next: usize,
    /// In a closed loop a client that was turned away waits; an open loop goes on.
    patient: bool,
}

enum Lane {
    Unary(Gateway),
    Stream(mpsc::Sender<Flight>),
}

impl Driver {
    pub(super) fn unary(args: ClientArgs, clients: Vec<Gateway>, ledger: Arc<Ledger>, patient: bool) -> Self {
        let lanes = clients.into_iter().map(Lane::Unary).collect();
        Self { args, ledger, tasks: TaskTracker::new(), lanes, next: 0, patient }
    }

    /// One stream a connection, with room for all that may be in flight.
    pub(super) fn streaming(
        args: ClientArgs,
        clients: Vec<Gateway>,
        ledger: Arc<Ledger>,
        patient: bool,
        in_flight: usize,
    ) -> Self {
        let tasks = TaskTracker::new();
        let mut lanes = Vec::with_capacity(clients.len());
        for client in clients {
            let (sender, flights) = mpsc::channel(in_flight);
            let ledger = Arc::clone(&ledger);
            let lane = stream::Lane::new(args.clone(), client, ledger, tasks.clone(), flights, patient);
            tasks.spawn(lane.run(in_flight));
            lanes.push(Lane::Stream(sender));
        }
        Self { args, ledger, tasks, lanes, next: 0, patient }
    }

    /// Sends it on its way, over the next connection.
    pub(super) async fn send(&mut self, flight: Flight) {
        let lane = &self.lanes[self.next % self.lanes.len()];
        self.next += 1;
        match lane {
            Lane::Unary(client) => {
                unary::send(&self.tasks, &self.args, client, &self.ledger, flight, self.patient);
            }
            Lane::Stream(sender) => {
                // A lane lives until its sender is dropped, and has room for all that may be in flight.
                let _ = sender.send(flight).await;
            }
        }
    }

    /// Waits until everything that was sent is answered.
    pub(super) async fn finish(self) {
        drop(self.lanes);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// How long to leave a server alone that has answered so. A request that was wrong says nothing about the
/// server.
pub(super) fn rest(status: &Status) -> Duration {
    if status.code() == Code::InvalidArgument {
        return Duration::ZERO;
    }
    status::retry_delay(status).unwrap_or(PAUSE).min(LONGEST_PAUSE)
}
