//! How a cell must end, as its definition says, written down apart from the machine.

use waybill_saga::Action;

use crate::cell::{Cell, Course, Fault};

/// The end of a cell.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) state: String,
    /// The whole history in order, but for answers that came too late. So each compensation stands in it once,
    /// and the order of all is seen.
    pub(crate) events: Vec<String>,
    /// Answers that came too late to matter.
    pub(crate) late: usize,
}

pub(crate) fn end(cell: &Cell) -> End {
    let count = cell.definition.steps.len();
    let mut events = vec!["started".to_owned()];
    let first_undone = match (cell.turned_back_at(), cell.course()) {
        (Some(last), _) => {
            events.extend((0..last).flat_map(|step| unharmed(cell, step, Action::Do)));
            let patience = cell.definition.steps[last].patience;
            events.extend(given_up(cell, last, Action::Do, patience.attempts));
            Some(last + 1)
        }
        (None, course) => {
            events.extend((0..cell.step).flat_map(|step| unharmed(cell, step, Action::Do)));
            events.extend(struck(cell));
            match course {
                Course::Refused => Some(cell.step),
                Course::GivenUp if !cell.is_stuck() => Some(cell.step + 1),
                Course::Unharmed | Course::Retried | Course::GivenUp => None,
            }
        }
    };
    match first_undone {
        None => events.extend((cell.step + 1..count).flat_map(|step| unharmed(cell, step, Action::Do))),
        Some(end) => events.extend((0..end).rev().flat_map(|step| undone(cell, step))),
    }
    let state = if first_undone.is_some() { "COMPENSATED" } else { "COMPLETED" };
    End { state: state.to_owned(), events, late: late(cell) }
}

fn undone(cell: &Cell, step: usize) -> Vec<String> {
    assert!(cell.definition.steps[step].compensation.is_some(), "what comes before can be undone");
    if cell.action == Action::Undo && cell.step == step {
        struck(cell)
    } else {
        unharmed(cell, step, Action::Undo)
    }
}

/// What happens at the command that the fault is aimed at.
fn struck(cell: &Cell) -> Vec<String> {
    let done = unharmed(cell, cell.step, cell.action);
    let again = retried(cell, cell.step, cell.action);
    match cell.course() {
        Course::Unharmed => done,
        Course::Retried => [vec![again], done].concat(),
        Course::Refused => vec![format!("{}_refused", cell.step().name)],
        Course::GivenUp => {
            let given_up = given_up(cell, cell.step, cell.action, cell.patience().attempts);
            match (cell.is_stuck(), cell.fault) {
                (false, _) => given_up,
                // Freed by the answer that comes after all.
                (true, Fault::NeverAnswered) => [given_up, done].concat(),
                // Freed because it goes on asking.
                (true, _) => [given_up, vec![again], done].concat(),
            }
        }
    }
}

fn unharmed(cell: &Cell, step: usize, action: Action) -> Vec<String> {
    let name = cell.definition.steps[step].name;
    vec![match action {
        Action::Do => format!("{name}_done"),
        Action::Undo => format!("{name}_compensated"),
    }]
}

fn retried(cell: &Cell, step: usize, action: Action) -> String {
    format!("{}_retried", prefix(cell, step, action))
}

fn given_up(cell: &Cell, step: usize, action: Action, attempts: u32) -> Vec<String> {
    let mut events: Vec<String> = (1..attempts).map(|_| retried(cell, step, action)).collect();
    events.push(format!("{}_timed_out", prefix(cell, step, action)));
    events
}

fn prefix(cell: &Cell, step: usize, action: Action) -> String {
    let name = cell.definition.steps[step].name;
    match action {
        Action::Do => name.to_owned(),
        Action::Undo => format!("{name}_compensation"),
    }
}

/// Two answers under one id are one.
fn late(cell: &Cell) -> usize {
    // The answers that were kept back so that the saga turns back.
    let turned_back = usize::from(cell.turned_back_at().is_some());
    let own = match cell.fault {
        Fault::CommandTwiceAnew | Fault::AnswerTwiceAnew => 1,
        Fault::Refused => usize::from(cell.impossible().is_some()),
        // Delivered after all, when the saga is over: refused, or done and undone since.
        Fault::NeverArrived | Fault::NeverAnswered | Fault::Transient => usize::from(!cell.is_stuck()),
        Fault::ArrivedLate
        | Fault::CommandTwice
        | Fault::AnswerTwice
        | Fault::ParticipantDiesBeforeCommit
        | Fault::ParticipantDiesAfterCommit
        | Fault::OrchestratorDiesBeforeCommit
        | Fault::OrchestratorDiesAfterCommit => 0,
    };
    turned_back + own
}
