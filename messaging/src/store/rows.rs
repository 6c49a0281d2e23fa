//! Many rows in one statement, for both databases from one text.
//!
//! A statement refers to the set `v(column, …)`. PostgreSQL gets it as one array a column (`UNNEST`),
//! so that its text and plan are the same for any number of rows; SQLite gets it as `VALUES` of one of a few
//! sizes, filled up with rows that are left out, so that a handful of prepared statements serve every batch.

use std::{borrow::Cow, fmt::Write, ops::Range};

use sea_orm::{DbBackend, Value};
use uuid::Uuid;

use super::statement::{Statement, Values};
use crate::StoreError;

/// How a statement asks for the keys of a set of one column. `PostgreSQL` gets the array itself there, which it
/// looks up in an index whatever it takes the table for.
const KEYS: &str = "IN (SELECT id FROM v)";
/// Rows in one SQLite statement, at most.
const CHUNK: usize = 64;
/// How many it has places for: each size is another statement to keep prepared.
const PLACES: [usize; 4] = [1, 4, 16, CHUNK];

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

/// The cells of one column.
#[derive(Clone, Debug)]
enum Cells {
    Text(Vec<String>),
    Int(Vec<i64>),
    Bytes(Vec<Vec<u8>>),
    Uuid(Vec<Uuid>),
}

impl Cells {
    const fn new(column: Column) -> Self {
        match column {
            Column::Text => Self::Text(Vec::new()),
            Column::Int => Self::Int(Vec::new()),
            Column::Bytes => Self::Bytes(Vec::new()),
            Column::Uuid => Self::Uuid(Vec::new()),
        }
    }

    /// Adds a value, or the nothing of the column's type where the value is of another.
    fn push(&mut self, value: Value) {
        match (self, value) {
            (Self::Text(cells), Value::String(Some(text))) => cells.push(text),
            (Self::Int(cells), Value::BigInt(Some(number))) => cells.push(number),
            (Self::Bytes(cells), Value::Bytes(Some(bytes))) => cells.push(bytes),
            (Self::Uuid(cells), Value::Uuid(Some(id))) => cells.push(id),
            (cells, value) => {
                debug_assert!(false, "{value:?} stands in a column of another type");
                match cells {
                    Self::Text(cells) => cells.push(String::new()),
                    Self::Int(cells) => cells.push(0),
                    Self::Bytes(cells) => cells.push(Vec::new()),
                    Self::Uuid(cells) => cells.push(Uuid::nil()),
                }
            }
        }
    }

    /// Adds all of it as one array, and says of which type.
    fn add_array(&self, values: &mut Values) -> Result<&'static str, StoreError> {
        match self {
            Self::Text(cells) => values.add_array(cells).map(|()| "text[]"),
            Self::Int(cells) => values.add_array(cells).map(|()| "bigint[]"),
            Self::Bytes(cells) => values.add_array(cells).map(|()| "bytea[]"),
            Self::Uuid(cells) => values.add_array(cells).map(|()| "uuid[]"),
        }
    }

    fn add_cell(&self, index: usize, values: &mut Values) -> Result<(), StoreError> {
        match self {
            Self::Text(cells) => values.add(cells[index].clone()),
            Self::Int(cells) => values.add(cells[index]),
            Self::Bytes(cells) => values.add(cells[index].clone()),
            Self::Uuid(cells) => values.add(cells[index]),
        }
    }
}

/// A set of rows to be written, or to be looked for.
#[derive(Clone, Debug)]
pub struct Rows {
    columns: &'static [(&'static str, Column)],
    cells: Vec<Cells>,
    count: usize,
}

impl Rows {
    /// No rows yet of these columns.
    pub fn new(columns: &'static [(&'static str, Column)]) -> Self {
        Self { columns, cells: columns.iter().map(|(_, column)| Cells::new(*column)).collect(), count: 0 }
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
        for (cells, value) in self.cells.iter_mut().zip(row) {
            cells.push(value);
        }
        self.count += 1;
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none; then no statement is run at all.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The statements that run `sql` over the set `v`. `params` are `$1`, `$2` … of `sql` in each.
    pub(super) fn statements(
        &self,
        backend: DbBackend,
        sql: &str,
        params: &[Value],
    ) -> Result<Vec<Statement>, StoreError> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        match backend {
            DbBackend::Postgres => {
                let mut values = Values::new(backend);
                let sql = self.unnest(sql, params, &mut values)?;
                Ok(vec![Statement { sql, values }])
            }
            _ => self.chunks().into_iter().map(|chunk| self.values(chunk, sql, params)).collect(),
        }
    }

    /// `PostgreSQL` text of `sql` over the set `v`, as a statement or a part of one: its values are added to
    /// `values`, and its parameters numbered by where they come to stand.
    pub(super) fn unnest(
        &self,
        sql: &str,
        params: &[Value],
        values: &mut Values,
    ) -> Result<String, StoreError> {
        let sql = renumbered(sql, values.len());
        values.add_all(params)?;
        if let [keys] = self.cells.as_slice()
            && sql.contains(KEYS)
        {
            keys.add_array(values)?;
            return Ok(sql.replace(KEYS, &format!("= ANY(${})", values.len())));
        }
        let mut arrays = Vec::with_capacity(self.cells.len());
        for cells in &self.cells {
            let kind = cells.add_array(values)?;
            arrays.push(format!("${}::{kind}", values.len()));
        }
        values.add(i64::try_from(self.count).unwrap_or(i64::MAX))?;
        let (names, arrays, all) = (self.names(), arrays.join(", "), values.len());
        // A limit that is not known yet counts as few rows: each is then looked up in the table that it is joined
        // with, which the planner might otherwise walk through as long as it takes it for small.
        Ok(format!("WITH v({names}) AS (SELECT * FROM UNNEST({arrays}) LIMIT ${all}) {sql}"))
    }

    fn values(&self, chunk: Range<usize>, sql: &str, params: &[Value]) -> Result<Statement, StoreError> {
        let (mut values, size) = (Values::new(DbBackend::Sqlite), chunk.len());
        self.add_cells(chunk, &mut values)?;
        let sql = self.over_chunk(size, &renumbered(sql, values.len()));
        values.add_all(params)?;
        Ok(Statement { sql, values })
    }

    /// Adds the cells of a chunk, and NULL for those of the rows that it is filled up with.
    pub(super) fn add_cells(&self, chunk: Range<usize>, values: &mut Values) -> Result<(), StoreError> {
        let surplus = places(chunk.len()) - chunk.len();
        for row in chunk {
            self.cells.iter().try_for_each(|cells| cells.add_cell(row, values))?;
        }
        (0..surplus * self.cells.len()).try_for_each(|_| values.add(None::<i64>))
    }

    /// SQLite text of `sql` over the set `v` of so many rows. Cells have no numbers: SQLite finds a parameter that has
    /// a name by walking through all others. And rows are not left out by a limit, for which, as a parameter, it
    /// would prepare the statement again each time.
    pub(super) fn over_chunk(&self, size: usize, sql: &str) -> String {
        let tuple = format!("({})", vec!["?"; self.cells.len()].join(","));
        let tuples = vec![tuple.as_str(); places(size)].join(",");
        let names = self.names();
        format!("WITH v({names}) AS (SELECT * FROM (VALUES {tuples}) WHERE column1 IS NOT NULL) {sql}")
    }

    /// What goes into one SQLite statement each.
    pub(super) fn chunks(&self) -> Vec<Range<usize>> {
        (0..self.count).step_by(CHUNK).map(|from| from..self.count.min(from + CHUNK)).collect()
    }

    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

fn places(rows: usize) -> usize {
    PLACES.into_iter().find(|places| *places >= rows).unwrap_or(CHUNK)
}

/// `$1`, `$2` … of `sql` as `$1 + by`, `$2 + by` …
pub(super) fn renumbered(sql: &str, by: usize) -> Cow<'_, str> {
    if by == 0 {
        return sql.into();
    }
    let mut parts = sql.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = part.split_at(digits);
        match number.parse::<usize>() {
            Ok(number) => {
                let _ = write!(text, "${}", number + by);
            }
            Err(_) => text.push('$'),
        }
        text.push_str(rest);
    }
    text.into()
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
            let rows: Vec<usize> = numbers(count).chunks().into_iter().flatten().collect();
            assert!(rows.into_iter().eq(0..usize::try_from(count).unwrap()));
        }
    }

    #[test]
    fn parameters_of_the_statement_come_after_the_set() {
        let statement =
            &numbers(1).statements(DbBackend::Sqlite, "SELECT $1 FROM v", &[7.into()]).unwrap()[0];
        assert_eq!(
            statement.sql,
            "WITH v(a, b) AS (SELECT * FROM (VALUES (?,?)) WHERE column1 IS NOT NULL) SELECT $3 FROM v"
        );
    }

    #[test]
    fn a_few_texts_serve_sqlite_whatever_the_number_of_rows() {
        let text = |count| {
            numbers(count).statements(DbBackend::Sqlite, "SELECT 1 FROM v", &[]).unwrap()[0].sql.clone()
        };
        let texts: std::collections::HashSet<_> = (1..=64).map(text).collect();
        assert_eq!(texts.len(), PLACES.len());
    }

    #[test]
    fn parameters_are_numbered_by_where_they_come_to_stand() {
        assert_eq!(renumbered("a = $1 AND b IN ($12, $2)", 0), "a = $1 AND b IN ($12, $2)");
        assert_eq!(renumbered("a = $1 AND b IN ($12, $2)", 9), "a = $10 AND b IN ($21, $11)");
    }

    #[test]
    fn a_set_of_keys_is_an_array_to_postgres() {
        let keys = Rows::ids(["a"]);
        let text = |backend| {
            keys.statements(backend, "SELECT id IN (SELECT id FROM v)", &[]).unwrap()[0].sql.clone()
        };
        assert_eq!(text(DbBackend::Postgres), "SELECT id = ANY($1)");
        assert!(text(DbBackend::Sqlite).ends_with("SELECT id IN (SELECT id FROM v)"));
    }

    #[test]
    fn postgres_text_does_not_depend_on_the_number_of_rows() {
        let text = |count| {
            numbers(count).statements(DbBackend::Postgres, "SELECT 1 FROM v", &[]).unwrap()[0].sql.clone()
        };
        assert_eq!(text(1), text(77));
    }
}
