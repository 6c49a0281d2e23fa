//! Watching a dispatch.

use tonic::Code;
use waybill_proto::v1::{DispatchState, DispatchTransition, WatchDispatchRequest};
use waybill_test_support::{TestDatabase, on_both_databases};

use crate::{rig::Rig, saga};

on_both_databases!(
    the_past_comes_first_then_the_present_until_the_end,
    a_watch_ends_although_the_history_of_the_ended_dispatch_is_forgotten,
    a_watcher_resumes_where_it_was,
    a_stuck_dispatch_ends_the_stream_unless_it_has_moved_on,
    watching_what_is_unknown_is_not_found,
    stopping_tells_a_watcher_where_to_go_on,
);

type Stream = tonic::Streaming<DispatchTransition>;

async fn watch(rig: &Rig, dispatch_id: &str, after_version: u64) -> Stream {
    let request = WatchDispatchRequest { dispatch_id: dispatch_id.to_owned(), after_version };
    rig.client.clone().watch_dispatch(request).await.unwrap().into_inner()
}

/// One transition of the saga. It commits both at once; here, one after the other, the history comes first,
/// so that as with the saga nobody sees an instance ahead of its history.
pub(crate) async fn goes_to(rig: &Rig, id: &str, version: u64, state: &str, event: &str) {
    saga::happened(&rig.database, id, version, state, event).await;
    saga::stands(&rig.database, id, state, "RUNNING,PENDING,PENDING,PENDING", version).await;
}

async fn next(stream: &mut Stream) -> Option<(u64, DispatchState, String)> {
    let transition = stream.message().await.unwrap()?;
    Some((transition.version, transition.state(), transition.event))
}

async fn the_past_comes_first_then_the_present_until_the_end(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let id = rig.accepted("1").await;
    goes_to(&rig, &id, 1, "RUNNING", "started").await;
    let mut streams = [watch(&rig, &id, 0).await, watch(&rig, &id, 0).await];
    for stream in &mut streams {
        assert_eq!(next(stream).await.unwrap(), (1, DispatchState::InProgress, "started".to_owned()));
    }
    goes_to(&rig, &id, 2, "RUNNING", "accept_order_done").await;
    for stream in &mut streams {
        assert_eq!(
            next(stream).await.unwrap(),
            (2, DispatchState::InProgress, "accept_order_done".to_owned())
        );
    }
    goes_to(&rig, &id, 3, "COMPLETED", "complete_order_done").await;
    for stream in &mut streams {
        assert_eq!(next(stream).await.unwrap().1, DispatchState::Completed);
        assert_eq!(next(stream).await, None, "the end is the end");
    }
    rig.end().await;
}

async fn a_watcher_resumes_where_it_was(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let id = rig.accepted("1").await;
    // From before the saga has begun.
    let mut early = watch(&rig, &id, 0).await;
    goes_to(&rig, &id, 1, "RUNNING", "started").await;
    goes_to(&rig, &id, 2, "COMPENSATED", "cancelled").await;
    assert_eq!(next(&mut early).await.unwrap().0, 1);
    let mut resumed = watch(&rig, &id, 1).await;
    assert_eq!(next(&mut resumed).await.unwrap(), (2, DispatchState::Cancelled, "cancelled".to_owned()));
    assert_eq!(next(&mut resumed).await, None);
    let mut after_the_end = watch(&rig, &id, 2).await;
    assert_eq!(next(&mut after_the_end).await, None);
    rig.end().await;
}

async fn a_watch_ends_although_the_history_of_the_ended_dispatch_is_forgotten(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let id = rig.accepted("1").await;
    saga::stands(&rig.database, &id, "COMPLETED", "DONE,DONE,DONE,DONE", 5).await;
    assert_eq!(next(&mut watch(&rig, &id, 0).await).await, None);
    rig.end().await;
}

async fn a_stuck_dispatch_ends_the_stream_unless_it_has_moved_on(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let id = rig.accepted("1").await;
    goes_to(&rig, &id, 1, "STUCK", "complete_order_timed_out").await;
    let mut stuck = watch(&rig, &id, 0).await;
    assert_eq!(next(&mut stuck).await.unwrap().1, DispatchState::Stuck);
    assert_eq!(next(&mut stuck).await, None);
    goes_to(&rig, &id, 2, "RUNNING", "resumed").await;
    let mut resumed = watch(&rig, &id, 0).await;
    assert_eq!(next(&mut resumed).await.unwrap().1, DispatchState::Stuck);
    assert_eq!(next(&mut resumed).await.unwrap().1, DispatchState::InProgress);
    goes_to(&rig, &id, 3, "COMPLETED", "complete_order_done").await;
    assert_eq!(next(&mut resumed).await.unwrap().1, DispatchState::Completed);
    assert_eq!(next(&mut resumed).await, None);
    rig.end().await;
}

async fn watching_what_is_unknown_is_not_found(database: TestDatabase) {
    let rig = Rig::new(database).await;
    for (dispatch_id, code) in [("nobody", Code::NotFound), ("", Code::InvalidArgument)] {
        let request = WatchDispatchRequest { dispatch_id: dispatch_id.to_owned(), after_version: 0 };
        assert_eq!(rig.client.clone().watch_dispatch(request).await.unwrap_err().code(), code);
    }
    rig.end().await;
}

async fn stopping_tells_a_watcher_where_to_go_on(database: TestDatabase) {
    let rig = Rig::new(database).await;
    let id = rig.accepted("1").await;
    goes_to(&rig, &id, 1, "RUNNING", "started").await;
    let mut stream = watch(&rig, &id, 0).await;
    assert_eq!(next(&mut stream).await.unwrap().0, 1);
    rig.stop.cancel();
    let status = stream.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("resume from version 1"), "{status}");
    drop(stream);
    rig.end().await;
}
