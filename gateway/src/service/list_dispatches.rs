//! `ListDispatches`: pages of dispatches, newest first. A page begins where the one before ended, by id:
//! what is accepted meanwhile neither shifts a page nor appears on two.

mod filter;

use tonic::Status;
use waybill_proto::v1;
use waybill_saga::read;

use self::filter::Filter;
use super::Service;
use crate::{edge::Call, page_token, row, status, view, violations::Violations};

const DEFAULT_SIZE: i32 = 50;
pub(crate) const MAX_SIZE: i32 = 1_000;

pub(super) async fn handle(
    service: &Service,
    call: &Call,
    request: v1::ListDispatchesRequest,
) -> Result<v1::ListDispatchesResponse, Status> {
    let mut wrong = Violations::default();
    let filter = Filter::parse(&request, call.caller.owner(), &mut wrong);
    let in_range = (0..=MAX_SIZE).contains(&request.page_size);
    wrong.check(in_range, "page_size", "must be 1 to 1000, or 0 for 50");
    let hash = filter.hash();
    let before = page_token::decode(&hash, &request.page_token);
    let is_ours = before.is_some() || request.page_token.is_empty();
    wrong.check(
        is_ours,
        "page_token",
        "must be empty, or the next_page_token of a page with the same filters",
    );
    let size = if request.page_size == 0 { DEFAULT_SIZE } else { request.page_size };
    let (filter, before, size) = wrong.or((filter, before, usize::try_from(size).unwrap_or_default()))?;

    let mut rows = page(service, &filter, before.as_deref(), size + 1).await?;
    let is_last = rows.len() <= size;
    rows.truncate(size);
    let last = rows.last().filter(|_| !is_last);
    let next_page_token = last.map(|row| page_token::encode(&hash, &row.dispatch_id)).unwrap_or_default();
    let mut dispatches = with_sagas(service, rows).await?;
    // A dispatch may have moved on since the page was selected. What is shown has the states asked for.
    dispatches.retain(|dispatch| filter.admits(dispatch.state()));
    Ok(v1::ListDispatchesResponse { dispatches, next_page_token })
}

async fn page(
    service: &Service,
    filter: &Filter,
    before: Option<&str>,
    most: usize,
) -> Result<Vec<row::Row>, Status> {
    let (sql, params) = filter.statement(before, most);
    let rows = service.store.query(&sql, params).await;
    let rows = rows.and_then(|rows| rows.iter().map(row::read).collect());
    rows.map_err(|error| status::read_failed(&error))
}

async fn with_sagas(service: &Service, rows: Vec<row::Row>) -> Result<Vec<v1::Dispatch>, Status> {
    let ids: Vec<&str> = rows.iter().map(|row| row.dispatch_id.as_str()).collect();
    let instances = read::instances(&service.store, &ids).await;
    let mut instances = instances.map_err(|error| status::read_failed(&error))?;
    let join = |row: row::Row| {
        let instance = instances.remove(&row.dispatch_id);
        view::summary(row, instance.as_ref())
    };
    Ok(rows.into_iter().map(join).collect())
}
