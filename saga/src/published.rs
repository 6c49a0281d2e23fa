//! Definitions as text, whole, for the file that holds what has been published: all that decides how an
//! instance runs. Time-outs and attempts are tuning and not part of it.

use std::fmt::Write;

use crate::{Command, Definition};

/// The definitions, one after the other.
pub fn published(definitions: &[Definition]) -> String {
    let mut text = String::new();
    for definition in definitions {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}/{} {}", definition.name, definition.version, definition.hash());
        for step in &definition.steps {
            let (kind, participant) = (step.kind.name(), step.command.participant().name());
            let undo = step.compensation.map_or("-", Command::name);
            let _ = writeln!(text, "  {} {kind} {participant} {} {undo}", step.name, step.command.name());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Defaults, order_fulfilment};

    #[test]
    fn published_definitions_never_change() {
        let all = order_fulfilment(&Defaults::default());
        assert_eq!(
            published(&all),
            include_str!("../published.txt"),
            "a change is a new version: add one, then \
             cargo run -p waybill-saga --example published > saga/published.txt adds its lines and changes none"
        );
    }
}
