"""What is refused: the right code, only the channel closed, and the connection goes on."""
import pika

from clients import Amqp, connect, get, publish, queue, ready, unique


def refused(connection, code, call):
    """`call` on a new channel must close that channel with `code`; the next channel must work."""
    channel = connection.channel()
    try:
        call(channel)
        channel.queue_declare("", exclusive=True)  # asynchronous errors arrive before this answer
    except pika.exceptions.ChannelClosedByBroker as error:
        assert error.reply_code == code, f"{error.reply_code} {error.reply_text}, expected {code}"
    else:
        raise AssertionError(f"not refused; expected {code}")
    after = connection.channel()
    name = after.queue_declare("", exclusive=True).method.queue
    after.basic_publish("", name, b"still here")
    assert after.basic_get(name, auto_ack=True)[2] == b"still here"
    after.close()


def test_what_is_not_there_is_404(amqp):
    connection = connect(amqp)
    missing = unique("missing")
    for call in (lambda ch: ch.queue_declare(missing, passive=True), lambda ch: ch.exchange_declare(missing, passive=True),
                 lambda ch: ch.basic_consume(missing, lambda *_: None), lambda ch: ch.basic_get(missing),
                 lambda ch: ch.queue_purge(missing), lambda ch: ch.queue_bind(missing, "amq.topic", "x"),
                 lambda ch: ch.basic_publish(missing, "x", b"x")):
        refused(connection, 404, call)
    channel = connection.channel()
    assert channel.queue_delete(missing).method.message_count == 0  # deleting what is gone is not an error
    channel.exchange_delete(missing)
    connection.close()


def test_another_connections_exclusive_queue_is_405(amqp):
    owner, other = connect(amqp), connect(amqp)
    name = owner.channel().queue_declare("", exclusive=True).method.queue
    for call in (lambda ch: ch.queue_declare(name, passive=True), lambda ch: ch.basic_get(name),
                 lambda ch: ch.basic_consume(name, lambda *_: None), lambda ch: ch.queue_delete(name)):
        refused(other, 405, call)
    owner.close()
    refused(other, 404, lambda ch: ch.queue_declare(name, passive=True))
    other.close()


def test_other_properties_are_406(amqp):
    with Amqp(amqp) as channel:
        connection, name, exchange = channel.connection, queue(channel, x_max_length=10), unique("direct")
        channel.exchange_declare(exchange, "direct", durable=True)
        publish(channel, name, "x")
        for call in (lambda ch: ch.queue_declare(name, durable=False), lambda ch: ch.queue_declare(name, durable=True),
                     lambda ch: ch.queue_declare(name, durable=True, arguments={"x-max-length": 11}),
                     lambda ch: ch.exchange_declare(exchange, "fanout", durable=True),
                     lambda ch: ch.queue_declare(unique("bad"), arguments={"x-message-ttl": -1}),
                     lambda ch: ch.queue_declare("", durable=True, arguments={"x-queue-type": "quorum"}),
                     lambda ch: ch.queue_declare(unique("bad"), durable=True, auto_delete=True, arguments={"x-queue-type": "quorum"}),
                     lambda ch: ch.queue_delete(name, if_empty=True)):
            refused(connection, 406, call)
        channel.queue_declare(name, durable=True, arguments={"x-max-length": 10})  # the same is no error
        channel.queue_bind(name, exchange, "x")
        refused(connection, 406, lambda ch: ch.exchange_delete(exchange, if_unused=True))


def test_unknown_delivery_tags_are_406(amqp):
    with Amqp(amqp) as channel:
        name = queue(channel)
        publish(channel, name, "x")

        def twice(ch):
            method, _, _ = get(ch, name, auto_ack=False)
            ch.basic_ack(method.delivery_tag)
            ch.basic_ack(method.delivery_tag)

        refused(channel.connection, 406, twice)
        refused(channel.connection, 406, lambda ch: ch.basic_nack(99))
        assert ready(channel, name) == 0, "the first ack counts"


def test_reserved_names_are_403(amqp):
    connection = connect(amqp)
    for call in (lambda ch: ch.queue_declare("amq.mine"), lambda ch: ch.exchange_declare("amq.mine", "direct"),
                 lambda ch: ch.exchange_delete("amq.direct"), lambda ch: ch.queue_bind(
                     ch.queue_declare("", exclusive=True).method.queue, "", "x")):
        refused(connection, 403, call)
    connection.close()


def test_exclusive_consumers_are_alone(amqp):
    with Amqp(amqp) as channel:
        name = queue(channel)
        channel.basic_consume(name, lambda *_: None, exclusive=True)
        refused(channel.connection, 403, lambda ch: ch.basic_consume(name, lambda *_: None))


def test_a_refused_channel_gives_back_what_it_held(amqp):
    with Amqp(amqp) as channel:
        name = queue(channel)
        publish(channel, name, "x")

        def hold_and_fail(ch):
            assert get(ch, name, auto_ack=False)
            ch.queue_declare(unique("missing"), passive=True)

        refused(channel.connection, 404, hold_and_fail)
        method, _, body = get(channel, name)
        assert body == b"x" and method.redelivered
