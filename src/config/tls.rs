//! The files for TLS, which go together: a certificate without its key is of no use, and a CA without TLS would be
//! taken for a protection that is not there.

use std::path::PathBuf;

use waybill_gateway::listen::Files;
use waybill_messaging::broker::Tls;

use super::{error::Problem, layers::Values, typed::get, url::SecretUrl};

/// The files of a port; `None` where it has no TLS. Keys: certificate, key, client CA.
pub(super) fn port(
    values: &Values,
    [certificate, key, client_ca]: [&'static str; 3],
) -> Result<Option<Files>, Problem> {
    let ca: Option<PathBuf> = get(values, client_ca)?;
    match (identity(values, certificate, key)?, ca) {
        (Some((certificate, key)), client_ca) => Ok(Some(Files { certificate, key, client_ca })),
        (None, None) => Ok(None),
        (None, Some(_)) => {
            let what = "the first asks clients for a certificate, which needs the second".to_owned();
            Err(Problem::Conflict { first: client_ca, second: certificate, what })
        }
    }
}

/// The files for the broker. Keys: CA, certificate, key, and that of the broker's URL, which has to ask for TLS.
pub(super) fn broker(
    values: &Values,
    [ca, certificate, key, url]: [&'static str; 4],
) -> Result<Tls, Problem> {
    let tls = Tls { ca: get(values, ca)?, identity: identity(values, certificate, key)? };
    let first = if tls.ca.is_some() { ca } else { certificate };
    let is_set = tls.ca.is_some() || tls.identity.is_some();
    if is_set && !get::<SecretUrl>(values, url)?.expose().starts_with("amqps://") {
        let what = "the first is for TLS, and the second has to begin with amqps:// for that".to_owned();
        return Err(Problem::Conflict { first, second: url, what });
    }
    Ok(tls)
}

fn identity(
    values: &Values,
    certificate: &'static str,
    key: &'static str,
) -> Result<Option<(PathBuf, PathBuf)>, Problem> {
    match (get::<Option<PathBuf>>(values, certificate)?, get::<Option<PathBuf>>(values, key)?) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => {
            let what = "one is of no use without the other".to_owned();
            Err(Problem::Conflict { first: certificate, second: key, what })
        }
    }
}
