//! The auditor: reads the tables of gateway, saga and participants in plain SQL, apart from all of
//! Waybill's code, and compares them with each other and with what was to be expected.

use std::{collections::BTreeMap, fmt};

use waybill_proto::v1::DispatchReceipt;

use crate::{TestDatabase, patience::until_none};

/// The databases that together hold all there is about the dispatches.
#[derive(Clone, Copy)]
pub struct Books<'a> {
    /// Of gateway and saga.
    pub common: &'a TestDatabase,
    /// Of participant `order`.
    pub order: &'a TestDatabase,
    /// Of participant `payment`.
    pub payment: &'a TestDatabase,
    /// Of participant `dispatch`.
    pub dispatch: &'a TestDatabase,
}

/// What the four tables say of one dispatch: state, or `-` where there is no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `saga_instances.state`.
    pub saga: String,
    /// `orders.state`.
    pub order: String,
    /// `payment_reservations.state`.
    pub payment: String,
    /// `deliveries.state`.
    pub delivery: String,
}

/// How a dispatch is to end that nothing happens to but what its request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Everybody agrees.
    Completed,
    /// Participant `order` refuses.
    RefusedByOrder,
    /// Participant `payment` refuses.
    RefusedByPayment,
    /// Participant `dispatch` refuses.
    RefusedByDispatch,
}

impl Fate {
    /// What the tables must say then.
    pub fn entry(self) -> Entry {
        let [saga, order, payment, delivery] = match self {
            Self::Completed => ["COMPLETED", "COMPLETED", "RESERVED", "CREATED"],
            Self::RefusedByOrder => ["COMPENSATED", "REFUSED", "-", "-"],
            Self::RefusedByPayment => ["COMPENSATED", "CANCELLED", "REFUSED", "-"],
            Self::RefusedByDispatch => ["COMPENSATED", "CANCELLED", "RELEASED", "REFUSED"],
        }
        .map(str::to_owned);
        Entry { saga, order, payment, delivery }
    }
}

impl Entry {
    /// Whether the participants' states agree with the end of the saga.
    fn is_consistent(&self) -> bool {
        let (order, payment, delivery) = (&*self.order, &*self.payment, &*self.delivery);
        match &*self.saga {
            "COMPLETED" => (order, payment, delivery) == ("COMPLETED", "RESERVED", "CREATED"),
            "COMPENSATED" => {
                matches!(order, "-" | "CANCELLED" | "REFUSED")
                    && matches!(payment, "-" | "RELEASED" | "REFUSED")
                    && matches!(delivery, "-" | "WITHDRAWN" | "REFUSED")
            }
            _ => false,
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.saga, self.order, self.payment, self.delivery)
    }
}

impl<'a> Books<'a> {
    /// Everything in one database.
    pub fn of(database: &'a TestDatabase) -> Self {
        Self { common: database, order: database, payment: database, dispatch: database }
    }

    /// What is written about every accepted dispatch.
    pub async fn entries(&self) -> BTreeMap<String, Entry> {
        let accepted = self.common.texts("SELECT dispatch_id FROM dispatches").await;
        let mut sagas = states(self.common, "saga_instances").await;
        let mut orders = states(self.order, "orders").await;
        let mut payments = states(self.payment, "payment_reservations").await;
        let mut deliveries = states(self.dispatch, "deliveries").await;
        let take = |from: &mut BTreeMap<String, String>, id: &str| from.remove(id).unwrap_or("-".to_owned());
        let mut entries = BTreeMap::new();
        for id in accepted {
            let entry = Entry {
                saga: take(&mut sagas, &id),
                order: take(&mut orders, &id),
                payment: take(&mut payments, &id),
                delivery: take(&mut deliveries, &id),
            };
            entries.insert(id, entry);
        }
        let strays: Vec<_> = [sagas, orders, payments, deliveries].into_iter().flatten().collect();
        assert!(strays.is_empty(), "rows of dispatches that nobody accepted: {strays:?}");
        entries
    }

    /// What is written about one dispatch.
    pub async fn entry(&self, dispatch_id: &str) -> Entry {
        let mut entries = self.entries().await;
        entries.remove(dispatch_id).unwrap_or_else(|| panic!("{dispatch_id} is not written down"))
    }

    /// Waits until every accepted dispatch has ended and every outbox is empty.
    pub async fn settled(&self) {
        let open = "SELECT count(*) FROM dispatches d LEFT JOIN saga_instances s ON s.dispatch_id = d.dispatch_id \
                    WHERE s.state IS NULL OR s.state NOT IN ('COMPLETED', 'COMPENSATED')";
        until_none("the end of every dispatch", async || self.common.number(open).await).await;
        for database in self.databases() {
            let left = "SELECT count(*) FROM outbox";
            until_none("an empty outbox", async || database.number(left).await).await;
        }
    }

    /// Checks what must hold whatever has happened: every receipt is kept, every dispatch has ended and its
    /// participants agree, no amount is reserved twice or for nothing, the history is whole, and nothing
    /// was given up.
    pub async fn check(&self, receipts: &[DispatchReceipt]) {
        let entries = self.entries().await;
        for (id, entry) in &entries {
            assert!(entry.is_consistent(), "dispatch {id}: {entry}");
        }
        for receipt in receipts {
            assert!(
                entries.contains_key(&receipt.dispatch_id),
                "a receipt was given, then lost: {receipt:?}"
            );
        }
        self.check_balances().await;
        self.check_history().await;
        for database in self.databases() {
            let dead =
                "SELECT queue || ' ' || message_id || ': ' || reason FROM dead_letters WHERE state = 'DEAD'";
            assert_eq!(database.texts(dead).await, Vec::<String>::new(), "dead letters");
        }
    }

    /// Checks the outcome of every dispatch, one by one.
    pub async fn compare(&self, expected: &BTreeMap<String, Fate>) {
        let entries = self.entries().await;
        assert_eq!(entries.len(), expected.len(), "as many dispatches as receipts");
        for (id, fate) in expected {
            assert_eq!(entries.get(id), Some(&fate.entry()), "dispatch {id}, {fate:?}");
        }
    }

    async fn check_balances(&self) {
        let wrong = "SELECT a.customer_id FROM payment_accounts a WHERE a.reserved_minor_units <> \
                     (SELECT coalesce(sum(r.minor_units), 0) FROM payment_reservations r \
                      WHERE r.customer_id = a.customer_id AND r.state = 'RESERVED')";
        assert_eq!(self.payment.texts(wrong).await, Vec::<String>::new(), "accounts out of balance");
    }

    /// One row a version, without a gap, the last one in the state of the instance.
    async fn check_history(&self) {
        let wrong = "SELECT i.dispatch_id FROM saga_instances i WHERE \
             i.version <> (SELECT count(*) FROM saga_history h WHERE h.dispatch_id = i.dispatch_id) \
             OR i.state <> (SELECT h.state FROM saga_history h \
                            WHERE h.dispatch_id = i.dispatch_id AND h.version = i.version)";
        assert_eq!(self.common.texts(wrong).await, Vec::<String>::new(), "histories with a gap");
    }

    fn databases(&self) -> Vec<&'a TestDatabase> {
        let mut databases = vec![self.common, self.order, self.payment, self.dispatch];
        databases.dedup_by_key(|database| database.url());
        databases
    }
}

async fn states(database: &TestDatabase, table: &str) -> BTreeMap<String, String> {
    let rows = database.query(&format!("SELECT dispatch_id, state FROM {table}")).await;
    let text = |row: &sea_orm::QueryResult, index| row.try_get_by_index(index).expect("a text");
    rows.iter().map(|row| (text(row, 0), text(row, 1))).collect()
}
