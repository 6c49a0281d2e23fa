//! Compares what clients were told with what the tables say. No I/O: a run's ledger and books go in, what is
//! wrong comes out.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    books::{Books, Delivery, Dispatch, Order, Reservation},
    ledger::{Asked, Undoing},
    mix::{Case, Fate},
};

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// Acknowledged, and not there or without its effect.
    Lost,
    /// There, and nobody has asked for it.
    Unexpected,
    /// There more than once.
    Doubled,
    /// Not at its end.
    Stuck,
}

impl Wrong {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Lost, Self::Unexpected, Self::Doubled, Self::Stuck];
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// In which way.
    pub wrong: Wrong,
    /// What, with the dispatch's id where there is one.
    pub what: String,
}

/// What the auditor has to say.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// Dispatches that have ended although no client got a receipt.
    pub recovered: usize,
    /// Dispatches that have ended, by how.
    pub ended: BTreeMap<String, usize>,
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
}

/// Compares.
pub(crate) fn audit(ledger: &[Asked], books: &Books) -> Audit {
    let mut audit = Audit::default();
    let entries = Entries::new(books);
    audit.receipts(ledger, books);
    audit.dispatches(ledger, books, &entries);
    audit.strays(books);
    audit.repetitions(books);
    audit.accounts(books);
    audit.leftovers(books);
    audit
}

/// The participants' rows, by dispatch.
struct Entries<'a> {
    orders: BTreeMap<&'a str, &'a Order>,
    reservations: BTreeMap<&'a str, &'a Reservation>,
    deliveries: BTreeMap<&'a str, &'a Delivery>,
}

impl<'a> Entries<'a> {
    fn new(books: &'a Books) -> Self {
        Self {
            orders: books.orders.iter().map(|row| (&*row.dispatch_id, row)).collect(),
            reservations: books.reservations.iter().map(|row| (&*row.dispatch_id, row)).collect(),
            deliveries: books.deliveries.iter().map(|row| (&*row.dispatch_id, row)).collect(),
        }
    }

    /// The states of order, payment and delivery; `-` where there is no row.
    fn states(&self, dispatch_id: &str) -> [&'a str; 3] {
        [
            self.orders.get(dispatch_id).map_or("-", |row| &row.state),
            self.reservations.get(dispatch_id).map_or("-", |row| &row.state),
            self.deliveries.get(dispatch_id).map_or("-", |row| &row.state),
        ]
    }
}

impl Audit {
    fn add(&mut self, wrong: Wrong, what: String) {
        self.findings.push(Finding { wrong, what });
    }

    /// Every receipt names one dispatch, which is there; and no answer was wrong.
    fn receipts(&mut self, ledger: &[Asked], books: &Books) {
        let kept: BTreeMap<&str, &Dispatch> =
            books.dispatches.iter().map(|row| (&*row.dispatch_id, row)).collect();
        for asked in ledger {
            let message_id = &asked.case.request.message_id;
            if asked.receipts.len() > 1 {
                self.add(Wrong::Doubled, format!("{message_id} has receipts for {:?}", asked.receipts));
            }
            for id in &asked.receipts {
                match kept.get(&**id) {
                    Some(row) if row.message_id == *message_id => {}
                    Some(row) => self.add(
                        Wrong::Lost,
                        format!("{id} was the receipt for {message_id}, and is {}", row.message_id),
                    ),
                    None => self.add(Wrong::Lost, format!("{id} was the receipt for {message_id}")),
                }
            }
            for answer in &asked.wrong {
                self.add(Wrong::Unexpected, format!("{message_id}: {answer}"));
            }
        }
    }

    /// Every dispatch was asked for, and has ended as it should.
    fn dispatches(&mut self, ledger: &[Asked], books: &Books, entries: &Entries<'_>) {
        let asked: BTreeMap<&str, &Asked> =
            ledger.iter().map(|asked| (&*asked.case.request.message_id, asked)).collect();
        for row in &books.dispatches {
            let id = &*row.dispatch_id;
            let Some(asked) = asked.get(&*row.message_id) else {
                self.add(Wrong::Unexpected, format!("{id} for {}, which nobody sent", row.message_id));
                continue;
            };
            let saga = books.sagas.get(id).map_or("without a saga", |state| state);
            if !["COMPLETED", "COMPENSATED"].contains(&saga) {
                self.add(Wrong::Stuck, format!("{id} is {saga}"));
                continue;
            }
            self.recovered += usize::from(asked.receipts.is_empty());
            let on_request = asked.undoing == Some(Undoing::Granted);
            let how = if on_request { "COMPENSATED on request" } else { saga };
            *self.ended.entry(how.to_owned()).or_default() += 1;
            self.end(asked, id, saga, entries);
        }
    }

    /// One dispatch that has ended, and its participants.
    fn end(&mut self, asked: &Asked, id: &str, saga: &str, entries: &Entries<'_>) {
        let states @ [order, payment, delivery] = entries.states(id);
        let holds = match (asked.case.fate, asked.undoing) {
            (Fate::Completed, _) | (Fate::Cancelled, Some(Undoing::TooLate)) => is_done(saga, states),
            (Fate::RefusedByOrder, _) => saga == "COMPENSATED" && states == ["REFUSED", "-", "-"],
            (Fate::RefusedByPayment, _) => saga == "COMPENSATED" && states == ["CANCELLED", "REFUSED", "-"],
            (Fate::RefusedByDispatch, _) => {
                saga == "COMPENSATED" && states == ["CANCELLED", "RELEASED", "REFUSED"]
            }
            (Fate::Cancelled, Some(Undoing::Granted)) => is_undone(saga, states),
            (Fate::Cancelled, None) => is_done(saga, states) || is_undone(saga, states),
        };
        if !holds {
            // An effect that is missing, or one that ought not to be there.
            let wrong = if saga == "COMPLETED" || asked.case.fate == Fate::Completed {
                Wrong::Lost
            } else {
                Wrong::Unexpected
            };
            let (fate, undoing) = (asked.case.fate, asked.undoing);
            self.add(
                wrong,
                format!("{id} is {saga}/{order}/{payment}/{delivery}, asked for {fate:?} {undoing:?}"),
            );
        }
        self.contents(&asked.case, id, entries);
    }

    /// What is reserved and sent is what was asked for. A row that was undone before it was done is only a mark.
    fn contents(&mut self, case: &Case, id: &str, entries: &Entries<'_>) {
        if let Some(row) = entries.reservations.get(id).filter(|row| row.state == "RESERVED")
            && (row.minor_units != case.minor_units || row.customer_id != case.request.customer_id)
        {
            self.add(Wrong::Unexpected, format!("{id} asked for {} and has {row:?}", case.minor_units));
        }
        if let Some(row) = entries.deliveries.get(id).filter(|row| row.state == "CREATED")
            && (row.parcel_count != i64::from(case.request.parcel_count)
                || row.destination_code != case.request.destination_code)
        {
            self.add(Wrong::Unexpected, format!("{id} asked for {:?} and has {row:?}", case.request));
        }
    }

    /// No participant and no saga has a row for what was not accepted.
    fn strays(&mut self, books: &Books) {
        let accepted: BTreeSet<&str> = books.dispatches.iter().map(|row| &*row.dispatch_id).collect();
        let rows = [
            ("a saga", books.sagas.keys().collect::<Vec<_>>()),
            ("an order", books.orders.iter().map(|row| &row.dispatch_id).collect()),
            ("a reservation", books.reservations.iter().map(|row| &row.dispatch_id).collect()),
            ("a delivery", books.deliveries.iter().map(|row| &row.dispatch_id).collect()),
        ];
        for (what, ids) in rows {
            for id in ids.into_iter().filter(|id| !accepted.contains(id.as_str())) {
                self.add(Wrong::Unexpected, format!("{id} has {what} and was never accepted"));
            }
        }
    }

    /// Every request was sent for an order of its own, so each order has one dispatch and one effect of each kind.
    fn repetitions(&mut self, books: &Books) {
        let dispatches = books.dispatches.iter();
        let orders = books.orders.iter().filter(|row| row.state == "COMPLETED");
        let reservations = books.reservations.iter().filter(|row| row.state == "RESERVED");
        let deliveries = books.deliveries.iter().filter(|row| row.state == "CREATED");
        self.repeated("dispatch of message", dispatches.clone().map(|row| &row.message_id));
        self.repeated("dispatch of order", dispatches.map(|row| &row.order_id));
        self.repeated("completed order", orders.map(|row| &row.order_id));
        self.repeated("reservation for order", reservations.map(|row| &row.order_id));
        self.repeated("delivery of order", deliveries.map(|row| &row.order_id));
    }

    fn repeated<'a>(&mut self, what: &str, names: impl Iterator<Item = &'a String>) {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                self.add(Wrong::Doubled, format!("{what} {name}"));
            }
        }
    }

    /// What stands on an account is what its reservations amount to.
    fn accounts(&mut self, books: &Books) {
        let mut reserved: BTreeMap<&str, i64> = books.accounts.keys().map(|id| (&**id, 0)).collect();
        for row in books.reservations.iter().filter(|row| row.state == "RESERVED") {
            *reserved.entry(&row.customer_id).or_default() += row.minor_units;
        }
        for (customer, sum) in reserved {
            let account = books.accounts.get(customer).copied().unwrap_or_default();
            if account != sum {
                let wrong = if account > sum { Wrong::Doubled } else { Wrong::Lost };
                self.add(wrong, format!("account {customer} has {account}, its reservations {sum}"));
            }
        }
    }

    fn leftovers(&mut self, books: &Books) {
        for message in &books.outbox {
            self.add(Wrong::Stuck, format!("in the outbox: {message}"));
        }
        for letter in &books.dead_letters {
            self.add(Wrong::Stuck, format!("dead letter: {letter}"));
        }
    }
}

fn is_done(saga: &str, states: [&str; 3]) -> bool {
    saga == "COMPLETED" && states == ["COMPLETED", "RESERVED", "CREATED"]
}

/// Nothing remains, and what was never begun may be missing.
fn is_undone(saga: &str, [order, payment, delivery]: [&str; 3]) -> bool {
    saga == "COMPENSATED"
        && ["-", "CANCELLED", "REFUSED"].contains(&order)
        && ["-", "RELEASED", "REFUSED"].contains(&payment)
        && ["-", "WITHDRAWN", "REFUSED"].contains(&delivery)
}

#[cfg(test)]
mod tests;
