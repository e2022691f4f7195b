#!/usr/bin/env python3
"""Runs the client tests: every test_* function of every module here, against one broker.

In: test functions; they name what they need as parameters: `kafka`, `amqp` (addresses), `broker` (the process, which
they may restart). Out: a line for each test, then `N passed, N failed`; exit 1 if one failed.

  run.py [PART_OF_A_NAME ...]                  the release binary
  run.py --set core_listeners=true [...]       with another setting
  run.py --amqp HOST:PORT [PART_OF_A_NAME ...] another server: tests that need what is not given are left out
"""
import argparse
import importlib
import inspect
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from broker import Broker

TEST_SECONDS = 90
MODULES = ["kafka_records", "kafka_topics", "kafka_retention", "kafka_compaction", "kafka_groups", "kafka_fetch", "kafka_cores", "amqp_queues", "amqp_space", "amqp_exchanges",
           "amqp_expiry", "amqp_errors", "amqp_connections", "streams", "bad_input", "restarts", "idle"]


def out_of_time(*_):
    raise TimeoutError(f"test took longer than {TEST_SECONDS} s")


def collect(parts):
    for module in MODULES:
        for name, function in vars(importlib.import_module(module)).items():
            full = f"{module}.{name.removeprefix('test_')}"
            if name.startswith("test_") and (not parts or any(part in full for part in parts)):
                yield full, function


def run_one(function, given):
    signal.alarm(TEST_SECONDS)
    try:
        function(**{name: given[name] for name in inspect.signature(function).parameters})
        return None
    except (Exception, TimeoutError):
        return traceback.format_exc()
    finally:
        signal.alarm(0)


def run(tests, given, broker=None):
    passed, failed, left_out = 0, [], 0
    for name, function in tests:
        if not set(inspect.signature(function).parameters) <= set(given):
            left_out += 1
            continue
        started = time.monotonic()
        error = run_one(function, given)
        if broker and not broker.running():
            error = (error or "") + f"the broker is gone; the end of its log:\n{broker.log_end()}"
            broker.kill()
            broker.start()
        print(f"{'FAILED' if error else 'ok'} {name} {time.monotonic() - started:.1f} s", flush=True)
        if error:
            print(error, flush=True)
            failed.append(name)
        else:
            passed += 1
    return passed, failed, left_out


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--kafka", help="test this server instead")
    args.add_argument("--amqp", help="test this server instead")
    args.add_argument("--cores", type=int, default=2)
    args.add_argument("--set", metavar="OPTION=VALUE", action="append", default=[], help="another setting of the broker")
    args.add_argument("parts", nargs="*")
    args = args.parse_args()
    signal.signal(signal.SIGALRM, out_of_time)
    tests = list(collect(args.parts))
    if args.kafka or args.amqp:
        given = {k: v for k, v in (("kafka", args.kafka), ("amqp", args.amqp)) if v}
        passed, failed, left_out = run(tests, given)
    else:
        with Broker("clients", cores=args.cores, **dict(one.split("=", 1) for one in args.set)) as broker:
            print(broker.ready, flush=True)
            given = {"broker": broker, "kafka": broker.kafka, "amqp": broker.amqp, "admin": broker.admin}
            passed, failed, left_out = run(tests, given, broker)
            log = broker.log_end(60)
        if failed:
            print(f"end of the broker's log:\n{log}")
    for name in failed:
        print(f"failed: {name}")
    print(f"client tests: {passed} passed, {len(failed)} failed" + (f", {left_out} left out" if left_out else ""))
    sys.stdout.flush()
    # A client library with a dead connection may hold up a normal exit.
    os._exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
