//! What a list is asked for, and the statement that finds it along an index.
//!
//! Every state is a branch of its own, each in the order of its index and cut at the size of the page:
//! a few stuck dispatches among millions of completed ones cost what a few cost. Of one order the live
//! dispatch and those before it are branches too.

use std::{collections::BTreeSet, fmt::Write, time::Duration};

use sea_orm::Value;
use sha2::{Digest, Sha256};
use waybill_messaging::Timestamp;
use waybill_proto::v1::{self, DispatchState};
use waybill_saga::InstanceState;

use crate::{
    found::{self, ALL, HALVES},
    id,
    request::MAX_ID,
    time,
    violations::Violations,
};

/// An id is given before its dispatch is committed, by this much at most: with it a window of acceptance
/// becomes a range of ids.
const QUEUED_AT_MOST: Duration = Duration::from_hours(1);

/// Filters that cannot be wrong.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// As numbers of [`DispatchState`], each once; none means all.
    states: BTreeSet<i32>,
    order_id: String,
    customer_id: String,
    /// The one whose dispatches are shown; `None`: everybody's.
    owner: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl Filter {
    pub(super) fn parse(
        request: &v1::ListDispatchesRequest,
        owner: Option<&str>,
        wrong: &mut Violations,
    ) -> Self {
        let is_state = |state: &i32| {
            DispatchState::try_from(*state).is_ok_and(|state| state != DispatchState::Unspecified)
        };
        wrong.check(request.states.iter().all(is_state), "states", "must be states of a dispatch");
        wrong.check_id("order_id", &request.order_id, 0, MAX_ID);
        wrong.check_id("customer_id", &request.customer_id, 0, MAX_ID);
        let mut moment = |field, wire: Option<&prost_types::Timestamp>| {
            let moment = wire.and_then(time::from_wire);
            wrong.check(wire.is_none() || moment.is_some(), field, "must be a valid timestamp");
            moment
        };
        Self {
            states: request.states.iter().copied().collect(),
            order_id: request.order_id.clone(),
            customer_id: request.customer_id.clone(),
            owner: owner.map(str::to_owned),
            from: moment("accepted_from", request.accepted_from.as_ref()),
            to: moment("accepted_to", request.accepted_to.as_ref()),
        }
    }

    /// The same for the same filters, whatever their order.
    pub(super) fn hash(&self) -> [u8; 32] {
        // The debug form of texts is quoted and escaped: no two filters have the same.
        Sha256::digest(format!("{self:?}")).into()
    }

    /// Finds the `most` newest before `before`.
    pub(super) fn statement(&self, before: Option<&str>, most: usize) -> (String, Vec<Value>) {
        let mut params = vec![Value::from(i64::try_from(most).unwrap_or(i64::MAX))];
        let conditions = self.conditions(before, &mut params);
        let mut branches = Vec::new();
        for half in self.halves() {
            let conditions = format!(" AND {half}{conditions}");
            if self.states.is_empty() {
                branches.push(branch(ALL, "d", "true", &conditions));
            }
            for state in self.states.iter().filter_map(|state| DispatchState::try_from(*state).ok()) {
                branches.push(self.of_state(state, &conditions));
            }
        }
        if let [only] = branches.as_mut_slice() {
            return (std::mem::take(only), params);
        }
        let parts: Vec<String> =
            branches.iter().enumerate().map(|(n, sql)| format!("SELECT * FROM ({sql}) AS b{n}")).collect();
        (format!("{} ORDER BY 1 DESC LIMIT $1", parts.join(" UNION ALL ")), params)
    }

    /// Where the dispatches are: those of one order are in two indexes.
    fn halves(&self) -> &'static [&'static str] {
        if self.order_id.is_empty() { &["true"] } else { &HALVES }
    }

    /// What holds in every branch. `{id}` stands for the id in the table that leads the branch.
    fn conditions(&self, before: Option<&str>, params: &mut Vec<Value>) -> String {
        let mut sql = String::new();
        let mut add = |condition: &str, value: Value| {
            params.push(value);
            // Writing to a string cannot fail.
            let _ = write!(sql, " AND {condition} ${}", params.len());
        };
        if let Some(before) = before {
            add("{id} <", before.into());
        }
        if !self.order_id.is_empty() {
            add("d.order_id =", self.order_id.as_str().into());
        }
        if !self.customer_id.is_empty() {
            add("d.customer_id =", self.customer_id.as_str().into());
        }
        if let Some(owner) = &self.owner {
            // The first half is there for the index, which has it too.
            add("d.client <> '' AND d.client =", owner.as_str().into());
        }
        if let Some(from) = self.from {
            add("{id} >=", id::floor(from.minus(QUEUED_AT_MOST)).into());
            add("d.accepted_at >=", from.micros().into());
        }
        if let Some(to) = self.to {
            // Clocks of two processes differ by less than this.
            add("{id} <", id::floor(to.plus(QUEUED_AT_MOST)).into());
            add("d.accepted_at <", to.micros().into());
        }
        sql
    }

    fn of_state(&self, state: DispatchState, conditions: &str) -> String {
        let in_saga = |state: InstanceState| {
            let condition = format!("i.dispatch_id = d.dispatch_id AND i.state = '{}'", state.name());
            // An order or a customer has few dispatches, a state may have most of them. CROSS JOIN keeps
            // SQLite to this order; PostgreSQL knows better by its statistics.
            if self.order_id.is_empty() && self.customer_id.is_empty() {
                branch("saga_instances i CROSS JOIN dispatches d", "i", &condition, conditions)
            } else {
                branch("dispatches d CROSS JOIN saga_instances i", "d", &condition, conditions)
            }
        };
        match state {
            // `saga_started_at` lags behind; what it rules out is ruled out, and the index is short.
            DispatchState::Accepted => {
                branch(ALL, "d", "d.saga_started_at IS NULL AND i.dispatch_id IS NULL", conditions)
            }
            DispatchState::InProgress => in_saga(InstanceState::Running),
            DispatchState::Completed => in_saga(InstanceState::Completed),
            DispatchState::Compensating => in_saga(InstanceState::Compensating),
            DispatchState::Cancelled => in_saga(InstanceState::Compensated),
            DispatchState::Stuck => in_saga(InstanceState::Stuck),
            // Refused where the filters are parsed.
            DispatchState::Unspecified => branch(ALL, "d", "false", conditions),
        }
    }
}

fn branch(tables: &str, leader: &str, condition: &str, conditions: &str) -> String {
    let id = format!("{leader}.dispatch_id");
    let conditions = conditions.replace("{id}", &id);
    let columns = found::columns();
    format!("SELECT {columns} FROM {tables} WHERE {condition}{conditions} ORDER BY {id} DESC LIMIT $1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(states: &[DispatchState]) -> Filter {
        Filter { states: states.iter().map(|state| i32::from(*state)).collect(), ..Filter::default() }
    }

    #[test]
    fn the_order_of_the_states_does_not_matter_and_their_choice_does() {
        let one = filter(&[DispatchState::Stuck, DispatchState::Accepted]);
        let same = filter(&[DispatchState::Accepted, DispatchState::Stuck, DispatchState::Stuck]);
        assert_eq!(one.hash(), same.hash());
        assert_ne!(one.hash(), filter(&[DispatchState::Stuck]).hash());
    }

    #[test]
    fn a_filter_on_the_order_is_not_one_on_the_customer() {
        let order = Filter { order_id: "x".into(), ..Filter::default() };
        let customer = Filter { customer_id: "x".into(), ..Filter::default() };
        assert_ne!(order.hash(), customer.hash());
    }
}
