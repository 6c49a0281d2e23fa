//! Every world that the bounds allow, for one dispatch and for two.

use std::{
    collections::{BTreeSet, HashSet},
    time::Instant,
};

use stateright::{Checker, Model};

use crate::{
    Shipped,
    action::{Action, How},
    faults::Faults,
    machine::Machine,
    message::Message,
    shipped,
    world::{Flow, World},
};

/// Looks at every world. A run that saw fewer than `at_least` has not seen what it is there for.
fn explore<const N: usize>(model: Shipped<N>, at_least: usize) {
    let begun = Instant::now();
    let checker = model.checker().threads(2).spawn_bfs().join();
    let (worlds, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("{worlds} worlds, {depth} deep, in {:?}", begun.elapsed());
    checker.assert_properties();
    assert!(worlds >= at_least, "only {worlds} worlds");
}

#[test]
fn the_machine_is_asked_about_every_instance_that_can_be() {
    let instances = shipped::<1>(2, Faults::default()).machine.len();
    assert!(instances > 30, "only {instances} instances");
}

#[test]
fn without_a_fault_there_is_one_way_and_it_completes() {
    explore(shipped::<1>(1, Faults::default()), 10);
}

#[test]
fn one_dispatch_survives_one_of_each_fault_and_being_stuck() {
    let faults =
        Faults { copies: 2, unheard: 1, amnesias: 1, cancels: 1, refusals: 1, early: 2, ..Faults::default() };
    explore(shipped::<1>(1, faults), 800_000);
}

#[test]
fn one_dispatch_survives_with_a_second_attempt_for_every_step() {
    let faults = Faults { copies: 1, amnesias: 1, cancels: 1, refusals: 1, early: 2, ..Faults::default() };
    explore(shipped::<1>(2, faults), 50_000);
}

#[test]
fn one_dispatch_survives_an_inbox_that_forgets() {
    let faults = Faults { copies: 1, purges: 1, amnesias: 1, cancels: 1, early: 1, ..Faults::default() };
    explore(shipped::<1>(1, faults), 600_000);
}

#[test]
fn an_answer_that_comes_at_last_frees_a_stuck_saga() {
    // No message is lost, so nothing may be left stuck, although it gets there.
    explore(shipped::<1>(1, Faults { early: 4, cancels: 1, ..Faults::default() }), 1_000);
}

#[test]
fn one_dispatch_of_version_1_survives_one_of_each_fault() {
    let faults = Faults { copies: 1, amnesias: 1, cancels: 1, refusals: 1, early: 2, ..Faults::default() };
    explore(Shipped { machine: Machine::new(1, 1), ..shipped::<1>(1, faults) }, 20_000);
}

#[test]
fn two_dispatches_survive_what_hits_both() {
    let faults = Faults { copies: 1, amnesias: 1, cancels: 1, early: 1, ..Faults::default() };
    explore(shipped::<2>(1, faults), 1_000_000);
}

#[test]
fn two_dispatches_survive_what_hits_one() {
    let faults = Faults { copies: 1, cancels: 1, refusals: 1, early: 1, ..Faults::default() };
    explore(shipped::<2>(1, faults), 90_000);
}

/// Every way in which it can end: the worlds in which nothing moves any more.
fn outcomes<const N: usize>(model: &Shipped<N>) -> BTreeSet<([Flow; N], Faults)> {
    let (mut seen, mut pending, mut actions) = (HashSet::new(), model.init_states(), Vec::new());
    let mut outcomes = BTreeSet::new();
    while let Some(world) = pending.pop() {
        if seen.insert(world) {
            if model.rests(&world) {
                let World { mut flows, left } = world;
                flows.sort_unstable();
                outcomes.insert((flows, left));
            }
            model.actions(&world, &mut actions);
            pending.extend(actions.drain(..).map(|action| model.after(world, action)));
        }
    }
    outcomes
}

#[test]
fn the_reductions_hide_no_outcome() {
    let compare = |faults| {
        let mut model = shipped::<1>(1, faults);
        let reduced = outcomes(&model);
        model.reduced = false;
        assert!(!reduced.is_empty());
        assert_eq!(reduced, outcomes(&model));
    };
    compare(Faults { amnesias: 1, cancels: 1, refusals: 1, early: 1, ..Faults::default() });
    compare(Faults { copies: 1, cancels: 1, early: 1, ..Faults::default() });
    compare(Faults { copies: 1, unheard: 1, cancels: 1, ..Faults::default() });
    compare(Faults { copies: 1, purges: 1, ..Faults::default() });
}

#[test]
fn a_cancel_request_that_the_broker_forgets_is_sent_again_and_the_dispatch_is_undone() {
    let model = shipped::<1>(1, Faults { cancels: 1, amnesias: 1, ..Faults::default() });
    let (request, cancel) = (Message::Request, Message::Cancel);
    let path = [
        Action::Accept(0),
        Action::Cancel(0),
        Action::Publish(0, request),
        Action::Handle(0, request, How::Well),
        Action::Publish(0, cancel),
        Action::Amnesia,
        Action::CancelAgain(0),
    ];
    let mut world = path.into_iter().fold(model.init_states()[0], |world, action| {
        let mut possible = Vec::new();
        model.actions(&world, &mut possible);
        assert!(possible.contains(&action), "{action:?} is none of {possible:?}");
        model.after(world, action)
    });
    let mut possible = Vec::new();
    while !model.rests(&world) {
        model.actions(&world, &mut possible);
        world = model.after(world, possible[0]);
        possible.clear();
    }
    let saga = model.machine.instance(world.flows[0].saga).map(|instance| instance.state);
    assert_eq!(saga, Some(waybill_saga::InstanceState::Compensated));
}
