-- run_maintenance and maintain: bounded work per call, a row per task, what is left to do; nothing twice. Reads never need it; it keeps the tables in step with the clock.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.define_plan(plan_id => 'carry');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'carry', credit_type_id => 'credits', amount => 100, rollover_max => 30);
SELECT c, status FROM (VALUES ('c1', 'basic'), ('c2', 'basic'), ('c3', 'basic'), ('c4', 'basic'), ('c5', 'carry')) v (c, p), LATERAL credit_pools.provision_subscription(customer_id => c, plan_id => p, resource_id => 'ws') ORDER BY c;
SELECT FROM credit_pools.open_pool(customer_id => 'idle', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'c5', resource_id => 'ws', credit_type_id => 'credits', amount => 8, effective_at => '2026-03-20 00:00+00');
-- Nothing is due.
SELECT * FROM credit_pools.run_maintenance() ORDER BY task;

-- On 1 April five pools are due, and a sixth is not. Two by two; the fifth has a scheduled grant that began, an expiry, a rollover and a renewal.
SET credit_pools.test_clock = '2026-04-01 00:00+00';
SELECT task, processed FROM credit_pools.run_maintenance(max_pools => 2) WHERE task IN ('failed', 'pools', 'remaining') ORDER BY task;
SELECT task, processed FROM credit_pools.run_maintenance(max_pools => 2) WHERE task IN ('failed', 'pools', 'remaining') ORDER BY task;
SELECT task, processed FROM credit_pools.run_maintenance(max_pools => 2) WHERE task IN ('failed', 'pools', 'remaining') ORDER BY task;
SELECT world() AS before \gset
SELECT sum(processed) AS processed FROM credit_pools.run_maintenance();
SELECT world() = :'before' AS unchanged;
SELECT customer_id, string_agg(entry_type || ' ' || amount, ', ' ORDER BY seq) AS ledger FROM credit_pools.ledger GROUP BY 1 ORDER BY 1;

-- All at once: on 1 May c5's carried 30 expire, too.
SET credit_pools.test_clock = '2026-05-01 00:00+00';
SELECT * FROM credit_pools.run_maintenance() ORDER BY task;

-- A pool whose sums were damaged by hand is passed over with a warning, and counted; the others go on. (Undone.)
SET credit_pools.test_clock = '2026-06-01 00:00+00';
BEGIN;
UPDATE credit_pools.pool SET balance = balance + 1 WHERE customer_id = 'c3';
SELECT task, processed FROM credit_pools.run_maintenance() WHERE task IN ('failed', 'pools', 'renewals') ORDER BY task;
SELECT customer_id, max(effective_at) = credit_pools.clock() AS booked FROM credit_pools.ledger GROUP BY 1 ORDER BY 1;
ROLLBACK;

-- maintain: run_maintenance and COMMIT until nothing is due, in batches; it says how far it is.
SET client_min_messages = notice;
CALL credit_pools.maintain(batch_size => 2, max_batches => 1);
SET client_min_messages = warning;
SELECT count(*) FILTER (WHERE effective_at = credit_pools.clock() AND entry_type = 'grant') AS renewed FROM credit_pools.ledger;
CALL credit_pools.maintain(batch_size => 2);
SELECT count(*) FILTER (WHERE effective_at = credit_pools.clock() AND entry_type = 'grant') AS renewed FROM credit_pools.ledger;
SELECT world() AS before \gset
CALL credit_pools.maintain();
SELECT world() = :'before' AS unchanged;
-- It commits, so it cannot run inside a transaction block. Nothing is done then.
SET credit_pools.test_clock = '2026-07-01 00:00+00';
\set VERBOSITY sqlstate
BEGIN;
CALL credit_pools.maintain();
ROLLBACK;
\set VERBOSITY default
SELECT world() = :'before' AS unchanged;
-- Bad input.
\set VERBOSITY sqlstate
CALL credit_pools.maintain(batch_size => 0);
CALL credit_pools.maintain(batch_size => -1);
CALL credit_pools.maintain(max_batches => 0);
CALL credit_pools.maintain(max_batches => -1);
\set VERBOSITY default
SELECT sqlstate, figures ->> 'argument' AS argument FROM error_figures($$SELECT * FROM credit_pools.run_maintenance(max_pools => 0)$$);
SELECT world() = :'before' AS unchanged;
SELECT * FROM ledger_problems();
