//! One connection: handshake, declarations, and what is passed on to the test.

use std::{collections::HashMap, sync::Arc};

use amq_protocol::{
    frame::{AMQPFrame, parse_frame},
    protocol::{AMQPClass, BasicProperties, basic, channel, confirm, connection, exchange, queue},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
};

use super::{Acknowledgement, Line, Publication, Shared, Subscription};

const HEADER: &[u8] = b"AMQP\0\0\x09\x01";
/// Type, channel and length before the payload, an end mark after it.
const FRAME: usize = 8;

pub(super) async fn serve(
    stream: TcpStream,
    line: Line,
    to_write: mpsc::UnboundedReceiver<Vec<u8>>,
    shared: Arc<Shared>,
) {
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    tokio::spawn(write(writer, to_write, line.clone()));
    shared.connections.send_modify(|open| *open += 1);
    let ended = line.ended.clone();
    let (blocked, is_open) = (shared.blocked.subscribe(), true);
    let channels = HashMap::new();
    let mut session = Session { line, shared, blocked, channels, publishes: false, is_open };
    ended.run_until_cancelled(session.run(reader)).await;
    ended.cancel();
    session.shared.connections.send_modify(|open| *open -= 1);
}

async fn write(mut writer: OwnedWriteHalf, mut to_write: mpsc::UnboundedReceiver<Vec<u8>>, line: Line) {
    while let Some(Some(bytes)) = line.ended.run_until_cancelled(to_write.recv()).await {
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

struct Session {
    line: Line,
    shared: Arc<Shared>,
    blocked: watch::Receiver<Option<String>>,
    channels: HashMap<u16, Channel>,
    /// Only those who publish are blocked.
    publishes: bool,
    is_open: bool,
}

#[derive(Default)]
struct Channel {
    published: u64,
    /// A message of which more is to come.
    partial: Option<Partial>,
}

struct Partial {
    method: basic::Publish,
    properties: BasicProperties,
    size: usize,
    body: Vec<u8>,
}

impl Session {
    async fn run(&mut self, mut reader: OwnedReadHalf) {
        let mut bytes = Vec::new();
        while self.is_open {
            if self.publishes {
                self.stand_still().await;
            }
            tokio::select! {
                // Changes are looked at above.
                _ = self.blocked.changed() => {}
                read = reader.read_buf(&mut bytes) => {
                    if !matches!(read, Ok(1..)) {
                        return;
                    }
                    self.take_whole(&mut bytes);
                }
            }
        }
    }

    /// Says that it is blocked and reads nothing until it no longer is.
    async fn stand_still(&mut self) {
        let Some(reason) = self.blocked.borrow_and_update().clone() else { return };
        let blocked = connection::Blocked { reason: reason.as_str().into() };
        self.connection(connection::AMQPMethod::Blocked(blocked));
        // Fails only when the broker is gone, and everything with it.
        let _ = self.blocked.wait_for(Option::is_none).await;
        self.connection(connection::AMQPMethod::Unblocked(connection::Unblocked {}));
    }

    fn take_whole(&mut self, bytes: &mut Vec<u8>) {
        if bytes.starts_with(HEADER) {
            bytes.drain(..HEADER.len());
            self.connection(connection::AMQPMethod::Start(connection::Start {
                version_minor: 9,
                mechanisms: "PLAIN".into(),
                locales: "en_US".into(),
                ..connection::Start::default()
            }));
        }
        while let Some(length) = bytes.get(3..7) {
            let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
            let length = FRAME + usize::try_from(length).expect("a length");
            if bytes.len() < length {
                return;
            }
            let frame = parse_frame(&bytes[..length]).expect("lapin's frames are sound").1;
            bytes.drain(..length);
            self.take(frame);
        }
    }

    fn take(&mut self, frame: AMQPFrame) {
        match frame {
            AMQPFrame::Method(_, AMQPClass::Connection(method)) => self.take_connection(&method),
            AMQPFrame::Method(channel, AMQPClass::Channel(method)) => self.take_channel(channel, &method),
            AMQPFrame::Method(channel, method) if self.channels.contains_key(&channel) => {
                self.take_method(channel, method);
            }
            AMQPFrame::Header(channel, header) => {
                let size = usize::try_from(header.body_size).expect("a size");
                self.take_content(channel, |partial| {
                    (partial.size, partial.properties) = (size, header.properties);
                });
            }
            AMQPFrame::Body(channel, data) => {
                self.take_content(channel, |partial| partial.body.extend(data));
            }
            // Heartbeats, and what crossed our own close of a channel.
            _ => {}
        }
    }

    fn take_connection(&mut self, method: &connection::AMQPMethod) {
        match method {
            connection::AMQPMethod::StartOk(_) => {
                let tune = connection::Tune { channel_max: 2_047, frame_max: 131_072, heartbeat: 0 };
                self.connection(connection::AMQPMethod::Tune(tune));
            }
            connection::AMQPMethod::Open(_) => {
                self.connection(connection::AMQPMethod::OpenOk(connection::OpenOk {}));
            }
            connection::AMQPMethod::Close(_) => {
                self.connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}));
            }
            connection::AMQPMethod::CloseOk(_) => self.is_open = false,
            _ => {}
        }
    }

    fn take_channel(&mut self, channel: u16, method: &channel::AMQPMethod) {
        match method {
            channel::AMQPMethod::Open(_) => {
                self.channels.insert(channel, Channel::default());
                let opened = channel::AMQPMethod::OpenOk(channel::OpenOk {});
                self.line.say(channel, AMQPClass::Channel(opened));
            }
            channel::AMQPMethod::Close(_) => {
                self.channels.remove(&channel);
                let closed = channel::AMQPMethod::CloseOk(channel::CloseOk {});
                self.line.say(channel, AMQPClass::Channel(closed));
            }
            channel::AMQPMethod::CloseOk(_) => {
                self.channels.remove(&channel);
                let _ = self.shared.closed.send((self.line.id(), channel));
            }
            _ => {}
        }
    }

    fn take_method(&mut self, channel: u16, method: AMQPClass) {
        let answer = match method {
            AMQPClass::Exchange(exchange::AMQPMethod::Declare(_)) => {
                AMQPClass::Exchange(exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {}))
            }
            AMQPClass::Queue(queue::AMQPMethod::Declare(declare)) => {
                let ok = queue::DeclareOk { queue: declare.queue, message_count: 0, consumer_count: 0 };
                AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok))
            }
            AMQPClass::Queue(queue::AMQPMethod::Bind(_)) => {
                AMQPClass::Queue(queue::AMQPMethod::BindOk(queue::BindOk {}))
            }
            AMQPClass::Confirm(confirm::AMQPMethod::Select(_)) => {
                AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {}))
            }
            AMQPClass::Basic(method) => return self.take_basic(channel, method),
            other => panic!("the fake broker does not know {other:?}"),
        };
        self.line.say(channel, answer);
    }

    fn take_basic(&mut self, channel: u16, method: basic::AMQPMethod) {
        let answer = match method {
            basic::AMQPMethod::Publish(method) => {
                self.publishes = true;
                let partial =
                    Partial { method, properties: BasicProperties::default(), size: 0, body: Vec::new() };
                self.channels.entry(channel).or_default().partial = Some(partial);
                return;
            }
            basic::AMQPMethod::Ack(ack) => {
                let (connection, tag, multiple) = (self.line.id(), ack.delivery_tag, ack.multiple);
                let _ =
                    self.shared.acknowledgements.send(Acknowledgement { connection, channel, tag, multiple });
                return;
            }
            basic::AMQPMethod::Qos(_) => basic::AMQPMethod::QosOk(basic::QosOk {}),
            basic::AMQPMethod::Cancel(cancel) => {
                basic::AMQPMethod::CancelOk(basic::CancelOk { consumer_tag: cancel.consumer_tag })
            }
            basic::AMQPMethod::Consume(consume) => return self.subscribe(channel, &consume),
            other => panic!("the fake broker does not know {other:?}"),
        };
        self.line.say(channel, AMQPClass::Basic(answer));
    }

    fn subscribe(&self, channel: u16, consume: &basic::Consume) {
        let (tag, queue) = (consume.consumer_tag.to_string(), consume.queue.to_string());
        let subscription = Subscription { line: self.line.clone(), channel, tag, queue };
        if subscription.queue.ends_with(".readers") {
            return subscription.accept();
        }
        let _ = self.shared.subscriptions.send(subscription);
    }

    /// Adds to the message that is under way on a channel, and passes it on when it is whole.
    fn take_content(&mut self, channel: u16, add: impl FnOnce(&mut Partial)) {
        let Some(state) = self.channels.get_mut(&channel) else { return };
        let Some(partial) = &mut state.partial else { return };
        add(partial);
        if partial.body.len() < partial.size {
            return;
        }
        let Some(Partial { method, properties, body, .. }) = state.partial.take() else { return };
        state.published += 1;
        let publication = Publication {
            line: self.line.clone(),
            channel,
            tag: state.published,
            exchange: method.exchange.to_string(),
            routing_key: method.routing_key.to_string(),
            properties,
            body,
        };
        if self.shared.is_confirmed(&publication.routing_key) {
            publication.ack();
        }
        let _ = self.shared.publications.send(publication);
    }

    fn connection(&self, method: connection::AMQPMethod) {
        self.line.say(0, AMQPClass::Connection(method));
    }
}
