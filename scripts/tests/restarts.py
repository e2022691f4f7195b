"""What was acknowledged is there after SIGTERM and after kill -9, under the same names and offsets."""
from amqp_connections import exists
from clients import (Amqp, admin_client, connect, consumer, create_topic, deliveries, get, produce, publish, queue,
                     read_partition, ready, take, unique)


def test_records_and_groups_survive(kafka, broker):
    topic, group = create_topic(kafka, partitions=3), unique("group")
    for round_, restart in enumerate((broker.stop, broker.kill)):
        sent = [{"value": f"{round_} {n}", "partition": n % 3} for n in range(300)]
        places = produce(kafka, topic, sent)
        reader = consumer(kafka, group)
        reader.subscribe([topic])
        read = take(reader, 200)
        assert len(read) == 200
        reader.commit(asynchronous=False)
        restart()
        reader.close()
        broker.start()
        for partition in range(3):
            got = read_partition(kafka, topic, 100 * (round_ + 1), partition)
            by_offset = {m.offset(): m.value().decode() for m in got}
            for (p, offset), record in zip(places, sent):
                assert p != partition or by_offset[offset] == record["value"]
        again = consumer(kafka, group)
        again.subscribe([topic])
        rest = take(again, 100)
        again.commit(asynchronous=False)
        again.close()
        assert {m.value() for m in read}.isdisjoint({m.value() for m in rest}) and len(rest) == 100


def test_an_idempotent_producer_goes_on(kafka, broker):
    topic = create_topic(kafka)
    for _ in range(2):
        produce(kafka, topic, [{"value": str(n)} for n in range(200)], **{"enable.idempotence": True})
        broker.kill()
        broker.start()
    got = [int(m.value()) for m in read_partition(kafka, topic, 400)]
    assert got == [*range(200), *range(200)]


def test_a_deleted_topic_stays_deleted(kafka, broker):
    topic, kept = create_topic(kafka), create_topic(kafka)
    produce(kafka, topic, [{"value": "x"}])
    admin = admin_client(kafka)
    admin.delete_topics([topic])[topic].result(15)
    broker.kill()
    broker.start()
    topics = admin_client(kafka).list_topics(timeout=10).topics
    assert topic not in topics and kept in topics


def test_queues_exchanges_and_bindings_survive(amqp, broker):
    for restart in (broker.stop, broker.kill):
        with Amqp(amqp) as channel:
            exchange, name = unique("exchange"), queue(channel, x_max_length=1000)
            channel.exchange_declare(exchange, "topic", durable=True)
            channel.queue_bind(name, exchange, "a.#")
            for n in range(50):
                publish(channel, "a.b", str(n), exchange=exchange, delivery_mode=2, headers={"n": n})
            held = deliveries(channel, name, 10)
            for method, _, _ in held[:5]:
                channel.basic_ack(method.delivery_tag)
            held_numbers = {int(body) for _, _, body in held[5:]}
            ready(channel, name)  # the acks before it were seen
            restart()
        broker.start()
        with Amqp(amqp) as channel:
            channel.queue_declare(name, durable=True, arguments={"x-max-length": 1000})
            publish(channel, "a", "after", exchange=exchange, delivery_mode=2)
            got = []
            while (message := get(channel, name)) is not None:
                got.append(message)
            bodies = [m[2].decode() for m in got]
            # Acks are not confirmed, so after kill -9 the last of them may be forgotten; nothing else may.
            assert bodies[-46:] == [*map(str, range(5, 50)), "after"], bodies
            assert len(bodies) == 46 or restart == broker.kill, bodies
            assert all(m[0].redelivered for m in got if m[2] != b"after" and int(m[2]) in held_numbers)
            assert got[-2][1].headers == {"n": 49}


def test_exclusive_queues_do_not_survive(amqp, broker):
    connection = connect(amqp)
    name = connection.channel().queue_declare("", exclusive=True).method.queue
    broker.kill()
    broker.start()
    other = connect(amqp)
    assert not exists(other, name)
    other.close()
