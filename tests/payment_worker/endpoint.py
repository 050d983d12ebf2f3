"""The example's endpoint with places to do harm at, and checks of what it promises."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from checks import check, end_with_parent

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "payment_worker"
sys.path.insert(0, str(EXAMPLE))
from fake_payments import LostAnswer, Payments, serve  # noqa: E402


class Endpoint(Payments):
    """Runs in a thread of this process. A hook is called with the key; what on_receipt returns is the answer then."""

    def __init__(self, path, **options):
        super().__init__(path, **options)
        self.unharmed()
        self.requests = Counter()  # by key
        self.server = serve(self)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def charge(self, key, *what):
        self.requests[key] += 1
        said = self.on_receipt(key)
        if said is None:
            said = super().charge(key, *what)
            self.on_record(key)
        return said

    def refund(self, charge_id):
        self.on_refund(charge_id)
        return super().refund(charge_id)

    def unharmed(self):
        self.on_receipt = self.on_record = self.on_refund = lambda key: None

    def by_key(self):
        return {charge["key"]: charge for charge in self.charges()[1]}

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def post(url, path, body, key=None):
    """Status and answer; status 0 where the connection was cut."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        headers = {"Idempotency-Key": key} if key else {}
        connection.request(*(("GET", path) if body is None else ("POST", path, json.dumps(body), headers)))
        answer = connection.getresponse()
        return answer.status, json.load(answer)
    except (http.client.HTTPException, ConnectionError):
        return 0, None
    finally:
        connection.close()


def test_endpoint():
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(EXAMPLE / "fake_payments.py"), "--file", f"{folder}/books"]

        def start(*options):
            process = subprocess.Popen(
                [*command, *options], stdout=subprocess.PIPE, text=True, preexec_fn=end_with_parent
            )
            return process, process.stdout.readline().strip()

        def end(process):
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()

        process, url = start()
        try:
            check("the endpoint says where it is", bool(re.fullmatch(r"http://127\.0\.0\.1:\d+", url)))
            buy = {"customer": "acme", "amount": "19.00", "currency": "EUR"}
            charge = {"id": "ch_1", "key": "k1", **buy, "refunded": False}
            with ThreadPoolExecutor(16) as pool:
                answers = list(pool.map(lambda _: post(url, "/charges", buy, "k1"), range(32)))
            check("a key that comes 32 times at once has one charge", answers, [(200, charge)] * 32)
            check("19 is 19.00", post(url, "/charges", {**buy, "amount": "19"}, "k1"), (200, charge))
            others = ({"amount": "19.01"}, {"currency": "USD"}, {"customer": "other"})
            answers = [post(url, "/charges", {**buy, **other}, "k1")[0] for other in others]
            check("another amount, currency or customer is refused", answers, [422] * 3)
            declined = {**buy, "customer": "declined-1"}
            no = (402, {"error": "insufficient_funds", "permanent": False})
            check("a decline may be tried again", [post(url, "/charges", declined, "k2") for _ in range(2)], [no] * 2)
            stolen = (402, {"error": "stolen_card", "permanent": True})
            check("a stolen card is for good", post(url, "/charges", {**buy, "customer": "stolen-1"}, "k2"), stolen)
            check("a declined key is free", post(url, "/charges", buy, "k2")[1]["id"], "ch_2")
            lost = {**buy, "customer": "lost-1"}
            answers = [post(url, "/charges", lost, "k3"), post(url, "/charges", lost, "k3")]
            check(
                "a lost answer is there when asked again",
                [(s, a and a["id"]) for s, a in answers],
                [(0, None), (200, "ch_3")],
            )
            check("an outage charges nothing", post(url, "/charges", {**buy, "customer": "down-1"}, "k4")[0], 503)
            bad = [
                post(url, "/charges", buy)[0],
                post(url, "/charges", {"customer": "acme"}, "k5")[0],
                post(url, "/charges", {**buy, "amount": "-1"}, "k5")[0],
                post(url, "/charges", {**buy, "amount": "x"}, "k5")[0],
                post(url, "/refunds", {"charge_id": "ch_9"})[0],
                post(url, "/nothing", {})[0],
            ]
            check("nonsense is refused", bad, [400, 400, 400, 400, 404, 404])
            refund = {"charge_id": "ch_1"}
            answers = [post(url, "/refunds", refund) for _ in range(2)]
            check("a refund may be repeated", answers, [(200, {**charge, "refunded": True})] * 2)
            check("a refunded charge stays its key's", post(url, "/charges", buy, "k1"), answers[0])
            before = post(url, "/charges", None)
            check("all charges, and no others", [c["id"] for c in before[1]], ["ch_1", "ch_2", "ch_3"])
            end(process)
            process, url = start("--mode", "stolen")
            check("kill -9 of the endpoint loses no charge", post(url, "/charges", None), before)
            check(
                "the mode is for customers without a rule",
                [post(url, "/charges", buy, "k6")[0], post(url, "/charges", declined, "k6")[1]["permanent"]],
                [402, False],
            )
            outcomes = []
            for _ in range(2):
                end(process)
                os.unlink(f"{folder}/books")
                process, url = start("--mode", "random", "--seed", "7", "--rate", "0.5")
                outcomes.append([post(url, "/charges", buy, f"k{n}")[0] for n in range(40)])
            check("chance is the seed's", outcomes[0] == outcomes[1] and set(outcomes[0]) == {0, 200, 402, 503})
        finally:
            end(process)


__all__ = ["EXAMPLE", "Endpoint", "LostAnswer", "test_endpoint"]
