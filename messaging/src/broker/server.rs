//! Where the broker is, and how a connection to it is made: the one place that connects.
//!
//! Certificates are read anew for every connection, so that the next one after a change has the new ones. With a
//! CA of its own, a broker is believed by that one alone: one of the system's could vouch for anybody.

use std::{borrow::Cow, fmt, io, path::PathBuf};

use lapin::{
    Connection, ConnectionProperties,
    tcp::{AMQPUriTcpExt as _, RustlsConnector, RustlsConnectorConfig},
    uri::{AMQPAuthority, AMQPScheme, AMQPUri},
};

use super::in_time;
use crate::pem;

/// The broker's address, and the certificates for `amqps`.
#[derive(Clone)]
pub struct Server {
    /// `amqp://user:password@host:port/vhost`, or `amqps` for TLS.
    pub url: String,
    /// Files for TLS; without any, the broker's certificate has to be of a CA that the system trusts.
    pub tls: Tls,
}

/// Files in PEM by which the two ends of a connection to the broker know each other.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The CA of the broker's certificate, instead of the system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate with its chain, and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Server {
    /// The broker at `url`, without certificates of our own.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), tls: Tls::default() }
    }

    /// A connection that the broker shows by this name. Errors: it cannot be made in time.
    pub(crate) async fn connect(&self, name: String) -> Result<Connection, String> {
        in_time("connect", self.connecting(name)).await
    }

    async fn connecting(&self, name: String) -> Result<Connection, lapin::Error> {
        // The parser's words for a bad URL are fixed ones; the URL and its password are not among them.
        let uri: AMQPUri = with_heartbeat(&self.url).parse().map_err(io::Error::other)?;
        let connector = match uri.scheme {
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => Some(self.tls.connector().await.map_err(io::Error::other)?),
        };
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = lapin::runtime::default_runtime()?;
        let connect = async move |uri: AMQPUri, runtime| {
            let stream = without_secrets(&uri).connect_async(&runtime).await?;
            match &connector {
                Some(connector) => Ok(stream.into_rustls(connector, &uri.authority.host).await?),
                None => Ok(stream),
            }
        };
        Connection::connector(uri, runtime, connect, properties).await
    }
}

impl fmt::Debug for Server {
    /// Without the URL, which holds a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl Tls {
    async fn connector(&self) -> Result<RustlsConnector, String> {
        let config = match &self.ca {
            Some(file) => {
                let roots = pem::certificates(file, &pem::read(file).await?)?;
                RustlsConnectorConfig::default().with_parsable_certificates(roots)
            }
            None => RustlsConnectorConfig::new_with_native_certs()
                .map_err(|error| format!("the system's certificates: {error}"))?,
        };
        let connector = match &self.identity {
            Some((certificate, key)) => {
                let chain = pem::certificates(certificate, &pem::read(certificate).await?)?;
                config.connector_with_single_cert(chain, pem::private_key(key, &pem::read(key).await?)?)
            }
            None => config.connector_with_no_client_auth(),
        };
        connector.map_err(|error| format!("certificates for the broker: {error}"))
    }
}

/// Where a TCP connection goes. TLS is ours to add, because lapin's own would trust the system's CAs beside the given
/// one; and what connects logs all that it is given, the password included.
fn without_secrets(uri: &AMQPUri) -> AMQPUri {
    let AMQPAuthority { host, port, .. } = uri.authority.clone();
    let authority = AMQPAuthority { host, port, ..AMQPAuthority::default() };
    AMQPUri { authority, ..AMQPUri::default() }
}

/// The broker's own default of 60 s notices a dead peer after two minutes; its guide recommends 5 to 20 s. The size of
/// frames stays the broker's: headers of a message are one frame, and with a smaller limit a stranger's long ones would
/// end the connection of whoever consumes them.
fn with_heartbeat(url: &str) -> Cow<'_, str> {
    if url.contains("heartbeat=") {
        return url.into();
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}heartbeat=10").into()
}
