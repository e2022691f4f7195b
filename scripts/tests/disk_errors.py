#!/usr/bin/env python3
"""A device that fails every write from some moment on, under the real binary, on the real kernel: nothing is acknowledged
after the failed write, the broker says what failed and where and ends, and a restart has everything that was acknowledged.

In: the release binary, root, loop devices. Out: a line for each round, exit 1 if something was wrong; without root or loop
devices the reason, and exit 0. Never: leaves a mount or a loop device behind.

The device is a loop device over memory. In the middle of the load the memory is sealed against writing: from then on the
kernel ends every write of the block device with EIO, direct or not, and goes on reading. The restart is on a copy of it,
as of a disk that was replaced. What was acknowledged and is not in the copy was acknowledged without being written.
"""
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from confluent_kafka import Producer

from broker import Broker, scratch
from clients import create_topic
from disk_faults import CONFIG, Acked, run, value_of

DEVICE_BYTES = 256 << 20
# After so many acknowledged records the device begins to fail: within the first journal file, and later.
ROUNDS = (100, 4000)
LOAD_SECONDS = 60
# From linux/loop.h.
LOOP_SET_FD, LOOP_CLR_FD, LOOP_CTL_GET_FREE = 0x4C00, 0x4C01, 0x4C82


class Device:
    """ext4 on a loop device over memory that can be sealed against writing; taken down in any case."""

    def __init__(self, mount, replaces=None):
        self.mount, self.replaces, self.loop, self.memory = mount, replaces, None, None

    def __enter__(self):
        try:
            self.set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def set_up(self):
        self.memory = os.memfd_create("disk", os.MFD_ALLOW_SEALING)
        os.ftruncate(self.memory, DEVICE_BYTES)
        if self.replaces:
            position = 0
            while position < DEVICE_BYTES:
                position += os.sendfile(self.memory, self.replaces.memory, position, DEVICE_BYTES - position)
        with open("/dev/loop-control", "rb") as control:
            name = f"/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}"
        loop = os.open(name, os.O_RDWR)
        try:
            fcntl.ioctl(loop, LOOP_SET_FD, self.memory)
        except OSError:
            os.close(loop)
            raise
        self.loop = loop
        if not self.replaces:
            run("mkfs.ext4", "-q", "-F", "-m", "0", name)
        self.mount.mkdir(parents=True, exist_ok=True)
        run("mount", name, str(self.mount))

    def refuse_writes(self):
        fcntl.fcntl(self.memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)

    def detach(self):
        """Nothing is mounted any more; what is in it can still be copied."""
        subprocess.run(["umount", str(self.mount)], capture_output=True)
        if self.loop is not None:
            fcntl.ioctl(self.loop, LOOP_CLR_FD)
            os.close(self.loop)
            self.loop = None

    def __exit__(self, *_):
        self.detach()
        if self.memory is not None:
            os.close(self.memory)
            self.memory = None


def load(broker, topic, acked, count, then):
    """Produces until the broker ends; calls `then` when `count` records are acknowledged."""
    producer = Producer({"bootstrap.servers": broker.kafka, "log_level": 0, "message.timeout.ms": 3000, "retries": 0,
                         "linger.ms": 1, "queue.buffering.max.messages": 500})
    number, deadline = 0, time.monotonic() + LOAD_SECONDS
    while broker.running():
        assert time.monotonic() < deadline, f"the broker goes on though its device fails:\n{broker.log_end()}"
        value = value_of(number)
        try:
            producer.produce(topic, value, on_delivery=acked.report(topic, value))
            number += 1
        except BufferError:
            pass
        producer.poll(0.001)
        if then and len(acked.records.get(topic, ())) >= count:
            then()
            then = None
    producer.flush(10)


def ended_saying(broker, what):
    """The broker has ended by itself; the line in which it says why, with the file."""
    code = broker.process.wait()
    broker.process.stdout.close()
    broker.process = None
    text = broker.log_end(200)
    assert code == 1, f"exit code {code}:\n{text}"
    line = next((line for line in text.splitlines() if what in line and str(broker.data) in line), None)
    assert line, f"no line says what failed and where:\n{text}"
    return line.replace(str(broker.data), "data")


def fails_after(directory, count):
    acked, broker = Acked(), Broker("disk-errors", cores=1)
    file = broker.directory / "ringmain.toml"
    file.write_text(CONFIG + "disk_free_bytes_min = 0\n")
    broker.options = ["--config", str(file)]
    with Device(directory / "mount") as device:
        broker.data = device.mount / "data"
        with broker:
            topic = create_topic(broker.kafka)
            load(broker, topic, acked, count, device.refuse_writes)
            line = ended_saying(broker, "Input/output error")
            assert acked.errors, "every record was acknowledged, also those behind the failed write"
            # On the device as it is now, a start cannot write: it must end, too, and say so.
            try:
                broker.start()
            except AssertionError:
                assert "Input/output error" in broker.log_end(5) or "Read-only" in broker.log_end(5), broker.log_end(5)
            else:
                raise AssertionError("a start goes well on a device that cannot be written")
            device.detach()
            with Device(device.mount, device):
                broker.start()
                checked = acked.check(broker, topic)
                broker.stop()
    print(f"disk errors: after {count} records: {line}")
    print(f"disk errors: {checked} acknowledged records are there after the restart, {len(acked.errors)} were refused; passed")


def main():
    if os.geteuid() != 0:
        return print("disk errors: left out, mounting needs root")
    if not Path("/dev/loop-control").exists() or not shutil.which("mkfs.ext4"):
        return print("disk errors: left out, no loop devices or no mkfs.ext4 here")
    directory = scratch("disk-errors")
    try:
        try:
            with Device(directory / "probe"):
                pass
        except (subprocess.CalledProcessError, OSError) as error:
            return print(f"disk errors: left out, {getattr(error, 'stderr', None) or error}")
        for count in ROUNDS:
            fails_after(directory, count)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(f"disk errors: {len(ROUNDS)} passed, 0 failed")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
