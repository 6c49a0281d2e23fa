//! The dead-letter desk over gRPC: what is asked is checked here, and answered in the words of the contract.

mod edit;
mod resolve;
mod show;
mod wire;

use tonic::Status;
use uuid::Uuid;
use waybill_messaging::dead_letter::desk::{Filter, State};
use waybill_proto::v1;

pub(super) use self::{
    edit::edit,
    resolve::{Order, Progress, open},
    show::{get, groups, list},
};
use crate::{
    desk::{Database, Desk},
    violations::Violations,
};

/// Ids in one filter.
const MAX_IDS: usize = 100;
/// A longer text is in no column.
const MAX_TEXT: usize = 10_000;

/// A filter, checked: which letters, and in which databases.
struct Which {
    filter: Filter,
    databases: Vec<Database>,
}

/// Reads a filter. What is wrong with it is noted, and then what is returned is of no use.
fn which(wrong: &mut Violations, desk: &Desk, filter: v1::DeadLetterFilter, states: Vec<State>) -> Which {
    let v1::DeadLetterFilter { ids, database, queue, r#type, kind, reason, dispatch_id } = filter;
    wrong.check(ids.len() <= MAX_IDS, "filter.ids", format!("must be {MAX_IDS} at most"));
    let read: Vec<Uuid> = ids.iter().filter_map(|id| id.parse().ok()).collect();
    wrong.check(read.len() == ids.len(), "filter.ids", MUST_BE_ID);
    let databases = desk.databases(database.as_deref()).unwrap_or_default();
    wrong.check(!databases.is_empty(), "filter.database", format!("must be one of {}", desk.names()));
    let kind = wire::read_kind(kind);
    wrong.check(kind.is_some(), "filter.kind", "must be a DeadLetterKind");
    for (field, text) in [
        ("filter.queue", &queue),
        ("filter.type", &r#type),
        ("filter.reason", &reason),
        ("filter.dispatch_id", &dispatch_id),
    ] {
        let holds = text.as_ref().is_none_or(|text| text.len() <= MAX_TEXT && !text.contains('\0'));
        wrong.check(holds, field, format!("must be {MAX_TEXT} bytes at most, none of them 0"));
    }
    let filter = Filter {
        ids: read,
        states,
        queue,
        type_name: r#type,
        kind: kind.flatten(),
        reason,
        correlation_id: dispatch_id,
    };
    Which { filter, databases }
}

const MUST_BE_ID: &str = "must be the id of a dead letter, a UUID";

fn id(text: &str) -> Result<Uuid, Status> {
    text.parse().map_err(|_| Violations::one("id", MUST_BE_ID))
}

fn no_such(id: Uuid) -> Status {
    Status::not_found(format!("no dead letter {id}"))
}
