//! The roles that one process can play. They are named here because the configuration chooses them;
//! what each does is composed elsewhere.

use std::fmt;

use super::value;

/// A part of Waybill that a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    /// Takes requests over gRPC.
    Gateway,
    /// Sweeps every configured outbox for what other processes left behind.
    Relay,
    /// Leads every dispatch through its steps.
    Saga,
    /// The participant `order`.
    Order,
    /// The participant `payment`.
    Payment,
    /// The participant `dispatch`.
    Dispatch,
}

impl Role {
    /// Every role, in the order of its name in [`Role::NAMES`].
    pub(crate) const ALL: [Self; 6] =
        [Self::Gateway, Self::Relay, Self::Saga, Self::Order, Self::Payment, Self::Dispatch];

    pub(super) const NAMES: [&str; 6] = ["gateway", "relay", "saga", "order", "payment", "dispatch"];

    /// The word in flags and files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Relay => "relay",
            Self::Saga => "saga",
            Self::Order => "order",
            Self::Payment => "payment",
            Self::Dispatch => "dispatch",
        }
    }

    /// Reads a list; the result is sorted and holds every role once.
    pub(super) fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        let roles = Self::parse_any(text, &Self::ALL, "role")?;
        if roles.is_empty() { Err("names no role".to_owned()) } else { Ok(roles) }
    }

    /// The same for participants only, of which there may be none.
    pub(super) fn parse_participants(text: &str) -> Result<Vec<Self>, String> {
        Self::parse_any(text, &[Self::Order, Self::Payment, Self::Dispatch], "participant")
    }

    fn parse_any(text: &str, allowed: &[Self], what: &str) -> Result<Vec<Self>, String> {
        let mut roles = Vec::new();
        for name in value::items(text) {
            match allowed.iter().find(|role| role.name() == name) {
                Some(role) => roles.push(*role),
                None => return Err(format!("holds `{name}`, which is no {what}")),
            }
        }
        roles.sort_unstable();
        roles.dedup();
        Ok(roles)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Role;

    #[test]
    fn every_role_is_in_the_list_of_names() {
        assert_eq!(Role::ALL.map(Role::name), Role::NAMES);
    }

    #[test]
    fn a_list_is_sorted_and_holds_a_role_once() {
        assert_eq!(Role::parse_list("saga, gateway,saga").unwrap(), [Role::Gateway, Role::Saga]);
        assert_eq!(Role::parse_list("gatway").unwrap_err(), "holds `gatway`, which is no role");
        assert_eq!(Role::parse_list(" , ").unwrap_err(), "names no role");
    }
}
