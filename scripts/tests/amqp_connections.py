"""Connections: log-in, names made by the server, exclusive and auto-delete queues, heartbeats, channels."""
import pika

from broker import host_and_port, until
from clients import Amqp, connect, drain, get, publish, queue, unique


def test_wrong_passwords_and_virtual_hosts(amqp):
    host, port = host_and_port(amqp)
    for parameters, errors in (
            (dict(credentials=pika.PlainCredentials("guest", "wrong")), (pika.exceptions.ProbableAuthenticationError,)),
            (dict(virtual_host="/nowhere"), (pika.exceptions.ProbableAccessDeniedError, pika.exceptions.ConnectionClosedByBroker))):
        try:
            pika.BlockingConnection(pika.ConnectionParameters(host, port, **parameters)).close()
        except errors:
            continue
        raise AssertionError(f"let in with {parameters}")


def test_names_made_by_the_server(amqp):
    with Amqp(amqp) as channel:
        names = {channel.queue_declare("", exclusive=True).method.queue for _ in range(5)}
        assert len(names) == 5 and all(name.startswith("amq.gen-") for name in names), names
        last = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind("", "amq.topic", last)  # an empty name is the last one declared on this channel
        publish(channel, last, "x", exchange="amq.topic")
        assert drain(channel, last) == ["x"]


def exists(connection, name):
    channel = connection.channel()
    try:
        channel.queue_declare(name, passive=True)
        channel.close()
        return True
    except pika.exceptions.ChannelClosedByBroker as error:
        assert error.reply_code == 404, error
        return False


def test_exclusive_queues_end_with_their_connection(amqp):
    watcher, owner = connect(amqp), connect(amqp)
    name = unique("exclusive")
    owner.channel().queue_declare(name, exclusive=True)
    owner.close()
    until(lambda: not exists(watcher, name), 10, "the exclusive queue is gone")
    watcher.close()


def test_auto_delete_queues_end_with_their_last_consumer(amqp):
    watcher = connect(amqp)
    with Amqp(amqp) as channel:
        name = unique("auto")
        channel.queue_declare(name, auto_delete=True)
        first = channel.basic_consume(name, lambda *_: None)
        second = channel.basic_consume(name, lambda *_: None)
        channel.basic_cancel(first)
        assert exists(watcher, name), "one consumer is left"
        channel.basic_cancel(second)
        until(lambda: not exists(watcher, name), 10, "the queue is gone")
    watcher.close()


def test_heartbeats_keep_an_idle_connection(amqp):
    with Amqp(amqp, heartbeat=1) as channel:
        name = queue(channel)
        channel.connection.sleep(5)  # pika closes the connection if the broker's heartbeats do not come
        publish(channel, name, "x")
        assert drain(channel, name) == ["x"]


def test_channels_are_independent(amqp):
    connection = connect(amqp)
    channels = [connection.channel() for _ in range(50)]
    name = channels[0].queue_declare("", exclusive=True).method.queue
    for n, channel in enumerate(channels):
        channel.confirm_delivery()
        publish(channel, name, str(n))
    held = [get(channel, name, auto_ack=False) for channel in channels]
    assert [m[0].delivery_tag for m in held] == [1] * 50, "delivery tags count by channel"
    for channel in channels[1:]:
        channel.close()
    assert sorted(map(int, drain(channels[0], name))) == list(range(1, 50))
    reopened = connection.channel(channel_number=7)
    assert reopened.queue_declare(name, passive=True).method.message_count == 0
    connection.close()
