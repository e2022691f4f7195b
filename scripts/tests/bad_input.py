"""Wrong bytes: the protocol's own error or a clean close, no memory, and the neighbours do not notice."""
import contextlib
import random
import struct

from clients import Amqp, create_topic, drain, produce, publish, queue, read_partition
from wire import (BODY, CONTENT, HEADER, METHOD, TAKEN, Peer, batch, frame, kafka_request, log_in, long, method, produce_error,
                  produce_request, read_frame, refusal, short, text)

RESIDENT_KIB_MAX = 32 * 1024
CORRUPT_MESSAGE, INVALID_RECORD, MESSAGE_TOO_LARGE, UNSUPPORTED_VERSION, UNSUPPORTED_FORMAT = 2, 87, 10, 35, 43
UNSUPPORTED_CODEC = 76
HUGE = 0x7FFFFFFF


@contextlib.contextmanager
def unharmed(kafka, amqp, broker):
    """Around bad input: connections that were open before still work after, and memory has not moved."""
    topic = create_topic(kafka)
    with Amqp(amqp) as channel, Peer(kafka) as neighbour:
        name = queue(channel)
        neighbour.send(produce_request(topic, batch([b"before"])))
        assert produce_error(neighbour) == 0
        before = broker.resident_kib()
        yield topic
        grown = broker.resident_kib() - before
        print(f"   resident memory moved by {grown} KiB")
        assert grown < RESIDENT_KIB_MAX, f"{grown} KiB more memory than before"
        publish(channel, name, "still here")
        assert drain(channel, name) == ["still here"]
        neighbour.send(produce_request(topic, batch([b"after"])))
        assert produce_error(neighbour) == 0
    values = [m.value() for m in read_partition(kafka, topic, 2)]
    assert values == [b"before", b"after"], f"bad input was stored: {values}"


def garbage(seed, size):
    return random.Random(seed).randbytes(size)


def test_garbage_is_closed(kafka, amqp, broker):
    with unharmed(kafka, amqp, broker):
        for seed in range(20):
            for address in (kafka, amqp):
                with Peer(address) as peer:
                    # The sign bit makes it an impossible length for Kafka and no header for AMQP.
                    peer.send(b"\xff" + garbage(seed, 5000))
                    peer.read_to_end()


def test_other_protocols_are_closed(kafka, amqp, broker):
    with unharmed(kafka, amqp, broker):
        for hello in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)):
            for address in (kafka, amqp):
                with Peer(address) as peer:
                    peer.send(hello + bytes(1000))
                    peer.read_to_end()
        with Peer(amqp) as peer:
            peer.send(b"AMQP\0\0\x08\x00")
            assert peer.read_to_end()[:4] == b"AMQP", "the right protocol header is the answer to a wrong one"


def test_impossible_kafka_lengths_are_closed(kafka, amqp, broker):
    with unharmed(kafka, amqp, broker):
        for size in (HUGE, HUGE - 1, 1 << 30, 0, -1, -HUGE):
            with Peer(kafka) as peer:
                peer.send(kafka_request(18, 0, b"", size=size))
                peer.read_to_end()


def test_promised_bytes_that_never_come_cost_nothing(kafka, amqp, broker):
    with unharmed(kafka, amqp, broker), contextlib.ExitStack() as stack:
        for _ in range(50):
            peer = stack.enter_context(Peer(kafka))
            peer.send(kafka_request(0, 7, b"", size=1_000_000))
            peer = stack.enter_context(Peer(amqp))
            log_in(peer)
            peer.send(struct.pack(">BHI", BODY, 1, 100_000) + b"x")


def test_unknown_kafka_versions(kafka, amqp, broker):
    with unharmed(kafka, amqp, broker):
        with Peer(kafka) as peer:
            # A flexible header ends with its tags; two empty compact texts and tags follow.
            peer.send(kafka_request(18, 99, b"\0\1\1\0", correlation=77))
            size = struct.unpack(">i", peer.read(4))[0]
            correlation, error = struct.unpack_from(">ih", peer.read(size))
            assert (correlation, error) == (77, UNSUPPORTED_VERSION), "ApiVersions answers in version 0 with error 35"
            peer.send(kafka_request(18, 0, b"", correlation=78))  # and the client tries again on the same connection
            size = struct.unpack(">i", peer.read(4))[0]
            assert struct.unpack_from(">ih", peer.read(size)) == (78, 0)
        for key, version in ((0, 99), (3, 999), (999, 0), (-1, 0), (1, -1)):
            with Peer(kafka) as peer:
                peer.send(kafka_request(key, version, bytes(64)))
                peer.read_to_end()


def test_lying_kafka_counts(kafka, amqp, broker):
    with unharmed(kafka, amqp, broker) as topic:
        produce_head = struct.pack(">hhi", -1, -1, 1000)
        requests = [
            kafka_request(3, 1, struct.pack(">i", HUGE)),                                     # Metadata: topics
            kafka_request(3, 1, struct.pack(">i", 1) + struct.pack(">h", 32767) + b"short"),  # a string past the end
            kafka_request(3, 1, struct.pack(">i", 1) + struct.pack(">h", -5)),
            kafka_request(0, 7, produce_head + struct.pack(">i", HUGE)),                      # Produce: topics
            kafka_request(0, 7, produce_head + struct.pack(">i", 1) + text(topic) + struct.pack(">i", HUGE)),
            produce_request(topic, batch([b"x"]), records_size=HUGE),
            produce_request(topic, batch([b"x"]), records_size=-7),
            kafka_request(3, 9, b"\0" + b"\xff" * 20),                                        # a varint without an end
        ]
        for request in requests:
            with Peer(kafka) as peer:
                peer.send(request)
                peer.read_to_end()


def test_broken_batches_are_refused(kafka, amqp, broker):
    with unharmed(kafka, amqp, broker) as topic:
        right = batch([b"one", b"two"])
        other_body = random.Random(3).randbytes(100)
        refused = {
            "wrong checksum": batch([b"x"], crc=0x12345678),
            "a bit flipped in a value": right[:-3] + bytes([right[-3] ^ 1]) + right[-2:],
            "cut short": right[:-5],
            "only half a header": right[:30],
            "one byte": b"\0",
            "length past the end": batch([b"x"], length=10_000),
            "length of two gigabytes": batch([b"x"], length=HUGE),
            "negative length": batch([b"x"], length=-1),
            "magic 1": batch([b"x"], magic=1),
            "magic 9": batch([b"x"], magic=9),
            "no records": batch([]),
            "two billion records": batch([b"x"], count=HUGE, last=HUGE - 1),
            "negative count": batch([b"x"], count=-1),
            "count and last offset disagree": batch([b"x"], count=1, last=5),
            "garbage after the batch": right + garbage(1, 10),
            "a control batch": batch([b"x"], attributes=0x20),
            "unknown codec": batch([b"x"], attributes=7),
        }
        answers = {}
        for what, records in refused.items():
            with Peer(kafka) as peer:
                peer.send(produce_request(topic, records))
                answers[what] = produce_error(peer)
        fine = (None, CORRUPT_MESSAGE, INVALID_RECORD, MESSAGE_TOO_LARGE, UNSUPPORTED_FORMAT, UNSUPPORTED_CODEC)
        wrong = {what: error for what, error in answers.items() if error not in fine}
        assert not wrong, f"answered with {wrong}"
        # Bytes that only a reader of records sees: whether taken or refused, nothing may break.
        other = create_topic(kafka)
        for what in (batch([b"x"] * 3, body=other_body), batch([b"x"], attributes=4, body=other_body)):
            with Peer(kafka) as peer:
                peer.send(produce_request(other, what))
                assert produce_error(peer) in (None, 0, CORRUPT_MESSAGE, INVALID_RECORD)
        assert produce(kafka, topic + "-other", [{"value": "x", "partition": 0}]) == [(0, 0)]


def test_broken_amqp_frames(kafka, amqp, broker):
    declare = struct.pack(">H", 0) + short("x") + b"\0"
    wrong = {
        "no end byte": (frame(METHOD, 1, struct.pack(">HH", 20, 20) + b"\1", end=b"\0"), {501}),
        "size of two gigabytes": (frame(METHOD, 1, b"", size=HUGE, end=b""), {501}),
        "size above the agreed one": (frame(BODY, 1, bytes(200_000)), {501, 505}),
        "unknown frame type": (frame(77, 1, b"x"), {501}),
        "unknown class": (method(1, 999, 1), {503, 540, 502}),
        "unknown method": (method(1, 50, 999), {503, 540, 502}),
        "method without its arguments": (method(1, 50, 10), {501, 502}),
        "short text past the end": (method(1, 50, 10, struct.pack(">H", 0) + b"\xffabc"), {501, 502}),
        "table of two gigabytes": (method(1, 50, 10, declare + struct.pack(">I", HUGE)), {501, 502}),
        "table with an unknown tag": (method(1, 50, 10, declare + long(short("k") + b"?1234")), {501, 502}),
        "tables in tables": (method(1, 50, 10, declare + long(nested(10_000))), {501, 502, 506, TAKEN}),
        "method cut off": (frame(METHOD, 1, b"\0\x32\0"), {501, 502, 503}),
        "content header without publish": (frame(CONTENT, 1, struct.pack(">HHQH", 60, 0, 5, 0)), {505}),
        "body without publish": (frame(BODY, 1, b"x"), {505}),
        "body longer than announced": (publish_bytes(3) + frame(BODY, 1, b"four"), {501, 505}),
        "a method between header and body": (publish_bytes(3) + method(1, 20, 20, b"\1"), {505}),
        "an endless body announced": (publish_bytes(1 << 62), {501, 505, 311, 406, 502}),
        "a channel that is not open": (method(9, 50, 10, declare), {504, 501}),
        "a channel above the limit": (method(65_535, 20, 10, short("")), {504, 530, 503, 501}),
        "the same channel twice": (method(1, 20, 10, short("")), {504}),
        "connection method on a channel": (method(1, 10, 40, short("/") + short("") + b"\0"), {503, 504}),
        "log in twice": (method(0, 10, 40, short("/") + short("") + b"\0"), {503, 504, 530}),
        "queue method on channel zero": (method(0, 50, 10, declare), {503, 504, 541, 502}),
    }
    with unharmed(kafka, amqp, broker):
        for what, (data, codes) in wrong.items():
            with Peer(amqp) as peer:
                log_in(peer)
                peer.send(data)
                code = refusal(peer)
                assert code in codes | {0}, f"{what}: {code} is none of {sorted(codes)}"


def nested(depth):
    """A table in a table in a table: each level is a one-letter key, tag F and the length of the rest."""
    inner = b""
    for _ in range(depth):
        inner = short("k") + b"F" + struct.pack(">I", len(inner)) + inner
    return inner


def publish_bytes(size):
    return method(1, 60, 40, struct.pack(">H", 0) + short("") + short("x") + b"\0") + \
        frame(CONTENT, 1, struct.pack(">HHQH", 60, 0, size, 0))


def test_amqp_before_log_in(kafka, amqp, broker):
    wrong = [HEADER + method(1, 20, 10, short("")), HEADER + method(0, 10, 40, short("/") + short("") + b"\0"),
             HEADER + frame(METHOD, 0, bytes(4), size=HUGE), HEADER + garbage(3, 1000),
             HEADER + method(0, 10, 11, long(b"") + short("PLAIN") + long(b"guest") + short("en_US"))]
    with unharmed(kafka, amqp, broker):
        for data in wrong:
            with Peer(amqp) as peer:
                peer.send(data)
                assert read_frame(peer) is not None, "connection.start comes first"
                refusal(peer)


def test_connections_that_break_off(kafka, amqp, broker):
    with unharmed(kafka, amqp, broker) as topic:
        request = produce_request(topic, batch([b"half"]))
        for cut in range(0, len(request) - 1, 7):
            with Peer(kafka) as peer:
                peer.send(request[:cut])
        for cut in range(1, 8):
            with Peer(amqp) as peer:
                peer.send(HEADER[:cut])
        with Peer(amqp) as peer:
            log_in(peer)
            peer.send(publish_bytes(1000) + frame(BODY, 1, bytes(10))[:9])
