"""A broker with nothing to do uses next to nothing. Printed, and bounded far above any honest figure."""
import os
import time

from clients import Amqp, consumer, create_topic, take
from confluent_kafka import TopicPartition

SECONDS = 3


def test_idle_connections_cost_no_cpu(kafka, amqp, broker):
    topic = create_topic(kafka, partitions=4)
    reader = consumer(kafka)
    reader.assign([TopicPartition(topic, p, 0) for p in range(4)])
    with Amqp(amqp) as channel:
        name = channel.queue_declare("", exclusive=True).method.queue
        channel.basic_consume(name, lambda *_: None)
        take(reader, 1, 1.0)
        before = broker.cpu_ticks()
        time.sleep(SECONDS)  # the measurement itself
        used = broker.cpu_ticks() - before
    reader.close()
    a_second = os.sysconf("SC_CLK_TCK")
    print(f"   idle with a waiting Kafka consumer and an AMQP consumer: {used} of {SECONDS * a_second} ticks of one core, "
          f"{broker.resident_kib() / 1024:.0f} MiB resident")
    assert used < SECONDS * a_second // 5, "a busy loop"
