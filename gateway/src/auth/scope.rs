//! What a client may do, in three words, and which of them each method needs.

use std::{fmt, str::FromStr};

/// A kind of thing that a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Request dispatches and cancel them.
    Submit,
    /// See dispatches.
    Read,
    /// What operators do, and everything else.
    Operate,
}

/// Any of the scopes, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scope {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Submit, Self::Read, Self::Operate];

    /// As it is written in configurations and claims.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Submit => 1,
            Self::Read => 2,
            // Who operates may also submit and read.
            Self::Operate => 1 | 2 | 4,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|scope| scope.name() == text).ok_or(())
    }
}

impl Scopes {
    /// Everything.
    pub const ALL: Self = Self(Scope::Operate.bits());

    /// Whether nothing is allowed.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether that is allowed.
    pub const fn allow(self, scope: Scope) -> bool {
        self.0 & scope.bits() == scope.bits()
    }

    /// What both allow.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bits()))
    }
}

/// What the method of that path needs; `None`: only that one is a client. A method that is not listed here
/// needs the most.
pub(super) fn needed(path: &str) -> Option<Scope> {
    let (service, method) = path.trim_start_matches('/').rsplit_once('/').unwrap_or_default();
    match (service, method) {
        ("dispatch.v1.DispatchGateway", "RequestDispatch" | "RequestDispatches" | "CancelDispatch") => {
            Some(Scope::Submit)
        }
        ("dispatch.v1.DispatchGateway", "GetDispatch" | "ListDispatches" | "WatchDispatch") => {
            Some(Scope::Read)
        }
        ("grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection", _) => None,
        _ => Some(Scope::Operate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_operates_may_do_everything_and_nobody_else_may_operate() {
        let operate = Scopes::from_iter([Scope::Operate]);
        assert!(Scope::ALL.into_iter().all(|scope| operate.allow(scope)));
        let both = Scopes::from_iter([Scope::Submit, Scope::Read]);
        assert!(both.allow(Scope::Submit) && both.allow(Scope::Read) && !both.allow(Scope::Operate));
        assert!(!Scopes::default().allow(Scope::Read) && Scopes::default().is_empty());
        assert_eq!(operate.and(both), both);
    }

    #[test]
    fn every_published_method_needs_the_scope_that_is_meant_for_it() {
        use prost::Message as _;
        let set = prost_types::FileDescriptorSet::decode(waybill_proto::DESCRIPTORS).unwrap();
        let mut seen = Vec::new();
        for file in set.file.iter().filter(|file| file.package() == "dispatch.v1") {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/dispatch.v1.{}/{}", service.name(), method.name());
                    let scope = needed(&path);
                    if service.name() == "DispatchGateway" {
                        seen.push((method.name().to_owned(), scope.unwrap().name()));
                    } else {
                        assert_eq!(scope, Some(Scope::Operate), "{path}");
                    }
                }
            }
        }
        seen.sort_unstable();
        let expected = [
            ("CancelDispatch", "submit"),
            ("GetDispatch", "read"),
            ("ListDispatches", "read"),
            ("RequestDispatch", "submit"),
            ("RequestDispatches", "submit"),
            ("WatchDispatch", "read"),
        ];
        assert_eq!(seen, expected.map(|(method, scope)| (method.to_owned(), scope)));
    }

    #[test]
    fn what_is_not_known_needs_the_most() {
        for path in
            ["", "/", "/dispatch.v1.DispatchGateway/Delete", "//dispatch.v1.DispatchGateway/x/GetDispatch"]
        {
            assert_eq!(needed(path), Some(Scope::Operate), "{path}");
        }
    }
}
