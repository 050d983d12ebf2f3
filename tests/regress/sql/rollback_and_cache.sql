-- What was undone is undone for the session's memory as well: nothing that a rolled back transaction or savepoint knew is used afterwards,
-- and a change of the catalogue counts from the next call on.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');

-- A customer that is rolled back was never there.
BEGIN;
SELECT status FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100);
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1);
ROLLBACK;
SELECT sqlstate, message FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1)$$);
SELECT sqlstate, message FROM expect_error($$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1)$$);
-- Provisioned again, it works from the start.
SELECT status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100);

-- A savepoint: usage, grant and pool inside it are gone, what came before stays.
BEGIN;
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1);
SAVEPOINT s;
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10);
SELECT status FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws-2');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws-2', credit_type_id => 'credits', amount => 100);
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws-2', feature_id => 'run', value => 10);
SELECT changed FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 7, plan_id => 'basic', effective_at => '2026-02-28 00:00+00');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1);
ROLLBACK TO s;
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1);
SELECT sqlstate, message FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws-2', feature_id => 'run', value => 1)$$);
COMMIT;
SELECT * FROM ledger_of('acme');

-- A price that is rolled back with its whole transaction: nobody pays it.
BEGIN;
SELECT changed FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 9, plan_id => 'basic', effective_at => '2026-02-28 00:00+00');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1);
ROLLBACK;
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1);
-- One that a superuser corrects in the table itself counts as well.
UPDATE credit_pools.rate SET credits_per_unit = 2 WHERE feature_id = 'run';
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1);
UPDATE credit_pools.rate SET credits_per_unit = 1 WHERE feature_id = 'run';

-- A plan change that is rolled back: the old plan's price holds.
SELECT FROM credit_pools.define_plan(plan_id => 'dear');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 20, plan_id => 'dear');
BEGIN;
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'dear', resource_id => 'ws');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1);
ROLLBACK;
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1);
-- One that is kept: the new plan's price, at once.
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'dear', resource_id => 'ws');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1);

-- An error in the middle of a plpgsql block that is caught: the call is undone, the block goes on.
DO $$
BEGIN
    BEGIN
        PERFORM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1);
        PERFORM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1000);
    EXCEPTION WHEN SQLSTATE 'PC001' THEN NULL;
    END;
    PERFORM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 2);
END $$;
SELECT * FROM ledger_of('acme') WHERE seq > 7;

-- Many calls in one statement: each sees what the one before did.
SELECT sum(u.credits_consumed) AS consumed, min(u.balance) AS balance FROM generate_series(1, 10) i, LATERAL credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1 + 0 * i) u;
-- … and called from the SELECT list, from a CTE, and from a trigger of the application.
SELECT (credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1)).credits_consumed > 0 AS worked FROM generate_series(1, 1);
WITH u AS (SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1)) SELECT credits_consumed FROM u;
CREATE TABLE jobs (id int);
CREATE FUNCTION charge() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => new.id); RETURN NULL; END$$;
CREATE TRIGGER charge AFTER INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION charge();
INSERT INTO jobs VALUES (1), (2), (3);
SELECT sqlstate, message FROM expect_error('INSERT INTO jobs VALUES (1), (1000)');
SELECT count(*) AS jobs FROM jobs;
SELECT * FROM pools_of('acme');
SELECT * FROM ledger_problems();
