//! URLs that may hold a password. Printing one, on purpose or by accident, shows no secret: the
//! text comes out only through `expose`.

use std::fmt;

const MASK: &str = "***";
const SECRET_PARAMETERS: [&str; 4] = ["password", "passwd", "secret", "token"];

/// A URL whose `Display` and `Debug` are masked.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretUrl(String);

impl SecretUrl {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The whole URL. For connecting, never for printing.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(&self.0))
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretUrl({self})")
    }
}

/// Hides the password between the first colon and the last `@`, and parameters that are named like a
/// secret. Text that is no proper URL is treated alike: rather too much is hidden than too little.
fn mask(url: &str) -> String {
    let (before, parameters) = match url.rfind('@').map_or(url.find('?'), |at| find_from(url, '?', at)) {
        Some(mark) => (&url[..mark], Some(&url[mark + 1..])),
        None => (url, None),
    };
    let mut shown = mask_user(before);
    if let Some(parameters) = parameters {
        let masked: Vec<String> = parameters.split('&').map(mask_parameter).collect();
        shown.push('?');
        shown.push_str(&masked.join("&"));
    }
    shown
}

fn find_from(text: &str, wanted: char, start: usize) -> Option<usize> {
    text[start..].find(wanted).map(|found| start + found)
}

fn mask_user(url: &str) -> String {
    let start = url.find("://").map_or(0, |mark| mark + 3);
    let Some(at) = url.rfind('@').filter(|at| *at >= start) else {
        return url.to_owned();
    };
    match find_from(&url[..at], ':', start) {
        Some(colon) => format!("{}:{MASK}{}", &url[..colon], &url[at..]),
        None => url.to_owned(),
    }
}

fn mask_parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _))
            if SECRET_PARAMETERS.iter().any(|secret| name.to_ascii_lowercase().contains(secret)) =>
        {
            format!("{name}={MASK}")
        }
        _ => parameter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::SecretUrl;

    fn shown(url: &str) -> String {
        SecretUrl::new(url).to_string()
    }

    #[test]
    fn a_password_is_never_printed() {
        assert_eq!(shown("amqp://guest:guest@127.0.0.1:5672/%2f"), "amqp://guest:***@127.0.0.1:5672/%2f");
        assert_eq!(
            shown("postgres://u:p%40ss@db/waybill?sslmode=require"),
            "postgres://u:***@db/waybill?sslmode=require"
        );
        assert_eq!(shown("postgres://u:p/a@s?s@db/waybill"), "postgres://u:***@db/waybill");
        assert_eq!(
            shown("postgres://db/waybill?user=u&password=p"),
            "postgres://db/waybill?user=u&password=***"
        );
        assert_eq!(shown("u:p@db"), "u:***@db");
        assert_eq!(format!("{:?}", SecretUrl::new("amqp://u:p@h")), "SecretUrl(amqp://u:***@h)");
    }

    #[test]
    fn a_url_without_a_password_is_printed_whole() {
        for url in [
            "sqlite://data/waybill.db",
            "sqlite://data/waybill.db?mode=rwc",
            "amqp://broker:5672/%2f",
            "amqp://u@h",
            "",
        ] {
            assert_eq!(shown(url), url);
        }
    }
}
