//! Participant `payment`: reserves what a dispatch costs within the customer's credit, or gives it back.

mod account;
mod command;
mod decide;
mod table;

use waybill_messaging::{Envelope, Failure, Handler, Outcome, Received, StoreError, Tx};

pub use self::command::Command;
use self::decide::decide;
use crate::Money;

/// What the participant decides by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What a customer may have reserved at once, and the only currency that is taken.
    pub credit_limit: Money,
    /// Price of a parcel, where a command names no amount.
    pub tariff: Money,
}

/// The participant.
#[derive(Clone, Debug)]
pub struct Payment {
    rules: Rules,
}

impl Payment {
    /// A participant with these rules.
    pub const fn new(rules: Rules) -> Self {
        Self { rules }
    }
}

impl Handler for Payment {
    type Message = Command;

    fn inbox(&self) -> Option<&'static str> {
        Some("payment")
    }

    fn is_optimistic(&self) -> bool {
        true
    }

    fn parse(&self, envelope: &Envelope) -> Result<Command, Failure> {
        Command::read(envelope)
    }

    async fn apply(&self, tx: &Tx, batch: &[&Received<Command>]) -> Result<Vec<Outcome>, StoreError> {
        let commands: Vec<&Command> = batch.iter().map(|received| &received.message).collect();
        let mut book = table::load(tx, &commands, &self.rules.credit_limit.currency_code).await?;
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands {
            outcomes.push(decide(&self.rules, &mut book, command)?.outcome(command.key()));
        }
        table::save(tx, &book)?;
        Ok(outcomes)
    }
}
