//! How a dispatch looks on a terminal: its card, its steps, its timeline. The same lines are printed by
//! `get`, by `watch` as they happen, and by `submit --wait`.

use std::time::Duration;

use comfy_table::{Cell, Table};
use prost_types::Timestamp;
use waybill_proto::v1::{Dispatch, DispatchStep, DispatchTransition};

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
}

impl Timeline {
    /// Times count from `start`, or from the first transition where that is unknown.
    pub(super) fn new(paint: Paint, start: Option<Timestamp>) -> Self {
        Self { paint, start }
    }

    /// Time, elapsed time, step, event, state and reason, in columns that are wide enough for the steps
    /// of today, so that lines that come one by one stand below each other.
    pub(super) fn line(&mut self, transition: &DispatchTransition) -> String {
        if self.start.is_none() {
            self.start = transition.at;
        }
        let at = time::shown(transition.at.as_ref());
        let elapsed = time::between(self.start.as_ref(), transition.at.as_ref()).unwrap_or_default();
        let step = step(transition);
        let event = clean(&transition.event);
        let name = state::name(transition.state());
        let line = format!(
            "{}  {:>10}  {step:<20}  {event:<28}  {}  {}",
            self.paint.paint(Colour::Dim, &at),
            shown_elapsed(elapsed),
            self.paint.paint(state::colour(transition.state()), &format!("{name:<12}")),
            clean(&transition.reason),
        );
        line.trim_end().to_owned()
    }
}

fn step(transition: &DispatchTransition) -> String {
    match (transition.step.as_str(), transition.attempt) {
        ("", _) => "-".to_owned(),
        (step, 0 | 1) => clean(step).into_owned(),
        (step, attempt) => format!("{} #{attempt}", clean(step)),
    }
}

fn shown_elapsed(elapsed: Duration) -> String {
    format!("+{}.{:03}s", elapsed.as_secs(), elapsed.subsec_millis())
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
        let mut timeline = Timeline::new(paint, dispatch.accepted_at);
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
        ("trace", dispatch.trace_id.clone()),
    ];
    let filled = fields.iter().filter(|(_, value)| !value.is_empty());
    lines.extend(filled.map(|(name, value)| format!("  {name:<12} {}", clean(value))));
    lines.join("\n")
}

fn ended(dispatch: &Dispatch) -> String {
    let Some(at) = &dispatch.ended_at else { return String::new() };
    match time::between(dispatch.accepted_at.as_ref(), Some(at)) {
        Some(elapsed) => format!("{} ({})", time::shown(Some(at)), shown_elapsed(elapsed)),
        None => time::shown(Some(at)),
    }
}

fn steps(steps: &[DispatchStep], paint: Paint) -> Table {
    let mut table = out::table(&["Step", "Participant", "State", "Took", "Reason"]);
    for step in steps {
        let took = time::between(step.started_at.as_ref(), step.ended_at.as_ref());
        let took = took.map_or_else(|| "-".to_owned(), |took| shown_elapsed(took)[1..].to_owned());
        table.add_row([
            Cell::new(clean(&step.name)),
            Cell::new(clean(&step.participant)),
            paint.cell(state::step_colour(step.state()), state::step_name(step.state())),
            Cell::new(took),
            Cell::new(clean(&step.reason)),
        ]);
    }
    table
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
