//! The file of clients: for each its name, its credentials, what it may do, and its limits. Tokens stand in it
//! as hashes only, and nothing of what stands where a hash should is ever repeated.

use std::{collections::HashSet, fs, num::NonZeroU32, path::Path};

use serde::Deserialize;
use waybill_gateway::auth::{CertificateName, Client, HashedToken, Limit, Scope, Scopes, is_name};

/// More is for an issuer of JWTs: every hash is compared at every call.
const MOST: usize = 1_000;
const MOST_LIMIT: u32 = 1_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    client: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    token_sha256: Vec<String>,
    #[serde(default)]
    certificate: Vec<String>,
    #[serde(default)]
    jwt: bool,
    scopes: Vec<String>,
    #[serde(default)]
    own_only: bool,
    rate: Option<u32>,
    in_flight: Option<u32>,
}

/// The clients of that file, or everything that is wrong with it. `limit`: for what an entry says nothing of.
/// `jwt`: whether JWTs are accepted at all.
pub(super) fn read(path: &Path, limit: Limit, jwt: bool) -> Result<Vec<Client>, Vec<String>> {
    let name = path.display();
    let text = fs::read_to_string(path).map_err(|error| vec![format!("{name} cannot be read: {error}")])?;
    read_text(path, &text, limit, jwt)
}

/// The same of what stands in the file.
pub(crate) fn read_text(
    path: &Path,
    text: &str,
    limit: Limit,
    jwt: bool,
) -> Result<Vec<Client>, Vec<String>> {
    let name = path.display();
    let (clients, wrong) = parse(text, limit, jwt);
    if wrong.is_empty() {
        return Ok(clients);
    }
    Err(wrong.into_iter().map(|what| format!("{name}: {what}")).collect())
}

fn parse(text: &str, limit: Limit, jwt: bool) -> (Vec<Client>, Vec<String>) {
    let file: File = match toml::from_str(text) {
        Ok(file) => file,
        Err(error) => {
            // The error's own text would quote the line, and with it perhaps a token.
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            let what = error.message();
            // Nor is a value of the wrong type repeated.
            let what = if what.contains('"') { "is of another type than its key takes" } else { what };
            return (Vec::new(), vec![format!("line {line}: {what}")]);
        }
    };
    let mut wrong = Vec::new();
    if file.client.is_empty() || file.client.len() > MOST {
        wrong.push(format!("must have 1 to {MOST} tables [[client]], and has {}", file.client.len()));
    }
    let mut taken = HashSet::new();
    let clients = file.client.into_iter().enumerate();
    let clients = clients.map(|(index, entry)| {
        let mut found = Vec::new();
        let number = index + 1;
        let client = client(entry, limit, jwt, &mut taken, &mut found);
        let shown =
            if is_name(&client.name) { format!("{number} ({})", client.name) } else { number.to_string() };
        wrong.extend(found.into_iter().map(|what| format!("client {shown}: {what}")));
        client
    });
    (clients.collect(), wrong)
}

/// What is wrong is noted, and then what is returned is of no use. `taken`: what only one client may have.
fn client(
    entry: Entry,
    limit: Limit,
    accepts_jwt: bool,
    taken: &mut HashSet<String>,
    wrong: &mut Vec<String>,
) -> Client {
    let Entry { name, token_sha256, certificate, jwt, scopes, own_only, rate, in_flight } = entry;
    let mut check = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    check(is_name(&name), "name: must be 1 to 100 visible ASCII characters");
    check(taken.insert(format!("name {name}")), "name: is that of another client");
    let tokens: Vec<HashedToken> = token_sha256.iter().filter_map(|text| hash(text)).collect();
    check(
        tokens.len() == token_sha256.len(),
        "token_sha256: must be hashes, of 64 hexadecimal digits each; `waybill token new` prints one",
    );
    let certificates: Vec<CertificateName> =
        certificate.iter().filter_map(|text| text.parse().ok()).collect();
    check(
        certificates.len() == certificate.len(),
        "certificate: must be cn:, dns:, uri: or email: and a name, such as dns:shop.internal",
    );
    for hash in &tokens {
        check(taken.insert(format!("token {hash:?}")), "token_sha256: is there twice");
    }
    for name in &certificates {
        check(taken.insert(name.to_string()), "certificate: is there twice");
    }
    check(
        jwt || !(token_sha256.is_empty() && certificate.is_empty()),
        "must have token_sha256, certificate or jwt: nobody could be it",
    );
    check(!jwt || accepts_jwt, "jwt: no JWTs are accepted, see auth.jwt_issuer");
    let read: Vec<Scope> = scopes.iter().filter_map(|text| text.parse().ok()).collect();
    check(
        !scopes.is_empty() && read.len() == scopes.len(),
        "scopes: must be one or more of submit, read, operate",
    );
    let scopes = Scopes::from_iter(read);
    check(!own_only || !scopes.allow(Scope::Operate), "own_only: who has scope operate sees everything");
    for (key, value) in [("rate", rate), ("in_flight", in_flight)] {
        let is_in_range = value.is_none_or(|value| (1..=MOST_LIMIT).contains(&value));
        check(is_in_range, &format!("{key}: must be 1 to {MOST_LIMIT}"));
    }
    let own = Limit {
        rate: rate.and_then(NonZeroU32::new).or(limit.rate),
        in_flight: in_flight.and_then(NonZeroU32::new).or(limit.in_flight),
    };
    Client { name, tokens, certificates, jwt, scopes, own_only, limit: Some(own) }
}

fn hash(text: &str) -> Option<HashedToken> {
    let mut hash = HashedToken::default();
    if text.len() != 2 * hash.len() || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = [digits[0], digits[1]].map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use waybill_gateway::auth::hash_of;

    use super::*;

    const HASH: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    fn parsed(text: &str) -> (Vec<Client>, Vec<String>) {
        let limit = Limit { rate: None, in_flight: NonZeroU32::new(512) };
        parse(&text.replace("HASH", HASH), limit, true)
    }

    fn wrong(text: &str) -> String {
        parsed(text).1.join("\n")
    }

    #[test]
    fn a_client_is_read_with_all_that_it_has() {
        let (clients, wrong) = parsed(
            "[[client]]\nname = 'shop'\ntoken_sha256 = ['HASH']\nscopes = ['submit', 'read']\nown_only = true\nrate = 9\n\
             [[client]]\nname = 'ops'\ncertificate = ['dns:ops.internal', 'cn:Ops']\njwt = true\nscopes = ['operate']\n",
        );
        assert_eq!(wrong, Vec::<String>::new());
        let [shop, ops] = &clients[..] else { panic!("{clients:?}") };
        assert_eq!((shop.name.as_str(), shop.own_only, shop.jwt), ("shop", true, false));
        assert_eq!(shop.tokens, [hash_of("secret")]);
        let limit = shop.limit.unwrap();
        assert_eq!((limit.rate.unwrap().get(), limit.in_flight.unwrap().get()), (9, 512));
        assert!(shop.scopes.allow(Scope::Submit) && !shop.scopes.allow(Scope::Operate));
        assert_eq!((ops.certificates.len(), ops.jwt, ops.scopes), (2, true, Scopes::ALL));
    }

    #[test]
    fn every_mistake_names_its_client_and_its_key() {
        let cases = [
            ("", "must have 1 to 1000 tables [[client]], and has 0"),
            ("[[client]]\nname = 'a'\n", "line 1: missing field `scopes`"),
            ("[[client]]\nname = 'a'\nscopes = ['read']\ncolour = 1\n", "line 4: unknown field `colour`"),
            ("[[client]]\nname = 'a b'\nscopes = ['read']\njwt = true", "client 1: name: must be"),
            ("[[client]]\nname = 'a'\nscopes = ['read']\n", "client 1 (a): must have token_sha256"),
            ("[[client]]\nname = 'a'\njwt = true\nscopes = []\n", "client 1 (a): scopes: must be"),
            ("[[client]]\nname = 'a'\njwt = true\nscopes = ['write']\n", "client 1 (a): scopes: must be"),
            (
                "[[client]]\nname = 'a'\ncertificate = ['shop']\nscopes = ['read']\n",
                "(a): certificate: must be",
            ),
            (
                "[[client]]\nname = 'a'\ntoken_sha256 = ['HASHx']\nscopes = ['read']\n",
                "(a): token_sha256: must be",
            ),
            ("[[client]]\nname = 'a'\njwt = true\nscopes = ['read']\nrate = 0\n", "(a): rate: must be 1 to"),
            (
                "[[client]]\nname = 'a'\njwt = true\nscopes = ['operate']\nown_only = true",
                "(a): own_only: who has",
            ),
            (
                "[[client]]\nname = 'a'\ntoken_sha256 = ['HASH']\nscopes = ['read']\n\
                 [[client]]\nname = 'b'\ntoken_sha256 = ['HASH']\nscopes = ['read']\n",
                "client 2 (b): token_sha256: is there twice",
            ),
            (
                "[[client]]\nname = 'a'\njwt = true\nscopes = ['read']\n[[client]]\nname = 'a'\njwt = true\nscopes = ['read']",
                "client 2 (a): name: is that of another",
            ),
        ];
        for (text, expected) in cases {
            assert!(wrong(text).contains(expected), "{text}: {}", wrong(text));
        }
    }

    #[test]
    fn a_token_that_stands_where_its_hash_should_is_not_repeated() {
        for text in [
            "[[client]]\nname = 'a'\ntoken_sha256 = ['hunter2']\nscopes = ['read']\n",
            "[[client]]\nname = 'a'\ntoken_sha256 = 'hunter2'\nscopes = ['read']\n",
            "[[client]]\nname = 'a'\ntoken_sha256 = [hunter2]\nscopes = ['read']\n",
        ] {
            let wrong = wrong(text);
            assert!(!wrong.is_empty() && !wrong.contains("hunter2"), "{wrong}");
        }
    }

    #[test]
    fn a_client_that_only_a_jwt_names_needs_that_jwts_are_accepted() {
        let text = "[[client]]\nname = 'a'\njwt = true\nscopes = ['read']\n";
        let (_, wrong) = parse(text, Limit::default(), false);
        assert_eq!(wrong, ["client 1 (a): jwt: no JWTs are accepted, see auth.jwt_issuer"]);
    }
}
