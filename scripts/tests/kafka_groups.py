"""Consumer groups: assignment, rebalance, commit and resume, as librdkafka does them."""
import time

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from clients import admin_client, consumer, create_topic, nothing_more, produce, take, unique

MEMBER = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 500, "topic_metadata_refresh_interval_ms": 1000}


def poll_until(readers, condition, seconds=40):
    """Polls every reader in turn, which is what drives a rebalance, until the condition holds."""
    seen, deadline = [[] for _ in readers], time.monotonic() + seconds
    while not condition(seen):
        assert time.monotonic() < deadline, f"assignments {[len(r.assignment()) for r in readers]}"
        for place, reader in enumerate(readers):
            message = reader.poll(0.1)
            if message is not None:
                assert not message.error(), message.error()
                seen[place].append(message)
    return seen


def parts(reader):
    return {p.partition for p in reader.assignment()}


def share(strategy, kafka):
    topic, group = create_topic(kafka, partitions=4), unique("group")
    settings = {**MEMBER, "partition_assignment_strategy": strategy}
    first = consumer(kafka, group, **settings)
    first.subscribe([topic])
    poll_until([first], lambda _: parts(first) == {0, 1, 2, 3})
    second = consumer(kafka, group, **settings)
    second.subscribe([topic])
    both = [first, second]
    poll_until(both, lambda _: len(parts(first)) == 2 and len(parts(second)) == 2)
    assert parts(first) | parts(second) == {0, 1, 2, 3}
    produce(kafka, topic, [{"value": str(n), "partition": n % 4} for n in range(100)])
    seen = poll_until(both, lambda seen: sum(map(len, seen)) >= 100)
    for reader, mine in zip(both, seen):
        assert {m.partition() for m in mine} == parts(reader), "a record of a partition not assigned"
    assert sorted(int(m.value()) for mine in seen for m in mine) == list(range(100))
    second.close()
    poll_until([first], lambda _: parts(first) == {0, 1, 2, 3})
    first.close()


def test_two_consumers_share_and_one_takes_over(kafka):
    share("range", kafka)


def test_cooperative_rebalance(kafka):
    share("cooperative-sticky", kafka)


def test_a_group_resumes_where_it_committed(kafka):
    topic, group = create_topic(kafka, partitions=2), unique("group")
    produce(kafka, topic, [{"value": str(n), "partition": n % 2} for n in range(100)])
    reader = consumer(kafka, group)
    reader.subscribe([topic])
    first = take(reader, 60)
    assert len(first) == 60
    reader.commit(asynchronous=False)
    committed = reader.committed([TopicPartition(topic, p) for p in (0, 1)], timeout=10)
    assert sum(c.offset for c in committed) == 60, committed
    take(reader, 10)
    reader.close()  # ten more were read, but not committed
    again = consumer(kafka, group)
    again.subscribe([topic])
    rest = take(again, 40)
    nothing_more(again)
    again.close()
    assert {int(m.value()) for m in first} | {int(m.value()) for m in rest} == set(range(100))
    assert len(rest) == 40, len(rest)


def test_commit_keeps_offset_and_metadata(kafka):
    topic, group = create_topic(kafka), unique("group")
    reader = consumer(kafka, group)
    reader.commit(offsets=[TopicPartition(topic, 0, 42, metadata="note")], asynchronous=False)
    kept = reader.committed([TopicPartition(topic, 0)], timeout=10)[0]
    assert (kept.offset, kept.metadata) == (42, "note"), kept
    assert reader.committed([TopicPartition(create_topic(kafka), 0)], timeout=10)[0].offset < 0
    reader.close()


def test_a_member_that_stops_its_heartbeats_is_replaced(kafka):
    topic, group = create_topic(kafka, partitions=2), unique("group")
    # max.poll.interval.ms: the first member stops polling, leaves, and its partitions go to the second.
    first = consumer(kafka, group, **MEMBER, max_poll_interval_ms=6000)
    first.subscribe([topic])
    poll_until([first], lambda _: len(parts(first)) == 2)
    second = consumer(kafka, group, **MEMBER)
    second.subscribe([topic])
    poll_until([second], lambda _: len(parts(second)) == 2)
    second.close()
    first.close()


def test_new_groups_start_at_the_end_when_told(kafka):
    topic = create_topic(kafka)
    produce(kafka, topic, [{"value": "before"}])
    reader = consumer(kafka, auto_offset_reset="latest", enable_partition_eof=True)
    reader.subscribe([topic])
    deadline = time.monotonic() + 20
    while (event := reader.poll(0.5)) is None or not event.error():
        assert time.monotonic() < deadline, "no end of partition"
        assert event is None, f"a record from before: {event.value()}"
    produce(kafka, topic, [{"value": "after"}])
    assert [m.value() for m in take(reader, 1)] == [b"after"]
    reader.close()


def test_groups_are_listed_described_and_deleted(kafka):
    topic, group, admin = create_topic(kafka), unique("group"), admin_client(kafka)
    reader = consumer(kafka, group, client_id="watcher")
    reader.subscribe([topic])
    produce(kafka, topic, [{"value": "x"}])
    assert len(take(reader, 1)) == 1
    reader.commit(asynchronous=False)
    assert group in {g.group_id for g in admin.list_consumer_groups().result(15).valid}
    described = admin.describe_consumer_groups([group])[group].result(15)
    assert [m.client_id for m in described.members] == ["watcher"], described.members
    assert [(p.topic, p.partition) for p in described.members[0].assignment.topic_partitions] == [(topic, 0)]
    reader.close()
    offsets = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(15)
    assert [(p.topic, p.offset) for p in offsets.topic_partitions] == [(topic, 1)], offsets.topic_partitions
    admin.delete_consumer_groups([group])[group].result(15)
    assert group not in {g.group_id for g in admin.list_consumer_groups().result(15).valid}
