//! Declaring the topology. What is there already stays as it is; what differs is told in words.

use lapin::{
    Channel,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};

use super::{Argument, Binding, ExchangeSpec, Queue, QueueSpec, Topology, short};

impl Topology {
    /// Declares all of it. What is there already stays as it is.
    ///
    /// Errors: the broker is away, or something of that name exists with other properties
    /// (406 `PRECONDITION_FAILED`), which only an operator can resolve.
    pub async fn declare(&self, channel: &Channel) -> Result<(), lapin::Error> {
        self.declare_exchanges(channel).await?;
        for queue in self.queues() {
            queue.declare(channel).await?;
        }
        Ok(())
    }

    /// Declares what the consumer of one queue needs. The queues of others stay alone: RabbitMQ does not tell
    /// the consumer of a deleted queue when somebody else has declared it again meanwhile.
    pub(crate) async fn declare_for(
        &self,
        channel: &Channel,
        queue: Queue,
        dead: bool,
    ) -> Result<(), lapin::Error> {
        self.declare_exchanges(channel).await?;
        self.spec(queue, dead).declare(channel).await
    }

    async fn declare_exchanges(&self, channel: &Channel) -> Result<(), lapin::Error> {
        for exchange in self.exchanges() {
            exchange.declare(channel, false).await?;
        }
        Ok(())
    }
}

impl ExchangeSpec {
    /// `passive`: only asks whether it is there (404 where it is not).
    pub(crate) async fn declare(&self, channel: &Channel, passive: bool) -> Result<(), lapin::Error> {
        let options = ExchangeDeclareOptions { durable: true, passive, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(short(&self.name), self.kind.clone(), options, FieldTable::default()).await
    }
}

impl QueueSpec {
    /// Whether that is its name, in full or without the prefix.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.short == name
    }

    /// Declares it with its bindings.
    pub(crate) async fn declare(&self, channel: &Channel) -> Result<(), lapin::Error> {
        self.create(channel).await?;
        self.bind(channel).await
    }

    /// Binds it, which changes nothing where it is bound. One that somebody else consumes gets no packs any more.
    pub(crate) async fn bind(&self, channel: &Channel) -> Result<(), lapin::Error> {
        for binding in &self.bindings {
            binding.bind(channel).await?;
        }
        if self.external { self.unbind_packed(channel).await } else { Ok(()) }
    }

    /// Says that its consumers take packs.
    pub(crate) async fn bind_packed(&self, channel: &Channel) -> Result<(), lapin::Error> {
        for binding in &self.packed {
            binding.bind(channel).await?;
        }
        Ok(())
    }

    /// Says that it gets none.
    pub(crate) async fn unbind_packed(&self, channel: &Channel) -> Result<(), lapin::Error> {
        for binding in &self.packed {
            binding.unbind(channel).await?;
        }
        Ok(())
    }

    /// Declares it without its bindings. One that is there is compared, and not changed (406 where it differs).
    pub(crate) async fn create(&self, channel: &Channel) -> Result<(), lapin::Error> {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let mut arguments = FieldTable::default();
        for (name, value) in &self.arguments {
            let value = match value {
                Argument::Text(text) => AMQPValue::LongString(text.as_bytes().into()),
                Argument::Number(number) => AMQPValue::LongLongInt(*number),
            };
            arguments.insert((*name).into(), value);
        }
        channel.queue_declare(short(&self.name), options, arguments).await.map(|_| ())
    }

    /// Asks whether it is there, and for its messages and subscriptions (404 where it is not).
    pub(crate) async fn ask(&self, channel: &Channel) -> Result<lapin::Queue, lapin::Error> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(short(&self.name), passive, FieldTable::default()).await
    }
}

impl Binding {
    async fn bind(&self, channel: &Channel) -> Result<(), lapin::Error> {
        let (queue, exchange, key) = (short(&self.queue), short(&self.exchange), short(&self.routing_key));
        channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default()).await
    }

    /// Takes it away; none there is as well.
    async fn unbind(&self, channel: &Channel) -> Result<(), lapin::Error> {
        let (queue, exchange, key) = (short(&self.queue), short(&self.exchange), short(&self.routing_key));
        channel.queue_unbind(queue, exchange, key, FieldTable::default()).await
    }
}
