//! What the configuration says of clients.

use super::{
    certificate::CertificateName, jwt::JwtSettings, limit::Limit, scope::Scopes, token::HashedToken,
};

/// Longest name of a client.
const MAX_NAME: usize = 100;

/// Authentication, authorisation and the limits of each client. The default is none of it.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Clients by name, each name once.
    pub clients: Vec<Client>,
    /// Whose JWTs are accepted.
    pub jwt: Option<JwtSettings>,
    /// For each client that has none of its own.
    pub client_limit: Limit,
    /// For each peer address, where nobody has to say who they are.
    pub address_limit: Limit,
}

/// A client that is known by name.
#[derive(Clone, Debug)]
pub struct Client {
    /// See [`is_name`].
    pub name: String,
    /// Any of these is theirs.
    pub tokens: Vec<HashedToken>,
    /// A certificate that has any of these names is theirs.
    pub certificates: Vec<CertificateName>,
    /// Whether a JWT may name them. They then have those of their scopes that the JWT grants.
    pub jwt: bool,
    /// What they may do.
    pub scopes: Scopes,
    /// Whether they find only what they requested themselves.
    pub own_only: bool,
    /// `None`: the limit of all clients.
    pub limit: Option<Limit>,
}

impl Settings {
    /// Whether clients have to say who they are.
    pub fn authenticates(&self) -> bool {
        !self.clients.is_empty() || self.jwt.is_some()
    }
}

/// Whether a client may be called so: 1 to 100 visible ASCII characters, which are safe in a log line, a
/// header and a label.
pub fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
