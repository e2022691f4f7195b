"""Messages that end: TTL, dead letters and their history, limits, queues that expire."""
import pika

from broker import until
from clients import Amqp, drain, get, publish, queue, ready, unique


def dead_letters(channel, **arguments):
    dead = queue(channel, "dead")
    return queue(channel, "work", x_dead_letter_exchange="", x_dead_letter_routing_key=dead, **arguments), dead


def arrival(channel, name):
    return until(lambda: get(channel, name), 10, f"a message in {name}")


def test_a_message_expires_by_its_own_time(amqp):
    with Amqp(amqp) as channel:
        work, dead = dead_letters(channel)
        publish(channel, work, "stale", expiration="100", message_id="1")
        _, properties, body = arrival(channel, dead)
        death = properties.headers["x-death"][0]
        assert body == b"stale" and death["reason"] == "expired" and death["queue"] == work and death["count"] == 1
        assert death["original-expiration"] == "100" and properties.expiration is None and properties.message_id == "1"
        assert ready(channel, work) == 0


def test_a_queue_expires_its_messages(amqp):
    with Amqp(amqp) as channel:
        work, dead = dead_letters(channel, x_message_ttl=100)
        publish(channel, work, "stale")
        _, properties, _ = arrival(channel, dead)
        assert properties.headers["x-first-death-reason"] == "expired"
        assert properties.headers["x-first-death-queue"] == work


def test_rejected_messages_tell_their_history(amqp):
    with Amqp(amqp) as channel:
        first, second = unique("first"), unique("second")
        for name, other in ((first, second), (second, first)):
            channel.queue_declare(name, durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": other})
        publish(channel, first, "poison", headers={"mine": 1})
        for name in (first, second, first):
            method, _, _ = until(lambda name=name: get(channel, name, auto_ack=False), 10, f"the message in {name}")
            channel.basic_reject(method.delivery_tag, requeue=False)
        _, properties, _ = arrival(channel, second)
        deaths = {(d["queue"], d["reason"]): d["count"] for d in properties.headers["x-death"]}
        assert deaths == {(first, "rejected"): 2, (second, "rejected"): 1}, deaths
        assert properties.headers["mine"] == 1 and properties.headers["x-first-death-queue"] == first


def test_a_full_queue_drops_its_head(amqp):
    with Amqp(amqp) as channel:
        work, dead = dead_letters(channel, x_max_length=3)
        for n in range(5):
            publish(channel, work, str(n))
        until(lambda: ready(channel, dead) == 2, 10, "two dead letters")
        _, properties, body = get(channel, dead)
        assert body == b"0" and properties.headers["x-death"][0]["reason"] == "maxlen"
        assert drain(channel, work) == ["2", "3", "4"]


def test_an_unused_queue_expires(amqp):
    with Amqp(amqp) as channel:
        name = queue(channel, x_expires=200)
        other = channel.connection.channel()

        def gone():
            # Passive declares count as use, so look at it only after twice its life.
            channel.connection.sleep(0.5)
            try:
                other.queue_declare(name, passive=True)
                return False
            except Exception as error:
                assert error.args[0] == 404, error
                return True

        until(gone, 10, "the queue is gone")


def test_a_full_queue_can_refuse_instead(amqp):
    with Amqp(amqp) as channel:
        name = queue(channel, x_max_length=2, x_overflow="reject-publish")
        refused = 0
        for n in range(4):
            try:
                publish(channel, name, str(n))
            except pika.exceptions.NackError:
                refused += 1
        assert refused == 2 and drain(channel, name) == ["0", "1"]


def test_zero_ttl_reaches_a_waiting_consumer(amqp):
    with Amqp(amqp) as channel:
        name, got = queue(channel), []
        channel.basic_consume(name, lambda ch, method, _, body: got.append(body), auto_ack=True)
        publish(channel, name, "now", expiration="0")
        for _ in range(100):
            channel.connection.process_data_events(0.05)
            if got:
                break
        assert got == [b"now"]
