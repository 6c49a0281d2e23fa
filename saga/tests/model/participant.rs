//! The participants: one row a dispatch, and what becomes of it. The same table as the `decide` of each
//! participant in `waybill-worker`, without amounts, destinations and texts.

use waybill_saga::Command;

use crate::message::Answer;

/// The row of a dispatch at one participant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Row {
    #[default]
    Absent,
    /// ACCEPTED, RESERVED, CREATED.
    Done,
    /// COMPLETED, of an order; captured, of a payment.
    Completed,
    /// CANCELLED, RELEASED, WITHDRAWN, and there was something to undo.
    Undone,
    /// The same, left by a compensation that came before its command.
    Mark,
    /// REFUSED by a rule.
    Refused,
    /// REFUSED because it came after its own compensation.
    TooLate,
}

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) row: Row,
    /// `None`: it is wrong, and a dead letter.
    pub(crate) answer: Option<Answer>,
    /// Whether anything in the world is different now: stock, money, a delivery.
    pub(crate) effect: bool,
}

/// How the participants decide; the shipped ones mark and look at the row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// A compensation that finds nothing leaves a mark.
    pub(crate) marks: bool,
    /// A command that finds its row does nothing.
    pub(crate) looks: bool,
    /// This command is refused if it is new.
    pub(crate) refuses: bool,
}

/// What becomes of `row`.
pub(crate) fn decide(row: Row, command: Command, habits: Habits) -> Decision {
    match command {
        Command::AcceptOrder | Command::ReservePayment | Command::CreateDispatch => act(row, habits),
        Command::CancelOrder | Command::ReleasePayment | Command::WithdrawDispatch => undo(row, habits),
        Command::CompleteOrder | Command::CapturePayment => complete(row),
    }
}

fn act(row: Row, habits: Habits) -> Decision {
    match row {
        Row::Absent if habits.refuses => Decision::of(Row::Refused, Answer::Refused, false),
        Row::Absent => Decision::of(Row::Done, Answer::Done, true),
        Row::Done | Row::Completed => Decision::of(row, Answer::Done, !habits.looks),
        Row::Refused | Row::TooLate | Row::Undone => Decision::of(row, Answer::Refused, false),
        Row::Mark => Decision::of(Row::TooLate, Answer::Refused, false),
    }
}

fn undo(row: Row, habits: Habits) -> Decision {
    match row {
        Row::Absent if habits.marks => Decision::of(Row::Mark, Answer::Done, false),
        Row::Done => Decision::of(Row::Undone, Answer::Done, true),
        Row::Absent | Row::Undone | Row::Mark | Row::Refused | Row::TooLate => {
            Decision::of(row, Answer::Done, false)
        }
        Row::Completed => Decision::wrong(row),
    }
}

fn complete(row: Row) -> Decision {
    match row {
        Row::Done => Decision::of(Row::Completed, Answer::Done, true),
        Row::Completed => Decision::of(row, Answer::Done, false),
        Row::Absent | Row::Undone | Row::Mark | Row::Refused | Row::TooLate => Decision::wrong(row),
    }
}

impl Decision {
    const fn of(row: Row, answer: Answer, effect: bool) -> Self {
        Self { row, answer: Some(answer), effect }
    }

    const fn wrong(row: Row) -> Self {
        Self { row, answer: None, effect: false }
    }
}
