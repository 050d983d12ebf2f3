# Everything here is a short script in scripts/, tests/ or bench/; see there for what each does and why.
# PG_CONFIG picks the PostgreSQL to build for (15, 16 or 17).
PG_CONFIG ?= pg_config
export PG_CONFIG

.PHONY: help setup demo shell build install test lint test-domain test-regress test-isolation test-client test-dump \
	test-worker test-events test-payments test-docs check-majors bench bench-renewals clean

help: ## this table
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing (the targets below do it for themselves)
	@scripts/setup
demo: ## watch the main job happen in a throw-away PostgreSQL
	@scripts/demo
shell: ## psql on such a server, with the demo's catalogue loaded
	@scripts/demo shell
build: ## build the extension into target/pkg
	@scripts/build
install: ## install it into the server of PG_CONFIG (DESTDIR= to stage it elsewhere)
	@scripts/install
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
test-dump: ## dump a filled database, restore it, go on
	@tests/dump_restore/run
test-worker: ## the background worker and pg_cron, in real time
	@scripts/setup tests
	@tests/worker/run
test-events: ## events by logical decoding, on a standby, after a restore
	@tests/events/run
test-payments: ## the example's payment worker, killed and declined, against a server that is killed, too
	@scripts/setup tests
	@tests/payment_worker/run
test-docs: ## execute every SQL block of the documents
	@tests/docs/run
check-majors: ## compile for the other PostgreSQL majors that are here
	@scripts/check-majors
bench: ## usage (plain, with a policy), batches and a metered table against a plain UPDATE and INSERT (SECONDS=10 ROUNDS=3 CLIENTS=8 SYNC="off on")
	@DURATION="$(SECONDS)" bench/run # SECONDS means something else to bash
bench-renewals: ## renew very many pools at one instant (POOLS=1000000 SESSIONS=1 BATCH=1000)
	@bench/renewals
clean: ## remove what was built
	@rm -rf target
