//! What clients read of a history, and how long it takes.

use std::time::Instant;

use anyhow::{Context, Result};
use tonic::transport::Channel;
use waybill_proto::v1::{
    DispatchState, GetDispatchRequest, ListDispatchesRequest, dispatch_gateway_client::DispatchGatewayClient,
    get_dispatch_request::Key,
};

use super::fill::{SHARE, prefix};
use crate::book::median;

/// Calls of one kind, one after the other.
const CALLS: u32 = 100;
const DAY: i64 = 24 * 3_600;
/// Dispatches on a page, as it is by default; and where pages are only passed on the way to a deep one.
const PAGE: i32 = 50;
const LARGEST: i32 = 1_000;

/// One client of one history.
pub(super) struct Reader {
    pub(super) client: DispatchGatewayClient<Channel>,
    /// Dispatches in the history.
    pub(super) size: u32,
}

/// A way of reading.
#[derive(Clone)]
pub(super) enum Read {
    ById,
    ByMessage,
    ByOrder,
    FirstPage(ListDispatchesRequest),
    /// Half way through all that match.
    DeepPage(ListDispatchesRequest),
}

/// Every way, with what it is called. Pages are asked with each filter; the deep one where many match.
pub(super) fn all() -> Vec<(String, Read)> {
    let none = ListDispatchesRequest { page_size: PAGE, ..ListDispatchesRequest::default() };
    let states = |state: DispatchState| ListDispatchesRequest { states: vec![state.into()], ..none.clone() };
    let customer_id = "h-customer-7".to_owned();
    let now = chrono::Utc::now().timestamp();
    let moment = |days: i64| Some(prost_types::Timestamp { seconds: now - days * DAY, nanos: 0 });
    let customer = ListDispatchesRequest { customer_id: customer_id.clone(), ..none.clone() };
    let filters = [
        ("no filter", none.clone(), true),
        ("state completed", states(DispatchState::Completed), true),
        ("state cancelled", states(DispatchState::Cancelled), false),
        ("state stuck", states(DispatchState::Stuck), false),
        (
            "order",
            ListDispatchesRequest { order_id: format!("{}-7", prefix("order_id")), ..none.clone() },
            false,
        ),
        ("customer", customer, true),
        (
            "customer and state",
            ListDispatchesRequest { customer_id, ..states(DispatchState::Completed) },
            false,
        ),
        (
            "ten days",
            ListDispatchesRequest { accepted_from: moment(15), accepted_to: moment(5), ..none },
            true,
        ),
    ];
    let mut reads = vec![
        ("GetDispatch by id".to_owned(), Read::ById),
        ("GetDispatch by message".to_owned(), Read::ByMessage),
        ("GetDispatch by order".to_owned(), Read::ByOrder),
    ];
    for (name, filter, deep) in filters {
        reads.push((format!("ListDispatches, {name}, first page"), Read::FirstPage(filter.clone())));
        if deep {
            reads.push((format!("ListDispatches, {name}, deep page"), Read::DeepPage(filter)));
        }
    }
    reads
}

impl Reader {
    /// The middle time of a call, ms.
    pub(super) async fn time(&mut self, read: &Read) -> Result<f64> {
        match read {
            Read::ById => {
                let ids = self.ids().await?;
                self.gets(|n| Key::DispatchId(ids[n as usize % ids.len()].clone())).await
            }
            Read::ByMessage => self.gets(|n| Key::MessageId(format!("{}-{n}", prefix("message_id")))).await,
            Read::ByOrder => self.gets(|n| Key::OrderId(format!("{}-{n}", prefix("order_id")))).await,
            Read::FirstPage(filter) => self.pages(filter.clone()).await,
            Read::DeepPage(filter) => {
                let page_token = self.half_way(filter).await?;
                self.pages(ListDispatchesRequest { page_token, ..filter.clone() }).await
            }
        }
    }

    /// Ids of as many as are read.
    async fn ids(&mut self) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for n in 0..CALLS {
            let key = Some(Key::MessageId(format!("{}-{}", prefix("message_id"), self.spread(n))));
            ids.push(self.client.get_dispatch(GetDispatchRequest { key }).await?.into_inner().dispatch_id);
        }
        Ok(ids)
    }

    /// Numbers all over the history, in no order.
    fn spread(&self, n: u32) -> u32 {
        let far = u64::from(n) * 7_919 * u64::from(self.size) / 104_729;
        1 + u32::try_from(far % u64::from(self.size)).unwrap_or_default()
    }

    async fn gets(&mut self, key: impl Fn(u32) -> Key) -> Result<f64> {
        let mut times = Vec::new();
        for n in 0..CALLS {
            let request = GetDispatchRequest { key: Some(key(self.spread(n))) };
            let begun = Instant::now();
            self.client.get_dispatch(request).await?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        median(times).context("no calls")
    }

    async fn pages(&mut self, request: ListDispatchesRequest) -> Result<f64> {
        let mut times = Vec::new();
        for _ in 0..CALLS {
            let request = request.clone();
            let begun = Instant::now();
            self.client.list_dispatches(request).await?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        median(times).context("no calls")
    }

    /// Where the page begins that is half way through those that match; by way of large pages where there are
    /// many.
    async fn half_way(&mut self, filter: &ListDispatchesRequest) -> Result<String> {
        let share = if filter.customer_id.is_empty() { 1 } else { SHARE };
        let share = if filter.accepted_from.is_some() { 2 } else { share };
        let before = (self.size / share / 2).max(1);
        let mut request = filter.clone();
        let mut passed = 0;
        while passed < before {
            request.page_size = LARGEST.min(i32::try_from(before - passed)?);
            let page = self.client.list_dispatches(request.clone()).await?.into_inner();
            if page.next_page_token.is_empty() {
                break;
            }
            passed += u32::try_from(page.dispatches.len())?;
            request.page_token = page.next_page_token;
        }
        Ok(request.page_token)
    }
}
