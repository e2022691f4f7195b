"""Compacted topics: the last record of each key stays at its offset, superseded ones go, and keyless ones are refused."""
import os

from confluent_kafka import KafkaException, Producer, TopicPartition

from broker import Broker, until
from clients import admin_client, consumer, create_topic, produce

KEYS = 50
RECORDS = 4_000
VALUE_BYTES = 12_000
# Small journal files, so that segments are soon known to be sealed; nothing else makes them so.
CONFIG = f"journal_file_bytes = {36 << 20}\n"
COMPACTED = {"cleanup.policy": "compact", "segment.bytes": 1 << 20, "min.cleanable.dirty.ratio": "0.01"}


def value_of(number):
    """About half of it can be compressed."""
    return f"{number} {os.urandom(VALUE_BYTES // 2).hex()}".encode()


def read_all(kafka, topic):
    """Every record from the first to the last offset: {offset: (key, value)}."""
    reader = consumer(kafka)
    place = TopicPartition(topic, 0, 0)
    _, high = reader.get_watermark_offsets(place, timeout=10)
    reader.assign([place])
    found, last = {}, -1
    while last + 1 < high:
        message = reader.poll(10)
        assert message is not None, f"nothing behind {last} though the log ends at {high}"
        assert message.error() is None, message.error()
        assert message.offset() > last, "offsets do not rise"
        last = message.offset()
        found[last] = (message.key(), message.value())
    reader.close()
    return found


def compacted(broker, topic, before):
    found = read_all(broker.kafka, topic)
    return found if len(found) * 2 < before else None


def check(found, last):
    """Every key's last record is there, at its offset; nothing is there that was not sent."""
    for key, (offset, value) in last.items():
        assert found.get(offset) == (key, value), f"the last record of {key} is not at {offset}"


def filled(broker, codec, **config):
    topic = create_topic(broker.kafka, **config)
    records = [{"key": f"key {number % KEYS}", "value": value_of(number)} for number in range(RECORDS)]
    places = produce(broker.kafka, topic, records, **{"compression.type": codec, "linger.ms": 5, "batch.num.messages": 40})
    last = {record["key"].encode(): (offset, record["value"]) for record, (_, offset) in zip(records, places)}
    return topic, last


def test_superseded_records_go_and_the_last_ones_stay():
    broker = Broker("compaction", cores=1)
    file = broker.directory / "ringmain.toml"
    file.write_text(CONFIG)
    broker.options = ["--config", str(file)]
    with broker:
        topics = [filled(broker, codec, **COMPACTED) for codec in ("gzip", "snappy", "lz4", "zstd", "none")]
        filled(broker, "none")  # fills the journal, so that all before is settled
        until(lambda: broker.metric("ringmain_compactions_total") >= len(topics), 60, "logs are compacted")
        for topic, last in topics:
            check(until(lambda topic=topic: compacted(broker, topic, RECORDS), 60, "superseded records go"), last)
        assert broker.metric("ringmain_compacted_bytes_total") > RECORDS * VALUE_BYTES / 2
        broker.kill()
        broker.start()
        for topic, last in topics:
            check(read_all(broker.kafka, topic), last)
        broker.stop()


def test_a_record_without_a_key_is_refused(kafka):
    topic = create_topic(kafka, **{"cleanup.policy": "compact,delete"})
    for codec in ("none", "zstd"):
        errors = []
        producer = Producer({"bootstrap.servers": kafka, "compression.type": codec, "log_level": 2})
        producer.produce(topic, b"value " * 100, on_delivery=lambda error, _, errors=errors: errors.append(error))
        producer.flush(10)
        assert [error.name() for error in errors] == ["INVALID_RECORD"], errors
    produce(kafka, topic, [{"key": b"key", "value": b"value"}, {"key": b"key", "value": None}])
    admin = admin_client(kafka)
    try:
        create_topic(kafka, **{"cleanup.policy": "sometimes"})
        raise AssertionError("a policy that does not exist is taken")
    except KafkaException:
        del admin


def test_a_small_topic_is_compacted_once_its_segment_is_old(kafka):
    topic = create_topic(kafka, **{"cleanup.policy": "compact", "segment.ms": 1_000})
    records = [{"key": f"key {number % KEYS}", "value": b"%d" % number} for number in range(RECORDS)]
    places = produce(kafka, topic, records, **{"linger.ms": 5})
    last = {record["key"].encode(): (offset, record["value"]) for record, (_, offset) in zip(records, places)}

    def few():
        # What is durable last is never compacted, so it is not among those for long.
        produce(kafka, topic, [{"key": "another", "value": b"x"}])
        found = read_all(kafka, topic)
        return found if len(found) * 2 < RECORDS else None

    check(until(few, 60, "superseded records go"), last)
