//! `ListDispatches`: pages of dispatches, newest first. A page begins where the one before ended, by id:
//! what is accepted meanwhile neither shifts a page nor appears on two.

mod filter;

use tonic::Status;
use waybill_proto::v1;

use self::filter::Filter;
use super::Service;
use crate::{
    edge::Call,
    found::{self, Found},
    page_token, status, view,
    violations::Violations,
};

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

    let mut found = page(service, &filter, before.as_deref(), size + 1).await?;
    let is_last = found.len() <= size;
    found.truncate(size);
    let last = found.last().filter(|_| !is_last);
    let next_page_token =
        last.map(|last| page_token::encode(&hash, &last.row.dispatch_id)).unwrap_or_default();
    let dispatches =
        found.into_iter().map(|found| view::summary(found.row, found.instance.as_ref())).collect();
    Ok(v1::ListDispatchesResponse { dispatches, next_page_token })
}

async fn page(
    service: &Service,
    filter: &Filter,
    before: Option<&str>,
    most: usize,
) -> Result<Vec<Found>, Status> {
    let (sql, params) = filter.statement(before, most);
    let rows = service.store.query(&sql, params).await;
    let found = rows.and_then(|rows| rows.iter().map(found::read).collect());
    found.map_err(|error| status::read_failed(&error))
}
