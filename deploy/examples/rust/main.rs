//! A client in Rust: asks for one dispatch, and follows it to its end.
//!
//! ```sh
//! WAYBILL_ENDPOINT=http://127.0.0.1:50051 cargo run --example client -- SO-1 NLRTM 3
//! ```
//!
//! With `https://`, `WAYBILL_TLS_CA` names the file with the CA of the server's certificate. `WAYBILL_TOKEN` is sent as a
//! bearer token.

mod client;

use std::env;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let [order_id, destination_code, parcels]: [String; 3] = env::args()
        .skip(1)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| anyhow::anyhow!("ORDER DESTINATION PARCELS"))?;
    let endpoint = env::var("WAYBILL_ENDPOINT").unwrap_or_else(|_| "http://127.0.0.1:50051".to_owned());
    let ended = client::dispatch(&endpoint, &order_id, &destination_code, parcels.parse()?).await?;
    println!("{ended}");
    Ok(())
}
