"""Connections: log-in, names made by the server, exclusive and auto-delete queues, heartbeats, channels."""
import select
import socket
import struct

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
        assert not exists(watcher, name), "the queue is gone when its last consumer is"
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


def test_a_peer_that_says_goodbye_and_still_writes_reads_the_answer(amqp):
    host, port = host_and_port(amqp)

    def method(channel, class_id, method_id, arguments=b""):
        payload = struct.pack(">HH", class_id, method_id) + arguments
        return struct.pack(">BHI", 1, channel, len(payload)) + payload + b"\xce"

    with socket.create_connection((host, port), timeout=10) as peer:
        stream = peer.makefile("rb")

        def read():
            _, _, size = struct.unpack(">BHI", stream.read(7))
            payload = stream.read(size + 1)
            return struct.unpack(">HH", payload[:4])

        peer.sendall(b"AMQP\x00\x00\x09\x01")
        assert read() == (10, 10)
        login = b"\x00guest\x00guest"
        peer.sendall(method(0, 10, 11, struct.pack(">I", 0) + b"\x05PLAIN" + struct.pack(">I", len(login)) + login + b"\x05en_US"))
        assert read() == (10, 30)
        peer.sendall(method(0, 10, 31, struct.pack(">HIH", 10, 131072, 0)) + method(0, 10, 40, b"\x01/\x00\x00"))
        assert read() == (10, 41)
        peer.sendall(method(1, 20, 10, b"\x00"))
        assert read() == (20, 11)
        peer.sendall(method(0, 10, 50, struct.pack(">HBHH", 200, 0, 0, 0)))
        until(lambda: select.select([peer], [], [], 0)[0], 10, "the answer has come")
        for _ in range(3):  # a socket that the broker had closed would be reset by the first, and the answer lost
            peer.sendall(method(1, 20, 20, b"\x01"))
        assert read() == (10, 51)
