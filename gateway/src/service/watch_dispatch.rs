//! `WatchDispatch`: the past of one dispatch, then its present, until it stands still.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tracing::Instrument;
use waybill_proto::v1;
use waybill_saga::{
    Watched,
    read::{InstanceState, InstanceView, Progress, TransitionView},
};

use super::Service;
use crate::{edge::Call, request::MAX_ID, row::Key, view, violations::Violations};

/// Transitions that wait for a slow reader; what is beyond waits in the table.
const WINDOW: usize = 16;

type Transitions = mpsc::Sender<Result<v1::DispatchTransition, Status>>;

/// One who watches.
struct Watcher {
    service: Service,
    call: Call,
    dispatch_id: String,
    /// The last version that was sent: where a new stream would go on.
    sent: AtomicU64,
    transitions: Transitions,
}

/// Starts the stream's own task, which outlives the call that opened it.
pub(super) async fn open(
    service: Service,
    call: Call,
    request: v1::WatchDispatchRequest,
) -> Result<ReceiverStream<Result<v1::DispatchTransition, Status>>, Status> {
    let v1::WatchDispatchRequest { dispatch_id, after_version } = request;
    let mut wrong = Violations::default();
    wrong.check_id("dispatch_id", &dispatch_id, 1, MAX_ID);
    wrong.or(())?;
    call.span.record("dispatch_id", dispatch_id.as_str());
    // Watched from before the first look.
    let versions = service.versions.watch(&dispatch_id);
    let found = service.find(&call, &Key::Dispatch(dispatch_id.clone())).await?;
    let (transitions, outbound) = mpsc::channel(WINDOW);
    let span = call.span.clone();
    let watcher = Watcher { service, call, dispatch_id, sent: AtomicU64::new(after_version), transitions };
    tokio::spawn(async move { watcher.run(found.instance, versions).await }.instrument(span));
    Ok(ReceiverStream::new(outbound))
}

impl Watcher {
    async fn run(self, found: Option<InstanceView>, versions: Watched) {
        let end = tokio::select! {
            end = self.follow(found, versions) => end,
            () = self.service.stop.cancelled() => {
                let version = self.sent.load(Ordering::Relaxed);
                Err(Status::unavailable(format!("shutting down, resume from version {version}")))
            }
            () = self.call.expired() => Err(Status::deadline_exceeded("deadline passed while watching")),
            () = self.transitions.closed() => Err(Status::cancelled("the client is gone")),
        };
        let code = end.as_ref().err().map_or(Code::Ok, Status::code);
        if let Err(status) = end {
            // A reader so slow that nothing fits any more learns from the end of the stream alone.
            let _ = self.transitions.try_send(Err(status));
        }
        self.call.ended(code);
    }

    /// Sends what happens until the dispatch has ended or is stuck.
    async fn follow(&self, mut found: Option<InstanceView>, mut versions: Watched) -> Result<(), Status> {
        let mut instance = loop {
            match found {
                Some(instance) => break instance,
                None => versions.beyond(self.sent.load(Ordering::Relaxed)).await,
            }
            found = self.service.instance(&self.dispatch_id).await?;
        };
        let mut told = Told::nothing_of(&instance);
        loop {
            // The history is read after the instance: whatever that had come to is in there, or has been forgotten.
            let news = self.send_news(&mut told).await?;
            if stands_still(news.unwrap_or(instance.state)) {
                return Ok(());
            }
            versions.beyond(self.sent.load(Ordering::Relaxed)).await;
            if news.is_none() {
                instance = self.service.instance(&self.dispatch_id).await?.unwrap_or(instance);
            }
        }
    }

    /// Sends what has not been sent yet, and returns where the dispatch then stands; nothing where there is no news.
    async fn send_news(&self, told: &mut Told) -> Result<Option<InstanceState>, Status> {
        let news = self.service.history(&self.dispatch_id, told.version).await?;
        for happened in &news {
            self.send(happened, told).await?;
        }
        Ok(news.last().map(|last| last.state))
    }

    async fn send(&self, happened: &TransitionView, told: &mut Told) -> Result<(), Status> {
        let brought = told.progress.note(happened);
        told.version = happened.version;
        // What a stream that is resumed has sent before says only how long what follows has taken.
        if happened.version <= self.sent.load(Ordering::Relaxed) {
            return Ok(());
        }
        let transition = view::transition(&self.dispatch_id, happened, brought);
        let sent = self.transitions.send(Ok(transition)).await;
        sent.map_err(|_| Status::cancelled("the client is gone"))?;
        self.sent.store(happened.version, Ordering::Relaxed);
        Ok(())
    }
}

/// What a watcher has read of the history.
struct Told {
    progress: Progress,
    /// The last version read.
    version: u64,
}

impl Told {
    fn nothing_of(instance: &InstanceView) -> Self {
        Self { progress: Progress::new(&instance.pinned), version: 0 }
    }
}

/// Whether nothing more happens without a person.
const fn stands_still(state: InstanceState) -> bool {
    match state {
        InstanceState::Completed | InstanceState::Compensated | InstanceState::Stuck => true,
        InstanceState::Running | InstanceState::Compensating => false,
    }
}
