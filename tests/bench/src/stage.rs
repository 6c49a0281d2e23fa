//! What each stage allows when it is driven raw: database, broker, gRPC.

pub(crate) mod broker;
pub(crate) mod echo;
pub(crate) mod insert;

/// Bytes of a message, about what a command of the saga has with its properties.
const BODY: usize = 300;
