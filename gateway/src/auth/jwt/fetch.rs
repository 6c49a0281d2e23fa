//! Reads the issuer's keys, from a file or over HTTPS. No redirect is followed: what answers is what was
//! configured.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::timeout;

use super::keys::Keys;

/// A set is a few kilobytes.
const MOST_BYTES: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(5);

/// The set as it is now. Errors: why it cannot be had, in words.
pub(super) async fn fetch(keys: &Keys) -> Result<Bytes, String> {
    match keys {
        Keys::File(path) => {
            tokio::fs::read(path).await.map(Bytes::from).map_err(|error| format!("cannot be read: {error}"))
        }
        Keys::Url(uri) => match timeout(PATIENCE, get(uri)).await {
            Ok(answer) => answer.map_err(|error| chain(error.as_ref())),
            Err(_) => Err(format!("did not answer within {} s", PATIENCE.as_secs())),
        },
    }
}

type Failed = Box<dyn Error + Send + Sync>;

async fn get(uri: &Uri) -> Result<Bytes, Failed> {
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::ring::default_provider())?
        .https_or_http()
        .enable_http1()
        .build();
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let request = Request::get(uri.clone()).header(header::ACCEPT, "application/json").body(Empty::new())?;
    let response = client.request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("answered {}", response.status()).into());
    }
    Ok(Limited::new(response.into_body(), MOST_BYTES).collect().await?.to_bytes())
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
