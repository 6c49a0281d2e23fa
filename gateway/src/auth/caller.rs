//! Who makes a call.

use std::sync::Arc;

use tonic::Status;

use super::{
    limit::{Limits, Place},
    scope::{Scope, Scopes},
};

/// Whoever makes a call, with everything that bears on it.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Visible ASCII; empty where nobody has to say who they are.
    name: String,
    scopes: Scopes,
    own_only: bool,
    limits: Option<Arc<Limits>>,
}

impl Caller {
    pub(super) fn new(name: String, scopes: Scopes, own_only: bool, limits: Option<Arc<Limits>>) -> Self {
        Self { name, scopes, own_only, limits }
    }

    /// Somebody who does not have to say who they are.
    pub(super) fn nobody(limits: Option<Arc<Limits>>) -> Self {
        Self::new(String::new(), Scopes::ALL, false, limits)
    }

    /// Somebody who came by no way that is known, and sees nothing: no client can have such a name.
    pub(crate) fn unknown() -> Self {
        Self::new("not known".to_owned(), Scopes::default(), true, None)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The name that holds for an operator: nobody who is known acts under another one's.
    pub(crate) fn acting_as(&self, claimed: String) -> String {
        if self.name.is_empty() { claimed } else { self.name.clone() }
    }

    /// Whose dispatches they see; `None`: everybody's.
    pub(crate) fn owner(&self) -> Option<&str> {
        self.own_only.then_some(self.name.as_str())
    }

    /// Whether they may know of a dispatch of that client.
    pub(crate) fn sees(&self, client: &str) -> bool {
        self.owner().is_none_or(|owner| owner == client)
    }

    /// Errors: `PERMISSION_DENIED`, naming the scope.
    pub(super) fn check(&self, needed: Option<Scope>) -> Result<(), Status> {
        match needed.filter(|scope| !self.scopes.allow(*scope)) {
            None => Ok(()),
            Some(scope) => {
                Err(Status::permission_denied(format!("client {} does not have scope {scope}", self.name)))
            }
        }
    }

    /// A place for a call or a stream, held as long as it lasts. Errors: `RESOURCE_EXHAUSTED`.
    pub(crate) fn enter(&self, is_stream: bool) -> Result<Place, Status> {
        self.limits.as_ref().map_or_else(|| Ok(Place::default()), |limits| limits.enter(is_stream))
    }

    /// A place for one message of a stream, held until it is answered: it counts like a call. Errors:
    /// `RESOURCE_EXHAUSTED`.
    pub(crate) fn message(&self) -> Result<Place, Status> {
        self.enter(false)
    }
}
