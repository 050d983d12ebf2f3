#!/usr/bin/env python3
"""Executes every query of the dashboard and of the exporter's collectors as a role of level reader, as Grafana and sql_exporter
would, and compares with what fill.sql has made. check.py READER SUPERUSER: connection strings of libpq."""
import json
import re
import sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import psycopg
import yaml

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 6, 15, 12, tzinfo=timezone.utc)
NUMBERS, TEXTS, TIMES = {20, 21, 23, 700, 701, 1700}, {25, 1043}, {1184}
HOSTILE = ["'); DROP TABLE bait; --", "\\'; DROP TABLE bait; --", "$__timeFrom()", "${resource}", 'a"b%_']
passed = failed = 0


def same(name, expected, got):
    global passed, failed
    if expected == got:
        passed += 1
        print(f"ok       {name}")
    else:
        failed += 1
        print(f"FAILED   {name}\n  expected: {expected!r:.600}\n  got:      {got!r:.600}")


def literal(value):
    return "'" + value.replace("'", "''") + "'"


class Grafana:
    """What Grafana makes of a query before PostgreSQL sees it: variables in the browser, once, then macros in the server."""

    def __init__(self, values, search="%", start=NOW - timedelta(days=30), end=NOW):
        self.values, self.search, self.range = {**values, "__interval": "1h", "__searchFilter": search}, search, (start, end)

    def sql(self, query):
        variable = r"\$\{(\w+)(?::(\w+))?\}|\$(\w+)"
        query = re.sub(variable, self.variable, query)
        return re.sub(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)", self.macro, query)

    def variable(self, match):
        name, form = match[1] or match[3], match[2]
        if name not in self.values:  # Grafana leaves it, for the macros
            return match[0]
        value = self.values[name]
        if form == "sqlstring":
            return literal(value)
        if form:
            raise ValueError(f"a format that these queries should not need: {match[0]}")
        return value.replace("'", "''")  # the data source's own way

    def macro(self, match):
        start, end = (literal(instant.isoformat()) for instant in self.range)
        known = {"__timeFrom": start, "__timeTo": end, "__timeFilter": f"{match[2]} BETWEEN {start} AND {end}"}
        if match[1] not in known:
            raise ValueError(f"Grafana has no macro {match[0]}")
        return known[match[1]]


class Database:
    def __init__(self, conninfo):
        self.connection = psycopg.connect(conninfo, autocommit=True)

    def ask(self, sql):
        """Names and types of the columns, and the rows."""
        cursor = self.connection.execute(sql)
        return [(column.name, column.type_code) for column in cursor.description], cursor.fetchall()

    def rows(self, sql):
        return self.ask(sql)[1]


def numeric(value):
    return value is None or isinstance(value, (int, float, Decimal))


def wrong(panel, columns, rows):
    """What Grafana could not show of a panel's answer."""
    names, kinds = [name for name, _ in columns], dict(columns)
    if len(set(names)) < len(names):
        return f"columns of one name: {names}"
    if unknown := [name for name in names if kinds[name] not in NUMBERS | TEXTS | TIMES | {16}]:
        return f"types that Grafana does not show: {unknown}"
    if panel["type"] == "timeseries":
        if panel["targets"][0]["format"] != "time_series" or names[0] != "time" or kinds["time"] not in TIMES:
            return f"no column time: {columns}"
        if [name for name in names if kinds[name] in TEXTS] not in ([], ["metric"]):
            return f"more labels than metric: {names}"
        if not any(kinds[name] in NUMBERS for name in names):
            return "no figures"
        if [row[0] for row in rows] != sorted(row[0] for row in rows):
            return "not in the order of time"
    elif panel["targets"][0]["format"] != "table":
        return "not a table"
    elif panel["type"] == "stat" and (len(rows) != 1 or set(kinds.values()) - NUMBERS):
        return f"not one row of figures: {columns} {rows}"
    if unknown := {each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"] if each["matcher"]["id"] == "byName"} - set(names):
        return f"looks for columns that there are not: {unknown}"
    return None


def dashboard(reader, owner):
    text = (ROOT / "monitoring/grafana/credit_pools.json").read_text()
    board = json.loads(text)
    variables = {each["name"]: each for each in board["templating"]["list"]}
    panels = [each for each in board["panels"] if each["type"] != "row"]
    # The shape of a dashboard.
    same("dashboard: what Grafana asks of one", ["panels", "schemaVersion", "templating", "time", "title"],
         sorted({"panels", "schemaVersion", "templating", "time", "title"} & set(board)))
    same("dashboard: no data source of somebody's own", {"${datasource}"}, set(re.findall(r'"uid": "([^"]*)"', text)))
    same("dashboard: nor an id of its own", [False, False], ["id" in board, "uid" in board])
    same("dashboard: each query asks that data source", [], [p["title"] for p in panels for t in [*p["targets"], p]
         if t["datasource"] != {"type": "grafana-postgresql-datasource", "uid": "${datasource}"}])
    same("dashboard: variables", ["datasource", "customer", "resource", "credit_type", "bucket"], list(variables))
    same("dashboard: ids are unique", len(board["panels"]), len({each["id"] for each in board["panels"]}))
    places = {}
    for each in board["panels"]:
        g = each["gridPos"]
        for cell in ((x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])):
            places.setdefault(cell, []).append(each["title"])
    same("dashboard: no panel lies on another, or outside", [], [(c, t) for c, t in places.items() if len(t) > 1 or c[0] > 23])
    same("dashboard: kinds of panels", {"row", "stat", "table", "timeseries"}, {each["type"] for each in board["panels"]})
    same("dashboard: titles are unique", len(panels), len({each["title"] for each in panels}))

    # Its variables, each filled from those before it.
    def options(name, **values):
        columns, rows = reader.ask(Grafana(**{"values": {}, **values}).sql(variables[name]["query"]))
        names = [column for column, _ in columns]
        shown = [(row[names.index("__text")], row[names.index("__value")]) if "__text" in names else (row[0], row[0]) for row in rows]
        assert len({text for text, _ in shown}) == len(shown), f"{name}: Grafana shows only one of those with the same text"
        return shown

    customers = [value for value, in owner.rows("SELECT DISTINCT customer_id FROM credit_pools.pool ORDER BY 1")]
    same("variable customer: all", customers, [value for _, value in options("customer", values={})])
    same("variable customer: what begins as typed", ["declined"], [value for _, value in options("customer", values={}, search="decl%")])
    same("variable customer: a quote is typed", ["o'brien"], [value for _, value in options("customer", values={}, search="o'b%")])
    same("variable resource: the global pool first", [("(global pool)\t", "g:"), ("it's", "r:it's")],
         options("resource", values={"customer": "o'brien"}))
    same("variable credit_type", [("images", "images"), ("tokens", "tokens")],
         options("credit_type", values={"customer": "o'brien", "resource": "r:it's"}))
    same("variable credit_type: of the global pool", [("tokens", "tokens")], options("credit_type", values={"customer": "o'brien", "resource": "g:"}))
    buckets = variables["bucket"]["query"].split(",")
    same("variable bucket: one of them is chosen", True, variables["bucket"]["current"]["value"] in buckets)

    # Its panels, for one pool.
    def show(panel, values, **other):
        return reader.ask(Grafana({"bucket": "1 day", **values}, **other).sql(panel["targets"][0]["rawSql"]))

    pool = {"customer": "o'brien", "resource": "r:it's", "credit_type": "tokens"}
    shown = {}
    for panel in panels:
        columns, rows = show(panel, pool)
        shown[panel["title"]] = [dict(zip([name for name, _ in columns], row)) for row in rows]
        same(f"panel {panel['title']}: can be shown", None, wrong(panel, columns, rows))
        same(f"panel {panel['title']}: shows something", True, len(rows) > 0)
    figures = {**shown["The pool in the time range"][0], **shown["Health"][0]}
    same("figures of the pool", {"Balance": 300, "Used": 460, "Usages": 3, "Expires in 30 days": 40}, {k: figures[k] for k in
         ("Balance", "Used", "Usages", "Expires in 30 days")})
    same("figures: per day, and for how long", [True, True], [abs(float(figures["Used per day"]) - 460 / 30) < 0.01,
         abs(float(figures["Lasts for"]) - 300 / (460 / 30)) < 0.1])
    same("figures of the installation", {"Pools": 16, "In debt": 1, "Empty": 2, "Frozen": 1, "Due": 1, "Maintenance lag": 7200,
         "Breakers open": 1, "Failed in 24 h": 1, "Recharges pending": 2, "Oldest pending": 3300, "Overdue payment": 3000, "Oldest event": 1252800},
         {k: figures[k] for k in ("Pools", "In debt", "Empty", "Frozen", "Due", "Maintenance lag", "Breakers open", "Failed in 24 h",
          "Recharges pending", "Oldest pending", "Overdue payment", "Oldest event")})

    def total(title, key="metric", value="value"):
        sums = {}
        for row in shown[title]:
            sums[row[key]] = sums.get(row[key], 0) + row[value]
        return sums
    same("chart by feature", {"chat": 260, "draw": 200}, total("Credits by feature"))
    same("chart by feature: empty days, too", True, len(shown["Credits by feature"]) >= 60)
    same("chart of usages", {"chat": 2, "draw": 1}, total("Usages by feature"))
    same("chart by resource", {"it's": 460, "(global pool)": Decimal("10.25")}, total("Credits by resource, all pools of the customer"))
    same("balance as booked", [500, 350, 300], [row["balance"] for row in shown["Balance as booked"]])
    same("pools of the customer", [("(global pool)", "tokens", Decimal("984.75"), "none"), ("it's", "images", 70, "none"), ("it's", "tokens", 300, "on")],
         [(r["resource"], r["credit_type"], r["balance"], r["auto_recharge"]) for r in shown["Pools of ${customer}"]])
    same("subscriptions", [("it's", "images", "active"), ("it's", "tokens", "active")],
         [(r["resource"], r["credit_type"], r["status"]) for r in shown["Subscriptions and their pools"]])
    same("grants", [("recurring", 500, 40), ("paid", 260, 260)], [(r["category"], r["amount"], r["available"]) for r in shown["Grants"]])
    same("ending soon", [("it's", 40)], [(r["resource"], r["expiring"]) for r in shown["Ending within 30 days, all pools of the customer"]])
    same("ledger", ["grant", "consume", "consume", "consume", "grant", "open"], [r["entry_type"] for r in shown["Latest rows in the time range"]])
    same("auto-recharge", ["none", "none", "on"], [r["state"] for r in shown["State of each pool"]])
    same("recharges", [("succeeded", 260)], [(r["status"], r["amount"]) for r in shown["Recharges of the customer in the time range"]])
    same("consumers", [("slow", 1252800), ("quick", None)], [(r["consumer"], r["behind"]) for r in shown["Event consumers"]])
    same("recharges that ended", {"failed": 1, "succeeded": 1}, total("Recharges that ended, all customers"))
    same("failed, and open breakers", [("declined", "breaker", "card declined")],
         [(r["customer"], r["state_now"], r["reason"]) for r in shown["Failed recharges in the time range, all customers"]])

    # Every pool, every bucket, other ranges: each panel can be shown.
    problems = []
    every = owner.rows("SELECT customer_id, CASE WHEN resource_id IS NULL THEN 'g:' ELSE 'r:' || resource_id END, credit_type_id FROM credit_pools.pool")
    for customer, resource, credit_type in every:
        for panel in panels:
            try:
                problem = wrong(panel, *show(panel, {"customer": customer, "resource": resource, "credit_type": credit_type}))
            except psycopg.Error as error:
                # A macro's name within an id is one for Grafana, too: then nothing is shown. Any other id is an id.
                problem = None if "$__timeFrom()" in customer + resource and error.sqlstate == "42601" else error
            if problem:
                problems.append((customer, panel["title"], problem))
    same(f"every panel can be shown of all {len(every)} pools", [], problems)
    for bucket in buckets:
        for days in (1, 7, 365 if "minutes" not in bucket else 90):
            for panel in panels:
                if problem := wrong(panel, *show(panel, {**pool, "bucket": bucket}, start=NOW - timedelta(days=days), end=NOW + timedelta(hours=1))):
                    problems.append((bucket, days, panel["title"], problem))
    same("and with every bucket, over a day to a year", [], problems)
    for hostile in HOSTILE:
        if "$__timeFrom()" in hostile:
            continue
        values = {"customer": hostile, "resource": f"r:{hostile}", "credit_type": "tokens"}
        same(f"a customer called {hostile}: its own resource", [(hostile, f"r:{hostile}")], options("resource", values=values))
        table = next(panel for panel in panels if panel["title"].startswith("Pools of"))
        same(f"a customer called {hostile}: its own pool", [hostile], [row[0] for row in show(table, values)[1]])
    same("what they name is still there", [(0,)], owner.rows("SELECT count(*) FROM bait"))


KEYS = {"collector": {"collector_name", "min_interval", "metrics", "queries"}, "query": {"query_name", "query", "no_prepared_statement"},
        "metric": {"metric_name", "type", "help", "key_labels", "static_labels", "value_label", "values", "query", "query_ref", "static_value",
                   "timestamp_value", "no_prepared_statement"}}


def collectors():
    """The collectors' files, by name, with what sql_exporter refuses as problems."""
    found, problems = {}, []
    for file in sorted((ROOT / "monitoring/prometheus").glob("*.collector.yml")):
        collector = yaml.safe_load(file.read_text())
        found[collector["collector_name"]] = collector
        problems += [f"{file.name}: {key}" for key in set(collector) - KEYS["collector"]]
        if file.name != f"{collector['collector_name']}.collector.yml" or not re.fullmatch(r"\d+[smh]", collector["min_interval"]):
            problems.append(f"{file.name}: another name, or no min_interval")
        queries = {query["query_name"]: query for query in collector["queries"]}
        problems += [f"{file.name}: {name}: {key}" for name, query in queries.items() for key in set(query) - KEYS["query"]]
        for metric in collector["metrics"]:
            name = metric["metric_name"]
            problems += [f"{name}: {key}" for key in set(metric) - KEYS["metric"]]
            labels = metric.get("key_labels", [])
            if metric.get("query_ref") not in queries or "query" in metric or len(metric["values"]) != 1 or not metric["help"]:
                problems.append(f"{name}: not one query and one value")
            if not re.fullmatch(r"credit_pools_[a-z0-9_]+", name) or metric["type"] != "gauge" or name.endswith("_total"):
                problems.append(f"{name}: not a name, or no gauge")
            if any(not re.fullmatch(r"[a-z_]+", label) or label in ("job", "instance", "target") for label in labels):
                problems.append(f"{name}: {labels}")
        for unused in set(queries) - {metric["query_ref"] for metric in collector["metrics"]}:
            problems.append(f"{file.name}: nobody uses {unused}")
    names = [metric["metric_name"] for collector in found.values() for metric in collector["metrics"]]
    problems += [name for name in names if names.count(name) > 1]
    return found, problems


def scrape(reader, collector):
    """What sql_exporter would export: {metric: {labels: value}}, and what it could not."""
    exported, problems = {}, []
    for query in collector["queries"]:
        columns, rows = reader.ask(query["query"])
        kinds = dict(columns)
        metrics = [metric for metric in collector["metrics"] if metric["query_ref"] == query["query_name"]]
        needed = {column for metric in metrics for column in metric.get("key_labels", []) + metric["values"]}
        if set(kinds) != needed or len(columns) != len(kinds):
            problems.append(f"{query['query_name']}: columns {sorted(kinds)}, needed {sorted(needed)}")
            continue
        for metric in metrics:
            labels, value = metric.get("key_labels", []), metric["values"][0]
            if any(kinds[label] not in TEXTS for label in labels) or kinds[value] not in NUMBERS:
                problems.append(f"{metric['metric_name']}: types")
            series = exported.setdefault(metric["metric_name"], {})
            for row in rows:
                row = dict(zip(kinds, row))
                key = tuple(row[label] for label in labels)
                if key in series or None in key or row[value] is None:
                    problems.append(f"{metric['metric_name']}: twice, or NULL: {key}")
                series[key] = float(row[value])
    return exported, problems


def exporter(reader, owner):
    found, problems = collectors()
    same("collectors: sql_exporter takes them", [], problems)
    config = yaml.safe_load((ROOT / "monitoring/prometheus/sql_exporter.yml").read_text())
    same("sql_exporter.yml names all of them", sorted(found), sorted(config["target"]["collectors"]))
    same("sql_exporter.yml: its keys", [{"collector_files", "global", "target"}, {"collectors", "data_source_name", "name"}], [set(config), set(config["target"])])
    same("verify_ledger runs once a day, by itself", ("24h", 1), (found["credit_pools_verify"]["min_interval"],
         sum("verify_ledger" in query["query"] for each in found.values() for query in each["queries"])))
    same("no label is a customer, a resource or a pool", {"consumer", "credit_type_id"},
         {label for each in found.values() for metric in each["metrics"] for label in metric.get("key_labels", [])})

    exported = {}
    for name, collector in found.items():
        if name != "credit_pools_verify":
            got, problems = scrape(reader, collector)
            same(f"{name}: its queries give what its metrics need", [], problems)
            exported.update(got)
    one, types = (lambda value: {(): value}), (lambda tokens, images: {("tokens",): tokens, ("images",): images})
    expected = {
        "credit_pools_pools": one(16), "credit_pools_pools_in_debt": one(1), "credit_pools_pools_empty": one(2), "credit_pools_pools_frozen": one(1),
        "credit_pools_pools_due": one(1), "credit_pools_maintenance_lag_seconds": one(7200), "credit_pools_recharges_pending": one(2),
        "credit_pools_recharge_oldest_pending_seconds": one(3300), "credit_pools_recharge_overdue_seconds": one(3000),
        "credit_pools_recharges_failed_24h": one(1), "credit_pools_breakers_open": one(1), "credit_pools_oldest_event_seconds": one(1252800),
        "credit_pools_event_consumer_behind_seconds": {("slow",): 1252800, ("quick",): 0},
        "credit_pools_balance_credits": types(1349.75, 79), "credit_pools_debt_credits": types(40, 0), "credit_pools_held_credits": types(5, 0),
        "credit_pools_granted_credits": types(1825, 88), "credit_pools_consumed_credits": types(470.25, 0),
        "credit_pools_expired_credits": types(0, 9), "credit_pools_expiring_credits": types(40, 6),
    }
    for name in sorted(expected.keys() | exported.keys()):
        same(f"{name}", expected.get(name), exported.get(name))

    # Once it is paid nothing is overdue: the other one waits for tomorrow.
    owner.connection.execute("""SELECT FROM credit_pools.recharges r, LATERAL credit_pools.complete_recharge(customer_id => r.customer_id,
        recharge_id => r.recharge_id, payment_reference => 'paid') WHERE r.customer_id = 'waiting'""")
    later = scrape(reader, found["credit_pools_health"])[0]
    same("later: nothing is overdue, one is pending", (one(0), one(1), one(3300)), tuple(later[f"credit_pools_{name}"] for name in
         ("recharge_overdue_seconds", "recharges_pending", "recharge_oldest_pending_seconds")))

    # The ledger: sound, tampered with, sound again.
    def verify():
        got, problems = scrape(reader, found["credit_pools_verify"])
        times = {name: series.pop(()) for name, series in got.items()}
        age = owner.rows(f"SELECT extract(epoch FROM now()) - {times['credit_pools_verify_timestamp_seconds']}")[0][0]
        return problems, times["credit_pools_verify_problems"], 0 < times["credit_pools_verify_duration_seconds"] < 60, 0 <= age < 60
    same("verify: a sound ledger", ([], 0, True, True), verify())
    tamper = """SET session_replication_role = replica;
        ALTER TABLE credit_pools.ledger_entry DISABLE TRIGGER ledger_entry_append_only;
        UPDATE credit_pools.ledger_entry SET reason = {} WHERE seq = 2 AND pool_id = (SELECT pool_id FROM credit_pools.pool WHERE customer_id = 'soon');
        ALTER TABLE credit_pools.ledger_entry ENABLE TRIGGER ledger_entry_append_only;
        RESET session_replication_role"""
    for reason, problems in (("'nothing happened'", 1), ("NULL", 0)):
        for statement in tamper.format(reason).split(";"):
            owner.connection.execute(statement)
        same(f"verify: a row with reason {reason}", ([], problems, True, True), verify())

    # The rules, the tests of the rules, and the page about all of it know each metric.
    metrics = {metric["metric_name"] for collector in found.values() for metric in collector["metrics"]}
    rules = yaml.safe_load((ROOT / "monitoring/prometheus/alerts.yml").read_text())
    alerts = {rule["alert"]: rule for group in rules["groups"] for rule in group["rules"]}
    used = {name for rule in alerts.values() for name in re.findall(r"credit_pools_\w+", rule["expr"])}
    same("alerts: metrics that there are", set(), used - metrics)
    same("alerts: severity and texts", [], [name for name, rule in alerts.items() if rule["labels"].get("severity") not in ("critical", "warning")
         or set(rule["annotations"]) != {"summary", "description"}])
    tests = yaml.safe_load((ROOT / "tests/monitoring/alerts_test.yml").read_text())
    told = [(rule["alertname"], bool(rule.get("exp_alerts"))) for test in tests["tests"] for rule in test["alert_rule_test"]]
    same("alerts: each is tested to fire, and not to", {(name, fires) for name in alerts for fires in (True, False)}, set(told))
    page = (ROOT / "monitoring/README.md").read_text()
    same("README: has every metric", set(), {name for name in metrics if f"`{name}`" not in page})
    same("README: and no other", set(), set(re.findall(r"`(credit_pools_\w+)`", page)) - metrics - set(found))
    same("README: has every alert", set(), {name for name in alerts if f"`{name}`" not in page})


def main():
    reader, owner = Database(sys.argv[1]), Database(sys.argv[2])
    reader.connection.execute("SET default_transaction_read_only = on")
    dashboard(reader, owner)
    exporter(reader, owner)
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
