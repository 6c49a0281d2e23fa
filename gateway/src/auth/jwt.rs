//! JSON Web Tokens of one issuer, for one audience, signed with the keys that it publishes.
//!
//! A token chooses neither its algorithm nor its key's kind: both follow from the key that its `kid` names.

mod fetch;
mod keys;
mod provider;

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jsonwebtoken::{
    decode, decode_header,
    errors::{Error, ErrorKind},
};
use serde::Deserialize;
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, sleep},
};
use tonic::Status;

use self::keys::{Key, KeySet};
pub use self::keys::{Keys, check_keys};
use super::{client::is_name, scope::Scopes, unauthenticated};
use crate::status;

/// Calls that wait for such a look, at most: whoever sends them has shown no good token yet.
const MOST_WAITING: usize = 64;

/// Whose tokens are accepted, and what they make of a client.
#[derive(Clone, Debug)]
pub struct JwtSettings {
    /// What `iss` has to be.
    pub issuer: String,
    /// What `aud` has to be, or to have in it.
    pub audience: String,
    /// Where the issuer publishes its keys.
    pub keys: Keys,
    /// How far the clocks may differ, for `exp` and `nbf`.
    pub leeway: Duration,
    /// How often the keys are read.
    pub refresh: Duration,
    /// Least time between two looks for keys that tokens name and nobody knows.
    pub pause: Duration,
    /// Whether clients find only what they requested themselves.
    pub own_only: bool,
}

pub(super) struct Jwt {
    settings: JwtSettings,
    keys: RwLock<Arc<KeySet>>,
    /// Grows with every change of the keys.
    edition: AtomicU64,
    /// When the keys were last looked for; locked while they are.
    looked: Mutex<Option<Instant>>,
    waiting: Semaphore,
}

/// What a good token says.
pub(super) struct Verified {
    pub(super) name: String,
    pub(super) scopes: Scopes,
    /// It is good until then, in seconds since the epoch.
    pub(super) until: u64,
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    azp: Option<String>,
    scope: Option<Words>,
    scp: Option<Words>,
    exp: f64,
}

/// Scopes as one text with spaces, or as a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Text(String),
    List(Vec<String>),
}

/// Whether it is worth the trouble to read it.
pub(super) fn looks_like_one(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl Jwt {
    pub(super) fn new(settings: JwtSettings) -> Self {
        provider::install();
        Self {
            settings,
            keys: RwLock::default(),
            edition: AtomicU64::new(0),
            looked: Mutex::default(),
            waiting: Semaphore::new(MOST_WAITING),
        }
    }

    pub(super) fn own_only(&self) -> bool {
        self.settings.own_only
    }

    /// Which keys are in use.
    pub(super) fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// Reads the keys for ever.
    pub(super) async fn keep(&self) {
        loop {
            self.look(&mut *self.looked.lock().await).await;
            sleep(self.settings.refresh).await;
        }
    }

    /// Errors: `UNAUTHENTICATED`, saying why; `UNAVAILABLE` as long as no keys could be read at all.
    pub(super) async fn verify(&self, token: &str) -> Result<Verified, Status> {
        let header = decode_header(token).map_err(|error| refused(&error))?;
        let key = match self.key(header.kid.as_deref()) {
            Some(key) => key,
            None => self.key_after_look(header.kid.as_deref()).await?,
        };
        let claims: Claims =
            decode(token, &key.decoding, &key.validation).map_err(|error| refused(&error))?.claims;
        let scopes = claims.scopes();
        let name = claims.sub.or(claims.azp).filter(|name| is_name(name)).ok_or_else(|| {
            unauthenticated("the token's sub or azp must be 1 to 100 visible ASCII characters")
        })?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let until = (claims.exp as u64).saturating_add(self.settings.leeway.as_secs());
        Ok(Verified { name, scopes, until })
    }

    fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn key(&self, id: Option<&str>) -> Option<Arc<Key>> {
        self.keys().find(id)
    }

    /// A key that is not there may be new: the keys are read again, but not for everybody who asks.
    async fn key_after_look(&self, id: Option<&str>) -> Result<Arc<Key>, Status> {
        let Ok(_place) = self.waiting.try_acquire() else { return Err(status::no_keys()) };
        let mut looked = self.looked.lock().await;
        let is_due = looked.is_none_or(|last| last.elapsed() >= self.settings.pause);
        if self.key(id).is_none() && is_due {
            self.look(&mut looked).await;
        }
        drop(looked);
        if let Some(key) = self.key(id) {
            return Ok(key);
        }
        if self.keys().is_empty() {
            return Err(status::no_keys());
        }
        Err(unauthenticated("the token is signed with no key that its issuer publishes"))
    }

    /// What cannot be read changes nothing: the keys that are there are as good as before.
    async fn look(&self, looked: &mut Option<Instant>) {
        *looked = Some(Instant::now());
        let read = match fetch::fetch(&self.settings.keys).await {
            Ok(text) => KeySet::read(&text, &self.settings),
            Err(error) => Err(error),
        };
        match read {
            Ok(keys) if !keys.is_same(&self.keys()) => {
                tracing::info!(from = %self.settings.keys, keys = keys.len(), "the issuer's keys have been read");
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                self.edition.fetch_add(1, Ordering::AcqRel);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(from = %self.settings.keys, error, "the issuer's keys cannot be read");
            }
        }
    }
}

impl Claims {
    /// Words that are no scope of ours are somebody else's.
    fn scopes(&self) -> Scopes {
        let claims = [&self.scope, &self.scp].into_iter().flatten();
        let words = claims.flat_map(|claim| match claim {
            Words::Text(text) => text.split(' ').collect::<Vec<_>>(),
            Words::List(words) => words.iter().map(String::as_str).collect(),
        });
        words.filter_map(|word| word.parse().ok()).collect()
    }
}

fn refused(error: &Error) -> Status {
    unauthenticated(match error.kind() {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidIssuer => "the token is of another issuer",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::InvalidSignature => "the signature of the token is wrong",
        ErrorKind::InvalidAlgorithm => "the token is not signed as its key demands",
        ErrorKind::MissingRequiredClaim(_) => "the token lacks exp, iss or aud",
        _ => "the token is malformed",
    })
}

#[cfg(test)]
mod tests;
