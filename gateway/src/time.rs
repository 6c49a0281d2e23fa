//! Moments on the wire and inside. The wire knows nanoseconds, every table microseconds: what is finer
//! is cut off where it enters.

use std::time::Duration;

use waybill_messaging::Timestamp;

/// First and last second of `google.protobuf.Timestamp`: years 1 to 9999.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// The moment on the wire.
pub(crate) fn to_wire(moment: Timestamp) -> prost_types::Timestamp {
    let micros = moment.micros();
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        // Below 10^9 by construction.
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or_default(),
    }
}

/// The duration on the wire.
pub(crate) fn how_long(duration: Duration) -> prost_types::Duration {
    // No two moments of the wire are further apart than it can say.
    prost_types::Duration::try_from(duration).unwrap_or_default()
}

/// The moment that came over the wire; `None` where it is none that the wire format allows.
pub(crate) fn from_wire(wire: &prost_types::Timestamp) -> Option<Timestamp> {
    let valid = SECONDS.contains(&wire.seconds) && (0..1_000_000_000).contains(&wire.nanos);
    valid.then(|| Timestamp::from_micros(wire.seconds * 1_000_000 + i64::from(wire.nanos) / 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_the_wire() {
        for micros in [0, 1, -1, 1_700_000_000_123_456, -62_135_596_800_000_000] {
            let moment = Timestamp::from_micros(micros);
            assert_eq!(from_wire(&to_wire(moment)), Some(moment));
        }
    }

    #[test]
    fn what_the_wire_format_forbids_is_no_moment() {
        for (seconds, nanos) in
            [(i64::MAX, 0), (i64::MIN, 0), (253_402_300_800, 0), (0, -1), (0, 1_000_000_000)]
        {
            assert_eq!(from_wire(&prost_types::Timestamp { seconds, nanos }), None);
        }
    }
}
