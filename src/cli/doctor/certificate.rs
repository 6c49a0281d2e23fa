//! Certificates that are about to end, in the files that the configuration names.

use std::path::Path;

use chrono::{DateTime, Utc};
use x509_parser::pem::Pem;

use super::Findings;
use crate::config::Entry;

/// Settings that name a file of certificates.
const KEYS: [&str; 6] = [
    "grpc.tls_certificate",
    "grpc.tls_client_ca",
    "http.tls_certificate",
    "http.tls_client_ca",
    "amqp.tls_ca",
    "amqp.tls_certificate",
];
/// Fewer days than these are worth a warning: enough for a person to come back from a holiday.
const SOON: i64 = 21;
const RENEW: &str = "put a new certificate into the file";

pub(super) fn look(entries: &[Entry], findings: &mut Findings) {
    let named = entries.iter().filter(|entry| KEYS.contains(&entry.setting.key) && !entry.text.is_empty());
    for entry in named {
        look_at(entry.setting.key, Path::new(&entry.text), Utc::now(), findings);
    }
}

fn look_at(key: &str, path: &Path, now: DateTime<Utc>, findings: &mut Findings) {
    let shown = path.display();
    match first_end(path) {
        Err(error) => {
            findings.bad(
                key,
                format!("{shown}: {error}"),
                "name a file of PEM certificates that can be read",
            );
        }
        Ok((subject, end)) => {
            let (days, date) = ((end - now).num_days(), end.format("%Y-%m-%d"));
            match days {
                _ if end <= now => {
                    findings.bad(
                        key,
                        format!("{shown}: the certificate of {subject} ended on {date}"),
                        RENEW,
                    );
                }
                ..SOON => findings.warn(
                    key,
                    format!("{shown}: the certificate of {subject} ends in {days} days, on {date}"),
                    RENEW,
                ),
                _ => findings.ok(key, format!("{shown}: valid for {days} more days")),
            }
        }
    }
}

/// The certificate in a PEM file that ends first: its subject and when. Errors: the file cannot be read, holds none,
/// or one that is none.
fn first_end(path: &Path) -> Result<(String, DateTime<Utc>), String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let mut first: Option<(String, DateTime<Utc>)> = None;
    for pem in Pem::iter_from_buffer(&bytes) {
        let pem = pem.map_err(|error| error.to_string())?;
        if pem.label != "CERTIFICATE" {
            continue;
        }
        let certificate = pem.parse_x509().map_err(|error| error.to_string())?;
        let end = DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0);
        let end = end.ok_or("its end is no date")?;
        if first.as_ref().is_none_or(|(_, known)| end < *known) {
            first = Some((certificate.subject().to_string(), end));
        }
    }
    first.ok_or_else(|| "holds no certificate".to_owned())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::{super::Verdict, *};

    fn found(path: &Path, now: DateTime<Utc>) -> (Verdict, String) {
        let mut findings = Findings::default();
        look_at("grpc.tls_certificate", path, now, &mut findings);
        let found = findings.all().remove(0);
        (found.verdict, found.what)
    }

    #[test]
    fn a_certificate_is_told_before_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain.pem");
        let certified = rcgen::generate_simple_self_signed(["waybill.example".to_owned()]).unwrap();
        std::fs::write(&path, certified.cert.pem()).unwrap();
        let (_, end) = first_end(&path).unwrap();
        let verdict = |days| found(&path, end - TimeDelta::days(days)).0;
        assert_eq!([30, 10, -1].map(verdict), [Verdict::Ok, Verdict::Warn, Verdict::Bad]);
    }

    #[test]
    fn a_file_without_a_certificate_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain.pem");
        let (verdict, what) = found(&path, Utc::now());
        assert_eq!(verdict, Verdict::Bad);
        assert!(what.contains("chain.pem: No such file"), "{what}");
        std::fs::write(&path, "nothing").unwrap();
        assert!(found(&path, Utc::now()).1.ends_with("holds no certificate"));
    }
}
