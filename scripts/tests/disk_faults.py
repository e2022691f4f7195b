#!/usr/bin/env python3
"""A full file system under the real binary, on the real kernel: nothing is acknowledged after the failed write.

In: the release binary, root, a loop device. Out: a line for what was checked, exit 1 if something was wrong; without root
or loop devices the reason, and exit 0. Never: leaves a mount or a loop device behind.

The journal's first file is written before, so appends go on; what fails is what needs new room: settling into segments
and filling another journal file.
"""
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from confluent_kafka import Producer

from broker import Broker
from clients import create_topic, read_partition

IMAGE_BYTES = 96 << 20
CONFIG = f"journal_file_bytes = {36 << 20}\nmemory_bytes = {32 << 20}\n"


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
    """Takes all the room that is left, but for a little."""
    ballast = mount / "ballast"
    free = shutil.disk_usage(mount).free
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - (1 << 20)))
    return ballast


def load(broker, topic, acked, failed):
    """Produces until the broker ends; every record with a delivery report is noted with its offset."""
    def delivered(value):
        def report(error, message):
            if error:
                failed.append(time.monotonic())
            else:
                acked.append((message.offset(), value, time.monotonic()))
        return report

    producer = Producer({"bootstrap.servers": broker.kafka, "log_level": 0, "message.timeout.ms": 3000, "retries": 0,
                         "linger.ms": 1, "queue.buffering.max.messages": 500})
    number, deadline = 0, time.monotonic() + 60
    while broker.running() and time.monotonic() < deadline:
        value = f"{number} ".encode() + os.urandom(10_000)
        try:
            producer.produce(topic, value, on_delivery=delivered(value))
            number += 1
        except BufferError:
            pass
        producer.poll(0.001)
    ended = time.monotonic()
    producer.flush(10)
    return ended


def check(directory):
    acked, failed = [], []
    broker = Broker("disk-faults", cores=1)
    file = broker.directory / "ringmain.toml"
    file.write_text(CONFIG)
    broker.options = ["--config", str(file)]
    with SmallFileSystem(directory) as small:
        broker.data = small.mount / "data"
        with broker:
            full(broker, small, acked, failed)


def full(broker, small, acked, failed):
    topic = create_topic(broker.kafka)
    ballast = fill_up(small.mount)
    load(broker, topic, acked, failed)
    assert not broker.running(), "the broker goes on though its disk is full"
    code = broker.process.wait()
    broker.process.stdout.close()
    broker.process = None
    text = broker.log_end(200)
    assert code == 1, f"exit code {code}:\n{text}"
    line = next((line for line in text.splitlines() if re.search(r"No space left|ENOSPC", line)), None)
    assert line and str(broker.data) in line, f"no line says what failed and where:\n{text}"
    assert acked, "nothing was acknowledged before"
    try:
        broker.start()
        broker.kill()
    except AssertionError:
        pass  # without room a start may be refused, but must not change what is there
    ballast.unlink()
    broker.start()
    got = read_partition(broker.kafka, topic, max(offset for offset, _, _ in acked) + 1)
    by_offset = {message.offset(): message.value() for message in got}
    lost = [offset for offset, value, _ in acked if by_offset.get(offset) != value]
    assert not lost, f"{len(lost)} of {len(acked)} acknowledged records are not there, the first at {lost[0]}"
    broker.stop()
    print(f"disk full: {line}")
    print(f"disk faults: {len(acked)} acknowledged records are there after the restart; 1 passed, 0 failed")


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
