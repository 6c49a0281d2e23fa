//! The broker: whether it answers, its version, what our user may do, queues, bindings, policies, leaders.

use std::collections::BTreeMap;

use waybill_messaging::{
    greeting,
    management::{Management, Node, QueueView},
    queues::{self, Found, Publishing, State},
    topology::{self, Difference, Look, Thing},
};

use super::Findings;
use crate::{config::Config, serve};

/// The oldest release that is tested.
const OLDEST: (u32, u32) = (3, 10);
/// Policies that throw messages away or hold them up.
const HARMFUL: [&str; 5] =
    ["message-ttl", "expires", "max-length", "max-length-bytes", "dead-letter-strategy"];

const ALARM: &str = "give its nodes memory or disk: \"The broker is full\" in docs/operations.md has the steps; \
                     `rabbitmq-diagnostics alarms` tells which";

pub(super) async fn look(config: &Config, findings: &mut Findings) {
    let about = format!("broker {}", config.amqp.url);
    match reach(config, &about, findings).await {
        Ok(()) => {}
        Err(error) => findings.bad(
            &about,
            error,
            "see that it runs (`rabbitmqctl status`), and that user, password and virtual host of amqp.url are right",
        ),
    }
}

/// Errors: it cannot be reached.
async fn reach(config: &Config, about: &str, findings: &mut Findings) -> Result<(), String> {
    let (server, topology) = (serve::server(config), serve::topology(config));
    let management = serve::management(config).map_err(|error| error.to_string())?;
    let found = queues::inspect(&server, &topology).await?;
    version(config, management.as_ref(), about, findings).await;
    match queues::may_publish(&server, &topology).await? {
        Publishing::Allowed => {}
        Publishing::Refused(said) => {
            let refused = Difference::Refused(said);
            findings.bad(about, refused.what(), refused.remedy());
        }
        Publishing::Blocked(why) => findings.bad(
            about,
            format!(
                "it takes no messages: {why}. Requests are accepted all the same, and wait in the outbox"
            ),
            ALARM,
        ),
    }
    if let Some(management) = &management {
        nodes(management, about, findings).await;
    }
    for queue in &found {
        state(queue, findings);
    }
    let reachable = management.as_ref();
    let look = Look { declaring: config.amqp.declare, management: reachable };
    let checked = match topology::check(&server, &topology, look).await {
        Ok(checked) => checked,
        Err(error) => {
            findings.warn("topology", error, "see that amqp.management_url is right, or set it to nothing");
            return Ok(());
        }
    };
    for difference in &checked.differences {
        let is_told = |queue: &Found| queue.state == State::Differs(difference.clone());
        // What a queue is like by itself has been told above.
        if !matches!(difference, Difference::Missing { thing: Thing::Queue, .. })
            && !found.iter().any(is_told)
        {
            findings.bad("topology", difference.what(), difference.remedy());
        }
    }
    if checked.differences.is_empty() {
        findings.ok("topology", "exchanges and queues are as the configuration says");
    }
    for unseen in &checked.unseen {
        findings.ok("topology", format!("not looked at: {unseen}"));
    }
    if let Some(management) = reachable {
        for queue in &found {
            if let Ok(Some(view)) = management.queue(&queue.full_name).await {
                by_management(config, queue, &view, findings);
            }
        }
    }
    Ok(())
}

async fn version(config: &Config, management: Option<&Management>, about: &str, findings: &mut Findings) {
    let told = match management {
        Some(management) => management.overview().await.map(|overview| overview.rabbitmq_version),
        None => greeting::version(config.amqp.url.expose()).await,
    };
    let version = match told {
        Ok(version) => version,
        Err(error) => {
            findings.warn(about, format!("its version is not known: {error}"), "set amqp.management_url");
            return;
        }
    };
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if release < OLDEST {
        let (major, minor) = OLDEST;
        findings.bad(
            about,
            format!("RabbitMQ {version} is too old"),
            format!("upgrade to {major}.{minor} or newer"),
        );
    } else {
        findings.ok(about, format!("RabbitMQ {version}"));
    }
}

/// What each node lacks.
async fn nodes(management: &Management, about: &str, findings: &mut Findings) {
    let nodes = match management.nodes().await {
        Ok(nodes) => nodes,
        Err(error) => return findings.warn(about, error, "see that amqp.management_url is right"),
    };
    for Node { name, running, mem_alarm, disk_free_alarm } in nodes {
        if !running {
            findings.warn(
                about,
                format!("node {name} is not there"),
                "start it (`rabbitmqctl cluster_status`)",
            );
        }
        for (alarm, what) in [(mem_alarm, "memory"), (disk_free_alarm, "disk")] {
            if alarm {
                findings.bad(about, format!("node {name} has raised an alarm for its {what}"), ALARM);
            }
        }
    }
}

fn state(queue: &Found, findings: &mut Findings) {
    let about = format!("queue {}", queue.full_name);
    let role = queue.name.trim_end_matches(".dead");
    match &queue.state {
        State::Reachable { ready, consumers: 0 } => findings.warn(
            &about,
            format!("nobody consumes it, {ready} messages wait"),
            format!("run a process that plays role {role} (`waybill serve --roles {role}`), or see its log"),
        ),
        State::Reachable { ready, consumers } => {
            findings.ok(&about, format!("{consumers} consumers, {ready} messages wait"));
        }
        State::Missing => findings.bad(&about, "it is missing", "`waybill topology apply` declares it"),
        State::NoLeader => findings.bad(
            &about,
            "it is there but has no leader: nothing gets in or out",
            format!("if it stays so: `waybill queues mend {} --yes`", queue.name),
        ),
        State::Refused(said) => {
            let refused = Difference::Refused(said.clone());
            findings.bad(&about, refused.what(), refused.remedy());
        }
        State::Differs(difference) => findings.bad(&about, difference.what(), difference.remedy()),
    }
}

fn by_management(config: &Config, queue: &Found, view: &QueueView, findings: &mut Findings) {
    let about = format!("queue {}", queue.full_name);
    let (members, online) = view.members;
    match &view.leader {
        Some(leader) if online < members => findings.warn(
            &about,
            format!("led by {leader}; only {online} of its {members} members are there"),
            "start the nodes that are missing (`rabbitmqctl cluster_status`)",
        ),
        Some(leader) => findings.ok(&about, format!("led by {leader}")),
        None => findings.bad(
            &about,
            "the broker names no leader",
            format!("if it stays so: `waybill queues mend {} --yes`", queue.name),
        ),
    }
    for (what, mend) in policy(config, &view.policy) {
        findings.warn(&about, what, mend);
    }
}

/// What of a policy works against us.
fn policy(config: &Config, policy: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mend = "take it out of the policy (`rabbitmqctl list_policies`, `rabbitmqctl set_policy`)".to_owned();
    let harmful = policy.iter().filter(|(key, _)| HARMFUL.contains(&key.as_str()));
    let mut found: Vec<_> = harmful
        .map(|(key, value)| {
            (format!("a policy sets {key} to {value}: messages are thrown away or held up"), mend.clone())
        })
        .collect();
    let limit = policy.get("delivery-limit").and_then(|limit| limit.parse::<u32>().ok());
    if let Some(limit) = limit.filter(|limit| *limit < config.amqp.delivery_limit) {
        let ours = config.amqp.delivery_limit;
        found.push((
            format!("a policy sets delivery-limit to {limit}, below amqp.delivery_limit of {ours}"),
            mend,
        ));
    }
    found
}
