"""Topics that keep their records up to a size, or for a time."""
from confluent_kafka import TopicPartition

from broker import until
from clients import consumer, create_topic, produce

VALUE = b"v" * 50_000
RECORDS = 200


def bounds(kafka, topic):
    reader = consumer(kafka)
    try:
        return reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
    finally:
        reader.close()


def filled(kafka, **config):
    topic = create_topic(kafka, **config)
    produce(kafka, topic, [{"value": VALUE}] * RECORDS)
    return topic


def test_old_records_go_when_a_topic_is_full_or_they_are_too_old(kafka):
    whole = filled(kafka)
    sized = filled(kafka, **{"retention.bytes": 3_000_000})
    timed = filled(kafka, **{"retention.ms": 1})
    until(lambda: bounds(kafka, sized)[0] > 0 and bounds(kafka, timed)[0] == RECORDS, 30,
          "the records of a full topic and of one that keeps nothing go")
    low, high = bounds(kafka, sized)
    assert high == RECORDS and 1_000_000 < (high - low) * len(VALUE) <= 3_000_000, (low, high)
    assert bounds(kafka, whole) == (0, RECORDS)
