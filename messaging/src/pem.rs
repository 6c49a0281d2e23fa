//! Certificates and keys as PEM files hold them. Every error names the file, and none shows what is in it.

use std::path::Path;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject};

/// The bytes of a file. Errors: it cannot be read.
pub async fn read(file: &Path) -> Result<Vec<u8>, String> {
    tokio::fs::read(file).await.map_err(|error| format!("{}: {error}", file.display()))
}

/// Every certificate in `text`, which was read from `file`, in its order. Errors: there is none, or one is no PEM.
pub fn certificates(file: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match certificates {
        Ok(none) if none.is_empty() => Err(format!("{}: holds no certificate as PEM", file.display())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unreadable(file, "certificate", &error)),
    }
}

/// The first private key in `text`, which was read from `file`. Errors: there is none without a password.
pub fn private_key(file: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| unreadable(file, "private key", &error))
}

/// Without the error's own text, which would quote the line that is wrong, and with it perhaps a key.
fn unreadable(file: &Path, what: &str, error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => format!("{}: holds no {what} as PEM", file.display()),
        _ => format!("{}: the PEM of a {what} is damaged", file.display()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{certificates, private_key};

    #[test]
    fn an_error_names_the_file_and_shows_nothing_of_it() {
        let file = Path::new("some.pem");
        let damaged = b"-----BEGIN PRIVATE KEY-----\nsecret!\n-----END PRIVATE KEY-----\n";
        assert_eq!(private_key(file, damaged).unwrap_err(), "some.pem: the PEM of a private key is damaged");
        assert_eq!(private_key(file, b"secret").unwrap_err(), "some.pem: holds no private key as PEM");
        assert_eq!(certificates(file, b"").unwrap_err(), "some.pem: holds no certificate as PEM");
    }
}
