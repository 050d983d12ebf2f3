# Everything here is a short script in scripts/, tests/ or bench/; see there for what each does and why.
# PG_CONFIG picks the PostgreSQL to build for (15, 16, 17 or 18).
PG_CONFIG ?= pg_config
export PG_CONFIG

.PHONY: help setup demo page shell build install test lint test-domain test-regress test-isolation test-client test-dump \
	test-worker test-events test-standby test-replica test-upgrade test-payments test-ledger test-privileges test-psql test-docs \
	test-page test-examples test-monitoring reference pgspot \
	sqlsmith torture check-majors majors deb dist test-package bench bench-quick bench-settings bench-bloat bench-renewals clean

help: ## this table
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing (the targets below do it for themselves)
	@scripts/setup
demo: ## watch the main job happen in a throw-away PostgreSQL
	@scripts/demo
page: ## write the page of a demo's customer and open it (FILE=target/page/credits.html)
	@tests/page/run demo $(FILE)
shell: ## psql on such a server, with the demo's catalogue loaded
	@scripts/demo shell
build: ## build the extension into target/pkg
	@scripts/build
install: ## install it into the server of PG_CONFIG (DESTDIR= to stage it elsewhere)
	@scripts/install
deb: ## a Debian package, in target/deb
	@scripts/deb
dist: ## the archive for PGXN, in target/dist
	@scripts/dist
test: ## run all of the tests
	@scripts/test
lint: ## format and lints
	@scripts/lint
test-domain: ## unit and property tests of the rules, without a database (FILTER=name)
	@scripts/cargo-tests domain
test-regress: ## a pg_regress case per behaviour (CASES="a b", UPDATE=1 takes the results over)
	@scripts/pg-cases regress
test-isolation: ## concurrent sessions, step by step (CASES, UPDATE)
	@scripts/pg-cases isolation
test-client: ## a client against a real server (FILTER=name)
	@scripts/cargo-tests client
test-dump: ## dump a filled database, restore it in every way, go on
	@tests/dump_restore/run
test-worker: ## the background worker and pg_cron, in real time
	@scripts/setup tests
	@tests/worker/run
test-events: ## events by logical decoding, on a standby, after a restore
	@tests/events/run
test-standby: ## every view and function on a hot standby, then promoted
	@tests/standby/run
test-replica: ## a logical subscriber gets everything and does nothing, then takes over
	@tests/replica/run
test-upgrade: ## ALTER EXTENSION UPDATE from every released version; pg_upgrade where there is a newer server (PG_NEW_CONFIG)
	@tests/upgrade/run
	@tests/upgrade/pg_upgrade
test-payments: ## the example's payment worker, killed and declined, against a server that is killed, too
	@scripts/setup tests
	@tests/payment_worker/run
test-ledger: ## tamper with a ledger in every way: verify_ledger and the example's checker must tell, and nothing where nobody did
	@tests/ledger/run
test-privileges: ## what each level may do, tried; tenants, and what they may not learn; hostile search_paths (UPDATE=1)
	@tests/privileges/run
test-examples: ## the applications in Python, Node and Rust, with connections that break (LANGUAGES="python node rust")
	@scripts/setup tests
	@tests/examples/run
test-monitoring: ## every query for Grafana and Prometheus, where all figures are known, and the alerting rules
	@scripts/setup tests
	@tests/monitoring/run
reference: ## write docs/reference.md anew from the comments in the catalogue
	@scripts/reference
pgspot: ## look for what a hostile search_path could take over in the install script
	@scripts/pgspot
test-psql: ## the scripts of sql/psql, and long calls: progress, cancelling, going on (UPDATE=1)
	@tests/psql/run
test-page: ## the page of credits in a headless Chromium, its size and its speed (UPDATE=1 takes the screenshots over)
	@scripts/setup tests
	@tests/page/run
test-docs: ## execute every SQL block of the documents, check the reference and the links
	@tests/docs/run
test-package: ## install the Debian package in a fresh root, use it, remove it; META.json and the archive for PGXN
	@tests/package/run
sqlsmith: ## queries that sqlsmith makes up, against a throw-away server (MINUTES=10 SEED=1)
	@scripts/sqlsmith
torture: ## the strong tests with ever new seeds until MINUTES=10 are over (TESTS="crashes model", SEED=n)
	@scripts/torture
check-majors: ## compile for the other PostgreSQL majors that are here
	@scripts/check-majors
majors: ## build for PostgreSQL 15, 16, 17 and 18 as far as they can be had, and test against each (MAJORS="17 18" PARTS="regress client")
	@scripts/majors
bench: ## the whole benchmark, half an hour (PARTS="usage hot grants size batch reads chart bytes policy" SECONDS=3 ROUNDS=5 CLIENTS=8 SYNC="off on")
	@DURATION="$(SECONDS)" bench/run # SECONDS means something else to bash
bench-quick: ## fails when a keyed usage got slower against the floor (BOUND)
	@bench/quick
bench-settings: ## what server settings do to the figures
	@DURATION="$(SECONDS)" bench/settings
bench-bloat: ## what ten million updates of 1,000 pools leave behind (UPDATES=10000000 SAMPLE=500000)
	@bench/bloat
bench-renewals: ## renew very many pools at one instant (POOLS=1000000 SESSIONS=1 BATCH=1000)
	@bench/renewals
clean: ## remove what was built
	@rm -rf target
