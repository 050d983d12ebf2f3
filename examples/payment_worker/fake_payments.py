#!/usr/bin/env python3
"""A payment endpoint for trying the worker: no money, but the promises of a real one.

One Idempotency-Key has at most one charge, ever. A charge is on disk before it is answered, so that kill -9 loses
none. A declined attempt is no charge: it may be tried again under its key.

    POST /charges {"customer", "amount", "currency"}, header Idempotency-Key -> 200 charge, 402 declined, 422, 503
    POST /refunds {"charge_id"} -> 200 charge, 404; again: the same
    GET  /charges -> 200 [charge, ...]; a charge is {"id", "key", "customer", "amount", "currency", "refunded"}
"""

import argparse
import json
import random
import sqlite3
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from decimal import Decimal, InvalidOperation
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What becomes of a new charge. "unavailable" charges nothing; "lost" charges, and the answer never arrives.
OUTCOMES = ("approve", "decline", "stolen", "unavailable", "lost", "random")
# Customers whose outcome is always the same, whatever the mode.
BY_CUSTOMER = {
    "declined-": "decline",
    "stolen-": "stolen",
    "down-": "unavailable",
    "lost-": "lost",
    "random-": "random",
}


class LostAnswer(Exception):
    """The connection is cut instead of answering."""


class Payments:
    """The books of the endpoint. Methods return a status and what is said with it."""

    def __init__(self, path, mode="approve", rate=0.3, seed=None, delay=0.0):
        self.path, self.mode, self.rate, self.delay = path, mode, rate, delay
        self.random, self.one_at_a_time = random.Random(seed), threading.Lock()
        with self.books() as books:
            books.execute("""CREATE TABLE IF NOT EXISTS charge (
                id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, customer TEXT NOT NULL, amount TEXT NOT NULL,
                currency TEXT NOT NULL, refunded INTEGER NOT NULL)""")

    @contextmanager
    def books(self):
        """A transaction that is on disk when it ends (SQLite's default), by itself."""
        with self.one_at_a_time:
            books = sqlite3.connect(self.path, isolation_level=None)
            try:
                books.execute("BEGIN IMMEDIATE")
                yield books
                books.execute("COMMIT")
            finally:
                books.close()

    def outcome(self, customer):
        found = next((what for prefix, what in BY_CUSTOMER.items() if customer.startswith(prefix)), self.mode)
        if found == "random":
            found = self.random.choice(OUTCOMES[1:-1]) if self.random.random() < self.rate else "approve"
        return found

    def charge(self, key, customer, amount, currency):
        time.sleep(self.delay)
        with self.books() as books:
            known = books.execute("SELECT * FROM charge WHERE key = ?", (key,)).fetchone()
            if known:
                same = (known[2], Decimal(known[3]), known[4]) == (customer, Decimal(amount), currency)
                return (200, shown(known)) if same else (422, {"error": "this key has another charge"})
            outcome = self.outcome(customer)
            if outcome in ("decline", "stolen"):
                reason = "stolen_card" if outcome == "stolen" else "insufficient_funds"
                return 402, {"error": reason, "permanent": outcome == "stolen"}
            if outcome == "unavailable":
                return 503, {"error": "try again later"}
            row = (key, customer, amount, currency)
            new = books.execute("INSERT INTO charge VALUES (NULL, ?, ?, ?, ?, 0) RETURNING *", row).fetchone()
        if outcome == "lost":
            raise LostAnswer
        return 200, shown(new)

    def refund(self, charge_id):
        with self.books() as books:
            change = "UPDATE charge SET refunded = 1 WHERE 'ch_' || id = ? RETURNING *"
            row = books.execute(change, (charge_id,)).fetchone()
        return (200, shown(row)) if row else (404, {"error": "no such charge"})

    def charges(self):
        with self.books() as books:
            return 200, [shown(row) for row in books.execute("SELECT * FROM charge ORDER BY id")]


def shown(row):
    names = ("id", "key", "customer", "amount", "currency", "refunded")
    return dict(zip(names, (f"ch_{row[0]}", *row[1:5], bool(row[5]))))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(*(self.server.payments.charges() if self.path == "/charges" else (404, {"error": "no such page"})))

    def do_POST(self):
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            if self.path == "/charges":
                key, amount = self.headers["Idempotency-Key"], body["amount"]
                if not key or not Decimal(amount) > 0:
                    raise ValueError("a key and an amount above 0 are needed")
                said = self.server.payments.charge(key, body["customer"], amount, body["currency"])
            elif self.path == "/refunds":
                said = self.server.payments.refund(body["charge_id"])
            else:
                said = 404, {"error": "no such page"}
        except (ValueError, LookupError, TypeError, InvalidOperation) as error:
            said = 400, {"error": repr(error)}
        except LostAnswer:
            self.close_connection = True
            return
        self.answer(*said)

    def answer(self, status, body):
        data = json.dumps(body).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except ConnectionError:  # the client did not wait
            self.close_connection = True

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 100  # many may come at once


def serve(payments, port=0):
    """A server that is bound, but not running yet; port 0 is any free one."""
    server = Server(("127.0.0.1", port), Handler)
    server.payments = payments
    return server


def main():
    parser = argparse.ArgumentParser(description="A fake payment endpoint that keeps its promises.")
    parser.add_argument("--file", help="where charges are kept; without it, they go with the endpoint")
    parser.add_argument("--port", type=int, default=0, help="0: any free one (%(default)s)")
    parser.add_argument("--mode", choices=OUTCOMES, default="approve", help="for customers without a rule of their own")
    parser.add_argument("--rate", type=float, default=0.3, help="how much goes wrong in mode random (%(default)s)")
    parser.add_argument("--seed", help="for mode random")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each charge")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, suppress(KeyboardInterrupt):
        file = options.file or f"{folder}/charges"
        server = serve(Payments(file, options.mode, options.rate, options.seed, options.delay), options.port)
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
