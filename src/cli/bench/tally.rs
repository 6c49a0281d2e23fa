//! The figures of a run, and what ended otherwise than it should.

use std::{collections::BTreeMap, time::Duration};

use tonic::Code;

use super::{mix::Outcome, schedule::Ticket, series::Series};
use crate::cli::{Failure, latency::Latency};

/// Wrong ends that are listed one by one.
const LISTED: usize = 20;

/// Something that was accepted and did not end as the mix says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) message_id: String,
    /// Empty where none is known.
    pub(super) dispatch_id: String,
    pub(super) expected: Outcome,
    /// What became of it, in words.
    pub(super) found: String,
}

/// Counts of everything, warm-up included; latencies of what was measured only.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) sent: u64,
    /// Sent in the warm-up.
    pub(super) warm_up: u64,
    /// Due before the end of an open loop, and not sent by then.
    pub(super) not_sent: u64,
    pub(super) accepted: u64,
    /// Not accepted, as the mix says.
    pub(super) rejected: u64,
    /// Not accepted although the mix says so, by gRPC code.
    pub(super) errors: BTreeMap<i32, u64>,
    /// Accepted, ended as the mix says.
    pub(super) ended: BTreeMap<Outcome, u64>,
    /// To be cancelled, and completed all the same: the request came too late.
    pub(super) too_late: u64,
    /// Accepted, not ended when the run was over.
    pub(super) unfinished: u64,
    pub(super) wrong: u64,
    /// The first of those, and of the unfinished.
    pub(super) listed: Vec<Wrong>,
    /// From when a request was meant to go out to its receipt.
    pub(super) accept: Latency,
    /// From there to its end.
    pub(super) end: Latency,
    /// From acceptance to the end, by the clock of the server alone.
    pub(super) server: Latency,
    /// How much later than meant requests went out.
    pub(super) late: Latency,
    pub(super) accepts: Series,
    pub(super) ends: Series,
}

impl Tally {
    pub(super) fn new(warm_up: Duration) -> Result<Self, Failure> {
        Ok(Self {
            sent: 0,
            warm_up: 0,
            not_sent: 0,
            accepted: 0,
            rejected: 0,
            errors: BTreeMap::new(),
            ended: BTreeMap::new(),
            too_late: 0,
            unfinished: 0,
            wrong: 0,
            listed: Vec::new(),
            accept: Latency::new()?,
            end: Latency::new()?,
            server: Latency::new()?,
            late: Latency::new()?,
            accepts: Series::new(warm_up),
            ends: Series::new(warm_up),
        })
    }

    pub(super) fn sent(&mut self, ticket: &Ticket, now: Duration) {
        self.sent += 1;
        if ticket.measured {
            self.late.record(now.saturating_sub(ticket.intended));
        } else {
            self.warm_up += 1;
        }
    }

    pub(super) fn accepted(&mut self, ticket: &Ticket, now: Duration) {
        self.accepted += 1;
        self.accepts.add(now);
        if ticket.measured {
            self.accept.record(now.saturating_sub(ticket.intended));
        }
    }

    pub(super) fn error(&mut self, code: Code) {
        *self.errors.entry(code.into()).or_default() += 1;
    }

    /// Accepted and ended, rightly or not: `latency` from when it was meant to go out, `server` from
    /// acceptance by the server's clock, where that is known.
    pub(super) fn ended(&mut self, ticket: &Ticket, latency: Duration, server: Option<Duration>) {
        self.ends.add(ticket.intended + latency);
        if ticket.measured {
            self.end.record(latency);
            if let Some(server) = server {
                self.server.record(server);
            }
        }
    }

    pub(super) fn right(&mut self, outcome: Outcome) {
        *self.ended.entry(outcome).or_default() += 1;
    }

    pub(super) fn wrong(&mut self, wrong: Wrong) {
        self.wrong += 1;
        self.list(wrong);
    }

    pub(super) fn unfinished(&mut self, wrong: Wrong) {
        self.unfinished += 1;
        self.list(wrong);
    }

    fn list(&mut self, wrong: Wrong) {
        if self.listed.len() < LISTED {
            self.listed.push(wrong);
        }
    }

    pub(super) fn ends(&self) -> u64 {
        self.ended.values().sum::<u64>() + self.too_late + self.wrong
    }

    pub(super) fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}
