//! Messages of the contract as JSON Schema, with the comments of the `.proto` files.

use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};
use prost_types::source_code_info::Location;
use serde_json::{Map, Value, json};

use super::limits;
use crate::json::CONTRACT;

/// These messages and all that they are made of, by their names, as they are answered.
pub(super) fn parts(names: &[&str]) -> Map<String, Value> {
    let mut parts = Map::new();
    for message in names.iter().filter_map(|name| CONTRACT.get_message_by_name(name)) {
        add_message(&mut parts, &message);
    }
    parts
}

fn add_message(parts: &mut Map<String, Value>, message: &MessageDescriptor) {
    if parts.contains_key(message.name()) {
        return;
    }
    // Reserved, because a message may hold itself.
    parts.insert(message.name().to_owned(), Value::Null);
    let mut properties = Map::new();
    for field in message.fields() {
        let one = match field.kind() {
            Kind::Message(inner) if well_known(&inner).is_none() => {
                add_message(parts, &inner);
                reference(inner.name())
            }
            Kind::Enum(values) => {
                parts
                    .entry(values.name())
                    .or_insert_with(|| described(names_of(&values, 0), &values_comment(&values)));
                reference(values.name())
            }
            kind => answered(&kind),
        };
        properties.insert(field.name().to_owned(), described(listed(&field, one), &comment(&field)));
    }
    // Those that can be absent are left out then; all others always have a value.
    let always: Vec<_> = message.fields().filter(|field| !field.supports_presence()).collect();
    let required: Vec<_> = always.iter().map(FieldDescriptor::name).collect();
    let schema = json!({ "type": "object", "required": required, "properties": properties });
    let about = comment_at(&message.parent_file(), message.path());
    parts.insert(message.name().to_owned(), described(schema, &about));
}

/// The body that asks for this. Messages inside stand where they are used: what is asked has other bounds than what
/// is answered.
pub(super) fn request_body(name: &str) -> Value {
    CONTRACT.get_message_by_name(name).map_or(Value::Null, |message| asked(&message))
}

fn asked(message: &MessageDescriptor) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in message.fields().filter(|field| !limits::IN_PATH.contains(&field.full_name())) {
        let is_required = limits::REQUIRED.contains(&field.full_name());
        if is_required {
            required.push(field.name().to_owned());
        }
        let schema = in_body(&field, is_required);
        properties.insert(field.name().to_owned(), described(schema, &comment(&field)));
    }
    let schema = json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false });
    described(schema, &comment_at(&message.parent_file(), message.path()))
}

/// A field as a body may give it: a number as a text as well, and null for what may be absent.
fn in_body(field: &FieldDescriptor, is_required: bool) -> Value {
    let one = match (limits::of(field.full_name()), field.kind()) {
        (Value::Null, Kind::Message(inner)) if well_known(&inner).is_none() => asked(&inner),
        (Value::Null, kind) => answered(&kind),
        (limited, _) if limited["type"] == "integer" => {
            let digits = limited["maximum"].to_string().len();
            json!({ "anyOf": [limited, { "type": "string", "pattern": format!("^[1-9][0-9]{{0,{}}}$", digits - 2) }] })
        }
        (limited, _) => limited,
    };
    if is_required { one } else { json!({ "anyOf": [one, { "type": "null" }] }) }
}

/// The query that asks for this: each field that is not in the path is a parameter.
pub(super) fn parameters(name: &str) -> Vec<Value> {
    let message = CONTRACT.get_message_by_name(name);
    let fields = message.iter().flat_map(MessageDescriptor::fields);
    let fields = fields.filter(|field| !limits::IN_PATH.contains(&field.full_name()));
    let parameter = |field: FieldDescriptor| {
        let one = match (limits::of(field.full_name()), field.kind()) {
            // What is not specified cannot be asked for.
            (Value::Null, Kind::Enum(values)) => names_of(&values, 1),
            (Value::Null, kind) => answered(&kind),
            (limited, _) => limited,
        };
        json!({ "name": field.name(), "in": "query", "description": comment(&field), "schema": listed(&field, one) })
    };
    fields.map(parameter).collect()
}

/// A value of that kind, as it is answered.
fn answered(kind: &Kind) -> Value {
    match kind {
        Kind::Double | Kind::Float => json!({ "type": "number" }),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer", "format": "int32" }),
        Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "format": "int64", "minimum": 0 }),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({ "type": "string", "pattern": "^-?[0-9]+$" }),
        Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "pattern": "^[0-9]+$" }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::String => json!({ "type": "string" }),
        Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
        Kind::Message(message) => well_known(message).unwrap_or_else(|| json!({ "type": "object" })),
        Kind::Enum(values) => names_of(values, 0),
    }
}

/// Messages that have a JSON of their own.
fn well_known(message: &MessageDescriptor) -> Option<Value> {
    match message.full_name() {
        "google.protobuf.Timestamp" => Some(json!({ "type": "string", "format": "date-time" })),
        "google.protobuf.Duration" => {
            Some(json!({ "type": "string", "pattern": "^-?[0-9]+([.][0-9]{1,9})?s$" }))
        }
        "google.protobuf.Any" => Some(json!({ "type": "object" })),
        _ => None,
    }
}

/// The values from that number on.
fn names_of(values: &EnumDescriptor, from: i32) -> Value {
    let names = values.values().filter(|value| value.number() >= from).map(|value| value.name().to_owned());
    json!({ "type": "string", "enum": names.collect::<Vec<_>>() })
}

fn listed(field: &FieldDescriptor, one: Value) -> Value {
    if field.is_list() { json!({ "type": "array", "items": one }) } else { one }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn described(mut schema: Value, comment: &str) -> Value {
    if !comment.is_empty() {
        schema["description"] = comment.into();
    }
    schema
}

fn comment(field: &FieldDescriptor) -> String {
    comment_at(&field.parent_file(), field.path())
}

fn values_comment(values: &EnumDescriptor) -> String {
    comment_at(&values.parent_file(), values.path())
}

/// What stands above it in its file, in one line.
fn comment_at(file: &FileDescriptor, path: &[i32]) -> String {
    let locations =
        file.file_descriptor_proto().source_code_info.as_ref().map(|info| info.location.as_slice());
    let location = locations.unwrap_or_default().iter().find(|location| location.path == path);
    let comment = location.map(Location::leading_comments).unwrap_or_default();
    comment.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_of_a_field_that_there_is() {
        for name in limits::REQUIRED.iter().chain(&limits::IN_PATH) {
            let (message, field) = name.rsplit_once('.').unwrap();
            let message = CONTRACT.get_message_by_name(message).unwrap();
            assert!(message.get_field_by_name(field).is_some(), "{name}");
        }
    }

    #[test]
    fn every_field_of_a_request_that_is_a_text_or_a_number_has_limits() {
        for name in [
            "DispatchRequested",
            "Money",
            "CancelDispatchRequest",
            "ListDispatchesRequest",
            "WatchDispatchRequest",
        ] {
            let message = CONTRACT.get_message_by_name(&format!("dispatch.v1.{name}")).unwrap();
            for field in message.fields().filter(|field| !limits::IN_PATH.contains(&field.full_name())) {
                let has_own = matches!(field.kind(), Kind::Message(_) | Kind::Enum(_));
                let is_opaque = field.name() == "page_token";
                assert!(
                    has_own || is_opaque || !limits::of(field.full_name()).is_null(),
                    "{}",
                    field.full_name()
                );
            }
        }
    }

    #[test]
    fn the_comments_of_the_contract_are_in_the_schemas() {
        let parts = parts(&["dispatch.v1.DispatchReceipt"]);
        assert_eq!(parts["DispatchReceipt"]["description"], "The promise: what is named here is committed.");
    }
}
