//! Points at which a test can kill this process, compiled in under the feature `fault-points` and without
//! any trace otherwise.
//!
//! `WAYBILL_TEST_FAULT=POINT/DETAIL@N` kills it the `N`th time (from 1) that it comes by; a detail is the
//! name of a transaction, a routing key, a consumer, or the id of a message that is being consumed. The process ends at once, as by SIGKILL: nothing is
//! flushed, nothing unwinds.

use crate::Tx;

/// Where a process can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// Everything of a transaction is written and nothing committed.
    BeforeCommit,
    /// A transaction is committed and nobody has been told.
    AfterCommit,
    /// A message is written to the broker and its confirm has not been seen.
    AfterPublish,
    /// A confirm has been seen and its row is still there.
    AfterConfirm,
    /// A batch is committed and not acknowledged.
    BeforeAck,
}

/// Comes by a point.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub(crate) const fn reach(_: Point, _: &str) {}

/// Comes by a point, and may not come any further.
#[cfg(feature = "fault-points")]
pub(crate) fn reach(point: Point, detail: &str) {
    use std::sync::atomic::{AtomicU32, Ordering};

    static LEFT: std::sync::OnceLock<Option<(String, AtomicU32)>> = std::sync::OnceLock::new();
    let aimed = LEFT.get_or_init(|| {
        let aim = std::env::var("WAYBILL_TEST_FAULT").ok()?;
        let (place, count) = aim.rsplit_once('@')?;
        Some((place.to_owned(), AtomicU32::new(count.parse().ok()?)))
    });
    let Some((place, left)) = aimed else { return };
    if *place == format!("{}/{detail}", point.name()) && left.fetch_sub(1, Ordering::SeqCst) == 1 {
        std::process::abort();
    }
}

/// A point that is come by later, with each of these details.
pub(crate) struct Later(Option<(Point, Vec<String>)>);

impl Later {
    pub(crate) fn new<'a>(point: Point, details: impl Iterator<Item = &'a str>) -> Self {
        Self(cfg!(feature = "fault-points").then(|| (point, details.map(str::to_owned).collect())))
    }

    pub(crate) fn reach(self) {
        if let Some((point, details)) = self.0 {
            for detail in &details {
                reach(point, detail);
            }
        }
    }
}

/// Comes by both sides of the commit of `tx`, once for each of these messages.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub(crate) fn around_commit<'a>(_: &Tx, _: impl Iterator<Item = &'a str>) {}

/// Comes by both sides of the commit of `tx`, once for each of these messages.
#[cfg(feature = "fault-points")]
pub(crate) fn around_commit<'a>(tx: &Tx, message_ids: impl Iterator<Item = &'a str>) {
    for id in message_ids {
        let after = id.to_owned();
        tx.after_commit(move || reach(Point::AfterCommit, &after));
        reach(Point::BeforeCommit, id);
    }
}

#[cfg(feature = "fault-points")]
impl Point {
    const fn name(self) -> &'static str {
        match self {
            Self::BeforeCommit => "before-commit",
            Self::AfterCommit => "after-commit",
            Self::AfterPublish => "after-publish",
            Self::AfterConfirm => "after-confirm",
            Self::BeforeAck => "before-ack",
        }
    }
}
