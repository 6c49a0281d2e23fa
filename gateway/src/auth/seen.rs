//! JWTs that were found good, by their hash: a signature costs as much as the rest of a call.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jsonwebtoken::get_current_timestamp;

use super::{caller::Caller, token::HashedToken};

/// Tokens kept, at most. Past it all are checked anew, which costs time and nothing else.
const MOST: usize = 4_096;

/// How often the keys have changed, and the clients.
type Edition = (u64, u64);

#[derive(Default)]
pub(super) struct Seen(Mutex<Tokens>);

#[derive(Default)]
struct Tokens {
    /// Of the keys that they were checked with, and of the clients that they name.
    edition: Edition,
    good: HashMap<HashedToken, Good>,
}

struct Good {
    caller: Arc<Caller>,
    /// Seconds since the epoch.
    until: u64,
}

impl Seen {
    /// Whose token it is, if it was found good by keys and clients of that edition and still is.
    pub(super) fn get(&self, edition: Edition, hash: &HashedToken) -> Option<Arc<Caller>> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let good = tokens.good.get(hash).filter(|_| tokens.edition == edition)?;
        (get_current_timestamp() <= good.until).then(|| Arc::clone(&good.caller))
    }

    /// Notes a good token. Other keys or clients, or too many tokens, and all others are forgotten.
    pub(super) fn put(&self, edition: Edition, hash: HashedToken, caller: Arc<Caller>, until: u64) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.edition != edition || tokens.good.len() >= MOST {
            tokens.good.clear();
            tokens.edition = edition;
        }
        tokens.good.insert(hash, Good { caller, until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_until_it_ends_or_the_keys_change() {
        let (seen, caller) = (Seen::default(), Arc::new(Caller::nobody(None)));
        let now = get_current_timestamp();
        seen.put((1, 0), [1; 32], Arc::clone(&caller), now + 60);
        seen.put((1, 0), [2; 32], Arc::clone(&caller), now - 1);
        assert!(seen.get((1, 0), &[1; 32]).is_some());
        assert!(seen.get((1, 0), &[2; 32]).is_none());
        assert!(seen.get((2, 0), &[1; 32]).is_none());
        assert!(seen.get((1, 1), &[1; 32]).is_none());
        for n in 0..MOST {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_be_bytes());
            seen.put((1, 0), hash, Arc::clone(&caller), now + 60);
        }
        assert!(seen.0.lock().unwrap().good.len() <= MOST);
    }
}
