//! Waybill's participants: order, payment, dispatch.
//!
//! Each takes commands in batches: `command` reads them, `table` loads the rows they concern, `decide`
//! says in memory, message by message, what becomes of them, and `table` writes that back. Everything is
//! done by dispatch: one row remembers what came of it, so that a command which comes again, however
//! late, is answered as before and has no second effect.

mod mark;
mod money;
mod read;
mod reply;
mod table;
mod view;

pub mod dispatch;
pub mod order;
pub mod payment;

pub use self::{
    dispatch::Dispatch,
    money::{Money, ParseMoneyError},
    order::Order,
    payment::Payment,
    read::Key,
};
