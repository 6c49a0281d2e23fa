//! What the fields of a request may hold, as JSON Schema. The numbers are those that requests are held to.

use serde_json::{Value, json};

use crate::{
    request::{MAX_DESTINATION, MAX_ID, MINOR_UNITS, PARCELS},
    service::{MAX_REASON, MAX_SIZE},
};

/// Fields that have to be given, by their full names.
pub(super) const REQUIRED: [&str; 6] = [
    "dispatch.v1.DispatchRequested.order_id",
    "dispatch.v1.DispatchRequested.destination_code",
    "dispatch.v1.DispatchRequested.parcel_count",
    "dispatch.v1.Money.currency_code",
    "dispatch.v1.Money.minor_units",
    "dispatch.v1.CancelDispatchRequest.reason",
];

/// Fields that the path names.
pub(super) const IN_PATH: [&str; 2] =
    ["dispatch.v1.CancelDispatchRequest.dispatch_id", "dispatch.v1.WatchDispatchRequest.dispatch_id"];

/// What that field may hold; `Null` where its type says it all.
pub(super) fn of(field: &str) -> Value {
    match field {
        "dispatch.v1.DispatchRequested.order_id" => visible(1, MAX_ID),
        "dispatch.v1.DispatchRequested.destination_code" => visible(1, MAX_DESTINATION),
        // An empty text is an absent one.
        "dispatch.v1.DispatchRequested.message_id"
        | "dispatch.v1.DispatchRequested.customer_id"
        | "dispatch.v1.ListDispatchesRequest.order_id"
        | "dispatch.v1.ListDispatchesRequest.customer_id" => visible(0, MAX_ID),
        "dispatch.v1.DispatchRequested.parcel_count" => {
            json!({ "type": "integer", "minimum": PARCELS.start(), "maximum": PARCELS.end() })
        }
        "dispatch.v1.Money.currency_code" => json!({ "type": "string", "pattern": "^[A-Z]{3}$" }),
        "dispatch.v1.Money.minor_units" => {
            json!({ "type": "integer", "minimum": MINOR_UNITS.start(), "maximum": MINOR_UNITS.end() })
        }
        "dispatch.v1.CancelDispatchRequest.reason" => {
            json!({ "type": "string", "pattern": format!("^[^\\x00-\\x1f\\x7f-\\x9f]{{1,{MAX_REASON}}}$") })
        }
        "dispatch.v1.ListDispatchesRequest.page_size" => {
            json!({ "type": "integer", "minimum": 0, "maximum": MAX_SIZE })
        }
        "dispatch.v1.WatchDispatchRequest.after_version" => version(),
        _ => Value::Null,
    }
}

/// How far a saga has come.
pub(super) fn version() -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX })
}

/// A text of so many visible ASCII characters.
pub(super) fn visible(least: usize, most: usize) -> Value {
    json!({ "type": "string", "pattern": format!("^[!-~]{{{least},{most}}}$") })
}
