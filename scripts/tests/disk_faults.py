#!/usr/bin/env python3
"""A full file system under the real binary, on the real kernel: new records are refused, everything else goes on, and
writing goes on by itself once there is room.

In: the release binary, root, a loop device. Out: a line for each scene, exit 1 if something was wrong; without root or
loop devices the reason, and exit 0. Never: leaves a mount or a loop device behind.

Two scenes. In the first, room falls below the mark and a Kafka topic is deleted to make some. In the second there is no
mark and no room at all: settling into segments and filling another journal file fail, and a queue is purged.
"""
import errno
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pika
from confluent_kafka import KafkaError, Producer

from broker import Broker, until
from clients import Amqp, admin_client, connect, consumer, create_topic, publish, queue, read_partition, take

IMAGE_BYTES = 192 << 20
MARK_BYTES = 16 << 20
JOURNAL_FILE_BYTES = 36 << 20
CONFIG = f"journal_file_bytes = {JOURNAL_FILE_BYTES}\nmemory_bytes = {48 << 20}\n"
VALUE_BYTES = 10_000
WAIT_SECONDS = 60


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class SmallFileSystem:
    """ext4 in a file, mounted; taken down in any case."""

    def __init__(self, directory):
        self.image, self.mount = directory / "image", directory / "mount"

    def __enter__(self):
        self.mount.mkdir(parents=True)
        with open(self.image, "wb") as file:
            file.truncate(IMAGE_BYTES)
        run("mkfs.ext4", "-q", "-F", "-m", "0", str(self.image))
        run("mount", "-o", "loop", str(self.image), str(self.mount))
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", str(self.mount)], capture_output=True)
        self.image.unlink(missing_ok=True)


def fill_up(mount):
    """Takes all the room that is left, but for a little. The broker may take some at the same time."""
    ballast = mount / f"ballast-{time.monotonic_ns()}"
    with open(ballast, "wb") as file:
        for _ in range(100):
            try:
                os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(mount).free - (1 << 20)))
                return ballast
            except OSError as error:
                assert error.errno == errno.ENOSPC, error
                file.truncate(0)
    raise AssertionError("the room that is left changes all the time")


class Acked:
    """What Kafka producers were told: offsets and values per topic, and the errors."""

    def __init__(self):
        self.records, self.errors = {}, []

    def report(self, topic, value):
        def delivered(error, message):
            if error:
                self.errors.append(error)
            else:
                self.records.setdefault(topic, {})[message.offset()] = value
        return delivered

    def check(self, broker, topic):
        """Every record with a delivery report is at its offset with its bytes."""
        records = self.records[topic]
        got = {message.offset(): message.value() for message in read_partition(broker.kafka, topic, max(records) + 1)}
        lost = [offset for offset, value in records.items() if got.get(offset) != value]
        assert not lost, f"{len(lost)} of {len(records)} acknowledged records are not there, the first at {lost[0]}"
        return len(records)


def value_of(number):
    return f"{number} ".encode() + os.urandom(VALUE_BYTES)


def produce_some(broker, topic, acked):
    """Produces 200 records, all of which are taken."""
    producer = Producer({"bootstrap.servers": broker.kafka})
    for number in range(200):
        value = value_of(number)
        producer.produce(topic, value, on_delivery=acked.report(topic, value))
    assert producer.flush(WAIT_SECONDS) == 0 and not acked.errors


def fill_until_refused(broker, topic, acked):
    """Produces without retries until a record is refused; gives back the error."""
    producer = Producer({"bootstrap.servers": broker.kafka, "log_level": 0, "retries": 0, "linger.ms": 1,
                         "queue.buffering.max.messages": 500})
    number, deadline = 0, time.monotonic() + WAIT_SECONDS
    while not acked.errors:
        assert broker.running(), f"the broker has ended:\n{broker.log_end()}"
        assert time.monotonic() < deadline, "nothing is refused though the disk should be full"
        value = value_of(number)
        try:
            producer.produce(topic, value, on_delivery=acked.report(topic, value))
            number += 1
        except BufferError:
            pass
        producer.poll(0.001)
    producer.flush(10)
    error = acked.errors[0]
    assert error.code() == KafkaError.KAFKA_STORAGE_ERROR, error
    return error


class Waiting:
    """A Kafka producer as applications have it: idempotent, with retries. It sends while nothing is taken."""

    def __init__(self, broker, topic, count):
        self.topic, self.acked, self.count = topic, Acked(), count
        self.producer = Producer({"bootstrap.servers": broker.kafka, "log_level": 0, "enable.idempotence": True})
        for number in range(count):
            value = value_of(number)
            self.producer.produce(topic, value, on_delivery=self.acked.report(topic, value))
        left = self.producer.flush(3)
        assert left > 0, "records are taken though there is no room"

    def check(self, broker):
        assert self.producer.flush(WAIT_SECONDS) == 0, "the producer that waited does not get through"
        assert not self.acked.errors, self.acked.errors[0]
        assert sorted(self.acked.records[self.topic]) == list(range(self.count)), "not once and in order"
        return self.acked.check(broker, self.topic)


class Blocked:
    """Two AMQP publishers while nothing is taken: one that hears of it, one that waits for its confirm."""

    def __init__(self, broker):
        self.heard, self.done, self.failures = [], threading.Event(), []
        self.bodies = [os.urandom(1000), os.urandom(1000)]
        with Amqp(broker.amqp) as channel:
            self.queue = queue(channel)
        self.connection = connect(broker.amqp)
        self.connection.add_on_connection_blocked_callback(lambda _, frame: self.heard.append(frame.method.reason))
        self.connection.add_on_connection_unblocked_callback(lambda *_: self.heard.append("unblocked"))
        publish(self.connection.channel(), self.queue, self.bodies[0])
        self.wait_for("low on disk")
        self.thread = threading.Thread(target=self.confirmed, args=(broker,), daemon=True)
        self.thread.start()

    def confirmed(self, broker):
        try:
            with Amqp(broker.amqp) as channel:
                publish(channel, self.queue, self.bodies[1])
                self.done.set()
        except pika.exceptions.AMQPError as error:
            self.failures.append(repr(error))

    def wait_for(self, what):
        deadline = time.monotonic() + WAIT_SECONDS
        while what not in self.heard:
            assert time.monotonic() < deadline, f"a publisher hears {self.heard}, but not {what!r}"
            self.connection.process_data_events(0.1)

    def check(self, broker):
        self.wait_for("unblocked")
        assert self.done.wait(WAIT_SECONDS), f"a publisher that waited does not get through {self.failures}"
        self.connection.close()
        with Amqp(broker.amqp) as channel:
            found = {channel.basic_get(self.queue, auto_ack=True)[2] for _ in self.bodies}
            assert found == set(self.bodies), "a message is not there"

    def nothing_taken(self):
        assert not self.done.is_set() and not self.failures, f"taken though there is no room, or {self.failures}"


def http(broker, path):
    with urllib.request.urlopen(f"http://{broker.admin}{path}", timeout=10) as answer:
        return answer.read().decode()


def assert_refusing(broker):
    assert "new records are refused" in http(broker, "/readyz"), "/readyz does not say that records are refused"
    assert "ringmain_writes_refused 1" in http(broker, "/metrics")
    assert "new records are refused" in broker.log_end(200), broker.log_end()


def wait_until_taken(broker):
    until(lambda: "ringmain_writes_refused 0" in http(broker, "/metrics"), WAIT_SECONDS, "new records are taken again")


def with_small_disk(directory, name, config, scene):
    broker = Broker(f"disk-{name}", cores=1)
    file = broker.directory / "ringmain.toml"
    file.write_text(CONFIG + config)
    broker.options = ["--config", str(file)]
    with SmallFileSystem(directory) as small:
        broker.data = small.mount / "data"
        with broker:
            scene(broker, small)


def below_the_mark(broker, _small):
    kept, fill = create_topic(broker.kafka, name="kept"), create_topic(broker.kafka, name="fill")
    acked = Acked()
    produce_some(broker, kept, acked)
    error = fill_until_refused(broker, fill, acked)
    assert_refusing(broker)
    waiting, blocked = Waiting(broker, create_topic(broker.kafka, name="late"), 20), Blocked(broker)
    counts = [acked.check(broker, topic) for topic in (kept, fill)]  # reading goes on
    blocked.nothing_taken()
    admin = admin_client(broker.kafka)  # a client that is not kept is destroyed with its request
    admin.delete_topics([fill])[fill].result(15)
    wait_until_taken(broker)
    counts += [waiting.check(broker), acked.check(broker, kept)]
    blocked.check(broker)
    broker.stop()
    broker.start()
    acked.check(broker, kept)
    print(f"disk faults: below the mark, {error.name()}; {sum(counts)} records read back; a topic deleted; passed")


def none_left(broker, small):
    topic = create_topic(broker.kafka)
    with Amqp(broker.amqp) as channel:
        large = queue(channel, name="large")
        for number in range(200):
            publish(channel, large, os.urandom(100_000))
    # Before the room is gone: what is settled meanwhile may take the rest of it, and then no record is taken at all.
    acked = Acked()
    produce_some(broker, topic, acked)
    # The same for the other journal file: it takes more room than the queue will make.
    spare = f'ringmain_retained_bytes{{reason="journal_spare"}} {JOURNAL_FILE_BYTES}'
    until(lambda: spare in http(broker, "/metrics"), WAIT_SECONDS, "the other journal file is prepared")
    ballast = fill_up(small.mount)
    fill_until_refused(broker, topic, acked)
    assert_refusing(broker)
    waiting, blocked = Waiting(broker, create_topic(broker.kafka, name="late"), 20), Blocked(broker)
    acked.check(broker, topic)
    blocked.nothing_taken()
    reader = consumer(broker.kafka, "commits-go-on")
    reader.subscribe([topic])
    reader.commit(take(reader, 1)[0], asynchronous=False)
    reader.close()
    with Amqp(broker.amqp) as channel:
        assert channel.queue_purge(large).method.message_count == 200
    wait_until_taken(broker)
    counts = [waiting.check(broker), acked.check(broker, topic)]
    blocked.check(broker)
    # Full again, and killed in the middle of it. A start without room may be refused, but must not change anything.
    fill_up(small.mount)
    acked.errors.clear()
    fill_until_refused(broker, topic, acked)
    broker.kill()
    try:
        broker.start()
        broker.kill()
    except AssertionError:
        pass
    for file in small.mount.glob("ballast*"):
        file.unlink()
    broker.start()
    counts.append(acked.check(broker, topic))
    broker.stop()
    print(f"disk faults: none left; {sum(counts)} records read back, also after kill -9; a queue purged; passed")


def check(directory):
    with_small_disk(directory / "mark", "mark", f"disk_free_bytes_min = {MARK_BYTES}\n", below_the_mark)
    with_small_disk(directory / "none", "none", "disk_free_bytes_min = 0\n", none_left)


def main():
    if os.geteuid() != 0:
        return print("disk faults: left out, mounting needs root")
    if not Path("/dev/loop-control").exists() or not shutil.which("mkfs.ext4"):
        return print("disk faults: left out, no loop devices or no mkfs.ext4 here")
    from broker import scratch
    directory = scratch("disk")
    try:
        try:
            with SmallFileSystem(directory / "probe"):
                pass
        except subprocess.CalledProcessError as error:
            return print(f"disk faults: left out, {error.stderr.strip()}")
        check(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
