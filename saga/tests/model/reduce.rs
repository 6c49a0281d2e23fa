//! What need not be looked at in every order, because it makes no difference. The test
//! `the_reductions_hide_no_outcome` holds the outcomes with and without against each other.
//!
//! * A copy that its consumer knows and will not answer, or whose answer the saga knows, is nothing: it goes
//!   at once, unless an inbox may still forget.
//! * Where neither the broker nor the relay can fail any more, a row of the outbox is published at once.
//! * Who of several dispatches is first makes no difference.

use crate::{
    Shipped,
    faults::Broken,
    message::{Answer, Bag, Message},
    world::{Flow, World},
};

impl<const N: usize> Shipped<N> {
    /// The world that stands for all that differ from it in nothing that matters.
    pub(crate) fn reduce(&self, mut world: World<N>) -> World<N> {
        if self.reduced {
            let relay_is_safe = world.left.amnesias == 0 && world.left.unheard == 0;
            for flow in &mut world.flows {
                if world.left.purges == 0 {
                    drop_known(flow);
                }
                if relay_is_safe && self.broken != Some(Broken::ClearedBeforeConfirm) {
                    publish_all(flow);
                }
            }
            world.flows.sort_unstable();
        }
        world
    }
}

fn drop_known(flow: &mut Flow) {
    let inbox = flow.inbox;
    let matters = |message: &Message| match *message {
        Message::Command(command) => {
            !inbox.contain(message.id()) || !inbox.contain(Message::Reply(command, Answer::Done).id())
        }
        Message::Request | Message::Cancel | Message::Reply(..) => !inbox.contain(message.id()),
    };
    for bag in [&mut flow.outbox, &mut flow.unheard, &mut flow.queues] {
        bag.retain(matters);
    }
}

/// Publishes what waits in the outbox.
pub(crate) fn publish_all(flow: &mut Flow) {
    flow.queues.append(flow.outbox);
    flow.outbox = Bag::default();
}
