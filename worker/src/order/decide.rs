//! What becomes of an order: every command in every state, without a database.

use std::collections::HashMap;

use waybill_messaging::Failure;

use super::{
    Rules,
    command::{Answer, Command},
};
use crate::{
    mark,
    read::{Key, cut, wrong},
    view::View,
};

/// A row of `orders`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) order_id: String,
    pub(super) customer_id: String,
    pub(super) state: State,
    pub(super) reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Accepted,
    Completed,
    Cancelled,
    Refused,
}

impl State {
    pub(super) const ALL: [Self; 4] = [Self::Accepted, Self::Completed, Self::Cancelled, Self::Refused];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "ACCEPTED",
            Self::Completed => "COMPLETED",
            Self::Cancelled => "CANCELLED",
            Self::Refused => "REFUSED",
        }
    }
}

/// The rows that a batch is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    /// By dispatch.
    pub(super) rows: View<Row>,
    /// Which dispatch has an order open (accepted or completed).
    pub(super) open: HashMap<String, String>,
}

impl Orders {
    /// Makes `row` the one of its dispatch and keeps `open` in step with it.
    fn put(&mut self, key: &Key, row: Row) {
        match row.state {
            State::Accepted | State::Completed => {
                self.open.insert(key.order_id.clone(), key.dispatch_id.clone());
            }
            State::Cancelled | State::Refused => {
                if self.open.get(&key.order_id) == Some(&key.dispatch_id) {
                    self.open.remove(&key.order_id);
                }
            }
        }
        self.rows.set(&key.dispatch_id, row);
    }
}

/// Decides one command and notes in `orders` what it changes. A failure changes nothing.
pub(super) fn decide(rules: &Rules, orders: &mut Orders, command: &Command) -> Result<Answer, Failure> {
    let key = command.key();
    let row = orders.rows.get(&key.dispatch_id).cloned();
    if let Some(row) = &row {
        key.agrees(&row.order_id)?;
    }
    match command {
        Command::Accept { customer_id, .. } => Ok(match row {
            None => accept(rules, orders, key, customer_id),
            Some(row) => accept_again(orders, key, row),
        }),
        Command::Cancel { reason, .. } => cancel(orders, key, row, reason),
        Command::Complete { .. } => complete(orders, key, row),
    }
}

fn accept(rules: &Rules, orders: &mut Orders, key: &Key, customer_id: &str) -> Answer {
    let refusal = refusal(rules, orders, key, customer_id).map(cut);
    let state = if refusal.is_some() { State::Refused } else { State::Accepted };
    let reason = refusal.clone().unwrap_or_default();
    let (order_id, customer_id) = (key.order_id.clone(), customer_id.to_owned());
    orders.put(key, Row { order_id, customer_id, state, reason });
    refusal.map_or(Answer::Accepted, Answer::Rejected)
}

fn refusal(rules: &Rules, orders: &Orders, key: &Key, customer_id: &str) -> Option<String> {
    if rules.blocked_customers.contains(customer_id) {
        return Some(format!("customer {customer_id} is blocked"));
    }
    let holder = orders.open.get(&key.order_id).filter(|holder| **holder != key.dispatch_id)?;
    Some(format!("order {} is already being handled by dispatch {holder}", key.order_id))
}

fn accept_again(orders: &mut Orders, key: &Key, row: Row) -> Answer {
    match row.state {
        State::Accepted | State::Completed => Answer::Accepted,
        State::Refused => Answer::Rejected(row.reason),
        State::Cancelled => {
            let reason = cut(mark::too_late(&row.reason));
            if mark::is_mark(&row.reason) {
                orders.put(key, Row { state: State::Refused, reason: reason.clone(), ..row });
            }
            Answer::Rejected(reason)
        }
    }
}

fn cancel(orders: &mut Orders, key: &Key, row: Option<Row>, reason: &str) -> Result<Answer, Failure> {
    let Some(row) = row else {
        let (order_id, customer_id) = (key.order_id.clone(), String::new());
        orders.put(
            key,
            Row { order_id, customer_id, state: State::Cancelled, reason: cut(mark::mark(reason)) },
        );
        return Ok(Answer::Cancelled);
    };
    match row.state {
        State::Accepted => {
            orders.put(key, Row { state: State::Cancelled, reason: cut(mark::undone(reason)), ..row });
            Ok(Answer::Cancelled)
        }
        State::Cancelled | State::Refused => Ok(Answer::Cancelled),
        State::Completed => {
            wrong(format!("order {} is completed and can no longer be cancelled", key.order_id))
        }
    }
}

fn complete(orders: &mut Orders, key: &Key, row: Option<Row>) -> Result<Answer, Failure> {
    let Some(row) = row else {
        return wrong(format!("order {} of dispatch {} was never accepted", key.order_id, key.dispatch_id));
    };
    match row.state {
        State::Accepted => {
            orders.put(key, Row { state: State::Completed, ..row });
            Ok(Answer::Completed)
        }
        State::Completed => Ok(Answer::Completed),
        State::Cancelled | State::Refused => {
            let state = row.state.name();
            wrong(format!("order {} of dispatch {} is {state}, not ACCEPTED", key.order_id, key.dispatch_id))
        }
    }
}

#[cfg(test)]
mod tests;
