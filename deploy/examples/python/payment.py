#!/usr/bin/env python3
"""Participant `payment` in another language: in place of ours, beside `waybill serve` without role `payment`.

    WAYBILL_AMQP_URL=amqp://… WAYBILL_AMQP_PREFIX= PAYMENT_DATABASE=payment.db python3 payment.py

It may be killed at any moment, and any number of them may share one database file on one machine.
"""

import logging
import os
import pathlib
import sqlite3
import sys
import time

import grpc
import pika
from google.protobuf.message import DecodeError

sys.path.append(str(pathlib.Path(__file__).resolve().parents[3] / "proto"))
saga = grpc.protos("dispatch/v1/saga.proto")  # compiled now, by grpcio-tools
AMQP_URL, PREFIX = os.environ["WAYBILL_AMQP_URL"], os.environ.get("WAYBILL_AMQP_PREFIX", "")
TABLES = """
CREATE TABLE IF NOT EXISTS reservations (
  dispatch_id TEXT PRIMARY KEY, order_id TEXT NOT NULL, customer_id TEXT NOT NULL, currency_code TEXT NOT NULL,
  minor_units INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS reservations_of_customer ON reservations (customer_id, state);
CREATE TABLE IF NOT EXISTS replies (
  message_id TEXT PRIMARY KEY, type TEXT NOT NULL, body BLOB NOT NULL, replied_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS replies_by_age ON replies (replied_at);
"""
COMMANDS = {f"{verb}Payment": f"Payment{verb}d" for verb in ("Reserve", "Release", "Capture")}
REMEMBERED = 7 * 24 * 3600  # seconds; longer than any copy of a command can be on its way
CURRENCY, CREDIT_LIMIT, TARIFF = "EUR", 100_000, 490  # in cents; the tariff is for one parcel


def forever(subscribe):
    """Runs `subscribe(channel)` and what it subscribes to, on one connection after the other."""
    while True:
        try:
            with pika.BlockingConnection(pika.URLParameters(AMQP_URL)) as connection:
                channel = connection.channel()
                channel.basic_qos(prefetch_count=100)
                subscribe(channel)
                channel.start_consuming()
        except (pika.exceptions.AMQPError, OSError) as error:
            logging.warning(f"no connection, again in 1 s: {error!r}")
            time.sleep(1)


class Wrong(Exception):
    """A command that will never be understood."""


def apply(db, message_id, correlation_id, type_name, body):
    """Type and body of the reply to a command. Its effect and the record of its reply are one commit."""
    db.execute("BEGIN IMMEDIATE")
    with db:
        known = db.execute("SELECT type, body FROM replies WHERE message_id = ?", (message_id,)).fetchone()
        if known:
            return known
        name = (type_name or "").removeprefix("dispatch.v1.")
        if name not in COMMANDS:
            raise Wrong(f"unknown message type {type_name!r}")
        command = getattr(saga, name).FromString(body)
        if not (message_id and command.order_id and command.dispatch_id == correlation_id):
            raise Wrong("message_id or order_id is missing, or dispatch_id is not the correlation_id")
        reply, fields = decide(db, name, command)
        fields |= {"dispatch_id": command.dispatch_id, "order_id": command.order_id}
        answer = f"dispatch.v1.{reply}", getattr(saga, reply)(**fields).SerializeToString()
        db.execute("INSERT INTO replies VALUES (?, ?, ?, ?)", (message_id, *answer, time.time()))
        db.execute("DELETE FROM replies WHERE replied_at < ?", (time.time() - REMEMBERED,))
        return answer


def decide(db, name, command):
    """What a command makes of a reservation, and the reply: every command in every state."""
    row = db.execute("SELECT * FROM reservations WHERE dispatch_id = ?", (command.dispatch_id,)).fetchone()
    _, order, customer, currency, units, state, reason = row or ("", command.order_id, "", "", 0, None, "")
    if order != command.order_id:
        raise Wrong(f"dispatch {command.dispatch_id} belongs to order {order}, not {command.order_id}")
    match name, state:
        case "ReservePayment", None:
            customer, currency, units, state, reason = reserve(db, command)
        case "ReleasePayment", None | "RESERVED":  # None: a mark, which refuses a late reservation
            state, reason = "RELEASED", f"came too late: already released: {command.reason}"
        case "CapturePayment", "RESERVED":
            state = "CAPTURED"
        case ("ReleasePayment", "CAPTURED") | ("CapturePayment", None | "REFUSED" | "RELEASED"):
            raise Wrong(f"{name} of a payment that is {state}")
    row = command.dispatch_id, order, customer, currency, units, state, reason
    db.execute("INSERT OR REPLACE INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    if name != "ReservePayment":
        return COMMANDS[name], {}
    if reason:
        return "PaymentDeclined", {"reason": reason}
    return "PaymentReserved", {"amount": {"currency_code": currency, "minor_units": units}}


def reserve(db, command):
    amount = command.amount if command.HasField("amount") else None
    if command.parcel_count < 1 or (amount and amount.minor_units < 1):
        raise Wrong("parcel_count or amount is less than 1")
    customer, currency = command.customer_id, amount.currency_code if amount else CURRENCY
    units = amount.minor_units if amount else TARIFF * command.parcel_count
    sql = "SELECT sum(minor_units) FROM reservations WHERE customer_id = ? AND state IN ('RESERVED', 'CAPTURED')"
    reserved = (customer and db.execute(sql, (customer,)).fetchone()[0]) or 0
    if currency != CURRENCY:
        return customer, currency, units, "REFUSED", f"payments are taken in {CURRENCY}, not in {currency}"
    if reserved + units > CREDIT_LIMIT:
        return customer, currency, units, "REFUSED", f"{units} cents exceed the credit limit ({reserved} reserved)"
    return customer, currency, units, "RESERVED", ""


def main():
    db = sqlite3.connect(os.environ.get("PAYMENT_DATABASE", "payment.db"), timeout=5, isolation_level=None)
    db.executescript(TABLES)

    def handle(channel, method, command, body):
        try:
            kind, reply = apply(db, command.message_id, command.correlation_id, command.type, body)
            headers = {name: value for name, value in (command.headers or {}).items() if name.startswith("trace")}
            headers["x-waybill-causation-id"] = command.message_id
            properties = pika.BasicProperties(
                message_id=f"{command.message_id}:reply", correlation_id=command.correlation_id, type=kind,
                content_type="application/x-protobuf", app_id="payment.py", delivery_mode=2, headers=headers)
            # Returns when the broker has confirmed that a queue has the reply.
            to = command.reply_to or "saga.reply"
            channel.basic_publish(f"{PREFIX}dispatch", to, reply, properties, mandatory=True)
            channel.basic_ack(method.delivery_tag)
        except (Wrong, DecodeError) as error:
            logging.warning(f"{command.message_id}: {error}")
            channel.basic_reject(method.delivery_tag, requeue=False)
        except (pika.exceptions.UnroutableError, pika.exceptions.NackError, sqlite3.OperationalError) as error:
            logging.warning(f"{command.message_id}, again in 1 s: {error!r}")
            channel.connection.call_later(1, lambda: handle(channel, method, command, body))

    def subscribe(channel):
        channel.confirm_delivery()
        channel.basic_consume(f"{PREFIX}payment", handle)

    forever(subscribe)


if __name__ == "__main__":
    main()
