//! The server's certificates, and how new ones come into use while it runs.
//!
//! The whole TLS configuration is swapped, not the certificate alone: the client CA changes with it, and no session
//! that was begun under the old one is resumed under the new. Files are compared by content: a certificate that is
//! put in place by a rename or by switching a symbolic link is seen, whatever its date.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::sync::watch;
use waybill_messaging::pem;

use crate::refresh::Refresh;

/// ALPN names, the one that is liked best first.
pub type Protocols = &'static [&'static [u8]];

/// Files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The server's certificate, followed by those that vouch for it.
    pub certificate: PathBuf,
    /// Its private key, without a password.
    pub key: PathBuf,
    /// Clients have to have a certificate of one of these CAs.
    pub client_ca: Option<PathBuf>,
}

/// The certificates in use.
#[derive(Debug)]
pub struct Certificates {
    files: Files,
    protocols: Protocols,
    /// What the files held at the last look, usable or not.
    seen: Result<Contents, String>,
    current: watch::Sender<Arc<ServerConfig>>,
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Certificates {
    /// Reads the files, for a port that speaks these. Errors: what is wrong with which file.
    pub async fn load(files: Files, protocols: Protocols) -> Result<Self, String> {
        let contents = files.read().await?;
        let (current, _) = watch::channel(Arc::new(files.configure(&contents, protocols)?));
        Ok(Self { files, protocols, seen: Ok(contents), current })
    }

    /// What new connections shake hands with.
    pub(super) fn current(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.current.subscribe()
    }

    /// Looks at the files every few seconds and at each SIGHUP, for ever.
    pub(super) async fn keep_fresh(mut self, port: &'static str) {
        let mut refresh = Refresh::new();
        loop {
            refresh.due().await;
            match self.look().await {
                Ok(true) => tracing::info!(port, "new certificates are in use"),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(port, error, "new certificates cannot be used; the old ones stay");
                }
            }
        }
    }

    /// Uses what the files hold, if that is something new. Errors: it cannot be used. Said once for each content.
    async fn look(&mut self) -> Result<bool, String> {
        let found = self.files.read().await;
        if found == self.seen {
            return Ok(false);
        }
        self.seen = found;
        let contents = self.seen.as_ref().map_err(Clone::clone)?;
        let config = self.files.configure(contents, self.protocols)?;
        self.current.send_replace(Arc::new(config));
        Ok(true)
    }
}

impl Files {
    async fn read(&self) -> Result<Contents, String> {
        Ok(Contents {
            certificate: pem::read(&self.certificate).await?,
            key: pem::read(&self.key).await?,
            client_ca: match &self.client_ca {
                Some(file) => Some(pem::read(file).await?),
                None => None,
            },
        })
    }

    fn configure(&self, contents: &Contents, protocols: Protocols) -> Result<ServerConfig, String> {
        let chain = pem::certificates(&self.certificate, &contents.certificate)?;
        let key = pem::private_key(&self.key, &contents.key)?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match (&self.client_ca, &contents.client_ca) {
            (Some(file), Some(text)) => {
                let verifier = verifier(pem::certificates(file, text)?, provider);
                builder.with_client_cert_verifier(
                    verifier.map_err(|error| format!("{}: {error}", file.display()))?,
                )
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            format!("{} with {}: {error}", self.certificate.display(), self.key.display())
        })?;
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }
}

fn verifier(
    authorities: Vec<rustls::pki_types::CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| error.to_string())?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| error.to_string())
}

impl std::fmt::Debug for Contents {
    /// Nothing of them: one is a private key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Contents")
    }
}
