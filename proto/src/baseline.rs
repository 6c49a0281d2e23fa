//! The contract as lines of text, one for each promise: a field with its number, type and label, an enum
//! value with its number, a method with its types. A line that disappears is a broken promise.

use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// The promises of package `dispatch.v1` in a serialized descriptor set, sorted.
///
/// Errors: `descriptors` is no `google.protobuf.FileDescriptorSet`.
pub fn promises(descriptors: &[u8]) -> Result<Vec<String>, prost::DecodeError> {
    let set = FileDescriptorSet::decode(descriptors)?;
    let mut lines = Vec::new();
    for file in set.file.iter().filter(|file| file.package() == "dispatch.v1") {
        of_file(file, &mut lines);
    }
    lines.sort_unstable();
    Ok(lines)
}

fn of_file(file: &FileDescriptorProto, lines: &mut Vec<String>) {
    for message in &file.message_type {
        of_message(file.package(), message, lines);
    }
    for values in &file.enum_type {
        of_enum(file.package(), values, lines);
    }
    for service in &file.service {
        for method in &service.method {
            let stream = |streams: bool| if streams { "stream " } else { "" };
            lines.push(format!(
                "rpc {}.{}.{} ({}{}) returns ({}{})",
                file.package(),
                service.name(),
                method.name(),
                stream(method.client_streaming()),
                method.input_type(),
                stream(method.server_streaming()),
                method.output_type(),
            ));
        }
    }
}

fn of_message(scope: &str, message: &DescriptorProto, lines: &mut Vec<String>) {
    let name = format!("{scope}.{}", message.name());
    for field in &message.field {
        let one_of = field.oneof_index.map_or("", |_| " oneof");
        lines.push(format!(
            "field {name}.{} = {} {:?} {:?}{one_of} {}",
            field.name(),
            field.number(),
            field.label(),
            field.r#type(),
            field.type_name(),
        ));
    }
    for nested in &message.nested_type {
        of_message(&name, nested, lines);
    }
    for values in &message.enum_type {
        of_enum(&name, values, lines);
    }
}

fn of_enum(scope: &str, values: &EnumDescriptorProto, lines: &mut Vec<String>) {
    for value in &values.value {
        lines.push(format!("enum {scope}.{}.{} = {}", values.name(), value.name(), value.number()));
    }
}
