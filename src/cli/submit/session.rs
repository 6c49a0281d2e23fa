//! Sends many over one bidirectional stream, so many at a time, and opens it again when it breaks. One
//! task does it all: it waits for whichever comes first of input, answer, planned attempt, end of a
//! dispatch, or silence.

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use waybill_proto::v1::{DispatchReceipt, DispatchRequested};

use super::{board::Board, item::Item, one::silence, pending::Pending, source::Source, wait::Ended};
use crate::cli::{
    Failure,
    backoff::{Backoff, jittered},
    broken::Break,
    client::{ClientArgs, Gateway},
    status,
};

type Input = Result<Item, Failure>;

/// The sending of all items of a source.
pub(super) struct Session<'a> {
    args: &'a ClientArgs,
    client: Gateway,
    inputs: mpsc::Receiver<Input>,
    /// Whether more input may come.
    open: bool,
    /// Input that ended the reading.
    bad: Option<Failure>,
    /// An item whose message id is on its way already; it waits for that answer.
    held: Option<Item>,
    pending: Pending,
    in_flight: usize,
    answers: u64,
}

enum Event {
    Input(Option<Input>),
    Receipt(Option<DispatchReceipt>),
    Due,
    Ended(Ended),
    Silence,
}

impl<'a> Session<'a> {
    pub(super) fn new(args: &'a ClientArgs, client: Gateway, source: Source, in_flight: u16) -> Self {
        Self {
            args,
            client,
            inputs: source.items,
            open: true,
            bad: None,
            held: None,
            pending: Pending::default(),
            in_flight: in_flight.into(),
            answers: 0,
        }
    }

    /// Returns when every item is answered, or when the server was out of reach for the whole time-out.
    pub(super) async fn run(mut self, board: &mut Board<'_>) -> Result<(), Failure> {
        let mut backoff = Backoff::new();
        loop {
            let before = self.answers;
            let broken = match self.stream(board).await {
                Ok(()) => return self.bad.map_or(Ok(()), Err),
                Err(broken) => broken.passing()?,
            };
            if self.answers > before {
                backoff.reset();
            }
            tokio::select! {
                () = board.pulse.silence(self.args.timeout) => return Err(broken.into()),
                () = backoff.pause() => {}
            }
        }
    }

    async fn stream(&mut self, board: &mut Board<'_>) -> Result<(), Break> {
        // As many as can be on their way, so that sending never waits.
        let (sender, receiver) = mpsc::channel(self.in_flight);
        send(&sender, self.pending.restart())?;
        let opening =
            timeout(self.args.timeout, self.client.request_dispatches(ReceiverStream::new(receiver)));
        let mut receipts = opening.await.map_err(|_| silence(self.args.timeout))??.into_inner();
        while self.open || self.held.is_some() || !self.pending.is_empty() {
            match self.event(&mut receipts, board).await? {
                Event::Input(input) => self.take(input, &sender, board)?,
                Event::Receipt(Some(receipt)) => self.answer(&receipt, &sender, board)?,
                Event::Receipt(None) => return Err(Status::unavailable("the server ended the stream").into()),
                Event::Due => send(&sender, self.pending.take_due(Instant::now()))?,
                Event::Ended(ended) => board.ended(ended)?,
                Event::Silence => return Err(silence(self.args.timeout).into()),
            }
        }
        Ok(())
    }

    async fn event(
        &mut self,
        receipts: &mut Streaming<DispatchReceipt>,
        board: &mut Board<'_>,
    ) -> Result<Event, Status> {
        let due = self.pending.next_due();
        let room =
            self.open && self.held.is_none() && self.pending.len() < self.in_flight && board.has_room();
        let awaiting = !self.pending.is_empty();
        tokio::select! {
            receipt = receipts.message() => Ok(Event::Receipt(receipt?)),
            input = self.inputs.recv(), if room => Ok(Event::Input(input)),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Ok(Event::Due),
            Some(ended) = board.waiting.next() => Ok(Event::Ended(ended)),
            () = board.pulse.silence(self.args.timeout), if awaiting => Ok(Event::Silence),
        }
    }

    fn take(
        &mut self,
        input: Option<Input>,
        sender: &mpsc::Sender<DispatchRequested>,
        board: &mut Board<'_>,
    ) -> Result<(), Status> {
        match input {
            Some(Ok(item)) if self.pending.contains(&item.request.message_id) => self.held = Some(item),
            Some(Ok(item)) => return self.begin(item, sender, board),
            Some(Err(failure)) => {
                self.bad = Some(failure);
                self.open = false;
            }
            None => self.open = false,
        }
        Ok(())
    }

    fn begin(
        &mut self,
        item: Item,
        sender: &mpsc::Sender<DispatchRequested>,
        board: &mut Board<'_>,
    ) -> Result<(), Status> {
        if self.pending.is_empty() {
            // Silence counts from the question, not from the answer before it.
            board.pulse.beat();
        }
        let request = item.request.clone();
        board.sent();
        self.pending.insert(item, Instant::now());
        send(sender, [request])
    }

    fn answer(
        &mut self,
        receipt: &DispatchReceipt,
        sender: &mpsc::Sender<DispatchRequested>,
        board: &mut Board<'_>,
    ) -> Result<(), Break> {
        self.answers += 1;
        board.pulse.beat();
        let error = receipt.error.as_ref().map(status::of_item);
        if error.as_ref().is_some_and(|error| self.again(&receipt.message_id, error)) {
            board.retried();
            return Ok(());
        }
        let Some(flight) = self.pending.settle(&receipt.message_id) else { return Ok(()) };
        match error {
            None => board.accepted(receipt, flight.since.elapsed())?,
            Some(error) => board.rejected(&flight.item, &error)?,
        }
        if let Some(held) = self.held.take_if(|held| !self.pending.contains(&held.request.message_id)) {
            self.begin(held, sender, board)?;
        }
        Ok(())
    }

    /// Plans another attempt where the server could not decide about an item, and attempts are left.
    fn again(&mut self, message_id: &str, error: &Status) -> bool {
        let undecided = matches!(
            error.code(),
            Code::ResourceExhausted | Code::Unavailable | Code::DeadlineExceeded | Code::Aborted
        );
        // A little later than asked for, so that the items do not all come back at once.
        let wish = status::retry_delay(error).map(|delay| delay + jittered(delay) / 2);
        let wish = wish.map(|wish| wish.min(self.args.timeout / 2));
        undecided && self.pending.postpone(message_id, wish, Instant::now())
    }
}

/// The channel holds as many as may be pending, so it is never full; closed means that the stream broke.
fn send(
    sender: &mpsc::Sender<DispatchRequested>,
    requests: impl IntoIterator<Item = DispatchRequested>,
) -> Result<(), Status> {
    for request in requests {
        sender.try_send(request).map_err(|_| Status::unavailable("the stream broke"))?;
    }
    Ok(())
}
