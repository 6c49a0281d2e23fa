//! Stopping.

use std::time::Duration;

use tokio::{net::TcpStream, time::timeout};
use tokio_util::sync::CancellationToken;
use waybill_test_support::{TestDatabase, on_both_databases, patience::until};

use crate::rig::{PATIENCE, Rig, listen, order};

on_both_databases!(
    a_call_in_flight_has_its_receipt_before_the_end,
    a_peer_that_never_speaks_does_not_hold_up_the_end,
);

async fn a_call_in_flight_has_its_receipt_before_the_end(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let lock = rig.lock().await;
    let client = rig.another_client().await;
    let mut asking = client.clone();
    let asked = tokio::spawn(async move { asking.request_dispatch(order("1")).await });
    tokio::task::yield_now().await;
    rig.has_read_all_of(&client).await;
    drop(client);
    rig.stop.cancel();
    let address = rig.address;
    until("the closed door", async || TcpStream::connect(address).await.is_err()).await;
    assert!(!asked.is_finished());
    lock.release().await;
    assert!(!asked.await.unwrap().unwrap().into_inner().duplicate);
    let database = rig.end().await;
    assert_eq!(database.number("SELECT count(*) FROM dispatches").await, 1);
}

async fn a_peer_that_never_speaks_does_not_hold_up_the_end(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let (listener, address) = listen().await;
    let stop = CancellationToken::new();
    let gateway = rig.another_gateway().await;
    let served = tokio::spawn(gateway.serve(listener, stop.clone(), Duration::from_millis(200)));
    let silent = TcpStream::connect(address).await.unwrap();
    // Accepted in this order: once this one is served, so is the silent one.
    drop(crate::rig::connect(address).await);
    stop.cancel();
    timeout(PATIENCE, served).await.expect("it ends all the same").unwrap();
    drop(silent);
    rig.end().await;
}
