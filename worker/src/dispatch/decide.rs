//! What becomes of a delivery: every command in every state, without a database.

use std::collections::HashMap;

use waybill_messaging::Failure;

use super::{
    Rules,
    command::{Answer, Command},
};
use crate::{
    mark,
    read::{Key, cut},
    view::View,
};

/// A row of `deliveries`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) order_id: String,
    pub(super) destination_code: String,
    pub(super) parcels: i64,
    pub(super) state: State,
    pub(super) reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Created,
    Withdrawn,
    Refused,
}

impl State {
    pub(super) const ALL: [Self; 3] = [Self::Created, Self::Withdrawn, Self::Refused];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Withdrawn => "WITHDRAWN",
            Self::Refused => "REFUSED",
        }
    }
}

/// The rows that a batch is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Deliveries {
    /// By dispatch.
    pub(super) rows: View<Row>,
    /// Deliveries that a destination holds; not counted where no capacity is set.
    pub(super) held: HashMap<String, u64>,
}

/// Decides one command and notes in `deliveries` what it changes. A failure changes nothing.
pub(super) fn decide(
    rules: &Rules,
    deliveries: &mut Deliveries,
    command: &Command,
) -> Result<Answer, Failure> {
    let key = command.key();
    let row = deliveries.rows.get(&key.dispatch_id).cloned();
    if let Some(row) = &row {
        key.agrees(&row.order_id)?;
    }
    Ok(match command {
        Command::Create { destination_code, parcels, .. } => match row {
            None => create(rules, deliveries, key, destination_code, *parcels),
            Some(row) => create_again(deliveries, key, row),
        },
        Command::Withdraw { reason, .. } => withdraw(deliveries, key, row, reason),
    })
}

fn create(
    rules: &Rules,
    deliveries: &mut Deliveries,
    key: &Key,
    destination_code: &str,
    parcels: i64,
) -> Answer {
    let (order_id, destination_code) = (key.order_id.clone(), destination_code.to_owned());
    let (state, reason, answer) = match refusal(rules, deliveries, &destination_code).map(cut) {
        None => {
            *deliveries.held.entry(destination_code.clone()).or_default() += 1;
            (State::Created, String::new(), Answer::Created)
        }
        Some(refusal) => (State::Refused, refusal.clone(), Answer::Refused(refusal)),
    };
    deliveries.rows.set(&key.dispatch_id, Row { order_id, destination_code, parcels, state, reason });
    answer
}

fn refusal(rules: &Rules, deliveries: &Deliveries, destination_code: &str) -> Option<String> {
    if rules.refused_destinations.iter().any(|pattern| pattern.matches(destination_code)) {
        return Some(format!("destination {destination_code} is not served"));
    }
    let held = deliveries.held.get(destination_code).copied().unwrap_or(0);
    let capacity = rules.capacity.filter(|capacity| held >= *capacity)?;
    Some(format!("destination {destination_code} is full: it holds {held} deliveries, at most {capacity}"))
}

fn create_again(deliveries: &mut Deliveries, key: &Key, row: Row) -> Answer {
    match row.state {
        State::Created => Answer::Created,
        State::Refused => Answer::Refused(row.reason),
        State::Withdrawn => {
            let reason = cut(mark::too_late(&row.reason));
            if mark::is_mark(&row.reason) {
                let refused = Row { state: State::Refused, reason: reason.clone(), ..row };
                deliveries.rows.set(&key.dispatch_id, refused);
            }
            Answer::Refused(reason)
        }
    }
}

fn withdraw(deliveries: &mut Deliveries, key: &Key, row: Option<Row>, reason: &str) -> Answer {
    let row = match row {
        None => Row {
            order_id: key.order_id.clone(),
            destination_code: String::new(),
            parcels: 0,
            state: State::Withdrawn,
            reason: cut(mark::mark(reason)),
        },
        Some(row) => match row.state {
            State::Created => {
                if let Some(held) = deliveries.held.get_mut(&row.destination_code) {
                    *held = held.saturating_sub(1);
                }
                Row { state: State::Withdrawn, reason: cut(mark::undone(reason)), ..row }
            }
            State::Withdrawn | State::Refused => return Answer::Withdrawn,
        },
    };
    deliveries.rows.set(&key.dispatch_id, row);
    Answer::Withdrawn
}

#[cfg(test)]
mod tests;
