//! A query as the JSON of a message: each parameter is a field, and of a list it may be given several times.

use prost_reflect::{FieldDescriptor, MessageDescriptor};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::{Problem, read::tame};

/// Errors: a parameter is no field, is given twice, or beside one that it excludes.
pub(super) fn parse(descriptor: &MessageDescriptor, query: &str) -> Result<Value, Problem> {
    let mut fields = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = Value::String(value.into_owned());
        let Some(field) = descriptor.get_field_by_name(&name) else {
            return Err(Problem::of_field(&tame(&name), "is no parameter of this query"));
        };
        if let Some(other) = rival(&field, &fields) {
            return Err(Problem::of_field(field.name(), &format!("may not be given beside {other}")));
        }
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

/// Another of those fields of which one may be given, if it was.
fn rival(field: &FieldDescriptor, given: &Map<String, Value>) -> Option<String> {
    let one_of = field.containing_oneof()?;
    let mut others = one_of.fields().filter(|other| other != field);
    others.find(|other| given.contains_key(other.name())).map(|other| other.name().to_owned())
}
