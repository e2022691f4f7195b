"""A broker process under test: started, killed and restarted on the same ports and data.

In: the binary's path, its flags (`options`) and other settings by name. Out: addresses from its ready line, memory and CPU from /proc.
Never: leaves a process behind. The broker dies with the Python process that started it.
"""
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BINARY = Path(os.environ.get("RINGMAIN", TARGET / "release" / "ringmain"))
READY = re.compile(r"^ringmain ready kafka=(\S+) amqp=(\S+) admin=(\S+) data=(.+) durability=(\S+) io=(\S+) cores=(\d+)$")
START_SECONDS = 60
STOP_SECONDS = 30


def die_with_parent():
    """Runs in the child before exec: the kernel sends SIGKILL when the parent is gone (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def scratch(name):
    """A new directory beside the build, on a real file system (/tmp may be memory, where direct I/O is refused)."""
    parent = TARGET / "scratch"
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))


class Broker:
    def __init__(self, name="test", cores=2, options=(), binary=None, **settings):
        self.directory = scratch(name)
        self.data = self.directory / "data"
        self.log = self.directory / "broker.log"
        self.binary = Path(binary or BINARY)
        self.cores = cores
        self.options = list(options)
        self.settings = {f"RINGMAIN_{name.upper()}": str(value) for name, value in settings.items()}
        self.kafka = self.amqp = self.admin = "127.0.0.1:0"
        self.ready = None
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        self.kill()
        if kind is None:
            shutil.rmtree(self.directory, ignore_errors=True)
        else:
            print(f"broker's data and log are kept in {self.directory}", file=sys.stderr)

    def metric(self, name):
        """One figure of /metrics, by its name with its labels."""
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return next(int(line.removeprefix(f"{name} ")) for line in lines if line.startswith(f"{name} "))

    def start(self):
        assert self.process is None, "already running"
        command = [str(self.binary), "serve", "--data-dir", str(self.data), "--cores", str(self.cores),
                   "--kafka", self.kafka, "--amqp", self.amqp, "--admin", self.admin, *self.options]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RINGMAIN")} | self.settings
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                                            env=environment, preexec_fn=die_with_parent, text=True)
        # A broker that never gets ready is killed, which ends the read of its output.
        watchdog = threading.Timer(START_SECONDS, self.process.kill)
        watchdog.start()
        try:
            for line in self.process.stdout:
                found = READY.match(line.rstrip("\n"))
                if found:
                    self.ready = line.rstrip("\n")
                    self.kafka, self.amqp, self.admin = found.group(1, 2, 3)
                    return self
        finally:
            watchdog.cancel()
        code = self.process.wait()
        self.process = None
        raise AssertionError(f"no ready line from {' '.join(command)}, exit {code}:\n{self.log_end()}")

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9: nothing is said to anybody."""
        self.end(signal.SIGKILL)

    def stop(self):
        """A clean stop; the exit code must be 0."""
        code = self.end(signal.SIGTERM)
        assert code == 0, f"SIGTERM ended with exit code {code}:\n{self.log_end()}"

    def end(self, how):
        if self.process is None:
            return None
        process, self.process = self.process, None
        process.send_signal(how)
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"still running {STOP_SECONDS} s after signal {how}:\n{self.log_end()}") from None
        finally:
            process.stdout.close()
        return code

    def log_end(self, lines=30):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def resident_kib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

    def cpu_ticks(self):
        """User and system time of all threads, in clock ticks (usually 100 a second)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])


def host_and_port(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


def until(condition, seconds, what):
    """Waits for a state of the outside world; the only place where the tests sleep."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
