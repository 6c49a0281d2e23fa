//! Every step of the saga, done and undone, against every kind of failure: the saga ends as its definition says,
//! what was undone was undone in reverse and once, the tables are clean, and the fault struck where it was aimed.
//! Rows come from the definitions, so that a new step stands in the matrix by itself.
#![expect(clippy::unwrap_used, reason = "a test crate")]

mod again;
mod cell;
mod expected;
mod post;
mod stage;
mod story;
mod trouble;
mod verdict;
mod wire;

use std::{collections::BTreeSet, os::unix::process::ExitStatusExt, sync::Arc};

use futures_util::future::join_all;
use waybill_saga::{Action, Command, Definition, Kind};
use waybill_test_support::{TestDatabase, on_both_databases};

use crate::{
    again::deliver_everything_again,
    cell::{Cell, Fault, Impossible, Striker, cells, definitions},
    stage::Stage,
    story::Story,
};

on_both_databases!(
    a_saga_ends_as_its_definition_says_however_a_command_is_answered,
    a_participant_that_dies_at_any_command_changes_nothing,
    an_orchestrator_that_dies_at_any_answer_changes_nothing,
);

const SIGABRT: i32 = 6;

/// A row for each command of each definition, a column for each fault; and what the contract rules out is what the
/// kind of the step rules out.
#[test]
fn every_command_meets_every_fault_once_and_what_cannot_be_refused_cannot_turn_back() {
    for definition in definitions() {
        let strikers = [Striker::Wire, Striker::Participant, Striker::Orchestrator];
        let all: Vec<Cell> = strikers.into_iter().flat_map(|striker| cells(&definition, striker)).collect();
        let names: BTreeSet<String> = all.iter().map(Cell::name).collect();
        let commands = definition.steps.iter().flat_map(|step| [Some(step.command), step.compensation]);
        let commands: Vec<Command> = commands.flatten().collect();
        assert_eq!(names.len(), commands.len() * Fault::ALL.len());
        assert_eq!(all.len(), names.len());
        for cell in all {
            assert!(commands.contains(&cell.command()));
            let turns_back = cell.action == Action::Do && cell.step().kind != Kind::Retriable;
            let ruled_out = cell.fault == Fault::Refused && !turns_back;
            let reason = ruled_out.then_some(Impossible::NoRefusalInTheContract);
            assert_eq!(cell.impossible(), reason, "{}", cell.name());
        }
    }
}

async fn a_saga_ends_as_its_definition_says_however_a_command_is_answered(database: TestDatabase) {
    let definitions = definitions();
    join_all(definitions.iter().map(|definition| answered_in_every_way(&database, definition))).await;
}

/// All cells of a version at once.
async fn answered_in_every_way(database: &TestDatabase, definition: &Arc<Definition>) {
    let stage = Stage::new(database, definition, Striker::Wire).await;
    let telling = cells(definition, Striker::Wire).into_iter().map(async |cell| {
        let mut story = Story::begin(&stage, cell).await;
        story.turn_back(&stage).await;
        story.suffer(&stage).await;
        story.end(&stage).await;
        story
    });
    let stories = join_all(telling).await;
    verdict::check(&stage, &stories).await;
    deliver_everything_again(&stage, &stories).await;
    stage.stop().await;
}

async fn a_participant_that_dies_at_any_command_changes_nothing(database: TestDatabase) {
    everybody_dies(&database, Striker::Participant).await;
}

async fn an_orchestrator_that_dies_at_any_answer_changes_nothing(database: TestDatabase) {
    everybody_dies(&database, Striker::Orchestrator).await;
}

/// One cell of the newest version after the other, each with a process that dies at it. Who comes next ends it.
async fn everybody_dies(database: &TestDatabase, striker: Striker) {
    let definition = definitions().pop().unwrap();
    let mut stage = Stage::new(database, &definition, striker).await;
    let mut stories = Vec::new();
    for cell in cells(&definition, striker) {
        let mut story = Story::begin(&stage, cell).await;
        let (point, message_id, is_committed) = aim(&story.cell, &story.command_id());
        let fault = format!("{point}/{message_id}@1");
        let doomed = stage.mortal.clone().set("WAYBILL_TEST_FAULT", &fault).spawn();
        story.turn_back(&stage).await;
        let ended = doomed.ended().await;
        assert_eq!(ended.status.signal(), Some(SIGABRT), "it died at {fault}: {}", ended.status);
        let database = if striker == Striker::Orchestrator { &stage.front } else { &stage.back };
        let sql = format!("SELECT count(*) FROM inbox WHERE message_id = '{message_id}'");
        assert_eq!(database.number(&sql).await, i64::from(is_committed), "it died at {fault}");
        stories.push(story);
    }
    stage.revive().await;
    for story in &mut stories {
        story.end(&stage).await;
    }
    verdict::check(&stage, &stories).await;
    deliver_everything_again(&stage, &stories).await;
    stage.stop().await;
}

/// Where a process dies, at which message, and whether that one is handled then.
fn aim(cell: &Cell, command_id: &str) -> (&'static str, String, bool) {
    let (command, answer) = (command_id.to_owned(), format!("{command_id}:reply"));
    match cell.fault {
        Fault::ParticipantDiesBeforeCommit => ("before-commit", command, false),
        Fault::ParticipantDiesAfterCommit => ("after-commit", command, true),
        Fault::OrchestratorDiesBeforeCommit => ("before-commit", answer, false),
        Fault::OrchestratorDiesAfterCommit => ("after-commit", answer, true),
        other => panic!("{other:?} kills nobody"),
    }
}
