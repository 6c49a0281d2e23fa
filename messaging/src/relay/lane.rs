//! Lanes: a queue that confirms nothing holds up only its own messages.
//!
//! Every queue of ours has a lane, and all that goes elsewhere (events, answers to strangers) shares one. A
//! lane has its own room in memory, its own channel and its own window, because an acknowledgement is
//! believed only when everything before it on the same channel is answered (see `window`).

use crate::{
    Outgoing,
    topology::{Exchange, QUEUES},
};

/// Which lane a message takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane(usize);

/// How many lanes there are.
pub(crate) const LANES: usize = QUEUES.len() + 1;

impl Lane {
    /// The lane of a message.
    pub(crate) fn of(message: &Outgoing) -> Self {
        Self::to(message.exchange, &message.routing_key)
    }

    /// The lane of what is published there.
    pub(crate) fn to(exchange: Exchange, routing_key: &str) -> Self {
        let ours = QUEUES.iter().position(|queue| queue.routing_keys.contains(&routing_key));
        Self(ours.filter(|_| exchange == Exchange::Dispatch).unwrap_or(QUEUES.len()))
    }

    /// Every lane, in the order of [`Lane::index`].
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..LANES).map(Self)
    }

    pub(crate) const fn index(self) -> usize {
        self.0
    }

    /// The queue of ours that it leads to; none for the one that everything else shares.
    pub(crate) fn queue(self) -> Option<&'static str> {
        QUEUES.get(self.0).map(|queue| queue.name)
    }

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        self.queue().unwrap_or("others")
    }

    /// The SQL condition that holds for the outbox rows of this lane.
    fn condition(self) -> String {
        let keys = |keys: &mut dyn Iterator<Item = &&str>| {
            let quoted: Vec<_> = keys.map(|key| format!("'{key}'")).collect();
            format!("(exchange = '{}' AND routing_key IN ({}))", Exchange::Dispatch.name(), quoted.join(", "))
        };
        match QUEUES.get(self.0) {
            Some(queue) => keys(&mut queue.routing_keys.iter()),
            None => format!("NOT {}", keys(&mut QUEUES.iter().flat_map(|queue| queue.routing_keys))),
        }
    }

    /// The same for any of `lanes`. Nothing to check where these are all there are.
    pub(crate) fn any_of(lanes: &[Self]) -> String {
        if lanes.len() == LANES {
            return "true".to_owned();
        }
        let conditions: Vec<_> = lanes.iter().map(|lane| lane.condition()).collect();
        format!("({})", conditions.join(" OR "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_to_one_queue_shares_a_lane_and_everything_else_another() {
        let lane = |exchange, key| Lane::to(exchange, key).name();
        assert_eq!(lane(Exchange::Dispatch, "saga.reply"), "saga");
        assert_eq!(lane(Exchange::Dispatch, "dispatch.requested"), "saga");
        assert_eq!(lane(Exchange::Dispatch, "order.command"), "order");
        assert_eq!(lane(Exchange::Dispatch, "a.stranger"), "others");
        assert_eq!(lane(Exchange::Events, "order.command"), "others");
    }

    #[test]
    fn a_condition_holds_for_its_own_lane() {
        let condition = Lane::any_of(&[Lane(0), Lane(1)]);
        assert_eq!(
            condition,
            "((exchange = 'dispatch' AND routing_key IN ('dispatch.requested', 'saga.reply')) \
             OR (exchange = 'dispatch' AND routing_key IN ('order.command')))"
        );
        assert_eq!(Lane::any_of(&Lane::all().collect::<Vec<_>>()), "true");
    }
}
