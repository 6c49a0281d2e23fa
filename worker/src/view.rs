//! The rows that a batch is about, as they were loaded and as the messages of the batch, one after the
//! other, change them. What is to be written follows from it at the end, once a row.

use std::collections::BTreeMap;

/// Rows by key, in the order in which every worker locks and writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View<R>(BTreeMap<String, Entry<R>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry<R> {
    row: R,
    fate: Fate<R>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate<R> {
    Loaded,
    /// From this.
    Changed(R),
    New,
}

impl<R> View<R> {
    /// The row of that key, as decided so far.
    pub(crate) fn get(&self, key: &str) -> Option<&R> {
        self.0.get(key).map(|entry| &entry.row)
    }

    /// Sets the row of that key.
    pub(crate) fn set(&mut self, key: &str, row: R) {
        if let Some(entry) = self.0.get_mut(key) {
            let before = std::mem::replace(&mut entry.row, row);
            if matches!(entry.fate, Fate::Loaded) {
                entry.fate = Fate::Changed(before);
            }
        } else {
            self.0.insert(key.to_owned(), Entry { row, fate: Fate::New });
        }
    }

    /// Rows that were not there.
    pub(crate) fn new_rows(&self) -> impl Iterator<Item = (&str, &R)> {
        self.0.iter().filter_map(|(key, entry)| match &entry.fate {
            Fate::New => Some((key.as_str(), &entry.row)),
            Fate::Loaded | Fate::Changed(_) => None,
        })
    }

    /// Rows that were there and are different now, each after what it was.
    pub(crate) fn changed_rows(&self) -> impl Iterator<Item = (&str, &R, &R)> {
        self.0.iter().filter_map(|(key, entry)| match &entry.fate {
            Fate::Changed(before) => Some((key.as_str(), before, &entry.row)),
            Fate::Loaded | Fate::New => None,
        })
    }
}

impl<R> Default for View<R> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// Collects rows as loaded.
impl<R> FromIterator<(String, R)> for View<R> {
    fn from_iter<I: IntoIterator<Item = (String, R)>>(rows: I) -> Self {
        Self(rows.into_iter().map(|(key, row)| (key, Entry { row, fate: Fate::Loaded })).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_written_once_and_only_when_touched() {
        let mut view: View<i32> =
            [("a", 1), ("b", 2)].map(|(key, row)| (key.to_owned(), row)).into_iter().collect();
        view.set("b", 3);
        view.set("b", 4);
        view.set("c", 5);
        view.set("c", 6);
        assert_eq!(view.changed_rows().collect::<Vec<_>>(), [("b", &2, &4)]);
        assert_eq!(view.new_rows().collect::<Vec<_>>(), [("c", &6)]);
        assert_eq!((view.get("a"), view.get("d")), (Some(&1), None));
    }
}
