//! What is looked at when all has ended: every history, every table.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{sleep, timeout};
use waybill_proto::v1::DispatchReceipt;
use waybill_saga::Command;
use waybill_test_support::patience::PATIENCE;

use crate::{
    expected::{self, End},
    stage::Stage,
    story::Story,
};

const LATE: &str = "late_reply_ignored";

/// Every saga has ended as its definition says, the tables are clean, and nothing is left anywhere.
pub(crate) async fn check(stage: &Stage, stories: &[Story]) {
    let expected: BTreeMap<String, (String, End)> = stories
        .iter()
        .map(|story| (story.receipt.dispatch_id.clone(), (story.cell.name(), expected::end(&story.cell))))
        .collect();
    assert_eq!(expected.len(), stories.len(), "a dispatch for each cell");
    // What comes too late comes last. What never comes is named below, with its cell.
    let late: usize = expected.values().map(|(_, end)| end.late).sum();
    let come = async {
        while ends(stage).await.values().map(|end| end.late).sum::<usize>() < late {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let _ = timeout(PATIENCE, come).await;
    stage.books().settled().await;
    let ends = ends(stage).await;
    for (id, (name, end)) in &expected {
        assert_eq!(ends.get(id), Some(end), "{name}");
    }
    let receipts: Vec<DispatchReceipt> = stories.iter().map(|story| story.receipt.clone()).collect();
    stage.books().check(&receipts).await;
    check_captured(stage, stories).await;
}

/// How every saga has ended.
async fn ends(stage: &Stage) -> BTreeMap<String, End> {
    let rows = "SELECT i.dispatch_id || ' ' || i.state || ' ' || h.event FROM saga_instances i \
                JOIN saga_history h ON h.dispatch_id = i.dispatch_id ORDER BY i.dispatch_id, h.version";
    let mut ends = BTreeMap::new();
    for row in stage.front.texts(rows).await {
        let [id, at, event] = row.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let new = || End { state: at.to_owned(), events: Vec::new(), late: 0 };
        let end = ends.entry(id.to_owned()).or_insert_with(new);
        if event == LATE {
            end.late += 1;
        } else {
            end.events.push(event.to_owned());
        }
    }
    ends
}

/// What is completed is captured, where the definition captures, and nothing else is.
async fn check_captured(stage: &Stage, stories: &[Story]) {
    let is_paid = |story: &&Story| {
        let steps = &story.cell.definition.steps;
        let captures = steps.iter().any(|step| step.command == Command::CapturePayment);
        captures && expected::end(&story.cell).state == "COMPLETED"
    };
    let mut expected: Vec<_> =
        stories.iter().filter(is_paid).map(|story| story.receipt.dispatch_id.clone()).collect();
    expected.sort();
    let sql = "SELECT dispatch_id FROM payment_reservations WHERE captured_at > 0 ORDER BY dispatch_id";
    assert_eq!(stage.back.texts(sql).await, expected, "captured");
}
