//! Whether what goes to broker and databases can be read, or changed, by who is in between.

use std::net::IpAddr;

use url::{Host, Url};

use super::Findings;
use crate::config::Config;

pub(super) fn look(config: &Config, findings: &mut Findings) {
    if !is_amqp_safe(config.amqp.url.expose()) {
        findings.warn(
            &format!("broker {}", config.amqp.url),
            "passwords and messages go there over the network as plain text",
            "set amqp.url to amqps://, and amqp.tls_ca where its certificate is of a CA of your own",
        );
    }
    for (name, url) in config.databases() {
        if !is_postgres_safe(url.expose()) {
            findings.warn(
                &format!("database {name}"),
                "what goes there over the network may be plain text: its URL does not insist on TLS",
                "add sslmode=verify-full to its URL, and sslrootcert=<file> where its certificate is of a CA of your own",
            );
        }
    }
}

fn is_amqp_safe(url: &str) -> bool {
    Url::parse(url).map_or(true, |url| url.scheme() != "amqp" || is_here(&url))
}

/// Without `sslmode`, or with a weaker one, the server decides whether there is TLS.
fn is_postgres_safe(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return true };
    let has = |wanted: &str, condition: &dyn Fn(&str) -> bool| {
        url.query_pairs().any(|(key, value)| key == wanted && condition(&value))
    };
    let insists = |mode: &str| ["require", "verify-ca", "verify-full"].contains(&mode);
    let is_socket = |host: &str| host.starts_with('/');
    !url.scheme().starts_with("postgres")
        || is_here(&url)
        || has("sslmode", &insists)
        || has("host", &is_socket)
}

/// Whether it is this very machine. Without a host it is.
fn is_here(url: &Url) -> bool {
    match url.host() {
        None => true,
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
        // Of schemes that it does not know the crate takes an address for a name.
        Some(Host::Domain(name)) => {
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_told_where_it_leaves_the_machine() {
        for safe in [
            "amqp://u:p@127.0.0.1:5672/%2f",
            "amqp://u:p@localhost",
            "amqp://[::1]:5672",
            "amqps://u:p@mq.internal",
        ] {
            assert!(is_amqp_safe(safe), "{safe}");
        }
        assert!(!is_amqp_safe("amqp://u:p@mq.internal:5672/%2f"));
        assert!(!is_amqp_safe("amqp://u:p@10.0.0.5"));
    }

    #[test]
    fn a_database_elsewhere_has_to_be_asked_for_tls() {
        for safe in [
            "sqlite://./data/waybill.db",
            "postgres://u:p@127.0.0.1:5432/w",
            "postgresql://u@localhost/w",
            "postgres://u@db.internal/w?sslmode=verify-full",
            "postgres://u@db.internal/w?application_name=a&sslmode=require",
            "postgres://u@db/w?host=/var/run/postgresql",
        ] {
            assert!(is_postgres_safe(safe), "{safe}");
        }
        for unsafe_one in ["postgres://u:p@db.internal/w", "postgres://u:p@10.0.0.5/w?sslmode=prefer"] {
            assert!(!is_postgres_safe(unsafe_one), "{unsafe_one}");
        }
    }
}
