//! What a run has found, for people and for programs.

use std::{fmt, time::Duration};

use serde_json::{Map, Value, json};
use tonic::Code;

use super::{
    options::{Ends, Plan, Until},
    schedule::Limit,
    tally::{Tally, Wrong},
};
use crate::cli::{
    latency::{Latency, shown},
    out, status,
};

/// The percentiles that are shown, as they are called in text and in JSON.
const PERCENTILES: [(&str, &str, f64); 5] = [
    ("p50", "p50", 0.5),
    ("p90", "p90", 0.9),
    ("p99", "p99", 0.99),
    ("p99.9", "p99_9", 0.999),
    ("max", "max", 1.0),
];

/// A run and its figures.
pub(super) struct Report<'a> {
    pub(super) plan: &'a Plan,
    pub(super) tally: &'a Tally,
    /// Ended by Ctrl-C.
    pub(super) interrupted: bool,
}

/// The distributions, with what they are called in text, in JSON and in the plot.
pub(super) fn latencies(tally: &Tally) -> [(&'static str, &'static str, &Latency); 4] {
    [
        ("request to receipt", "accept_seconds", &tally.accept),
        ("request to end", "end_seconds", &tally.end),
        ("acceptance to end, by the server", "server_seconds", &tally.server),
        ("sent later than due", "late_seconds", &tally.late),
    ]
}

/// Tables for people.
pub(super) fn text(report: &Report<'_>) -> String {
    let tally = report.tally;
    let mut counts = out::table(&["What", "Count"]);
    let mut row = |what: &str, count: u64| {
        if count > 0 {
            counts.add_row([what.to_owned(), count.to_string()]);
        }
    };
    row("sent", tally.sent);
    row("sent in the warm-up", tally.warm_up);
    row("due and not sent", tally.not_sent);
    row("accepted", tally.accepted);
    row("rejected, as asked for", tally.rejected);
    for (code, count) in &tally.errors {
        row(&format!("error {}", status::code_name(Code::from_i32(*code))), *count);
    }
    for (outcome, count) in &tally.ended {
        row(&format!("ended: {}", outcome.name()), *count);
    }
    row("completed: cancelled too late", tally.too_late);
    row("ended otherwise than the mix says", tally.wrong);
    row("not ended", tally.unfinished);
    let stopped = if report.interrupted { "Stopped early.\n" } else { "" };
    let rates = [("accepted", &tally.accepts), ("ended", &tally.ends)]
        .map(|(what, series)| series.rate().map(|rate| format!("{rate:.1} {what}/s")));
    let rates = rates.into_iter().flatten().collect::<Vec<_>>().join(", ");
    format!("{stopped}{}\n{}\n{}{rates}", heading(report.plan), counts.trim_fmt(), table(tally))
}

fn heading(plan: &Plan) -> String {
    let way = if plan.streaming { "streaming" } else { "unary" };
    let load = plan.rate.map_or_else(
        || format!("{} in flight until {}", plan.in_flight, until(plan)),
        |rate| format!("{rate} a second"),
    );
    format!(
        "Run {}: {way}, {load}, {} connections, {}",
        plan.requests.run, plan.connections, plan.requests.mix
    )
}

fn until(plan: &Plan) -> &'static str {
    match plan.until {
        Until::Accepted => "accepted",
        Until::Ended => "ended",
    }
}

fn ends(plan: &Plan) -> &'static str {
    match plan.ends {
        Ends::Listed => "listed",
        Ends::Watched => "watched",
    }
}

fn table(tally: &Tally) -> String {
    let mut table = out::table(&["Latency", "p50", "p90", "p99", "p99.9", "max"]);
    for (name, _, latency) in latencies(tally) {
        if !latency.is_empty() {
            let times = PERCENTILES.map(|(_, _, quantile)| shown(latency.at(quantile)));
            table.add_row(std::iter::once(name.to_owned()).chain(times));
        }
    }
    if table.is_empty() { String::new() } else { format!("{}\n", table.trim_fmt()) }
}

/// One JSON value for programs.
pub(super) fn value(report: &Report<'_>) -> Value {
    let Report { plan, tally, interrupted } = report;
    let errors = tally.errors.iter().map(|(code, count)| (status::code_name(Code::from_i32(*code)), *count));
    let ended = tally.ended.iter().map(|(outcome, count)| (outcome.name(), *count));
    let mut value = json!({
        "settings": settings(plan),
        "interrupted": interrupted,
        "sent": tally.sent,
        "warm_up": tally.warm_up,
        "not_sent": tally.not_sent,
        "accepted": tally.accepted,
        "rejected": tally.rejected,
        "errors": map(errors),
        "ended": map(ended),
        "too_late": tally.too_late,
        "wrong": tally.wrong,
        "unfinished": tally.unfinished,
        "listed": tally.listed.iter().map(listed).collect::<Vec<_>>(),
        "accepted_per_second": tally.accepts.rate(),
        "ended_per_second": tally.ends.rate(),
        "timeline": timeline(tally),
    });
    for (_, key, latency) in latencies(tally) {
        value[key] = percentiles(latency);
    }
    value
}

fn settings(plan: &Plan) -> Value {
    let (requests, duration) = match plan.limit {
        Limit::Requests(requests) => (Some(requests), None),
        Limit::Duration(duration) => (None, Some(duration.as_secs_f64())),
    };
    json!({
        "run": plan.requests.run,
        "streaming": plan.streaming,
        "rate": plan.rate,
        "in_flight": plan.in_flight,
        "until": until(plan),
        "ends": ends(plan),
        "connections": plan.connections,
        "mix": plan.requests.mix.to_string(),
        "requests": requests,
        "duration_seconds": duration,
        "warm_up_seconds": plan.warm_up.as_secs_f64(),
    })
}

fn map<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> Map<String, Value> {
    counts.map(|(name, count)| (name.to_owned(), json!(count))).collect()
}

fn listed(wrong: &Wrong) -> Value {
    json!({
        "message_id": wrong.message_id,
        "dispatch_id": wrong.dispatch_id,
        "expected": wrong.expected.name(),
        "found": wrong.found,
    })
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message_id, dispatch_id, expected, found } = self;
        write!(f, "dispatch {dispatch_id} ({message_id}): {}, expected {}", found, expected.name())
    }
}

/// How long the curves over time are.
pub(super) fn length(tally: &Tally) -> Duration {
    tally.accepts.length().max(tally.ends.length())
}

fn timeline(tally: &Tally) -> Value {
    let (seconds, accepted) = tally.accepts.stretches(length(tally));
    let (_, ended) = tally.ends.stretches(length(tally));
    json!({ "step_seconds": seconds, "accepted_per_second": accepted, "ended_per_second": ended })
}

fn percentiles(latency: &Latency) -> Value {
    if latency.is_empty() {
        return Value::Null;
    }
    let mut value = json!({ "count": latency.count() });
    for (_, key, quantile) in PERCENTILES {
        value[key] = json!(latency.at(quantile).as_secs_f64());
    }
    value
}
