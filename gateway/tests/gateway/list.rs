//! Lists, their filters and their pages.

use std::time::Duration;

use tonic::{Code, Status};
use waybill_proto::v1::{self, DispatchState, ListDispatchesRequest, ListDispatchesResponse};
use waybill_test_support::{TestDatabase, on_both_databases};

use crate::{
    rig::{Rig, order},
    saga,
};

on_both_databases!(
    pages_cover_everything_once_newest_first,
    every_filter_selects_what_it_names,
    of_one_order_the_live_dispatch_is_listed_with_those_before_it,
    a_window_includes_its_beginning_and_not_its_end,
    a_token_is_good_for_its_own_filters_only,
    sizes_out_of_range_are_refused,
);

async fn list(rig: &Rig, request: ListDispatchesRequest) -> Result<ListDispatchesResponse, Status> {
    rig.client.clone().list_dispatches(request).await.map(tonic::Response::into_inner)
}

async fn pages_cover_everything_once_newest_first(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let mut expected = Vec::new();
    for n in 0..7 {
        expected.insert(0, rig.accepted(&n.to_string()).await);
    }
    // Two branches that meet on a page: some have begun, some have not.
    for id in expected.iter().step_by(2) {
        saga::stands(&rig.database, id, "RUNNING", "RUNNING,PENDING,PENDING,PENDING", 1).await;
    }
    let both = vec![DispatchState::Accepted.into(), DispatchState::InProgress.into()];
    for states in [Vec::new(), both] {
        let mut request = ListDispatchesRequest { page_size: 3, states, ..Default::default() };
        let mut pages = Vec::new();
        loop {
            let page = list(&rig, request.clone()).await.unwrap();
            pages.push(page.dispatches.into_iter().map(|dispatch| dispatch.dispatch_id).collect::<Vec<_>>());
            // Accepted in between, it appears on no later page.
            rig.accepted(&format!("late-{}-{}", pages.len(), request.states.len())).await;
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        let listed = pages.concat();
        assert!(listed.is_sorted_by(|a, b| a > b));
        assert_eq!(listed[listed.len() - 7..], expected);
        assert!(pages.iter().rev().skip(1).all(|page| page.len() == 3));
    }
    rig.end().await;
}

/// One dispatch of each state, two hours apart, of two customers in turn.
async fn one_of_each_state(rig: &Rig) -> Vec<String> {
    let mut ids = Vec::new();
    let sagas = ["", "RUNNING", "COMPLETED", "COMPENSATING", "COMPENSATED", "STUCK"];
    for (n, state) in sagas.into_iter().enumerate() {
        let wire = v1::DispatchRequested { customer_id: format!("c-{}", n % 2), ..order(&n.to_string()) };
        ids.push(rig.request(wire).await.unwrap().dispatch_id);
        if !state.is_empty() {
            saga::stands(&rig.database, &ids[n], state, "PENDING,PENDING,PENDING,PENDING", 1).await;
        }
        rig.clock.advance(Duration::from_hours(2));
    }
    ids
}

/// Which of `ids` are listed, by their index.
async fn selected(rig: &Rig, ids: &[String], request: ListDispatchesRequest) -> Vec<usize> {
    let listed = list(rig, request).await.unwrap().dispatches;
    let index = |d: &v1::Dispatch| ids.iter().position(|id| *id == d.dispatch_id).unwrap();
    listed.iter().map(index).collect()
}

async fn every_filter_selects_what_it_names(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let ids = one_of_each_state(&rig).await;
    let selected = async |request| selected(&rig, &ids, request).await;
    let states = |states: &[i32]| ListDispatchesRequest { states: states.to_vec(), ..Default::default() };
    assert_eq!(selected(ListDispatchesRequest::default()).await, [5, 4, 3, 2, 1, 0]);
    for (n, state) in [1, 2, 3, 4, 5, 6].into_iter().enumerate() {
        assert_eq!(selected(states(&[state])).await, [n], "{state}");
    }
    assert_eq!(selected(states(&[6, 1, 3])).await, [5, 2, 0]);
    let customer = ListDispatchesRequest { customer_id: "c-1".to_owned(), ..Default::default() };
    assert_eq!(selected(customer.clone()).await, [5, 3, 1]);
    assert_eq!(selected(ListDispatchesRequest { states: vec![2, 6], ..customer }).await, [5, 1]);
    let by_order = ListDispatchesRequest { order_id: "o-2".to_owned(), ..Default::default() };
    assert_eq!(selected(by_order.clone()).await, [2]);
    assert_eq!(selected(ListDispatchesRequest { states: vec![1], ..by_order }).await, [0_usize; 0]);
    rig.end().await;
}

async fn of_one_order_the_live_dispatch_is_listed_with_those_before_it(database: TestDatabase) {
    let rig = Rig::new(database).await;
    rig.accepted("2").await;
    let mut ids = Vec::new();
    for n in 0..3 {
        let wire = v1::DispatchRequested { message_id: format!("m-1-{n}"), ..order("1") };
        ids.push(rig.request(wire).await.unwrap().dispatch_id);
        if n < 2 {
            saga::stands(&rig.database, &ids[n], "COMPENSATED", "COMPENSATED,REFUSED,PENDING,PENDING", 3)
                .await;
        }
    }
    let of_order = ListDispatchesRequest { order_id: "o-1".to_owned(), ..Default::default() };
    let of_state = |state: i32| ListDispatchesRequest { states: vec![state], ..of_order.clone() };
    let selected = async |request| selected(&rig, &ids, request).await;
    assert_eq!(selected(of_order.clone()).await, [2, 1, 0]);
    assert_eq!(selected(of_state(DispatchState::Accepted.into())).await, [2]);
    assert_eq!(selected(of_state(DispatchState::Cancelled.into())).await, [1, 0]);
    // The pages, too, go from one to the other.
    let first = list(&rig, ListDispatchesRequest { page_size: 2, ..of_order.clone() }).await.unwrap();
    let rest = ListDispatchesRequest { page_token: first.next_page_token, ..of_order };
    assert_eq!((first.dispatches.len(), selected(rest).await), (2, vec![0]));
    rig.end().await;
}

async fn a_window_includes_its_beginning_and_not_its_end(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let ids = one_of_each_state(&rig).await;
    let selected = async |request| selected(&rig, &ids, request).await;
    let accepted = async |n: usize| rig.get(&ids[n]).await.unwrap().accepted_at;
    let window = ListDispatchesRequest {
        accepted_from: accepted(1).await,
        accepted_to: accepted(4).await,
        ..Default::default()
    };
    assert_eq!(selected(window.clone()).await, [3, 2, 1]);
    assert_eq!(selected(ListDispatchesRequest { states: vec![3, 4], ..window }).await, [3, 2]);
    rig.end().await;
}

async fn a_token_is_good_for_its_own_filters_only(database: TestDatabase) {
    let rig = Rig::new(database).await;
    rig.accepted("1").await;
    rig.accepted("2").await;
    let first = ListDispatchesRequest { page_size: 1, ..Default::default() };
    let page_token = list(&rig, first.clone()).await.unwrap().next_page_token;
    let second = ListDispatchesRequest { page_token, ..first };
    assert_eq!(list(&rig, second.clone()).await.unwrap().dispatches.len(), 1);
    let larger = ListDispatchesRequest { page_size: 10, ..second.clone() };
    assert!(list(&rig, larger).await.is_ok(), "the size may change");
    let others = [
        ListDispatchesRequest { customer_id: "c-1".to_owned(), ..second.clone() },
        ListDispatchesRequest { states: vec![1], ..second.clone() },
        ListDispatchesRequest { page_token: format!("{}A", second.page_token), ..second.clone() },
        ListDispatchesRequest { page_token: "garbage".to_owned(), ..second },
    ];
    for (n, other) in others.into_iter().enumerate() {
        let outcome = list(&rig, other).await;
        // A longer token may decode to another id: harmless, but it is not one of ours here.
        assert_eq!(outcome.unwrap_err().code(), Code::InvalidArgument, "{n}");
    }
    rig.end().await;
}

async fn sizes_out_of_range_are_refused(database: TestDatabase) {
    let rig = Rig::new(database).await;
    for page_size in [-1, 1_001] {
        let request = ListDispatchesRequest { page_size, ..Default::default() };
        assert_eq!(list(&rig, request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    for states in [vec![0], vec![7], vec![1, 99]] {
        let request = ListDispatchesRequest { states, ..Default::default() };
        assert_eq!(list(&rig, request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let empty = list(&rig, ListDispatchesRequest { page_size: 1_000, ..Default::default() }).await.unwrap();
    assert_eq!(empty, ListDispatchesResponse::default());
    rig.end().await;
}
