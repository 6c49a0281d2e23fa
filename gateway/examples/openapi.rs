//! Prints the description of the HTTP interface: `cargo run -p waybill-gateway --example openapi > docs/openapi.json`,
//! after a route or a message was changed.

fn main() {
    println!("{}", waybill_gateway::openapi::TEXT.as_str());
}
