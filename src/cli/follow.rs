//! Follows one dispatch to its end, through lost connections and restarts of the server.

use tonic::{Code, Status, Streaming};
use waybill_proto::v1::{
    DispatchState, DispatchTransition, GetDispatchRequest, WatchDispatchRequest, get_dispatch_request::Key,
};

use super::{
    Failure,
    backoff::Backoff,
    broken::Break,
    client::{ClientArgs, Gateway},
    pulse::Pulse,
    state,
};

/// Calls `seen` once for every transition after `version`, oldest first, and returns the last one, whose
/// state is an end. A broken stream is resumed after the last version seen, until the server has been out
/// of reach for the whole time-out.
pub(super) async fn follow(
    args: &ClientArgs,
    client: Gateway,
    dispatch_id: &str,
    version: u64,
    mut seen: impl FnMut(&DispatchTransition) -> Result<(), Failure>,
) -> Result<DispatchTransition, Failure> {
    let mut watch = Watch { args, client, dispatch_id, version, heard: Pulse::new() };
    let mut backoff = Backoff::new();
    loop {
        let before = watch.version;
        let broken = match watch.stream(&mut seen).await {
            Ok(Some(end)) => return Ok(end),
            Ok(None) => Status::unavailable("the server ended the stream before the dispatch ended"),
            Err(broken) => broken.passing()?,
        };
        if watch.version > before {
            backoff.reset();
        }
        tokio::select! {
            () = watch.heard.silence(args.timeout) => return Err(broken.into()),
            () = backoff.pause() => {}
        }
    }
}

struct Watch<'a> {
    args: &'a ClientArgs,
    client: Gateway,
    dispatch_id: &'a str,
    /// The last version seen.
    version: u64,
    /// Beats whenever the server answered.
    heard: Pulse,
}

impl Watch<'_> {
    /// Reads one stream to its end, also beyond the end state: a stream that is left before the server has ended it is
    /// cancelled, and after a thousand of those the HTTP/2 library takes the server for a hostile one and closes the
    /// connection, with all that is under way there.
    async fn stream(
        &mut self,
        seen: &mut impl FnMut(&DispatchTransition) -> Result<(), Failure>,
    ) -> Result<Option<DispatchTransition>, Break> {
        let mut transitions = self.open().await?;
        self.heard.beat();
        let read = self.read(&mut transitions, seen).await;
        // The stream was open until now, so now is when the server was last in reach.
        self.heard.beat();
        read
    }

    async fn open(&mut self) -> Result<Streaming<DispatchTransition>, Status> {
        let request =
            WatchDispatchRequest { dispatch_id: self.dispatch_id.to_owned(), after_version: self.version };
        // Without a deadline of its own: it would end the stream as well.
        let opening = tokio::time::timeout(self.args.timeout, self.client.watch_dispatch(request));
        let late = |_| Status::deadline_exceeded("the server did not open the stream in time");
        Ok(opening.await.map_err(late)??.into_inner())
    }

    async fn read(
        &mut self,
        transitions: &mut Streaming<DispatchTransition>,
        seen: &mut impl FnMut(&DispatchTransition) -> Result<(), Failure>,
    ) -> Result<Option<DispatchTransition>, Break> {
        let mut end = None;
        loop {
            let transition = match transitions.message().await {
                Ok(Some(transition)) => transition,
                Ok(None) => break,
                // All that was still to come is the end of the stream.
                Err(_) if end.is_some() => break,
                Err(status) => return Err(status.into()),
            };
            if transition.version <= self.version {
                continue;
            }
            self.version = transition.version;
            seen(&transition)?;
            end = state::is_end(transition.state()).then_some(transition);
        }
        match end {
            Some(end) if self.is_last(&end).await? => Ok(Some(end)),
            _ => Ok(None),
        }
    }

    /// Whether nothing follows. Out of STUCK an operator may have led the dispatch since then.
    async fn is_last(&mut self, transition: &DispatchTransition) -> Result<bool, Status> {
        if transition.state() != DispatchState::Stuck {
            return Ok(true);
        }
        let request = GetDispatchRequest { key: Some(Key::DispatchId(self.dispatch_id.to_owned())) };
        let client = &mut self.client;
        match self.args.call(request, |request| client.get_dispatch(request)).await {
            Ok(dispatch) => Ok(state::has_ended(&dispatch, transition)),
            Err(status) if status.code() == Code::NotFound => Ok(true),
            Err(status) => Err(status),
        }
    }
}
