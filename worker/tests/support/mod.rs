//! What tests of the participants against real databases need.

mod database;
mod worker;

pub(crate) use self::{
    database::{Db, on_postgres, on_sqlite},
    worker::{Worker, command, name, reason},
};

/// Makes of each fact, an `async fn(Db)`, one test on SQLite and one on PostgreSQL.
macro_rules! on_both_databases {
    ($($fact:ident),+ $(,)?) => {$(
        mod $fact {
            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                crate::support::on_sqlite(super::$fact).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                crate::support::on_postgres(super::$fact).await;
            }
        }
    )+};
}
pub(crate) use on_both_databases;
