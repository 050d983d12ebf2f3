#!/usr/bin/env python3
"""A way to a PostgreSQL server that breaks at a chosen moment: cut.py LISTEN SERVER RULE ...

LISTEN and SERVER are Unix sockets. A RULE is KEY:MOMENT or KEY:MOMENT:TIMES. The call with that idempotency key, wherever it
is bound as a parameter, loses its connection TIMES times (1 by default):
    before   the server never sees it
    after    the server has ended its transaction; the answer to that is held back
What happens is printed, a line for each connection that is cut.
"""
import os
import socket
import struct
import sys
import threading

rules, one_at_a_time = {}, threading.Lock()


def message(stream, typed=True):
    """The next message, whole, and its type."""
    kind = stream.read(1) if typed else b""
    length = stream.read(4)
    if len(length) < 4:
        raise EOFError
    return kind, kind + length + stream.read(struct.unpack("!i", length)[0] - 4)


class Cut(Exception):
    pass


class Link:
    """A client's connection, and ours to the server for it."""

    def __init__(self, client, path):
        self.client, self.server = client, socket.socket(socket.AF_UNIX)
        self.server.connect(path)
        self.hold = None  # the key whose transaction's end is held back

    def run(self):
        threads = [threading.Thread(target=self.guard, args=(way,), daemon=True) for way in (self.requests, self.answers)]
        for thread in threads:
            thread.start()

    def guard(self, way):
        try:
            way()
        except Cut as cut:
            print(f"cut {cut}", flush=True)
        except (EOFError, OSError):
            pass
        for end in (self.client, self.server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def requests(self):
        stream = self.client.makefile("rb")
        self.server.sendall(message(stream, typed=False)[1])  # the startup packet
        while True:
            kind, data = message(stream)
            if kind == b"B":
                self.look(data)
            self.server.sendall(data)

    def look(self, bind):
        with one_at_a_time:
            for key, rule in rules.items():
                value = struct.pack("!i", len(key)) + key.encode()
                if value in bind and rule["times"] > 0:
                    rule["times"] -= 1
                    if rule["moment"] == "before":
                        raise Cut(f"{key} before")
                    self.hold = key

    def answers(self):
        stream, held = self.server.makefile("rb"), b""
        while True:
            kind, data = message(stream)
            held += data
            if self.hold and kind == b"Z" and data[5:] == b"I":  # outside of a transaction: it is committed, or rolled back
                raise Cut(f"{self.hold} after")
            if not self.hold or kind == b"Z":
                self.client.sendall(held)
                held = b""


def main():
    for rule in sys.argv[3:]:
        key, moment, times = (rule + ":1").split(":")[:3]
        rules[key] = {"moment": moment, "times": int(times)}
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    os.chmod(sys.argv[1], 0o777)
    listener.listen()
    print("ready", flush=True)
    while True:
        Link(listener.accept()[0], sys.argv[2]).run()


if __name__ == "__main__":
    main()
