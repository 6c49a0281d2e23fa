//! Moments on the command line and in the contract.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use prost_types::Timestamp;

/// A moment of the contract, unless it lies outside the calendar.
pub(super) fn moment(at: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    let at = at?;
    DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).ok()?)
}

fn timestamp(at: DateTime<Utc>) -> Timestamp {
    // Less than 2 000 000 000 even in a leap second, as chrono documents.
    let nanos = i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default();
    Timestamp { seconds: at.timestamp(), nanos }
}

/// RFC 3339 in UTC with milliseconds, or a dash.
pub(super) fn shown(at: Option<&Timestamp>) -> String {
    moment(at).map_or_else(|| "-".to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// RFC 3339 in UTC with all its digits, for programs.
pub(super) fn exact(at: Option<&Timestamp>) -> Option<String> {
    moment(at).map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// How much later `to` is; nothing when it is not, or when one is absent.
pub(super) fn between(from: Option<&Timestamp>, to: Option<&Timestamp>) -> Option<Duration> {
    (moment(to)? - moment(from)?).to_std().ok()
}

/// A duration of the contract, unless it is negative.
pub(super) fn lasted(duration: Option<&prost_types::Duration>) -> Option<Duration> {
    duration.and_then(|duration| Duration::try_from(*duration).ok())
}

/// Seconds with milliseconds, for people.
pub(super) fn shown_duration(duration: Duration) -> String {
    format!("{}.{:03}s", duration.as_secs(), duration.subsec_millis())
}

/// Seconds with all their digits, for programs: as Protobuf writes a duration in JSON.
pub(super) fn exact_duration(duration: Option<&prost_types::Duration>) -> Option<String> {
    duration.map(ToString::to_string)
}

/// Reads RFC 3339.
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|at| timestamp(at.to_utc()))
        .map_err(|_| "is no RFC 3339 time, such as 2026-01-31T12:00:00Z".to_owned())
}

/// Reads RFC 3339, or how long ago.
pub(super) fn parse_or_ago(text: &str) -> Result<Timestamp, String> {
    parse(text).or_else(|_| {
        let ago = humantime::parse_duration(text).ok().and_then(|ago| TimeDelta::from_std(ago).ok());
        ago.and_then(|ago| Utc::now().checked_sub_signed(ago)).map(timestamp).ok_or_else(|| {
            "is neither an RFC 3339 time, such as 2026-01-31T12:00:00Z, nor how long ago, such as 2h"
                .to_owned()
        })
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prost_types::Timestamp;

    use super::{between, exact, exact_duration, lasted, parse, parse_or_ago, shown, shown_duration};

    #[test]
    fn a_time_is_read_and_written() {
        let at = parse("2026-01-31T13:00:00.25+01:00").unwrap();
        assert_eq!(at, Timestamp { seconds: 1_769_860_800, nanos: 250_000_000 });
        assert_eq!(shown(Some(&at)), "2026-01-31T12:00:00.250Z");
        assert_eq!(exact(Some(&at)).as_deref(), Some("2026-01-31T12:00:00.250Z"));
        assert_eq!(shown(None), "-");
        assert!(parse("yesterday").is_err());
    }

    #[test]
    fn how_long_ago_is_read() {
        let (now, then) = (parse_or_ago("0s").unwrap(), parse_or_ago("2h").unwrap());
        assert!(
            between(Some(&then), Some(&now)).unwrap().abs_diff(Duration::from_hours(2))
                < Duration::from_secs(5)
        );
        assert!(parse_or_ago("2").is_err());
    }

    #[test]
    fn a_duration_is_shown_and_written() {
        let duration = prost_types::Duration { seconds: 61, nanos: 20_500_000 };
        assert_eq!(exact_duration(Some(&duration)).as_deref(), Some("61.020500s"));
        assert_eq!(lasted(Some(&duration)).map(shown_duration).as_deref(), Some("61.020s"));
        assert_eq!(lasted(Some(&prost_types::Duration { seconds: -1, nanos: 0 })), None);
    }

    #[test]
    fn a_time_outside_the_calendar_is_not_shown() {
        assert_eq!(shown(Some(&Timestamp { seconds: i64::MAX, nanos: -1 })), "-");
    }
}
