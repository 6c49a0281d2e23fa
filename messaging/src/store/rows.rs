//! Many rows in one statement, for both databases from one text.
//!
//! A statement refers to the set `v(column, …)`. PostgreSQL gets it as one array a column (`UNNEST`),
//! so that its text and plan are the same for any number of rows; SQLite gets it as `VALUES` in chunks of
//! fixed sizes, so that a handful of prepared statements serve every batch.

use sea_orm::{DbBackend, Statement, Value, sea_query::ArrayType};

/// Rows in one SQLite statement, largest first: every number is a sum of these.
const CHUNKS: [usize; 4] = [64, 16, 4, 1];

/// Type of a column of a set. There is no NULL: an absent text is empty, an absent number 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// [`String`]
    Text,
    /// [`i64`]
    Int,
    /// `Vec<u8>`
    Bytes,
    /// [`uuid::Uuid`]
    Uuid,
}

impl Column {
    const fn array(self) -> (&'static str, ArrayType) {
        match self {
            Self::Text => ("text[]", ArrayType::String),
            Self::Int => ("bigint[]", ArrayType::BigInt),
            Self::Bytes => ("bytea[]", ArrayType::Bytes),
            Self::Uuid => ("uuid[]", ArrayType::Uuid),
        }
    }
}

/// A set of rows to be written, or to be looked for.
#[derive(Clone, Debug)]
pub struct Rows {
    columns: &'static [(&'static str, Column)],
    rows: Vec<Vec<Value>>,
}

impl Rows {
    /// No rows yet of these columns.
    pub const fn new(columns: &'static [(&'static str, Column)]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// A set of one text column, named `id`.
    pub fn ids<'a>(ids: impl IntoIterator<Item = &'a str>) -> Self {
        let mut rows = Self::new(&[("id", Column::Text)]);
        for id in ids {
            rows.push(vec![id.into()]);
        }
        rows
    }

    /// Adds a row; its values stand in the order of the columns and have their types.
    pub fn push(&mut self, row: Vec<Value>) {
        debug_assert_eq!(row.len(), self.columns.len(), "a row has a value for every column");
        self.rows.push(row);
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none; then no statement is run at all.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The statements that run `sql` over the set `v`. `params` are `$1`, `$2` … of `sql` in each.
    pub(super) fn statements(&self, backend: DbBackend, sql: &str, params: &[Value]) -> Vec<Statement> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        match backend {
            DbBackend::Postgres => vec![self.unnest(sql, params)],
            _ => self.chunks().into_iter().map(|chunk| self.values(chunk, sql, params)).collect(),
        }
    }

    fn unnest(&self, sql: &str, params: &[Value]) -> Statement {
        let mut values = params.to_vec();
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (index, (_, column)) in self.columns.iter().enumerate() {
            let (name, kind) = column.array();
            let cells = self.rows.iter().map(|row| row[index].clone()).collect();
            values.push(Value::Array(kind, Some(Box::new(cells))));
            arrays.push(format!("${}::{name}", values.len()));
        }
        let set = format!("WITH v({}) AS (SELECT * FROM UNNEST({}))", self.names(), arrays.join(", "));
        Statement::from_sql_and_values(DbBackend::Postgres, format!("{set} {sql}"), values)
    }

    fn values(&self, rows: &[Vec<Value>], sql: &str, params: &[Value]) -> Statement {
        let mut number = params.len();
        let mut tuples = Vec::with_capacity(rows.len());
        for _ in rows {
            let cells: Vec<String> = (1..=self.columns.len()).map(|i| format!("${}", number + i)).collect();
            number += self.columns.len();
            tuples.push(format!("({})", cells.join(",")));
        }
        let set = format!("WITH v({}) AS (VALUES {})", self.names(), tuples.join(","));
        let values = params.iter().chain(rows.iter().flatten()).cloned().collect::<Vec<_>>();
        Statement::from_sql_and_values(DbBackend::Sqlite, format!("{set} {sql}"), values)
    }

    fn chunks(&self) -> Vec<&[Vec<Value>]> {
        let mut rest = self.rows.as_slice();
        let mut chunks = Vec::new();
        for size in CHUNKS {
            while rest.len() >= size {
                let (chunk, tail) = rest.split_at(size);
                chunks.push(chunk);
                rest = tail;
            }
        }
        chunks
    }

    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: i64) -> Rows {
        let mut rows = Rows::new(&[("a", Column::Int), ("b", Column::Text)]);
        (0..count).for_each(|n| rows.push(vec![n.into(), n.to_string().into()]));
        rows
    }

    #[test]
    fn sqlite_chunks_cover_every_row_once() {
        for count in [1, 3, 4, 63, 64, 65, 85, 200] {
            let sizes: Vec<usize> = numbers(count).chunks().iter().map(|c| c.len()).collect();
            assert_eq!(sizes.iter().sum::<usize>(), usize::try_from(count).unwrap());
            assert!(sizes.iter().all(|size| CHUNKS.contains(size)));
        }
    }

    #[test]
    fn parameters_of_the_statement_come_before_the_set() {
        let statement = &numbers(1).statements(DbBackend::Sqlite, "SELECT $1 FROM v", &[7.into()])[0];
        assert_eq!(statement.sql, "WITH v(a, b) AS (VALUES ($2,$3)) SELECT $1 FROM v");
    }

    #[test]
    fn postgres_text_does_not_depend_on_the_number_of_rows() {
        let text =
            |count| numbers(count).statements(DbBackend::Postgres, "SELECT 1 FROM v", &[])[0].sql.clone();
        assert_eq!(text(1), text(77));
    }
}
