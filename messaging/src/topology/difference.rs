//! How the broker differs from the topology, in words, with what mends it.

use std::fmt;

use lapin::{Error, ErrorKind};

use super::Binding;

/// What an exchange or queue is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// An exchange.
    Exchange,
    /// A queue.
    Queue,
}

impl Thing {
    const fn word(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Queue => "queue",
        }
    }
}

/// One difference. `Display` says it in words, with what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It is not there.
    Missing {
        /// Exchange or queue.
        thing: Thing,
        /// Its name on the broker.
        name: String,
    },
    /// An exchange does not route to a queue what it should.
    Unbound(Binding),
    /// It routes packs to a queue whose consumer does not know of them.
    Packed(Binding),
    /// It was declared otherwise.
    Differs {
        /// Exchange or queue.
        thing: Thing,
        /// Its name on the broker.
        name: String,
        /// What differs, as the broker calls it: `x-queue-type`, `type`, `durable` …
        argument: String,
        /// What the configuration says; `none` where it says nothing.
        wanted: String,
        /// What the broker has; `none` where it has nothing.
        found: String,
    },
    /// The user may not do what is needed.
    Refused(String),
}

impl Difference {
    /// What the broker answered, where that says something about the topology.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        let ErrorKind::ProtocolError(error) = error.kind() else { return None };
        match error.get_id() {
            403 => Some(Self::Refused(error.get_message().to_string())),
            404 => missing(error.get_message().as_str()),
            406 => differs(error.get_message().as_str()),
            _ => None,
        }
    }

    /// What is wrong.
    pub fn what(&self) -> String {
        match self {
            Self::Missing { thing, name } => format!("{} {name} is missing", thing.word()),
            Self::Unbound(Binding { exchange, queue, routing_key }) => format!(
                "binding {routing_key} from exchange {exchange} to queue {queue} is missing: \
                 messages with that routing key wait in the outbox as unroutable"
            ),
            Self::Packed(Binding { exchange, queue, routing_key }) => format!(
                "binding {routing_key} from exchange {exchange} to queue {queue} says that its consumer takes \
                 packs, and by the setting external somebody else consumes it"
            ),
            Self::Differs { thing, name, argument, wanted, found } => {
                let thing = thing.word();
                match argument.as_str() {
                    "x-queue-type" | "type" => {
                        format!("{thing} {name} is {found}, the configuration says {wanted}")
                    }
                    _ => format!("{thing} {name} has {argument} {found}, the configuration says {wanted}"),
                }
            }
            Self::Refused(said) => format!("the broker refuses: {said}"),
        }
    }

    /// What mends it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Missing { .. } | Self::Unbound(_) => {
                "`waybill topology apply` declares what is missing".to_owned()
            }
            Self::Packed(_) => "`waybill topology apply` takes it away".to_owned(),
            Self::Differs { thing: Thing::Exchange, name, .. } => {
                format!(
                    "`waybill topology apply --recreate {name}` deletes it and declares it again, without the bindings of others"
                )
            }
            Self::Differs { name, argument, found, .. } => {
                let again = format!(
                    "`waybill topology apply --recreate {name}` deletes it and declares it again; \
                     what was in it is sent again"
                );
                match setting(argument) {
                    Some(key) if found != "none" => {
                        format!("set {key} to {found} to keep it as it is, or change it: {again}")
                    }
                    _ => again,
                }
            }
            Self::Refused(_) => "give the user of amqp.url the permissions configure, write and read on \
                                 amqp.prefix (`rabbitmqctl set_permissions`), or set amqp.declare to false \
                                 where others declare the topology"
                .to_owned(),
        }
    }
}

/// Several in words, each remedy once.
pub(crate) fn in_words(differences: &[Difference]) -> String {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for difference in differences {
        let (what, remedy) = (difference.what(), difference.remedy());
        match groups.iter_mut().find(|(known, _)| *known == remedy) {
            Some((_, whats)) => whats.push(what),
            None => groups.push((remedy, vec![what])),
        }
    }
    let groups: Vec<_> =
        groups.iter().map(|(remedy, whats)| format!("{}; {remedy}", whats.join(", "))).collect();
    groups.join(". ")
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what(), self.remedy())
    }
}

/// The setting that an argument comes from.
fn setting(argument: &str) -> Option<&'static str> {
    match argument {
        "x-queue-type" => Some("amqp.queue_type"),
        "x-delivery-limit" => Some("amqp.delivery_limit"),
        _ => None,
    }
}

/// `NOT_FOUND - no queue 'waybill.saga' in vhost '/'`
fn missing(said: &str) -> Option<Difference> {
    let (thing, name) = named(said.split_once("no ")?.1)?;
    Some(Difference::Missing { thing, name })
}

/// `PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'waybill.saga' in vhost '/': received the
/// value 'quorum' of type 'longstr' but current is the value 'classic' of type 'longstr'`
fn differs(said: &str) -> Option<Difference> {
    let (argument, rest) = said.split_once("inequivalent arg '")?.1.split_once("' for ")?;
    let (thing, name) = named(rest)?;
    let (wanted, found) = rest.rsplit_once(": received ")?.1.split_once(" but current is ")?;
    let [wanted, found] = [wanted, found].map(value);
    Some(Difference::Differs { thing, name, argument: argument.to_owned(), wanted, found })
}

fn named(text: &str) -> Option<(Thing, String)> {
    let (thing, rest) = text.split_once(" '")?;
    let thing = match thing {
        "queue" => Thing::Queue,
        "exchange" => Thing::Exchange,
        _ => return None,
    };
    Some((thing, rest.split_once("' in vhost")?.0.to_owned()))
}

/// `the value 'quorum' of type 'longstr'`, `'direct'` or `none`.
fn value(text: &str) -> String {
    let text = text.strip_prefix("the value ").unwrap_or(text);
    let text = text.split_once(" of type ").map_or(text, |(value, _)| value);
    text.trim_matches('\'').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_broker_says_is_told_in_words() {
        let words = |said| differs(said).or_else(|| missing(said)).map(|difference| difference.what());
        for (said, expected) in [
            (
                "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'w.saga' in vhost '/': received the \
                 value 'quorum' of type 'longstr' but current is the value 'classic' of type 'longstr'",
                "queue w.saga is classic, the configuration says quorum",
            ),
            (
                "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'w.saga' in vhost '/': received \
                 the value '7' of type 'signedint' but current is none",
                "queue w.saga has x-delivery-limit none, the configuration says 7",
            ),
            (
                "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'w.dispatch' in vhost 'a: b': received \
                 'direct' but current is 'topic'",
                "exchange w.dispatch is topic, the configuration says direct",
            ),
            ("NOT_FOUND - no queue 'w.saga' in vhost '/'", "queue w.saga is missing"),
            ("NOT_FOUND - no exchange 'w.dispatch' in vhost '/'", "exchange w.dispatch is missing"),
        ] {
            assert_eq!(words(said).as_deref(), Some(expected), "{said}");
        }
        assert_eq!(words("PRECONDITION_FAILED - unknown delivery tag 1"), None);
    }

    #[test]
    fn what_is_mended_by_one_command_is_told_together() {
        let missing =
            ["a", "b"].map(|name| Difference::Missing { thing: Thing::Queue, name: name.to_owned() });
        let words =
            "queue a is missing, queue b is missing; `waybill topology apply` declares what is missing";
        assert_eq!(in_words(&missing), words);
    }

    #[test]
    fn a_difference_names_the_command_that_mends_it() {
        let said = "inequivalent arg 'x-queue-type' for queue 'w.saga' in vhost '/': received the value 'quorum' of \
                    type 'longstr' but current is the value 'classic' of type 'longstr'";
        let remedy = differs(said).unwrap().remedy();
        assert!(remedy.starts_with("set amqp.queue_type to classic to keep it as it is"), "{remedy}");
        assert!(remedy.contains("`waybill topology apply --recreate w.saga`"), "{remedy}");
    }
}
