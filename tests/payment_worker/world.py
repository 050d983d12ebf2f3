"""What a scenario has: a database, an endpoint, workers, and the comparison of all books at its end."""

import itertools
import os
import subprocess
import sys
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import server
from checks import check, end_with_parent
from endpoint import EXAMPLE, Endpoint

START = datetime(2026, 3, 2, 8, tzinfo=timezone.utc)
LEASE = timedelta(minutes=5)  # the worker's default


class World:
    """Pools of 500 credits that are filled up to 1000 once they are below 100, at 0.02 EUR a credit: using 450 leaves
    50, so 950 credits for 19.00 are asked for; using 950 of 1000 does the same again."""

    def __init__(self, name, clock=START, **endpoint):
        self.name, self.clock, self.workers, self.numbers = name, clock, [], itertools.count(1)
        server.sql("postgres", f'CREATE DATABASE "{name}" TEMPLATE {os.environ["CREDIT_POOLS_TEMPLATE"]}')
        self.endpoint = Endpoint(server.CLUSTER / f"{name}.charges", **endpoint)
        if clock:
            self.later(timedelta())
        self.sql("SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2)")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.endpoint.close()

    def sql(self, query, *values):
        return server.sql(self.name, query, *values)

    def later(self, by):
        """Moves the clock of sessions to come, and so of workers to come."""
        self.clock += by
        server.sql(
            "postgres", f"ALTER DATABASE \"{self.name}\" SET credit_pools.test_clock = '{self.clock.isoformat()}'"
        )

    def customer(self, customer="acme", resources=(None,), price="0.02", **policy):
        each = "FROM unnest(%s::text[]) r, LATERAL credit_pools."
        self.sql(
            f"SELECT {each}open_pool(customer_id => %s, resource_id => r, credit_type_id => 'credits')",
            list(resources),
            customer,
        )
        self.sql(
            f"SELECT {each}grant_credits(customer_id => %s, resource_id => r, credit_type_id => 'credits',"
            " amount => 500)",
            list(resources),
            customer,
        )
        more = "".join(f", {name} => '{value}'" for name, value in policy.items())
        self.sql(
            "SELECT FROM credit_pools.set_auto_recharge(customer_id => %s, credit_type_id => 'credits',"
            f" threshold => 100, target_balance => 1000, price_per_credit => %s, price_currency => %s{more})",
            customer,
            price,
            price and "EUR",
        )

    def use(self, amount=450, customer="acme", resources=(None,)):
        self.sql(
            "SELECT FROM unnest(%s::text[]) r, LATERAL credit_pools.consume_credits(customer_id => %s,"
            " resource_id => r, credit_type_id => 'credits', amount => %s)",
            list(resources),
            customer,
            amount,
        )

    def reset(self):
        self.sql("SELECT FROM credit_pools.reset_auto_recharge(customer_id => 'acme', credit_type_id => 'credits')")

    def worker(self, *options, host=None):
        """Starts a worker with the rights of one; its lines go to .log."""
        name = f"worker-{next(self.numbers)}"
        path = server.CLUSTER / f"{self.name}.{name}.log"
        dsn = f"host={host or server.HOST} dbname={self.name} user=payment_worker"
        command = [
            sys.executable,
            str(EXAMPLE / "worker.py"),
            "--dsn",
            dsn,
            "--endpoint",
            self.endpoint.url,
            "--worker",
            name,
            *map(str, options),
        ]
        with open(path, "w") as log:
            worker = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=end_with_parent
            )
        worker.log = path
        self.workers.append(worker)
        return worker

    def run(self, *options, **more):
        """A worker, until nothing is due."""
        worker = self.worker("--once", *options, **more)
        if self.end(worker) != 0:
            check(f"{self.name}: the worker ends well", worker.log.read_text(), "exit code 0")
        return worker.log.read_text()

    @staticmethod
    def end(worker):
        try:
            return worker.wait(40)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
            return f"hangs: {worker.log.read_text()}"

    def recharges(self, columns="status, attempts"):
        """Those that were asked for, in order."""
        rows = self.sql(f"SELECT {columns} FROM credit_pools.recharges WHERE status <> 'skipped' ORDER BY recharge_id")
        return [tuple(row.values()) for row in rows]

    def balances(self):
        return [row["balance"] for row in self.sql("SELECT balance FROM credit_pools.pools ORDER BY pool_id")]

    def money(self):
        """(number of charges, their sum, how many of them were refunded)"""
        charges = self.endpoint.charges()[1]
        return len(charges), sum(Decimal(c["amount"]) for c in charges), sum(c["refunded"] for c in charges)

    def check_books(self, what):
        check(f"{self.name}: {what}: charges, recharges, grants, ledger and balances agree", self.differences(), [])

    def differences(self):
        found = []
        charges, grants, entries = self.endpoint.by_key(), defaultdict(list), defaultdict(list)
        for row in self.sql("SELECT * FROM credit_pools.grants WHERE recharge_id IS NOT NULL"):
            grants[row["recharge_id"]].append(row)
        for row in self.sql("SELECT * FROM credit_pools.ledger WHERE entry_type = 'grant' AND recharge_id IS NOT NULL"):
            entries[row["recharge_id"]].append(row)
        for row in self.sql("SELECT * FROM credit_pools.recharges ORDER BY recharge_id"):
            number, charge = row["recharge_id"], charges.pop(f"recharge-{row['recharge_id']}", None)
            paid = charge and not charge["refunded"]
            got = [(g["grant_id"], g["amount"], g["price"], g["price_currency"]) for g in grants.pop(number, [])]
            booked = [(e["grant_id"], e["amount"]) for e in entries.pop(number, [])]
            if row["status"] != "succeeded":
                if row["status"] not in ("failed", "skipped"):
                    found.append(f"recharge {number} is {row['status']}")
                if paid or got or booked:
                    found.append(f"recharge {number} is {row['status']}, with {charge}, {got}, {booked}")
                continue
            if got != [(row["grant_id"], row["amount"], row["price"], row["price_currency"])]:
                found.append(f"recharge {number} of {row['amount']} for {row['price']} has the grants {got}")
            if booked != [(row["grant_id"], row["amount"])]:
                found.append(f"recharge {number} of {row['amount']} has the ledger rows {booked}")
            wanted = row["price"] and (
                row["payment_reference"],
                row["customer_id"],
                row["price"],
                row["price_currency"],
            )
            have = paid and (charge["id"], charge["customer"], Decimal(charge["amount"]), charge["currency"])
            if have != wanted:
                found.append(f"recharge {number} is to be paid by {wanted} and is by {have}")
        found += [f"nobody asked for {left}" for left in (charges, dict(grants), dict(entries)) if left]
        found += self.sql("""
            SELECT p.pool_id, p.balance, l.sum, l.rows, l.last, g.left FROM credit_pools.pools p
            JOIN LATERAL (SELECT sum(amount), count(*) AS rows, max(seq) AS last FROM credit_pools.ledger l
                          WHERE l.pool_id = p.pool_id) l ON true
            JOIN LATERAL (SELECT sum(available) AS left FROM credit_pools.grants g
                          WHERE g.pool_id = p.pool_id) g ON true
            WHERE p.balance IS DISTINCT FROM l.sum OR p.balance IS DISTINCT FROM g.left OR l.rows <> l.last""")
        return found
