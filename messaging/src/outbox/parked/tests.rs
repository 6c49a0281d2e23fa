//! However many routing keys strangers choose, a round of probes looks at a few, and each has its turn.

use std::time::Duration;

use waybill_test_support::{TestDatabase, on_both_databases};

use super::*;
use crate::{
    Clock, Store, StoreSettings,
    outbox::turn::{Round, Turn},
    relay::HandOff,
};

on_both_databases!(every_key_has_its_turn_in_rounds_of_one_page, a_page_ends_where_there_is_no_more_room,);

/// Rows with these keys, two of each, as a publisher leaves what no queue takes.
async fn parked(database: &TestDatabase, keys: &[String]) -> Store {
    let mut rows = Vec::new();
    for (number, key) in keys.iter().chain(keys).enumerate() {
        let id = uuid::Uuid::from_u128(u128::try_from(number).unwrap());
        let id = if database.is_postgres() { format!("'{id}'") } else { format!("x'{}'", id.simple()) };
        let empty = if database.is_postgres() { "''" } else { "x''" };
        rows.push(format!(
            "({id}, 'm-{number}', '', 'dispatch', '{key}', '', '', '', '', '', 1, {empty}, 1, 1, 'UNROUTABLE', '', {PARKED}, 1, '')"
        ));
    }
    let into = crate::outbox::ROW;
    database.execute(&format!("INSERT INTO outbox ({into}) VALUES {}", rows.join(", "))).await;
    let settings = StoreSettings {
        url: database.url().to_owned(),
        connections: 2,
        statement_timeout: Duration::from_secs(30),
        clock: Clock::system(),
    };
    Store::open(settings, HandOff::none()).await.unwrap().0
}

fn keys(count: usize) -> Vec<String> {
    // In no order; one is empty.
    (0..count)
        .map(|n| if n == 7 { String::new() } else { format!("reply-{:04}", n * 7919 % 10_000) })
        .collect()
}

async fn probe(store: &Store, turn: &Turn, most: usize) -> (Page, Vec<Outgoing>) {
    let lease_until = store.clock().now().plus(Duration::from_mins(1));
    let lot = Lot { slot: 0, owner: "me".to_owned(), lease_until, lanes: Lane::all().collect(), most };
    store.run(Probe { lot, after: turn.after().map(str::to_owned) }).await.unwrap()
}

/// The keys of the rounds of one turn, and how many messages were taken.
async fn turn(store: &Store, most: usize) -> (Vec<Vec<String>>, usize) {
    let (mut turn, mut rounds, mut taken) = (Turn::default(), Vec::new(), 0);
    loop {
        let (page, messages) = probe(store, &turn, most).await;
        rounds.push(page.keys.iter().cloned().collect());
        taken += messages.len();
        let mut round = Round::default();
        round.add(page);
        turn.note(round);
        if turn.after().is_none() {
            return (rounds, taken);
        }
    }
}

async fn every_key_has_its_turn_in_rounds_of_one_page(database: TestDatabase) {
    let mut keys = keys(3 * PAGE + 1);
    let store = parked(&database, &keys).await;
    let (rounds, taken) = turn(&store, 10_000).await;
    assert_eq!(rounds.iter().map(Vec::len).collect::<Vec<_>>(), [PAGE, PAGE, PAGE, 1]);
    keys.sort();
    assert_eq!((rounds.concat(), taken), (keys.clone(), 2 * keys.len()));
    assert_eq!(turn(&store, 10_000).await.1, 0, "somebody has them");
}

async fn a_page_ends_where_there_is_no_more_room(database: TestDatabase) {
    let mut keys = keys(PAGE);
    let store = parked(&database, &keys).await;
    let (rounds, taken) = turn(&store, 20).await;
    keys.sort();
    assert_eq!((rounds.concat(), taken), (keys, 2 * PAGE));
    assert_eq!(rounds[0].len(), 10, "two messages of each");
}

#[test]
fn a_key_is_known_for_some_rounds_after_it_was_seen() {
    let (known, key) = (ParkedKeys::default(), BTreeSet::from(["reply".to_owned()]));
    known.add(&key);
    for _ in 0..KNOWN_FOR {
        known.end_round();
        assert!(known.contains("reply"));
    }
    known.end_round();
    assert!(!known.contains("reply"), "nor kept in memory");
}
