//! Learns which dispatches have ended, at little cost to the server: one `ListDispatches` of what has ended,
//! newest first, answers for hundreds at a time. Or as a client would who waits for it: by a `WatchDispatch` each. What
//! a list does not bring up, because others fill it, or a watch, because it broke, is asked for one by one, a few a
//! second.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use waybill_proto::v1::{
    Dispatch, DispatchState, GetDispatchRequest, ListDispatchesRequest, get_dispatch_request::Key,
};

use super::{ledger::Ledger, options::Ends};
use crate::cli::{
    client::{ClientArgs, Gateway},
    follow::follow,
};

/// A page is about as long as what is open, within these.
const SHORTEST_PAGE: usize = 16;
const LONGEST_PAGE: usize = 500;
/// What a list has not brought up after so long is asked for by name,
const OVERDUE: Duration = Duration::from_secs(1);
/// so many of them every so often,
const STRAGGLERS: usize = 64;
const BETWEEN: Duration = Duration::from_secs(1);
/// so many at a time.
const AT_ONCE: usize = 8;

/// Looks for ends.
pub(super) struct Watcher {
    pub(super) args: ClientArgs,
    pub(super) client: Gateway,
    pub(super) ledger: Arc<Ledger>,
    pub(super) ends: Ends,
    pub(super) poll: Duration,
}

impl Watcher {
    /// Takes note of ends until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        match self.ends {
            Ends::Listed => self.list(stop).await,
            Ends::Watched => Arc::new(self).watch(stop).await,
        }
    }

    /// Watches each dispatch from its receipt on.
    async fn watch(self: Arc<Self>, stop: CancellationToken) {
        self.ledger.books().to_watch = Some(Vec::new());
        let mut watches = JoinSet::new();
        let mut asking = tokio::time::interval(BETWEEN);
        let mut after = String::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.ledger.news.notified() => {
                    let to_watch = self.ledger.books().to_watch.as_mut().map(std::mem::take);
                    for id in to_watch.unwrap_or_default() {
                        watches.spawn(Arc::clone(&self).watch_one(id));
                    }
                }
                Some(_) = watches.join_next(), if !watches.is_empty() => {}
                _ = asking.tick() => after = self.ask(&after).await,
            }
            if self.ledger.books().open.is_empty() {
                self.ledger.quiet.notify_one();
            }
        }
    }

    async fn watch_one(self: Arc<Self>, dispatch_id: String) {
        // Where it fails, the dispatch is asked for by name.
        let Ok(end) = follow(&self.args, self.client.clone(), &dispatch_id, 0, |_| Ok(())).await else {
            return;
        };
        // The end is not dated beside its beginning: what counts is when it is seen.
        let dispatch = Dispatch { dispatch_id, state: end.state, reason: end.reason, ..Dispatch::default() };
        let now = self.ledger.now();
        self.ledger.books().seen(&dispatch, now);
    }

    /// Looks again and again until `stop`. After an error the next look is the cure; the last one is
    /// reported with what never showed.
    async fn list(self, stop: CancellationToken) {
        let mut asked = Instant::now();
        let mut after = String::new();
        while stop.run_until_cancelled(self.next_look()).await.is_some() {
            let blind = self.look().await.err();
            self.ledger.books().blind = blind;
            if asked.elapsed() >= BETWEEN {
                after = self.ask(&after).await;
                asked = Instant::now();
            }
            if self.ledger.books().open.is_empty() {
                self.ledger.quiet.notify_one();
            }
        }
    }

    async fn next_look(&self) {
        while self.ledger.books().open.is_empty() {
            self.ledger.news.notified().await;
        }
        tokio::time::sleep(self.poll).await;
    }

    /// Reads what has ended, newest first, as long as that brings news.
    async fn look(&self) -> Result<(), Status> {
        let mut page_token = String::new();
        loop {
            let open = self.ledger.books().open.len();
            let size = open.clamp(SHORTEST_PAGE, LONGEST_PAGE);
            let page = self.page(size, page_token).await?;
            let now = self.ledger.now();
            let mut books = self.ledger.books();
            let news = page.0.iter().filter(|dispatch| books.seen(dispatch, now)).count();
            let oldest = books.open.keys().next();
            let beyond = page.0.last().zip(oldest).is_none_or(|(last, oldest)| last.dispatch_id < *oldest);
            if news == 0 || beyond || page.1.is_empty() {
                return Ok(());
            }
            page_token = page.1;
        }
    }

    async fn page(&self, size: usize, page_token: String) -> Result<(Vec<Dispatch>, String), Status> {
        let ends = [DispatchState::Completed, DispatchState::Cancelled, DispatchState::Stuck];
        let request = ListDispatchesRequest {
            page_size: i32::try_from(size).unwrap_or(i32::MAX),
            page_token,
            states: ends.map(i32::from).to_vec(),
            ..ListDispatchesRequest::default()
        };
        let mut client = self.client.clone();
        let page = self.args.call(request, |request| client.list_dispatches(request)).await?;
        Ok((page.dispatches, page.next_page_token))
    }

    /// Asks for those next in turn, and returns where to go on.
    async fn ask(&self, after: &str) -> String {
        let overdue = self.ledger.now().saturating_sub(OVERDUE);
        let ids = self.ledger.books().stragglers(after, overdue, STRAGGLERS);
        let last = ids.last().cloned().unwrap_or_default();
        let mut answers = stream::iter(ids)
            .map(|id| get(&self.args, &self.client, Key::DispatchId(id)))
            .buffer_unordered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            if let Ok(dispatch) = answer {
                let now = self.ledger.now();
                self.ledger.books().seen(&dispatch, now);
            }
        }
        last
    }
}

/// One dispatch, by any name.
pub(super) async fn get(args: &ClientArgs, client: &Gateway, key: Key) -> Result<Dispatch, Status> {
    let mut client = client.clone();
    args.call(GetDispatchRequest { key: Some(key) }, |request| client.get_dispatch(request)).await
}
