-- Renewals and auto-recharge (contract section 6): a pool is judged at the end of a call, never between the end of the old credits and the new ones. What ends without a renewal
-- may bring it below the threshold; whoever books that asks for the recharge.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 100);
SELECT pools_covered, recharges_requested FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits') o,
    LATERAL credit_pools.set_auto_recharge(customer_id => o.customer_id, credit_type_id => 'credits', threshold => 50, target_balance => 100, price_per_credit => 0.01, price_currency => 'EUR', enabled => false);
SELECT r, status FROM (VALUES ('by-maintenance', NULL::timestamptz), ('by-usage', NULL), ('cancelled', NULL), ('ends', '2026-03-20 00:00+00'), ('future', NULL)) v (r, e),
    LATERAL credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => r, subscription_id => r, ends_at => e, starts_at => CASE r WHEN 'future' THEN '2026-04-01 00:00+00'::timestamptz END) ORDER BY r;
SELECT r, balance FROM (VALUES ('by-maintenance'), ('by-usage'), ('cancelled'), ('ends')) v (r), LATERAL credit_pools.consume_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 40) ORDER BY r;
-- From now on the policy counts, but for the customer's global pool and the one whose subscription has not begun.
SELECT r, recharges_requested FROM (VALUES ('by-maintenance'), ('by-usage'), ('cancelled'), ('ends')) v (r), LATERAL credit_pools.set_auto_recharge(customer_id => 'acme', resource_id => r, credit_type_id => 'credits',
    threshold => 50, target_balance => 100, price_per_credit => 0.01, price_currency => 'EUR') ORDER BY r;

-- 1 April: 60 end and 100 begin; no recharge. In 'ends' 60 end and nothing begins: a recharge of 100.
SET credit_pools.test_clock = '2026-04-01 00:00+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'by-usage', credit_type_id => 'credits', amount => 10);
SELECT FROM credit_pools.run_maintenance();
SELECT resource, balance FROM pools_of('acme') WHERE resource <> '(global)';
SELECT resource, status, amount, price FROM recharges_of('acme') WHERE status <> 'skipped';
-- A cancellation that ends the credits, too: a recharge of 100, since the pool is covered and empty. With the credits kept there is none.
SET credit_pools.test_clock = '2026-04-02 00:00+00';
SELECT status FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'cancelled', credits => 'expire');
SELECT status FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'by-maintenance');
SELECT resource, status, amount, price FROM recharges_of('acme') WHERE status <> 'skipped';
-- A recharge in flight and a renewal: 55 are asked for on 10 April; on 1 May the pool holds 100 again, and the 55 come on top when they are paid.
SET credit_pools.test_clock = '2026-04-10 00:00+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'by-usage', credit_type_id => 'credits', amount => 45);
SET credit_pools.test_clock = '2026-05-01 00:00+00';
SELECT balance FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'by-usage'), payment_reference => 'pay-1');
SELECT seq, entry_type, amount, after, effective_at FROM history_of('acme', 'by-usage') WHERE seq > 3;
-- Its own credits end on 1 May in 'by-maintenance', where the subscription had been cancelled with the credits kept: maintenance finds it empty and asks.
SELECT FROM credit_pools.run_maintenance();
SELECT resource, status, amount FROM recharges_of('acme') WHERE status <> 'skipped' ORDER BY 1;
SELECT * FROM ledger_problems();
