//! Confirms as no broker gives them on demand.

use std::time::Duration;

use bytes::Bytes;
use waybill_messaging::Outgoing;
use waybill_test_support::{TestDatabase, fake_broker::Publication, on_both_databases};

use crate::{rig::message, stage::Stage};

on_both_databases!(
    returns_among_acknowledgements_of_many_park_exactly_the_returned_rows,
    acknowledgements_out_of_order_clear_every_row_but_the_returned_one,
    a_refused_message_goes_out_again_with_its_id_until_it_is_parked_and_holds_up_nobody,
    a_message_that_is_never_confirmed_goes_out_again_over_a_new_connection,
    an_answer_for_a_row_that_another_relay_has_taken_changes_nothing,
    however_a_connection_ends_what_has_no_answer_goes_out_again,
    a_blocked_connection_is_waited_for_and_kept,
    what_is_under_way_is_bounded_by_its_bytes_too,
);

fn messages(count: usize) -> Vec<Outgoing> {
    (0..count).map(|n| message(&format!("m-{n:04}"))).collect()
}

async fn returns_among_acknowledgements_of_many_park_exactly_the_returned_rows(database: TestDatabase) {
    let mut stage = Stage::with(database, false, |relay| relay.window = 1_000).await;
    stage.send(messages(1_000)).await;
    let publications = stage.publications(1_000).await;
    let is_returned = |index: usize| index % 7 == 3 || index % 50 == 49;
    let give_back = |range: std::ops::Range<usize>| {
        range.filter(|n| is_returned(*n)).for_each(|n| publications[n].give_back());
    };
    // Every return comes before its own acknowledgement, some long before it.
    give_back(0..25);
    for end in (50..=800).step_by(50) {
        give_back(end - 25..end + 25);
        publications[end - 1].ack_all();
    }
    give_back(825..1_000);
    (800..1_000).rev().for_each(|n| publications[n].ack());
    let expected: Vec<_> =
        (0..1_000).filter(|n| is_returned(*n)).map(|n| format!("m-{n:04} UNROUTABLE")).collect();
    stage.outbox_holds(expected.len() as u64).await;
    assert_eq!(stage.outbox().await, expected);
    stage.end().await;
}

async fn acknowledgements_out_of_order_clear_every_row_but_the_returned_one(database: TestDatabase) {
    let mut stage = Stage::by_hand_off(database).await;
    stage.send(messages(10)).await;
    let publications = stage.publications(10).await;
    for n in [8, 2, 5, 7, 1, 3, 4, 6] {
        publications[n].ack();
    }
    publications[9].give_back();
    publications[9].ack();
    publications[0].ack();
    stage.outbox_holds(1).await;
    assert_eq!(stage.outbox().await, ["m-0009 UNROUTABLE"]);
    stage.end().await;
}

async fn a_refused_message_goes_out_again_with_its_id_until_it_is_parked_and_holds_up_nobody(
    database: TestDatabase,
) {
    let mut stage = Stage::with(database, true, |relay| relay.max_rejections = 3).await;
    stage.send(vec![message("refused")]).await;
    for round in 0..3 {
        let publication = stage.publication().await;
        assert_eq!(publication.message_id(), "refused");
        publication.nack();
        stage.send(vec![message(&format!("good-{round}"))]).await;
        // The refused one may come again before it: its pause is short.
        let next = stage.publication().await;
        assert_eq!(next.message_id(), format!("good-{round}"), "it waits for its turn");
        next.ack();
        stage.outbox_holds(1).await;
    }
    let parked = "SELECT count(*) FROM outbox WHERE state = 'REJECTED' AND publish_attempts = 3";
    assert_eq!(stage.database.number(parked).await, 1);
    stage.end().await;
}

async fn a_message_that_is_never_confirmed_goes_out_again_over_a_new_connection(database: TestDatabase) {
    let mut stage =
        Stage::with(database, false, |relay| relay.confirm_timeout = Duration::from_secs(2)).await;
    stage.send(vec![message("m-1")]).await;
    let first = stage.publication().await;
    let second = stage.publication().await;
    assert_eq!((first.message_id(), second.message_id()), ("m-1", "m-1"));
    assert_ne!(first.line.id(), second.line.id());
    assert_eq!(stage.outbox().await, ["m-1 READY"], "nothing was cleared");
    // Whoever answers on a connection that was given up is not heard.
    first.ack();
    second.ack();
    stage.outbox_holds(0).await;
    stage.up("relay").await;
    stage.end().await;
}

async fn an_answer_for_a_row_that_another_relay_has_taken_changes_nothing(database: TestDatabase) {
    let mut stage = Stage::by_hand_off(database).await;
    stage.send(messages(4)).await;
    let publications = stage.publications(4).await;
    stage.database.execute("UPDATE outbox SET lease_owner = 'another' WHERE message_id <> 'm-0003'").await;
    publications[0].ack();
    publications[1].give_back();
    publications[1].ack();
    publications[2].nack();
    publications[3].ack();
    // Outcomes are written down in their order, the last one's among the others or after them.
    stage.outbox_holds(3).await;
    assert_eq!(stage.outbox().await, ["m-0000 READY", "m-0001 READY", "m-0002 READY"]);
    let theirs = "SELECT count(*) FROM outbox WHERE lease_owner = 'another' AND publish_attempts = 0";
    assert_eq!(stage.database.number(theirs).await, 3);
    stage.end().await;
}

/// A way in which a connection or channel ends.
type End = fn(&Publication);

async fn however_a_connection_ends_what_has_no_answer_goes_out_again(database: TestDatabase) {
    let mut stage = Stage::by_hand_off(database).await;
    let ends: [(&str, End); 5] = [
        ("cut", |last| last.line.cut()),
        ("closed by an operator", |last| last.line.close(320, "CONNECTION_FORCED")),
        ("closed without an error", |last| last.line.close(200, "goodbye")),
        ("a broken channel", |last| last.close_channel(541, "INTERNAL_ERROR")),
        ("a channel closed without an error", |last| last.close_channel(200, "goodbye")),
    ];
    for (name, end) in ends {
        stage.send(messages(20)).await;
        let publications = stage.publications(20).await;
        // Answered, and not to be believed: its return could still hang on the answer to another.
        publications[4].ack();
        // Returned, and not acknowledged yet.
        publications[19].give_back();
        end(&publications[19]);
        let again = stage.publications(20).await;
        let mut ids: Vec<_> = again.iter().map(Publication::message_id).collect();
        ids.sort_unstable();
        assert_eq!(ids, messages(20).iter().map(|m| &m.envelope.message_id).collect::<Vec<_>>(), "{name}");
        assert_eq!(stage.outbox().await.len(), 20, "{name}: nothing was cleared");
        again.last().unwrap().ack_all();
        stage.outbox_holds(0).await;
        stage.up("relay").await;
    }
    stage.end().await;
}

async fn a_blocked_connection_is_waited_for_and_kept(database: TestDatabase) {
    let timeout = Duration::from_secs(2);
    let mut stage = Stage::with(database, false, |relay| relay.confirm_timeout = timeout).await;
    stage.send(vec![message("before")]).await;
    let before = stage.publication().await;
    before.ack();
    stage.outbox_holds(0).await;
    stage.broker.block("low on memory");
    stage.down("broker", "blocked by the broker: low on memory").await;
    stage.send(messages(20)).await;
    // As long as one takes to be given up that is not blocked.
    let another = TestDatabase::sqlite().await;
    let mut another = Stage::with(another, false, |relay| relay.confirm_timeout = timeout).await;
    another.send(vec![message("unanswered")]).await;
    let (first, again) = (another.publication().await, another.publication().await);
    assert_ne!(first.line.id(), again.line.id());
    again.ack();
    another.end().await;
    assert!(stage.heard.publications.try_recv().is_err(), "nothing is published");
    stage.broker.unblock();
    let after = stage.publications(20).await;
    assert!(after.iter().all(|publication| publication.line.id() == before.line.id()));
    after.last().unwrap().ack_all();
    stage.outbox_holds(0).await;
    stage.up("broker").await;
    stage.end().await;
}

async fn what_is_under_way_is_bounded_by_its_bytes_too(database: TestDatabase) {
    let mut stage = Stage::with(database, false, |relay| relay.max_message_bytes = 1 << 20).await;
    let mut large = messages(10);
    for message in &mut large {
        message.envelope.body = Bytes::from(vec![7; 1 << 20]);
    }
    stage.send(large).await;
    let first = stage.publications(4).await;
    // Of another lane. A fifth of the large ones would have been in line before it.
    let mut other = message("other");
    "payment.command".clone_into(&mut other.routing_key);
    stage.send(vec![other]).await;
    let other = stage.publication().await;
    assert_eq!(other.message_id(), "other");
    other.ack();
    first.iter().for_each(Publication::ack);
    for _ in 0..6 {
        stage.publication().await.ack();
    }
    stage.outbox_holds(0).await;
    stage.end().await;
}
