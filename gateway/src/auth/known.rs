//! The clients of the configuration, found by their credentials.

use std::{collections::HashMap, sync::Arc};

use super::{
    caller::Caller,
    certificate::CertificateName,
    client::Client,
    limit::{Limit, Limits},
    scope::Scopes,
    token::{self, HashedToken},
};
use crate::metrics::TurnedAway;

/// All of them.
pub(super) struct Known {
    clients: Vec<Entry>,
    tokens: Vec<(HashedToken, usize)>,
    certificates: HashMap<CertificateName, usize>,
    names: HashMap<String, usize>,
    /// How often the clients have changed.
    edition: u64,
}

/// One of them.
pub(super) struct Entry {
    client: Client,
    limits: Arc<Limits>,
    /// As its own credentials make it.
    caller: Arc<Caller>,
}

impl Known {
    /// `limit`: of those who have none of their own.
    pub(super) fn new(clients: Vec<Client>, limit: Limit, turned_away: &Arc<TurnedAway>) -> Self {
        let mut known = Self {
            clients: Vec::new(),
            tokens: Vec::new(),
            certificates: HashMap::new(),
            names: HashMap::new(),
            edition: 0,
        };
        for (index, client) in clients.into_iter().enumerate() {
            known.tokens.extend(client.tokens.iter().map(|hash| (*hash, index)));
            known.certificates.extend(client.certificates.iter().map(|name| (name.clone(), index)));
            known.names.insert(client.name.clone(), index);
            known.clients.push(Entry::new(client, limit, turned_away));
        }
        known
    }

    /// The same in the place of others.
    pub(super) fn after(self, others: &Self) -> Self {
        Self { edition: others.edition + 1, ..self }
    }

    pub(super) fn edition(&self) -> u64 {
        self.edition
    }

    pub(super) fn with_token(&self, hash: &HashedToken) -> Option<Arc<Caller>> {
        let index = token::find(&self.tokens, hash)?;
        self.clients.get(index).map(|entry| Arc::clone(&entry.caller))
    }

    /// Nobody where the names are those of several clients: then nobody can say which of them it is.
    pub(super) fn with_certificate(&self, names: &[CertificateName]) -> Option<Arc<Caller>> {
        let mut found = names.iter().filter_map(|name| self.certificates.get(name));
        let index = *found.next()?;
        let is_one = found.all(|other| *other == index);
        self.clients.get(index).filter(|_| is_one).map(|entry| Arc::clone(&entry.caller))
    }

    pub(super) fn named(&self, name: &str) -> Option<&Entry> {
        self.names.get(name).and_then(|index| self.clients.get(*index))
    }
}

impl Entry {
    fn new(client: Client, limit: Limit, turned_away: &Arc<TurnedAway>) -> Self {
        let limits = Arc::new(Limits::new(client.limit.unwrap_or(limit), turned_away));
        let caller =
            Caller::new(client.name.clone(), client.scopes, client.own_only, Some(Arc::clone(&limits)));
        Self { client, limits, caller: Arc::new(caller) }
    }

    /// The client as a JWT with these scopes names it; `None` where no JWT may.
    pub(super) fn with_jwt(&self, scopes: Scopes) -> Option<Arc<Caller>> {
        let Client { name, jwt, own_only, .. } = &self.client;
        let caller = || {
            let scopes = self.client.scopes.and(scopes);
            Arc::new(Caller::new(name.clone(), scopes, *own_only, Some(Arc::clone(&self.limits))))
        };
        jwt.then(caller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str, certificates: &[&str]) -> Client {
        Client {
            name: name.to_owned(),
            tokens: Vec::new(),
            certificates: certificates.iter().map(|name| name.parse().unwrap()).collect(),
            jwt: false,
            scopes: Scopes::ALL,
            own_only: false,
            limit: None,
        }
    }

    #[test]
    fn a_certificate_is_of_the_one_client_that_its_names_name() {
        let clients = vec![client("a", &["cn:a", "dns:a.example"]), client("b", &["cn:b"])];
        let known = Known::new(clients, Limit::default(), &Arc::new(TurnedAway::new()));
        let of = |names: &[&str]| {
            let names: Vec<CertificateName> = names.iter().map(|name| name.parse().unwrap()).collect();
            known.with_certificate(&names).map(|caller| caller.name().to_owned())
        };
        assert_eq!(of(&["cn:a"]).as_deref(), Some("a"));
        assert_eq!(of(&["cn:x", "dns:a.example", "cn:a"]).as_deref(), Some("a"));
        assert_eq!(of(&["cn:a", "cn:b"]), None);
        assert_eq!(of(&["dns:a"]), None, "a name of another kind is another name");
        assert_eq!(of(&[]), None);
    }
}
