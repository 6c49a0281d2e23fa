//! Trouble in the participants' database: the effect of one command on one order cannot be written until it is
//! mended. To a participant that is a transient failure.

use waybill_saga::Command;
use waybill_test_support::{TestDatabase, patience::until};

/// What a participant's transaction does that carries out this command: the table, and the row as it becomes.
fn effect(command: Command) -> (&'static str, &'static str) {
    match command {
        Command::AcceptOrder => ("orders", "NEW.state = 'ACCEPTED'"),
        Command::CancelOrder => ("orders", "NEW.state = 'CANCELLED'"),
        Command::CompleteOrder => ("orders", "NEW.state = 'COMPLETED'"),
        Command::ReservePayment => ("payment_reservations", "NEW.state = 'RESERVED' AND NEW.captured_at = 0"),
        Command::ReleasePayment => ("payment_reservations", "NEW.state = 'RELEASED'"),
        Command::CapturePayment => ("payment_reservations", "NEW.captured_at > 0"),
        Command::CreateDispatch => ("deliveries", "NEW.state = 'CREATED'"),
        Command::WithdrawDispatch => ("deliveries", "NEW.state = 'WITHDRAWN'"),
    }
}

/// Makes trouble possible for every command.
pub(crate) async fn prepare(database: &TestDatabase) {
    database.execute("CREATE TABLE trouble (order_id TEXT NOT NULL, command TEXT NOT NULL)").await;
    let found = "SELECT 1 FROM trouble WHERE order_id = NEW.order_id AND command =";
    if database.is_postgres() {
        let function = format!(
            "CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF EXISTS ({found} TG_ARGV[0]) THEN RAISE EXCEPTION 'there is trouble'; END IF; RETURN NEW; END $$"
        );
        database.execute(&function).await;
    }
    for command in Command::ALL {
        let ((table, becomes), name) = (effect(command), command.name());
        for event in ["INSERT", "UPDATE"] {
            let trigger =
                format!("CREATE TRIGGER trouble_{name}_{event} BEFORE {event} ON {table} FOR EACH ROW");
            let then = if database.is_postgres() {
                format!("WHEN ({becomes}) EXECUTE FUNCTION trouble('{name}')")
            } else {
                let raise = "BEGIN SELECT RAISE(ABORT, 'there is trouble'); END";
                format!("WHEN {becomes} AND EXISTS ({found} '{name}') {raise}")
            };
            database.execute(&format!("{trigger} {then}")).await;
        }
    }
}

pub(crate) async fn make(database: &TestDatabase, order_id: &str, command: Command) {
    let values = format!("('{order_id}', '{}')", command.name());
    database.execute(&format!("INSERT INTO trouble (order_id, command) VALUES {values}")).await;
}

pub(crate) async fn mend(database: &TestDatabase, order_id: &str) {
    database.execute(&format!("DELETE FROM trouble WHERE order_id = '{order_id}'")).await;
}

/// Waits until the participant has given a message up for the `times`th time, after all its attempts.
pub(crate) async fn struck(database: &TestDatabase, message_id: &str, times: u32) {
    let sql = format!(
        "SELECT count(*) FROM dead_letters WHERE message_id = '{message_id}' AND times = {times} \
         AND kind = 'EXHAUSTED' AND reason LIKE '%there is trouble%'"
    );
    until(message_id, async || database.number(&sql).await == 1).await;
}

/// Takes the dead letter away, as an operator does who has dealt with it.
pub(crate) async fn clear(database: &TestDatabase, message_id: &str) {
    database.execute(&format!("DELETE FROM dead_letters WHERE message_id = '{message_id}'")).await;
}
