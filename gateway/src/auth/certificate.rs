//! The client's certificate, whose issuer the TLS layer has verified: which names it bears.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, OnceLock},
};

use http::Extensions;
use x509_parser::{extensions::GeneralName, prelude::X509Certificate};

/// The certificate of the peer of a connection, in the extensions of each of its requests. Only one whose
/// chain was verified may be put there. Clones share what was read of it.
#[derive(Clone, Debug)]
pub struct PeerCertificate(Arc<Peer>);

#[derive(Debug)]
struct Peer {
    der: Vec<u8>,
    names: OnceLock<Vec<CertificateName>>,
}

impl PeerCertificate {
    /// `der`: as it was sent.
    pub fn new(der: impl Into<Vec<u8>>) -> Self {
        Self(Arc::new(Peer { der: der.into(), names: OnceLock::new() }))
    }

    /// None where it cannot be read. It is read once.
    pub(super) fn names(&self) -> &[CertificateName] {
        self.0.names.get_or_init(|| names(&self.0.der))
    }
}

/// A name that a certificate bears. The kind is part of it: an issuer that verifies host names may let
/// anybody choose the common name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateName {
    kind: Kind,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    CommonName,
    Dns,
    Uri,
    Email,
}

impl Kind {
    const ALL: [Self; 4] = [Self::CommonName, Self::Dns, Self::Uri, Self::Email];

    const fn prefix(self) -> &'static str {
        match self {
            Self::CommonName => "cn:",
            Self::Dns => "dns:",
            Self::Uri => "uri:",
            Self::Email => "email:",
        }
    }

    fn name(self, text: &str) -> CertificateName {
        // Host names have no case.
        let text = if self == Self::Dns { text.to_ascii_lowercase() } else { text.to_owned() };
        CertificateName { kind: self, text }
    }
}

impl FromStr for CertificateName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = Kind::ALL.into_iter().find_map(|kind| Some(kind.name(text.strip_prefix(kind.prefix())?)));
        name.filter(|name| !name.text.is_empty())
            .ok_or("must be cn:, dns:, uri: or email: and a name, such as dns:shop.internal")
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.prefix(), self.text)
    }
}

/// The certificate of the peer, which its connection has verified.
pub(super) fn of(extensions: &Extensions) -> Option<PeerCertificate> {
    if let Some(certificate) = extensions.get::<PeerCertificate>() {
        return Some(certificate.clone());
    }
    let certificate = extensions.get::<crate::listen::Peer>()?.certificates.first()?;
    Some(PeerCertificate::new(certificate.as_ref()))
}

fn names(der: &[u8]) -> Vec<CertificateName> {
    let Ok((_, certificate)) = <X509Certificate as x509_parser::prelude::FromDer<_>>::from_der(der) else {
        return Vec::new();
    };
    let common = certificate.subject().iter_common_name();
    let mut names: Vec<_> =
        common.filter_map(|name| Some(Kind::CommonName.name(name.as_str().ok()?))).collect();
    // Given twice it is malformed, and nothing of it is believed.
    let alternative = certificate.subject_alternative_name().ok().flatten();
    for name in alternative.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::DNSName(text) => names.push(Kind::Dns.name(text)),
            GeneralName::URI(text) => names.push(Kind::Uri.name(text)),
            GeneralName::RFC822Name(text) => names.push(Kind::Email.name(text)),
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate() -> PeerCertificate {
        let mut params = CertificateParams::new(vec!["Shop.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Shop One");
        let uri = "spiffe://example/shop".try_into().unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
        let key = KeyPair::generate().unwrap();
        PeerCertificate::new(params.self_signed(&key).unwrap().der().as_ref())
    }

    #[test]
    fn every_name_is_read_with_its_kind() {
        let names: Vec<_> = certificate().names().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["cn:Shop One", "dns:shop.example", "uri:spiffe://example/shop"]);
    }

    #[test]
    fn what_is_no_certificate_has_no_name() {
        assert!(PeerCertificate::new(b"no certificate".as_slice()).names().is_empty());
    }

    #[test]
    fn a_name_is_written_with_its_kind() {
        for text in ["cn:Shop One", "dns:shop.example", "uri:spiffe://example/shop", "email:a@b"] {
            assert_eq!(text.parse::<CertificateName>().unwrap().to_string(), text);
        }
        for text in ["", "shop", "cn:", "ip:127.0.0.1"] {
            assert!(text.parse::<CertificateName>().is_err(), "{text}");
        }
    }
}
