//! Whether a database is there, found out at once. A pool does not tell: while nobody listens, or the server is
//! starting up, it goes on asking until its patience is over, and then says that it has timed out.

use std::{io, time::Duration};

use sea_orm::{
    DbBackend,
    sqlx::{Connection as _, Error, PgConnection},
};
use tokio::time::timeout;

use super::{connect::backend, error::classify_sqlx};
use crate::StoreError;

/// A server that takes longer says nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes one connection to the database at `url` and closes it again; a file is always there. Errors: it cannot be
/// reached, or refuses us, and why.
pub async fn knock(url: &str) -> Result<(), StoreError> {
    if backend(url)? == DbBackend::Sqlite {
        return Ok(());
    }
    let connected = async { PgConnection::connect(url).await?.close().await };
    let connected = timeout(PATIENCE, connected).await.unwrap_or_else(|_| {
        let why = format!("no answer in {} s", PATIENCE.as_secs());
        Err(Error::Io(io::Error::new(io::ErrorKind::TimedOut, why)))
    });
    connected.map_err(|error| classify_sqlx(&error))
}
