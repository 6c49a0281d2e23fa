#!/usr/bin/env python3
"""Prints how dispatches end: python3 events.py QUEUE [KEY…], with the environment of payment.py.

An example of a service that listens to events. QUEUE is its own; KEY is dispatch.completed, dispatch.cancelled or
dispatch.stuck, and dispatch.* for all of them.
"""

import sys

from payment import PREFIX, forever, saga


def main():
    queue, keys = PREFIX + sys.argv[1], sys.argv[2:] or ["dispatch.*"]

    def told(channel, method, properties, body):
        # An event may come twice, under the same message_id: whoever acts on it keeps that id with the effect.
        event = getattr(saga, properties.type.removeprefix("dispatch.v1.")).FromString(body)
        print(method.routing_key, event.order_id, getattr(event, "reason", ""), sep="\t", flush=True)
        channel.basic_ack(method.delivery_tag)

    def subscribe(channel):
        exchange = f"{PREFIX}dispatch.events"
        channel.exchange_declare(exchange, "topic", durable=True)
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        for key in keys:
            channel.queue_bind(queue, exchange, key)
        channel.basic_consume(queue, told)
        print("listening", flush=True)

    forever(subscribe)


if __name__ == "__main__":
    main()
