//! What a load is made of: outcomes, and how many of each.

use std::{fmt, str::FromStr};

use waybill_proto::v1::DispatchState;

/// Weights stay small, so that a share comes true within a short run.
const HEAVIEST: u64 = 10_000;

/// How a request is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// Accepted; everybody agrees.
    Completed,
    /// Not accepted: `INVALID_ARGUMENT`.
    Rejected,
    /// Accepted; participant `order` refuses, and there is nothing to undo.
    RefusedByOrder,
    /// Accepted; participant `payment` refuses, and the order is undone.
    RefusedByPayment,
    /// Accepted; participant `dispatch` refuses, and payment and order are undone.
    RefusedByDispatch,
    /// Accepted, and cancelled by us as soon as it is.
    Cancelled,
}

impl Outcome {
    pub(super) const ALL: [Self; 6] = [
        Self::Completed,
        Self::Rejected,
        Self::RefusedByOrder,
        Self::RefusedByPayment,
        Self::RefusedByDispatch,
        Self::Cancelled,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::RefusedByOrder => "refused-by-order",
            Self::RefusedByPayment => "refused-by-payment",
            Self::RefusedByDispatch => "refused-by-dispatch",
            Self::Cancelled => "cancelled",
        }
    }

    /// The participant that has to refuse, if one has to.
    pub(super) const fn refuser(self) -> Option<&'static str> {
        match self {
            Self::Completed | Self::Rejected | Self::Cancelled => None,
            Self::RefusedByOrder => Some("order"),
            Self::RefusedByPayment => Some("payment"),
            Self::RefusedByDispatch => Some("dispatch"),
        }
    }

    /// Whether such a dispatch may end so; one that must not have been accepted ends in no way. By whom it was
    /// cancelled, or why it was not, is looked up after the load.
    pub(super) fn may_end(self, state: DispatchState) -> bool {
        match self {
            Self::Completed => state == DispatchState::Completed,
            Self::Rejected => false,
            Self::RefusedByOrder | Self::RefusedByPayment | Self::RefusedByDispatch => {
                state == DispatchState::Cancelled
            }
            // The cancel request races with the pivot.
            Self::Cancelled => matches!(state, DispatchState::Cancelled | DispatchState::Completed),
        }
    }
}

/// Outcomes and their weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mix {
    parts: Vec<(Outcome, u64)>,
    total: u64,
    /// Has no divisor in common with `total`: multiples of it visit every place once, and far apart.
    step: u64,
}

impl Mix {
    fn new(parts: Vec<(Outcome, u64)>) -> Self {
        let total: u64 = parts.iter().map(|(_, weight)| weight).sum();
        // About the golden ratio, which spreads best.
        let step = (total * 618 / 1_000..total).find(|step| divisor(*step, total) == 1).unwrap_or(1);
        Self { parts, total, step }
    }

    /// How the request of this number is to end. Any `total` numbers in a row hold every outcome as often
    /// as it weighs.
    pub(super) fn outcome(&self, number: u64) -> Outcome {
        let mut place = number % self.total * self.step % self.total;
        for (outcome, weight) in &self.parts {
            match place.checked_sub(*weight) {
                None => return *outcome,
                Some(rest) => place = rest,
            }
        }
        // The weights add up to the total, so that this is never reached.
        Outcome::Completed
    }

    pub(super) fn contains(&self, wanted: Outcome) -> bool {
        self.parts.iter().any(|(outcome, _)| *outcome == wanted)
    }
}

/// The greatest common one.
fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (name, weight) =
                part.split_once('=').ok_or_else(|| format!("`{part}` is not <outcome>=<weight>"))?;
            let outcome =
                Outcome::ALL.into_iter().find(|outcome| outcome.name() == name).ok_or_else(|| {
                    let names = Outcome::ALL.map(Outcome::name).join(", ");
                    format!("`{name}` is no outcome; allowed: {names}")
                })?;
            let weight: u64 = weight
                .parse()
                .ok()
                .filter(|weight| *weight <= HEAVIEST)
                .ok_or_else(|| format!("the weight of {name} is no number from 0 to {HEAVIEST}"))?;
            if parts.iter().any(|(other, _)| *other == outcome) {
                return Err(format!("{name} is named twice"));
            }
            parts.push((outcome, weight));
        }
        parts.retain(|(_, weight)| *weight > 0);
        if parts.is_empty() { Err("every weight is 0".to_owned()) } else { Ok(Self::new(parts)) }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> =
            self.parts.iter().map(|(outcome, weight)| format!("{}={weight}", outcome.name())).collect();
        f.write_str(&parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Mix, Outcome};

    fn counts(mix: &str, numbers: std::ops::Range<u64>) -> BTreeMap<Outcome, u64> {
        let mix: Mix = mix.parse().unwrap();
        let mut counts = BTreeMap::new();
        numbers.for_each(|number| *counts.entry(mix.outcome(number)).or_default() += 1);
        counts
    }

    #[test]
    fn as_many_requests_as_the_weights_add_up_to_hold_each_outcome_as_often_as_it_weighs() {
        let mix = "completed=90,rejected=3,refused-by-order=2,refused-by-payment=4,refused-by-dispatch=1";
        let expected = BTreeMap::from([
            (Outcome::Completed, 90),
            (Outcome::Rejected, 3),
            (Outcome::RefusedByOrder, 2),
            (Outcome::RefusedByPayment, 4),
            (Outcome::RefusedByDispatch, 1),
        ]);
        assert_eq!(counts(mix, 0..100), expected);
        assert_eq!(counts(mix, 12_345..12_445), expected);
    }

    #[test]
    fn outcomes_come_mixed() {
        let counts = counts("completed=50,rejected=50", 0..10);
        assert!(counts.values().all(|count| (3..=7).contains(count)), "{counts:?}");
    }

    #[test]
    fn one_outcome_alone_is_a_mix() {
        assert_eq!(counts("completed=1", 0..7), BTreeMap::from([(Outcome::Completed, 7)]));
        assert_eq!(counts("completed=0,rejected=1", 0..7), BTreeMap::from([(Outcome::Rejected, 7)]));
    }

    #[test]
    fn what_is_no_mix_is_said() {
        for (text, expected) in [
            ("", "`` is not <outcome>=<weight>"),
            ("completed", "`completed` is not <outcome>=<weight>"),
            (
                "done=1",
                "`done` is no outcome; allowed: completed, rejected, refused-by-order, refused-by-payment, \
                 refused-by-dispatch, cancelled",
            ),
            ("completed=many", "the weight of completed is no number from 0 to 10000"),
            ("completed=10001", "the weight of completed is no number from 0 to 10000"),
            ("completed=1,completed=2", "completed is named twice"),
            ("completed=0", "every weight is 0"),
        ] {
            assert_eq!(text.parse::<Mix>(), Err(expected.to_owned()), "{text:?}");
        }
    }
}
