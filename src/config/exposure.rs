//! Whether the ports may be bound: what other machines can reach has to be protected, unless somebody says that it
//! need not be. Checked by `serve` alone, before it opens anything; no other command binds a port.

use std::net::SocketAddr;

use super::{
    error::{ConfigError, Problem},
    model::{Config, has_authentication},
    role::Role,
};

/// A port as others see it.
#[derive(Debug, Clone, Copy)]
struct Port {
    key: &'static str,
    address: SocketAddr,
    has_tls: bool,
    /// Whether it knows its clients; `None` where it need not.
    has_authentication: Option<bool>,
}

/// Refuses ports that other machines can reach, without the protection that each needs. Errors: which of them, and
/// every way to mend it.
pub(crate) fn check(config: &Config) -> Result<(), ConfigError> {
    let mut errors = ConfigError::default();
    if config.insecure {
        return Ok(());
    }
    let grpc = Port {
        key: "grpc.addr",
        address: config.grpc_addr,
        has_tls: config.grpc_tls.is_some(),
        has_authentication: Some(has_authentication(config)),
    };
    let http = Port {
        key: "http.addr",
        address: config.http_addr,
        has_tls: config.http_tls.is_some(),
        has_authentication: None,
    };
    let bound = if config.roles.contains(&Role::Gateway) { vec![grpc, http] } else { vec![http] };
    for problem in bound.into_iter().filter_map(exposed) {
        errors.push(problem);
    }
    errors.into_result()
}

fn exposed(port: Port) -> Option<Problem> {
    let is_local = port.address.ip().to_canonical().is_loopback();
    let lacks = match (port.has_tls, port.has_authentication.unwrap_or(true)) {
        _ if is_local => return None,
        (true, true) => return None,
        (false, true) => "TLS",
        (true, false) => "authentication",
        (false, false) => "TLS and authentication",
    };
    Some(Problem::Exposed { key: port.key, address: port.address, lacks })
}

#[cfg(test)]
mod tests {
    use super::{Port, exposed};

    /// What is lacking; empty where nothing is.
    fn lacks(address: &str, has_tls: bool, has_authentication: Option<bool>) -> String {
        let port = Port { key: "grpc.addr", address: address.parse().unwrap(), has_tls, has_authentication };
        exposed(port).map_or_else(String::new, |problem| problem.to_string())
    }

    #[test]
    fn a_port_that_only_this_machine_can_reach_needs_nothing() {
        for address in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(lacks(address, false, Some(false)), "");
        }
    }

    #[test]
    fn a_port_that_others_can_reach_needs_tls_and_authentication() {
        for address in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[2001:db8::1]:1"] {
            assert!(lacks(address, false, Some(false)).contains("without TLS and authentication"));
            assert!(lacks(address, true, Some(false)).contains("without authentication"));
            assert!(lacks(address, false, Some(true)).contains("without TLS:"));
            assert_eq!(lacks(address, true, Some(true)), "");
            assert!(lacks(address, false, None).contains("without TLS:"));
            assert_eq!(lacks(address, true, None), "");
        }
    }
}
