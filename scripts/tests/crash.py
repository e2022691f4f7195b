"""kill -9 under load from both protocols, again and again: what was acknowledged must be there.

In: idempotent Kafka producers with delivery reports, AMQP publishers with confirms, an AMQP worker that
acknowledges. They live on through every crash, as clients do. Out: a line of counts for each round, then
`crash: N passed, N failed` rounds; exit 1 with details on a violation.

After every restart, while the load goes on, must hold:
  * each record with a delivery report is at its partition and offset, with its bytes;
  * no record of an idempotent producer is there twice, and each producer's records are in their order;
  * each confirmed message is delivered (again, if it was not acknowledged) with its bytes, until it is acknowledged.
"""
import argparse
import random
import threading
import time

import pika
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from broker import Broker, until
from clients import connect, create_topic, unique

PARTITIONS = 4
CATCH_UP_SECONDS = 60


def body(owner, number):
    """Bytes that follow from the name alone, between 20 bytes and 4 KiB."""
    name = f"{owner}/{number}/".encode()
    return name + bytes([number % 251]) * ((number * 2654435761 >> 7) % 4096 if number % 4 == 0 else 20)


class KafkaLoad(threading.Thread):
    """One idempotent producer; `reported` maps (partition, offset) to the number of the record."""

    def __init__(self, kafka, topic, owner, stop):
        super().__init__(daemon=True)
        self.topic, self.owner, self.stop = topic, owner, stop
        self.sent, self.reported, self.errors, self.fatal = 0, {}, [], []
        self.producer = Producer({
            "bootstrap.servers": kafka, "enable.idempotence": True, "linger.ms": 2, "message.timeout.ms": 300_000,
            "reconnect.backoff.max.ms": 500, "retry.backoff.max.ms": 500, "socket.timeout.ms": 10_000,
            "error_cb": lambda error: error.fatal() and self.fatal.append(error), "log_level": 2})

    def run(self):
        while not self.stop.is_set():
            number = self.sent
            try:
                self.producer.produce(self.topic, body(self.owner, number), partition=number % PARTITIONS,
                                      on_delivery=lambda error, message, number=number: self.report(error, message, number))
                self.sent += 1
            except BufferError:
                self.producer.poll(0.05)
            except KafkaException as error:
                self.errors.append(str(error))
                return
            self.producer.poll(0)
            if number % 50 == 0:
                time.sleep(0.01)  # paces the load, so that reading keeps up with it
        self.left = self.producer.flush(CATCH_UP_SECONDS)

    def report(self, error, message, number):
        if error:
            self.errors.append(f"record {number}: {error}")
        elif (message.partition(), message.offset()) in self.reported:
            self.errors.append(f"record {number}: offset {message.partition()}:{message.offset()} was given twice")
        else:
            self.reported[message.partition(), message.offset()] = number


class Publisher(threading.Thread):
    """One publisher with confirms; `confirmed` holds numbers in their order."""

    def __init__(self, amqp, queue, owner, stop):
        super().__init__(daemon=True)
        self.amqp, self.queue, self.owner, self.stop = amqp, queue, owner, stop
        self.sent, self.confirmed = 0, []

    def run(self):
        while not self.stop.is_set():
            try:
                connection = connect(self.amqp, socket_timeout=5, blocked_connection_timeout=10)
                channel = connection.channel()
                channel.confirm_delivery()
                while not self.stop.is_set():
                    number = self.sent
                    self.sent += 1  # a number is used once, confirmed or not
                    channel.basic_publish("", self.queue, body(self.owner, number), pika.BasicProperties(delivery_mode=2))
                    self.confirmed.append(number)
                connection.close()
            except (pika.exceptions.AMQPError, OSError):
                self.stop.wait(0.05)


class Worker(threading.Thread):
    """Takes, checks and acknowledges. A delivery counts as done only if its ack was handed to a living connection."""

    def __init__(self, amqp, queue, stop):
        super().__init__(daemon=True)
        self.amqp, self.queue, self.stop = amqp, queue, stop
        self.done, self.deliveries, self.redelivered, self.errors = set(), 0, 0, []

    def run(self):
        while not self.stop.is_set():
            try:
                connection = connect(self.amqp, socket_timeout=5)
                channel = connection.channel()
                channel.basic_qos(prefetch_count=50)
                for method, _, data in channel.consume(self.queue, inactivity_timeout=0.2):
                    if self.stop.is_set():
                        break
                    if method is not None:
                        self.take(channel, method, data)
                connection.close()
            except (pika.exceptions.AMQPError, OSError):
                self.stop.wait(0.05)

    def take(self, channel, method, data):
        owner, number = data.split(b"/", 2)[:2]
        if data != body(owner.decode(), int(number)):
            self.errors.append(f"message {owner.decode()}/{int(number)} came with other bytes")
        self.deliveries += 1
        self.redelivered += method.redelivered
        channel.basic_ack(method.delivery_tag)
        self.done.add((owner.decode(), int(number)))


class Reader:
    """Reads the topic once, partition by partition, remembering how far it came; sees duplicates and disorder."""

    def __init__(self, kafka, topic):
        self.kafka, self.topic = kafka, topic
        self.at = [0] * PARTITIONS
        self.stored, self.last, self.errors = {}, {}, []

    def read_to_end(self):
        consumer = Consumer({"bootstrap.servers": self.kafka, "group.id": unique("crash"), "enable.auto.commit": False,
                             "auto.offset.reset": "error", "log_level": 2})
        ends = {}
        for partition in range(PARTITIONS):
            place = TopicPartition(self.topic, partition)
            ends[partition] = until(lambda place=place: self.end_of(consumer, place), CATCH_UP_SECONDS, "a high watermark")[1]
            if ends[partition] < self.at[partition]:
                self.errors.append(f"partition {partition} ends at {ends[partition]}, but {self.at[partition]} were read before")
        consumer.assign([TopicPartition(self.topic, p, self.at[p]) for p in range(PARTITIONS) if self.at[p] < ends[p]])
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while any(self.at[p] < ends[p] for p in ends):
            if time.monotonic() > deadline:
                self.errors.append(f"reading stopped at {self.at} before {list(ends.values())}")
                break
            for message in consumer.consume(1000, 0.5):
                if message.error():
                    self.errors.append(f"reading: {message.error()}")
                else:
                    self.take(message)
        consumer.close()

    @staticmethod
    def end_of(consumer, place):
        try:
            return consumer.get_watermark_offsets(place, timeout=5)
        except KafkaException:
            return None

    def take(self, message):
        partition, offset = message.partition(), message.offset()
        if offset != self.at[partition]:
            self.errors.append(f"offset {partition}:{offset} follows {self.at[partition] - 1}")
        self.at[partition] = offset + 1
        owner, number = message.value().split(b"/", 2)[:2]
        owner, number = owner.decode(), int(number)
        if message.value() != body(owner, number):
            self.errors.append(f"{partition}:{offset} holds other bytes than were sent")
        before = self.last.get((owner, partition), -1)
        if number <= before:
            self.errors.append(f"{partition}:{offset}: record {owner}/{number} after {before}: twice or out of order")
        self.last[owner, partition] = number
        self.stored[partition, offset] = (owner, number)


def missing_records(producers, reader, reported):
    for producer in producers:
        for place, number in reported[producer]:
            if reader.stored.get(place) != (producer.owner, number):
                yield f"{producer.owner}/{number} was acknowledged at {place[0]}:{place[1]}, where {reader.stored.get(place)} is"


def missing_messages(confirmed, worker):
    """Waits until the worker has had everything confirmed; what it never gets is lost."""
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while (left := confirmed - worker.done) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [f"{owner}/{number} was confirmed and never delivered again" for owner, number in sorted(left)]


class Crash:
    def __init__(self, broker, seed, producers=2, publishers=2):
        self.broker, self.random = broker, random.Random(seed)
        self.stop, self.worker_stop = threading.Event(), threading.Event()
        topic, queue = create_topic(broker.kafka, PARTITIONS, "crash"), unique("crash")
        connection = connect(broker.amqp)
        connection.channel().queue_declare(queue, durable=True)
        connection.close()
        self.producers = [KafkaLoad(broker.kafka, topic, f"p{n}", self.stop) for n in range(producers)]
        self.publishers = [Publisher(broker.amqp, queue, f"q{n}", self.stop) for n in range(publishers)]
        self.worker = Worker(broker.amqp, queue, self.worker_stop)
        self.reader = Reader(broker.kafka, topic)
        self.checked = {producer: 0 for producer in self.producers}
        for thread in (*self.producers, *self.publishers, self.worker):
            thread.start()

    def confirmed(self):
        return {(publisher.owner, number) for publisher in self.publishers for number in list(publisher.confirmed)}

    def reports(self):
        """Delivery reports not checked yet; earlier ones were checked against what was read then."""
        new = {}
        for producer in self.producers:
            all_of_it = list(producer.reported.items())
            new[producer] = all_of_it[self.checked[producer]:]
            self.checked[producer] = len(all_of_it)
        return new

    def progressed(self, before):
        return self.counts()[0] > before[0] and self.counts()[1] > before[1]

    def counts(self):
        return sum(len(p.reported) for p in self.producers), sum(len(p.confirmed) for p in self.publishers)

    def round(self):
        """Load, kill -9 in the middle of it, restart, check. Gives back what was violated."""
        before = self.counts()
        until(lambda: self.progressed(before), CATCH_UP_SECONDS, f"acknowledgements after a restart\n{self.broker.log_end()}")
        time.sleep(self.random.uniform(0.1, 1.2))  # the moment of the crash, not a synchronisation
        self.broker.kill()
        # Reports that arrive between kill and this line are of acknowledgements sent before.
        reported, confirmed = self.reports(), self.confirmed()
        started = time.monotonic()
        self.broker.start()
        self.recovery = time.monotonic() - started
        return self.check(reported, confirmed)

    def check(self, reported, confirmed):
        self.reader.read_to_end()
        missing = [*missing_records(self.producers, self.reader, reported), *missing_messages(confirmed, self.worker)]
        return self.collect_errors() + missing

    def collect_errors(self):
        wrong = []
        for source in (*self.producers, self.worker, self.reader):
            wrong += [f"{getattr(source, 'owner', type(source).__name__)}: {error}" for error in source.errors]
            source.errors.clear()
        for producer in self.producers:
            wrong += [f"{producer.owner}: fatal: {error}" for error in producer.fatal]
            producer.fatal.clear()
        return wrong

    def finish(self):
        """Ends the load and checks everything once more from the beginning."""
        self.stop.set()
        for thread in (*self.producers, *self.publishers):
            thread.join(2 * CATCH_UP_SECONDS)
        wrong = []
        for producer in self.producers:
            if len(producer.reported) != producer.sent:
                wrong.append(f"{producer.owner}: {producer.sent} sent, {len(producer.reported)} reported")
        self.reader = Reader(self.reader.kafka, self.reader.topic)
        wrong += self.check({p: list(p.reported.items()) for p in self.producers}, self.confirmed())
        stored, sent = len(self.reader.stored), sum(p.sent for p in self.producers)
        if stored != sent:
            wrong.append(f"{sent} records were sent exactly once, {stored} are stored")
        self.worker_stop.set()
        self.worker.join(CATCH_UP_SECONDS)
        return wrong

    def line(self):
        records, messages = self.counts()
        return (f"{records} records acknowledged and found, {messages} messages confirmed and delivered "
                f"({self.worker.redelivered} of {self.worker.deliveries} deliveries marked redelivered)")


def show(name, wrong, text):
    print(f"{'FAILED' if wrong else 'ok'} {name}: {text}", flush=True)
    for line in wrong[:20]:
        print(f"  {line}")
    if len(wrong) > 20:
        print(f"  and {len(wrong) - 20} more")
    return not wrong


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--rounds", type=int, default=20)
    args.add_argument("--quick", action="store_true", help="3 rounds")
    args.add_argument("--cores", type=int, default=2)
    args.add_argument("--seed", type=int, default=1, help="of the moments of the crashes")
    args = args.parse_args()
    rounds = 3 if args.quick else args.rounds
    passed = failed = 0
    with Broker("crash", cores=args.cores) as broker:
        print(broker.ready, flush=True)
        crash = Crash(broker, args.seed)
        for number in range(1, rounds + 1):
            good = show(f"round {number}", crash.round(), f"ready again after {crash.recovery:.2f} s, {crash.line()}")
            passed, failed = passed + good, failed + (not good)
        good = show("everything once more", crash.finish(), crash.line())
        passed, failed = passed + good, failed + (not good)
        print(f"crash: {passed} passed, {failed} failed", flush=True)
        assert not failed, "acknowledged data is missing or changed"
        broker.stop()


if __name__ == "__main__":
    main()
