//! One migrating process at a time. sea-orm's migrator takes no lock of its own, and two replicas that
//! start together would otherwise run the same statements.

use std::{fs::File, path::PathBuf};

use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr};

use crate::Error;

/// Any constant serves, as long as every release uses the same.
const ADVISORY_KEY: i64 = 0x5741_5942_494c_4c01;

/// Takes an exclusive lock on a file beside an SQLite database; `None` for other databases.
/// The lock ends when the file is dropped, also when the process is killed.
pub(crate) async fn file(url: &str) -> Result<Option<File>, Error> {
    let Some(database) = url.strip_prefix("sqlite:") else {
        return Ok(None);
    };
    let database = database.trim_start_matches("//").split('?').next().unwrap_or_default();
    let path = PathBuf::from(format!("{database}.migrate.lock"));
    let shown = path.display().to_string();
    let taken = tokio::task::spawn_blocking(move || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = File::create(&path)?;
        file.lock().map(|()| file)
    });
    match taken.await {
        Ok(Ok(file)) => Ok(Some(file)),
        Ok(Err(source)) => Err(Error::Lock { path: shown, source }),
        Err(panic) => Err(Error::Lock { path: shown, source: std::io::Error::other(panic) }),
    }
}

/// Waits for the advisory lock of this `PostgreSQL` session; nothing on SQLite.
pub(crate) async fn session(database: &DatabaseConnection) -> Result<(), DbErr> {
    if database.get_database_backend() == DbBackend::Postgres {
        database.execute_unprepared(&format!("SELECT pg_advisory_lock({ADVISORY_KEY})")).await?;
    }
    Ok(())
}
