-- Idempotency (contract section 4): every call that changes something takes idempotency_key, unique per customer and kind of call, kept for ever.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');
SELECT FROM (VALUES ('acme'), ('globex')) c (id), LATERAL credit_pools.provision_subscription(customer_id => c.id, plan_id => 'basic', resource_id => 'ws');
SELECT FROM (VALUES ('acme'), ('globex')) c (id), LATERAL credit_pools.grant_credits(customer_id => c.id, resource_id => 'ws', credit_type_id => 'credits', amount => 100);

-- The same key with the same payload: the first result, with is_duplicate, and nothing changes.
SELECT usage_id AS first_id, credits_consumed, balance, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10, idempotency_key => 'job-1') \gset
\echo :credits_consumed :balance :is_duplicate
SELECT world() AS before \gset
SELECT usage_id = :first_id AS same_id, credit_type_id, credits_consumed, shortfall, balance, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10, idempotency_key => 'job-1');
-- What is said explicitly but is the default anyway is the same payload; so is 10.0 for 10.
SELECT usage_id = :first_id AS same_id, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10.0, idempotency_key => 'job-1', on_insufficient => 'reject', update_behavior => 'delta');
SELECT world() = :'before' AS unchanged;
-- With another payload: PC004.
SELECT n, e.* FROM (VALUES
    (1, $$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 11, idempotency_key => 'job-1')$$),
    (2, $$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', feature_id => 'run', value => 10, idempotency_key => 'job-1')$$),
    (3, $$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10, idempotency_key => 'job-1', on_insufficient => 'cap')$$),
    (4, $$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10, idempotency_key => 'job-1', dimensions => '{"model": "large"}')$$),
    (5, $$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10, idempotency_key => 'job-1', occurred_at => '2026-03-01 00:00+00')$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
-- report_usage and consume_credits are one kind of call.
SELECT * FROM expect_error($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 10, idempotency_key => 'job-1')$$);
-- Another kind of call, and another customer, have keys of their own.
SELECT balance, is_duplicate FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 5, idempotency_key => 'job-1', reason => 'five');
SELECT credits_consumed, balance, is_duplicate FROM credit_pools.report_usage(customer_id => 'globex', resource_id => 'ws', feature_id => 'run', value => 10, idempotency_key => 'job-1');
-- Equal payloads without a key are two usages. Keys are compared byte by byte.
SELECT credits_consumed, balance, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1);
SELECT credits_consumed, balance, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1);
SELECT credits_consumed, balance, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10, idempotency_key => 'JOB-1');
SELECT credits_consumed, balance, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10, idempotency_key => 'job-1 ');

-- A failed call leaves its key free; so does a transaction that is rolled back.
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1000, idempotency_key => 'job-2')$$);
SELECT credits_consumed, balance, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 2, idempotency_key => 'job-2');
BEGIN;
SELECT credits_consumed, balance, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 3, idempotency_key => 'job-3');
ROLLBACK;
SELECT credits_consumed, balance, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 3, idempotency_key => 'job-3');
-- Twice in one transaction, even in one statement, counts once.
SELECT credits_consumed, balance, is_duplicate FROM generate_series(1, 3) i, LATERAL credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 4 + 0 * i, idempotency_key => 'job-4') ORDER BY is_duplicate;
SELECT count(*) AS usages FROM credit_pools.usage_events WHERE customer_id = 'acme';

-- The replay check comes before every other check, and gives the first result, whatever has become of the pool since.
-- … after the pool is empty:
SELECT credits_consumed, shortfall FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1000, on_insufficient => 'cap', idempotency_key => 'all');
SELECT world() AS before \gset
SELECT usage_id = :first_id AS same_id, credits_consumed, balance, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10, idempotency_key => 'job-1');
SELECT credits_consumed, shortfall, balance, is_duplicate FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1000, on_insufficient => 'cap', idempotency_key => 'all');
SELECT world() = :'before' AS unchanged;
-- A usage that took nothing, because there was nothing or because it cost nothing, has used its key all the same.
SELECT FROM credit_pools.define_feature(feature_id => 'free');
SELECT FROM credit_pools.define_rate(feature_id => 'free', credit_type_id => 'credits', credits_per_unit => 0, plan_id => 'basic');
SELECT credits_consumed, shortfall, balance, is_duplicate FROM generate_series(1, 2) i, LATERAL credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 3 + 0 * i, on_insufficient => 'cap', idempotency_key => 'none') ORDER BY is_duplicate;
SELECT credits_consumed, shortfall, balance, is_duplicate FROM generate_series(1, 2) i, LATERAL credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'free', value => 3 + 0 * i, idempotency_key => 'free') ORDER BY is_duplicate;
SELECT sqlstate FROM expect_error($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 4, on_insufficient => 'cap', idempotency_key => 'none')$$);
SELECT sqlstate FROM expect_error($$SELECT * FROM credit_pools.consume_credits(customer_id => 'globex', resource_id => 'ws', credit_type_id => 'credits', amount => 4, idempotency_key => 'none')$$);
SELECT count(*) AS usages FROM credit_pools.usage_events WHERE customer_id = 'acme';
-- … after it is frozen:
SELECT status FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', status => 'frozen');
SELECT credits_consumed, balance, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10, idempotency_key => 'job-1');
SELECT sqlstate FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 11, idempotency_key => 'job-1')$$);
SELECT status FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', status => 'active');
-- … after the credit type is archived:
SELECT FROM credit_pools.archive_credit_type(credit_type_id => 'credits');
SELECT amount, status, balance, is_duplicate FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 5, idempotency_key => 'job-1', reason => 'five');
SELECT sqlstate FROM expect_error($$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 6, idempotency_key => 'job-1', reason => 'five')$$);
-- … after the instant has passed at which the grant expired:
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'coins', scale => 0);
SELECT amount, status, balance, is_duplicate FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'coins', amount => 5, expires_at => '2026-03-02 00:00+00', idempotency_key => 'short');
SET credit_pools.test_clock = '2026-03-03 00:00+00';
SELECT amount, status, balance, is_duplicate FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'coins', amount => 5, expires_at => '2026-03-02 00:00+00', idempotency_key => 'short');
SELECT sqlstate FROM expect_error($$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'coins', amount => 5, expires_at => '2026-03-02 00:00+00', idempotency_key => 'short 2')$$);
SELECT usage_id = :first_id AS same_id, credits_consumed, balance, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10, idempotency_key => 'job-1');

-- The ledger shows the key of the call. A key follows the rule of ids.
SELECT seq, entry_type, amount, idempotency_key FROM credit_pools.ledger WHERE customer_id = 'acme' AND credit_type_id = 'credits' ORDER BY seq;
SELECT n, e.* FROM (VALUES
    (1, $$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, idempotency_key => '')$$),
    (2, $$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, idempotency_key => repeat('k', 256))$$),
    (3, $$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, idempotency_key => E'a\tb')$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
SELECT * FROM ledger_problems();
