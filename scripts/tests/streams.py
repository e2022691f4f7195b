"""One copy, both protocols: topics read as streams, queues read as topics."""
import datetime

from confluent_kafka import TopicPartition

from clients import Amqp, consumer, create_topic, drain, get, produce, publish, queue, ready, take


def stream(channel, topic, offset, count):
    """`count` deliveries of the stream from `offset`, acknowledged: [(offset, body)]."""
    channel.queue_declare(topic, durable=True, arguments={"x-queue-type": "stream"})
    channel.basic_qos(prefetch_count=50)
    got = []
    for method, properties, body in channel.consume(topic, arguments={"x-stream-offset": offset}, inactivity_timeout=10):
        assert method is not None, f"stream from {offset}: {len(got)} of {count}"
        got.append((properties.headers["x-stream-offset"], body, properties))
        channel.basic_ack(method.delivery_tag)
        if len(got) == count:
            break
    channel.cancel()
    return got


def test_compressed_topics_as_streams(kafka, amqp):
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        topic = create_topic(kafka, name=codec)
        values = [f"value {n} ".encode() * 20 for n in range(200)]
        settings = {"compression.type": codec, "linger.ms": 50}
        produce(kafka, topic, [{"key": f"k{n}", "value": v} for n, v in enumerate(values)], **settings)
        with Amqp(amqp) as channel:
            for offset in ("first", 150):
                start = 0 if offset == "first" else offset
                got = stream(channel, topic, offset, 200 - start)
                assert [(o, b) for o, b, _ in got] == [(n, values[n]) for n in range(start, 200)], (codec, offset)


def test_streams_start_anywhere(kafka, amqp):
    topic, start = create_topic(kafka), 1_700_000_000
    for n in range(10):
        produce(kafka, topic, [{"value": str(n), "timestamp": 1000 * (start + 10 * n)}])
    with Amqp(amqp) as channel:
        when = datetime.datetime.fromtimestamp(start + 45, datetime.timezone.utc)
        assert [o for o, _, _ in stream(channel, topic, when, 5)][-1] == 9
        assert [o for o, _, _ in stream(channel, topic, 9, 1)] == [9]
        got = []
        channel.basic_consume(topic, lambda ch, m, p, body: got.append((p.headers["x-stream-offset"], body)) or
                              ch.basic_ack(m.delivery_tag), arguments={"x-stream-offset": "next"})
        produce(kafka, topic, [{"value": "new"}])
        for _ in range(200):
            channel.connection.process_data_events(0.05)
            if got:
                break
        assert got == [(10, b"new")], got


def test_declaring_a_topic_counts_it_and_a_stream_is_deleted_whatever_it_holds(kafka, amqp):
    topic = create_topic(kafka)
    produce(kafka, topic, [{"value": b"x"}] * 5)
    with Amqp(amqp) as channel:
        assert ready(channel, topic) == 5
        channel.basic_qos(prefetch_count=5)
        channel.basic_consume(topic, lambda *_: None)
        assert channel.queue_declare(topic, passive=True).method.consumer_count == 1
        name = queue(channel, "stream", x_queue_type="stream")
        publish(channel, name, b"x")
        channel.queue_delete(name, if_unused=True, if_empty=True)
        assert name not in consumer(kafka).list_topics(timeout=10).topics


def test_reading_a_stream_takes_nothing_away(kafka, amqp):
    topic = create_topic(kafka)
    produce(kafka, topic, [{"value": str(n)} for n in range(20)])
    for _ in range(2):
        with Amqp(amqp) as channel:
            assert [b for _, b, _ in stream(channel, topic, "first", 20)] == [str(n).encode() for n in range(20)]


def test_a_queue_read_as_a_topic(kafka, amqp):
    with Amqp(amqp) as channel:
        name = queue(channel)
        for n in range(10):
            publish(channel, name, f"job {n}", headers={"n": n}, delivery_mode=2)
        get(channel, name)  # one is done
        reader = consumer(kafka)
        reader.assign([TopicPartition(name, 0, 0)])
        seen = {m.offset(): m.value().decode() for m in take(reader, 9)}
        reader.close()
        assert all(seen[offset] == f"job {offset}" for offset in seen), seen
        assert set(range(1, 10)) <= set(seen), seen
        assert ready(channel, name) == 9, "a Kafka reader must not take messages from the workers"
        assert drain(channel, name) == [f"job {n}" for n in range(1, 10)]
