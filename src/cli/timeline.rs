//! How a dispatch looks on a terminal: its card, its steps, its timeline. The same lines are printed by
//! `get`, by `watch` as they happen, and by `submit --wait`; where no steps stand above them they say what remains.

use comfy_table::{Cell, Table};
use prost_types::Timestamp;
use waybill_proto::v1::{Dispatch, DispatchState, DispatchStep, DispatchTransition, StepCourse};

use super::{
    clean::clean,
    out::{self, Colour, Paint},
    state, time,
};
use crate::config::Money;

/// Renders the transitions of one dispatch, one a line.
#[derive(Debug)]
pub(super) struct Timeline {
    paint: Paint,
    /// What elapsed times count from.
    start: Option<Timestamp>,
    /// The steps that remained after the line before; `None` where the steps are shown beside the lines.
    remaining: Option<Vec<String>>,
}

impl Timeline {
    /// Times count from `start`, or from the first transition where that is unknown. Lines say what remains.
    pub(super) fn new(paint: Paint, start: Option<Timestamp>) -> Self {
        Self { paint, start, remaining: Some(Vec::new()) }
    }

    /// The lines of what is past, below the steps.
    fn below_steps(paint: Paint, start: Option<Timestamp>) -> Self {
        Self { remaining: None, ..Self::new(paint, start) }
    }

    /// Time, elapsed time, step, event, state, reason, and in brackets how long it took and which steps remain
    /// where that has changed. The columns are wide enough for the steps of today, so that lines that come one by
    /// one stand below each other.
    pub(super) fn line(&mut self, transition: &DispatchTransition) -> String {
        if self.start.is_none() {
            self.start = transition.at;
        }
        let at = time::shown(transition.at.as_ref());
        let elapsed = time::between(self.start.as_ref(), transition.at.as_ref()).unwrap_or_default();
        let elapsed = format!("+{}", time::shown_duration(elapsed));
        let step = step(transition);
        let event = clean(&transition.event);
        let name = state::name(transition.state());
        let mut line = format!(
            "{}  {elapsed:>10}  {step:<20}  {event:<28}  {} ",
            self.paint.paint(Colour::Dim, &at),
            self.paint.paint(state::colour(transition.state()), &format!("{name:<12}")),
        );
        let (reason, brought) = (clean(&transition.reason), self.brought(transition));
        for part in [reason.as_ref(), brought.as_str()].into_iter().filter(|part| !part.is_empty()) {
            line.push(' ');
            line.push_str(part);
        }
        line.trim_end().to_owned()
    }

    fn brought(&mut self, transition: &DispatchTransition) -> String {
        let took = time::lasted(transition.took.as_ref());
        let took = took.map(|took| format!("took {}", time::shown_duration(took)));
        let both: Vec<String> = took.into_iter().chain(self.remains(transition)).collect();
        if both.is_empty() { String::new() } else { clean(&format!("({})", both.join(", "))).into_owned() }
    }

    fn remains(&mut self, transition: &DispatchTransition) -> Option<String> {
        let before = self.remaining.as_mut()?;
        if *before == transition.remaining {
            return None;
        }
        before.clone_from(&transition.remaining);
        let what = match transition.state() {
            DispatchState::Compensating => "to undo",
            DispatchState::Unspecified
            | DispatchState::Accepted
            | DispatchState::InProgress
            | DispatchState::Completed
            | DispatchState::Cancelled
            | DispatchState::Stuck => "remaining",
        };
        (!before.is_empty()).then(|| format!("{what}: {}", before.join(", ")))
    }
}

fn step(transition: &DispatchTransition) -> String {
    match (transition.step.as_str(), transition.attempt) {
        ("", _) => "-".to_owned(),
        (step, 0 | 1) => clean(step).into_owned(),
        (step, attempt) => format!("{} #{attempt}", clean(step)),
    }
}

/// Everything that is known of a dispatch: card, steps, timeline.
pub(super) fn whole(dispatch: &Dispatch, paint: Paint) -> String {
    let mut text = card(dispatch, paint);
    if !dispatch.steps.is_empty() {
        text.push_str("\n\n");
        text.push_str(&steps(&dispatch.steps, paint).trim_fmt());
    }
    if !dispatch.history.is_empty() {
        text.push_str("\n\n");
        let mut timeline = Timeline::below_steps(paint, dispatch.accepted_at);
        let lines: Vec<String> =
            dispatch.history.iter().map(|transition| timeline.line(transition)).collect();
        text.push_str(&lines.join("\n"));
    }
    text
}

fn card(dispatch: &Dispatch, paint: Paint) -> String {
    let state = dispatch.state();
    let mut lines = vec![format!(
        "dispatch {}  {}",
        clean(&dispatch.dispatch_id),
        paint.paint(state::colour(state), state::name(state))
    )];
    let amount = dispatch.amount.clone().map(|amount| Money::from(amount).to_string()).unwrap_or_default();
    let optional = |at: &Option<Timestamp>| time::exact(at.as_ref()).map(|_| time::shown(at.as_ref()));
    let fields = [
        ("reason", dispatch.reason.clone()),
        ("order", dispatch.order_id.clone()),
        ("message", dispatch.message_id.clone()),
        ("destination", dispatch.destination_code.clone()),
        ("parcels", dispatch.parcel_count.to_string()),
        ("customer", dispatch.customer_id.clone()),
        ("amount", amount),
        ("requested", optional(&dispatch.requested_at).unwrap_or_default()),
        ("accepted", optional(&dispatch.accepted_at).unwrap_or_default()),
        ("ended", ended(dispatch)),
        ("saga", dispatch.saga.clone()),
        ("steps", dispatch.steps_note.clone()),
        ("trace", dispatch.trace_id.clone()),
        ("client", dispatch.client.clone()),
    ];
    let filled = fields.iter().filter(|(_, value)| !value.is_empty());
    lines.extend(filled.map(|(name, value)| format!("  {name:<12} {}", clean(value))));
    lines.join("\n")
}

fn ended(dispatch: &Dispatch) -> String {
    let Some(at) = &dispatch.ended_at else { return String::new() };
    match time::between(dispatch.accepted_at.as_ref(), Some(at)) {
        Some(elapsed) => format!("{} (+{})", time::shown(Some(at)), time::shown_duration(elapsed)),
        None => time::shown(Some(at)),
    }
}

fn steps(steps: &[DispatchStep], paint: Paint) -> Table {
    let mut table = out::table(&["Step", "Participant", "Progress", "State", "Took", "Undoing", "Reason"]);
    for step in steps {
        table.add_row([
            Cell::new(clean(&step.name)),
            Cell::new(clean(&step.participant)),
            Cell::new(state::progress_name(step.progress())),
            paint.cell(state::step_colour(step.state()), state::step_name(step.state())),
            Cell::new(took(step.command.as_ref())),
            Cell::new(took(step.compensation.as_ref())),
            Cell::new(clean(&step.reason)),
        ]);
    }
    table
}

fn took(course: Option<&StepCourse>) -> String {
    let Some(course) = course else { return "-".to_owned() };
    let took = time::lasted(course.took.as_ref()).map_or_else(|| "-".to_owned(), time::shown_duration);
    let so_far = if course.ended_at.is_none() { " so far" } else { "" };
    let attempts =
        if course.attempts > 1 { format!(", {} attempts", course.attempts) } else { String::new() };
    format!("{took}{so_far}{attempts}")
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
