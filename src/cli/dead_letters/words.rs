//! Kinds and states of dead letters on the command line.

use waybill_proto::v1::{DeadLetterKind, DeadLetterState};

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    Permanent,
    Exhausted,
    Broker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum State {
    Dead,
    Replayed,
    Discarded,
}

impl Kind {
    pub(super) const fn wire(self) -> DeadLetterKind {
        match self {
            Self::Permanent => DeadLetterKind::Permanent,
            Self::Exhausted => DeadLetterKind::Exhausted,
            Self::Broker => DeadLetterKind::Broker,
        }
    }
}

impl State {
    pub(super) const fn wire(self) -> DeadLetterState {
        match self {
            Self::Dead => DeadLetterState::Dead,
            Self::Replayed => DeadLetterState::Replayed,
            Self::Discarded => DeadLetterState::Discarded,
        }
    }
}

pub(super) const fn kind(kind: DeadLetterKind) -> &'static str {
    match kind {
        DeadLetterKind::Unspecified => "unknown",
        DeadLetterKind::Permanent => "permanent",
        DeadLetterKind::Exhausted => "exhausted",
        DeadLetterKind::Broker => "broker",
    }
}

pub(super) const fn state(state: DeadLetterState) -> &'static str {
    match state {
        DeadLetterState::Unspecified => "unknown",
        DeadLetterState::Dead => "dead",
        DeadLetterState::Replayed => "replayed",
        DeadLetterState::Discarded => "discarded",
    }
}
