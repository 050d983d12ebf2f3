-- Which rate applies: the subscription's own override, else the plan's, else the rate for every plan; and of each the version in force at occurred_at.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_plan(plan_id => 'plain');

-- Versions: 1 credit from the beginning of time (the first version, no instant named), 2 credits from 10 March.
SELECT changed FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');
SELECT changed FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 2, plan_id => 'basic', effective_at => '2026-03-10 00:00+00');
SELECT status FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1000);

SET credit_pools.test_clock = '2026-03-09 23:59:59+00';
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10);
-- The new version counts from its very instant (validity is half open).
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10);
-- Usage that is reported late is priced by the version of its own instant.
SET credit_pools.test_clock = '2026-03-20 00:00+00';
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10, occurred_at => '2026-03-09 23:59:59+00');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10, occurred_at => '2026-03-10 00:00+00');
-- A further version without an instant counts from now on.
SELECT changed FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 3, plan_id => 'basic');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10);
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10, occurred_at => '2026-03-19 00:00+00');

-- A rate for every plan (plan_id NULL) is used where the plan has none of its own: 'basic' keeps its 3, 'plain' pays 5.
SELECT changed FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 5);
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10);
-- It opens no pool: 'plain' has no entries and no rates of its own, so there is nothing to take from …
SELECT status FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'plain', resource_id => 'ws-plain');
SELECT count(*) AS pools FROM credit_pools.pools WHERE customer_id = 'acme' AND resource_id = 'ws-plain';
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws-plain', feature_id => 'run', value => 10)$$);
SELECT * FROM error_figures($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws-plain', feature_id => 'run', value => 10)$$);
-- … until the first grant opens it.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws-plain', credit_type_id => 'credits', amount => 100);
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws-plain', feature_id => 'run', value => 10);

-- A subscription's own price goes before both; it holds for that subscription only.
SELECT status FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws-vip', overrides => '{"rates": {"run": 0.5}}');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws-vip', credit_type_id => 'credits', amount => 100);
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws-vip', feature_id => 'run', value => 10);
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1);

-- The cost is rounded half away from zero to the credit type's scale; values and rates may be finer than that.
SELECT FROM credit_pools.define_feature(feature_id => 'token');
SELECT changed FROM credit_pools.define_rate(feature_id => 'token', credit_type_id => 'credits', credits_per_unit => 0.005, plan_id => 'basic');
SELECT value, credits_consumed FROM (VALUES (1), (1.9), (2.5), (3), (0.9999), (0.0001)) v (value),
    LATERAL credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'token', value => v.value) ORDER BY value;

-- PC006: the feature has no rate for that plan, or not yet at that time.
SELECT FROM credit_pools.define_feature(feature_id => 'free-for-now');
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'free-for-now', value => 1)$$);
SELECT changed FROM credit_pools.define_rate(feature_id => 'free-for-now', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic', effective_at => '2026-04-01 00:00+00');
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'free-for-now', value => 1)$$);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws-plain', feature_id => 'token', value => 1)$$);

-- A feature costs in one credit type per plan at a time: a later version may name another type, and then the other pool pays.
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'coins', scale => 0);
SELECT changed FROM credit_pools.define_rate(feature_id => 'token', credit_type_id => 'coins', credits_per_unit => 4, plan_id => 'basic', effective_at => '2026-03-25 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'coins', amount => 40);
SET credit_pools.test_clock = '2026-03-25 00:00+00';
SELECT credit_type_id, credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'token', value => 1);
SELECT credit_type_id, credits_consumed FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'token', value => 100, occurred_at => '2026-03-24 00:00+00');

-- A version says what counts from its instant on, also where it repeats the price before it: what is put in between does not change it.
SELECT FROM credit_pools.define_feature(feature_id => 'page');
SELECT changed FROM credit_pools.define_rate(feature_id => 'page', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');
SELECT changed FROM credit_pools.define_rate(feature_id => 'page', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic', effective_at => '2026-03-24 00:00+00');
SELECT changed FROM credit_pools.define_rate(feature_id => 'page', credit_type_id => 'credits', credits_per_unit => 2, plan_id => 'basic', effective_at => '2026-03-22 00:00+00');
SELECT t, credits_consumed FROM (VALUES (timestamptz '2026-03-21 00:00+00'), ('2026-03-23 00:00+00'), ('2026-03-24 00:00+00')) v (t),
    LATERAL credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'page', value => 1, occurred_at => t) ORDER BY t;

-- Each usage event shows the rate it was priced by.
SELECT * FROM usage_of('acme');
SELECT * FROM pools_of('acme');
SELECT * FROM ledger_problems();
