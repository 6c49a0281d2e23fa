//! What a pause is about, and how it is written.

use std::{fmt, str::FromStr};

use crate::{Participant, read};

/// What a pause is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every saga.
    All,
    /// Sagas of that name.
    Saga(String),
    /// Commands to that participant.
    Participant(Participant),
    /// One dispatch, by its id.
    Dispatch(String),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Saga(name) => write!(f, "saga:{name}"),
            Self::Participant(participant) => write!(f, "participant:{}", participant.name()),
            Self::Dispatch(id) => write!(f, "dispatch:{id}"),
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = |names: Vec<&str>| format!("{text} names none of {}", names.join(", "));
        match text.split_once(':') {
            None if text == "all" => Ok(Self::All),
            Some(("saga", name)) => {
                let known = read::names();
                if known.contains(&name) { Ok(Self::Saga(name.to_owned())) } else { Err(named(known)) }
            }
            Some(("participant", name)) => {
                let found = Participant::ALL.into_iter().find(|participant| participant.name() == name);
                let known = Participant::ALL.map(Participant::name).to_vec();
                found.map(Self::Participant).ok_or_else(|| named(known))
            }
            Some(("dispatch", id)) if !id.is_empty() => Ok(Self::Dispatch(id.to_owned())),
            _ => Err("must be all, saga:<name>, participant:<name> or dispatch:<id>".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_read_as_it_is_written_and_names_only_what_there_is() {
        for text in ["all", "saga:order_fulfilment", "participant:payment", "dispatch:d-1"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        let refused = |text: &str| text.parse::<Scope>().unwrap_err();
        assert_eq!(
            refused("participant:parcels"),
            "participant:parcels names none of order, payment, dispatch"
        );
        assert_eq!(refused("saga:x"), "saga:x names none of order_fulfilment");
        for text in ["", "everything", "dispatch:", "order:1"] {
            assert!(refused(text).starts_with("must be all"), "{text}");
        }
    }
}
