//! Why a dispatch is not done: what it waits for, what happens next, and what each verb would do. What will
//! happen is not said again here: the machine itself is asked, on a copy.

use waybill_messaging::Timestamp;

use crate::{
    Action, Definition, Instance, InstanceState, StepState,
    machine::{self, Input, Intervention, Out, Transition, Verb},
    read::TransitionView,
};

/// How a saga stands, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// Where it stands.
    pub standing: String,
    /// What it waits for; empty where it waits for nothing.
    pub waits_for: String,
    /// Since when.
    pub waits_since: Option<Timestamp>,
    /// Which attempt is out.
    pub attempt: u32,
    /// After how many the saga decides without an answer.
    pub attempts: u32,
    /// What happens next if no answer comes.
    pub next: String,
    /// When.
    pub next_at: Option<Timestamp>,
    /// The verbs that fit, and what each does.
    pub options: Vec<(Verb, String)>,
}

/// Explains an instance. `history` is all of it, oldest first.
pub fn explain(definition: &Definition, instance: &Instance, history: &[TransitionView]) -> Explanation {
    let mut explanation = Explanation { standing: standing(definition, instance), ..Explanation::default() };
    let Some(step) = instance.current else { return explanation };
    let (action, patience) = machine::out_now(definition, instance, step);
    let command = name(definition, step, action);
    let participant = definition.steps[step].command.participant().name();
    explanation.waits_for = format!("the answer of {participant} to {command}");
    explanation.waits_since = since(definition.steps[step].name, instance, history);
    (explanation.attempt, explanation.attempts) = (instance.attempt, patience.attempts);
    (explanation.next, explanation.next_at) = next(definition, instance);
    explanation.options = options(definition, instance);
    explanation
}

fn standing(definition: &Definition, instance: &Instance) -> String {
    let at = instance.current.map_or_else(String::new, |step| {
        let number = format!("step {} of {}", step + 1, definition.steps.len());
        format!(" at {} ({number})", definition.steps[step].name)
    });
    let because =
        if instance.reason.is_empty() { String::new() } else { format!(", because: {}", instance.reason) };
    match instance.state {
        InstanceState::Running => format!("under way{at}"),
        InstanceState::Compensating => format!("being undone{at}{because}"),
        InstanceState::Completed if instance.reason.is_empty() => "completed".to_owned(),
        InstanceState::Completed => format!("completed{because}"),
        InstanceState::Compensated => format!("cancelled, everything is undone{because}"),
        InstanceState::Stuck if instance.is_going_back() => format!("stuck on the way back{at}{because}"),
        InstanceState::Stuck => format!("stuck on the way forward{at}{because}"),
    }
}

/// When what is out was first sent: the newest transition that is not about asking for it again.
fn since(step: &str, instance: &Instance, history: &[TransitionView]) -> Option<Timestamp> {
    let goes_on = |row: &TransitionView| {
        let again = row.step == step && row.event.contains("_retried");
        let got_stuck = row.state == InstanceState::Stuck;
        again || got_stuck || matches!(row.event.as_str(), "late_reply_ignored" | "cancel_refused")
    };
    let until = history.iter().filter(|row| row.version <= instance.version);
    until.rev().find(|row| !goes_on(row)).map(|row| row.at)
}

fn next(definition: &Definition, instance: &Instance) -> (String, Option<Timestamp>) {
    let Some(at) = instance.deadline_at else {
        let text = "nothing by itself: asking again would only bring the same answer";
        return (text.to_owned(), None);
    };
    let mut after = instance.clone();
    let transition = machine::advance(definition, &mut after, Input::Deadline, at);
    (transition.map_or_else(String::new, |t| effect(definition, instance, &after, &t)), Some(at))
}

fn options(definition: &Definition, instance: &Instance) -> Vec<(Verb, String)> {
    let option = |verb: Verb| {
        let mut after = instance.clone();
        let intervention = Intervention {
            verb: verb.clone(),
            version: instance.version,
            operator: String::new(),
            reason: String::new(),
        };
        let transition = machine::operate(definition, &mut after, &intervention, instance.updated_at).ok()?;
        Some((verb, effect(definition, instance, &after, &transition)))
    };
    Verb::ALL.into_iter().filter_map(option).collect()
}

/// What follows from a transition.
fn effect(definition: &Definition, before: &Instance, after: &Instance, transition: &Transition) -> String {
    let turns = !before.is_going_back() && after.is_going_back() && after.state != InstanceState::Compensated;
    let outs = transition.out.iter().map(|out| match *out {
        Out::Command(step, action) => {
            let participant = definition.steps[step].command.participant().name();
            let again = if before.current == Some(step) && stands(before, step) == stands(after, step) {
                " again"
            } else {
                ""
            };
            format!("{} is sent to {participant}{again}", name(definition, step, action))
        }
        Out::Completed => "it ends completed".to_owned(),
        Out::Cancelled => "it ends cancelled".to_owned(),
        Out::Stuck(_) => "it is stuck until an answer or an operator comes".to_owned(),
    });
    let text = outs.collect::<Vec<_>>().join(", ");
    if turns { format!("it turns back: {text}") } else { text }
}

fn stands(instance: &Instance, step: usize) -> StepState {
    instance.steps[step]
}

fn name(definition: &Definition, step: usize, action: Action) -> &'static str {
    let step = &definition.steps[step];
    match action {
        Action::Do => step.command.name(),
        Action::Undo => step.compensation.unwrap_or(step.command).name(),
    }
}

#[cfg(test)]
mod tests {
    use waybill_messaging::TraceContext;
    use waybill_proto::v1::DispatchRequested;

    use super::*;
    use crate::{Defaults, Verdict, order_fulfilment};

    const START: Timestamp = Timestamp::from_micros(1_000_000);

    struct Told {
        definition: Definition,
        instance: Instance,
        history: Vec<TransitionView>,
    }

    impl Told {
        fn begin() -> Self {
            let definition = order_fulfilment(&Defaults::default()).swap_remove(0);
            let (request, trace) = (DispatchRequested::default(), TraceContext::default());
            let (instance, transition) = machine::begin(&definition, "d", request, trace, START);
            let mut told = Self { definition, instance, history: Vec::new() };
            told.note(transition);
            told
        }

        fn note(&mut self, transition: Transition) {
            let Transition { happened, .. } = transition;
            self.history.push(TransitionView {
                version: self.instance.version,
                at: self.instance.updated_at,
                state: self.instance.state,
                event: happened.event,
                step: happened.step.to_owned(),
                attempt: happened.attempt,
                reason: happened.reason,
                cause_message_id: String::new(),
            });
        }

        fn input(&mut self, input: Input, at: Timestamp) -> &mut Self {
            if let Some(transition) = machine::advance(&self.definition, &mut self.instance, input, at) {
                self.note(transition);
            }
            self
        }

        fn answers(&mut self, verdict: Verdict) -> &mut Self {
            let step = self.instance.current.unwrap();
            let (action, _) = machine::out_now(&self.definition, &self.instance, step);
            let at = self.instance.updated_at.plus(std::time::Duration::from_secs(1));
            self.input(Input::Reply { step, action, verdict }, at)
        }

        fn times_out(&mut self) -> &mut Self {
            let at = self.instance.deadline_at.unwrap();
            self.input(Input::Deadline, at)
        }

        fn explained(&self) -> Explanation {
            explain(&self.definition, &self.instance, &self.history)
        }
    }

    #[test]
    fn what_is_under_way_waits_for_an_answer_since_it_was_first_asked() {
        let mut told = Told::begin();
        told.answers(Verdict::Done).times_out();
        let explained = told.explained();
        assert_eq!(explained.standing, "under way at reserve_payment (step 2 of 4)");
        assert_eq!(explained.waits_for, "the answer of payment to ReservePayment");
        assert_eq!(explained.waits_since.unwrap().micros(), 2_000_000);
        assert_eq!((explained.attempt, explained.attempts), (2, 5));
        assert_eq!(explained.next, "ReservePayment is sent to payment again");
        assert_eq!(explained.next_at, told.instance.deadline_at);
        let verbs: Vec<_> = explained.options.iter().map(|(verb, _)| verb.name()).collect();
        assert_eq!(verbs, ["retry", "skip_done", "skip_refused", "compensate"]);
        assert_eq!(explained.options[1].1, "CreateDispatch is sent to dispatch");
        assert_eq!(explained.options[3].1, "it turns back: ReleasePayment is sent to payment");
    }

    #[test]
    fn the_last_attempt_is_followed_by_what_the_machine_decides() {
        let mut told = Told::begin();
        (0..4).for_each(|_| drop(told.times_out().explained()));
        let explained = told.explained();
        assert_eq!((explained.attempt, explained.attempts), (5, 5));
        assert_eq!(explained.next, "it turns back: CancelOrder is sent to order");
    }

    #[test]
    fn what_is_stuck_says_why_since_when_it_waits_and_whether_it_asks_again() {
        let mut told = Told::begin();
        told.answers(Verdict::Done).answers(Verdict::Refused("no money".to_owned()));
        let sent = told.instance.updated_at;
        told.answers(Verdict::Refused("order is shipped".to_owned()));
        let explained = told.explained();
        let standing = "stuck on the way back at accept_order (step 1 of 4), because: order is shipped";
        assert_eq!(explained.standing, standing);
        assert_eq!(explained.waits_since, Some(sent));
        assert_eq!((explained.next_at, explained.options.len()), (None, 2));
        assert!(explained.next.starts_with("nothing by itself"), "{}", explained.next);
        assert_eq!(explained.options[0].1, "CancelOrder is sent to order again");
        assert_eq!(explained.options[1].1, "it ends cancelled");
    }

    #[test]
    fn what_has_ended_waits_for_nothing() {
        let mut told = Told::begin();
        told.answers(Verdict::Refused("blocked".to_owned()));
        let standing = "cancelled, everything is undone, because: blocked".to_owned();
        assert_eq!(told.explained(), Explanation { standing, ..Explanation::default() });
    }
}
