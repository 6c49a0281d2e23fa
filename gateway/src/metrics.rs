//! What the gateway measures: every instrument by its name. Messaging's file of the same name says how
//! counters come to be there at 0.

use std::time::Duration;

use opentelemetry::{
    KeyValue,
    metrics::{Histogram, UpDownCounter},
};
use tokio::sync::OwnedSemaphorePermit;
use waybill_messaging::metrics::{Outcomes, SECONDS, SIZES, meter};

use crate::{accept::Answer, status::Refusal};

/// How requests fare.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    requests: Outcomes<5>,
    duration: Histogram<f64>,
    size: Histogram<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = meter();
        let requests = meter
            .u64_counter("waybill.gateway.requests")
            .with_description("Requested dispatches by how they were answered")
            .with_unit("{request}");
        let duration = meter
            .f64_histogram("waybill.gateway.acceptance.duration")
            .with_description(
                "From a valid request to its receipt or refusal, the wait for a commit included",
            )
            .with_unit("s")
            .with_boundaries(SECONDS.to_vec());
        let size = meter
            .u64_histogram("waybill.gateway.commit.size")
            .with_description("Requests committed together")
            .with_unit("{request}")
            .with_boundaries(SIZES.to_vec());
        let names = ["accepted", "duplicate", "refused", "overloaded", "failed"];
        Self {
            requests: Outcomes::new(requests.build(), "outcome", names, &[]),
            duration: duration.build(),
            size: size.build(),
        }
    }

    /// A request has been answered.
    pub(crate) fn answered(&self, answer: &Answer, after: Duration) {
        self.requests.add(match answer {
            Ok(receipt) if receipt.duplicate => [0, 1, 0, 0, 0],
            Ok(_) => [1, 0, 0, 0, 0],
            Err(Refusal::MessageReused(_) | Refusal::OrderTaken(_) | Refusal::Taken(..)) => [0, 0, 1, 0, 0],
            Err(Refusal::Full(_)) => [0, 0, 0, 1, 0],
            Err(Refusal::Stopping | Refusal::Store(_)) => [0, 0, 0, 0, 1],
        });
        self.duration.record(after.as_secs_f64(), &[]);
    }

    /// A request could not be read, and was refused with everything that is wrong with it.
    pub(crate) fn invalid(&self) {
        self.requests.add([0, 0, 1, 0, 0]);
    }

    /// So many requests were put into one transaction.
    pub(crate) fn committed(&self, requests: usize) {
        self.size.record(requests as u64, &[]);
    }
}

/// Why a call, or a message of a stream, was turned away before anybody looked at what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It did not say who makes it, or not so that it could be believed.
    Authentication,
    /// Its caller may not do that.
    Scope,
    /// Its caller makes too many a second.
    Rate,
    /// Its caller has too many in flight.
    InFlight,
    /// All callers together have.
    Load,
    /// The keys by which to judge its token are not there.
    Keys,
}

/// Calls that were turned away.
#[derive(Debug)]
pub(crate) struct TurnedAway(Outcomes<6>);

impl TurnedAway {
    pub(crate) fn new() -> Self {
        let meter = meter();
        let counter = meter
            .u64_counter("waybill.gateway.turned_away")
            .with_description(
                "Calls, and messages of streams, that were turned away before they were looked at",
            )
            .with_unit("{call}");
        let names = ["authentication", "scope", "rate", "in_flight", "load", "keys"];
        Self(Outcomes::new(counter.build(), "reason", names, &[]))
    }

    pub(crate) fn count(&self, reason: Reason) {
        self.0.add(match reason {
            Reason::Authentication => [1, 0, 0, 0, 0, 0],
            Reason::Scope => [0, 1, 0, 0, 0, 0],
            Reason::Rate => [0, 0, 1, 0, 0, 0],
            Reason::InFlight => [0, 0, 0, 1, 0, 0],
            Reason::Load => [0, 0, 0, 0, 1, 0],
            Reason::Keys => [0, 0, 0, 0, 0, 1],
        });
    }
}

/// How a connection came in, or did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It is served.
    Accepted,
    /// There was no place for it.
    Full,
    /// No TLS, on a port that has it.
    PlainText,
    /// The TLS handshake failed; often a certificate that one side does not believe.
    Refused,
    /// The TLS handshake took too long.
    Slow,
}

/// The connections of one port.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    entries: Outcomes<5>,
    open: UpDownCounter<i64>,
    port: [KeyValue; 1],
}

/// A connection's place, counted as taken until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    open: UpDownCounter<i64>,
    port: [KeyValue; 1],
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    pub(crate) fn new(port: &'static str) -> Self {
        let meter = meter();
        let entries = meter
            .u64_counter("waybill.connections")
            .with_description("Connections by how they came in, or did not")
            .with_unit("{connection}");
        let open = meter
            .i64_up_down_counter("waybill.connections.open")
            .with_description("Connections that are open")
            .with_unit("{connection}");
        let port = [KeyValue::new("port", port)];
        let names = ["accepted", "full", "plain_text", "refused", "slow"];
        let open = open.build();
        open.add(0, &port);
        Self { entries: Outcomes::new(entries.build(), "outcome", names, &port), open, port }
    }

    /// A connection came in, or did not.
    pub(crate) fn entered(&self, entry: Entry) {
        self.entries.add(match entry {
            Entry::Accepted => [1, 0, 0, 0, 0],
            Entry::Full => [0, 1, 0, 0, 0],
            Entry::PlainText => [0, 0, 1, 0, 0],
            Entry::Refused => [0, 0, 0, 1, 0],
            Entry::Slow => [0, 0, 0, 0, 1],
        });
    }

    /// A connection takes its place.
    pub(crate) fn open(&self, permit: OwnedSemaphorePermit) -> Place {
        self.open.add(1, &self.port);
        Place { open: self.open.clone(), port: self.port.clone(), _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.add(-1, &self.port);
    }
}
