//! Clients that behave as the contract asks them to: many at a time, and each asks again, with the same
//! `message_id`, until it has a receipt.

use std::{error::Error as _, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tonic::{Code, Request, Status};
use waybill_proto::v1::{DispatchReceipt, DispatchRequested};

use crate::{
    audit::Fate,
    client::{Client, refused_by_dispatch, refused_by_order, refused_by_payment, request},
    patience::in_time,
};

const PAUSE: Duration = Duration::from_millis(50);
/// A call that has no answer by then is made again.
const DEADLINE: Duration = Duration::from_secs(10);

/// The request of that number, and how it ends: a tenth is refused at each of the three participants.
pub fn numbered(number: usize) -> (DispatchRequested, Fate) {
    let id = format!("m-{number}");
    match number % 10 {
        1 => (refused_by_order(&id), Fate::RefusedByOrder),
        2 => (refused_by_payment(&id), Fate::RefusedByPayment),
        3 => (refused_by_dispatch(&id), Fate::RefusedByDispatch),
        _ => (request(&id), Fate::Completed),
    }
}

/// Requests on their way.
pub struct Load {
    acknowledged: watch::Receiver<usize>,
    task: JoinHandle<Vec<DispatchReceipt>>,
}

impl Load {
    /// Starts to send `requests`, `in_flight` at a time.
    pub fn start(client: &Client, requests: Vec<DispatchRequested>, in_flight: usize) -> Self {
        let (sender, acknowledged) = watch::channel(0);
        let client = client.clone();
        let task = tokio::spawn(async move {
            let mut receipts = Vec::with_capacity(requests.len());
            let mut answers =
                stream::iter(requests).map(|request| insist(&client, request)).buffer_unordered(in_flight);
            while let Some(receipt) = answers.next().await {
                receipts.push(receipt);
                sender.send_replace(receipts.len());
            }
            receipts
        });
        Self { acknowledged, task }
    }

    /// Waits until that many have a receipt.
    pub async fn reached(&mut self, receipts: usize) {
        let reached = self.acknowledged.wait_for(|acknowledged| *acknowledged >= receipts);
        in_time("receipts", reached).await.expect("the load goes on");
    }

    /// The receipts of all.
    pub async fn receipts(self) -> Vec<DispatchReceipt> {
        self.task.await.expect("the load does not panic")
    }
}

/// Asks until there is a receipt.
pub async fn insist(client: &Client, request: DispatchRequested) -> DispatchReceipt {
    let asking = async {
        loop {
            let mut call = Request::new(request.clone());
            call.set_timeout(DEADLINE);
            match client.clone().request_dispatch(call).await {
                Ok(receipt) => return receipt.into_inner(),
                Err(status) if may_ask_again(&status) => sleep(PAUSE).await,
                Err(status) => panic!("{}: {status}", request.message_id),
            }
        }
    };
    in_time("a receipt", asking).await
}

/// What a server says that is overloaded or stopping, and what a client says whose connection ended under
/// a call (also in order, by GOAWAY, which tonic reports as INTERNAL).
fn may_ask_again(status: &Status) -> bool {
    let connection_ended =
        status.source().is_some_and(<dyn std::error::Error>::is::<tonic::transport::Error>);
    connection_ended
        || matches!(
            status.code(),
            Code::Unavailable
                | Code::DeadlineExceeded
                | Code::ResourceExhausted
                | Code::Unknown
                | Code::Cancelled
        )
}
