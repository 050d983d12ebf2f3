#!/usr/bin/env python3
"""Checks an export of the credit ledger, with none of the code that wrote it.

Reads the CSV that export.sql makes, recomputes every pool's chain of hashes, and compares it with ledger heads that
were kept elsewhere. README.md beside this file has the canonical form of a row. One line per problem; the exit status
is 0 when there is none, 1 when there is any, 2 when the files cannot be read.
"""

import argparse
import decimal
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

# The members of the canonical array, in its order. The export has these columns and the hash behind them.
SEALED = (
    "customer_id", "pool_id", "seq", "entry_type", "amount", "balance_after", "grant_id", "usage_id", "feature_id",
    "value", "reservation_id", "recharge_id", "idempotency_key", "actor", "reason", "dimensions", "metadata",
    "effective_at", "recorded_at", "credits", "shortfall", "rate", "payload_digest",
)  # fmt: skip
COLUMNS = (*SEALED, "entry_hash")

Field = str | None
Row = list[Field]
Key = tuple[str, int]

# A quoted field, or one that is not; then its end.
FIELD = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",]*))(,|\Z)')
COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
HASH = re.compile(r"[0-9a-f]{64}")
INTEGER = re.compile(r"-?[0-9]{1,19}")

# An amount is 128 bits: 39 digits, a point and a sign. Sums of these are exact.
LONGEST = 41
decimal.getcontext().prec = 100


class Unreadable(Exception):
    """The file is not what the program can check."""


def records(file: IO[str]) -> Iterator[Row]:
    """The records of a CSV file as PostgreSQL writes it: an empty field is NULL, "" is an empty text. (Python's csv
    module does not tell these apart.)"""
    pending = ""
    for line in file:
        pending += line
        if pending.count('"') % 2:  # the line end is within a quoted field
            continue
        record, pending = pending.removesuffix("\n").removesuffix("\r"), ""
        if '"' not in record:
            yield [field or None for field in record.split(",")]
            continue
        fields: Row = []
        at = 0
        while True:
            found = FIELD.match(record, at)
            if found is None:
                raise Unreadable(f"not CSV: {record[:100]!r}")
            quoted, plain, end = found.groups()
            fields.append(quoted.replace('""', '"') if quoted is not None else plain or None)
            at = found.end()
            if not end:
                break
        yield fields
    if pending:
        raise Unreadable("the file ends within a quoted field")


def canonical(sealed: Row) -> bytes:
    """A row as it is sealed: a compact JSON array of texts and nulls, in UTF-8."""
    return COMPACT.encode(sealed).encode()


def seal(previous: bytes, row: Row) -> bytes:
    return hashlib.sha256(previous + canonical(row[: len(SEALED)])).digest()


@dataclass
class Pool:
    """A pool's chain up to the row that was read last."""

    key: Key
    seq: int = 0
    # The hash of the last row; should that be forged, also the one that it ought to have.
    hashes: tuple[bytes, ...] = (b"",)
    balance: decimal.Decimal = decimal.Decimal(0)
    recorded_at: int | None = None


# By pool and seq, the hashes that the row must have.
Heads = dict[Key, dict[int, set[str]]]


def read_heads(name: str, heads: Heads) -> None:
    """Adds the heads of a file: an array of them, or one per line."""
    with open(name, encoding="utf-8") as file:
        text = file.read()
    try:
        kept = json.loads(text)
        kept = [kept] if isinstance(kept, dict) else kept
    except json.JSONDecodeError:
        kept = [json.loads(line) for line in text.split("\n") if line.strip()]
    if not kept:  # what a job that failed leaves behind must not pass for a check
        raise Unreadable(f"{name} has no heads")
    for head in kept:
        of_pool = heads.setdefault((head["customer_id"], int(head["pool_id"])), {})
        of_pool.setdefault(int(head["seq"]), set()).add(head["entry_hash"].removeprefix("\\x").lower())


class Checker:
    def __init__(self, heads: Heads, new_heads: IO[str] | None) -> None:
        self.heads, self.new_heads = heads, new_heads
        self.pool: Pool | None = None
        self.expected: dict[int, set[str]] = {}
        self.rows = self.pools = self.problems = 0

    def report(self, key: Key, seq: int | None, problem: str, text: str) -> None:
        self.problems += 1
        # As JSON, since an id may look like anything.
        customer = json.dumps(key[0], ensure_ascii=False)
        print(f"customer {customer} pool {key[1]} seq {'-' if seq is None else seq}: {problem}: {text}")

    def check(self, rows: Iterator[Row]) -> None:
        before: tuple[Key, int] | None = None
        for row in rows:
            try:
                key, seq = (row[0] or "", int(row[1] or "")), int(row[2] or "")
            except (ValueError, IndexError):
                raise Unreadable(f"not a row of the export: {row!r:.200}") from None
            if len(row) != len(COLUMNS):
                raise Unreadable(f"{len(row)} columns instead of {len(COLUMNS)}: {row!r:.200}")
            if before is not None and (key, seq) <= before:
                raise Unreadable(f"not in order of customer_id, pool_id, seq: pool {key[1]} seq {seq}")
            before = key, seq
            if self.pool is None or self.pool.key != key:
                self.end_pool()
                self.pool = Pool(key)
                self.expected = self.heads.pop(key, {})
                self.pools += 1
            self.rows += 1
            if seq > 0:
                self.entry(self.pool, seq, row)
            else:
                self.event(key, seq, row)
        self.end_pool()
        for key, seqs in self.heads.items():
            self.report(key, max(seqs), "kept_head", "the export has nothing of this pool")

    def entry(self, pool: Pool, seq: int, row: Row) -> None:
        """The next entry of a pool's chain."""
        key = pool.key
        after_gap = seq != pool.seq + 1
        if after_gap:
            self.report(key, seq, "gap", f"{pool.seq + 1} to {seq - 1} missing")
        if (row[3] == "open") != (seq == 1):
            self.report(key, seq, "opening", f"row {seq} is {row[3]!r}")

        amount, after = exact(row[4]), exact(row[5])
        expected = pool.balance + (amount or 0)
        # What the balance was behind a gap nobody knows.
        if amount is None or (after != expected and not after_gap):
            self.report(key, seq, "balance", f"balance_after is {row[5]}, but {pool.balance} before and {row[4]}")

        recorded_at = int(row[18]) if row[18] and INTEGER.fullmatch(row[18]) else None
        if recorded_at is None or (pool.recorded_at is not None and recorded_at < pool.recorded_at):
            self.report(key, seq, "order", f"recorded_at {row[18]} after {pool.recorded_at}")

        computed = [seal(before, row) for before in pool.hashes]
        kept = row[-1] or ""
        is_hash = HASH.fullmatch(kept) is not None
        sound = is_hash and (after_gap or bytes.fromhex(kept) in computed)
        if not sound:
            self.report(key, seq, "hash", f"entry_hash is {kept or 'missing'}, but of this row {computed[0].hex()}")
        for must_be in self.expected.pop(seq, set()) - {kept}:
            self.report(key, seq, "kept_head", f"entry_hash is {kept or 'missing'}, was {must_be}")

        pool.hashes = ((bytes.fromhex(kept),) if is_hash else ()) + (() if sound else tuple(computed))
        pool.seq, pool.balance, pool.recorded_at = seq, expected if after is None else after, recorded_at

    def event(self, key: Key, seq: int, row: Row) -> None:
        """A usage that moved no credits: sealed by itself, outside the chain."""
        computed = seal(b"", row).hex()
        if seq == 0 or row[7] != str(-seq) or exact(row[4]) != 0:
            self.report(key, seq, "unsealed", f"not a usage event without an entry: usage_id {row[7]}, amount {row[4]}")
        elif row[-1] != computed:
            self.report(key, seq, "unsealed", f"entry_hash is {row[-1] or 'missing'}, but of this row {computed}")

    def end_pool(self) -> None:
        pool = self.pool
        if pool is None:
            return
        for seq, must_be in self.expected.items():
            text = f"no such row, the last is {pool.seq}; its entry_hash was {', '.join(must_be)}"
            self.report(pool.key, seq, "kept_head", text)
        if self.new_heads is not None and pool.seq > 0:
            head = {"customer_id": pool.key[0], "pool_id": pool.key[1], "seq": pool.seq, "entry_hash": pool.hashes[0].hex()}
            print(json.dumps(head, ensure_ascii=False), file=self.new_heads)


def exact(text: Field) -> decimal.Decimal | None:
    """An amount, or None for what is none."""
    try:
        number = decimal.Decimal(text or "")
    except decimal.InvalidOperation:
        return None
    return number if number.is_finite() and len(text or "") <= LONGEST else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", help="the CSV file, - for standard input")
    parser.add_argument("--heads", metavar="FILE", action="append", default=[],
                        help="JSON of ledger_head() that was kept; may be given again")  # fmt: skip
    parser.add_argument("--write-heads", metavar="FILE", help="write the heads of this export, one per line")
    options = parser.parse_args()
    try:
        heads: Heads = {}
        for name in options.heads:
            read_heads(name, heads)
        new_heads = open(options.write_heads, "w", encoding="utf-8") if options.write_heads else None
        path = sys.stdin.fileno() if options.export == "-" else options.export
        with open(path, encoding="utf-8", newline="\n") as file:
            rows = records(file)
            if next(rows, None) != list(COLUMNS):
                raise Unreadable("the first line is not " + ",".join(COLUMNS))
            checker = Checker(heads, new_heads)
            checker.check(rows)
        if new_heads is not None:
            new_heads.close()
    except (Unreadable, OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"cannot check: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    verdict = "sound" if checker.problems == 0 else f"{checker.problems} problems"
    print(f"{checker.rows} rows of {checker.pools} pools: {verdict}")
    return min(checker.problems, 1)


if __name__ == "__main__":
    sys.exit(main())
