#!/usr/bin/env python3
"""Charges what auto-recharge asks for and tells the wallet how it went.

The recharge's id is the charge's idempotency key: a retry by anybody, at any time, is the same charge. The rest
follows from that; README.md beside this file says why, rule by rule.
"""

import argparse
import json
import logging
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from datetime import timedelta

import psycopg
from psycopg.rows import namedtuple_row

log = logging.getLogger("payment_worker")


class Declined(Exception):
    """The endpoint said no: nothing was charged. Arguments: the reason, and whether it is for good."""


class Payments:
    """The payment endpoint; put your provider's client here. `charge` returns the charge's id or raises Declined.
    Any other exception means that nobody knows whether money moved."""

    def __init__(self, url, timeout, prefix):
        self.url, self.timeout, self.prefix = url.rstrip("/"), timeout, prefix

    def ask(self, path, body=None, key=None):
        request = urllib.request.Request(self.url + path, body and json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        if key:
            request.add_header("Idempotency-Key", key)
        try:
            answer = urllib.request.urlopen(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            if error.code != 402:  # a fault of the endpoint or of our request: neither charged nor declined
                raise
            answer = error
        with answer:
            return answer.status, json.load(answer)

    def charge(self, recharge):
        body = {"customer": recharge.customer_id, "amount": f"{recharge.price:f}", "currency": recharge.price_currency}
        status, answer = self.ask("/charges", body, f"{self.prefix}{recharge.recharge_id}")
        if status == 402:
            raise Declined(answer["error"], answer["permanent"])
        if answer["refunded"]:  # by somebody, before the wallet was told: it pays for nothing any more
            raise Declined(f"charge {answer['id']} was refunded", True)
        return answer["id"]

    def refund(self, charge_id):
        self.ask("/refunds", {"charge_id": charge_id})

    def charges(self):
        return self.ask("/charges")[1]


class Wallet:
    """The database. Each call is a transaction of its own, so that none is open while a payment takes its time."""

    def __init__(self, dsn, stop):
        self.dsn, self.stop, self.connection = dsn, stop, None

    def call(self, function, **arguments):
        """The rows of a function of credit_pools, called until the database has answered."""
        names = ", ".join(f"{name} => %({name})s" for name in arguments)
        pause = 0.1
        while True:
            try:
                if self.connection is None:
                    self.connection = psycopg.connect(self.dsn, autocommit=True, row_factory=namedtuple_row)
                return self.connection.execute(f"SELECT * FROM credit_pools.{function}({names})", arguments).fetchall()
            except psycopg.OperationalError as error:
                if self.connection is not None:
                    self.connection.close()
                    self.connection = None
                if self.stop.asked:
                    raise
                log.warning("database: %s; again in %.1f s", brief(error), pause)
                self.stop.wait(pause)
                pause = min(2 * pause, 10)


class Stop:
    """SIGTERM and SIGINT end the worker between two recharges, not within one."""

    def __init__(self):
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self, "asked", True))

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while not self.asked and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))


def brief(error):
    return (str(error) or repr(error)).splitlines()[0]


def pay(wallet, payments, recharge, lease_end):
    """Pays a recharge that we have claimed. What is not told to the wallet here is up to the next who claims it."""
    this = {"customer_id": recharge.customer_id, "recharge_id": recharge.recharge_id}
    try:
        # Without a price in the policy there is nothing to charge, and no reference.
        charge_id = payments.charge(recharge) if recharge.price else None
    except Declined as no:
        reason, permanent = no.args
        if time.monotonic() > lease_end:
            log.warning("recharge %s: declined too late to count: %s", recharge.recharge_id, reason)
            return
        try:
            # May be repeated: the attempt has a number, and counts once.
            told = {"reason": reason, "permanent": permanent, "attempt": recharge.attempts + 1}
            row = wallet.call("fail_recharge", **this, **told)[0]
            until = row.next_attempt_at or "never"
            log.info("recharge %s: declined: %s; next attempt: %s", recharge.recharge_id, reason, until)
        except psycopg.Error as error:
            log.warning("recharge %s: declined, but not told: %s", recharge.recharge_id, brief(error))
    except Exception as error:
        # Never told as failed, since money may have moved. The lease runs out, and the same charge is asked for again.
        log.warning("recharge %s: outcome unknown, left to the lease: %s", recharge.recharge_id, brief(error))
    else:
        settle(wallet, payments, **this, charge_id=charge_id)


def settle(wallet, payments, customer_id, recharge_id, charge_id):
    """Turns a charge into credits, or gives the money back where it is too late for that."""
    try:
        # May be repeated: the same reference again is the same success.
        this = {"customer_id": customer_id, "recharge_id": recharge_id}
        row = wallet.call("complete_recharge", **this, payment_reference=charge_id)[0]
        before = " (it was before)" if row.is_duplicate else ""
        log.info("recharge %s: granted %s for charge %s%s", recharge_id, row.amount, charge_id, before)
    except psycopg.Error as error:
        # PC005: failed meanwhile, by a worker that had it after our lease. PC004: paid for in another way.
        if error.sqlstate not in ("PC004", "PC005") or charge_id is None:
            log.error("recharge %s: not granted, charge %s: %s", recharge_id, charge_id, brief(error))
            return
        try:
            payments.refund(charge_id)
            log.warning("recharge %s: refunded charge %s: %s", recharge_id, charge_id, brief(error))
        except Exception as trouble:
            log.error("recharge %s: refund charge %s (--reconcile does): %s", recharge_id, charge_id, brief(trouble))


def work(wallet, payments, stop, options):
    lease = timedelta(seconds=options.lease)
    while not stop.asked:
        lease_end = time.monotonic() + options.lease  # from before the claim: rather too early than too late
        claimed = wallet.call("claim_recharges", worker=options.worker, max_count=options.batch, lease=lease)
        for recharge in claimed:
            # A request takes up to three time-outs (connect, send, receive), and is not to outlive the lease.
            if stop.asked or time.monotonic() + 3 * options.timeout > lease_end:
                log.info("recharge %s: left to the lease", recharge.recharge_id)
            else:
                pay(wallet, payments, recharge, lease_end)
        if not claimed:
            if options.once:
                return
            # Polled: NOTIFY is off by default in credit_pools, and none would say that a back-off or a lease is over.
            stop.wait(options.poll)


def reconcile(wallet, payments):
    """Tells the wallet of every charge again: grants what was paid and never told, refunds what came too late."""
    for charge in payments.charges():
        ours, recharge_id = charge["key"].startswith(payments.prefix), charge["key"][len(payments.prefix):]
        if ours and recharge_id.isdecimal() and not charge["refunded"]:
            settle(wallet, payments, charge["customer"], int(recharge_id), charge["id"])


OPTIONS = {
    "dsn": ("", "connection string of libpq; empty: the PG* variables"),
    "endpoint": ("", "URL of the payment endpoint"),
    "worker": (f"{socket.gethostname()}-{os.getpid()}", "name in credit_pools.recharges"),
    "lease": (300.0, "seconds that a claim lasts"),
    "timeout": (20.0, "seconds that the endpoint may take to connect, to accept, to answer"),
    "batch": (10, "recharges per claim"),
    "poll": (2.0, "seconds to wait when nothing is due"),
    "key-prefix": ("recharge-", "what an idempotency key has before the recharge's id"),
}


def main():
    parser = argparse.ArgumentParser(description="Pays the recharges of credit_pools.")
    for name, (default, text) in OPTIONS.items():
        variable = "PAYMENT_" + name.upper().replace("-", "_")
        value, text = os.environ.get(variable, default), f"{text} [{variable}, {default}]"
        parser.add_argument(f"--{name}", default=value, type=type(default), help=text)
    parser.add_argument("--once", action="store_true", help="stop when nothing is due")
    parser.add_argument("--reconcile", action="store_true", help="tell the wallet of all charges again, and stop")
    options = parser.parse_args()
    if not options.endpoint:
        parser.error("--endpoint is needed")
    if options.lease <= 3 * options.timeout:
        parser.error("the lease must be longer than three time-outs")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    stop = Stop()
    wallet, payments = Wallet(options.dsn, stop), Payments(options.endpoint, options.timeout, options.key_prefix)
    try:
        if options.reconcile:
            reconcile(wallet, payments)
        else:
            work(wallet, payments, stop, options)
    except psycopg.OperationalError as error:  # only once it was asked to stop
        log.warning("stopped without the database: %s", brief(error))


if __name__ == "__main__":
    main()
