//! The figures that Waybill is to reach, as ratios to what was measured beside it.

use crate::{
    book::Book,
    report::{Goal, Wanted},
    site::Site,
    speed::streaming,
    subject::{Kind, Metric, Subject, Way},
};

/// Sagas in flight at which packing has nothing to do, and at which it has.
const FEW: u32 = 64;
const MANY: u32 = 256;

/// All that concern speed and memory.
pub(crate) fn of(site: &Site, book: &Book) -> Vec<Goal> {
    let accepting = site.settings.accepting;
    let rate = |subject, load| (subject, load, Metric::Rate);
    let unary = |database| Subject::Accepts { database, way: Way::Unary { connections: 1 } };
    let stream = |database| Subject::Accepts { database, way: Way::Streaming };
    let saga = |database, packed| Subject::Sagas { database, packed };
    let accepts = rate(unary(Kind::Postgres), accepting);
    let mut goals = Vec::new();
    let mut ratio = |what: String, least: f64, above, below| {
        goals.push(Goal { what, wanted: Wanted::AtLeast(least), reached: book.ratio(above, below) });
    };
    let name = format!("accepts/s, unary, {accepting} in flight, PostgreSQL, nothing published");
    ratio(format!("{name} ÷ reference"), 5.0, accepts, rate(Subject::ReferenceAccepts, accepting));
    ratio(format!("{name} ÷ bare echo"), 0.35, accepts, rate(Subject::Echo { connections: 1 }, accepting));
    ratio(
        "accepts/s, streaming, PostgreSQL ÷ raw insert".to_owned(),
        0.4,
        rate(stream(Kind::Postgres), streaming(site)),
        rate(Subject::Insert(Kind::Postgres), 0),
    );
    for (load, packed, least) in [(FEW, false, 7.0), (MANY, true, 20.0)] {
        let packing = if packed { "on" } else { "off" };
        ratio(
            format!("sagas/s, {load} in flight, packing {packing} ÷ reference"),
            least,
            rate(saga(Kind::Postgres, packed), load),
            rate(Subject::Reference, load),
        );
    }
    let p50 = |subject| (subject, 1, Metric::P50);
    let alone = [saga(Kind::Postgres, true), saga(Kind::Postgres, false)];
    let alone = alone.into_iter().find(|subject| book.median(p50(*subject)).is_some());
    ratio(
        "request to end, one in flight, p50: reference ÷ Waybill".to_owned(),
        15.0,
        p50(Subject::Reference),
        p50(alone.unwrap_or(Subject::Defaults)),
    );
    ratio(
        format!("accepts/s, unary, {accepting} in flight: SQLite ÷ PostgreSQL"),
        1.0,
        rate(unary(Kind::Sqlite), accepting),
        accepts,
    );
    for (load, packed) in [(FEW, false), (MANY, true)] {
        let packing = if packed { "on" } else { "off" };
        ratio(
            format!("sagas/s, {load} in flight, packing {packing}: SQLite ÷ PostgreSQL"),
            1.0,
            rate(saga(Kind::Sqlite, packed), load),
            rate(saga(Kind::Postgres, packed), load),
        );
    }
    goals.extend(memory(book));
    goals
}

fn memory(book: &Book) -> [Goal; 2] {
    let waybill = |subject| {
        matches!(
            subject,
            Subject::Sagas { .. } | Subject::Watched | Subject::Defaults | Subject::Accepts { .. }
        )
    };
    let goal = |what: &str, most, metric| Goal {
        what: what.to_owned(),
        wanted: Wanted::AtMost(most),
        reached: book.largest(metric, waybill),
    };
    [
        goal("resident memory before the first request, MB, the largest", 64.0, Metric::Idle),
        goal("resident memory under any of these loads, MB, the largest", 256.0, Metric::Memory),
    ]
}
