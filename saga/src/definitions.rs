//! The definitions that a process runs. An instance is pinned to the one that it began with, by name, version
//! and hash: where that is none of these, nothing is guessed.

use std::sync::Arc;

use crate::{Definition, DefinitionError};

/// The live definitions of a saga, and the version that new instances begin with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Definitions {
    /// Each with its hash.
    live: Arc<[(String, Definition)]>,
    begins: usize,
}

impl Definitions {
    /// Of `known`, those whose versions are `live`, each once; new instances begin with version `begins`.
    /// Errors: one breaks a rule, or a version is not there.
    pub fn new(
        known: impl IntoIterator<Item = Definition>,
        live: &[u32],
        begins: u32,
    ) -> Result<Self, DefinitionError> {
        let mut all: Vec<(String, Definition)> = Vec::new();
        for definition in known.into_iter().filter(|definition| live.contains(&definition.version)) {
            definition.check()?;
            if all.iter().any(|(_, other)| other.version == definition.version) {
                return Err(DefinitionError::VersionTwice(definition.version));
            }
            all.push((definition.hash(), definition));
        }
        let index = |version| all.iter().position(|(_, definition)| definition.version == version);
        if let Some(missing) = live.iter().copied().find(|version| index(*version).is_none()) {
            return Err(DefinitionError::NoSuchVersion(missing));
        }
        let begins = index(begins).ok_or(DefinitionError::NoSuchVersion(begins))?;
        Ok(Self { live: all.into(), begins })
    }

    /// The one that new instances begin with.
    pub fn beginning(&self) -> &Definition {
        &self.live[self.begins].1
    }

    /// Each with its hash.
    pub fn live(&self) -> impl Iterator<Item = (&str, &Definition)> {
        self.live.iter().map(|(hash, definition)| (hash.as_str(), definition))
    }

    /// The one that an instance is pinned to, if it is live here.
    pub fn of(&self, (name, version, hash): &(String, u32, String)) -> Option<&Definition> {
        self.live()
            .find(|(live, definition)| {
                live == hash && definition.version == *version && definition.name == name
            })
            .map(|(_, definition)| definition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Defaults, order_fulfilment};

    fn versions<const N: usize>(versions: [u32; N]) -> [Definition; N] {
        versions
            .map(|version| Definition { version, ..order_fulfilment(&Defaults::default()).swap_remove(0) })
    }

    fn refused<const N: usize>(known: [u32; N], live: &[u32], begins: u32) -> DefinitionError {
        Definitions::new(versions(known), live, begins).unwrap_err()
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        assert_eq!(refused([1, 2], &[1, 3], 1), DefinitionError::NoSuchVersion(3));
        assert_eq!(refused([1, 2], &[1], 2), DefinitionError::NoSuchVersion(2));
        assert_eq!(refused([1, 1], &[1], 1), DefinitionError::VersionTwice(1));
        let mut broken = versions([1]);
        broken[0].steps.clear();
        assert_eq!(Definitions::new(broken, &[1], 1).unwrap_err(), DefinitionError::Empty);
    }

    #[test]
    fn an_instance_finds_its_own_definition_by_name_version_and_hash() {
        let definitions = Definitions::new(versions([1, 2, 3]), &[1, 2], 2).unwrap();
        let find = |name: &str, version, hash: &str| {
            definitions.of(&(name.to_owned(), version, hash.to_owned())).map(|found| found.version)
        };
        let [first, second, third] = versions([1, 2, 3]).map(|definition| definition.hash());
        assert_eq!(definitions.beginning().version, 2);
        assert_eq!(find("order_fulfilment", 1, &first), Some(1));
        assert_eq!(find("order_fulfilment", 2, &second), Some(2));
        assert_eq!(find("order_fulfilment", 2, &first), None, "changed without a new version");
        assert_eq!(find("order_fulfilment", 3, &third), None, "known, and not live here");
        assert_eq!(find("another", 1, &first), None);
    }
}
