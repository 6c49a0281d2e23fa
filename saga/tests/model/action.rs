//! What can happen next in a world.

use waybill_saga::{Command, Instance, machine::may_cancel};

use crate::{
    Shipped,
    faults::Broken,
    message::{Ids, Message},
    participant::Row,
    world::{Flow, World},
};

/// Something that happens to the dispatch of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The gateway commits the dispatch with its message.
    Accept(usize),
    /// The gateway sends the message of a dispatch without a saga again.
    Reconcile(usize),
    /// The gateway commits a cancel request.
    Cancel(usize),
    /// The gateway sends the cancel request of a dispatch whose saga has not decided it again.
    CancelAgain(usize),
    /// A deadline passes.
    Deadline(usize),
    /// The relay publishes a row, hears the confirm and clears the row.
    Publish(usize, Message),
    /// The same, and the row stays, because the confirm or the relay is lost.
    PublishUnheard(usize, Message),
    /// The lease of such a row has run out, and it is published again.
    PublishAgain(usize, Message),
    /// The relay clears a row that the broker never got.
    ClearUnpublished(usize, Message),
    /// A consumer handles a message.
    Handle(usize, Message, How),
    /// The broker forgets everything.
    Amnesia,
    /// The inboxes forget everything about a dispatch.
    Purge(usize),
}

/// How a message is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Committed and acknowledged.
    Well,
    /// The same, and the participant says no.
    Refusing,
    /// Committed, and it is delivered again: the acknowledgement was lost, or the broker has it twice. When
    /// the copy came to be makes no difference, only what is left of it when one has been handled.
    Again,
    /// Acknowledged and not committed.
    Uncommitted,
    /// The effect is committed; its inbox row, its reply and the acknowledgement are not.
    EffectOnly,
}

impl<const N: usize> Shipped<N> {
    /// Everything that can happen.
    pub(crate) fn possible(&self, world: &World<N>, actions: &mut Vec<Action>) {
        for (d, flow) in world.flows.iter().enumerate() {
            self.of_time(world, d, flow, actions);
            self.of_relay(world, d, flow, actions);
            self.of_broker(world, d, flow, actions);
        }
        let holds = |flow: &Flow| !flow.queues.is_empty();
        if world.left.amnesias > 0 && world.flows.iter().any(holds) {
            actions.push(Action::Amnesia);
        }
    }

    fn of_time(&self, world: &World<N>, d: usize, flow: &Flow, actions: &mut Vec<Action>) {
        let left = world.left;
        if !flow.accepted {
            actions.push(Action::Accept(d));
            return;
        }
        if left.cancels > 0 {
            actions.push(Action::Cancel(d));
        }
        if self.reconciles(flow) {
            actions.push(Action::Reconcile(d));
        }
        if self.cancels_again(flow) {
            actions.push(Action::CancelAgain(d));
        }
        if self.has_deadline(flow) && (flow.is_quiet() || left.early > 0) {
            actions.push(Action::Deadline(d));
        }
        if left.purges > 0 && flow.inbox != Ids::default() {
            actions.push(Action::Purge(d));
        }
    }

    fn of_relay(&self, world: &World<N>, d: usize, flow: &Flow, actions: &mut Vec<Action>) {
        for message in flow.outbox.messages() {
            actions.push(Action::Publish(d, message));
            if world.left.unheard > 0 {
                actions.push(Action::PublishUnheard(d, message));
                if self.broken == Some(Broken::ClearedBeforeConfirm) {
                    actions.push(Action::ClearUnpublished(d, message));
                }
            }
        }
        actions.extend(flow.unheard.messages().map(|message| Action::PublishAgain(d, message)));
    }

    fn of_broker(&self, world: &World<N>, d: usize, flow: &Flow, actions: &mut Vec<Action>) {
        for message in flow.queues.messages() {
            actions.push(Action::Handle(d, message, How::Well));
            if world.left.refusals > 0 && may_refuse(*flow, message) {
                actions.push(Action::Handle(d, message, How::Refusing));
            }
            if world.left.copies > 0 {
                let how = match self.broken {
                    Some(Broken::AckBeforeCommit) => How::Uncommitted,
                    Some(Broken::InboxApart) => How::EffectOnly,
                    _ => How::Again,
                };
                actions.push(Action::Handle(d, message, how));
            }
        }
    }

    fn reconciles(&self, flow: &Flow) -> bool {
        self.broken != Some(Broken::NoReconcile) && flow.has_lost_its_request()
    }

    pub(crate) fn cancels_again(&self, flow: &Flow) -> bool {
        self.broken != Some(Broken::CancelNotKept) && flow.has_lost_its_cancel() && !self.has_decided(flow)
    }

    /// Whether a cancel request has nothing to change any more.
    pub(crate) fn has_decided(&self, flow: &Flow) -> bool {
        let decided = |saga: &Instance| {
            saga.is_going_back() || may_cancel(self.machine.definition(), &saga.steps).is_err()
        };
        self.machine.instance(flow.saga).is_some_and(decided)
    }

    pub(crate) fn has_deadline(&self, flow: &Flow) -> bool {
        self.machine.instance(flow.saga).is_some_and(|instance| instance.deadline_at.is_some())
    }

    /// Whether nothing moves any more unless something more goes wrong.
    pub(crate) fn rests(&self, world: &World<N>) -> bool {
        let rests = |flow: &Flow| {
            flow.accepted
                && flow.is_quiet()
                && !self.has_deadline(flow)
                && !self.reconciles(flow)
                && !self.cancels_again(flow)
        };
        world.flows.iter().all(rests)
    }
}

fn may_refuse(mut flow: Flow, message: Message) -> bool {
    match message {
        Message::Command(
            command @ (Command::AcceptOrder | Command::ReservePayment | Command::CreateDispatch),
        ) => *flow.row(command.participant()) == Row::Absent,
        _ => false,
    }
}
