//! Finds one dispatch by whichever id a person has at hand.

use tonic::Code;
use waybill_proto::v1::{Dispatch, GetDispatchRequest, get_dispatch_request::Key};

use super::{
    Failure,
    client::{ClientArgs, Gateway},
};

/// What kind of id was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum By {
    /// Id of the dispatch, from its receipt
    Dispatch,
    /// Id of the request
    Message,
    /// Id of the order
    Order,
}

/// The dispatch with this id. Without a kind it is tried as each, in the order of the kinds.
pub(super) async fn find(
    args: &ClientArgs,
    client: &mut Gateway,
    id: &str,
    by: Option<By>,
) -> Result<Dispatch, Failure> {
    let kinds = by.map_or(vec![By::Dispatch, By::Message, By::Order], |by| vec![by]);
    let mut failure = Failure::usage("no id was given");
    for kind in kinds {
        let request = GetDispatchRequest { key: Some(key(kind, id)) };
        match args.call(request, |request| client.get_dispatch(request)).await {
            Ok(dispatch) => return Ok(dispatch),
            // A text that cannot be an id of this kind is none of this kind either.
            Err(status)
                if by.is_none() && matches!(status.code(), Code::NotFound | Code::InvalidArgument) =>
            {
                failure = status.into();
            }
            Err(status) => return Err(status.into()),
        }
    }
    if by.is_none() {
        failure.message = format!("{} (nor is it the id of a dispatch or a message)", failure.message);
    }
    Err(failure)
}

fn key(kind: By, id: &str) -> Key {
    match kind {
        By::Dispatch => Key::DispatchId(id.to_owned()),
        By::Message => Key::MessageId(id.to_owned()),
        By::Order => Key::OrderId(id.to_owned()),
    }
}
