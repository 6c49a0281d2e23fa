//! As much AMQP 0-9-1 as it takes to publish what no library would write: frames, byte by byte.

use lapin::uri::AMQPUri;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const END: u8 = 0xce;

/// A connection with one channel, on which publications are confirmed.
pub struct Stranger(TcpStream);

impl Stranger {
    pub async fn connect(url: &str) -> Self {
        let uri: AMQPUri = url.parse().unwrap();
        let stream = TcpStream::connect((uri.authority.host.as_str(), uri.authority.port)).await.unwrap();
        let mut stranger = Self(stream);
        stranger.0.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
        stranger.expect(10, 10).await;
        let user = uri.authority.userinfo;
        let response = format!("\0{}\0{}", user.username, user.password);
        let start_ok = [vec![0; 4], short(b"PLAIN"), long(response.as_bytes()), short(b"en_US")].concat();
        stranger.method(0, 10, 11, &start_ok).await;
        stranger.expect(10, 30).await;
        stranger.method(0, 10, 31, &[0x07, 0xff, 0, 2, 0, 0, 0, 0]).await; // frames of 128 KiB, no heartbeat
        stranger.method(0, 10, 40, &[short(uri.vhost.as_bytes()), vec![0, 0]].concat()).await;
        stranger.expect(10, 41).await;
        stranger.method(1, 20, 10, &[0]).await;
        stranger.expect(20, 11).await;
        stranger.method(1, 85, 10, &[0]).await; // confirms
        stranger.expect(85, 11).await;
        stranger
    }

    /// Publishes, and waits until the broker has confirmed it.
    pub async fn publish(&mut self, exchange: &str, routing_key: &str, header: &[u8], body: &[u8]) {
        let names = [short(exchange.as_bytes()), short(routing_key.as_bytes())].concat();
        self.method(1, 60, 40, &[&[0, 0], &names[..], &[1]].concat()).await; // mandatory
        self.frame(HEADER, 1, header).await;
        self.frame(BODY, 1, body).await;
        self.expect(60, 80).await;
    }

    async fn method(&mut self, channel: u16, class: u8, method: u8, arguments: &[u8]) {
        self.frame(METHOD, channel, &[&[0, class, 0, method], arguments].concat()).await;
    }

    async fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let size = u32::try_from(payload.len()).unwrap();
        let frame = [&[kind], &channel.to_be_bytes()[..], &size.to_be_bytes(), payload, &[END]].concat();
        self.0.write_all(&frame).await.unwrap();
    }

    async fn expect(&mut self, class: u8, method: u8) {
        let mut start = [0; 7];
        self.0.read_exact(&mut start).await.unwrap();
        let size = u32::from_be_bytes(start[3..].try_into().unwrap());
        let mut payload = vec![0; usize::try_from(size).unwrap() + 1];
        self.0.read_exact(&mut payload).await.unwrap();
        assert_eq!(payload[..4], [0, class, 0, method], "{}", String::from_utf8_lossy(&payload));
    }
}

/// Content header of a message with this id, headers perhaps, and a body of that size.
pub fn header(headers: Option<Vec<u8>>, message_id: &[u8], size: usize) -> Vec<u8> {
    let flags: u16 = if headers.is_some() { 0x2080 } else { 0x0080 };
    let size = u64::try_from(size).unwrap().to_be_bytes();
    let headers = headers.map(|headers| long(&headers)).unwrap_or_default();
    [&[0, 60, 0, 0], &size[..], &flags.to_be_bytes(), &headers, &short(message_id)].concat()
}

/// Entries of a table that holds a table that holds a table.
pub fn nested_headers(depth: usize) -> Vec<u8> {
    let mut size = 0_u32;
    let mut sizes = Vec::new();
    for _ in 0..depth {
        sizes.push(size);
        size += 7;
    }
    sizes.iter().rev().flat_map(|size| [&b"\x01aF"[..], &size.to_be_bytes()].concat()).collect()
}

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

fn long(text: &[u8]) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text].concat()
}
