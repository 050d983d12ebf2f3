-- The seed's first use: every workspace of a customer has its own pool of credits.
-- The three calls are those of contract section 4, word for word.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 09:00+00';

-- The catalogue: AI tokens are whole numbers, and one unit of the feature costs one of them on the basic plan.
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'ai-tokens', display_name => 'AI tokens', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'feature-ai-tokens', display_name => 'AI tokens', unit => 'token');
SELECT FROM credit_pools.define_plan(plan_id => 'plan-basic', display_name => 'Basic');
SELECT FROM credit_pools.define_rate(feature_id => 'feature-ai-tokens', credit_type_id => 'ai-tokens', credits_per_unit => 1, plan_id => 'plan-basic');

-- 1. Provisioning makes the customer, the resource and the pool: nothing else is needed before the first grant. (\gset also proves: exactly one row.)
SELECT * FROM credit_pools.provision_subscription(customer_id => 'customer-demo-01', plan_id => 'plan-basic', resource_id => 'workspace-example-com') \gset
\echo :customer_id :resource_id :plan_id :status :period_start :period_end :is_duplicate
-- 2. Credits are put into the pool of that workspace.
SELECT * FROM credit_pools.grant_credits(customer_id => 'customer-demo-01', resource_id => 'workspace-example-com', credit_type_id => 'ai-tokens', amount => 5000) \gset
\echo granted :amount, it is :status, balance :balance, duplicate :is_duplicate
-- 3. Usage is priced and taken from that pool.
SELECT * FROM credit_pools.report_usage(customer_id => 'customer-demo-01', resource_id => 'workspace-example-com', feature_id => 'feature-ai-tokens', value => 150) \gset
\echo consumed :credits_consumed :credit_type_id, shortfall :shortfall, balance :balance, duplicate :is_duplicate

-- A second workspace of the same customer has a pool of its own. It uses up all it has …
SELECT status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'customer-demo-01', plan_id => 'plan-basic', resource_id => 'workspace-example-org');
SELECT amount, status, balance FROM credit_pools.grant_credits(customer_id => 'customer-demo-01', resource_id => 'workspace-example-org', credit_type_id => 'ai-tokens', amount => 100);
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'customer-demo-01', resource_id => 'workspace-example-org', feature_id => 'feature-ai-tokens', value => 100);
-- … and is then refused: the 4,850 credits next door are not touched.
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'customer-demo-01', resource_id => 'workspace-example-org', feature_id => 'feature-ai-tokens', value => 1)$$);
SELECT * FROM error_figures($$SELECT * FROM credit_pools.report_usage(customer_id => 'customer-demo-01', resource_id => 'workspace-example-org', feature_id => 'feature-ai-tokens', value => 1)$$);
-- The depleted neighbour changes nothing for the first workspace.
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'customer-demo-01', resource_id => 'workspace-example-com', feature_id => 'feature-ai-tokens', value => 50);

SELECT * FROM pools_of('customer-demo-01');
SELECT * FROM grants_of('customer-demo-01');
SELECT * FROM ledger_of('customer-demo-01');
SELECT * FROM ledger_problems();
