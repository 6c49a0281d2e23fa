//! A statement with its values, encoded as its database takes them. Values go there by reference, and sets of
//! rows column by column: what is written a thousand times a second is not cloned on its way.

use sea_orm::sqlx::{
    Arguments as _, Encode, Type, error::BoxDynError, postgres::PgArguments, sqlite::SqliteArguments,
};
use sea_orm::{DbBackend, Value};

use crate::{Failure, StoreError};

/// Values of a statement, in the order of their numbers.
pub(super) enum Values {
    Postgres(PgArguments),
    Sqlite(SqliteArguments),
}

/// A statement that is ready to run.
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) values: Values,
}

impl Statement {
    /// `sql` with its parameters `$1`, `$2` …
    pub(super) fn new(backend: DbBackend, sql: &str, params: &[Value]) -> Result<Self, StoreError> {
        let mut values = Values::new(backend);
        values.add_all(params)?;
        Ok(Self { sql: sql.to_owned(), values })
    }
}

impl Values {
    pub(super) fn new(backend: DbBackend) -> Self {
        match backend {
            DbBackend::Postgres => Self::Postgres(PgArguments::default()),
            _ => Self::Sqlite(SqliteArguments::default()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Postgres(values) => values.len(),
            Self::Sqlite(values) => values.len(),
        }
    }

    pub(super) fn add_all(&mut self, params: &[Value]) -> Result<(), StoreError> {
        params.iter().try_for_each(|value| self.add_value(value))
    }

    fn add_value(&mut self, value: &Value) -> Result<(), StoreError> {
        match value {
            Value::String(text) => self.add(text.as_deref()),
            Value::BigInt(number) => self.add(*number),
            Value::Int(number) => self.add(*number),
            Value::Bool(truth) => self.add(*truth),
            Value::Double(number) => self.add(*number),
            Value::Bytes(bytes) => self.add(bytes.as_deref()),
            Value::Uuid(id) => self.add(*id),
            other => {
                let text = format!("a value that no statement of ours has: {other:?}");
                Err(Failure::Permanent(text).into())
            }
        }
    }

    /// Adds one value.
    pub(super) fn add<'t, T>(&mut self, value: T) -> Result<(), StoreError>
    where
        T: Encode<'t, sea_orm::sqlx::Postgres>
            + Type<sea_orm::sqlx::Postgres>
            + Encode<'t, sea_orm::sqlx::Sqlite>
            + Type<sea_orm::sqlx::Sqlite>,
    {
        let added = match self {
            Self::Postgres(values) => values.add(value),
            Self::Sqlite(values) => values.add(value),
        };
        added.map_err(|error| unencodable(&error))
    }

    /// Adds an array, for `PostgreSQL`.
    pub(super) fn add_array<T>(&mut self, cells: &[T]) -> Result<(), StoreError>
    where
        for<'t> &'t [T]: Encode<'t, sea_orm::sqlx::Postgres> + Type<sea_orm::sqlx::Postgres>,
    {
        match self {
            Self::Postgres(values) => values.add(cells).map_err(|error| unencodable(&error)),
            Self::Sqlite(_) => Err(Failure::Permanent("SQLite has no arrays".to_owned()).into()),
        }
    }
}

fn unencodable(error: &BoxDynError) -> StoreError {
    Failure::Permanent(format!("a value cannot be encoded: {error}")).into()
}
