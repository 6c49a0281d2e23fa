//! Many requests through one `RequestDispatches`: opened again when it breaks; what was on its way then has
//! an unknown outcome.

use std::{collections::HashMap, sync::Arc};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Status, Streaming};
use waybill_proto::v1::{DispatchReceipt, DispatchRequested};

use super::{
    cancel,
    driver::rest,
    ledger::{Flight, Ledger, Next},
};
use crate::cli::{
    backoff::Backoff,
    client::{ClientArgs, Gateway},
    status,
};

/// One connection's stream.
pub(super) struct Lane {
    args: ClientArgs,
    client: Gateway,
    ledger: Arc<Ledger>,
    /// For what is to be done beside the stream before the load is over.
    tasks: TaskTracker,
    flights: mpsc::Receiver<Flight>,
    patient: bool,
    /// Whether more may come.
    open: bool,
    pending: HashMap<String, Flight>,
    /// The last answer, or the first question after everything was answered.
    heard: Instant,
}

enum Event {
    Flight(Option<Flight>),
    Receipt(Option<DispatchReceipt>),
}

impl Lane {
    pub(super) fn new(
        args: ClientArgs,
        client: Gateway,
        ledger: Arc<Ledger>,
        tasks: TaskTracker,
        flights: mpsc::Receiver<Flight>,
        patient: bool,
    ) -> Self {
        let (pending, heard) = (HashMap::new(), Instant::now());
        Self { args, client, ledger, tasks, flights, patient, open: true, pending, heard }
    }

    /// Until nothing more comes and everything is answered.
    pub(super) async fn run(mut self, in_flight: usize) {
        let mut backoff = Backoff::new();
        while self.open {
            let began = Instant::now();
            let Err(broken) = self.stream(in_flight).await else { return };
            for (_, flight) in std::mem::take(&mut self.pending) {
                self.ledger.answered(flight, Err(broken.clone()));
            }
            if began.elapsed() > self.args.timeout {
                backoff.reset();
            }
            backoff.pause().await;
        }
    }

    async fn stream(&mut self, in_flight: usize) -> Result<(), Status> {
        // As many as can be on their way, so that sending never waits.
        let (sender, receiver) = mpsc::channel(in_flight);
        let opening =
            timeout(self.args.timeout, self.client.request_dispatches(ReceiverStream::new(receiver)));
        let late = |_| Status::deadline_exceeded("the server did not open the stream in time");
        let opened = opening.await.map_err(late).and_then(|opened| opened);
        let mut receipts = match opened {
            Ok(receipts) => receipts.into_inner(),
            Err(status) => return Err(self.refuse_waiting(status).await),
        };
        while self.open || !self.pending.is_empty() {
            match self.event(&mut receipts).await? {
                Event::Flight(Some(flight)) => self.send(flight, &sender)?,
                Event::Flight(None) => self.open = false,
                Event::Receipt(Some(receipt)) => self.answer(receipt),
                Event::Receipt(None) => return Err(Status::unavailable("the server ended the stream")),
            }
        }
        Ok(())
    }

    /// There is no stream: those who wait, and at least one, learn of it, as one who makes a call would.
    async fn refuse_waiting(&mut self, status: Status) -> Status {
        let mut next = self.flights.recv().await;
        self.open = next.is_some();
        while let Some(flight) = next {
            self.ledger.sent(&flight.ticket);
            self.pending.insert(flight.request.message_id.clone(), flight);
            next = self.flights.try_recv().ok();
        }
        status
    }

    async fn event(&mut self, receipts: &mut Streaming<DispatchReceipt>) -> Result<Event, Status> {
        let silent = self.heard + self.args.timeout;
        tokio::select! {
            receipt = receipts.message() => Ok(Event::Receipt(receipt?)),
            flight = self.flights.recv(), if self.open => Ok(Event::Flight(flight)),
            () = sleep_until(silent), if !self.pending.is_empty() => {
                Err(Status::deadline_exceeded("no answer within the time-out"))
            }
        }
    }

    fn send(&mut self, flight: Flight, sender: &mpsc::Sender<DispatchRequested>) -> Result<(), Status> {
        if self.pending.is_empty() {
            self.heard = Instant::now();
        }
        self.ledger.sent(&flight.ticket);
        let request = flight.request.clone();
        self.pending.insert(request.message_id.clone(), flight);
        // The channel has room for all that may be in flight; closed means that the stream broke.
        sender.try_send(request).map_err(|_| Status::unavailable("the stream broke"))
    }

    fn answer(&mut self, receipt: DispatchReceipt) {
        self.heard = Instant::now();
        let Some(flight) = self.pending.remove(&receipt.message_id) else { return };
        let error = receipt.error.as_ref().map(status::of_item);
        let pause = error.as_ref().map(rest).filter(|pause| self.patient && !pause.is_zero());
        match (self.ledger.answered(flight, error.map_or(Ok(receipt), Err)), pause) {
            (Next::Cancel { dispatch_id, place }, _) => {
                let (args, client, ledger) =
                    (self.args.clone(), self.client.clone(), Arc::clone(&self.ledger));
                self.tasks.spawn(async move {
                    cancel::ask(&args, &client, &ledger, dispatch_id).await;
                    drop(place);
                });
            }
            (Next::Rest(place), Some(pause)) => {
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    drop(place);
                });
            }
            (Next::Rest(_) | Next::Nothing, _) => {}
        }
    }
}
