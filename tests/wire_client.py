#!/usr/bin/env python3
"""A wayside client written from docs/wire.md alone, with nothing but the standard library.

    python3 tests/wire_client.py uds /run/shop/shop.sock
    python3 tests/wire_client.py tcp 127.0.0.1:7471 /path/to/key

It speaks the protocol `chat` version 1 of this project's tests: says hello, sends an event, calls,
asks for a sign that all was handled, takes a push, withdraws a call, says goodbye, and prints what it got.
"""

import hashlib
import hmac
import os
import socket
import struct
import sys

# ---- postcard ----


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def text(value):
    encoded = value.encode()
    return varint(len(encoded)) + encoded


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        assert self.at + count <= len(self.data), "cut off"
        taken = self.data[self.at : self.at + count]
        self.at += count
        return taken

    def varint(self):
        number, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7

    def text(self):
        return self.take(self.varint()).decode()

    def rest(self):
        return self.take(len(self.data) - self.at)


# ---- heads ----

HELLO, WELCOME, REFUSE, EVENT, REQUEST, REPLY, FAILED, CANCEL, PUSH = range(9)
PING, PONG, SYNC, ACK, DRAIN, GOODBYE, FAREWELL, ABORT = range(9, 17)


def hello(protocol, version, frame_len_max=1 << 20, silence_ms=15000, epoch=None):
    return (
        b"WAYS"
        + varint(1)
        + text(protocol)
        + varint(version)
        + varint(frame_len_max)
        + varint(silence_ms)
        + (epoch or os.urandom(16))
    )


# ---- transports ----


def connect_uds(path):
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.connect(path)
    return link


def connect_tcp(address, key_path):
    host, port = address.rsplit(":", 1)
    link = socket.create_connection((host, int(port)))
    with open(key_path, "rb") as file:
        key = bytes.fromhex(file.read().decode().strip())
    ours = os.urandom(32)
    link.sendall(b"WAYTCP\x01\n" + ours)
    answer = receive(link, 64)
    theirs, proof = answer[:32], answer[32:]
    ip, port = link.getpeername()[:2]
    server = b"\0" * 10 + b"\xff\xff" + socket.inet_aton(ip) + struct.pack(">H", port)

    def prove(label):
        return hmac.new(key, label + server + ours + theirs, hashlib.sha256).digest()

    assert hmac.compare_digest(proof, prove(b"wayside tcp server\0")), "not our server"
    link.sendall(prove(b"wayside tcp client\0"))
    return link


def receive(link, count):
    data = b""
    while len(data) < count:
        chunk = link.recv(count - len(data))
        if not chunk:
            raise EOFError("the link has ended")
        data += chunk
    return data


# ---- frames ----


class Client:
    def __init__(self, link, protocol, version):
        self.link = link
        self.send(HELLO, body=hello(protocol, version))
        head, reader = self.next()
        assert head == WELCOME, f"refused: {head}, code {reader.varint()}"
        assert reader.take(4) == b"WAYS"
        assert reader.varint() == 1
        self.server = (reader.text(), reader.varint())

    def send(self, head, *numbers, body=b""):
        payload = varint(head) + b"".join(map(varint, numbers)) + body
        self.link.sendall(struct.pack("<I", len(payload)) + payload)

    def next(self):
        """The next frame that is not a ping."""
        while True:
            (length,) = struct.unpack("<I", receive(self.link, 4))
            reader = Reader(receive(self.link, length))
            head = reader.varint()
            if head == PING:
                self.send(PONG, reader.varint())
                continue
            return head, reader


# Variants of Ask, the request of `chat`, by their position.
ECHO, HOLD, LET_GO, PUSH_ME = 0, 2, 4, 6


def main(kind, *where):
    link = connect_uds(*where) if kind == "uds" else connect_tcp(*where)
    link.settimeout(30)
    client = Client(link, "chat", 1)
    print("server", *client.server)

    # Note { number: u64, text: String }
    client.send(EVENT, body=varint(300) + text("a note"))
    client.send(SYNC, 1)
    head, reader = client.next()
    assert (head, reader.varint()) == (ACK, 1), head
    print("handled", reader.varint())

    # Ask::Echo(String)
    client.send(REQUEST, 2, 30_000, body=varint(ECHO) + text("grüße"))
    head, reader = client.next()
    assert (head, reader.varint()) == (REPLY, 2), head
    print("reply", reader.text())

    # Ask::LetGo
    client.send(REQUEST, 3, 30_000, body=varint(LET_GO))
    head, reader = client.next()
    assert (head, reader.varint()) == (FAILED, 3), head
    print("failed", reader.varint())

    # Ask::PushMe(Vec<String>): the push comes before the reply.
    client.send(REQUEST, 4, 30_000, body=varint(PUSH_ME) + varint(1) + text("pushed"))
    head, reader = client.next()
    assert head == PUSH, head
    print("push", reader.text())
    head, reader = client.next()
    assert (head, reader.varint()) == (REPLY, 4), head

    client.send(PING, 7)
    head, reader = client.next()
    assert (head, reader.varint()) == (PONG, 7), head

    # Ask::Hold has no answer. While the call is open, the server would not say goodbye.
    client.send(REQUEST, 5, 30_000, body=varint(HOLD))
    client.send(CANCEL, 5)

    client.send(GOODBYE)
    head, reader = client.next()
    while head == ACK:
        head, reader = client.next()
    assert head == GOODBYE, head
    client.send(FAREWELL)
    try:
        receive(link, 1)
        raise AssertionError("something came after the farewell")
    except EOFError:
        print("finished")


if __name__ == "__main__":
    main(*sys.argv[1:])
