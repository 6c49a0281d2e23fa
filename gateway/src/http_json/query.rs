//! A query as the JSON of a message: each parameter is a field, and of a list it may be given several times.

use prost_reflect::MessageDescriptor;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::{Problem, read::tame};

/// Errors: a parameter is no field, or is given twice.
pub(super) fn parse(descriptor: &MessageDescriptor, query: &str) -> Result<Value, Problem> {
    let mut fields = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = Value::String(value.into_owned());
        let Some(field) = descriptor.get_field_by_name(&name) else {
            return Err(Problem::of_field(&tame(&name), "is no parameter of this query"));
        };
        match fields.get_mut(field.name()) {
            None if field.is_list() => {
                fields.insert(field.name().to_owned(), Value::Array(vec![value]));
            }
            None => {
                fields.insert(field.name().to_owned(), value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(_) => return Err(Problem::of_field(field.name(), "may be given once")),
        }
    }
    Ok(Value::Object(fields))
}
