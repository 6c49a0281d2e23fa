//! What a test holds in its hand: a connection, a publication, a subscription, and what the broker may
//! say about each.

use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame, gen_frame},
    protocol::{AMQPClass, BasicProperties, basic, channel, connection},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const BASIC: u16 = 60;

/// One connection, as the broker speaks on it. What is said together stays together.
#[derive(Clone, Debug)]
pub struct Line {
    id: u64,
    pub(super) ended: CancellationToken,
    outgoing: mpsc::UnboundedSender<Vec<u8>>,
}

impl Line {
    /// A line, and what is to be written on it.
    pub(super) fn new(id: u64, ended: CancellationToken) -> (Self, mpsc::UnboundedReceiver<Vec<u8>>) {
        let (outgoing, to_write) = mpsc::unbounded_channel();
        (Self { id, ended, outgoing }, to_write)
    }

    /// Which connection this is, from 0.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Breaks the connection without a word.
    pub fn cut(&self) {
        self.ended.cancel();
    }

    /// Closes the connection in order, as an operator or a node that stops does.
    pub fn close(&self, code: u16, text: &str) {
        let close =
            connection::Close { reply_code: code, reply_text: text.into(), class_id: 0, method_id: 0 };
        self.say(0, AMQPClass::Connection(connection::AMQPMethod::Close(close)));
    }

    /// Closes one channel in order.
    pub fn close_channel(&self, channel: u16, code: u16, text: &str) {
        let close = channel::Close { reply_code: code, reply_text: text.into(), class_id: 0, method_id: 0 };
        self.say(channel, AMQPClass::Channel(channel::AMQPMethod::Close(close)));
    }

    pub(super) fn say(&self, channel: u16, method: AMQPClass) {
        self.send(&[AMQPFrame::Method(channel, method)]);
    }

    fn say_with(&self, channel: u16, method: basic::AMQPMethod, properties: BasicProperties, body: &[u8]) {
        let header = AMQPContentHeader { class_id: BASIC, body_size: body.len() as u64, properties };
        let mut frames =
            vec![AMQPFrame::Method(channel, AMQPClass::Basic(method)), AMQPFrame::Header(channel, header)];
        if !body.is_empty() {
            frames.push(AMQPFrame::Body(channel, body.to_vec()));
        }
        self.send(&frames);
    }

    fn send(&self, frames: &[AMQPFrame]) {
        let mut bytes = Vec::new();
        for frame in frames {
            bytes = gen_frame(frame)(bytes.into()).expect("a frame of ours is sound").into_inner().0;
        }
        // A connection that is gone hears nothing; the test sees that elsewhere.
        let _ = self.outgoing.send(bytes);
    }
}

/// A message that a client has published in full, and that waits for the test's word.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The connection it came by.
    pub line: Line,
    /// The channel of it.
    pub channel: u16,
    /// Its number on that channel, from 1.
    pub tag: u64,
    /// Where it went.
    pub exchange: String,
    /// How it is to be routed.
    pub routing_key: String,
    /// Its properties.
    pub properties: BasicProperties,
    /// What it says.
    pub body: Vec<u8>,
}

impl Publication {
    /// Its identity.
    pub fn message_id(&self) -> &str {
        self.properties.message_id().as_ref().map_or("", |id| id.as_str())
    }

    /// Confirms it.
    pub fn ack(&self) {
        self.answer(basic::AMQPMethod::Ack(basic::Ack { delivery_tag: self.tag, multiple: false }));
    }

    /// Confirms it and everything before it on its channel.
    pub fn ack_all(&self) {
        self.answer(basic::AMQPMethod::Ack(basic::Ack { delivery_tag: self.tag, multiple: true }));
    }

    /// Refuses it.
    pub fn nack(&self) {
        let nack = basic::Nack { delivery_tag: self.tag, multiple: false, requeue: false };
        self.answer(basic::AMQPMethod::Nack(nack));
    }

    /// Returns it, because no queue takes it. A real broker confirms it after that.
    pub fn give_back(&self) {
        let method = basic::AMQPMethod::Return(basic::Return {
            reply_code: 312,
            reply_text: "NO_ROUTE".into(),
            exchange: self.exchange.as_str().into(),
            routing_key: self.routing_key.as_str().into(),
        });
        self.line.say_with(self.channel, method, self.properties.clone(), &self.body);
    }

    /// Closes its channel.
    pub fn close_channel(&self, code: u16, text: &str) {
        self.line.close_channel(self.channel, code, text);
    }

    fn answer(&self, method: basic::AMQPMethod) {
        self.line.say(self.channel, AMQPClass::Basic(method));
    }
}

/// A client that wants deliveries.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The connection it came by.
    pub line: Line,
    /// The channel of it.
    pub channel: u16,
    /// Its name there.
    pub tag: String,
    /// What it consumes.
    pub queue: String,
}

impl Subscription {
    /// Takes it on.
    pub fn accept(&self) {
        let ok = basic::ConsumeOk { consumer_tag: self.tag.as_str().into() };
        self.line.say(self.channel, AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(ok)));
    }

    /// Delivers a message whose id is its body.
    pub fn deliver(&self, tag: u64, routing_key: &str, message_id: &str) {
        let method = basic::AMQPMethod::Deliver(basic::Deliver {
            consumer_tag: self.tag.as_str().into(),
            delivery_tag: tag,
            redelivered: false,
            exchange: "dispatch".into(),
            routing_key: routing_key.into(),
        });
        let properties = BasicProperties::default().with_message_id(message_id.into());
        self.line.say_with(self.channel, method, properties, message_id.as_bytes());
    }

    /// Ends it from this side: its queue is gone, or it has been too slow.
    pub fn cancel(&self) {
        let cancel = basic::Cancel { consumer_tag: self.tag.as_str().into(), nowait: true };
        self.line.say(self.channel, AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)));
    }

    /// Closes its channel.
    pub fn close_channel(&self, code: u16, text: &str) {
        self.line.close_channel(self.channel, code, text);
    }
}
