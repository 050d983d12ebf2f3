#!/usr/bin/env python3
"""check_meta.py [archive.zip]: META.json is as PGXN's specification 1.0.0 wants it, and says what Cargo.toml, the control
file and LICENSE say; the archive, if one is named, holds what it promises. Prints what is wrong, and how many checks passed."""

import json
import re
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = {"name": str, "abstract": str, "version": str, "maintainer": (str, list), "license": (str, list, dict), "provides": dict, "meta-spec": dict}
OPTIONAL = {"description": str, "generated_by": str, "release_status": str, "no_index": dict, "prereqs": dict, "resources": dict, "tags": list}
LICENSES = {"agpl_3", "apache_1_1", "apache_2_0", "artistic_1", "artistic_2", "bsd", "freebsd", "gfdl_1_2", "gfdl_1_3", "gpl_1", "gpl_2", "gpl_3", "lgpl_2_1", "lgpl_3_0", "mit",
            "mozilla_1_0", "mozilla_1_1", "openssl", "perl_5", "postgresql", "qpl_1_0", "ssleay", "sun", "zlib", "open_source", "restricted", "unrestricted", "unknown"}
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?")
TERM = re.compile(r"[^\s/\\\x00-\x1f\x7f]{2,}")

failures, passed = [], 0


def expect(condition, message):
    global passed
    if condition:
        passed += 1
    else:
        failures.append(message)


meta = json.loads((ROOT / "META.json").read_text())
cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())
control = dict(re.findall(r"^(\w+) = '?(.*?)'?$", (ROOT / "credit_pools.control").read_text(), re.MULTILINE))
version = cargo["package"]["version"]

for key, kind in REQUIRED.items():
    expect(isinstance(meta.get(key), kind) and meta[key], f"{key} is missing, empty or of the wrong type")
for key, value in meta.items():
    known = {**REQUIRED, **OPTIONAL}.get(key)
    expect(key.lower().startswith("x_") or (known and isinstance(value, known)), f"{key} is not a key of the specification, or of the wrong type")
expect(TERM.fullmatch(meta.get("name", "")), "name is not a term")
expect(VERSION.fullmatch(meta.get("version", "")), "version is not a semantic version")
expect(meta.get("license") in LICENSES, "license is none of the specification's words")
expect(meta.get("release_status", "stable") in ("stable", "testing", "unstable"), "release_status")
expect(meta.get("meta-spec", {}).get("version") == "1.0.0", "meta-spec names another version")
expect(all(isinstance(tag, str) and 0 < len(tag) < 256 for tag in meta.get("tags", [])), "tags")
for name, provided in meta.get("provides", {}).items():
    expect(TERM.fullmatch(name), f"provides: {name} is not a term")
    expect(set(provided) <= {"file", "version", "abstract", "docfile"} and {"file", "version"} <= set(provided), f"provides: {name} has the wrong keys")
    expect(VERSION.fullmatch(provided.get("version", "")), f"provides: the version of {name}")
for phase, relations in meta.get("prereqs", {}).items():
    expect(phase in ("configure", "build", "test", "runtime", "develop"), f"prereqs: no phase {phase}")
    for relation, needs in relations.items():
        expect(relation in ("requires", "recommends", "suggests", "conflicts"), f"prereqs: no relation {relation}")
        expect(all(re.fullmatch(r"(0|[<>=! ,\d.]*[\d.]+)", need) for need in needs.values()), f"prereqs: a version in {phase}")

provided = meta.get("provides", {}).get("credit_pools", {})
expect(meta.get("name") == cargo["package"]["name"], "name is not that of Cargo.toml")
expect(meta.get("abstract") == cargo["package"]["description"], "abstract is not the description of Cargo.toml")
expect(meta.get("version") == version and provided.get("version") == version, f"version is not {version}, as in Cargo.toml")
expect(control.get("default_version") in ("@CARGO_VERSION@", version), f"the control file's version is not {version}")
expect(provided.get("file") == f"sql/credit_pools--{version}.sql", "provides: file is not the install script of this version")
expect(cargo["workspace"]["package"]["license"] == "MIT" and (ROOT / "LICENSE").read_text().startswith("MIT License\n") and meta.get("license") == "mit",
       "META.json, Cargo.toml and LICENSE do not name one licence")
expect("resources" not in meta, "resources: there is no public address of this project yet")

for archive in sys.argv[1:]:
    top = f"credit_pools-{version}/"
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        expect(all(name.startswith(top) for name in names), f"{archive}: not everything is below {top}")
        for wanted in ("META.json", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", "Cargo.toml", "Cargo.lock", "credit_pools.control", "src/lib.rs", provided.get("file"), provided.get("docfile")):
            expect(top + str(wanted) in names, f"{archive}: no {wanted}")
        expect(b"CREATE FUNCTION" in opened.read(top + provided["file"]), f"{archive}: the install script is none")
        expect(not any("/target/" in name or "/.git/" in name for name in names), f"{archive}: holds what was built")

for failure in failures:
    print(f"FAILED   META.json: {failure}")
print(f"META.json: {passed} passed, {len(failures)} failed")
sys.exit(bool(failures))
