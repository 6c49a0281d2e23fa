//! One line of a file: JSON with the field names of the contract. What a line must look like is checked
//! here; what its values may be is the server's to say.

use serde::Deserialize;
use waybill_proto::v1::{DispatchRequested, Money};

use super::new_message_id;
use crate::cli::time;

/// A request and the line that it came from, counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) line: usize,
    pub(super) request: DispatchRequested,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    message_id: Option<String>,
    order_id: String,
    destination_code: String,
    parcel_count: i32,
    customer_id: Option<String>,
    amount: Option<Amount>,
    requested_at: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Amount {
    currency_code: String,
    minor_units: i64,
}

/// Reads one line; `None` when it is blank. The error names the line.
pub(super) fn parse(number: usize, text: &str) -> Option<Result<Item, String>> {
    if text.trim().is_empty() {
        return None;
    }
    let parsed: Result<Line, String> = serde_json::from_str(text).map_err(|error| without_position(&error));
    let request = parsed.and_then(Line::into_request);
    Some(
        request
            .map(|request| Item { line: number, request })
            .map_err(|what| format!("line {number}: {what}")),
    )
}

/// The message without the line, which would always be 1, but with the column.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
    if error.column() == 0 { message.to_owned() } else { format!("{message} (column {})", error.column()) }
}

impl Line {
    fn into_request(self) -> Result<DispatchRequested, String> {
        let requested_at = match self.requested_at.as_deref().map(time::parse) {
            Some(Err(what)) => return Err(format!("requested_at {what}")),
            Some(Ok(at)) => Some(at),
            None => None,
        };
        Ok(DispatchRequested {
            message_id: self.message_id.unwrap_or_else(new_message_id),
            order_id: self.order_id,
            destination_code: self.destination_code,
            parcel_count: self.parcel_count,
            requested_at,
            customer_id: self.customer_id.unwrap_or_default(),
            amount: self
                .amount
                .map(|amount| Money { currency_code: amount.currency_code, minor_units: amount.minor_units }),
        })
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;
    use waybill_proto::v1::{DispatchRequested, Money};

    use super::parse;

    fn error(text: &str) -> String {
        parse(7, text).unwrap().unwrap_err()
    }

    #[test]
    fn a_full_line_is_a_request() {
        let text = r#"{"message_id":"m","order_id":"o","destination_code":"DEHAM","parcel_count":3,
            "customer_id":"c","amount":{"currency_code":"EUR","minor_units":1250},"requested_at":"1970-01-01T00:00:01Z"}"#;
        let request = parse(1, text).unwrap().unwrap().request;
        let expected = DispatchRequested {
            message_id: "m".to_owned(),
            order_id: "o".to_owned(),
            destination_code: "DEHAM".to_owned(),
            parcel_count: 3,
            requested_at: Some(Timestamp { seconds: 1, nanos: 0 }),
            customer_id: "c".to_owned(),
            amount: Some(Money { currency_code: "EUR".to_owned(), minor_units: 1_250 }),
        };
        assert_eq!(request, expected);
    }

    #[test]
    fn a_line_without_a_message_id_gets_one_of_its_own() {
        let text = r#"{"order_id":"o","destination_code":"D","parcel_count":1}"#;
        let id = || parse(1, text).unwrap().unwrap().request.message_id;
        assert_ne!(id(), id());
        assert_eq!(id().len(), 36);
    }

    #[test]
    fn a_bad_line_is_named_with_what_is_wrong() {
        assert!(error("{").starts_with("line 7: EOF while parsing"), "{}", error("{"));
        let unknown = error(r#"{"order_id":"o","colour":1}"#);
        assert!(unknown.starts_with("line 7: unknown field `colour`, expected one of"), "{unknown}");
        assert_eq!(error(r#"{"order_id":"o"}"#), "line 7: missing field `destination_code` (column 16)");
        assert!(
            error(r#"{"order_id":1}"#).starts_with("line 7: invalid type: integer `1`, expected a string")
        );
        let late = error(r#"{"order_id":"o","destination_code":"D","parcel_count":1,"requested_at":"noon"}"#);
        assert!(late.starts_with("line 7: requested_at is no RFC 3339 time"), "{late}");
        let amount =
            r#"{"order_id":"o","destination_code":"D","parcel_count":1,"amount":{"minor_units":1.5}}"#;
        assert!(error(amount).contains("invalid type: floating point"), "{}", error(amount));
    }

    #[test]
    fn a_blank_line_is_nothing() {
        assert!(parse(1, "  \r").is_none());
    }
}
