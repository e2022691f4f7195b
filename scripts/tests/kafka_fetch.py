"""Reading from anywhere: offsets, timestamps, watermarks, waiting for records that are not there yet."""
import threading
import time

from confluent_kafka import OFFSET_END, KafkaError, TopicPartition

from clients import consumer, create_topic, nothing_more, produce, read_partition, take


def test_replay_by_offset(kafka):
    topic = create_topic(kafka)
    produce(kafka, topic, [{"value": str(n)} for n in range(1000)], **{"linger.ms": 20})
    for offset in (0, 1, 499, 998, 999):
        got = read_partition(kafka, topic, 1000 - offset, offset=offset)
        assert [(m.offset(), int(m.value())) for m in got] == [(n, n) for n in range(offset, 1000)]
    reader = consumer(kafka)
    reader.assign([TopicPartition(topic, 0, 900)])
    assert take(reader, 1)[0].offset() == 900
    reader.seek(TopicPartition(topic, 0, 10))
    assert take(reader, 1)[0].offset() == 10
    reader.close()


def test_replay_by_timestamp(kafka):
    topic = create_topic(kafka)
    start = 1_700_000_000_000
    produce(kafka, topic, [{"value": str(n), "timestamp": start + 1000 * n} for n in range(50)])
    produce(kafka, topic, [{"value": str(n), "timestamp": start + 1000 * n} for n in range(50, 100)])
    reader = consumer(kafka)
    for when, offset in ((0, 0), (start, 0), (start + 1, 1), (start + 49_000, 49), (start + 73_500, 74), (start + 99_000, 99)):
        found = reader.offsets_for_times([TopicPartition(topic, 0, when)], timeout=10)[0]
        assert found.offset == offset, f"time {when - start}: offset {found.offset}, not {offset}"
    late = reader.offsets_for_times([TopicPartition(topic, 0, start + 99_001)], timeout=10)[0]
    assert late.offset == OFFSET_END, late
    reader.close()


def test_watermarks(kafka):
    topic = create_topic(kafka)
    reader = consumer(kafka)
    assert reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=10) == (0, 0)
    produce(kafka, topic, [{"value": "x"}] * 7)
    assert reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=10) == (0, 7)
    reader.close()


def test_an_offset_beyond_the_end_is_reset(kafka):
    topic = create_topic(kafka)
    produce(kafka, topic, [{"value": "only"}])
    reader = consumer(kafka)  # auto.offset.reset=earliest
    reader.assign([TopicPartition(topic, 0, 1_000_000)])
    assert take(reader, 1)[0].value() == b"only"
    reader.close()
    strict = consumer(kafka, auto_offset_reset="error")
    strict.assign([TopicPartition(topic, 0, 1_000_000)])
    deadline = time.monotonic() + 20
    while (event := strict.poll(0.5)) is None:
        assert time.monotonic() < deadline, "no error for an offset beyond the end"
    assert event.error() and event.error().code() == KafkaError._AUTO_OFFSET_RESET, event.error()
    strict.close()


def test_a_waiting_fetch_is_answered_by_the_record_not_by_the_clock(kafka):
    topic = create_topic(kafka)
    reader = consumer(kafka, fetch_wait_max_ms=20_000, fetch_min_bytes=1)
    reader.assign([TopicPartition(topic, 0, 0)])
    nothing_more(reader, 1.0)  # the fetch is now waiting at the broker, for 20 s if nothing comes
    started = time.monotonic()
    threading.Thread(target=produce, args=(kafka, topic, [{"value": "now"}])).start()
    got = take(reader, 1, 15)
    assert got and got[0].value() == b"now", "the record did not end the waiting fetch"
    print(f"   a waiting fetch was answered {1000 * (time.monotonic() - started):.0f} ms after the produce began")
    reader.close()


def test_fan_out(kafka):
    topic = create_topic(kafka, partitions=2)
    readers = [consumer(kafka) for _ in range(5)]
    for reader in readers:
        reader.assign([TopicPartition(topic, p, 0) for p in (0, 1)])
    produce(kafka, topic, [{"value": str(n), "partition": n % 2} for n in range(1000)])
    for reader in readers:
        assert sorted(int(m.value()) for m in take(reader, 1000)) == list(range(1000))
        reader.close()
