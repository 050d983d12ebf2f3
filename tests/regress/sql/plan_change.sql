-- A change of plan (contract sections 4 and 10): provisioning another plan on a scope. The old plan's credits keep their expiry and roll over no more; the new plan's credits for the period
-- that runs come at once, but an entry grants at most once per period. Renewals are those of the new plan, on the same grid.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.define_plan(plan_id => 'pro');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'pro', credit_type_id => 'credits', amount => 300, overdraft_limit => 50);
SELECT FROM credit_pools.define_plan(plan_id => 'carry');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'carry', credit_type_id => 'credits', amount => 100, rollover_max => 100);
SELECT FROM credit_pools.define_plan(plan_id => 'priced');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'priced');

-- Away and back and away within one period.
SELECT status FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws', subscription_id => 'sub');
SET credit_pools.test_clock = '2026-03-11 00:00+00';
SELECT subscription_id, plan_id, period_start, period_end, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'pro', resource_id => 'ws');
SELECT balance, overdraft FROM pools_of('acme');
SET credit_pools.test_clock = '2026-03-12 00:00+00';
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws');
SELECT balance, overdraft FROM pools_of('acme');
SET credit_pools.test_clock = '2026-03-13 00:00+00';
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'pro', resource_id => 'ws');
-- At the boundary only the plan that the subscription has then renews.
SET credit_pools.test_clock = '2026-04-01 00:00+00';
SELECT balance, overdraft FROM pools_of('acme');
-- In the next period, once more away and back: basic has not granted for this one, and grants from the change on.
SET credit_pools.test_clock = '2026-04-11 00:00+00';
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws');
SET credit_pools.test_clock = '2026-05-01 00:00+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT * FROM history_of('acme');
SELECT plan_id, amount, effective_at, period_start FROM credit_pools.grants WHERE customer_id = 'acme' ORDER BY effective_at, grant_id;

-- After a change nothing of the old plan rolls over; under the plan that carries, the first renewal is that of its own credits.
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT status FROM credit_pools.provision_subscription(customer_id => 'globex', plan_id => 'carry', resource_id => 'ws');
SET credit_pools.test_clock = '2026-03-11 00:00+00';
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'globex', plan_id => 'basic', resource_id => 'ws');
SET credit_pools.test_clock = '2026-04-11 00:00+00';
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'globex', plan_id => 'carry', resource_id => 'ws');
SET credit_pools.test_clock = '2026-05-01 00:00+00';
SELECT FROM credit_pools.run_maintenance();
SELECT seq, entry_type, amount, after, "grant", effective_at FROM history_of('globex');

-- The overdraft limit is that of the plan. One that was set by hand gives way to a plan with credits of the type, and stays under a plan without.
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT status FROM credit_pools.provision_subscription(customer_id => 'initech', plan_id => 'basic', resource_id => 'ws');
SELECT overdraft_limit FROM credit_pools.set_pool(customer_id => 'initech', resource_id => 'ws', credit_type_id => 'credits', overdraft_limit => 80);
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'initech', plan_id => 'pro', resource_id => 'ws');
SELECT overdraft FROM pools_of('initech');
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'initech', plan_id => 'priced', resource_id => 'ws');
SELECT overdraft FROM pools_of('initech');
SELECT overdraft_limit FROM credit_pools.set_pool(customer_id => 'initech', resource_id => 'ws', credit_type_id => 'credits', overdraft_limit => 70);
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'initech', plan_id => 'pro', resource_id => 'ws');
SELECT overdraft_limit FROM credit_pools.set_pool(customer_id => 'initech', resource_id => 'ws', credit_type_id => 'credits', overdraft_limit => 70);
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'initech', plan_id => 'priced', resource_id => 'ws');
SELECT balance, overdraft FROM pools_of('initech');

-- With a debt: the limit goes, the debt stays, and the credits of the next plan pay it.
SELECT status FROM credit_pools.provision_subscription(customer_id => 'umbrella', plan_id => 'pro', resource_id => 'ws');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'umbrella', resource_id => 'ws', credit_type_id => 'credits', amount => 330);
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'umbrella', plan_id => 'priced', resource_id => 'ws');
SELECT balance, debt, overdraft FROM pools_of('umbrella');
SET credit_pools.test_clock = '2026-03-02 00:00+00';
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'umbrella', plan_id => 'basic', resource_id => 'ws');
SELECT balance, debt, overdraft FROM pools_of('umbrella');

-- The same plan with other values is no change of plan: PC004.
SELECT sqlstate, world FROM expect_error($$SELECT * FROM credit_pools.provision_subscription(customer_id => 'umbrella', plan_id => 'basic', resource_id => 'ws', quantities => '{"run": 2}')$$);
SELECT * FROM ledger_problems();
