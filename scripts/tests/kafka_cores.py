"""Every core as a broker of its own (`core_listeners`): stock clients go to the core that owns what they ask for.

In: brokers of these tests' own, with two cores. Out: who is named as what, and how many letters the cores wrote to
each other meanwhile. Never: a client that knows anything but one address to begin with.
"""
import random
import re
import socket
import subprocess
import urllib.request
from contextlib import contextmanager

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from broker import Broker, host_and_port, until
from clients import QUIET, admin_client, consumer, create_topic, produce, read_partition, take, unique
from wire import Peer, batch, produce_error, produce_request

RECORDS = 1000
# Every record is a request of its own, so that one that hops is a letter there and one back.
ONE_BY_ONE = {"batch.num.messages": 1, "linger.ms": 0}
# What is written between cores beside records: the catalog, topics, producer ids, these very metrics.
LETTERS_BESIDE = RECORDS // 5


@contextmanager
def broker_of(name, cores=2, core_listeners="true", **settings):
    with Broker(name, cores=cores, core_listeners=core_listeners, **settings) as broker:
        yield broker


def metric(broker, name):
    """The sum of a metric over its labels."""
    with urllib.request.urlopen(f"http://{broker.admin}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return sum(int(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\d+)$", text, re.MULTILINE))


def letters(broker):
    return metric(broker, "ringmain_mail_letters_total")


def brokers_of(kafka):
    return {node.id: (node.host, node.port) for node in admin_client(kafka).list_topics(timeout=10).brokers.values()}


def leaders_of(kafka, topic):
    partitions = admin_client(kafka).list_topics(topic, timeout=10).topics[topic].partitions
    assert all(p.replicas == p.isrs == [p.leader] for p in partitions.values()), partitions
    return {number: partition.leader for number, partition in partitions.items()}


def spread(count, partitions=4):
    return [{"value": str(n), "partition": n % partitions} for n in range(count)]


def test_one_port_is_one_broker():
    with broker_of("cores-one", core_listeners="false") as broker:
        assert list(brokers_of(broker.kafka).values()) == [host_and_port(broker.kafka)]
        assert set(leaders_of(broker.kafka, create_topic(broker.kafka, partitions=4)).values()) == {1}


def test_each_core_is_a_broker():
    with broker_of("cores-named", node_id=11) as broker:
        nodes = brokers_of(broker.kafka)
        assert set(nodes) == {11, 12} and nodes[11] == host_and_port(broker.kafka), nodes
        assert len({port for _, port in nodes.values()}) == 2, nodes
        leaders = leaders_of(broker.kafka, create_topic(broker.kafka, partitions=4))
        assert sorted(leaders.values()) == [11, 11, 12, 12], leaders
        for node, (host, port) in nodes.items():
            through = AdminClient({"bootstrap.servers": f"{host}:{port}", **QUIET})
            cluster = through.describe_cluster().result(15)
            assert {n.id: (n.host, n.port) for n in cluster.nodes} == nodes, f"through {node}"
            assert cluster.controller.id == 11
        with broker_of("cores-advertised", advertise="localhost") as other:
            names = brokers_of(other.kafka)
            assert {host for host, _ in names.values()} == {"localhost"}
            topic = create_topic(other.kafka, partitions=4)
            produce(other.kafka, topic, spread(100))
            assert sum(len(read_partition(other.kafka, topic, 25, p)) for p in range(4)) == 100


def produce_and_read(broker):
    """Produces one by one and reads in a group; the letters that the cores wrote meanwhile, for each half of it."""
    topic, group = create_topic(broker.kafka, partitions=4), unique("group")
    begun = letters(broker)
    produce(broker.kafka, topic, spread(RECORDS), **ONE_BY_ONE)
    produced = letters(broker)
    reader = consumer(broker.kafka, group)
    reader.subscribe([topic])
    values = {int(m.value()) for m in take(reader, RECORDS)}
    reader.commit(asynchronous=False)
    reader.close()
    assert values == set(range(RECORDS)), f"{len(values)} of {RECORDS}"
    assert metric(broker, "ringmain_appended_records_total") >= RECORDS
    return produced - begun, letters(broker) - produced


def test_no_record_hops_between_cores():
    with broker_of("cores-on") as broker:
        there, back = produce_and_read(broker)
    with broker_of("cores-off", core_listeners="false") as broker:
        there_off, back_off = produce_and_read(broker)
    print(f"   letters between cores for {RECORDS} records in and out: {there} and {back} with a port for each core, "
          f"{there_off} and {back_off} with one")
    assert there < LETTERS_BESIDE and back < LETTERS_BESIDE, (there, back)
    assert there_off > RECORDS // 2, there_off


def test_groups_live_on_their_core():
    with broker_of("cores-groups") as broker:
        topic, groups = create_topic(broker.kafka, partitions=2), sorted(unique("group") for _ in range(6))
        produce(broker.kafka, topic, spread(20, partitions=2))
        for group in groups:
            reader = consumer(broker.kafka, group)
            reader.subscribe([topic])
            assert len(take(reader, 20)) == 20
            reader.commit(asynchronous=False)
            reader.close()
        admin = admin_client(broker.kafka)
        listed = sorted(g.group_id for g in admin.list_consumer_groups().result(15).valid)
        assert listed == groups, f"each group once: {listed}"
        coordinators = {g.coordinator.id for g in
                        (future.result(15) for future in admin.describe_consumer_groups(groups).values())}
        assert coordinators == {1, 2}, coordinators
        said = subprocess.run([broker.binary, "group", "list", "--bootstrap", broker.kafka], capture_output=True,
                              text=True, timeout=30, check=True).stdout
        assert [line.split()[0] for line in said.splitlines()] == groups, said
        for group in groups:
            again = consumer(broker.kafka, group)
            again.subscribe([topic])
            produce(broker.kafka, topic, [{"value": "next", "partition": 0}])
            assert [m.value() for m in take(again, 1)] == [b"next"]
            again.commit(asynchronous=False)
            again.close()


def test_the_wrong_core_passes_on_what_it_is_asked():
    with broker_of("cores-wrong") as broker:
        topic = create_topic(broker.kafka, partitions=2)
        for host, port in brokers_of(broker.kafka).values():
            for partition in range(2):
                with Peer(f"{host}:{port}") as peer:
                    peer.send(produce_request(topic, batch([b"x"]), partition))
                    assert produce_error(peer) == 0, (port, partition)
        for partition in range(2):
            assert len(read_partition(broker.kafka, topic, 2, partition)) == 2


def free_ports(count):
    """The first of so many free ports in a row, below those that the system gives out by itself."""
    for first in random.sample(range(20000, 32000, count), 100):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for place, one in enumerate(sockets):
                one.bind(("127.0.0.1", first + place))
            return first
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise AssertionError("no free ports")


def test_clients_outlive_another_number_of_cores():
    broker = Broker("cores-changing", cores=2, core_listeners="true")
    broker.kafka = f"127.0.0.1:{free_ports(2)}"
    with broker:
        first = host_and_port(broker.kafka)[1]
        assert sorted(port for _, port in brokers_of(broker.kafka).values()) == [first, first + 1]
        topic, group = create_topic(broker.kafka, partitions=4), unique("group")
        reader = consumer(broker.kafka)
        reader.assign([TopicPartition(topic, partition, 0) for partition in range(4)])
        producer, delivered = Producer({"bootstrap.servers": broker.kafka, "enable.idempotence": True, **QUIET}), []
        sent = 0
        for cores in (2, 1, 2):
            if cores != broker.cores:
                broker.stop()
                broker.cores = cores
                broker.start()
            for _ in range(40):
                producer.produce(topic, str(sent), partition=sent % 4,
                                 on_delivery=lambda error, message: delivered.append(error))
                sent += 1
            assert producer.flush(60) == 0, f"not delivered with {cores} core(s)"
            assert delivered == [None] * sent, delivered
            member = consumer(broker.kafka, group)
            member.subscribe([topic])
            for client in (reader, member):
                got = sorted(int(m.value()) for m in take(client, 40, 60))
                assert got == list(range(sent - 40, sent)), f"with {cores} core(s): {got}"
            member.commit(asynchronous=False)
            member.close()
            assert len(brokers_of(broker.kafka)) == cores
        until(lambda: {b.id for b in producer.list_topics(timeout=10).brokers.values()} == {1, 2}, 30, "both brokers")
        reader.close()
