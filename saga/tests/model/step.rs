//! What an action makes of a world. A transaction is one action; so is a batch of one. A batch of many is
//! its messages one after the other, which is how it is applied within its transaction.

use waybill_saga::Command;

use crate::{
    Shipped,
    action::{Action, How},
    faults::Broken,
    machine::{Event, Saga},
    message::{Answer, Message},
    participant::{Habits, decide},
    reduce::publish_all,
    world::{Flow, World},
};

impl<const N: usize> Shipped<N> {
    /// The world after `action`.
    pub(crate) fn after(&self, mut world: World<N>, action: Action) -> World<N> {
        let World { flows, left } = &mut world;
        match action {
            Action::Accept(d) => {
                flows[d].accepted = true;
                flows[d].append(Message::Request);
            }
            Action::Reconcile(d) => flows[d].append(Message::Request),
            Action::Cancel(d) => {
                left.cancels -= 1;
                flows[d].cancelling = true;
                flows[d].append(Message::Cancel);
            }
            Action::CancelAgain(d) => flows[d].append(Message::Cancel),
            Action::Deadline(d) => {
                left.early -= u8::from(!flows[d].is_quiet());
                self.moves(&mut flows[d], Event::Deadline);
            }
            Action::Publish(d, message) => {
                flows[d].outbox.take(message);
                flows[d].queues.add(message);
            }
            Action::PublishUnheard(d, message) => {
                left.unheard -= 1;
                flows[d].outbox.take(message);
                flows[d].queues.add(message);
                flows[d].unheard.add(message);
            }
            Action::PublishAgain(d, message) => {
                flows[d].unheard.take(message);
                flows[d].queues.add(message);
            }
            Action::ClearUnpublished(d, message) => {
                left.unheard -= 1;
                flows[d].outbox.take(message);
            }
            Action::Handle(d, message, how) => {
                left.refusals -= u8::from(how == How::Refusing);
                left.copies -= u8::from(!matches!(how, How::Well | How::Refusing));
                self.handle(&mut flows[d], message, how);
            }
            Action::Amnesia => {
                left.amnesias -= 1;
                flows.iter_mut().for_each(Flow::forget_queues);
            }
            Action::Purge(d) => {
                left.purges -= 1;
                flows[d].forget_inbox();
            }
        }
        self.reduce(world)
    }

    fn handle(&self, flow: &mut Flow, message: Message, how: How) {
        if !matches!(how, How::Again | How::EffectOnly) {
            flow.queues.take(message);
        }
        if how == How::Uncommitted {
            return;
        }
        let id = message.id();
        if flow.inbox.contain(id) {
            if let Message::Command(command) = message
                && self.broken != Some(Broken::NoReplyToDuplicates)
            {
                flow.append(Message::Reply(command, flow.recorded(command)));
            }
            return;
        }
        flow.ghost.applied_twice |= flow.ghost.applied.contain(id);
        flow.ghost.applied.add(id);
        let reply = match message {
            Message::Command(command) => self.participate(flow, command, how),
            Message::Request | Message::Cancel | Message::Reply(..) => {
                self.orchestrate(flow, message);
                None
            }
        };
        if how == How::EffectOnly {
            return;
        }
        flow.inbox.add(id);
        if let Some(Message::Reply(_, Answer::Refused)) = reply {
            flow.refused.add(id);
        }
        if let Some(reply) = reply {
            flow.append(reply);
        }
    }

    /// Whether the next deadline of a dispatch gets an answer and moves it on, if nothing goes wrong any more.
    pub(crate) fn is_freed_by_its_deadline(&self, mut flow: Flow) -> bool {
        let stuck_at = flow.saga;
        self.moves(&mut flow, Event::Deadline);
        loop {
            publish_all(&mut flow);
            let Some(message) = flow.queues.messages().next() else { return flow.saga != stuck_at };
            self.handle(&mut flow, message, How::Well);
        }
    }

    fn participate(&self, flow: &mut Flow, command: Command, how: How) -> Option<Message> {
        let habits = Habits {
            marks: self.broken != Some(Broken::NoMark),
            looks: self.broken != Some(Broken::InboxAlone),
            refuses: how == How::Refusing,
        };
        let row = flow.row(command.participant());
        let decision = decide(*row, command, habits);
        *row = decision.row;
        if decision.effect {
            let id = Message::Command(command).id();
            flow.ghost.effect_twice |= flow.ghost.effects.contain(id);
            flow.ghost.effects.add(id);
        }
        flow.ghost.buried |= decision.answer.is_none();
        decision.answer.map(|answer| Message::Reply(command, answer))
    }

    fn orchestrate(&self, flow: &mut Flow, message: Message) {
        match (message, flow.saga) {
            (Message::Request, Saga::NONE) => flow.moved(self.machine.begun()),
            (Message::Cancel, Saga::NONE) => flow.moved(self.machine.cancelled()),
            // No saga yet is transient there, and cannot happen: a command is committed with its saga.
            (Message::Reply(..), Saga::NONE) | (Message::Command(_), _) => flow.ghost.buried = true,
            (Message::Request, _) => {}
            (Message::Cancel, _) => self.moves(flow, Event::Cancel),
            (Message::Reply(command, answer), _) => self.moves(flow, Event::Reply(command, answer)),
        }
    }

    fn moves(&self, flow: &mut Flow, event: Event) {
        if let Some(moved) = self.machine.advance(flow.saga, event) {
            flow.moved(moved);
        }
    }
}
