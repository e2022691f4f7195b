#!/usr/bin/env python3
"""What `ringmain-bench` says when it cannot do what it was asked: the reason and the place, an exit code, nothing left.

In: the release binaries; root and loop devices for a file system that is full or takes no direct I/O, left out
otherwise and told. Out: a line for each case, `N passed, M failed`, exit 1 if one failed. Never: leaves a process, a
mount or a directory behind; installs a peer (a stand-in of this file's plays one).
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

from broker import BINARY, Broker, scratch

BENCH = BINARY.resolve().with_name("ringmain-bench")
# What the engine is compared with: built by `ringmain-bench engine peers`, not by the gate.
PEERS = BENCH.parent.parent / "peers" / "release" / "ringmain-peers"
SECONDS = 60


def children_of(group):
    """Processes of a group that are not merely waited for."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, process_group = (entry / "stat").read_text().rsplit(") ", 1)[1].split()[:3]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(process_group) == group and state != "Z":
                found.append(int(entry.name))
    return found


class Bench:
    """One run in a process group of its own."""

    def __init__(self, *words, environment=None):
        self.process = subprocess.Popen([BENCH, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, start_new_session=True, env=environment)

    def end(self, seconds=SECONDS):
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise AssertionError(f"it did not end within {seconds} s") from None
        assert not children_of(self.process.pid), "a process is left behind"
        return self.process.returncode, out, err


def refused(*words, code=1, saying=()):
    """The run ends with this code and one short message that has these words."""
    found, out, err = Bench(*words).end()
    assert found == code, f"exit code {found}, not {code}\n{out}{err}"
    for part in saying:
        assert part in err, f"{part!r} is not in: {err}"
    assert "panicked" not in err and len(err.splitlines()) <= 12, err
    return err


def empty(directory):
    left = sorted(path.name for path in Path(directory).iterdir())
    assert not left, f"left behind: {left}"


class Mount:
    """A small file system of this kind, taken down in any case."""

    def __init__(self, directory, *words):
        self.directory, self.words = directory, words

    def __enter__(self):
        self.directory.mkdir(exist_ok=True)
        subprocess.run(["mount", *self.words, str(self.directory)], check=True, capture_output=True)
        return self.directory

    def __exit__(self, *_):
        subprocess.run(["umount", str(self.directory)], capture_output=True)


def can_mount(directory):
    try:
        with Mount(directory / "try", "-t", "tmpfs", "tmpfs"):
            return True
    except (subprocess.CalledProcessError, FileNotFoundError):
        return False


MEASUREMENTS = [("probe", "--quick"), ("journal-write", "--rounds", "1"), ("floor", "--quick"),
                ("engine", "append", "--quick"), ("engine", "peers", "--quick"), ("compare", "nats", "--quick"),
                ("produce-latency", "--rounds", "1"), ("targets", "--quick", "--only", "engine-append")]


def test_a_directory_in_memory_is_refused(directory):
    for words in MEASUREMENTS:
        refused(*words, "--dir", "/dev/shm", saying=["/dev/shm", "tmpfs", "--dir"])
    assert not [name for name in os.listdir("/dev/shm") if "ringmain" in name]


def test_a_directory_that_is_not_there_is_refused(directory):
    for words in MEASUREMENTS:
        refused(*words, "--dir", directory / "missing", saying=["missing", "No such file"])
    file = directory / "file"
    file.write_text("")
    refused("probe", "--quick", "--dir", file, saying=["not a directory"])
    file.unlink()
    empty(directory)


def test_an_overlay_is_refused(directory, root):
    for name in ("lower", "upper", "work"):
        (directory / name).mkdir()
    layers = f"lowerdir={directory}/lower,upperdir={directory}/upper,workdir={directory}/work"
    with Mount(directory / "merged", "-t", "overlay", "overlay", "-o", layers) as merged:
        refused("probe", "--quick", "--dir", merged, saying=["overlay"])
        empty(merged)


def test_a_file_system_without_direct_io_is_refused(directory, root):
    image = directory / "image"
    with open(image, "wb") as file:
        file.truncate(512 << 20)
    # With its data in the journal ext4 takes the flag, and writes through the page cache.
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    with Mount(directory / "mount", "-o", "loop,data=journal", str(image)) as mount:
        shutil.rmtree(mount / "lost+found")
        for words in (("probe", "--quick"), ("journal-write", "--rounds", "1"), ("floor", "--quick")):
            refused(*words, "--dir", mount, saying=[str(mount), "direct I/O"])
        empty(mount)


def test_a_device_without_room_is_refused_and_left_as_it_was(directory, root):
    image = directory / "image"
    with open(image, "wb") as file:
        file.truncate(24 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True)
    with Mount(directory / "mount", "-o", "loop", str(image)) as mount:
        shutil.rmtree(mount / "lost+found")
        free = shutil.disk_usage(mount).free
        refused("probe", "--quick", "--dir", mount, saying=[str(mount), "MiB are free", "needed"])
        for words in (("floor", "--quick"), ("engine", "append", "--quick"), ("produce-latency", "--rounds", "1")):
            err = refused(*words, "--dir", mount)
            assert "No space left" in err or "space" in err or "free" in err, err
        empty(mount)
        assert shutil.disk_usage(mount).free >= free - (1 << 20), "the room is not given back"


def test_an_address_without_anybody_is_named(directory):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        target = "127.0.0.1:%d" % taken.getsockname()[1]
        for protocol in ("kafka", "amqp", "nats"):
            for kind in ("produce", "consume"):
                refused("load", kind, "--protocol", protocol, "--target", target, saying=[target, "refused"])
        refused("produce-latency", "--target", target, "--dir", directory, saying=[target])
    refused("load", "produce", "--target", "nowhere.invalid:1", saying=["nowhere.invalid:1"])
    refused("load", "produce", "--target", "127.0.0.1", saying=["127.0.0.1"])


def test_a_target_that_never_answers_is_given_up(directory):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = "127.0.0.1:%d" % listener.getsockname()[1]
        runs = [Bench("load", "produce", "--protocol", protocol, "--target", target)
                for protocol in ("kafka", "amqp", "nats")]
        for run in runs:
            code, _, err = run.end()
            assert code == 1 and target in err and "did not answer" in err, err


def test_a_target_that_speaks_something_else_is_named(directory):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = "127.0.0.1:%d" % listener.getsockname()[1]

        def answer():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        for protocol in ("kafka", "amqp", "nats"):
            refused("load", "produce", "--protocol", protocol, "--target", target)
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_broker_that_is_killed_under_load_is_named(directory):
    for protocol in ("kafka", "amqp"):
        with Broker("bench") as broker:
            target = broker.kafka if protocol == "kafka" else broker.amqp
            run = Bench("load", "produce", "--protocol", protocol, "--target", target, "--seconds", 30)
            wait_until_loaded(broker)
            broker.kill()
            code, out, err = run.end()
            assert code == 1 and target in err and "panicked" not in err, (code, out, err)


def wait_until_loaded(broker):
    """The run creates its topic first and loads then: bytes on the connection show that it does."""
    since = time.monotonic()
    while time.monotonic() - since < SECONDS:
        spent = sum(int(field) for field in Path(f"/proc/{broker.process.pid}/stat").read_text()
                    .rsplit(") ", 1)[1].split()[11:13])
        if spent > 30:
            return
    raise AssertionError("no load arrived")


def stand_in(directory):
    """A directory for the front of PATH in which `nats-server` is not NATS, and a cache that has it."""
    version = "v0.0.0-stand-in"
    programs = directory / "cache" / "ringmain-bench" / f"nats-{version}"
    programs.mkdir(parents=True)
    program = programs / "nats-server"
    program.write_text("#!/bin/sh\necho 'stand-in: the licence has expired' >&2\n"
                       f"echo $$ >>{directory}/started\nexec sleep ${{STAND_IN_SECONDS}}\n")
    program.chmod(0o755)
    return {**os.environ, "NATS_VERSION": version, "XDG_CACHE_HOME": str(directory / "cache")}


def test_a_peer_that_ends_before_it_serves_is_told_with_its_last_words(directory):
    environment = {**stand_in(directory), "STAND_IN_SECONDS": "0.2"}
    data = directory / "data"
    data.mkdir()
    code, out, err = Bench("compare", "nats", "--quick", "--dir", data, environment=environment).end()
    assert code == 1 and "nats: it did not start" in err and "the licence has expired" in err, (code, out, err)
    empty(data)


def test_an_interrupted_comparison_leaves_nothing(directory):
    environment = {**stand_in(directory), "STAND_IN_SECONDS": "600"}
    data = directory / "data"
    data.mkdir()
    run = Bench("compare", "nats", "--quick", "--dir", data, environment=environment)
    since = time.monotonic()
    while not (directory / "started").exists():
        assert time.monotonic() - since < SECONDS, "the peer was not started"
    peer = int((directory / "started").read_text().split()[0])
    os.kill(run.process.pid, signal.SIGTERM)
    code, out, err = run.end()
    assert code == 130, (code, out, err)
    assert not Path(f"/proc/{peer}").exists(), "the peer still runs"
    empty(data)


def test_targets_are_measured_judged_and_shown(directory):
    figures, page = directory / "targets.json", directory / "page.html"
    data = directory / "data"
    data.mkdir()
    code, out, err = Bench("targets", "--quick", "--without-peers", "--only", "engine-append,kafka-single,idempotent",
                           "--dir", data, "--json", figures).end(3 * SECONDS)
    assert code == 0, (code, out, err)
    targets = {target["target"]: target["lines"] for target in json.loads(figures.read_text())["figures"]["targets"]}
    measured = targets["engine-append"] + targets["kafka-single"][:3]
    assert len(measured) == 9 and all(len(line["figure"]) == 3 and line["ratio"] > 0 for line in measured), measured
    assert all("met" in line["verdict"].lower() for line in measured), measured
    without = targets["kafka-single"][3:] + targets["idempotent"]
    assert len(without) == 9 and all(line["verdict"] == "not measured: no peers" for line in without), without
    assert "9 not measured" in out, out
    code, _, err = Bench("report", figures, "--out", page).end()
    assert code == 0 and "engine-append" in page.read_text(), err
    empty(data)
    refused("targets", "--only", "speed", code=2, saying=["speed"])


def test_other_logs_take_turns_and_hold_the_same(directory, peers):
    file = directory.parent / "peers.json"
    few = ("--only", "okaywal,raft", "--record-bytes", "100", "--writers", "2")
    code, out, err = Bench("engine", "peers", "--quick", *few, "--dir", directory, "--json", file).end()
    assert code == 0 and "2 writers, 100 B" in out and "left out" in out, (code, out, err)
    figures = json.loads(file.read_text())["figures"]
    works = {work["work"]: [server["server"] for server in work["servers"]] for work in figures["works"]}
    assert works == {"2 writers, 100 B": ["ringmain", "ringmain-one", "okaywal"],
                     "64 Raft groups, 1 store thread": ["ringmain", "raft-engine"],
                     "64 Raft groups, 8 store threads": ["ringmain", "raft-engine"]}
    refused("engine", "peers", "--quick", "--only", "paper", "--dir", directory, code=2, saying=["paper", "okaywal"])
    # A log that does not know what it is asked for is told with its own words.
    found = subprocess.run([peers, "raft", "--log", "okaywal", "--dir", directory], capture_output=True, text=True)
    assert found.returncode == 1 and "okaywal does not hold Raft groups" in found.stderr, found
    empty(directory)


def test_files_that_are_not_figures_are_named(directory):
    file = directory / "other.json"
    page = directory / "page.html"
    for text in ("", "{}", "[1]", '{"schema":1}', "\0" * 100):
        file.write_text(text)
        refused("report", file, "--out", page, code=2, saying=["other.json"])
        refused("tune", file, code=2, saying=["other.json"])
    refused("report", directory / "missing.json", "--out", page, saying=["missing.json"])
    refused("tune", directory / "missing.json", saying=["missing.json"])
    refused("probe", "--json", directory / "no" / "such.json", code=2, saying=["such.json"])
    assert not page.exists()


def test_nonsense_is_a_matter_of_usage(directory):
    for words in (["probe", "--point", "x"], ["probe", "--point", "sideways:4096:1", "--dir", directory],
                  ["compare", "postgres"], ["load", "produce"], ["floor", "--null"], ["engine", "nothing"], []):
        code, out, err = Bench(*words).end()
        assert code == 2 and err and "panicked" not in err, (words, code, err)
    empty(directory)


def main():
    tests = [(name, function) for name, function in globals().items()
             if name.startswith("test_") and any(part in name for part in sys.argv[1:] or [""])]
    place = scratch("bench")
    passed, failed, left_out = 0, 0, 0
    # What a test may ask for beside its directory, and what is said where it is not there.
    given = {"root": (can_mount(place), "no mounts here"),
             "peers": (PEERS if PEERS.exists() else None, "`ringmain-bench engine peers` has built no other logs here")}
    try:
        for number, (name, function) in enumerate(tests):
            needs = function.__code__.co_varnames[1:function.__code__.co_argcount]
            missing = [given[need][1] for need in needs if not given[need][0]]
            if missing:
                print(f"left out: {name}: {', '.join(missing)}", flush=True)
                left_out += 1
                continue
            directory = place / str(number)
            directory.mkdir()
            started = time.monotonic()
            try:
                function(directory, *(given[need][0] for need in needs))
                passed += 1
                print(f"ok {name} {time.monotonic() - started:.1f} s", flush=True)
            except Exception:
                failed += 1
                print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(f"bench: {passed} passed, {failed} failed" + (f", {left_out} left out" if left_out else ""))
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
