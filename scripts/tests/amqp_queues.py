"""Queues: deliver, acknowledge, return, prefetch, confirm; every property comes back."""
import hashlib
import random

import pika

from broker import until
from clients import Amqp, connect, deliveries, drain, get, publish, queue, ready, unique


def test_every_property_comes_back(amqp):
    with Amqp(amqp) as channel:
        name = queue(channel)
        headers = {"text": "x", "int": -5, "long": 2**40, "yes": True, "none": None, "list": [1, "two", {"three": 3}],
                   "table": {"a": {"b": "c"}}, "bytes": b"\x00\xff"}
        sent = dict(content_type="text/plain", content_encoding="utf-8", headers=headers, delivery_mode=2, priority=3,
                    correlation_id="c", reply_to="r", message_id="m", timestamp=1_700_000_000, type="t",
                    user_id="guest", app_id="a", expiration="60000")
        publish(channel, name, b"body", **sent)
        method, properties, body = get(channel, name)
        assert body == b"body" and method.routing_key == name and method.exchange == "" and not method.redelivered
        for key, value in sent.items():
            assert getattr(properties, key) == value, f"{key}: {getattr(properties, key)!r} is not {value!r}"


def test_bodies_of_every_size(amqp):
    noise = random.Random(5)
    with Amqp(amqp) as channel:
        name = queue(channel)
        sizes = [0, 1, 4088, 131_064, 131_065, 1_000_000, 5_000_000]
        bodies = [noise.randbytes(size) for size in sizes]
        for body in bodies:
            publish(channel, name, body, delivery_mode=2)
        for size, body in zip(sizes, bodies):
            got = get(channel, name)[2]
            assert len(got) == size and hashlib.sha256(got).digest() == hashlib.sha256(body).digest(), size


def test_work_is_shared_and_done_once(amqp):
    with Amqp(amqp) as channel:
        name = queue(channel)
        for n in range(100):
            publish(channel, name, str(n))
        done, counts = [], {}
        workers = [connect(amqp) for _ in range(4)]
        channels = [worker.channel() for worker in workers]

        def work(ch, method, _, body):
            done.append(int(body))
            counts[id(ch)] = counts.get(id(ch), 0) + 1
            ch.basic_ack(method.delivery_tag)

        for ch in channels:
            ch.basic_qos(prefetch_count=1)
            ch.basic_consume(name, work)
        for _ in range(1000):
            for worker in workers:
                worker.process_data_events(0.01)
            if len(done) >= 100:
                break
        assert sorted(done) == list(range(100)) and len(counts) == 4, (len(done), counts)
        for worker in workers:
            worker.close()
        assert ready(channel, name) == 0


def test_returned_messages_keep_their_place(amqp):
    with Amqp(amqp) as channel:
        name = queue(channel)
        for n in range(6):
            publish(channel, name, str(n))
        taken = [get(channel, name, auto_ack=False) for _ in range(4)]
        channel.basic_ack(taken[1][0].delivery_tag)
        channel.basic_nack(taken[2][0].delivery_tag, requeue=True)
        channel.basic_reject(taken[0][0].delivery_tag, requeue=True)
        channel.basic_reject(taken[3][0].delivery_tag, requeue=False)
        until(lambda: ready(channel, name) == 4, 10, "two returned")
        again = [get(channel, name) for _ in range(4)]
        assert [m[2] for m in again] == [b"0", b"2", b"4", b"5"]
        assert [m[0].redelivered for m in again] == [True, True, False, False]


def test_multiple_acks_and_nacks(amqp):
    with Amqp(amqp) as channel:
        name = queue(channel)
        for n in range(10):
            publish(channel, name, str(n))
        taken = deliveries(channel, name, 10)
        channel.basic_ack(taken[3][0].delivery_tag, multiple=True)
        channel.basic_nack(taken[7][0].delivery_tag, multiple=True, requeue=False)
        channel.cancel()
        channel.basic_nack(0, multiple=True, requeue=True)  # tag 0: all that is left
        until(lambda: ready(channel, name) == 2, 10, "two returned")
        assert drain(channel, name) == ["8", "9"]


def test_a_lost_connection_gives_back_what_it_held(amqp):
    with Amqp(amqp) as channel:
        name = queue(channel)
        for n in range(5):
            publish(channel, name, str(n))
        other = connect(amqp)
        held = deliveries(other.channel(), name, 5)
        assert ready(channel, name) == 0 and len(held) == 5
        other.close()
        until(lambda: ready(channel, name) == 5, 10, "five returned")
        again = [get(channel, name) for _ in range(5)]
        assert [m[2] for m in again] == [b"0", b"1", b"2", b"3", b"4"]
        assert all(m[0].redelivered for m in again)


def test_prefetch_bounds_what_is_in_flight(amqp):
    with Amqp(amqp) as channel:
        name = queue(channel)
        for n in range(20):
            publish(channel, name, str(n))
        slow, fast = connect(amqp), connect(amqp)
        got = {"slow": [], "fast": []}
        for who, connection, prefetch in (("slow", slow, 3), ("fast", fast, 1)):
            ch = connection.channel()
            ch.basic_qos(prefetch_count=prefetch)
            acks = who == "fast"

            def on_message(ch, method, _, body, who=who, acks=acks):
                got[who].append(int(body))
                if acks:
                    ch.basic_ack(method.delivery_tag)

            ch.basic_consume(name, on_message)
            for _ in range(10 if who == "slow" else 0):
                connection.process_data_events(0.1)
        for _ in range(200):
            slow.process_data_events(0.01)
            fast.process_data_events(0.01)
            if len(got["fast"]) == 17:
                break
        assert got["slow"] == [0, 1, 2], got
        assert got["fast"] == list(range(3, 20)), got
        fast.close()
        slow.close()
        until(lambda: ready(channel, name) == 3, 10, "three returned")
        assert drain(channel, name) == ["0", "1", "2"]


def test_a_limit_for_the_channel_spans_its_consumers(amqp):
    with Amqp(amqp) as channel:
        names = [queue(channel) for _ in range(2)]
        for name in names:
            for n in range(3):
                publish(channel, name, str(n))
        worker = connect(amqp)
        ch = worker.channel()
        ch.basic_qos(prefetch_count=2, global_qos=True)
        held, done = [], 0
        for name in names:
            ch.basic_consume(name, lambda _, method, *__: held.append(method.delivery_tag))
        while done < 6:
            until(lambda: worker.process_data_events(0.05) or len(held) >= min(2, 6 - done), 10, "as many as there may be")
            worker.process_data_events(0.2)
            assert len(held) == min(2, 6 - done), held
            ch.basic_ack(held.pop(0))
            done += 1
        worker.close()
        assert [ready(channel, name) for name in names] == [0, 0]


def test_unacknowledged_deliveries_survive_cancel(amqp):
    with Amqp(amqp) as channel:
        name, got = queue(channel), []
        publish(channel, name, "kept")
        tag = channel.basic_consume(name, lambda ch, method, _, body: got.append((method.delivery_tag, body)))
        for _ in range(100):
            channel.connection.process_data_events(0.05)
            if got:
                break
        channel.basic_cancel(tag)
        assert ready(channel, name) == 0, "basic.cancel must not give back"
        channel.basic_ack(got[0][0])
        assert ready(channel, name) == 0 and drain(channel, name) == []


def test_recover_gives_back(amqp):
    with Amqp(amqp) as channel:
        name = queue(channel)
        publish(channel, name, "again")
        get(channel, name, auto_ack=False)
        channel.basic_recover(requeue=True)
        method, _, body = get(channel, name)
        assert body == b"again" and method.redelivered


def test_mandatory_messages_without_a_queue_come_back(amqp):
    with Amqp(amqp) as channel:
        try:
            publish(channel, unique("nobody"), b"x", mandatory=True, message_id="7")
            raise AssertionError("confirmed as if it had been routed")
        except pika.exceptions.UnroutableError as error:
            returned = error.messages[0]
            assert returned.method.reply_code == 312 and returned.body == b"x" and returned.properties.message_id == "7"
        publish(channel, unique("nobody"), b"x")  # not mandatory: confirmed and dropped


def test_purge_and_delete_count(amqp):
    with Amqp(amqp) as channel:
        name = queue(channel)
        for n in range(7):
            publish(channel, name, str(n))
        get(channel, name, auto_ack=False)
        assert channel.queue_purge(name).method.message_count == 6, "purge counts what was ready"
        publish(channel, name, "x")
        assert channel.queue_delete(name).method.message_count == 1


def test_quorum_queues_tell_how_often_a_message_came_back(amqp):
    with Amqp(amqp) as channel:
        dead = queue(channel, "dead")
        for limit, reason in ({"x_delivery_limit": 2}, "delivery_limit"), ({}, "rejected"):
            name = queue(channel, x_queue_type="quorum", x_dead_letter_exchange="", x_dead_letter_routing_key=dead, **limit)
            publish(channel, name, b"poison", headers={"k": "v"})
            for count in (None, 1, 2):
                method, properties, _ = until(lambda: get(channel, name, auto_ack=False), 10, "the message comes back")
                assert properties.headers.get("x-delivery-count") == count and properties.headers["k"] == "v", properties
                assert method.redelivered == (count is not None)
                requeue = count != 2 or reason == "delivery_limit"
                channel.basic_reject(method.delivery_tag, requeue=requeue)
            letter = until(lambda: get(channel, dead), 10, "a dead letter")[1].headers
            assert letter["x-first-death-reason"] == reason and letter["x-death"][0]["reason"] == reason, letter
            assert get(channel, name) is None


def test_consumers_hear_that_their_queue_is_gone(amqp):
    with Amqp(amqp) as channel:
        name, cancelled = queue(channel), []
        other = connect(amqp)
        ch = other.channel()
        tag = ch.basic_consume(name, lambda *_: None)
        ch.add_on_cancel_callback(lambda method: cancelled.append(method.method.consumer_tag))
        assert channel.queue_declare(name, passive=True).method.consumer_count == 1
        channel.queue_delete(name)
        for _ in range(100):
            other.process_data_events(0.05)
            if cancelled:
                break
        assert cancelled == [tag]
        other.close()


def test_auto_ack_consumers(amqp):
    with Amqp(amqp) as channel:
        name = queue(channel)
        for n in range(50):
            publish(channel, name, str(n))
        assert [int(m[2]) for m in deliveries(channel, name, 50, auto_ack=True)] == list(range(50))
        channel.cancel()
        assert ready(channel, name) == 0


def test_transient_queues_work_the_same(amqp):
    with Amqp(amqp) as channel:
        name = queue(channel, durable=False)
        publish(channel, name, "x", delivery_mode=1)
        assert drain(channel, name) == ["x"]


def test_one_consumer_is_active_at_a_time(amqp):
    with Amqp(amqp) as channel:
        name, got = queue(channel, x_single_active_consumer=True), {"first": 0, "second": 0}
        connections = {who: connect(amqp) for who in got}
        for who, connection in connections.items():
            def on_message(ch, method, _, body, who=who):
                got[who] += 1
                ch.basic_ack(method.delivery_tag)

            connection.channel().basic_consume(name, on_message)

        def pump():
            for connection in connections.values():
                connection.process_data_events(0.02)
            return sum(got.values())

        for n in range(10):
            publish(channel, name, str(n))
        until(lambda: pump() == 10, 10, "ten deliveries")
        assert got == {"first": 10, "second": 0}, got
        connections.pop("first").close()
        publish(channel, name, "x")
        until(lambda: pump() == 11, 10, "the next consumer takes over")
        connections["second"].close()
