//! The HTTP interface as a document that machines read (`OpenAPI`). Its routes are written here, its schemas are those of the contract
//! (`schema`), so that neither says what the other does not know.

mod limits;
mod schema;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use self::schema::{parameters, parts, request_body};
use crate::request::MAX_ID;

/// The document, as it is served and as it stands in `docs/openapi.json`.
pub static TEXT: LazyLock<String> = LazyLock::new(|| format!("{:#}", document()));

const ABOUT: &str = "The service dispatch.v1.DispatchGateway over HTTP, for those without gRPC. Messages are the JSON of \
Protocol Buffers with the field names of the .proto files: 64-bit numbers are strings, moments are RFC 3339, null is absent. \
A field that is not known is refused. Where the server does not ask who its clients are, no credentials are needed.";

const REQUEST: &str = "Accepts one dispatch. When the receipt arrives the dispatch is committed and will end completed or \
cancelled, whatever crashes on the way. The request is named by `message_id`, or by the header Idempotency-Key: asking again \
with the same name and content is harmless and answers the first receipt.";

const CANCEL: &str = "Asks for a dispatch to be undone and waits a little for the decision. Cancelling what is cancelled \
already succeeds; what can no longer be undone is refused with code FAILED_PRECONDITION.";

const OF_REQUEST: &str =
    "For a client that has lost its receipt. The name stands in the path percent-encoded.";

const WATCH: &str = "Server-sent events: each transition from the beginning, or after a version, as a DispatchTransition in \
JSON with its `version` as the event's id. When nothing more will happen without a person (completed, cancelled, stuck) the last \
event is `end`; where the server ends the stream for another reason it is `problem`, with a Problem. A browser's EventSource \
comes again by itself unless it is closed, and goes on where it was. Comments come while nothing happens.";

const SEEN: &str = "The id of the last event that was seen; stands above `after_version`.";

const KEY: &str = "Another name for `message_id`, as it is or in quotation marks. One of the two has to be given; if both \
are, they must say the same.";

fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Waybill", "version": "v1", "description": ABOUT, "license": { "name": "MIT OR Apache-2.0" } },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }, { "certificate": [] }],
        "paths": {
            "/v1/dispatches": { "post": request(), "get": list() },
            "/v1/dispatches/{dispatch_id}": { "parameters": [named("dispatch_id")], "get": one() },
            "/v1/dispatches/{dispatch_id}/events": { "parameters": [named("dispatch_id")], "get": watch() },
            "/v1/dispatches/{dispatch_id}/cancel": { "parameters": [named("dispatch_id")], "post": cancel() },
            "/v1/requests/{message_id}": { "parameters": [named("message_id")], "get": of_request() },
            "/v1/openapi.json": { "get": itself() },
        },
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "certificate": { "type": "mutualTLS" },
            },
            "schemas": schemas(),
        },
    })
}

fn request() -> Value {
    let key = json!({
        "name": "Idempotency-Key",
        "in": "header",
        "description": KEY,
        "schema": limits::visible(1, MAX_ID),
    });
    let mut receipt = content("What is named here is committed.", &part("DispatchReceipt"));
    receipt["headers"] = json!({ "Location": {
        "required": true, "description": "Where the dispatch is.", "schema": { "type": "string", "format": "uri-reference" },
    } });
    // How a client goes on from a receipt.
    receipt["links"] = json!({
        "GetDispatch": { "operationId": "GetDispatch", "parameters": { "dispatch_id": "$response.body#/dispatch_id" } },
        "CancelDispatch": { "operationId": "CancelDispatch", "parameters": { "dispatch_id": "$response.body#/dispatch_id" } },
    });
    json!({
        "operationId": "RequestDispatch",
        "summary": "Request a dispatch",
        "description": REQUEST,
        "parameters": [key],
        "requestBody": body(&request_body("dispatch.v1.DispatchRequested")),
        "responses": answers("202", receipt, &["400", "408", "409", "413", "415"]),
    })
}

fn list() -> Value {
    json!({
        "operationId": "ListDispatches",
        "summary": "Dispatches, newest first, a page at a time",
        "parameters": parameters("dispatch.v1.ListDispatchesRequest"),
        "responses": answers("200", content("A page.", &part("ListDispatchesResponse")), &["400"]),
    })
}

fn one() -> Value {
    json!({
        "operationId": "GetDispatch",
        "summary": "One dispatch with its steps and history",
        "responses": answers("200", content("The dispatch.", &part("Dispatch")), &["400", "404"]),
    })
}

fn of_request() -> Value {
    json!({
        "operationId": "GetDispatchOfRequest",
        "summary": "The dispatch that was requested by that name, with its steps and history",
        "description": OF_REQUEST,
        "responses": answers("200", content("The dispatch.", &part("Dispatch")), &["400", "404"]),
    })
}

fn watch() -> Value {
    let mut parameters = parameters("dispatch.v1.WatchDispatchRequest");
    parameters.push(json!({
        "name": "Last-Event-ID", "in": "header", "description": SEEN, "schema": limits::version(),
    }));
    let events = json!({
        "description": "Events, until the end.",
        "content": { "text/event-stream": { "schema": event() } },
    });
    json!({
        "operationId": "WatchDispatch",
        "summary": "What happens to a dispatch, as it happens",
        "description": WATCH,
        "parameters": parameters,
        "responses": answers("200", events, &["400", "404"]),
    })
}

fn event() -> Value {
    let nothing = json!({ "type": "object", "maxProperties": 0 });
    let data = json!({ "oneOf": [part("DispatchTransition"), part("Problem"), nothing] });
    json!({
        "description": "One event: a transition (`message`, which is not written), or the last.",
        "type": "object",
        "required": ["data"],
        "properties": {
            "id": { "type": "string", "pattern": "^[0-9]+$" },
            "event": { "type": "string", "enum": ["message", "end", "problem"] },
            "data": { "type": "string", "contentMediaType": "application/json", "contentSchema": data },
        },
    })
}

fn cancel() -> Value {
    let dispatch = content("The dispatch as it stands.", &part("Dispatch"));
    json!({
        "operationId": "CancelDispatch",
        "summary": "Ask for a dispatch to be undone",
        "description": CANCEL,
        "requestBody": body(&request_body("dispatch.v1.CancelDispatchRequest")),
        "responses": answers("200", dispatch, &["400", "404", "408", "409", "413", "415"]),
    })
}

fn itself() -> Value {
    json!({
        "operationId": "GetDescription",
        "summary": "This document",
        "security": [],
        "responses": { "200": content("The document.", &json!({ "type": "object" })) },
    })
}

fn named(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": limits::visible(1, MAX_ID) })
}

fn body(schema: &Value) -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": schema } } })
}

fn content(description: &str, schema: &Value) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

fn part(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The good answer, and the problems that may come instead: those, and those that may come from every method.
fn answers(status: &str, good: Value, problems: &[&str]) -> Value {
    let always = ["401", "403", "429", "500", "503", "504"];
    let mut answers = Map::from_iter([(status.to_owned(), good)]);
    for status in problems.iter().chain(&always) {
        answers.insert((*status).to_owned(), problem(status));
    }
    Value::Object(answers)
}

fn problem(status: &str) -> Value {
    let what = match status {
        "400" => "The request is wrong; `errors` names each field.",
        "401" => "No credentials, or none that are known.",
        "403" => "The client may not do this, or its page may not.",
        "404" => "There is no such dispatch, or it is another client's.",
        "408" => "The body did not come in time.",
        "409" => {
            "The name was used for other content, or the order has a live dispatch, and `resource` names what was first; or the dispatch can no longer be undone."
        }
        "413" => "The body is too large.",
        "415" => "The body is not application/json.",
        "429" => "Nothing was done; ask again after Retry-After.",
        "503" => "The outcome may be unknown; ask again after Retry-After, with the same name.",
        "504" => "The deadline of the header grpc-timeout has passed; the outcome is unknown.",
        _ => "An error of the server; the outcome may be unknown.",
    };
    let mut answer = json!({
        "description": what,
        "content": { "application/problem+json": { "schema": part("Problem") } },
    });
    let header = match status {
        "401" => Some(("WWW-Authenticate", true, json!({ "type": "string" }))),
        "429" | "503" => Some(("Retry-After", false, json!({ "type": "integer", "minimum": 0 }))),
        _ => None,
    };
    if let Some((name, required, schema)) = header {
        answer["headers"] = json!({ name: { "required": required, "schema": schema } });
    }
    answer
}

fn schemas() -> Value {
    let answers =
        ["dispatch.v1.DispatchReceipt", "dispatch.v1.Dispatch", "dispatch.v1.ListDispatchesResponse"];
    let mut schemas = parts(&answers);
    let text = json!({ "type": "string" });
    schemas.insert(
        "Problem".to_owned(),
        json!({
            "description": "Problem details (RFC 9457).",
            "type": "object",
            "required": ["type", "title", "status", "detail", "code"],
            "properties": {
                "type": text, "title": text, "detail": text,
                "status": { "type": "integer", "minimum": 400, "maximum": 599 },
                "code": { "type": "string", "description": "The code that gRPC would have answered.", "pattern": "^[A-Z_]+$" },
                "errors": { "type": "array", "items": {
                    "type": "object",
                    "required": ["field", "description"],
                    "properties": { "field": text, "description": text },
                } },
                "resource": {
                    "type": "object",
                    "required": ["resource_type", "resource_name", "owner", "description"],
                    "properties": {
                        "resource_type": text,
                        "resource_name": { "type": "string", "description": "Its `dispatch_id`." },
                        "owner": { "type": "string", "description": "Its `message_id`." },
                        "description": text,
                    },
                },
            },
        }),
    );
    Value::Object(schemas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_in_docs_is_the_one_that_is_served() {
        let kept = include_str!("../../../docs/openapi.json");
        assert!(
            kept.trim_end() == TEXT.as_str(),
            "write it anew: cargo run -p waybill-gateway --example openapi > docs/openapi.json"
        );
    }

    #[test]
    fn everything_that_is_referred_to_is_there() {
        let document = document();
        let text = document.to_string();
        let mut references = 0;
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
            references += 1;
        }
        assert!(references > 10);
    }
}
