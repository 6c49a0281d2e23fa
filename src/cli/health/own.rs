//! TLS to a port of one's own process: it is believed when it shows the very certificate that the configuration names,
//! whatever names and dates stand in that. Nobody else can show it without its key.

use std::{net::SocketAddr, sync::Arc};

use anyhow::anyhow;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use waybill_gateway::listen::Files;
use waybill_messaging::pem;

/// Shakes hands. Where the port asks for a certificate, its own is shown: there is no other.
pub(super) async fn connect(
    files: &Files,
    address: SocketAddr,
    stream: TcpStream,
) -> anyhow::Result<TlsStream<TcpStream>> {
    let text = pem::read(&files.certificate).await.map_err(|why| anyhow!(why))?;
    let chain = pem::certificates(&files.certificate, &text).map_err(|why| anyhow!(why))?;
    let provider = Arc::new(ring::default_provider());
    let expected = chain.first().cloned().ok_or_else(|| anyhow!("there is no certificate"))?;
    let verifier = Arc::new(Own { expected, provider: Arc::clone(&provider) });
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.dangerous().with_custom_certificate_verifier(verifier);
    let config = if files.client_ca.is_some() {
        let text = pem::read(&files.key).await.map_err(|why| anyhow!(why))?;
        let key = pem::private_key(&files.key, &text).map_err(|why| anyhow!(why))?;
        config.with_client_auth_cert(chain, key)?
    } else {
        config.with_no_client_auth()
    };
    let name = ServerName::IpAddress(address.ip().into());
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

#[derive(Debug)]
struct Own {
    expected: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Own {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.expected {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::General("it shows another certificate than http.tls_certificate holds".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
