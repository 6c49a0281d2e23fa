//! The last word on many dispatches: what came of them, how fast, and how long it took.

use std::{fmt::Write as _, time::Duration};

use serde_json::{Value, json};
use tonic::Code;

use super::tally::Tally;
use crate::cli::{
    latency::{Latency, shown},
    out, status,
};

/// Tables for people.
pub(super) fn text(tally: &Tally, wait: bool) -> String {
    let mut counts = out::table(&["What", "Count", "Share"]);
    counts.add_row(row("accepted", tally.accepted, tally.sent));
    counts.add_row(row("accepted before (duplicate)", tally.duplicates, tally.sent));
    for (code, count) in &tally.rejected {
        let name = format!("rejected: {}", status::code_name(Code::from_i32(*code)));
        counts.add_row(row(&name, *count, tally.sent));
    }
    for ((state, reason), count) in &tally.ended {
        let name =
            if reason.is_empty() { format!("ended {state}") } else { format!("ended {state}: {reason}") };
        counts.add_row(row(&name, *count, tally.ends() + tally.unfinished));
    }
    if wait && tally.unfinished > 0 {
        counts.add_row(row("not ended", tally.unfinished, tally.ends() + tally.unfinished));
    }
    let mut text = format!("{} sent\n{}\n", tally.sent, counts.trim_fmt());
    text.push_str(&latencies(tally));
    // Writing to a String cannot fail.
    let _ = write!(text, "{}", rates(tally));
    text
}

fn row(name: &str, count: u64, total: u64) -> [String; 3] {
    [name.to_owned(), count.to_string(), share(count, total)]
}

fn share(count: u64, total: u64) -> String {
    let permille = (count * 1_000 + total / 2).checked_div(total).unwrap_or_default();
    format!("{}.{} %", permille / 10, permille % 10)
}

fn latencies(tally: &Tally) -> String {
    let mut table = out::table(&["Latency", "p50", "p90", "p99", "max"]);
    for (name, latency) in [("request to receipt", &tally.accept), ("receipt to end", &tally.end)] {
        if !latency.is_empty() {
            let [p50, p90, p99, max] = percentiles_of(latency).map(shown);
            table.add_row([name.to_owned(), p50, p90, p99, max]);
        }
    }
    if table.is_empty() { String::new() } else { format!("{}\n", table.trim_fmt()) }
}

fn rates(tally: &Tally) -> String {
    let mut parts = Vec::new();
    if let Some(rate) = tally.accept_rate() {
        parts.push(format!("{rate:.0} accepted/s"));
    }
    if let Some(rate) = tally.end_rate() {
        parts.push(format!("{rate:.0} ended/s"));
    }
    if tally.retried > 0 {
        parts.push(format!("{} answers asked for another attempt", tally.retried));
    }
    parts.join(", ")
}

/// One JSON value for programs.
pub(super) fn value(tally: &Tally) -> Value {
    let rejected: serde_json::Map<String, Value> = tally
        .rejected
        .iter()
        .map(|(code, count)| (status::code_name(Code::from_i32(*code)).to_owned(), json!(count)))
        .collect();
    let ended = tally
        .ended
        .iter()
        .map(|((state, reason), count)| json!({ "state": state, "reason": reason, "count": count }));
    json!({
        "summary": {
            "sent": tally.sent,
            "accepted": tally.accepted,
            "duplicates": tally.duplicates,
            "rejected": rejected,
            "retried": tally.retried,
            "ended": ended.collect::<Vec<_>>(),
            "unfinished": tally.unfinished,
            "accepted_per_second": tally.accept_rate(),
            "ended_per_second": tally.end_rate(),
            "accept_seconds": percentiles(&tally.accept),
            "end_seconds": percentiles(&tally.end),
        }
    })
}

/// p50, p90, p99 and the largest.
fn percentiles_of(latency: &Latency) -> [Duration; 4] {
    [latency.at(0.5), latency.at(0.9), latency.at(0.99), latency.max()]
}

fn percentiles(latency: &Latency) -> Value {
    if latency.is_empty() {
        return Value::Null;
    }
    let [p50, p90, p99, max] = percentiles_of(latency).map(|time| time.as_secs_f64());
    json!({ "p50": p50, "p90": p90, "p99": p99, "max": max })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;
    use tonic::Code;

    use super::{Tally, share, text, value};

    fn tally() -> Tally {
        let (mut tally, start) = (Tally::new().unwrap(), Instant::now());
        for _ in 0..8 {
            tally.sent(start);
        }
        let later = start + Duration::from_secs(1);
        for _ in 0..6 {
            tally.accepted(false, Duration::from_millis(5), later);
        }
        tally.accepted(true, Duration::ZERO, later);
        tally.rejected(Code::InvalidArgument);
        for _ in 0..5 {
            tally.ended("COMPLETED", "", Some(Duration::from_millis(120)), later);
        }
        tally.ended("CANCELLED", "credit limit", Some(Duration::from_millis(80)), later);
        tally.unfinished = 1;
        tally
    }

    #[test]
    fn people_see_counts_shares_latencies_and_rates() {
        let text = text(&tally(), true);
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        for expected in [
            vec!["accepted", "6", "75.0", "%"],
            vec!["rejected:", "INVALID_ARGUMENT", "1", "12.5", "%"],
            vec!["ended", "COMPLETED", "5", "71.4", "%"],
            vec!["ended", "CANCELLED:", "credit", "limit", "1", "14.3", "%"],
            vec!["not", "ended", "1", "14.3", "%"],
            vec!["6", "accepted/s,", "6", "ended/s"],
        ] {
            assert!(words.contains(&expected), "{expected:?} in\n{text}");
        }
    }

    #[test]
    fn programs_get_the_same() {
        let value = value(&tally());
        let summary = &value["summary"];
        assert_eq!(summary["rejected"]["INVALID_ARGUMENT"], 1);
        assert_eq!(summary["ended"][1]["state"], "COMPLETED");
        assert_eq!(summary["ended"][1]["count"], 5);
        assert_eq!(summary["accepted_per_second"], 6.0);
        assert!(summary["end_seconds"]["max"].as_f64().is_some_and(|max| (0.119..0.121).contains(&max)));
    }

    #[test]
    fn a_share_of_nothing_is_nothing() {
        assert_eq!((share(1, 3), share(0, 0)), ("33.3 %".to_owned(), "0.0 %".to_owned()));
    }
}
