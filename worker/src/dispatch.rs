//! Participant `dispatch`: creates the delivery, where that destination is served and has room, or
//! withdraws it.

mod command;
mod decide;
mod destination;
mod table;

use waybill_messaging::{Envelope, Failure, Handler, Outcome, Received, StoreError, Tx};

use self::decide::decide;
pub use self::{
    command::Command,
    destination::{DestinationPattern, ParseDestinationPatternError},
};

/// What the participant decides by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Destinations that are not served.
    pub refused_destinations: Vec<DestinationPattern>,
    /// Deliveries that one destination holds at once; `None`: any number.
    pub capacity: Option<u64>,
}

/// The participant.
#[derive(Clone, Debug)]
pub struct Dispatch {
    rules: Rules,
}

impl Dispatch {
    /// A participant with these rules.
    pub const fn new(rules: Rules) -> Self {
        Self { rules }
    }
}

impl Handler for Dispatch {
    type Message = Command;

    fn inbox(&self) -> Option<&'static str> {
        Some("dispatch")
    }

    /// Deliveries are counted under a lock.
    fn is_optimistic(&self) -> bool {
        self.rules.capacity.is_none()
    }

    fn parse(&self, envelope: &Envelope) -> Result<Command, Failure> {
        Command::read(envelope)
    }

    async fn apply(&self, tx: &Tx, batch: &[&Received<Command>]) -> Result<Vec<Outcome>, StoreError> {
        let commands: Vec<&Command> = batch.iter().map(|received| &received.message).collect();
        let mut deliveries = table::load(tx, &commands, self.rules.capacity.is_some()).await?;
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands {
            outcomes.push(decide(&self.rules, &mut deliveries, command)?.outcome(command.key()));
        }
        table::save(tx, &deliveries);
        Ok(outcomes)
    }
}
