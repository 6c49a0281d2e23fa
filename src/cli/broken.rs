//! Why a stream is not read any further, and whether it is worth opening again.

use tonic::Status;

use super::{Failure, status};

/// What ended the reading of a stream before it was done.
#[derive(Debug)]
pub(super) enum Break {
    /// The server, or the way to it.
    Status(Status),
    /// This side: the output is closed, for example.
    Failure(Failure),
}

impl Break {
    /// The status, when opening the stream again may help; otherwise the failure that ends the command.
    pub(super) fn passing(self) -> Result<Status, Failure> {
        match self {
            Self::Status(status) if status::is_passing(status.code()) => Ok(status),
            Self::Status(status) => Err(status.into()),
            Self::Failure(failure) => Err(failure),
        }
    }
}

impl From<Status> for Break {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<Failure> for Break {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}
