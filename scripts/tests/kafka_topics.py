"""Topics as the admin client sees them: create, describe, list, delete, and the errors of each."""
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import ConfigResource, NewTopic

from broker import until
from clients import admin_client, create_topic, produce, read_partition, unique


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
