-- The level counts, not the edge (contract section 6): a pool that is already low when the policy is set or enabled, or when it opens, gets its recharge too.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_plan(plan_id => 'small');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'small', credit_type_id => 'credits', amount => 50);
SELECT FROM credit_pools.define_plan(plan_id => 'large');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'large', credit_type_id => 'credits', amount => 500);

-- Set while low: 'small' has 50, 'large' has 500, the global pool has nothing. The policy of the customer covers all three; two are below.
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'small', resource_id => 'small');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'large', resource_id => 'large');
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits');
SELECT resource_id, enabled, pools_covered, recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 100, target_balance => 200);
SELECT resource, status, amount FROM recharges_of('acme') ORDER BY resource;
-- The same once more: they are in flight already, and would lift both pools. Nothing new.
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 100, target_balance => 200);
SELECT count(*) FROM credit_pools.recharges WHERE customer_id = 'acme';
-- A higher threshold: now 'large' is below. The other two are still in flight, and their 200 to come are below 600: skipped as pending.
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 600, target_balance => 1000);
SELECT resource, status, reason, amount FROM recharges_of('acme') ORDER BY resource, status;

-- Opened while low: a new workspace with the plan's 50 credits, and one that is opened by hand with nothing.
SELECT FROM credit_pools.provision_subscription(customer_id => 'globex', plan_id => 'large', resource_id => 'first');
SELECT pools_covered, recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'globex', credit_type_id => 'credits', threshold => 100, target_balance => 200);
SELECT FROM credit_pools.provision_subscription(customer_id => 'globex', plan_id => 'large', resource_id => 'full');
SELECT FROM credit_pools.provision_subscription(customer_id => 'globex', plan_id => 'small', resource_id => 'low');
SELECT FROM credit_pools.open_pool(customer_id => 'globex', credit_type_id => 'credits', resource_id => 'empty');
SELECT resource, status, amount FROM recharges_of('globex') ORDER BY resource;

-- Enabled while low.
SELECT FROM credit_pools.provision_subscription(customer_id => 'initech', plan_id => 'small', resource_id => 'ws');
SELECT enabled, recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'initech', credit_type_id => 'credits', threshold => 100, target_balance => 200, settlement => 'immediate', enabled => false);
SELECT balance FROM credit_pools.pools WHERE customer_id = 'initech';
SELECT enabled, recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'initech', credit_type_id => 'credits', threshold => 100, target_balance => 200, settlement => 'immediate', enabled => true);
SELECT balance FROM credit_pools.pools WHERE customer_id = 'initech';
-- Also a pool that opens at once with an immediate recharge: provisioned, granted, recharged, in one transaction.
SELECT FROM credit_pools.provision_subscription(customer_id => 'initech', plan_id => 'small', resource_id => 'ws-2');
SELECT seq, entry_type, amount, after, "grant" FROM ledger_of('initech', 'ws-2');

-- One that is low only because a grant ran out unnoticed: the policy sees what is due.
SELECT FROM credit_pools.open_pool(customer_id => 'umbrella', credit_type_id => 'credits', resource_id => 'ws');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'umbrella', resource_id => 'ws', credit_type_id => 'credits', amount => 500, expires_at => '2026-03-02 00:00+00', reason => 'gone');
SET credit_pools.test_clock = '2026-03-03 00:00+00';
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'umbrella', credit_type_id => 'credits', threshold => 100, target_balance => 200);
SELECT * FROM recharges_of('umbrella');

-- Low by an expiry that is due in the very call that completes a recharge: the recharge's own grant fires nothing, but the expiry does.
SELECT FROM credit_pools.open_pool(customer_id => 'both', credit_type_id => 'credits', resource_id => 'ws');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'both', resource_id => 'ws', credit_type_id => 'credits', amount => 90, expires_at => '2026-03-05 00:00+00', reason => 'gone');
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'both', credit_type_id => 'credits', threshold => 100, recharge_amount => 10);
SET credit_pools.test_clock = '2026-03-06 00:00+00';
SELECT status, balance FROM credit_pools.complete_recharge(customer_id => 'both', recharge_id => recharge_id('both', 'ws'), payment_reference => 'pay-1');
SELECT seq, entry_type, amount, after, effective_at FROM ledger_of('both');
SELECT * FROM recharges_of('both');

-- A policy for one pool, set while low: the other pools are not covered.
SELECT FROM (VALUES ('a'), ('b')) v (r), LATERAL credit_pools.open_pool(customer_id => 'one', credit_type_id => 'credits', resource_id => r);
SELECT resource_id, pools_covered, recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'one', credit_type_id => 'credits', threshold => 100, target_balance => 200, resource_id => 'b');
SELECT * FROM recharges_of('one');
SELECT * FROM ledger_problems();
