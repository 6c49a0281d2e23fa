//! The certificates of a client command: whom it believes, and who it says it is.

use std::{fmt::Write as _, fs, path::PathBuf};

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::{Failure, status};

/// Files in PEM for an endpoint that begins with https://.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct TlsArgs {
    /// CA of the server's certificate, instead of those that the system trusts; for https://
    #[arg(long = "tls-ca", id = "tls_ca", env = "WAYBILL_TLS_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Certificate to show to the server; for https://
    #[arg(
        long = "tls-certificate",
        id = "tls_certificate",
        env = "WAYBILL_TLS_CERTIFICATE",
        value_name = "FILE",
        requires = "tls_key"
    )]
    certificate: Option<PathBuf>,
    /// Its private key
    #[arg(
        long = "tls-key",
        id = "tls_key",
        env = "WAYBILL_TLS_KEY",
        value_name = "FILE",
        requires = "tls_certificate"
    )]
    key: Option<PathBuf>,
}

impl TlsArgs {
    /// The endpoint with TLS, if it asks for it. Errors: a file cannot be used, or is given for an endpoint that
    /// would send everything in plain text all the same.
    pub(super) fn apply(&self, endpoint: Endpoint) -> Result<Endpoint, Failure> {
        if endpoint.uri().scheme_str() != Some("https") {
            return match self.given().next() {
                Some((flag, _)) => {
                    Err(Failure::usage(format!("{flag} needs an --endpoint that begins with https://")))
                }
                None => Ok(endpoint),
            };
        }
        let mut tls = ClientTlsConfig::new();
        tls = match &self.ca {
            Some(file) => tls.ca_certificate(Certificate::from_pem(read("--tls-ca", file)?)),
            None => tls.with_enabled_roots(),
        };
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            let certificate = read("--tls-certificate", certificate)?;
            tls = tls.identity(Identity::from_pem(certificate, read("--tls-key", key)?));
        }
        endpoint.tls_config(tls).map_err(|error| {
            Failure::usage(format!("the certificates for the endpoint: {}", status::chain(&error)))
        })
    }

    /// As it has to be typed for another command.
    pub(super) fn flags(&self) -> String {
        let mut flags = String::new();
        for (flag, file) in self.given() {
            // Writing to a String cannot fail.
            let _ = write!(flags, " {flag} {}", file.display());
        }
        flags
    }

    fn given(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let files =
            [("--tls-ca", &self.ca), ("--tls-certificate", &self.certificate), ("--tls-key", &self.key)];
        files.into_iter().filter_map(|(flag, file)| file.as_ref().map(|file| (flag, file)))
    }
}

fn read(flag: &str, file: &PathBuf) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| Failure::usage(format!("{flag} {}: {error}", file.display())))
}
