#!/usr/bin/env python3
"""Scenarios of the payment worker. Expectations are worked out by hand from the contract; see World for the figures."""

import os
import random
import signal
import sys
import threading
import time
import traceback
from datetime import timedelta
from decimal import Decimal

import checks
from checks import check, end_with_parent
from endpoint import LostAnswer, test_endpoint

WITH_DATABASE = sys.argv[1:] != ["--endpoint-only"]
if WITH_DATABASE:  # these need psycopg
    import server
    from world import LEASE, World

SEED = int(os.environ.get("CREDIT_POOLS_TEST_SEED") or random.randrange(1 << 32))
MINUTE = timedelta(minutes=1)
EUR19 = Decimal(19)


def lose(key):
    raise LostAnswer


def the_usual():
    with World("usual") as world:
        world.customer(resources=[None, "ws"])
        check("a pool that is full asks for nothing", (world.run(), world.money()[0]), ("", 0))
        world.use()
        check("the debit asks for a recharge", world.recharges("status, amount, price"), [("pending", 950, EUR19)])
        seen = []
        world.endpoint.on_record = lambda key: seen.extend(
            world.sql("SELECT state, backend_xid, backend_xmin FROM pg_stat_activity WHERE usename = 'payment_worker'")
        )
        log = world.run()
        check("no transaction is open while it pays", [tuple(s.values()) for s in seen], [("idle", None, None)])
        check(
            "charged",
            world.endpoint.charges()[1],
            [
                {
                    "id": "ch_1",
                    "key": "recharge-1",
                    "customer": "acme",
                    "amount": "19",
                    "currency": "EUR",
                    "refunded": False,
                }
            ],
        )
        check("granted", world.recharges("status, attempts, payment_reference"), [("succeeded", 1, "ch_1")])
        check("its pool is full again, the other as it was", world.balances(), [1000, 500])
        check("a line per decision", log.count("\n"), 1)
        world.endpoint.unharmed()
        world.use(resources=["ws"])
        world.use(950)
        world.run("--batch", "1")
        check("again, and the resource's pool by itself", (world.money(), world.balances()), ((3, 57, 0), [1000, 1000]))
        world.customer("free", price=None)
        world.use(customer="free")
        world.run()
        check("without a price nothing is charged", (world.money(), world.balances()), ((3, 57, 0), [1000] * 3))
        check(
            "nor is there a reference",
            world.recharges("status, price, payment_reference")[-1],
            ("succeeded", None, None),
        )
        world.check_books("four recharges")


def declines():
    with World("declined") as world:
        world.customer("declined-1")
        world.use(customer="declined-1")
        waits = []
        for attempt in (1, 2):
            world.run()
            ((status, attempts, then),) = world.recharges("status, attempts, next_attempt_at")
            waits.append((status, attempts, then - world.clock))
            world.later(then - world.clock - timedelta(seconds=1))
            world.run()
            check(f"nobody asks before attempt {attempt + 1} is due", world.endpoint.requests["recharge-1"], attempt)
            world.later(timedelta(seconds=1))
        check("it waits a minute, then two", waits, [("pending", 1, MINUTE), ("pending", 2, 2 * MINUTE)])
        world.run()
        check(
            "the third decline is the last",
            world.recharges("status, attempts, next_attempt_at, reason"),
            [("failed", 3, None, "insufficient_funds")],
        )
        world.use(10, "declined-1")
        skips = world.sql("SELECT reason FROM credit_pools.recharges WHERE status = 'skipped'")
        check("the breaker is open", skips, [{"reason": "breaker"}])
        world.run()
        check("nobody asks any more", (world.endpoint.requests, world.money()[0]), ({"recharge-1": 3}, 0))
        world.check_books("declined three times")

    with World("stolen", mode="stolen") as world:
        world.customer()
        world.use()
        world.run()
        check(
            "a stolen card fails at once", world.recharges("status, attempts, reason"), [("failed", 1, "stolen_card")]
        )
        world.endpoint.mode = "approve"
        world.reset()
        world.run()
        check(
            "a new card, and the reset asks anew",
            (world.recharges()[1:], world.balances()),
            ([("succeeded", 1)], [1000]),
        )
        world.check_books("reset after a stolen card")

    # Late enough, a decline is not ours to tell: somebody else may be paying.
    with World("late", mode="decline") as world:
        world.customer()
        world.use()
        stopped = threading.Event()

        def stall(key):
            worker.send_signal(signal.SIGSTOP)
            stopped.set()

        world.endpoint.on_receipt = stall
        worker = world.worker("--once", "--lease", "3", "--timeout", "0.3")
        check("a worker stands still while it is declined", stopped.wait(20))
        time.sleep(3.1)
        worker.send_signal(signal.SIGCONT)
        check("it goes on", (world.end(worker), "too late" in worker.log.read_text()), (0, True))
        check("a decline after the lease does not count", world.recharges(), [("processing", 0)])


def unknown_outcomes():
    """No clear yes or no: the recharge stays as it is until its lease is over; then the same charge is asked for."""

    def nothing(key):
        pass

    def answer(*said):
        return lambda key: said

    cases = (
        ("an outage", answer(503, {"error": "try again later", "permanent": True}), nothing, 0),
        ("a lost request", lose, nothing, 0),
        ("a lost answer", nothing, lose, 1),
        ("a time-out", lambda key: time.sleep(1), nothing, 1),
        ("a refused key", answer(422, {"error": "other charge", "permanent": True}), nothing, 0),
        ("a strange success", answer(200, {"no": "charge"}), nothing, 0),
        ("a strange decline", answer(402, ["what?"]), nothing, 0),
    )
    with World("unknown") as world:
        keys = [f"recharge-{n}" for n in range(1, len(cases) + 1)]
        for key in keys:
            world.customer(key)
            world.use(customer=key)
        world.endpoint.on_receipt = lambda key: cases[keys.index(key)][1](key)
        world.endpoint.on_record = lambda key: cases[keys.index(key)][2](key)
        world.run("--timeout", "0.4")
        until(lambda: "recharge-4" in world.endpoint.by_key())  # it comes once the worker has gone on
        world.endpoint.unharmed()
        for (what, *_, charged), key, recharge in zip(cases, keys, world.recharges()):
            check(f"{what} is not a failure", recharge, ("processing", 0))
            check(f"{what} charges {charged} times", key in world.endpoint.by_key(), bool(charged))
        world.later(LEASE - timedelta(seconds=1))
        world.run()
        check("nobody asks within the lease", world.endpoint.requests, dict.fromkeys(keys, 1))
        world.later(timedelta(seconds=1))
        world.run()
        check("the same charges are asked for after it", world.endpoint.requests, dict.fromkeys(keys, 2))
        check("and each is paid once", (world.recharges(), world.money()), ([("succeeded", 1)] * 7, (7, 7 * EUR19, 0)))
        world.check_books("outcomes that nobody knew")

        for key in keys[:3]:
            world.use(950, key)
        world.endpoint.on_receipt = lambda key: time.sleep(0.7)
        log = world.run("--lease", "3", "--timeout", "0.8")
        check(
            "a request that could outlive the lease is not begun",
            (world.endpoint.requests.total() - 14, log.count("left to the lease\n")),
            (1, 2),
        )


def killed_worker():
    with World("killed") as world:
        world.customer()
        for n, (hook, when, charged) in enumerate((("on_receipt", "before", 0), ("on_record", "after", 1))):
            world.use(950 if n else 450)
            key = f"recharge-{n + 1}"

            def murder(key):
                worker.kill()
                worker.wait()
                raise LostAnswer

            setattr(world.endpoint, hook, murder)
            worker = world.worker("--once")
            check(f"the worker is killed right {when} its charge is made", world.end(worker), -signal.SIGKILL)
            world.endpoint.unharmed()
            check(f"killed {when}: charged so far", key in world.endpoint.by_key(), bool(charged))
            world.run()
            check(f"killed {when}: another one has nothing to do within the lease", world.endpoint.requests[key], 1)
            world.later(LEASE)
            world.run()
            check(
                f"killed {when}: another one takes it over",
                (world.endpoint.requests[key], world.recharges()[-1]),
                (2, ("succeeded", 1)),
            )
            check(
                f"killed {when}: charged and granted once",
                (world.money(), world.balances()),
                ((n + 1, EUR19 * (n + 1), 0), [1000]),
            )
        world.check_books("killed workers")


def two_workers():
    with World("two", clock=None, delay=0.005) as world:
        resources = [f"ws-{n}" for n in range(40)]
        world.customer(resources=resources)
        world.use(resources=resources)
        workers = [world.worker("--once", "--batch", "3") for _ in range(2)]
        check("two workers at once end well", [world.end(worker) for worker in workers], [0, 0])
        check("each recharge is asked for once", sorted(world.endpoint.requests.values()), [1] * 40)
        done = [worker.log.read_text().count("granted 950") for worker in workers]
        check("both have worked", (sum(done), min(done) > 0), (40, True))
        check("money and credits of all pools", (world.money(), world.balances()), ((40, 40 * EUR19, 0), [1000] * 40))
        world.check_books("two workers")

        # In service: polling, until it is asked to stop.
        world.endpoint.delay = 0
        world.use(950, resources=resources[:3])
        world.endpoint.on_receipt = lambda key: worker.send_signal(signal.SIGTERM)
        worker = world.worker("--batch", "3")
        check("SIGTERM within a charge is a good end", world.end(worker), 0)
        world.endpoint.unharmed()
        check(
            "what was under way is finished, the rest left",
            sorted(status for status, _ in world.recharges()[40:]),
            ["processing", "processing", "succeeded"],
        )
        worker = world.worker("--poll", "0.1")
        world.use(950, resources=["ws-9"])
        until(lambda: world.balances()[9] == 1000)
        check("a worker that waits sees what comes", world.balances()[9], 1000)
        worker.send_signal(signal.SIGTERM)
        began = time.monotonic()
        check("SIGTERM ends one that waits", (world.end(worker), time.monotonic() - began < 5), (0, True))


def too_late():
    """A worker stands still with its charge until its lease is over and others have had the recharge."""
    with World("refund") as world:

        def others_fail(key):
            world.endpoint.unharmed()
            world.endpoint.mode = "stolen"
            world.later(LEASE)
            world.run()
            world.endpoint.mode = "approve"

        world.customer()
        world.use()
        world.endpoint.on_receipt = others_fail
        log = world.run()
        check(
            "a success after the final failure is no grant",
            (world.recharges(), world.balances()),
            ([("failed", 1)], [50]),
        )
        check("but a refund", (world.money(), "refunded charge ch_1" in log), ((1, EUR19, 1), True))
        world.check_books("a late success")

        # The same, and the worker does not live to see the refund.
        world.reset()

        def murder(_):
            worker.kill()
            worker.wait()
            raise LostAnswer

        world.endpoint.on_receipt = others_fail
        worker = world.worker("--once")
        until(lambda: world.endpoint.requests["recharge-2"] == 2)
        world.endpoint.on_refund = murder
        check("the worker is killed before the refund", world.end(worker), -signal.SIGKILL)
        check("so the charge stays", (world.money(), world.recharges()[-1]), ((2, 2 * EUR19, 1), ("failed", 1)))
        world.endpoint.unharmed()
        world.run("--reconcile")
        check("until --reconcile", world.money(), (2, 2 * EUR19, 2))
        world.check_books("reconciled")
        world.reset()
        world.run()
        check("the reset's own recharge is paid", (world.recharges()[-1], world.balances()), (("succeeded", 1), [1000]))
        before = world.endpoint.charges()
        log = world.run("--reconcile")
        check("--reconcile again changes nothing", (world.endpoint.charges(), world.balances()), (before, [1000]))

        # Charged, and the worker killed: --reconcile grants without waiting for the lease.
        world.use(950)
        world.endpoint.on_record = murder
        worker = world.worker("--once")
        world.end(worker)
        world.endpoint.unharmed()
        world.run("--reconcile")
        check("--reconcile grants what was paid", (world.recharges()[-1], world.balances()), (("succeeded", 1), [1000]))
        world.check_books("all in all")
        for key in ("recharge-999", "recharge-", "somebody-1"):
            world.endpoint.charge(key, "acme", "19", "EUR")
        refunded = world.money()[2]
        log = world.run("--reconcile")
        check(
            "a charge that the wallet knows nothing of is for people to look at",
            (world.money()[2], "recharge 999: not granted" in log),
            (refunded, True),
        )

    with World("open") as world:

        def others_decline(key):
            world.endpoint.unharmed()
            world.endpoint.mode = "decline"
            world.later(LEASE)
            world.run()
            world.endpoint.mode = "approve"

        world.customer()
        world.use()
        world.endpoint.on_receipt = others_decline
        world.run()
        check(
            "a success while another attempt is to come is granted",
            (world.recharges(), world.balances()),
            ([("succeeded", 2)], [1000]),
        )
        world.later(MINUTE)
        world.run()
        check(
            "and the other attempt does not come",
            (world.endpoint.requests["recharge-1"], world.money()),
            (2, (1, EUR19, 0)),
        )

        def other_pays(key):
            world.endpoint.unharmed()
            world.later(LEASE)
            world.run()

        world.use(950)
        world.endpoint.on_receipt = other_pays
        log = world.run()
        check(
            "two that pay the same charge grant once",
            (world.endpoint.requests["recharge-2"], world.money(), world.balances(), "it was before" in log),
            (2, (2, 2 * EUR19, 0), [1000], True),
        )
        world.check_books("late successes")

        world.use(950)
        world.endpoint.on_record = lambda key: world.sql(
            "SELECT FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => 3,"
            " payment_reference => 'cash')"
        )
        world.run()
        world.endpoint.unharmed()
        check("paid by hand meanwhile: refunded", (world.money(), world.balances()), ((3, 3 * EUR19, 1), [1000]))

        world.use(950)
        world.endpoint.on_record = lambda key: world.endpoint.refund("ch_4")
        world.run()  # the answer is that of the charge as it was made
        world.endpoint.unharmed()
        world.use(950)
        world.endpoint.on_record = lose
        world.run()
        world.endpoint.unharmed()
        world.endpoint.refund("ch_5")
        world.later(LEASE)
        world.run()
        check(
            "a charge that was refunded pays for nothing",
            world.recharges("status, reason")[-1],
            ("failed", "charge ch_5 was refunded"),
        )


def until(what, seconds=20):
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.02)


def catches_sigterm(worker):
    """Whether it has come so far; before, SIGTERM simply ends it."""
    with open(f"/proc/{worker.pid}/status") as status:
        mask = next(line.split()[1] for line in status if line.startswith("SigCgt"))
    return int(mask, 16) >> (signal.SIGTERM - 1) & 1


def lost_answers():
    """The connection to the database breaks around each call."""
    with World("cut") as world:
        way = server.Cut("cut")
        world.customer()
        amount, paid = 450, 0
        for function in ("claim_recharges", "complete_recharge"):
            for what in ("request", "answer"):
                world.use(amount)
                amount, paid = 950, paid + 1
                way.next(function, what)
                log = world.run(host=way.host)
                check(
                    f"the {what} of {function} is lost, and the worker goes on",
                    (way.cuts, "again in" in log),
                    (paid, True),
                )
                if (function, what) == ("claim_recharges", "answer"):
                    check("a claim that nobody heard of waits for its lease", world.recharges()[-1], ("processing", 0))
                    world.later(LEASE)
                    world.run()
                check(
                    f"the {what} of {function} is lost: paid and granted once",
                    (world.recharges()[-1], world.money(), world.balances()),
                    (("succeeded", 1), (paid, paid * EUR19, 0), [1000]),
                )
        world.endpoint.mode = "decline"
        for what, told in (("request", ("pending", 1)), ("answer", ("pending", 1))):
            customer = f"fails-{what}"
            world.customer(customer)
            world.use(customer=customer)
            way.next("fail_recharge", what)
            world.run(host=way.host)
            check(f"the {what} of fail_recharge is lost: it counts once", world.recharges()[-1], told)
            world.later(LEASE)
            world.run()
            check(f"the {what} of fail_recharge is lost: the next one", world.recharges()[-1][1], told[1] + 1)
        check("nothing is charged for declines", world.money()[0], paid)


def killed_server():
    """kill -9 of the whole server between every two steps."""
    with World("crash") as world:
        world.customer()
        paid = 0

        def once_more(what):
            nonlocal paid
            paid += 1
            check(
                f"server killed {what}: paid and granted once",
                (world.recharges()[-1], world.money(), world.balances()),
                (("succeeded", 1), (paid, paid * EUR19, 0), [1000]),
            )
            world.check_books(f"server killed {what}")

        world.use()
        server.kill()
        server.start()
        check("the request survives with its debit", (world.recharges(), world.balances()), ([("pending", 0)], [50]))
        world.run()
        once_more("after the debit")

        for what, hook, worker_too, answer in (
            ("between claim and charge", "on_receipt", False, True),
            ("with the worker, between claim and charge", "on_receipt", True, False),
            ("after the charge", "on_record", False, True),
            ("after the charge, whose answer is lost", "on_record", False, False),
            ("with the worker, after the charge", "on_record", True, False),
        ):
            world.use(950)
            dead = threading.Event()

            def blow(key):
                server.kill()
                if worker_too:
                    worker.kill()
                dead.set()
                if not answer:
                    raise LostAnswer

            setattr(world.endpoint, hook, blow)
            worker = world.worker("--once")
            check(f"server killed {what}", dead.wait(30))
            time.sleep(0.3)  # the worker finds no server and has to come again
            server.start()
            check(f"server killed {what}: the worker", world.end(worker), -signal.SIGKILL if worker_too else 0)
            world.endpoint.unharmed()
            if not answer:
                check(f"server killed {what}: the claim has survived", world.recharges()[-1], ("processing", 0))
                world.later(LEASE)
                world.run()
            once_more(what)

        def blow_and_stop(key):
            server.kill()
            worker.terminate()

        world.use(950)
        world.endpoint.on_record = blow_and_stop
        worker = world.worker("--once")
        check("a worker that is to stop does not wait for the server", world.end(worker), 0)
        server.start()
        world.endpoint.unharmed()
        world.later(LEASE)
        world.run()
        once_more("after the charge, and the worker told to stop")

        world.use(950)
        world.run()
        server.kill()
        server.start()
        world.run()
        once_more("after the grant")


def storm():
    """Servers and workers are killed at any time."""
    dice = random.Random(SEED)
    with World("storm", delay=0.03) as world:
        resources = [f"ws-{n}" for n in range(16)]
        world.customer(resources=resources)
        world.use(resources=resources)
        for _ in range(3):
            workers = [world.worker("--batch", "2", "--poll", "0.1") for _ in range(2)]
            until(lambda: all(catches_sigterm(worker) for worker in workers))
            time.sleep(dice.uniform(0, 0.4))
            server.kill()
            if dice.random() < 0.5:
                workers[0].kill()
            server.start()
            time.sleep(dice.uniform(0, 0.3))
            for worker in workers:
                worker.terminate()
            ends = {world.end(worker) for worker in workers}
            check("killed at any time: workers end well or were killed", ends <= {0, -signal.SIGKILL})
            world.later(LEASE)
        world.run()
        check(
            "killed at any time: money and credits",
            (world.money(), world.balances()),
            ((16, 16 * EUR19, 0), [1000] * 16),
        )
        world.check_books("killed at any time")


def chance():
    """Two pools of one customer, and an endpoint of which nobody knows what it does next."""
    dice = random.Random(SEED)
    with World("chance", mode="random", rate=0.5, seed=SEED) as world:
        world.customer(resources=[None, "ws"])
        for number in range(60):
            if number >= 6 and world.endpoint.requests.total() > len(world.recharges()):
                break  # enough, with something that was tried again
            for resource, balance in zip((None, "ws"), world.balances()):
                amount = balance - dice.randrange(0, 100)
                if amount > 0 and dice.random() < 0.8:
                    world.use(amount, resources=[resource])
            world.run()
            world.later(timedelta(minutes=dice.choice((1, 2, 5))))
            if dice.random() < 0.3:
                world.reset()
        world.endpoint.mode = "approve"
        world.later(timedelta(days=1))
        world.run()
        statuses = [status for status, _ in world.recharges()]
        print(
            f"         {len(statuses)} recharges, {statuses.count('failed')} failed,"
            f" {world.endpoint.requests.total()} requests,"
            f" {world.money()[0]} charges"
        )
        check("random outcomes: something was tried again", world.endpoint.requests.total() > len(statuses))
        world.check_books("random outcomes")


def main():
    end_with_parent()
    scenarios = [test_endpoint]
    if WITH_DATABASE:
        server.start_command[:] = sys.argv[1:]
        print(f"seed     CREDIT_POOLS_TEST_SEED={SEED}")
        scenarios += [
            the_usual,
            declines,
            unknown_outcomes,
            killed_worker,
            two_workers,
            too_late,
            lost_answers,
            killed_server,
            storm,
            chance,
        ]
    for scenario in scenarios:
        try:
            scenario()
        except Exception:
            check(f"{scenario.__name__} comes to its end", traceback.format_exc(), "no exception")
    checks.finish()


if __name__ == "__main__":
    main()
