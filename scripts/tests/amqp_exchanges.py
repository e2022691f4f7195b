"""Routing: the four types, exchanges bound to exchanges, alternates, unbinding, predeclared names."""
from clients import Amqp, drain, publish, queue, unique


def exchange(channel, kind, **options):
    name = unique(kind)
    channel.exchange_declare(name, kind, durable=True, **options)
    return name


def test_direct(amqp):
    with Amqp(amqp) as channel:
        name, red, both = exchange(channel, "direct"), queue(channel), queue(channel)
        channel.queue_bind(red, name, "red")
        channel.queue_bind(both, name, "red")
        channel.queue_bind(both, name, "blue")
        for key in ("red", "blue", "green", ""):
            publish(channel, key, key, exchange=name)
        assert drain(channel, red) == ["red"] and drain(channel, both) == ["red", "blue"]
        channel.queue_unbind(both, name, "red")
        publish(channel, "red", "again", exchange=name)
        assert drain(channel, red) == ["again"] and drain(channel, both) == []


def test_topic_patterns(amqp):
    patterns = {"#": lambda w: True, "*": lambda w: len(w) == 1, "a.#": lambda w: w[:1] == ["a"],
                "#.z": lambda w: w[-1:] == ["z"], "a.*.z": lambda w: len(w) == 3 and w[0] == "a" and w[2] == "z",
                "*.b.#": lambda w: len(w) >= 2 and w[1] == "b", "a.#.z": lambda w: len(w) >= 2 and w[0] == "a" and w[-1] == "z"}
    keys = ["a", "z", "a.z", "a.b", "a.b.z", "a.b.c.z", "b.b.b", "a..z", "x.y"]
    with Amqp(amqp) as channel:
        name = exchange(channel, "topic")
        queues = {pattern: queue(channel) for pattern in patterns}
        for pattern, bound in queues.items():
            channel.queue_bind(bound, name, pattern)
        for key in keys:
            publish(channel, key, key, exchange=name)
        for pattern, matches in patterns.items():
            assert drain(channel, queues[pattern]) == [k for k in keys if matches(k.split("."))], pattern


def test_fanout_ignores_the_key(amqp):
    with Amqp(amqp) as channel:
        name, a, b = exchange(channel, "fanout"), queue(channel), queue(channel)
        channel.queue_bind(a, name, "ignored")
        channel.queue_bind(b, name)
        publish(channel, "anything", "x", exchange=name)
        assert drain(channel, a) == ["x"] and drain(channel, b) == ["x"]


def test_headers(amqp):
    with Amqp(amqp) as channel:
        name, every, some = exchange(channel, "headers"), queue(channel), queue(channel)
        channel.queue_bind(every, name, arguments={"x-match": "all", "type": "pdf", "pages": 3})
        channel.queue_bind(some, name, arguments={"x-match": "any", "type": "pdf", "pages": 3})
        for body, headers in (("1", {"type": "pdf", "pages": 3, "more": 1}), ("2", {"pages": 3}), ("3", {"pages": "3"}),
                              ("4", {}), ("5", {"type": "pdf"})):
            publish(channel, "", body, exchange=name, headers=headers)
        assert drain(channel, every) == ["1"] and drain(channel, some) == ["1", "2", "5"]


def test_exchange_to_exchange(amqp):
    with Amqp(amqp) as channel:
        outer, inner, end = exchange(channel, "topic"), exchange(channel, "fanout"), queue(channel)
        channel.exchange_bind(inner, outer, "order.#")
        channel.exchange_bind(outer, inner)  # a cycle must end
        channel.queue_bind(end, inner)
        channel.queue_bind(end, outer, "order.*")
        publish(channel, "order.eu", "once", exchange=outer)
        publish(channel, "invoice", "never", exchange=outer)
        assert drain(channel, end) == ["once"], "one copy for each queue, however many ways lead there"
        channel.exchange_unbind(inner, outer, "order.#")
        publish(channel, "order.a.b", "x", exchange=outer)
        assert drain(channel, end) == []


def test_alternate_exchange(amqp):
    with Amqp(amqp) as channel:
        lost, found = exchange(channel, "fanout"), queue(channel)
        channel.queue_bind(found, lost)
        name = exchange(channel, "direct", arguments={"alternate-exchange": lost})
        publish(channel, "nobody", "x", exchange=name, mandatory=True)
        assert drain(channel, found) == ["x"]


def test_predeclared_exchanges(amqp):
    with Amqp(amqp) as channel:
        name = queue(channel)
        for kind in ("direct", "fanout", "topic", "headers"):
            channel.exchange_declare(f"amq.{kind}", passive=True)
        channel.queue_bind(name, "amq.topic", f"{name}.*")
        publish(channel, f"{name}.x", "x", exchange="amq.topic")
        assert drain(channel, name) == ["x"]


def test_carbon_copies(amqp):
    with Amqp(amqp) as channel:
        a, b, c = queue(channel), queue(channel), queue(channel)
        publish(channel, a, "x", headers={"CC": [b], "BCC": [c]})
        assert drain(channel, b) == ["x"] and drain(channel, c) == ["x"]
        _, properties, _ = channel.basic_get(a, auto_ack=True)
        assert properties.headers == {"CC": [b]}, properties.headers


def test_auto_delete_exchange_goes_with_its_last_binding(amqp):
    with Amqp(amqp) as channel:
        name, end = exchange(channel, "fanout", auto_delete=True), queue(channel)
        channel.queue_bind(end, name)
        channel.queue_unbind(end, name)
        channel.exchange_declare(name, "direct", durable=True)  # 406 if the old one were still there
        channel.exchange_delete(name)
