"""Stock clients as the tests use them: names that do not collide, connections, and reads with a deadline.

In: addresses. Out: confluent-kafka and pika objects, and what they saw. Never: anything a user could not write.
"""
import time
import uuid

import pika
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from broker import host_and_port

READ_SECONDS = 30
# librdkafka reports every failed reconnect at level 3, twenty times a second while a broker restarts.
QUIET = {"log_level": 2}


def unique(name):
    return f"{name}-{uuid.uuid4().hex[:8]}"


# Kafka

def admin_client(kafka):
    return AdminClient({"bootstrap.servers": kafka, **QUIET})


def create_topic(kafka, partitions=1, name="topic", **config):
    topic = unique(name)
    new = NewTopic(topic, partitions, 1, config={k: str(v) for k, v in config.items()})
    admin = admin_client(kafka)  # a client that is not kept is destroyed with its request
    admin.create_topics([new])[topic].result(15)
    return topic


def produce(kafka, topic, records, **config):
    """Sends records (dicts of produce()'s arguments) and gives back (partition, offset) of each, in their order."""
    places, errors = [None] * len(records), []

    def delivered(place):
        def report(error, message):
            if error:
                errors.append(error)
            else:
                places[place] = (message.partition(), message.offset())
        return report

    producer = Producer({"bootstrap.servers": kafka, **QUIET, **config})
    for place, record in enumerate(records):
        while True:
            try:
                producer.produce(topic, on_delivery=delivered(place), **record)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(READ_SECONDS)
    assert not errors, f"{len(errors)} not delivered: {errors[0]}"
    assert left == 0 and None not in places, f"{left} without a report"
    return places


def consumer(kafka, group=None, **config):
    return Consumer({"bootstrap.servers": kafka, "group.id": group or unique("group"), "enable.auto.commit": False,
                     "auto.offset.reset": "earliest", **QUIET, **{k.replace("_", "."): v for k, v in config.items()}})


def take(reader, count, seconds=READ_SECONDS):
    """The next `count` records; fewer only when the time is over."""
    taken, deadline = [], time.monotonic() + seconds
    while len(taken) < count and time.monotonic() < deadline:
        message = reader.poll(0.5)
        if message is None:
            continue
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            continue
        taken.append(message)
    return taken


def nothing_more(reader, seconds=1.0):
    extra = take(reader, 1, seconds)
    assert not extra, f"one record too many: {extra[0].partition()}:{extra[0].offset()} {extra[0].value()!r:.80}"


def read_partition(kafka, topic, count, partition=0, offset=OFFSET_BEGINNING):
    reader = consumer(kafka)
    reader.assign([TopicPartition(topic, partition, offset)])
    taken = take(reader, count)
    reader.close()
    assert len(taken) == count, f"{len(taken)} of {count} records read from {topic}[{partition}]"
    return taken


# AMQP

def connect(amqp, **parameters):
    host, port = host_and_port(amqp)
    return pika.BlockingConnection(pika.ConnectionParameters(host, port, **parameters))


class Amqp:
    """A connection and a channel with confirms, closed at the end of a `with`."""

    def __init__(self, amqp, confirms=True, **parameters):
        self.connection = connect(amqp, **parameters)
        self.channel = self.connection.channel()
        if confirms:
            self.channel.confirm_delivery()

    def __enter__(self):
        return self.channel

    def __exit__(self, *_):
        try:
            if self.connection.is_open:
                self.connection.close()
        except pika.exceptions.AMQPError:
            pass  # the broker was ended in between


def queue(channel, name="queue", durable=True, **arguments):
    """Declares a queue; `x_message_ttl=5` becomes the argument x-message-ttl."""
    arguments = {k.replace("_", "-"): v for k, v in arguments.items()}
    return channel.queue_declare(unique(name), durable=durable, arguments=arguments or None).method.queue


def publish(channel, routing_key, body, exchange="", mandatory=False, **properties):
    if isinstance(body, str):
        body = body.encode()
    channel.basic_publish(exchange, routing_key, body, pika.BasicProperties(**properties), mandatory=mandatory)


def get(channel, name, auto_ack=True):
    """One message or None: (method, properties, body)."""
    method, properties, body = channel.basic_get(name, auto_ack=auto_ack)
    return None if method is None else (method, properties, body)


def drain(channel, name):
    """The bodies of all messages in a queue now."""
    bodies = []
    while (message := get(channel, name)) is not None:
        bodies.append(message[2].decode())
    return bodies


def ready(channel, name):
    return channel.queue_declare(name, passive=True).method.message_count


def deliveries(channel, name, count, seconds=READ_SECONDS, **consume):
    """The next `count` deliveries of a new consumer, not acknowledged; the consumer stays until cancel()."""
    taken, deadline = [], time.monotonic() + seconds
    for method, properties, body in channel.consume(name, inactivity_timeout=0.5, **consume):
        if method is not None:
            taken.append((method, properties, body))
        if len(taken) == count:
            break
        assert time.monotonic() < deadline, f"{len(taken)} of {count} deliveries from {name}"
    return taken
