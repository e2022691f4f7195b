"""Topics as the admin client sees them: create, describe, list, alter, delete, and the errors of each."""
import subprocess

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   OffsetSpec)

from broker import BINARY, until
from clients import (Amqp, admin_client, consumer, create_topic, publish, produce, queue, read_partition, ready,
                     take, unique)


def error_of(future):
    try:
        future.result(15)
    except KafkaException as error:
        return error.args[0].code()
    return None


def test_created_topics_are_listed_and_described(kafka):
    topic = create_topic(kafka, partitions=6)
    admin = admin_client(kafka)
    listed = admin.list_topics(timeout=10)
    assert topic in listed.topics and listed.brokers and listed.cluster_id
    partitions = listed.topics[topic].partitions
    assert sorted(partitions) == list(range(6))
    assert all(p.leader in listed.brokers and p.replicas and p.isrs for p in partitions.values())
    described = admin.describe_topics(TopicCollection([topic]))[topic].result(15)
    assert described.name == topic and len(described.partitions) == 6 and str(described.topic_id)


def test_topic_configuration(kafka):
    topic = create_topic(kafka, **{"retention.ms": 123456789})
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    admin = admin_client(kafka)
    entries = admin.describe_configs([resource])[resource].result(15)
    assert entries["retention.ms"].value == "123456789", entries["retention.ms"].value
    assert "cleanup.policy" in entries


def test_errors_of_create_and_delete(kafka):
    admin, topic = admin_client(kafka), create_topic(kafka)
    assert error_of(admin.create_topics([NewTopic(topic, 1, 1)])[topic]) == KafkaError.TOPIC_ALREADY_EXISTS
    bad = "no/such:name"
    assert error_of(admin.create_topics([NewTopic(bad, 1, 1)])[bad]) == KafkaError.TOPIC_EXCEPTION
    missing = unique("missing")
    assert error_of(admin.delete_topics([missing])[missing]) == KafkaError.UNKNOWN_TOPIC_OR_PART
    dry = unique("dry")
    assert error_of(admin.create_topics([NewTopic(dry, 1, 1)], validate_only=True)[dry]) is None
    assert dry not in admin.list_topics(timeout=10).topics, "validate_only made the topic"


def test_a_deleted_topic_is_gone_and_comes_back_empty(kafka):
    admin, topic = admin_client(kafka), create_topic(kafka)
    produce(kafka, topic, [{"value": "old"}] * 10)
    assert error_of(admin.delete_topics([topic])[topic]) is None
    until(lambda: topic not in admin.list_topics(timeout=10).topics, 10, "the topic is gone")
    assert error_of(admin.create_topics([NewTopic(topic, 1, 1)])[topic]) is None
    assert produce(kafka, topic, [{"value": "new"}]) == [(0, 0)]
    assert read_partition(kafka, topic, 1)[0].value() == b"new"


def test_many_partitions(kafka):
    count = 300
    topic = create_topic(kafka, partitions=count)
    places = produce(kafka, topic, [{"value": str(n), "partition": n} for n in range(count)])
    assert places == [(n, 0) for n in range(count)]
    for partition in (0, 1, count // 2, count - 1):
        assert read_partition(kafka, topic, 1, partition)[0].value() == str(partition).encode()


def partitions_of(admin, topic):
    return len(admin.list_topics(topic, timeout=10).topics[topic].partitions)


def grow(admin, topic, total, **options):
    return error_of(admin.create_partitions([NewPartitions(topic, total)], **options)[topic])


def configs_of(admin, topic):
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    return {k: v.value for k, v in admin.describe_configs([resource])[resource].result(15).items()}


def change(admin, topic, *entries, kind=ConfigResource.Type.TOPIC, **options):
    """Each entry: name, value, operation."""
    entries = [ConfigEntry(n, v, incremental_operation=AlterConfigOpType[o]) for n, v, o in entries]
    resource = ConfigResource(kind, topic, incremental_configs=entries)
    return error_of(admin.incremental_alter_configs([resource], **options)[resource])


def delete_before(admin, topic, offset, partition=0):
    place = TopicPartition(topic, partition, offset)
    return admin.delete_records([place])[place].result(15).low_watermark


def earliest(admin, topic, partition=0):
    place = TopicPartition(topic, partition)
    return admin.list_offsets({place: OffsetSpec.earliest()})[place].result(15).offset


def test_added_partitions_are_written_and_read(kafka):
    admin, topic = admin_client(kafka), create_topic(kafka, partitions=2)
    produce(kafka, topic, [{"value": "before", "partition": n} for n in range(2)])
    reader = consumer(kafka, **{"topic.metadata.refresh.interval.ms": 500})
    reader.subscribe([topic])
    assert len(take(reader, 2)) == 2
    assert grow(admin, topic, 7, validate_only=True) is None and partitions_of(admin, topic) == 2
    assert grow(admin, topic, 7) is None
    until(lambda: partitions_of(admin, topic) == 7, 10, "seven partitions are listed")
    places = produce(kafka, topic, [{"value": str(n), "partition": n} for n in range(7)])
    assert places == [(n, 1 if n < 2 else 0) for n in range(7)]
    seen, expected = set(), {(n, str(n).encode()) for n in range(7)}

    def all_seen():  # some twice: the group begins anew when it sees more partitions
        seen.update((m.partition(), m.value()) for m in take(reader, 1, 1))
        return seen >= expected
    until(all_seen, 30, "a record of each partition, old and new")
    assert seen <= expected | {(0, b"before"), (1, b"before")}
    reader.close()
    for total in (7, 3, 10_001):
        assert grow(admin, topic, total) == KafkaError.INVALID_PARTITIONS, total
    missing = unique("missing")
    assert grow(admin, missing, 2) == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert partitions_of(admin, topic) == 7


def test_settings_are_changed_and_replaced(kafka):
    admin, topic = admin_client(kafka), create_topic(kafka, **{"retention.ms": 100_000_000})
    assert change(admin, topic, ("retention.bytes", "5000000", "SET"), validate_only=True) is None
    assert configs_of(admin, topic)["retention.bytes"] == "-1"
    assert change(admin, topic, ("retention.bytes", "5000000", "SET"), ("cleanup.policy", "delete", "APPEND")) is None
    now = configs_of(admin, topic)
    assert (now["retention.bytes"], now["retention.ms"], now["cleanup.policy"]) == ("5000000", "100000000", "delete")
    assert change(admin, topic, ("retention.ms", None, "DELETE")) is None
    assert configs_of(admin, topic)["retention.ms"] == "-1"
    for name, value, operation in [("cleanup.policy", "never", "SET"), ("cleanup.policy", "delete", "SUBTRACT"),
                                   ("retention.ms", "1", "APPEND"), ("no.such", "1", "SET"), ("retention.ms", "x", "SET")]:
        assert change(admin, topic, (name, value, operation)) == KafkaError.INVALID_CONFIG, (name, value, operation)
    whole = ConfigResource(ConfigResource.Type.TOPIC, topic, set_config={"segment.bytes": "100000"})
    assert error_of(admin.alter_configs([whole])[whole]) is None
    now = configs_of(admin, topic)
    assert (now["segment.bytes"], now["retention.bytes"]) == ("100000", "-1")
    node = str(next(iter(admin.list_topics(timeout=10).brokers)))
    refused = change(admin, node, ("log.retention.ms", "1", "SET"), kind=ConfigResource.Type.BROKER)
    assert refused == KafkaError.INVALID_REQUEST


def test_changed_settings_hold_at_once(kafka):
    admin, topic = admin_client(kafka), create_topic(kafka)
    produce(kafka, topic, [{"value": b"x" * 5000}])
    assert change(admin, topic, ("max.message.bytes", "1000", "SET")) is None
    try:
        produce(kafka, topic, [{"value": b"x" * 5000}])
        raise RuntimeError("the record is larger than the topic allows")
    except AssertionError as refused:
        assert "MSG_SIZE_TOO_LARGE" in str(refused), refused


def test_deleted_records_are_gone_and_the_rest_stays(kafka):
    admin, topic = admin_client(kafka), create_topic(kafka, partitions=2)
    places = produce(kafka, topic, [{"value": str(n), "partition": 0} for n in range(100)])
    assert places[-1] == (0, 99)
    assert delete_before(admin, topic, 40) == 40
    assert earliest(admin, topic) == 40
    assert [m.offset() for m in read_partition(kafka, topic, 60)] == list(range(40, 100))
    assert delete_before(admin, topic, 10) == 40, "a log's start never moves down"
    assert delete_before(admin, topic, -1, partition=1) == 0
    beyond = TopicPartition(topic, 0, 101)
    assert error_of(admin.delete_records([beyond])[beyond]) == KafkaError.OFFSET_OUT_OF_RANGE
    assert delete_before(admin, topic, -1) == 100
    assert produce(kafka, topic, [{"value": "next", "partition": 0}]) == [(0, 100)]
    assert [m.value() for m in read_partition(kafka, topic, 1)] == [b"next"]


def test_queues_are_altered_by_their_own_protocol_only(kafka, amqp):
    admin = admin_client(kafka)
    with Amqp(amqp) as channel:
        name = queue(channel, durable=True)
        for body in ("1", "2"):
            publish(channel, name, body)
        assert grow(admin, name, 2) == KafkaError.INVALID_PARTITIONS
        assert change(admin, name, ("retention.ms", "1", "SET")) == KafkaError.INVALID_REQUEST
        place = TopicPartition(name, 0, -1)
        assert error_of(admin.delete_records([place])[place]) == KafkaError.POLICY_VIOLATION
        assert ready(channel, name) == 2


def test_alterations_survive(kafka, broker):
    topic = create_topic(kafka, partitions=1, **{"retention.ms": 100_000_000})
    produce(kafka, topic, [{"value": str(n)} for n in range(10)])
    admin = admin_client(kafka)
    assert grow(admin, topic, 5) is None
    assert change(admin, topic, ("retention.bytes", "5000000", "SET")) is None
    assert delete_before(admin, topic, 7) == 7
    produce(kafka, topic, [{"value": "x", "partition": 4}])
    broker.kill()
    broker.start()
    admin = admin_client(kafka)
    assert partitions_of(admin, topic) == 5
    now = configs_of(admin, topic)
    assert (now["retention.bytes"], now["retention.ms"]) == ("5000000", "100000000")
    assert earliest(admin, topic) == 7 and len(read_partition(kafka, topic, 3)) == 3
    assert read_partition(kafka, topic, 1, 4)[0].value() == b"x"
    assert produce(kafka, topic, [{"value": "y", "partition": 3}]) == [(3, 0)]


def test_the_command_line_alters_topics(kafka):
    topic = create_topic(kafka, partitions=2)

    def ringmain(command, *options):
        line = [BINARY, "topic", command, topic, *options, "--bootstrap", kafka]
        return subprocess.run(line, capture_output=True, text=True, timeout=30)

    done = ringmain("alter", "--partitions", "3", "--config", "retention.ms=5000000", "--config", "retention.bytes=7000000")
    assert done.returncode == 0, done.stderr
    shown = ringmain("describe").stdout.splitlines()
    assert "partitions 3" in shown and "config retention.ms=5000000" in shown, shown
    assert ringmain("alter", "--config", "retention.ms=").returncode == 0
    shown = ringmain("describe").stdout.splitlines()
    assert "config retention.bytes=7000000" in shown and not any("retention.ms" in line for line in shown), shown
    refused = ringmain("alter", "--partitions", "2")
    assert refused.returncode == 1 and topic in refused.stderr, refused
