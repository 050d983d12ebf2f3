-- The seed's second use: every team member gets 1,000 credits, by the plan, into a pool of their own.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 09:00+00';

SELECT FROM credit_pools.define_credit_type(credit_type_id => 'ai-tokens', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'feature-ai-tokens');
SELECT FROM credit_pools.define_plan(plan_id => 'plan-team');
-- The plan's own entry: 1,000 credits per period.
SELECT FROM credit_pools.define_plan_credits(plan_id => 'plan-team', credit_type_id => 'ai-tokens', amount => 1000, cadence => '1 month');
SELECT FROM credit_pools.define_rate(feature_id => 'feature-ai-tokens', credit_type_id => 'ai-tokens', credits_per_unit => 1, plan_id => 'plan-team');

-- One subscription per team member. The pool opens with its 1,000 credits, which end with the period.
SELECT resource_id, status, period_start, period_end, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'plan-team', resource_id => 'member-ada');
SELECT resource_id, status, period_start, period_end, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'plan-team', resource_id => 'member-ben');
SELECT * FROM pools_of('acme');

-- Ben uses up everything in one go; one credit more is refused.
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'member-ben', feature_id => 'feature-ai-tokens', value => 1000);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'member-ben', feature_id => 'feature-ai-tokens', value => 1)$$);
-- Ada does not notice.
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'member-ada', feature_id => 'feature-ai-tokens', value => 10);

-- A team member who was never provisioned has no credits to use: an error, never another pool.
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'member-eve', feature_id => 'feature-ai-tokens', value => 1)$$);

SELECT * FROM pools_of('acme');
SELECT * FROM grants_of('acme');
SELECT * FROM ledger_of('acme');
SELECT * FROM ledger_problems();
