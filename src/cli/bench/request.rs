//! The requests of a run: each made so that it ends as the mix says, by the rules of the participants that
//! come with Waybill, and named so that no run meets another.

use uuid::Uuid;
use waybill_proto::v1::{DispatchRequested, Money};

use super::mix::{Mix, Outcome};

/// More than anybody's credit limit, in minor units.
const BEYOND_LIMIT: i64 = 1_000_000_000_000_000;

/// What the requests of a run have in common.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    /// New in every run.
    pub(super) run: String,
    pub(super) mix: Mix,
    pub(super) destination: String,
    pub(super) refused_destination: String,
    /// Only a mix with `refused-by-order` needs one.
    pub(super) blocked_customer: Option<String>,
}

impl Requests {
    pub(super) fn new_run() -> String {
        Uuid::now_v7().simple().to_string()
    }

    /// The request of this number, and how it is to end. It names no customer unless it has to: accounts
    /// would fill up from run to run.
    pub(super) fn make(&self, number: u64) -> (Outcome, DispatchRequested) {
        let outcome = self.mix.outcome(number);
        let mut request = DispatchRequested {
            message_id: format!("bench-{}-{number}", self.run),
            order_id: format!("bench-order-{}-{number}", self.run),
            destination_code: self.destination.clone(),
            parcel_count: 1,
            ..DispatchRequested::default()
        };
        match outcome {
            Outcome::Completed | Outcome::Cancelled => {}
            Outcome::Rejected => request.parcel_count = 0,
            Outcome::RefusedByOrder => {
                request.customer_id = self.blocked_customer.clone().unwrap_or_default();
            }
            Outcome::RefusedByPayment => {
                let currency_code = "EUR".to_owned();
                request.amount = Some(Money { currency_code, minor_units: BEYOND_LIMIT });
            }
            Outcome::RefusedByDispatch => request.destination_code.clone_from(&self.refused_destination),
        }
        (outcome, request)
    }
}

#[cfg(test)]
mod tests {
    use super::Requests;

    #[test]
    fn no_two_requests_of_any_runs_share_an_id() {
        let run = || Requests {
            run: Requests::new_run(),
            mix: "completed=1".parse().unwrap(),
            destination: "DEHAM".to_owned(),
            refused_destination: "ZZ9".to_owned(),
            blocked_customer: None,
        };
        let ids: std::collections::HashSet<String> = [run(), run()]
            .iter()
            .flat_map(|run| (0..50).map(|number| run.make(number).1))
            .flat_map(|request| [request.message_id, request.order_id])
            .collect();
        assert_eq!(ids.len(), 200);
        assert!(ids.iter().all(|id| id.len() <= 128));
    }
}
