//! Who may do what: the settings below `auth` and `limits`, and the files that they name. All of it is
//! checked here, so that a wrong hash or key is an error at the start and not a client that is turned away.

use std::{fs, num::NonZeroU32, path::PathBuf, time::Duration};

use waybill_gateway::auth::{self, JwtSettings, Keys, Limit};

use super::{clients, error::Problem, layers::Values, typed::get, url::SecretUrl};

/// Least time between two looks for keys that tokens name and nobody knows.
const PAUSE: Duration = Duration::from_secs(10);

/// Everything below `auth` and `limits`, or every problem with it.
pub(super) fn read(values: &Values) -> Result<auth::Settings, Vec<Problem>> {
    let (client_limit, address_limit) = limits(values).map_err(|problem| vec![problem])?;
    let jwt = jwt(values).map_err(|problem| vec![problem])?;
    let file: Option<PathBuf> = get(values, FILE).map_err(|problem| vec![problem])?;
    let clients = if let Some(file) = file {
        let clients = clients::read(&file, client_limit, jwt.is_some());
        clients.map_err(|wrong| wrong.into_iter().map(|what| problem(FILE, what)).collect::<Vec<_>>())?
    } else {
        Vec::new()
    };
    Ok(auth::Settings { clients, jwt, client_limit, address_limit })
}

const FILE: &str = "auth.clients_file";

fn problem(key: &'static str, what: impl Into<String>) -> Problem {
    Problem::Unusable { key, what: what.into() }
}

fn limits(values: &Values) -> Result<(Limit, Limit), Problem> {
    let limit = |key| {
        let count = get::<Option<u64>>(values, key)?;
        Ok(count.and_then(|count| NonZeroU32::new(u32::try_from(count).unwrap_or(u32::MAX))))
    };
    let client = Limit { rate: limit("limits.client_rate")?, in_flight: limit("limits.client_in_flight")? };
    let address =
        Limit { rate: limit("limits.address_rate")?, in_flight: limit("limits.address_in_flight")? };
    Ok((client, address))
}

fn jwt(values: &Values) -> Result<Option<JwtSettings>, Problem> {
    let (issuer, audience): (String, String) =
        (get(values, "auth.jwt_issuer")?, get(values, "auth.jwt_audience")?);
    let keys: Option<SecretUrl> = get(values, KEYS)?;
    if issuer.is_empty() && audience.is_empty() && keys.is_none() {
        return Ok(None);
    }
    for (key, is_missing) in
        [("auth.jwt_issuer", issuer.is_empty()), ("auth.jwt_audience", audience.is_empty())]
    {
        if is_missing {
            return Err(problem(key, "must be set where JWTs are accepted: without it any token would do"));
        }
    }
    let keys = keys.ok_or_else(|| problem(KEYS, "must be set where JWTs are accepted"))?;
    Ok(Some(JwtSettings {
        issuer,
        audience,
        keys: read_keys(keys.expose()).map_err(|what| problem(KEYS, what))?,
        leeway: get(values, "auth.jwt_leeway")?,
        refresh: get(values, "auth.jwt_refresh")?,
        pause: PAUSE,
        own_only: get(values, "auth.jwt_own_only")?,
    }))
}

const KEYS: &str = "auth.jwt_keys";

/// A file has to be there and to make sense; a server may be away when this process starts.
fn read_keys(text: &str) -> Result<Keys, String> {
    let keys: Keys = text.parse()?;
    if let Keys::File(path) = &keys {
        let set = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        auth::check_keys(&set).map_err(|what| format!("{} {what}", path.display()))?;
    }
    Ok(keys)
}
