//! What the broker says of itself before anybody has logged in. lapin keeps that to itself.

use amq_protocol::{
    frame::{AMQPFrame, parse_frame},
    protocol::{AMQPClass, connection::AMQPMethod},
    types::AMQPValue,
    uri::{AMQPScheme, AMQPUri},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::broker::ANSWER_TIMEOUT;

/// A greeting is longer than no broker makes it.
const LONGEST: usize = 64 * 1_024;

/// The broker's version.
///
/// Errors: it is away, or says no version; or its URL asks for TLS, and the greeting is not read then.
pub async fn version(url: &str) -> Result<String, String> {
    let uri: AMQPUri = url.parse()?;
    if uri.scheme == AMQPScheme::AMQPS {
        return Err("over TLS only the management interface tells it".to_owned());
    }
    let asking = greeting(&uri);
    timeout(ANSWER_TIMEOUT, asking).await.unwrap_or_else(|_| Err("it does not greet".to_owned()))
}

async fn greeting(uri: &AMQPUri) -> Result<String, String> {
    let address = (uri.authority.host.as_str(), uri.authority.port);
    let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.write_all(b"AMQP\x00\x00\x09\x01").await.map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    while bytes.len() < LONGEST {
        let read = stream.read_buf(&mut bytes).await.map_err(|error| error.to_string())?;
        if let Ok((_, frame)) = parse_frame(bytes.as_slice()) {
            return told(&frame).ok_or_else(|| "its greeting names no version".to_owned());
        }
        if read == 0 {
            break;
        }
    }
    Err("its greeting cannot be read".to_owned())
}

fn told(frame: &AMQPFrame) -> Option<String> {
    let AMQPFrame::Method(_, AMQPClass::Connection(AMQPMethod::Start(start))) = frame else { return None };
    match start.server_properties.inner().get("version")? {
        AMQPValue::LongString(version) => Some(version.to_string()),
        _ => None,
    }
}
