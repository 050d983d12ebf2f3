-- DROP EXTENSION takes everything with it, and a new CREATE EXTENSION starts from nothing, in the same session too: its kept plans, and what it remembers
-- of the catalogue and of subscriptions, are not used again, although the new ids begin at 1 like the old ones did.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'cheap');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'cheap');
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'cheap', resource_id => 'ws');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100);
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10);
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 10);

DROP EXTENSION credit_pools;
SELECT count(*) AS schemas FROM pg_namespace WHERE nspname = 'credit_pools';
CREATE EXTENSION credit_pools;
SELECT count(*) AS customers FROM credit_pools.customer;
SELECT sqlstate, message FROM expect_error($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 10)$$);

-- The same names, but the customer has a dear plan now, and the credits have decimals.
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'cheap');
SELECT FROM credit_pools.define_plan(plan_id => 'dear');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 0.5, plan_id => 'cheap');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 2.25, plan_id => 'dear');
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'dear', resource_id => 'ws');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 50);
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1);
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 0.25);
SELECT * FROM ledger_of('acme');
SELECT * FROM ledger_problems();
