"""What goes in comes out: keys, order, headers, empty values, compression, sizes, idempotence."""
import hashlib
import random

from confluent_kafka import TIMESTAMP_CREATE_TIME

from clients import consumer, create_topic, nothing_more, produce, read_partition, take, unique


def test_order_holds_within_a_key(kafka):
    topic = create_topic(kafka, partitions=4)
    sent = [{"key": f"k{n % 17}", "value": str(n)} for n in range(2000)]
    places = produce(kafka, topic, sent)
    assert len(set(places)) == len(sent), "two records share a partition and offset"
    reader = consumer(kafka)
    reader.subscribe([topic])
    got = take(reader, len(sent))
    nothing_more(reader)
    reader.close()
    assert {(m.partition(), m.offset()): m.value() for m in got} == \
        {place: record["value"].encode() for place, record in zip(places, sent)}
    for key in range(17):
        mine = [m for m in got if m.key() == f"k{key}".encode()]
        assert len({m.partition() for m in mine}) == 1, "a key is in two partitions"
        assert [int(m.value()) for m in mine] == list(range(key, 2000, 17))


def test_offsets_are_dense_from_zero(kafka):
    topic = create_topic(kafka)
    assert produce(kafka, topic, [{"value": str(n)} for n in range(500)]) == [(0, n) for n in range(500)]
    assert produce(kafka, topic, [{"value": "more"}]) == [(0, 500)]


def test_headers_and_timestamp(kafka):
    topic = create_topic(kafka)
    headers = [("a", b"1"), ("a", b"2"), ("empty", b""), ("none", None), ("b\u00e9", bytes(range(256)))]
    produce(kafka, topic, [{"key": b"k", "value": b"v", "headers": headers, "timestamp": 1_600_000_000_123}])
    message = read_partition(kafka, topic, 1)[0]
    assert message.headers() == headers, message.headers()
    assert message.timestamp() == (TIMESTAMP_CREATE_TIME, 1_600_000_000_123), message.timestamp()


def test_empty_values_and_tombstones(kafka):
    topic = create_topic(kafka)
    sent = [(b"k", b""), (b"k", None), (None, b"v"), (b"", b""), (None, None)]
    produce(kafka, topic, [{"key": k, "value": v, "partition": 0} for k, v in sent])
    assert [(m.key(), m.value()) for m in read_partition(kafka, topic, len(sent))] == sent


def test_compressed_batches_come_back_equal(kafka):
    values = [f"line {n} ".encode() * (n % 50) for n in range(600)]
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        topic = create_topic(kafka, name=codec)
        settings = {"compression.type": codec, "linger.ms": 50}
        produce(kafka, topic, [{"key": str(n), "value": v} for n, v in enumerate(values)], **settings)
        assert [m.value() for m in read_partition(kafka, topic, len(values))] == values, codec
        # and from the middle of a batch
        assert read_partition(kafka, topic, 1, offset=333)[0].value() == values[333], codec


def test_large_records(kafka):
    topic = create_topic(kafka, partitions=2)
    noise = random.Random(7)
    values = [noise.randbytes(size) for size in (1_000_000, 999_999, 65_536, 65_535, 4096, 4095, 1, 1_000_000)]
    produce(kafka, topic, [{"value": v, "partition": n % 2} for n, v in enumerate(values)],
            **{"message.max.bytes": 1_040_000})
    for partition in (0, 1):
        mine = values[partition::2]
        got = read_partition(kafka, topic, len(mine), partition)
        assert [hashlib.sha256(m.value()).digest() for m in got] == [hashlib.sha256(v).digest() for v in mine]


def test_idempotent_producer(kafka):
    topic = create_topic(kafka, partitions=3)
    sent = [{"value": str(n), "partition": n % 3} for n in range(3000)]
    settings = {"enable.idempotence": True, "linger.ms": 1, "batch.num.messages": 20}
    places = produce(kafka, topic, sent, **settings)
    for partition in range(3):
        mine = [record["value"].encode() for record in sent[partition::3]]
        assert [o for p, o in places if p == partition] == list(range(1000)), "offsets have gaps"
        assert [m.value() for m in read_partition(kafka, topic, 1000, partition)] == mine


def test_acks_zero_and_one(kafka):
    topic = create_topic(kafka)
    for acks in ("0", "1"):
        produce(kafka, topic, [{"value": f"{acks} {n}"} for n in range(100)], acks=acks)
    got = [m.value().decode() for m in read_partition(kafka, topic, 200)]
    assert got == [f"{acks} {n}" for acks in "01" for n in range(100)]


def test_first_use_makes_the_topic(kafka):
    topic = unique("unseen")
    places = produce(kafka, topic, [{"value": str(n), "key": str(n)} for n in range(200)])
    assert {p for p, _ in places} == {0, 1, 2, 3}, "a topic made on first use has 4 partitions"
