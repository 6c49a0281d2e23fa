//! The wire contract against the one that was published, and against consumers older than it.
#![expect(clippy::unwrap_used, reason = "a test crate")]

use std::collections::BTreeSet;

use prost::Message;
use prost_types::{FileDescriptorSet, Timestamp};
use waybill_proto::{DESCRIPTORS, baseline::promises, v1};

const BASELINE: &str = include_str!("../baseline.txt");

fn lines(descriptors: &[u8]) -> BTreeSet<String> {
    promises(descriptors).unwrap().into_iter().map(|line| line.trim_end().to_owned()).collect()
}

fn broken(descriptors: &[u8]) -> Vec<&'static str> {
    let now = lines(descriptors);
    BASELINE.lines().filter(|line| !now.contains(*line)).collect()
}

fn changed(change: impl Fn(&mut prost_types::DescriptorProto)) -> Vec<u8> {
    let mut set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let messages = set.file.iter_mut().flat_map(|file| &mut file.message_type);
    messages.filter(|message| message.name() == "DispatchRequested").for_each(change);
    set.encode_to_vec()
}

#[test]
fn every_published_field_number_type_and_method_is_unchanged() {
    assert_eq!(broken(DESCRIPTORS), Vec::<&str>::new());
}

#[test]
fn every_promise_is_in_the_baseline() {
    let published: BTreeSet<String> = BASELINE.lines().map(str::to_owned).collect();
    let new: Vec<_> = lines(DESCRIPTORS).difference(&published).cloned().collect();
    assert!(
        new.is_empty(),
        "add them: cargo run -p waybill-proto --example baseline > proto/baseline.txt\n{new:#?}"
    );
}

#[test]
fn a_removed_renumbered_or_retyped_field_is_found() {
    let removed = changed(|message| {
        message.field.remove(1);
    });
    let renumbered = changed(|message| message.field[1].number = Some(99));
    let retyped =
        changed(|message| message.field[3].set_type(prost_types::field_descriptor_proto::Type::Int64));
    for descriptors in [removed, renumbered, retyped] {
        assert_eq!(broken(&descriptors).len(), 1);
    }
}

/// `DispatchRequested` as the first release of a consumer might have known it.
#[derive(Clone, PartialEq, Message)]
struct OldRequest {
    #[prost(string, tag = "1")]
    message_id: String,
    #[prost(string, tag = "2")]
    order_id: String,
    #[prost(string, tag = "3")]
    destination_code: String,
    #[prost(int32, tag = "4")]
    parcel_count: i32,
    #[prost(message, optional, tag = "5")]
    requested_at: Option<Timestamp>,
}

#[test]
fn an_old_consumer_reads_a_message_with_fields_it_does_not_know() {
    let new = v1::DispatchRequested {
        message_id: "m-1".into(),
        order_id: "o-1".into(),
        destination_code: "NLRTM".into(),
        parcel_count: 3,
        requested_at: Some(Timestamp { seconds: 1, nanos: 0 }),
        customer_id: "acme".into(),
        amount: Some(v1::Money { currency_code: "EUR".into(), minor_units: 1_250 }),
    };
    let old = OldRequest::decode(new.encode_to_vec().as_slice()).unwrap();
    assert_eq!((old.order_id.as_str(), old.destination_code.as_str(), old.parcel_count), ("o-1", "NLRTM", 3));
}

#[test]
fn a_new_consumer_reads_an_old_message_with_defaults_for_what_it_lacks() {
    let old = OldRequest { message_id: "m-1".into(), order_id: "o-1".into(), ..OldRequest::default() };
    let new = v1::DispatchRequested::decode(old.encode_to_vec().as_slice()).unwrap();
    assert_eq!((new.customer_id.as_str(), new.amount), ("", None));
}
