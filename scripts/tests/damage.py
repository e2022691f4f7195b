#!/usr/bin/env python3
"""Damage to a stopped broker's directory must surface, with file and offsets, and never as a wrong byte.

In: the release binary; a number of samples and a seed. A broker is filled by stock clients, stopped, and its directory
copied and damaged once for each sample. Out: a line for each sample that went wrong, then counts; exit 1 if one did.
Each sample must end in one of these: the start is refused and names a file; a fetch or an AMQP get is refused, the operator's
line names file and offsets, and all else is served; or all is served, which is right only where `ringmain verify` finds
nothing but padding, or the damage is one that a start mends. Whatever is noticed, `verify` exits 1. Damage to a segment may
be noticed in one partition or queue only.
"""
import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pika
from confluent_kafka import Consumer, KafkaException, TopicPartition

from broker import BINARY, Broker
from clients import Amqp, create_topic, get, produce, publish, queue, unique

JOURNAL_FILE_BYTES = 36 << 20
TOPICS, RECORDS, QUEUE_MESSAGES = 3, 40, 30


def configure(broker):
    file = broker.directory / "ringmain.toml"
    file.write_text(f"journal_file_bytes = {JOURNAL_FILE_BYTES}\n")
    broker.options = ["--config", str(file)]


def fill(broker):
    """What was acknowledged: values by (topic, partition), in order; the queue, and the bodies in it."""
    expected = {}
    for topic_number in range(TOPICS):
        topic = create_topic(broker.kafka, partitions=2)
        for round_ in range(2):
            sent = [{"value": f"{topic}/{n % 2}/{round_}/{n} ".encode() * 40, "partition": n % 2}
                    for n in range(RECORDS)]
            produce(broker.kafka, topic, sent)
            for record in sent:
                expected.setdefault((topic, record["partition"]), []).append(record["value"])
    with Amqp(broker.amqp) as channel:
        name = queue(channel)
        channel.confirm_delivery()
        bodies = [f"message {n} ".encode() * 40 for n in range(QUEUE_MESSAGES)]
        for body in bodies:
            publish(channel, name, body, delivery_mode=2)
    return expected, (name, bodies)


def copy(source, target):
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-r", "--reflink=auto", "--sparse=always", source, target], check=True)


def used(path):
    """How much of a file is more than zeros."""
    length = path.stat().st_size
    with open(path, "rb") as file:
        if length > 1 << 20:
            file.seek(0)
            head = file.read(1 << 20)
        else:
            head = file.read()
    return max(1, len(head.rstrip(b"\0")))


def damage(data, files, rng):
    """Changes one file; says which and how."""
    path = data / rng.choice(files)
    how = rng.choice(["flip", "flip", "flip", "zero", "cut", "remove"])
    end = used(path)
    at = rng.randrange(end)
    if how == "remove":
        path.unlink()
    elif how == "cut":
        os.truncate(path, at)
    else:
        with open(path, "r+b") as file:
            file.seek(at)
            old = file.read(64 if how == "zero" else 1)
            file.seek(at)
            file.write(bytes(len(old)) if how == "zero" else bytes([old[0] ^ 1 << rng.randrange(8)]))
    return path.relative_to(data), f"{how} at {at} of {path.relative_to(data)}"


def read_all(broker, places, expected):
    """Reads every partition to its end with one stock consumer; (right ones, refused ones, what is wrong)."""
    consumer = Consumer({"bootstrap.servers": broker.kafka, "group.id": unique("reader"), "enable.auto.commit": False,
                         "auto.offset.reset": "error", "enable.partition.eof": True, "log_level": 0,
                         "check.crcs": True, "fetch.wait.max.ms": 10})
    got, refused, wrong = {place: [] for place in places}, {}, []
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for topic, partition in places])
        open_places, deadline, heard = set(places), time.monotonic() + 10, time.monotonic()
        while open_places and time.monotonic() < deadline:
            for message in consumer.consume(500, 0.05):
                heard = time.monotonic()
                place = (message.topic(), message.partition())
                if message.error() is None:
                    got[place].append(message.value())
                else:
                    if message.error().name() != "_PARTITION_EOF":
                        refused[place] = str(message.error())
                    open_places.discard(place)
            # A fetch that is refused is tried again and again by the client, which says nothing; the broker's line does.
            if time.monotonic() > heard + 0.5 and "damage found while reading" in broker.log.read_text():
                break
        refused.update((place, "no answer") for place in open_places)
    except KafkaException as error:
        wrong.append(str(error))
    finally:
        consumer.close()
    for place in places:
        values = got[place]
        if values != expected[place][:len(values)]:
            wrong.append(f"wrong bytes in {place}")
        elif place not in refused and len(values) != len(expected[place]):
            wrong.append(f"{len(values)} of {len(expected[place])} records of {place}, and no error")
    return refused, wrong


def read_queue(amqp, name, expected):
    """Gets every message with a stock client, acknowledging none; (why one was refused, what is wrong)."""
    bodies = []
    try:
        with Amqp(amqp, confirms=False) as channel:
            while (message := get(channel, name, auto_ack=False)) is not None:
                bodies.append(message[2])
    except pika.exceptions.AMQPError as error:
        refused = str(error) or repr(error)
    else:
        refused = None
    if bodies != expected[:len(bodies)]:
        return refused, [f"wrong bytes in queue {name}"]
    if refused is None and len(bodies) != len(expected):
        return refused, [f"{len(bodies)} of {len(expected)} messages of queue {name}, and no error"]
    return refused, []


def verify(data):
    done = subprocess.run([BINARY, "verify", data], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def sample(broker, expected, messages, what, named):
    code, report = verify(broker.data)
    broker.log.write_text("")
    try:
        broker.start()
    except AssertionError as error:
        text = broker.log_end()
        if not re.search(rf"{re.escape(str(named))}|{re.escape(str(named.parent))}|state/|superblock", text):
            return "wrong", f"{what}: refused, but no file is named: {text or error}"
        return ("refused", "") if code != 0 else ("wrong", f"{what}: refused, but verify exits 0: {text}")
    try:
        refused, wrong = read_all(broker, list(expected), expected)
        queue_refused, queue_wrong = read_queue(broker.amqp, *messages)
    finally:
        broker.kill()
    text = broker.log.read_text()
    wrong += queue_wrong
    if queue_refused:
        refused[messages[0]] = queue_refused
    if named.suffix == ".seg" and len(refused) > 1:
        wrong.append(f"one segment is damaged, refused are {refused}")
    if wrong:
        return "wrong", f"{what}: {wrong}: {text}"
    if not refused:
        return ("served", "") if code in (0, 1) else ("wrong", f"{what}: served, verify exits {code}: {report}")
    if code != 1:
        return "wrong", f"{what}: {refused} are refused, verify exits {code}"
    # What is missing is named by its directory: nobody knows how the files in it were called.
    if not (re.search(rf"{re.escape(str(named))}|{re.escape(str(named.parent))} ", text) and "offsets" in text):
        return "wrong", f"{what}: {refused}, but no line names file and offsets: {text}"
    return ("get refused" if queue_refused else "fetch refused"), ""


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--samples", type=int, default=200)
    args.add_argument("--seed", type=int, default=1)
    args = args.parse_args()
    rng, started = random.Random(args.seed), time.monotonic()
    counts = {"refused": 0, "fetch refused": 0, "get refused": 0, "served": 0, "wrong": 0}
    with Broker("damage", cores=1) as broker:
        configure(broker)
        expected, messages = fill(broker)
        # The first restart settles most into segments; what comes behind it stays in the journal.
        broker.stop()
        broker.start()
        topic = create_topic(broker.kafka)
        last = [f"last {n}".encode() for n in range(20)]
        produce(broker.kafka, topic, [{"value": value, "partition": 0} for value in last])
        expected[(topic, 0)] = last
        broker.stop()
        sound = broker.directory / "sound"
        copy(broker.data, sound)
        files = sorted(path.relative_to(sound) for path in sound.rglob("*") if path.is_file() and path.name != "lock")
        code, report = verify(sound)
        assert code == 0, report
        for number in range(args.samples):
            copy(sound, broker.data)
            named, what = damage(broker.data, files, rng)
            outcome, why = sample(broker, expected, messages, what, named)
            counts[outcome] += 1
            if why:
                print(f"sample {number}: {why}", flush=True)
        copy(sound, broker.data)
        outcome, why = sample(broker, expected, messages, "no damage", Path("superblock"))
        assert outcome == "served", why
    print(f"damage: {args.samples} samples of seed {args.seed}: {counts['refused']} starts refused, "
          f"{counts['fetch refused']} fetches and {counts['get refused']} gets refused, {counts['served']} harmless; "
          f"{args.samples - counts['wrong']} passed, {counts['wrong']} failed; {time.monotonic() - started:.0f} s")
    sys.stdout.flush()
    os._exit(1 if counts["wrong"] else 0)


if __name__ == "__main__":
    main()
