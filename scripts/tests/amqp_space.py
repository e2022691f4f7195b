"""Space of a queue: what is acknowledged comes back though a message before it is not, and what is not acknowledged stays."""
import os

from broker import Broker, until
from clients import Amqp, get, publish, queue, ready

MESSAGES = 4_000
BODY_BYTES = 30_000
# One of so many is kept.
KEPT = 400
# Small journal files, so that segments are soon known to be sealed; nothing else makes them so.
CONFIG = f"journal_file_bytes = {36 << 20}\n"


def kept_bytes(broker):
    return broker.metric('ringmain_retained_bytes{reason="queue_unsettled"}')


def body_of(number):
    return f"{number} ".encode() + os.urandom(BODY_BYTES)


def fill(channel, name, count):
    bodies = [body_of(number) for number in range(count)]
    for body in bodies:
        publish(channel, name, body, delivery_mode=2)
    return bodies


def test_what_is_acknowledged_behind_a_message_that_is_not_makes_room():
    broker = Broker("space", cores=1)
    file = broker.directory / "ringmain.toml"
    file.write_text(CONFIG)
    broker.options = ["--config", str(file)]
    with broker:
        with Amqp(broker.amqp) as channel:
            name = queue(channel)
            bodies = fill(channel, name, MESSAGES)
            kept = bodies[::KEPT]
            before = kept_bytes(broker)
            tags = [get(channel, name, auto_ack=False)[0].delivery_tag for _ in bodies]
            for number, tag in enumerate(tags):
                if number % KEPT:
                    channel.basic_ack(tag)
            other = queue(channel, "other")
            fill(channel, other, MESSAGES // 2)  # fills the journal, so that all before is settled
            channel.queue_delete(other)
            until(lambda: kept_bytes(broker) * 3 < before, 60, "what was acknowledged makes room")
        with Amqp(broker.amqp) as channel:
            until(lambda: ready(channel, name) == len(kept), 10, "what was not acknowledged comes back")
            assert [get(channel, name, auto_ack=False)[2] for _ in kept] == kept
        broker.kill()
        broker.start()
        with Amqp(broker.amqp) as channel:
            assert [get(channel, name)[2] for _ in kept] == kept and get(channel, name) is None
        until(lambda: kept_bytes(broker) < BODY_BYTES, 30, "an empty queue keeps nothing")
        broker.stop()
