-- Late usage (contract section 10): priced by the rate of occurred_at, drawn from what is active now, effective_at = occurred_at.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-05 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 10, plan_id => 'basic', effective_at => '2026-03-15 00:00+00');
SELECT period_start FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100, expires_at => '2026-03-18 00:00+00', reason => 'old');
SET credit_pools.test_clock = '2026-03-19 00:00+00';
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100, reason => 'new');
SET credit_pools.test_clock = '2026-03-20 00:00+00';

-- On 10 March a run cost 1, and the old grant was there. It is gone now: the new one pays, at the old price.
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 3, occurred_at => '2026-03-10 12:00+00');
-- Right now is fine, and so is the very instant at which the subscription began.
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 3, occurred_at => '2026-03-20 00:00+00');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 3, occurred_at => '2026-03-05 00:00+00');
-- consume_credits takes an instant, too; it needs no subscription.
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 3, occurred_at => '2026-03-06 00:00+00');
-- Not in the future; not before the subscription began.
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 3, occurred_at => '2026-03-20 00:00:00.000001+00')$$);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 3, occurred_at => '2026-03-21 00:00+00')$$);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 3, occurred_at => 'infinity')$$);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 3, occurred_at => '2026-03-04 23:59:59+00')$$);
SELECT sqlstate FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 3, occurred_at => '-infinity')$$) WHERE sqlstate NOT IN ('PC003', '22023');
SELECT sqlstate FROM expect_error($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 3, occurred_at => '-infinity')$$);

SELECT * FROM usage_of('acme');
SELECT * FROM ledger_of('acme');
SELECT * FROM ledger_problems();
