//! What is measured: the yardsticks, the reference path and Waybill, each under a name; and the figures.

use std::fmt;

/// Which database Waybill works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Postgres,
    Sqlite,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Postgres, Self::Sqlite];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "PostgreSQL",
            Self::Sqlite => "SQLite",
        })
    }
}

/// How requests reach the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    Unary { connections: u16 },
    Streaming,
}

/// One thing that is measured, under one load or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Sets of dispatch and outbox rows, written raw.
    Insert(Kind),
    /// Published and consumed at once, raw.
    Broker,
    /// A bare unary call.
    Echo { connections: u16 },
    /// The reference path, to the end of the saga.
    Reference,
    /// Its front alone.
    ReferenceAccepts,
    /// Waybill to the end of the saga, with the steps of the reference path.
    Sagas { database: Kind, packed: bool },
    /// The same on PostgreSQL with packs, by clients of whom each watches its dispatch.
    Watched,
    /// The same with every setting at its default, and so with the newest saga.
    Defaults,
    /// Waybill's gateway alone.
    Accepts { database: Kind, way: Way },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Insert(kind) => write!(f, "raw insert, {kind}"),
            Self::Broker => f.write_str("raw publish and consume, quorum queue"),
            Self::Echo { connections: 1 } => f.write_str("bare unary echo, one connection"),
            Self::Echo { connections } => write!(f, "bare unary echo, {connections} connections"),
            Self::Reference => f.write_str("reference path"),
            Self::ReferenceAccepts => f.write_str("reference path, accepts only"),
            Self::Sagas { database, packed: false } => write!(f, "Waybill, {database}, packing off"),
            Self::Sagas { database, packed: true } => write!(f, "Waybill, {database}, packing on"),
            Self::Watched => f.write_str("Waybill, PostgreSQL, packing on, each watched"),
            Self::Defaults => f.write_str("Waybill, PostgreSQL, defaults"),
            Self::Accepts { database, way: Way::Streaming } => {
                write!(f, "Waybill, {database}, streaming accepts only")
            }
            Self::Accepts { database, way: Way::Unary { connections: 1 } } => {
                write!(f, "Waybill, {database}, unary accepts only, one connection")
            }
            Self::Accepts { database, way: Way::Unary { connections } } => {
                write!(f, "Waybill, {database}, unary accepts only, {connections} connections")
            }
        }
    }
}

/// A figure of a subject under a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    /// Units, messages, calls, accepts or sagas a second.
    Rate,
    /// Request to end, or to receipt where only accepts are measured; ms.
    P50,
    P99,
    /// CPU per dispatch, ms: of Waybill, or of this program where it plays the reference path.
    Cpu,
    CpuBroker,
    CpuPostgres,
    /// Most that was resident so far, MB.
    Memory,
    /// What was resident before the first request, MB.
    Idle,
    /// Per dispatch.
    WalBytes,
    Messages,
    Statements,
}

impl Metric {
    /// What a row of the table of costs shows.
    pub(crate) const COSTS: [Self; 7] = [
        Self::Cpu,
        Self::CpuBroker,
        Self::CpuPostgres,
        Self::Memory,
        Self::WalBytes,
        Self::Messages,
        Self::Statements,
    ];

    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Rate => "per second",
            Self::P50 => "p50, ms",
            Self::P99 => "p99, ms",
            Self::Cpu => "CPU, ms",
            Self::CpuBroker => "CPU of the broker, ms",
            Self::CpuPostgres => "CPU of PostgreSQL, ms",
            Self::Memory => "peak memory, MB",
            Self::Idle => "idle memory, MB",
            Self::WalBytes => "WAL, bytes",
            Self::Messages => "AMQP messages",
            Self::Statements => "SQL statements",
        }
    }
}
