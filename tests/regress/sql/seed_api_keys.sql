-- The seed's third use: a pool per API key, so that a leaked or busy key can burn its own credits only.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 09:00+00';

SELECT FROM credit_pools.define_credit_type(credit_type_id => 'api-calls', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'search');
SELECT FROM credit_pools.define_plan(plan_id => 'plan-api');
-- A search costs 5 credits.
SELECT FROM credit_pools.define_rate(feature_id => 'search', credit_type_id => 'api-calls', credits_per_unit => 5, plan_id => 'plan-api');

SELECT resource_id, status FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'plan-api', resource_id => 'key-live');
SELECT resource_id, status FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'plan-api', resource_id => 'key-test');
SELECT amount, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'key-live', credit_type_id => 'api-calls', amount => 1000);
SELECT amount, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'key-test', credit_type_id => 'api-calls', amount => 20);
-- The customer has a global pool too, well filled. It is used where no resource is named, and never for anything else.
SELECT resource_id, status FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'plan-api');
SELECT amount, balance FROM credit_pools.grant_credits(customer_id => 'acme', credit_type_id => 'api-calls', amount => 9000);

-- The test key does what it can: four searches; the fifth is refused, although the live key and the global pool are full.
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'key-test', feature_id => 'search', value => 4);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'key-test', feature_id => 'search', value => 1)$$);
-- With 'cap' the call is accepted, takes what is there (nothing) and says what is missing.
SELECT credits_consumed, shortfall, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'key-test', feature_id => 'search', value => 1, on_insufficient => 'cap');
-- The live key goes on; so does what has no key.
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'key-live', feature_id => 'search', value => 2);
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', feature_id => 'search', value => 1);

-- A key that needs no plan: open its pool, grant, and consume credits directly.
SELECT resource_id, credit_type_id, balance, status FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'api-calls', resource_id => 'key-partner');
SELECT amount, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'key-partner', credit_type_id => 'api-calls', amount => 50);
SELECT credit_type_id, credits_consumed, shortfall, balance, is_duplicate FROM credit_pools.consume_credits(customer_id => 'acme', credit_type_id => 'api-calls', amount => 7, resource_id => 'key-partner');

SELECT * FROM pools_of('acme');
SELECT * FROM usage_of('acme');
SELECT * FROM ledger_of('acme');
SELECT * FROM ledger_problems();
