//! The dead-letter desk over gRPC: found, shown, sent again once, edited, given up; and every bad request told.

use std::time::Duration;

use prost::{Message, Name};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;
use waybill_messaging::{
    Envelope, StoreError, TraceContext, Transaction, Tx,
    dead_letter::{self, DeadLetter, DeadLetterKind},
};
use waybill_proto::v1::{
    self, DeadLetterFilter, DeadLetterState, DeadLettersProgress, edit_dead_letter_request::Body,
};
use waybill_test_support::{TestDatabase, on_both_databases};

use crate::{
    operator::{Client, connect},
    rig::{Rig, open},
};

on_both_databases!(
    dead_letters_are_grouped_by_reason_and_type_and_listed_page_by_page,
    a_letter_is_shown_whole_with_its_body_decoded,
    a_replayed_letter_is_in_the_outbox_once_however_often_it_is_asked_for,
    two_who_replay_all_at_once_send_each_letter_once,
    a_dry_run_says_what_would_go_and_changes_nothing,
    what_was_handled_and_what_is_past_the_window_is_warned_of,
    a_letter_that_dies_again_can_be_replayed_again,
    an_edited_letter_goes_out_with_its_new_body_and_keeps_the_old_one,
    an_edit_that_would_have_no_effect_is_refused,
    a_discarded_letter_is_kept_and_not_sent,
    a_bad_request_about_dead_letters_is_refused_with_every_violation,
    a_database_that_is_away_is_named_and_the_others_can_be_asked,
);

struct Desk {
    rig: Rig,
    client: Client,
}

struct Bury(DeadLetter);

impl Transaction for Bury {
    const NAME: &'static str = "test.bury";
    type Output = ();

    async fn run(&self, tx: &Tx) -> Result<(), StoreError> {
        dead_letter::bury(tx, &self.0).await
    }
}

fn command(order_id: &str) -> v1::ReservePayment {
    v1::ReservePayment { order_id: order_id.to_owned(), ..v1::ReservePayment::default() }
}

fn letter(name: &str, reason: &str) -> DeadLetter {
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
    let envelope = Envelope {
        message_id: format!("{name}:ReservePayment"),
        type_name: v1::ReservePayment::full_name(),
        correlation_id: name.to_owned(),
        causation_id: "cause".to_owned(),
        reply_to: "saga.reply".to_owned(),
        trace: TraceContext { traceparent, tracestate: "a=b".to_owned() },
        attempt: 8,
        body: command(name).encode_to_vec().into(),
    };
    let (queue, routing_key) = ("payment".to_owned(), "by.another.way".to_owned());
    DeadLetter { queue, routing_key, envelope, kind: DeadLetterKind::Exhausted, reason: reason.to_owned() }
}

impl Desk {
    async fn new(database: TestDatabase) -> Self {
        Self::on(Rig::new(database).await).await
    }

    async fn on(rig: Rig) -> Self {
        let client = connect(&rig).await;
        Self { rig, client }
    }

    async fn bury(&self, letter: DeadLetter) {
        let store = open(&self.rig.database, &self.rig.clock).await;
        store.run(Bury(letter)).await.unwrap();
        store.close().await;
    }

    async fn list(&self, filter: DeadLetterFilter, states: Vec<DeadLetterState>) -> Vec<v1::DeadLetter> {
        let states = states.into_iter().map(Into::into).collect();
        let request = v1::ListDeadLettersRequest { filter: Some(filter), states, ..Default::default() };
        self.client.clone().list_dead_letters(request).await.unwrap().into_inner().dead_letters
    }

    /// The id of the only letter that is dead.
    async fn only(&self) -> String {
        let found = self.list(DeadLetterFilter::default(), vec![]).await;
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].id.clone()
    }

    async fn get(&self, id: &str) -> Result<v1::DeadLetter, Status> {
        let request = v1::GetDeadLetterRequest { id: id.to_owned() };
        self.client.clone().get_dead_letter(request).await.map(Response::into_inner)
    }

    /// The last that is told.
    async fn replay(&self, request: v1::ReplayDeadLettersRequest) -> Result<DeadLettersProgress, Status> {
        let mut stream = self.client.clone().replay_dead_letters(request).await?.into_inner();
        let mut told = None;
        while let Some(progress) = stream.message().await? {
            told = Some(progress);
        }
        Ok(told.unwrap())
    }

    async fn edit(&self, id: &str, body: Body) -> Result<v1::DeadLetter, Status> {
        let (reason, operator) = ("mended".to_owned(), "anna".to_owned());
        let request = v1::EditDeadLetterRequest { id: id.to_owned(), body: Some(body), reason, operator };
        self.client.clone().edit_dead_letter(request).await.map(Response::into_inner)
    }

    async fn outbox(&self) -> Vec<String> {
        let sql = "SELECT message_id || ' ' || exchange || ' ' || routing_key || ' ' || attempt || ' ' || state \
                   FROM outbox ORDER BY message_id";
        self.rig.database.texts(sql).await
    }

    async fn audit(&self) -> Vec<String> {
        let sql = "SELECT verb || ' ' || scope || ' ' || operator || ' ' || reason FROM operator_actions \
                   ORDER BY id";
        self.rig.database.texts(sql).await
    }
}

fn by_ids(ids: &[&str]) -> DeadLetterFilter {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    DeadLetterFilter { ids, ..DeadLetterFilter::default() }
}

fn request(filter: DeadLetterFilter) -> v1::ReplayDeadLettersRequest {
    let (reason, operator) = ("mended".to_owned(), "anna".to_owned());
    v1::ReplayDeadLettersRequest { filter: Some(filter), reason, operator, ..Default::default() }
}

fn everything() -> v1::ReplayDeadLettersRequest {
    v1::ReplayDeadLettersRequest { filter: None, all: true, ..request(DeadLetterFilter::default()) }
}

async fn dead_letters_are_grouped_by_reason_and_type_and_listed_page_by_page(database: TestDatabase) {
    let desk = Desk::new(database).await;
    for number in 0..5 {
        desk.bury(letter(&format!("d-{number}"), if number < 3 { "no account" } else { "timeout" })).await;
    }
    let groups = v1::GroupDeadLettersRequest::default();
    let groups = desk.client.clone().group_dead_letters(groups).await.unwrap().into_inner().groups;
    let told: Vec<_> =
        groups.iter().map(|g| (g.reason.as_str(), g.r#type.as_str(), g.dead_letters)).collect();
    let of = "dispatch.v1.ReservePayment";
    assert_eq!(told, [("no account", of, 3), ("timeout", of, 2)]);
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let filter = Some(DeadLetterFilter { reason: Some("no account".to_owned()), ..Default::default() });
        let request = v1::ListDeadLettersRequest { page_size: 2, page_token, filter, states: vec![] };
        let page = desk.client.clone().list_dead_letters(request).await.unwrap().into_inner();
        assert!(page.dead_letters.iter().all(|letter| letter.body.is_empty() && letter.body_size > 0));
        seen.extend(page.dead_letters.into_iter().map(|letter| letter.dispatch_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["d-2", "d-1", "d-0"], "the newest first");
    desk.rig.end().await;
}

async fn a_letter_is_shown_whole_with_its_body_decoded(database: TestDatabase) {
    let desk = Desk::new(database).await;
    desk.bury(letter("d-1", "timeout")).await;
    let shown = desk.get(&desk.only().await).await.unwrap();
    assert_eq!((shown.database.as_str(), shown.queue.as_str(), shown.attempt), ("common", "payment", 8));
    assert_eq!(shown.trace_id, "0af7651916cd43dd8448eb211c80319c");
    assert_eq!((shown.causation_id.as_str(), shown.reply_to.as_str()), ("cause", "saga.reply"));
    assert_eq!((shown.tracestate.as_str(), shown.times), ("a=b", 1));
    assert_eq!(shown.body, command("d-1").encode_to_vec());
    assert!(shown.body_json.contains("\"order_id\": \"d-1\""), "{}", shown.body_json);
    let mut garbage = letter("d-2", "malformed");
    garbage.envelope.body = b"\xff\xff".as_slice().into();
    desk.bury(garbage).await;
    let filter = DeadLetterFilter { dispatch_id: Some("d-2".to_owned()), ..Default::default() };
    let id = desk.list(filter, vec![]).await[0].id.clone();
    let shown = desk.get(&id).await.unwrap();
    assert_eq!((shown.body.as_slice(), shown.body_json.as_str()), (b"\xff\xff".as_slice(), ""));
    assert!(shown.body_error.starts_with("is no dispatch.v1.ReservePayment"), "{}", shown.body_error);
    desk.rig.end().await;
}

async fn a_replayed_letter_is_in_the_outbox_once_however_often_it_is_asked_for(database: TestDatabase) {
    let desk = Desk::new(database).await;
    desk.bury(letter("d-1", "timeout")).await;
    let id = desk.only().await;
    let told = desk.replay(request(by_ids(&[&id]))).await.unwrap();
    assert_eq!((told.matched, told.taken, told.resolved_before), (1, 1, 0));
    let again = desk.replay(request(by_ids(&[&id]))).await.unwrap();
    assert_eq!((again.matched, again.taken, again.resolved_before), (0, 0, 1));
    assert_eq!(desk.replay(everything()).await.unwrap().taken, 0);
    // By the queue's own key, whichever way it had come, and with all its attempts before it.
    assert_eq!(desk.outbox().await, ["d-1:ReservePayment dispatch payment.command 1 READY"]);
    let shown = desk.get(&id).await.unwrap();
    assert_eq!(shown.state(), DeadLetterState::Replayed);
    assert_eq!((shown.resolved_by.as_str(), shown.resolution.as_str()), ("anna", "mended"));
    assert_eq!(desk.audit().await, ["replay_dead_letter dispatch:d-1 anna mended"]);
    let request = v1::ListOperatorActionsRequest { dispatch_id: "d-1".to_owned(), ..Default::default() };
    let actions = desk.client.clone().list_operator_actions(request).await.unwrap().into_inner().actions;
    assert_eq!(actions[0].dead_letter_id, id);
    desk.rig.end().await;
}

async fn two_who_replay_all_at_once_send_each_letter_once(database: TestDatabase) {
    const LETTERS: u64 = 250;
    let desk = Desk::new(database).await;
    for number in 0..LETTERS {
        desk.bury(letter(&format!("d-{number}"), "timeout")).await;
    }
    let (one, other) = tokio::join!(desk.replay(everything()), desk.replay(everything()));
    assert_eq!(one.unwrap().taken + other.unwrap().taken, LETTERS);
    let sent = desk.outbox().await;
    assert_eq!(sent.len() as u64, LETTERS);
    assert!(sent.windows(2).all(|pair| pair[0] != pair[1]), "a message twice");
    assert_eq!(desk.audit().await.len() as u64, LETTERS);
    desk.rig.end().await;
}

async fn a_dry_run_says_what_would_go_and_changes_nothing(database: TestDatabase) {
    let desk = Desk::new(database).await;
    desk.bury(letter("d-1", "timeout")).await;
    desk.bury(letter("d-2", "no account")).await;
    let filter = DeadLetterFilter { reason: Some("timeout".to_owned()), ..Default::default() };
    let dry = v1::ReplayDeadLettersRequest { dry_run: true, ..request(filter) };
    let told = desk.replay(dry).await.unwrap();
    assert_eq!((told.matched, told.taken), (1, 0));
    assert_eq!((desk.outbox().await.len(), desk.audit().await.len()), (0, 0));
    assert_eq!(desk.list(DeadLetterFilter::default(), vec![]).await.len(), 2);
    desk.rig.end().await;
}

async fn what_was_handled_and_what_is_past_the_window_is_warned_of(database: TestDatabase) {
    let desk = Desk::new(database).await;
    desk.bury(letter("d-1", "timeout")).await;
    handled(&desk, "d-1:ReservePayment").await;
    desk.rig.clock.advance(Duration::from_hours(25));
    desk.bury(letter("d-2", "timeout")).await;
    for dry_run in [true, false] {
        let told = desk.replay(v1::ReplayDeadLettersRequest { dry_run, ..everything() }).await.unwrap();
        assert_eq!((told.matched, told.recorded, told.past_inbox_window), (2, 1, 1), "{told:?}");
        assert!(told.warnings[0].starts_with("1 were handled before"), "{told:?}");
        assert!(
            told.warnings[1].starts_with("1 died longer ago than the inbox remembers (86400 s)"),
            "{told:?}"
        );
    }
    desk.rig.end().await;
}

/// As its consumer would have recorded it.
async fn handled(desk: &Desk, message_id: &str) {
    let inbox = if desk.rig.database.is_postgres() { "inbox_0" } else { "inbox" };
    let now = desk.rig.clock.now().micros();
    let empty = if desk.rig.database.is_postgres() { "''::bytea" } else { "x''" };
    let sql = format!(
        "INSERT INTO {inbox} (consumer, message_id, received_at, reply_type, reply_body) \
         VALUES ('payment', '{message_id}', {now}, '', {empty})"
    );
    desk.rig.database.execute(&sql).await;
}

async fn a_letter_that_dies_again_can_be_replayed_again(database: TestDatabase) {
    let desk = Desk::new(database).await;
    desk.bury(letter("d-1", "timeout")).await;
    let id = desk.only().await;
    assert_eq!(desk.replay(everything()).await.unwrap().taken, 1);
    desk.bury(letter("d-1", "still away")).await;
    let shown = desk.get(&id).await.unwrap();
    assert_eq!((shown.state(), shown.times, shown.reason.as_str()), (DeadLetterState::Dead, 2, "still away"));
    assert!(shown.resolved_at.is_none() && shown.resolved_by.is_empty());
    assert_eq!(desk.replay(everything()).await.unwrap().taken, 1);
    assert_eq!(desk.outbox().await.len(), 2);
    desk.rig.end().await;
}

async fn an_edited_letter_goes_out_with_its_new_body_and_keeps_the_old_one(database: TestDatabase) {
    let desk = Desk::new(database).await;
    desk.bury(letter("d-1", "malformed")).await;
    let id = desk.only().await;
    let wrong = desk.edit(&id, Body::Json(r#"{"colour": "red"}"#.to_owned())).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    assert!(wrong.message().contains("colour"), "{wrong}");
    let wrong = desk.edit(&id, Body::Raw(b"\xff".to_vec())).await.unwrap_err();
    assert_eq!(wrong.get_details_bad_request().unwrap().field_violations[0].field, "raw");
    assert_eq!(desk.audit().await.len(), 0);
    let shown = desk.edit(&id, Body::Json(r#"{"order_id": "mended"}"#.to_owned())).await.unwrap();
    assert_eq!(shown.state(), DeadLetterState::Replayed);
    assert_eq!(shown.body, command("mended").encode_to_vec());
    assert_eq!(shown.old_bodies.len(), 1);
    assert_eq!(shown.old_bodies[0].body, command("d-1").encode_to_vec());
    assert!(shown.old_bodies[0].body_json.contains("d-1"));
    assert_eq!(desk.outbox().await, ["d-1:ReservePayment dispatch payment.command 1 READY"]);
    let sent = desk.rig.database.query("SELECT body FROM outbox").await;
    assert_eq!(sent[0].try_get_by_index::<Vec<u8>>(0).unwrap(), command("mended").encode_to_vec());
    assert_eq!(desk.audit().await, ["edit_dead_letter dispatch:d-1 anna mended"]);
    desk.rig.end().await;
}

async fn an_edit_that_would_have_no_effect_is_refused(database: TestDatabase) {
    let desk = Desk::new(database).await;
    desk.bury(letter("d-1", "timeout")).await;
    let id = desk.only().await;
    let body = || Body::Raw(command("mended").encode_to_vec());
    handled(&desk, "d-1:ReservePayment").await;
    let refused = desk.edit(&id, body()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("was handled meanwhile"), "{refused}");
    assert_eq!(desk.replay(everything()).await.unwrap().taken, 1);
    let refused = desk.edit(&id, body()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("not dead any more"), "{refused}");
    assert_eq!(desk.get(&id).await.unwrap().old_bodies.len(), 0);
    desk.rig.end().await;
}

async fn a_discarded_letter_is_kept_and_not_sent(database: TestDatabase) {
    let desk = Desk::new(database).await;
    desk.bury(letter("d-1", "timeout")).await;
    let mut foreign = letter("", "malformed");
    foreign.envelope.message_id = String::new();
    desk.bury(foreign).await;
    let (reason, operator) = ("a load test".to_owned(), "anna".to_owned());
    let all = v1::DiscardDeadLettersRequest { all: true, reason, operator, ..Default::default() };
    let mut stream = desk.client.clone().discard_dead_letters(all).await.unwrap().into_inner();
    let mut told = None;
    while let Some(progress) = stream.message().await.unwrap() {
        told = Some(progress.taken);
    }
    assert_eq!(told, Some(2));
    assert_eq!(desk.outbox().await.len(), 0);
    let kept = desk.list(DeadLetterFilter::default(), vec![DeadLetterState::Discarded]).await;
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|letter| letter.resolution == "a load test"));
    let without = kept.iter().find(|letter| letter.dispatch_id.is_empty()).unwrap();
    let audited = format!("discard_dead_letter dead-letter:{} anna a load test", without.id);
    assert!(desk.audit().await.contains(&audited), "{audited}");
    desk.rig.end().await;
}

async fn a_bad_request_about_dead_letters_is_refused_with_every_violation(database: TestDatabase) {
    let desk = Desk::new(database).await;
    let fields = |status: &Status| {
        let details = status.get_details_bad_request().unwrap();
        details.field_violations.into_iter().map(|violation| violation.field).collect::<Vec<_>>()
    };
    let nothing = v1::ReplayDeadLettersRequest { rate: 1_000_000, ..Default::default() };
    let status = desk.replay(nothing).await.unwrap_err();
    assert_eq!(fields(&status), ["reason", "operator", "rate", "filter"]);
    let filter = DeadLetterFilter {
        ids: vec!["x".to_owned()],
        database: Some("elsewhere".to_owned()),
        kind: 9,
        queue: Some("\0".to_owned()),
        ..DeadLetterFilter::default()
    };
    let status =
        desk.replay(v1::ReplayDeadLettersRequest { all: true, ..request(filter) }).await.unwrap_err();
    let expected = ["all", "filter.ids", "filter.database", "filter.kind", "filter.queue"];
    assert_eq!(fields(&status), expected);
    let list = v1::ListDeadLettersRequest {
        page_size: -1,
        page_token: "x".to_owned(),
        states: vec![7],
        ..Default::default()
    };
    let status = desk.client.clone().list_dead_letters(list).await.unwrap_err();
    assert_eq!(fields(&status), ["page_size", "page_token", "states"]);
    let unknown = uuid::Uuid::now_v7().to_string();
    assert_eq!(desk.get("x").await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(desk.get(&unknown).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(desk.edit(&unknown, Body::Raw(vec![])).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(desk.replay(request(by_ids(&[&unknown]))).await.unwrap_err().code(), Code::NotFound);
    desk.rig.end().await;
}

async fn a_database_that_is_away_is_named_and_the_others_can_be_asked(database: TestDatabase) {
    let elsewhere =
        if database.is_postgres() { TestDatabase::postgres().await } else { TestDatabase::sqlite().await };
    let desk = Desk::on(Rig::beside(database, &[("payment", &elsewhere)]).await).await;
    desk.bury(letter("d-1", "timeout")).await;
    let there = open(&elsewhere, &desk.rig.clock).await;
    there.run(Bury(letter("d-2", "timeout"))).await.unwrap();
    let found = desk.list(DeadLetterFilter::default(), vec![]).await;
    let told: Vec<_> = found.iter().map(|l| (l.database.as_str(), l.dispatch_id.as_str())).collect();
    assert_eq!(told, [("payment", "d-2"), ("common", "d-1")]);
    assert_eq!(desk.replay(request(by_ids(&[&found[0].id]))).await.unwrap().taken, 1);
    assert_eq!(elsewhere.number("SELECT count(*) FROM outbox").await, 1, "where its consumer is");
    assert_eq!(desk.outbox().await.len(), 0);
    let actions = v1::ListOperatorActionsRequest::default();
    let actions = desk.client.clone().list_operator_actions(actions).await.unwrap().into_inner().actions;
    assert_eq!(actions[0].dead_letter_id, found[0].id, "the audit of every database");
    elsewhere.execute("ALTER TABLE dead_letters RENAME TO gone").await;
    let request = v1::ListDeadLettersRequest::default();
    let failed = desk.client.clone().list_dead_letters(request).await.unwrap_err();
    assert!(failed.message().starts_with("database payment: "), "{failed}");
    let common = DeadLetterFilter { database: Some("common".to_owned()), ..Default::default() };
    assert_eq!(desk.list(common, vec![]).await.len(), 1);
    there.close().await;
    desk.rig.end().await;
}
