//! Facts about loading a configuration: which layer wins, and what each kind of mistake is answered with.

use std::{io::Write as _, net::SocketAddr, path::PathBuf, time::Duration};

use super::{Config, Flag, Inputs, LogFormat, QueueType, Role, has_authentication, load, table::SETTINGS};

struct Given {
    inputs: Inputs,
    _file: Option<tempfile::NamedTempFile>,
}

fn given(toml: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str, &str)]) -> Given {
    let file = (!toml.is_empty()).then(|| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(toml.as_bytes()).unwrap();
        file
    });
    let environment = environment.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
    let flags = flags
        .iter()
        .map(|(name, key, text)| Flag { name, key: (*key).to_owned(), text: (*text).to_owned() })
        .collect();
    let path = file.as_ref().map(|file| file.path().to_owned());
    Given { inputs: Inputs { file: path, environment, flags }, _file: file }
}

impl Given {
    fn config(&self) -> Config {
        load(&self.inputs).unwrap().config
    }

    fn error(&self) -> String {
        load(&self.inputs).unwrap_err().to_string()
    }

    fn source(&self, key: &str) -> String {
        let entries = load(&self.inputs).unwrap().entries;
        entries.iter().find(|entry| entry.setting.key == key).unwrap().source.to_string()
    }
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = given("", &[], &[]).config();
    assert_eq!(config.database.url.expose(), "sqlite://data/waybill.db");
    assert_eq!(config.amqp.url.expose(), "amqp://guest:guest@127.0.0.1:5672/%2f");
    assert_eq!(config.amqp.prefix, "waybill.");
    assert_eq!(config.amqp.queue_type, QueueType::Quorum);
    assert_eq!(config.grpc_addr, SocketAddr::from(([127, 0, 0, 1], 50051)));
    assert_eq!(config.http_addr, SocketAddr::from(([127, 0, 0, 1], 9464)));
    assert_eq!(config.roles, Role::ALL);
    assert_eq!(config.payment.credit_limit.minor_units(), 100_000);
    assert_eq!(config.payment.tariff.minor_units(), 490);
    assert_eq!(config.dispatch.refused_destinations, ["ZZ*"]);
    assert_eq!(config.dispatch.capacity, None);
    assert_eq!(config.inbox_retention, Duration::from_hours(7 * 24));
    assert_eq!(config.threads, None);
    assert_eq!(config.log_format, LogFormat::Auto);
    assert!(config.order.blocked_customers.is_empty());
}

#[test]
fn a_stronger_layer_wins_and_every_value_keeps_its_source() {
    let toml = "[relay]\nwindow = 1\nlease = \"1s\"\nhandoff = 11\n";
    let environment = [("WAYBILL_RELAY_WINDOW", "2"), ("WAYBILL_RELAY_LEASE", "2s")];
    let flags = [("--set", "relay.window", "3")];
    let given = given(toml, &environment, &flags);
    let relay = given.config().relay;
    assert_eq!((relay.window, relay.lease, relay.handoff), (3, Duration::from_secs(2), 11));
    assert_eq!(given.source("relay.window"), "flag --set");
    assert_eq!(given.source("relay.lease"), "environment variable WAYBILL_RELAY_LEASE");
    assert!(given.source("relay.handoff").starts_with("file "));
    assert_eq!(given.source("relay.max_attempts"), "the default");
}

#[test]
fn the_last_of_two_flags_wins() {
    let flags = [("--set", "grpc.addr", "127.0.0.1:1"), ("--grpc-addr", "grpc.addr", "127.0.0.1:2")];
    assert_eq!(given("", &[], &flags).config().grpc_addr.port(), 2);
}

#[test]
fn lists_are_arrays_or_text_and_may_be_emptied() {
    let toml = "roles = [\"saga\", \"gateway\"]\n[order]\nblocked_customers = \"a, b\"\n";
    let config = given(toml, &[("WAYBILL_DISPATCH_REFUSED_DESTINATIONS", "")], &[]).config();
    assert_eq!(config.roles, [Role::Gateway, Role::Saga]);
    assert_eq!(config.order.blocked_customers, ["a", "b"]);
    assert!(config.dispatch.refused_destinations.is_empty());
}

#[test]
fn a_participant_without_a_database_uses_the_common_one() {
    let environment =
        [("WAYBILL_DATABASE_URL", "postgres://a/b"), ("WAYBILL_PAYMENT_DATABASE_URL", "postgres://c/d")];
    let config = given("", &environment, &[]).config();
    assert_eq!(config.order.database_url.expose(), "postgres://a/b");
    assert_eq!(config.payment.database_url.expose(), "postgres://c/d");
}

#[test]
fn an_unknown_name_is_an_error_in_every_layer_and_the_nearest_is_named() {
    let error = given("[relay]\nwindw = 1\n", &[], &[]).error();
    assert!(error.starts_with("relay.windw (from file "), "{error}");
    assert!(error.ends_with("is no setting; did you mean relay.window?"), "{error}");
    assert_eq!(
        given("", &[("WAYBILL_RELAY_WINDOWS", "1")], &[]).error(),
        "WAYBILL_RELAY_WINDOWS (from environment variable WAYBILL_RELAY_WINDOWS) is no setting; \
         did you mean WAYBILL_RELAY_WINDOW?"
    );
    assert_eq!(
        given("", &[], &[("--set", "nonsense", "1")]).error(),
        "nonsense (from flag --set) is no setting"
    );
}

#[test]
fn names_of_others_are_left_alone() {
    let environment = [("WAYBILL_TEST_BROKER", "x"), ("WAYBILL_ENDPOINT", "x"), ("PATH", "/bin")];
    given("", &environment, &[]).config();
}

#[test]
fn a_bad_value_is_named_with_its_source_and_what_is_allowed() {
    let allowed = "allowed: a time with its unit, such as `500ms`, `30s` or `7d`, from 1s to 1h";
    let variable = |text| given("", &[("WAYBILL_RELAY_LEASE", text)], &[]).error();
    let prefix = |text| format!("relay.lease = \"{text}\" (from environment variable WAYBILL_RELAY_LEASE)");
    assert_eq!(variable("30"), format!("{} has no unit; {allowed}", prefix("30")));
    assert_eq!(variable("0"), format!("{} has no unit; {allowed}", prefix("0")));
    assert_eq!(variable("2h"), format!("{} is out of range; {allowed}", prefix("2h")));
    assert_eq!(variable("soon"), format!("{} is not a time; {allowed}", prefix("soon")));
    assert_eq!(variable(""), format!("{} is not a time; {allowed}", prefix("")));
    assert!(given("[relay]\nlease = 30\n", &[], &[]).error().contains("has no unit"));
}

#[test]
fn every_kind_refuses_what_it_cannot_read() {
    let bad = [
        ("relay.window", "0", "is out of range; allowed: a whole number from 1 to 8192"),
        ("relay.window", "+5", "is not a whole number"),
        ("relay.window", "99999999999999999999", "is out of range"),
        ("grpc.addr", "localhost", "is no such address"),
        ("database.url", "mysql://u:p@h/d", "is no such URL"),
        ("database.url", "", "is no such URL"),
        ("database.url", "postgres://u:p@h:port/d", "is no URL: invalid port number"),
        ("grpc.tls_key", "\0", "holds a control character"),
        ("database.migrate", "yes", "is neither; allowed: `true` or `false`"),
        ("amqp.queue_type", "stream", "is none of them; allowed: one of `quorum`, `classic`"),
        ("amqp.prefix", "a b", "holds a character that is not visible ASCII"),
        ("roles", "gateway,relais", "holds `relais`, which is no role"),
        ("external", "payment,saga", "holds `saga`, which is no participant"),
        ("dispatch.refused_destinations", "Z*Z", "holds `Z*Z`, which is neither"),
        (
            "grpc.web_origins",
            "https://a.example, https://b.example/",
            "holds `https://b.example/`, which is no origin",
        ),
        ("grpc.web_origins", "*", "holds `*`, which is no origin"),
        ("grpc.web_origins", "https://a.example:443", "which is no origin"),
        ("dispatch.capacity", "some", "is not a whole number"),
        ("payment.tariff", "4.90", "has no currency"),
        ("payment.tariff", "4.901 EUR", "has more decimal places than EUR, which has 2"),
    ];
    for (key, text, expected) in bad {
        let error = given("", &[], &[("--set", key, text)]).error();
        assert!(error.starts_with(&format!("{key} = ")) && error.contains(expected), "{error}");
    }
}

#[test]
fn toml_of_the_wrong_type_is_refused() {
    for (toml, expected) in [
        ("[relay]\nwindow = 1.5\n", "is a floating-point number"),
        ("[relay]\nwindow = [1]\n", "is a list"),
        ("[relay.window]\na = 1\n", "is a table"),
        ("roles = [\"gateway,saga\"]\n", "holds an item that is no text without a comma"),
        ("relay = 1\n", "is no setting"),
        ("relay = [\n", "is no TOML"),
    ] {
        let error = given(toml, &[], &[]).error();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let inputs = Inputs { file: Some(PathBuf::from("no/such/waybill.toml")), ..Inputs::default() };
    let error = load(&inputs).unwrap_err().to_string();
    assert!(error.starts_with("file no/such/waybill.toml: cannot be read"), "{error}");
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    let error = given("", &[("WAYBILL_PAYMENT_TARIFF", "490 JPY")], &[]).error();
    let expected = "payment.credit_limit and payment.tariff: must be of one currency, \
                    and are 1000.00 EUR and 490 JPY";
    assert_eq!(error, expected);
    let error = given("", &[], &[("--set", "consumer.retry_delay", "2m")]).error();
    assert!(error.contains("the first delay of 2m is longer than the longest of 1m"), "{error}");
    let error = given("", &[], &[("--http-addr", "http.addr", "127.0.0.1:50051")]).error();
    assert_eq!(error, "grpc.addr and http.addr: cannot both be 127.0.0.1:50051");
    let error = given("", &[("WAYBILL_SAGA_VERSIONS", "1, 99")], &[]).error();
    assert_eq!(error, "saga.versions and saga.begin_version: this release does not know version 99");
    let error = given("", &[], &[("--set", "saga.begin_version", "99")]).error();
    assert!(error.contains("does not run version 99, and would begin with it"), "{error}");
    let error = given("[saga]\nversions = [\"1\", \"0\"]\n", &[], &[]).error();
    assert!(error.contains("saga.versions = \"1,0\"") && error.contains("holds `0`"), "{error}");
}

#[test]
fn files_for_tls_that_do_not_go_together_are_refused() {
    for (key, expected) in [
        ("grpc.tls_certificate", "grpc.tls_certificate and grpc.tls_key: one is of no use without the other"),
        ("http.tls_key", "http.tls_certificate and http.tls_key: one is of no use without the other"),
        ("grpc.tls_client_ca", "grpc.tls_client_ca and grpc.tls_certificate: the first asks clients"),
        (
            "amqp.tls_ca",
            "amqp.tls_ca and amqp.url: the first is for TLS, and the second has to begin with amqps://",
        ),
    ] {
        let error = given("", &[], &[("--set", key, "some file.pem")]).error();
        assert!(error.starts_with(expected), "{error}");
    }
    let files = [("--set", "amqp.url", "amqps://h"), ("--set", "amqp.tls_ca", "ca.pem")];
    assert_eq!(given("", &[], &files).config().amqp.tls.ca, Some(PathBuf::from("ca.pem")));
}

#[test]
fn an_inbox_that_forgets_before_the_last_copy_can_come_is_refused() {
    let retention = |text| [("WAYBILL_INBOX_RETENTION", text)];
    let error = given("", &retention("1h"), &[]).error();
    assert!(error.starts_with("inbox.retention and saga.step_timeout, saga.step_attempts, "), "{error}");
    // 72 min 3 s of resending, 25.4 s of delays, eight times 30 s of handling.
    assert!(error.ends_with("must be at least 1h 16m 28s 400ms, and is 1h"), "{error}");
    given("", &retention("77m"), &[]).config();
    let hasty = [("--set", "saga.step_timeout", "1s")];
    let error = given("", &retention("1h"), &hasty).error();
    // The gateway's 61 min 30 s instead.
    assert!(error.ends_with("must be at least 1h 5m 55s 400ms, and is 1h"), "{error}");
    let patient = [("--set", "saga.step_timeout", "1h")];
    let error = given("", &retention("5d"), &patient).error();
    assert!(error.ends_with("must be at least 6days 10m 25s 400ms, and is 5days"), "{error}");
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let error =
        given("", &[("WAYBILL_X", "1")], &[("--set", "relay.lease", "1"), ("--set", "roles", "x")]).error();
    assert_eq!(error.lines().count(), 3, "{error}");
}

#[test]
fn a_password_is_not_shown_in_an_error() {
    let error = given("", &[("WAYBILL_AMQP_URL", "http://u:secret@h")], &[]).error();
    assert!(error.contains("http://u:***@h") && !error.contains("secret"), "{error}");
}

#[test]
fn every_setting_reaches_the_typed_configuration() {
    // A key that nothing reads would be accepted and ignored; this keeps the two lists together.
    let source = [include_str!("resolve.rs"), include_str!("auth.rs")].concat();
    for setting in SETTINGS {
        assert!(source.contains(&format!("\"{}\"", setting.key)), "{} is never read", setting.key);
    }
}

/// A file with that text, and its path.
fn file(text: &str) -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    (file, path)
}

#[test]
fn clients_are_asked_who_they_are_once_one_is_known() {
    assert!(!has_authentication(&given("", &[], &[]).config()));
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let (_held, path) =
        file(&format!("[[client]]\nname = 'shop'\ntoken_sha256 = ['{hash}']\nscopes = ['read']\n"));
    let config = given("", &[("WAYBILL_AUTH_CLIENTS_FILE", &path)], &[]).config();
    assert!(has_authentication(&config));
    assert_eq!(config.auth.clients[0].name, "shop");
    let limit = config.auth.clients[0].limit.unwrap();
    assert_eq!((limit.rate, limit.in_flight.unwrap().get()), (None, 512));
    let (_held, keys) =
        file(r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#);
    let toml = format!("[auth]\njwt_issuer = 'https://id'\njwt_audience = 'a'\njwt_keys = 'file:{keys}'\n");
    assert!(has_authentication(&given(&toml, &[], &[]).config()));
}

#[test]
fn what_is_wrong_with_authentication_is_found_at_the_start_and_names_its_key() {
    let (_held, empty) = file("");
    let (_held, secret) = file("hunter2 = [");
    let cases = [
        (format!("auth.clients_file = '{empty}'"), "auth.clients_file: "),
        (format!("auth.clients_file = '{secret}'"), "line 1"),
        ("auth.clients_file = '/nowhere/clients.toml'".to_owned(), "cannot be read"),
        ("auth.jwt_issuer = 'https://id'".to_owned(), "auth.jwt_audience: must be set"),
        ("auth.jwt_keys = 'https://id/keys'".to_owned(), "auth.jwt_issuer: must be set"),
        ("auth.jwt_issuer = 'i'\nauth.jwt_audience = 'a'".to_owned(), "auth.jwt_keys: must be set"),
        (jwt("http://id/keys"), "auth.jwt_keys: must be file:<path> or an https URL"),
        (jwt("https://user:hunter2@id/keys"), "auth.jwt_keys: must name a host, and no user"),
        (jwt("file:/nowhere/jwks.json"), "auth.jwt_keys: /nowhere/jwks.json"),
        (jwt(&format!("file:{empty}")), "is no JWK set"),
        ("limits.client_rate = 0".to_owned(), "limits.client_rate = \"0\""),
    ];
    for (toml, expected) in cases {
        let error = given(&toml, &[], &[]).error();
        assert!(error.contains(expected), "{toml}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

fn jwt(keys: &str) -> String {
    format!("auth.jwt_issuer = 'i'\nauth.jwt_audience = 'a'\nauth.jwt_keys = '{keys}'")
}
