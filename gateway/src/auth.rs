//! Who asks, and what they may: the credentials of a call become a `Caller`, whose scopes are compared with
//! what the method needs, and whose limits hold for the call and for each message of a stream.
//!
//! Where no credentials are configured everybody may do everything, under the limits of their address. A call
//! that brings credentials is judged by them alone: a wrong token is not made good by a certificate.

mod caller;
mod certificate;
mod client;
mod jwt;
mod known;
mod limit;
mod scope;
mod seen;
mod table;
mod token;

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
};

use http::{Extensions, HeaderMap};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

pub(crate) use self::{caller::Caller, limit::Place};
pub use self::{
    certificate::{CertificateName, PeerCertificate},
    client::{Client, Settings, is_name},
    jwt::{JwtSettings, Keys, check_keys},
    limit::Limit,
    scope::{Scope, Scopes},
    token::{HashedToken, hash_of},
};
use self::{
    jwt::Jwt,
    known::Known,
    seen::Seen,
    table::{Key, Table},
};
use crate::metrics::{Reason, TurnedAway};

/// Judges every call of a gateway.
pub(crate) struct Auth {
    known: RwLock<Arc<Known>>,
    /// For each client that has none of its own.
    client_limit: Limit,
    /// What the known clients are from now on.
    clients: Option<watch::Receiver<Vec<Client>>>,
    jwt: Option<Jwt>,
    /// JWTs that were found good, so that a signature is checked once and not at every call.
    seen: Seen,
    /// Limits of those who are not in the configuration by name.
    limits: Table,
    turned_away: Arc<TurnedAway>,
    /// For everybody, where nobody has to say who they are and addresses have no limits.
    nobody: Option<Arc<Caller>>,
}

impl Auth {
    /// `clients`: those of the settings again, whenever they change.
    pub(crate) fn new(settings: Settings, clients: Option<watch::Receiver<Vec<Client>>>) -> Self {
        let is_on = settings.authenticates();
        let limit = if is_on { settings.client_limit } else { settings.address_limit };
        let turned_away = Arc::new(TurnedAway::new());
        Self {
            nobody: (!is_on).then(|| Arc::new(Caller::nobody(None))),
            known: RwLock::new(Arc::new(Known::new(settings.clients, settings.client_limit, &turned_away))),
            client_limit: settings.client_limit,
            clients,
            jwt: settings.jwt.map(Jwt::new),
            seen: Seen::default(),
            limits: Table::new(limit, &turned_away),
            turned_away,
        }
    }

    /// Reads the keys of JWTs again and again, and follows what becomes of the clients, until `stop`.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        let keys = async {
            if let Some(jwt) = &self.jwt {
                jwt.keep().await;
            }
        };
        stop.run_until_cancelled(async { tokio::join!(keys, self.follow()) }).await;
    }

    /// Exchanges the clients all at once: a call is judged by the old ones or by the new ones.
    async fn follow(&self) {
        let Some(mut clients) = self.clients.clone() else { return };
        while clients.changed().await.is_ok() {
            let next = Known::new(clients.borrow_and_update().clone(), self.client_limit, &self.turned_away);
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            *known = Arc::new(next.after(&known));
        }
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who makes this call, if they may.
    ///
    /// Errors: `UNAUTHENTICATED`, `PERMISSION_DENIED`, and `UNAVAILABLE` while the keys of JWTs are not there.
    pub(crate) async fn admit(
        &self,
        path: &str,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Arc<Caller>, Status> {
        if let Some(nobody) = &self.nobody {
            return Ok(self.at_address(extensions).unwrap_or_else(|| Arc::clone(nobody)));
        }
        let judged = self.judge(path, headers, extensions).await;
        judged.inspect_err(|status| {
            self.turned_away.count(match status.code() {
                Code::PermissionDenied => Reason::Scope,
                Code::Unavailable => Reason::Keys,
                _ => Reason::Authentication,
            });
        })
    }

    /// Counts a call that finds all places taken.
    pub(crate) fn is_full(&self) {
        self.turned_away.count(Reason::Load);
    }

    async fn judge(
        &self,
        path: &str,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Arc<Caller>, Status> {
        let caller = match token::of(headers)? {
            Some(token) => self.with_token(token).await?,
            None => self.with_certificate(extensions)?,
        };
        caller.check(scope::needed(path))?;
        Ok(caller)
    }

    /// Somebody without a name, where addresses have limits.
    fn at_address(&self, extensions: &Extensions) -> Option<Arc<Caller>> {
        let address = address(extensions).filter(|_| !self.limits.is_without_limit())?;
        Some(Arc::new(Caller::nobody(Some(self.limits.of(Key::address(address))))))
    }

    async fn with_token(&self, token: &str) -> Result<Arc<Caller>, Status> {
        let hash: HashedToken = Sha256::digest(token).into();
        let known = self.known();
        if let Some(caller) = known.with_token(&hash) {
            return Ok(caller);
        }
        let Some(jwt) = self.jwt.as_ref().filter(|_| jwt::looks_like_one(token)) else {
            return Err(unauthenticated("the token is not known"));
        };
        let edition = (jwt.edition(), known.edition());
        if let Some(caller) = self.seen.get(edition, &hash) {
            return Ok(caller);
        }
        let verified = jwt.verify(token).await?;
        let until = verified.until;
        let caller = self.of_issuer(jwt, &known, verified)?;
        self.seen.put(edition, hash, Arc::clone(&caller), until);
        Ok(caller)
    }

    /// The client that a JWT names. One of the configuration's only if it says so: whoever may choose a
    /// subject at the issuer must not become a client that has other credentials.
    fn of_issuer(&self, jwt: &Jwt, known: &Known, verified: jwt::Verified) -> Result<Arc<Caller>, Status> {
        let jwt::Verified { name, scopes, .. } = verified;
        let Some(known) = known.named(&name) else {
            let limits = self.limits.of(Key::Name(name.clone()));
            return Ok(Arc::new(Caller::new(name, scopes, jwt.own_only(), Some(limits))));
        };
        known
            .with_jwt(scopes)
            .ok_or_else(|| unauthenticated("the token names a client that does not use JWTs"))
    }

    fn with_certificate(&self, extensions: &Extensions) -> Result<Arc<Caller>, Status> {
        let certificate = certificate::of(extensions).ok_or_else(|| {
            unauthenticated("no credentials: send `authorization: Bearer <token>`, or a client certificate")
        })?;
        self.known().with_certificate(certificate.names()).ok_or_else(|| {
            unauthenticated("the client certificate does not name one client that is known here")
        })
    }
}

/// No message says more than the client knows: which token was wrong is not repeated.
fn unauthenticated(why: &str) -> Status {
    Status::unauthenticated(why)
}

fn address(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<crate::listen::Peer>().map(|peer| peer.address.ip())
}

#[cfg(test)]
mod tests;
