//! What clients ask for: a function of the seed alone.

use rand::{Rng, SeedableRng, rngs::StdRng};
use waybill_proto::v1::{DispatchRequested, Money};

/// Participant `order` refuses this customer.
pub(crate) const BLOCKED: &str = "blocked";
/// No customer comes near it.
pub(crate) const CREDIT_LIMIT: &str = "1000000.00 EUR";
const BEYOND_LIMIT: i64 = 100_000_001;
/// Price of a parcel where the request names no amount.
pub(crate) const TARIFF: &str = "4.90 EUR";
const TARIFF_MINOR_UNITS: i64 = 490;
/// Few, so that dispatches meet on their accounts.
const CUSTOMERS: u32 = 10;

/// How a dispatch is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// Everybody agrees.
    Completed,
    /// Participant `order` refuses.
    RefusedByOrder,
    /// Participant `payment` refuses.
    RefusedByPayment,
    /// Participant `dispatch` refuses.
    RefusedByDispatch,
    /// The client asks for it to be undone: what it is answered decides.
    Cancelled,
}

/// A request, and what the client does with it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Case {
    pub(crate) request: DispatchRequested,
    pub(crate) fate: Fate,
    /// What the payment participant reserves for it.
    pub(crate) minor_units: i64,
    /// The gateway that is asked first.
    pub(crate) gateway: usize,
    /// Whether the other gateway is asked at the same time.
    pub(crate) twice: bool,
    /// Calls that the client makes before it gives up.
    pub(crate) calls: u32,
}

/// The cases of a run, without end.
pub(crate) struct Cases {
    seed: u64,
    number: u64,
    random: StdRng,
}

impl Cases {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, number: 0, random: StdRng::seed_from_u64(seed) }
    }
}

impl Iterator for Cases {
    type Item = Case;

    fn next(&mut self) -> Option<Case> {
        self.number += 1;
        let random = &mut self.random;
        let fate = match random.random_range(0..100) {
            0..8 => Fate::RefusedByOrder,
            8..16 => Fate::RefusedByPayment,
            16..24 => Fate::RefusedByDispatch,
            24..40 => Fate::Cancelled,
            _ => Fate::Completed,
        };
        let parcel_count = random.random_range(1..=9);
        let named = random.random_bool(0.5).then(|| random.random_range(1..=50_000));
        let amount = if fate == Fate::RefusedByPayment { Some(BEYOND_LIMIT) } else { named };
        let customer = random.random_range(0..CUSTOMERS);
        let id = format!("chaos-{}-{}", self.seed, self.number);
        Some(Case {
            request: DispatchRequested {
                order_id: format!("order-{id}"),
                message_id: id,
                destination_code: if fate == Fate::RefusedByDispatch { "ZZNOW" } else { "NLRTM" }.to_owned(),
                parcel_count,
                customer_id: match fate {
                    Fate::RefusedByOrder => BLOCKED.to_owned(),
                    _ => format!("customer-{customer}"),
                },
                amount: amount.map(|minor_units| Money { currency_code: "EUR".to_owned(), minor_units }),
                ..DispatchRequested::default()
            },
            fate,
            minor_units: amount.unwrap_or(i64::from(parcel_count) * TARIFF_MINOR_UNITS),
            gateway: random.random_range(0..2),
            twice: random.random_bool(0.15),
            // Some clients do not come back: what they asked for may have been committed all the same.
            calls: if random.random_bool(0.25) { 1 } else { 4 },
        })
    }
}
