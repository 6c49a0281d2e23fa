//! The topology on paper: for people, and as the definitions that RabbitMQ imports.

use lapin::uri::AMQPUri;
use serde_json::{Map, Value, json};
use waybill_messaging::topology::{Argument, Binding, Topology};

use crate::cli::{Failure, clean::clean, json, out};

const PACKED: &str = "\
Consumers bind the optional routing keys themselves, to get several messages in one. Where amqp.declare is false they do
not: bind those too, or leave it, and messages travel one by one. `--format json` is without them.";

pub(super) fn as_table(topology: &Topology) -> String {
    let mut exchanges = out::table(&["Exchange", "Type"]);
    for exchange in topology.exchanges() {
        exchanges.add_row([clean(&exchange.name), exchange.kind_name().into()]);
    }
    let mut queues = out::table(&["Queue", "Arguments", "Bound to", "Routing keys", "Optional, for packs"]);
    for queue in topology.queues() {
        let arguments: Vec<_> =
            queue.arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut exchanges: Vec<_> = queue.bindings.iter().map(|binding| binding.exchange.as_str()).collect();
        exchanges.dedup();
        let packed = if queue.external { [].as_slice() } else { &queue.packed };
        let lines = [arguments.join("\n"), exchanges.join("\n"), keys(&queue.bindings), keys(packed)];
        let mut cells = vec![queue.name.clone()];
        cells.extend(lines);
        queues.add_row(cells);
    }
    format!("{}\n\n{}\n\n{PACKED}", exchanges.trim_fmt(), queues.trim_fmt())
}

fn keys(bindings: &[Binding]) -> String {
    let keys: Vec<_> = bindings.iter().map(|binding| binding.routing_key.as_str()).collect();
    keys.join("\n")
}

/// Errors: the broker's URL cannot be read, so that nobody knows the virtual host.
pub(super) fn as_definitions(topology: &Topology, amqp_url: &str) -> Result<String, Failure> {
    let url: Result<AMQPUri, _> = amqp_url.parse();
    let vhost = url.map_err(|error| Failure::usage(format!("amqp.url: {error}")))?.vhost;
    let exchanges: Vec<_> = topology
        .exchanges()
        .iter()
        .map(|exchange| {
            json!({
                "name": exchange.name, "vhost": vhost, "type": exchange.kind_name(),
                "durable": true, "auto_delete": false, "internal": false, "arguments": {},
            })
        })
        .collect();
    let (mut queues, mut bindings) = (Vec::new(), Vec::new());
    for queue in topology.queues() {
        let arguments: Map<_, _> =
            queue.arguments.iter().map(|(name, value)| ((*name).to_owned(), as_json(value))).collect();
        queues.push(json!({
            "name": queue.name, "vhost": vhost, "durable": true, "auto_delete": false, "arguments": arguments,
        }));
        bindings.extend(queue.bindings.iter().map(|binding| {
            json!({
                "source": binding.exchange, "vhost": vhost, "destination": binding.queue,
                "destination_type": "queue", "routing_key": binding.routing_key, "arguments": {},
            })
        }));
    }
    let definitions = json!({ "exchanges": exchanges, "queues": queues, "bindings": bindings });
    Ok(json::pretty(&definitions))
}

fn as_json(argument: &Argument) -> Value {
    match argument {
        Argument::Text(text) => text.as_str().into(),
        Argument::Number(number) => (*number).into(),
    }
}
