//! The invariants can fail: each protects against a mistake, and finds it when it is made.

use stateright::{Checker, HasDiscoveries, Model};

use crate::{
    Shipped,
    faults::{Broken, Faults},
    property, shipped,
};

/// Whether `invariant` fails.
fn fails(model: Shipped<1>, invariant: &'static str) -> bool {
    let until = HasDiscoveries::AnyOf([invariant].into());
    let checker = model.checker().finish_when(until).spawn_bfs().join();
    let path = checker.discovery(invariant).map(stateright::Path::into_actions);
    path.inspect(|actions| println!("{invariant}: {actions:?}")).is_some()
}

/// With the same faults, the invariant holds for what is shipped and fails for what is broken.
fn finds(broken: Broken, faults: Faults, invariant: &'static str) {
    assert!(!fails(shipped(1, faults), invariant), "{invariant}: fails for what is shipped");
    let model = Shipped { broken: Some(broken), ..shipped(1, faults) };
    assert!(fails(model, invariant), "{invariant}: does not find {broken:?}");
}

#[test]
fn an_acknowledgement_before_the_commit_is_found() {
    let faults = Faults { copies: 1, ..Faults::default() };
    finds(Broken::AckBeforeCommit, faults, property::NOTHING_LOST);
}

#[test]
fn a_row_cleared_before_the_confirm_is_found() {
    let faults = Faults { unheard: 1, ..Faults::default() };
    finds(Broken::ClearedBeforeConfirm, faults, property::NOTHING_LOST);
}

#[test]
fn a_compensation_without_a_mark_is_found() {
    let faults = Faults { cancels: 1, ..Faults::default() };
    finds(Broken::NoMark, faults, property::NOTHING_REMAINS);
}

#[test]
fn an_inbox_outside_the_transaction_is_found() {
    let faults = Faults { copies: 1, ..Faults::default() };
    finds(Broken::InboxApart, faults, property::APPLIED_ONCE);
}

#[test]
fn a_participant_that_trusts_its_inbox_alone_is_found() {
    let faults = Faults { copies: 1, purges: 1, ..Faults::default() };
    finds(Broken::InboxAlone, faults, property::EFFECT_ONCE);
}

#[test]
fn a_gateway_that_never_sends_again_is_found() {
    let faults = Faults { amnesias: 1, ..Faults::default() };
    finds(Broken::NoReconcile, faults, property::ENDS);
}

#[test]
fn a_consumer_that_is_silent_about_what_it_knows_is_found() {
    let faults = Faults { amnesias: 1, ..Faults::default() };
    finds(Broken::NoReplyToDuplicates, faults, property::NOT_STUCK);
}

#[test]
fn a_cancel_request_that_is_not_kept_is_found() {
    let faults = Faults { amnesias: 1, cancels: 1, ..Faults::default() };
    finds(Broken::CancelNotKept, faults, property::CANCEL_HEARD);
}
