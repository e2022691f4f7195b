"""The demo: a file through `kcat -P` into a topic with 8 partitions, back through `kcat -C`, twice, checksums compared.

In: this machine's package lists, documents and library sources, in the order of their names. Out: a line for each
step, exit 1 when a checksum differs. Never: reads anything but text that every machine has.

How the file is made safe for a tool that works by lines: NUL and carriage return are dropped, lines longer than
LINE_BYTES_MAX are cut into several. Empty lines may stay: each line is sent as `NUMBER<TAB>LINE` with `-K <TAB>`, so
the number is the key and no input line is ever empty. Keys spread the lines over the partitions, and sorting by key
puts them back in order.
"""
import argparse
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

from broker import Broker, die_with_parent, scratch
from clients import create_topic

SOURCES = ["/var/lib/apt/lists", "/var/lib/dpkg", "/usr/share/doc", "/usr/share/perl", "/usr/lib/python3",
           "/usr/share/common-licenses", "/usr/include", "/usr/share/zoneinfo"]
ENDINGS = ("", ".list", ".txt", ".py", ".pm", ".pl", ".pod", ".h", ".md", ".html", ".md5sums", ".copyright")
FULL_BYTES, QUICK_BYTES = 100_000_000, 16_000_000
LINE_BYTES_MAX = 32_768
PARTITIONS = 8
KCAT_SECONDS = 600


def texts():
    """Every readable text file below the sources, always in the same order."""
    for source in SOURCES:
        for directory, inner, names in os.walk(source):
            inner.sort()
            for name in sorted(names):
                path = Path(directory, name)
                if not path.is_symlink() and (path.suffix in ENDINGS or "_" in name):
                    yield path


def lines_of(data):
    for line in data.replace(b"\0", b"").replace(b"\r", b"").split(b"\n"):
        yield line[:LINE_BYTES_MAX]
        for start in range(LINE_BYTES_MAX, len(line), LINE_BYTES_MAX):
            yield line[start:start + LINE_BYTES_MAX]


def make_files(directory, size):
    """Writes `plain` (at least `size` bytes) and `numbered` (what kcat is fed); gives back lines and checksum."""
    digest, written, number, repeats = hashlib.sha256(), 0, 0, 0
    with open(directory / "plain", "wb") as plain, open(directory / "numbered", "wb") as numbered:
        while written < size:
            before = written
            for path in texts():
                try:
                    data = path.read_bytes()
                except OSError:
                    continue
                for line in lines_of(data):
                    plain.write(line + b"\n")
                    digest.update(line + b"\n")
                    numbered.write(b"%09d\t%s\n" % (number, line))
                    written += len(line) + 1
                    number += 1
                    if written >= size:
                        break
                if written >= size:
                    break
            assert written > before, f"no readable text in {' '.join(SOURCES)}"
            repeats += 1
    print(f"file: {written / 1e6:.1f} MB, {number} lines, read {repeats} time(s), sha256 {digest.hexdigest()[:16]}", flush=True)
    return number, digest.hexdigest(), written


def kcat(*arguments, stdin=subprocess.DEVNULL, stdout=None):
    done = subprocess.run(["kcat", *arguments], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, timeout=KCAT_SECONDS,
                          preexec_fn=die_with_parent)
    assert done.returncode == 0, f"kcat {' '.join(arguments)}: exit {done.returncode}: {done.stderr.decode()[-2000:]}"


def send(kafka, topic, directory, size):
    started = time.monotonic()
    with open(directory / "numbered", "rb") as numbered:
        kcat("-P", "-b", kafka, "-t", topic, "-K", "\t", "-X", "acks=all", "-X", "enable.idempotence=true",
             "-X", "linger.ms=5", stdin=numbered)
    seconds = time.monotonic() - started
    print(f"sent: {seconds:.1f} s, {size / 1e6 / seconds:.0f} MB/s, every line acknowledged as durable", flush=True)


def receive(kafka, topic, directory, size):
    """Reads the topic to its end, puts the lines in order, and gives back their number and checksum."""
    started = time.monotonic()
    with open(directory / "received", "wb") as received:
        kcat("-C", "-b", kafka, "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%k\t%s\n", stdout=received)
    seconds = time.monotonic() - started
    subprocess.run(["sort", "-o", directory / "sorted", "-T", directory, directory / "received"], check=True,
                   env={**os.environ, "LC_ALL": "C"}, preexec_fn=die_with_parent)
    digest, number = hashlib.sha256(), 0
    with open(directory / "sorted", "rb") as lines:
        for line in lines:
            digest.update(line.split(b"\t", 1)[1])
            number += 1
    print(f"received: {number} lines in {seconds:.1f} s, {size / 1e6 / seconds:.0f} MB/s, "
          f"sha256 {digest.hexdigest()[:16]}", flush=True)
    return number, digest.hexdigest()


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--quick", action="store_true")
    args.add_argument("--cores", type=int, default=2)
    args.add_argument("--kafka", help="use this server, without kill -9")
    args = args.parse_args()
    directory = scratch("demo")
    try:
        lines, checksum, size = make_files(directory, QUICK_BYTES if args.quick else FULL_BYTES)
        if args.kafka:
            topic = create_topic(args.kafka, PARTITIONS, "demo")
            send(args.kafka, topic, directory, size)
            results = [receive(args.kafka, topic, directory, size)]
        else:
            results = with_crash(args.cores, directory, size)
    finally:
        for file in directory.iterdir():
            file.unlink()
        directory.rmdir()
    good = sum(result == (lines, checksum) for result in results)
    print(f"demo: {good} passed, {len(results) - good} failed")
    return 0 if good == len(results) else 1


def with_crash(cores, directory, size):
    with Broker("demo-broker", cores=cores) as broker:
        print(broker.ready, flush=True)
        topic = create_topic(broker.kafka, PARTITIONS, "demo")
        send(broker.kafka, topic, directory, size)
        results = [receive(broker.kafka, topic, directory, size)]
        broker.kill()
        started = time.monotonic()
        broker.start()
        print(f"kill -9, ready again after {time.monotonic() - started:.2f} s", flush=True)
        results.append(receive(broker.kafka, topic, directory, size))
        broker.stop()
    return results


if __name__ == "__main__":
    sys.exit(main())
