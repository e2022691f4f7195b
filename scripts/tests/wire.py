"""Hand-made bytes of both protocols, right and wrong, and a socket that waits for what comes back.

In: addresses and fields. Out: frames as bytes, and answers. Never: corrects a field; wrong is the point of it.
"""
import socket
import struct

from broker import host_and_port

ANSWER_SECONDS = 15


class Peer:
    def __init__(self, address):
        self.socket = socket.create_connection(host_and_port(address), timeout=ANSWER_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # closed by the peer; read() will say so

    def read(self, count):
        """Exactly `count` bytes, or fewer if the peer closed."""
        data = b""
        while len(data) < count:
            try:
                piece = self.socket.recv(count - len(data))
            except ConnectionResetError:
                return data
            if not piece:
                return data
            data += piece
        return data

    def read_to_end(self):
        """Everything until the peer closes; TimeoutError if it does not."""
        data = b""
        while piece := self.read(65536):
            data += piece
            if len(piece) < 65536:
                return data
        return data


# Kafka

def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


CRC_TABLE = crc_table()


def varint(n):
    n = (n << 1) ^ (n >> 63)
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def batch(values, count=None, last=None, attributes=0, body=None, crc=None, magic=2, length=None):
    """A record batch v2 of values without keys; every named field can be made to lie."""
    if body is None:
        body = b""
        for n, value in enumerate(values):
            record = b"\0" + varint(0) + varint(n) + varint(-1) + varint(len(value)) + value + varint(0)
            body += varint(len(record)) + record
    count = len(values) if count is None else count
    last = len(values) - 1 if last is None else last
    checked = struct.pack(">hiqqqhii", attributes, last, 0, 0, -1, -1, -1, count) + body
    crc = crc32c(checked) if crc is None else crc
    length = len(checked) + 9 if length is None else length
    return struct.pack(">qiibI", 0, length, 0, magic, crc) + checked


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def kafka_request(key, version, body, correlation=1, size=None):
    """Request header v1 (keys and versions below the flexible ones)."""
    payload = struct.pack(">hhi", key, version, correlation) + text("wire") + body
    return struct.pack(">i", len(payload) if size is None else size) + payload


def produce_request(topic, records, partition=0, records_size=None):
    size = len(records) if records_size is None else records_size
    body = struct.pack(">h", -1) + struct.pack(">hi", -1, 10_000) + struct.pack(">i", 1) + text(topic)
    return kafka_request(0, 7, body + struct.pack(">iii", 1, partition, size) + records)


def produce_error(peer):
    """The error code in a Produce v7 response of one partition; None if the peer closed instead."""
    head = peer.read(4)
    if len(head) < 4:
        return None
    response = peer.read(struct.unpack(">i", head)[0])
    at = 4 + 4
    at += 2 + struct.unpack_from(">h", response, at)[0] + 4 + 4
    return struct.unpack_from(">h", response, at)[0]


# AMQP

HEADER = b"AMQP\0\0\x09\x01"
METHOD, CONTENT, BODY, HEARTBEAT, END = 1, 2, 3, 8, b"\xce"


def frame(kind, channel, payload, size=None, end=END):
    return struct.pack(">BHI", kind, channel, len(payload) if size is None else size) + payload + end


def method(channel, class_id, method_id, arguments=b"", **wrong):
    return frame(METHOD, channel, struct.pack(">HH", class_id, method_id) + arguments, **wrong)


def short(value):
    return bytes([len(value)]) + value.encode()


def long(value):
    return struct.pack(">I", len(value)) + value


def read_frame(peer):
    """(kind, channel, payload) or None if the peer closed."""
    head = peer.read(7)
    if len(head) < 7:
        return None
    kind, channel, size = struct.unpack(">BHI", head)
    payload = peer.read(size + 1)
    assert len(payload) == size + 1 and payload[-1:] == END, "the broker's own frame is broken"
    return kind, channel, payload[:-1]


def read_method(peer):
    """(class, method, arguments), past heartbeats; None if the peer closed."""
    while (got := read_frame(peer)) is not None:
        if got[0] == METHOD:
            return (*struct.unpack_from(">HH", got[2]), got[2][4:])
    return None


def log_in(peer, channel=1):
    """Start, tune, open, and one open channel."""
    peer.send(HEADER)
    assert read_method(peer)[:2] == (10, 10)
    peer.send(method(0, 10, 11, long(b"") + short("PLAIN") + long(b"\0guest\0guest") + short("en_US")))
    name, number, tune = read_method(peer)
    assert (name, number) == (10, 30)
    peer.send(method(0, 10, 31, tune[:8]) + method(0, 10, 40, short("/") + short("") + b"\0"))
    assert read_method(peer)[:2] == (10, 41)
    if channel:
        peer.send(method(channel, 20, 10, short("")))
        assert read_method(peer)[:2] == (20, 11)
    return struct.unpack(">HIH", tune[:8])


TAKEN = -1


def refusal(peer):
    """How the peer ended it: the reply code of connection.close or channel.close, 0 for a plain close, or TAKEN
    if it declared a queue instead."""
    while (got := read_method(peer)) is not None:
        if got[:2] == (50, 11):
            return TAKEN
        if got[:2] in ((10, 50), (20, 40)):
            return struct.unpack_from(">H", got[2])[0]
    return 0
