//! The saga's side of the wire: which command goes to whom, how it is encoded, and what each reply means.

#[cfg(test)]
mod fuzz;

use bytes::Bytes;
use prost::{Message, Name};
use waybill_messaging::{Envelope, Failure};
use waybill_proto::v1;

/// Who carries out a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Participant {
    /// Keeps the orders.
    Order,
    /// Keeps accounts and reservations.
    Payment,
    /// Keeps the deliveries.
    Dispatch,
}

impl Participant {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Order, Self::Payment, Self::Dispatch];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Payment => "payment",
            Self::Dispatch => "dispatch",
        }
    }

    /// The routing key of its commands.
    pub const fn routing_key(self) -> &'static str {
        match self {
            Self::Order => "order.command",
            Self::Payment => "payment.command",
            Self::Dispatch => "dispatch.command",
        }
    }
}

/// What a participant can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is documented where it is defined, in saga.proto")]
pub enum Command {
    AcceptOrder,
    CancelOrder,
    CompleteOrder,
    ReservePayment,
    ReleasePayment,
    CreateDispatch,
    WithdrawDispatch,
    CapturePayment,
}

impl Command {
    /// Every command.
    pub const ALL: [Self; 8] = [
        Self::AcceptOrder,
        Self::CancelOrder,
        Self::CompleteOrder,
        Self::ReservePayment,
        Self::ReleasePayment,
        Self::CreateDispatch,
        Self::WithdrawDispatch,
        Self::CapturePayment,
    ];

    /// Its Protobuf name without the package.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AcceptOrder => v1::AcceptOrder::NAME,
            Self::CancelOrder => v1::CancelOrder::NAME,
            Self::CompleteOrder => v1::CompleteOrder::NAME,
            Self::ReservePayment => v1::ReservePayment::NAME,
            Self::ReleasePayment => v1::ReleasePayment::NAME,
            Self::CreateDispatch => v1::CreateDispatch::NAME,
            Self::WithdrawDispatch => v1::WithdrawDispatch::NAME,
            Self::CapturePayment => v1::CapturePayment::NAME,
        }
    }

    /// Its full Protobuf name.
    pub fn type_name(self) -> String {
        format!("{}.{}", v1::AcceptOrder::PACKAGE, self.name())
    }

    /// Who carries it out.
    pub const fn participant(self) -> Participant {
        match self {
            Self::AcceptOrder | Self::CancelOrder | Self::CompleteOrder => Participant::Order,
            Self::ReservePayment | Self::ReleasePayment | Self::CapturePayment => Participant::Payment,
            Self::CreateDispatch | Self::WithdrawDispatch => Participant::Dispatch,
        }
    }

    /// The command for one dispatch; `reason` goes with those that undo.
    pub fn encode(self, dispatch_id: &str, request: &v1::DispatchRequested, reason: &str) -> Bytes {
        let (dispatch_id, order_id) = (dispatch_id.to_owned(), request.order_id.clone());
        let (customer_id, destination_code) = (request.customer_id.clone(), request.destination_code.clone());
        let (reason, parcel_count) = (reason.to_owned(), request.parcel_count);
        let body = match self {
            Self::AcceptOrder => {
                v1::AcceptOrder { dispatch_id, order_id, customer_id, destination_code, parcel_count }
                    .encode_to_vec()
            }
            Self::CancelOrder => v1::CancelOrder { dispatch_id, order_id, reason }.encode_to_vec(),
            Self::CompleteOrder => v1::CompleteOrder { dispatch_id, order_id }.encode_to_vec(),
            Self::ReservePayment => {
                let amount = request.amount.clone();
                v1::ReservePayment { dispatch_id, order_id, customer_id, amount, parcel_count }
                    .encode_to_vec()
            }
            Self::ReleasePayment => v1::ReleasePayment { dispatch_id, order_id, reason }.encode_to_vec(),
            Self::CreateDispatch => {
                v1::CreateDispatch { dispatch_id, order_id, destination_code, parcel_count }.encode_to_vec()
            }
            Self::WithdrawDispatch => v1::WithdrawDispatch { dispatch_id, order_id, reason }.encode_to_vec(),
            Self::CapturePayment => v1::CapturePayment { dispatch_id, order_id }.encode_to_vec(),
        };
        body.into()
    }
}

/// How a participant answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Done,
    /// Not for a business reason, which is given.
    Refused(String),
}

/// Whether a message is of the package that this contract stands in.
pub(crate) fn is_ours(envelope: &Envelope) -> bool {
    envelope.type_name.starts_with(PACKAGE)
}

const PACKAGE: &str = "dispatch.v1.";

/// Reads a reply: the dispatch it is about, the command it answers, and how. `None`: it is none that this
/// release knows.
pub(crate) fn read_reply(envelope: &Envelope) -> Result<Option<(String, Command, Verdict)>, Failure> {
    macro_rules! done {
        ($reply:ident, $command:ident) => {{
            let reply = decode::<v1::$reply>(envelope)?;
            (reply.dispatch_id, Command::$command, Verdict::Done)
        }};
    }
    macro_rules! refused {
        ($reply:ident, $command:ident) => {{
            let reply = decode::<v1::$reply>(envelope)?;
            (reply.dispatch_id, Command::$command, Verdict::Refused(clean(&reply.reason)))
        }};
    }
    let name = envelope.type_name.strip_prefix(PACKAGE).unwrap_or_default();
    Ok(Some(match name {
        v1::OrderAccepted::NAME => done!(OrderAccepted, AcceptOrder),
        v1::OrderRejected::NAME => refused!(OrderRejected, AcceptOrder),
        v1::OrderCancelled::NAME => done!(OrderCancelled, CancelOrder),
        v1::OrderCompleted::NAME => done!(OrderCompleted, CompleteOrder),
        v1::PaymentReserved::NAME => done!(PaymentReserved, ReservePayment),
        v1::PaymentDeclined::NAME => refused!(PaymentDeclined, ReservePayment),
        v1::PaymentReleased::NAME => done!(PaymentReleased, ReleasePayment),
        v1::PaymentCaptured::NAME => done!(PaymentCaptured, CapturePayment),
        v1::DispatchCreated::NAME => done!(DispatchCreated, CreateDispatch),
        v1::DispatchRefused::NAME => refused!(DispatchRefused, CreateDispatch),
        v1::DispatchWithdrawn::NAME => done!(DispatchWithdrawn, WithdrawDispatch),
        _ => return Ok(None),
    }))
}

/// Decodes the body as `T`.
pub(crate) fn decode<T: Message + Default + Name>(envelope: &Envelope) -> Result<T, Failure> {
    T::decode(envelope.body.clone())
        .map_err(|error| Failure::Permanent(format!("malformed {}: {error}", T::full_name())))
}

/// A reason from outside, as it may be stored and shown: no control characters, at most 500 characters.
pub(crate) fn clean(reason: &str) -> String {
    reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every message of the contract, by its full name.
    fn message_types() -> Vec<String> {
        let files = prost_types::FileDescriptorSet::decode(waybill_proto::DESCRIPTORS).unwrap().file;
        let of_file = |file: prost_types::FileDescriptorProto| {
            let package = file.package().to_owned();
            file.message_type.into_iter().map(move |message| format!("{package}.{}", message.name()))
        };
        files.into_iter().flat_map(of_file).collect()
    }

    #[test]
    fn every_command_is_of_the_contract_and_has_a_reply_that_means_done() {
        let types = message_types();
        let done = |type_name: &String| {
            let envelope = Envelope { type_name: type_name.clone(), ..Envelope::default() };
            let (_, command, verdict) = read_reply(&envelope).unwrap()?;
            (verdict == Verdict::Done).then_some(command)
        };
        let answered: Vec<Command> = types.iter().filter_map(done).collect();
        for command in Command::ALL {
            assert!(types.contains(&command.type_name()), "{command:?}");
            let replies = answered.iter().filter(|answered| **answered == command).count();
            assert_eq!(replies, 1, "{command:?} is done by one reply");
        }
    }

    #[test]
    fn every_command_of_a_definition_is_listed() {
        let all = crate::order_fulfilment(&crate::Defaults::default());
        let used = all.iter().flat_map(|definition| &definition.steps);
        for command in used.flat_map(|step| [Some(step.command), step.compensation]).flatten() {
            assert!(Command::ALL.contains(&command), "{command:?}");
        }
    }
}
