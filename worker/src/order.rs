//! Participant `order`: takes an order in, closes it when its delivery is certain, or cancels it.

mod command;
mod decide;
mod table;

use std::collections::BTreeSet;

use waybill_messaging::{Envelope, Failure, Handler, Outcome, Received, StoreError, Tx};

pub use self::command::Command;
use self::decide::decide;

/// What the participant decides by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Customers whose orders are refused.
    pub blocked_customers: BTreeSet<String>,
}

/// The participant.
#[derive(Clone, Debug)]
pub struct Order {
    rules: Rules,
}

impl Order {
    /// A participant with these rules.
    pub const fn new(rules: Rules) -> Self {
        Self { rules }
    }
}

impl Handler for Order {
    type Message = Command;

    fn inbox(&self) -> Option<&'static str> {
        Some("order")
    }

    fn is_optimistic(&self) -> bool {
        true
    }

    fn parse(&self, envelope: &Envelope) -> Result<Command, Failure> {
        Command::read(envelope)
    }

    async fn apply(&self, tx: &Tx, batch: &[&Received<Command>]) -> Result<Vec<Outcome>, StoreError> {
        let commands: Vec<&Command> = batch.iter().map(|received| &received.message).collect();
        let mut orders = table::load(tx, &commands).await?;
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands {
            outcomes.push(decide(&self.rules, &mut orders, command)?.outcome(command.key()));
        }
        table::save(tx, &orders).await?;
        Ok(outcomes)
    }
}
