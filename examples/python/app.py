#!/usr/bin/env python3
"""An application that sells answers and pays them from a credit pool. Python 3.9 or later, psycopg 3; DATABASE_URL says where."""
import json
import os
import time
from decimal import Decimal

import psycopg
from psycopg.rows import namedtuple_row

POOL = {"customer_id": "customer-demo-01", "resource_id": "workspace-example-com"}
CREDITS, FEATURE = {"credit_type_id": "ai-tokens"}, {"feature_id": "feature-ai-tokens"}
TRIES = 4
connection = None


def call(function, **arguments):
    """The one row of a function of credit_pools. psycopg gives numeric as Decimal, so credits stay exact: never float()."""
    names = ", ".join(f"{name} => %({name})s" for name in arguments)
    return connection.execute(f"SELECT * FROM credit_pools.{function}({names})", arguments).fetchone()


def transaction(work):
    """Does work() in one transaction. After a lost connection nobody knows whether it was committed, so it is done again: what it
    writes must have keys. The wallet answers a key that it knows with the first result, and charges nothing."""
    global connection
    for tried in range(1, TRIES + 1):
        try:
            if connection is None or connection.closed:
                connection = psycopg.connect(os.environ["DATABASE_URL"], row_factory=namedtuple_row, autocommit=True)
            with connection.transaction():  # ROLLBACK on any exception, and that is the refund
                return work()
        except psycopg.OperationalError as error:
            # No SQLSTATE: the connection is gone. 08, 57P: the server is. 40: deadlock, serialization. The rest is no use repeating.
            if not (error.sqlstate or "08").startswith(("08", "57P", "40")) or tried == TRIES:
                raise
            print(f"try {tried} failed, again with the same keys")
            time.sleep(0.1 * 2**tried)


def answer(answer_id, tokens, deliver=lambda: None):
    """The application's own row and its price, both or neither."""
    def work():
        connection.execute("INSERT INTO answer VALUES (%s, %s) ON CONFLICT DO NOTHING", (answer_id, tokens))
        usage = call("report_usage", **POOL, **FEATURE, value=tokens, idempotency_key=answer_id)
        deliver()
        return usage
    try:
        usage = transaction(work)
        again = ", charged by an earlier try" if usage.is_duplicate else ""
        print(f"{answer_id}: {usage.credits_consumed} credits, {usage.balance} left{again}")
    except psycopg.Error as error:
        if error.sqlstate == "PC001":  # DETAIL has the figures; as Decimal, too
            figures = json.loads(error.diag.message_detail, parse_int=Decimal, parse_float=Decimal)
            print(f"{answer_id}: costs {figures['required']}, {figures['balance']} left: buy {figures['shortfall']}?")
            return figures["shortfall"]
        if error.sqlstate != "PC004":
            raise
        print(f"{answer_id}: charged with other figures")  # a fault of the caller: look into it
    except TimeoutError as error:
        print(f"{answer_id}: {error}, nothing was charged")


def fail():
    raise TimeoutError("the model did not answer")


transaction(lambda: call("provision_subscription", **POOL, plan_id="plan-basic", idempotency_key="sign-up"))
transaction(lambda: call("grant_credits", **POOL, **CREDITS, amount=100, idempotency_key="order-1"))
transaction(lambda: call("report_usage", **POOL, **FEATURE, value=150, idempotency_key="chat-1"))
answer("answer-1", 200)
answer("answer-1", 201)
answer("answer-2", 300, fail)
missing = answer("answer-3", 1000)
if missing:
    transaction(lambda: call("grant_credits", **POOL, **CREDITS, amount=missing, idempotency_key="top-up-answer-3"))
    answer("answer-3", 1000)
