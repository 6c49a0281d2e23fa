//! The broker's management interface: what AMQP does not show. Read only, over HTTP.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use lapin::uri::AMQPUri;
use serde::{Deserialize, de::DeserializeOwned};
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

use crate::{broker::Server, pem};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Where it is, and who asks. `Debug` shows no password.
#[derive(Clone)]
pub struct Management {
    agent: Agent,
    /// Without a slash at its end.
    url: String,
    authorization: String,
    /// As a segment of a path.
    vhost: String,
}

impl std::fmt::Debug for Management {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Management").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The broker itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Overview {
    /// Version of RabbitMQ.
    pub rabbitmq_version: String,
}

/// A node of the broker.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub running: bool,
    /// It has too little memory, and reads nothing from those who publish.
    #[serde(default)]
    pub mem_alarm: bool,
    /// The same for its disk.
    #[serde(default)]
    pub disk_free_alarm: bool,
}

/// A queue as the broker has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// Whether it outlives the broker.
    pub durable: bool,
    /// What it was declared with, its type always among it.
    pub arguments: BTreeMap<String, String>,
    /// The node that leads it; `None` where nobody does.
    pub leader: Option<String>,
    /// Nodes that hold it, and those of them that are there.
    pub members: (usize, usize),
    /// Messages in it.
    pub messages: u64,
    /// What policies add, as far as it can lose or hold up messages.
    pub policy: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RawQueue {
    durable: bool,
    #[serde(default)]
    arguments: serde_json::Map<String, serde_json::Value>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    leader: Option<String>,
    node: Option<String>,
    #[serde(default)]
    members: Vec<String>,
    #[serde(default)]
    online: Vec<String>,
    #[serde(default)]
    messages: u64,
    #[serde(default)]
    effective_policy_definition: serde_json::Value,
}

#[derive(Deserialize)]
struct RawBinding {
    source: String,
    routing_key: String,
}

#[derive(Deserialize)]
struct RawExchange {
    #[serde(rename = "type")]
    kind: String,
}

impl Management {
    /// For the interface at `url` (`http://` or `https://`) of that broker. User and password are those of `url`, or of
    /// the broker's URL where it has none; and the CA of the broker vouches for both.
    ///
    /// Errors: a URL that is none; a CA that cannot be read.
    pub fn new(url: &str, server: &Server) -> Result<Self, String> {
        let amqp: AMQPUri = server.url.parse().map_err(|error| format!("amqp.url: {error}"))?;
        let (scheme, rest) = url.split_once("://").ok_or("amqp.management_url is no URL")?;
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, host)) => (user.to_owned(), host),
            None => {
                (format!("{}:{}", amqp.authority.userinfo.username, amqp.authority.userinfo.password), rest)
            }
        };
        let tls = TlsConfig::builder().root_certs(RootCerts::Specific(roots(server)?.into())).build();
        let config = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .tls_config(tls)
            .build();
        Ok(Self {
            agent: config.into(),
            url: format!("{scheme}://{}", host.trim_end_matches('/')),
            authorization: format!("Basic {}", BASE64_STANDARD.encode(user)),
            vhost: segment(&amqp.vhost),
        })
    }

    /// The broker itself. Errors: it is away or refuses.
    pub async fn overview(&self) -> Result<Overview, String> {
        self.get("overview".to_owned()).await?.ok_or_else(|| "it knows no /api/overview".to_owned())
    }

    /// Every node. Errors: the interface is away or refuses.
    pub async fn nodes(&self) -> Result<Vec<Node>, String> {
        self.get("nodes".to_owned()).await?.ok_or_else(|| "it knows no /api/nodes".to_owned())
    }

    /// A queue by its full name. Errors: the interface is away or refuses.
    pub async fn queue(&self, name: &str) -> Result<Option<QueueView>, String> {
        let path = format!("queues/{}/{}", self.vhost, segment(name));
        let Some(raw) = self.get::<RawQueue>(path).await? else { return Ok(None) };
        let mut arguments: BTreeMap<_, _> = texts(raw.arguments);
        if let Some(kind) = raw.kind {
            arguments.entry("x-queue-type".to_owned()).or_insert(kind);
        }
        let policy = raw.effective_policy_definition.as_object().cloned().map(texts).unwrap_or_default();
        let is_quorum = arguments.get("x-queue-type").is_some_and(|kind| kind == "quorum");
        let leader = if is_quorum { raw.leader } else { raw.node };
        let leader = leader.filter(|leader| !is_quorum || raw.online.contains(leader));
        let members = (raw.members.len(), raw.online.len());
        Ok(Some(QueueView {
            durable: raw.durable,
            arguments,
            leader,
            members,
            messages: raw.messages,
            policy,
        }))
    }

    /// What is routed to a queue: exchange and routing key.
    pub(crate) async fn bindings_of(&self, queue: &str) -> Result<Vec<(String, String)>, String> {
        let path = format!("queues/{}/{}/bindings", self.vhost, segment(queue));
        let bindings = self.get::<Vec<RawBinding>>(path).await?.unwrap_or_default();
        Ok(bindings.into_iter().map(|binding| (binding.source, binding.routing_key)).collect())
    }

    /// How an exchange routes.
    pub(crate) async fn exchange_kind(&self, name: &str) -> Result<Option<String>, String> {
        let path = format!("exchanges/{}/{}", self.vhost, segment(name));
        Ok(self.get::<RawExchange>(path).await?.map(|exchange| exchange.kind))
    }

    /// `None`: there is no such thing.
    async fn get<T: DeserializeOwned + Send + 'static>(&self, path: String) -> Result<Option<T>, String> {
        let this = self.clone();
        let asking = tokio::task::spawn_blocking(move || this.get_blocking(&path));
        let answer = asking.await.map_err(|error| error.to_string()).flatten();
        answer.map_err(|error| format!("management interface {}: {error}", self.url))
    }

    fn get_blocking<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, String> {
        let asking = self.agent.get(format!("{}/api/{path}", self.url));
        let answer = asking.header("authorization", &self.authorization).call();
        let mut answer = answer.map_err(|error| error.to_string())?;
        match answer.status().as_u16() {
            200 => answer.body_mut().read_json().map(Some).map_err(|error| error.to_string()),
            404 => Ok(None),
            401 | 403 => Err(format!(
                "HTTP {}: the user needs the tag `monitoring` or `management`",
                answer.status().as_u16()
            )),
            status => Err(format!("HTTP {status}")),
        }
    }
}

/// The broker's own CA, or else the roots that this machine trusts.
fn roots(server: &Server) -> Result<Vec<Certificate<'static>>, String> {
    let found = match &server.tls.ca {
        Some(file) => {
            let text = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
            pem::certificates(file, &text)?
        }
        None => rustls_native_certs::load_native_certs().certs,
    };
    Ok(found.iter().map(|root| Certificate::from_der(root).to_owned()).collect())
}

fn texts(values: serde_json::Map<String, serde_json::Value>) -> BTreeMap<String, String> {
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    values.into_iter().map(|(name, value)| (name, text(value))).collect()
}

/// As a segment of a path.
fn segment(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_of_a_path() {
        assert_eq!(segment("a/b c.d%"), "a%2Fb%20c.d%25");
    }

    #[test]
    fn no_password_is_shown() {
        let management =
            Management::new("http://u:hunter2@h:15672/", &Server::at("amqp://a:b@h/%2f")).unwrap();
        assert_eq!(format!("{management:?}"), r#"Management { url: "http://h:15672", .. }"#);
        assert_eq!((&*management.vhost, &*management.authorization), ("%2F", "Basic dTpodW50ZXIy"));
    }
}
