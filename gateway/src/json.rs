//! Messages as JSON and back, by the descriptors of the contract. Their fields have the names of the `.proto` files,
//! as everywhere else in the documents and on the command line.

use std::sync::LazyLock;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use waybill_proto::DESCRIPTORS;

/// The contract. It is compiled in and cannot be malformed; if it were, it would be empty.
pub(crate) static CONTRACT: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).unwrap_or_default());

/// A type of the contract. Errors: it is none.
fn of(type_name: &str) -> Result<MessageDescriptor, String> {
    let found = CONTRACT.get_message_by_name(type_name);
    found.ok_or_else(|| format!("{type_name:?} is no message of this contract"))
}

/// The body as JSON, with the names of the fields as in the `.proto` files. Errors: why there is none.
pub(crate) fn to_json(type_name: &str, body: &[u8]) -> Result<String, String> {
    let message = read(type_name, body)?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    let mut json = serde_json::Serializer::pretty(Vec::new());
    let written = message.serialize_with_options(&mut json, &options);
    written.map_err(|error| format!("it cannot be shown as JSON: {error}"))?;
    String::from_utf8(json.into_inner()).map_err(|error| error.to_string())
}

/// A message in one line, with every field that has a value by default.
pub(crate) fn compact(message: &DynamicMessage) -> Result<String, String> {
    let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false);
    let mut json = serde_json::Serializer::new(Vec::new());
    message.serialize_with_options(&mut json, &options).map_err(|error| error.to_string())?;
    String::from_utf8(json.into_inner()).map_err(|error| error.to_string())
}

/// Whether something would be lost by way of JSON.
pub(crate) fn has_unknown_fields(type_name: &str, body: &[u8]) -> bool {
    read(type_name, body).is_ok_and(|message| message.unknown_fields().next().is_some())
}

/// The body that a JSON text describes. Errors: what is wrong with it, and where.
pub(crate) fn from_json(type_name: &str, json: &str) -> Result<Vec<u8>, String> {
    let mut text = serde_json::Deserializer::from_str(json);
    let read =
        DynamicMessage::deserialize(of(type_name)?, &mut text).and_then(|read| text.end().map(|()| read));
    read.map(|message| message.encode_to_vec()).map_err(|error| format!("is no {type_name}: {error}"))
}

/// Whether a body can be read. What is of a type that nobody here knows cannot be judged.
pub(crate) fn check(type_name: &str, body: &[u8]) -> Result<(), String> {
    if of(type_name).is_err() { Ok(()) } else { read(type_name, body).map(|_| ()) }
}

fn read(type_name: &str, body: &[u8]) -> Result<DynamicMessage, String> {
    DynamicMessage::decode(of(type_name)?, body).map_err(|error| format!("is no {type_name}: {error}"))
}

#[cfg(test)]
mod tests {
    use prost::{Message as _, Name as _};
    use waybill_proto::v1::ReservePayment;

    use super::*;

    #[test]
    fn a_body_survives_the_way_through_json() {
        let message = ReservePayment { order_id: "o-1".to_owned(), ..ReservePayment::default() };
        let (name, body) = (ReservePayment::full_name(), message.encode_to_vec());
        let json = to_json(&name, &body).unwrap();
        assert!(json.contains("\"order_id\": \"o-1\""), "{json}");
        assert_eq!(from_json(&name, &json), Ok(body));
    }

    #[test]
    fn what_is_no_body_of_its_type_is_said() {
        let name = ReservePayment::full_name();
        assert!(to_json(&name, b"nonsense").unwrap_err().starts_with("is no dispatch.v1.ReservePayment: "));
        assert!(from_json(&name, r#"{"colour": 1}"#).unwrap_err().contains("colour"));
        assert!(from_json(&name, "{} {}").unwrap_err().contains("trailing"));
        assert!(to_json("x.Y", b"").unwrap_err().contains("no message of this contract"));
        assert!(check("x.Y", b"nonsense").is_ok() && check(&name, b"nonsense").is_err());
    }
}
