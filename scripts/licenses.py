#!/usr/bin/env python3
"""licenses.py check   the licence of each crate that building or testing takes is one of those in deny.toml
licenses.py texts   what the crates linked into the library say about their licences, for the package

Asks cargo, offline, with Python's standard library alone.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXTS = re.compile(r"^(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)


def metadata():
    """For this platform: the crates of others need not have been fetched."""
    about = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    platform = re.search(r"^host: (.*)$", about, re.MULTILINE)[1]
    command = ["cargo", "metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", platform]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def satisfied(expression, allowed):
    """Whether an SPDX expression can be satisfied by these licences. AND binds closer than OR; `/` is an old OR."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def either():
        result = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            result = both() or result
        return result

    def both():
        result = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            result = one() and result
        return result

    def one():
        token = tokens.pop(0)
        if token == "(":
            result = either()
            tokens.pop(0)
            return result
        if tokens and tokens[0] == "WITH":
            token = " ".join((token, tokens.pop(0), tokens.pop(0)))
        return token in allowed

    return either() and not tokens


def check():
    allowed = set(tomllib.loads((ROOT / "deny.toml").read_text())["licenses"]["allow"])
    packages = metadata()["packages"]
    bad = [p for p in packages if not p["license"] or not satisfied(p["license"], allowed)]
    elsewhere = [p for p in packages if p["source"] and not p["source"].startswith("registry+")]
    for package in bad:
        print(f"FAILED: {package['name']} {package['version']}: licence {package['license']}")
    for package in elsewhere:
        print(f"FAILED: {package['name']} {package['version']}: from {package['source']}")
    if len(packages) < 20:
        sys.exit("FAILED: hardly any packages to look at")
    print(f"licences of {len(packages)} crates are allowed" if not bad else f"{len(bad)} licences are not allowed")
    return 1 if bad or elsewhere else 0


def is_linked(package):
    return any(kind in ("lib", "rlib", "cdylib") for target in package["targets"] for kind in target["kind"])


def linked():
    """The packages that the library is linked from, without our own."""
    found = metadata()
    packages = {package["id"]: package for package in found["packages"]}
    nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
    reached, ways = set(), [number for number, package in packages.items() if package["name"] == "credit_pools"]
    while ways:
        number = ways.pop()
        if number not in reached and is_linked(packages[number]):
            reached.add(number)
            uses = (use for use in nodes[number]["deps"] if any(kind["kind"] is None for kind in use["dep_kinds"]))
            ways += [use["pkg"] for use in uses]
    others = (packages[number] for number in reached if packages[number]["source"])
    return sorted(others, key=lambda package: (package["name"], package["version"]))


def texts():
    print("The library contains code of these crates, under the licences that they name.\n")
    for package in linked():
        print(f"{'=' * 80}\n{package['name']} {package['version']}: {package['license']}")
        if package["authors"]:
            print("by " + ", ".join(re.sub(r" <[^>]*>", "", author) for author in package["authors"]))
        folder = Path(package["manifest_path"]).parent
        for file in sorted(file for file in folder.iterdir() if file.is_file() and TEXTS.match(file.name)):
            print(f"\n--- {file.name}\n{file.read_text(errors='replace').strip()}")
        print()
    return 0


if sys.argv[1:] not in (["check"], ["texts"]):
    sys.exit(__doc__)
sys.exit({"check": check, "texts": texts}[sys.argv[1]]())
