-- Renewals, rollover and the calls on subscriptions together: entries with caps of their own, a quantity that was raised, a change of plan before the start and away from once-only credits,
-- a move of a subscription that is to end, and what was known of all this at an earlier time.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'seat');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.define_plan(plan_id => 'pro');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'pro', credit_type_id => 'credits', amount => 300);
SELECT FROM credit_pools.define_plan_credits(plan_id => 'pro', credit_type_id => 'credits', entry_id => 'welcome', amount => 50, cadence => NULL);
SELECT FROM credit_pools.define_plan(plan_id => 'seats');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'seats', credit_type_id => 'credits', amount => 10, quantity_feature_id => 'seat', rollover_max => 50);
SELECT FROM credit_pools.define_plan(plan_id => 'duo');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'duo', credit_type_id => 'credits', amount => 100, rollover_max => 10);
SELECT FROM credit_pools.define_plan_credits(plan_id => 'duo', credit_type_id => 'credits', entry_id => 'extra', amount => 40, rollover_max => 20);
SELECT r, status FROM (VALUES ('a', 'basic', NULL::timestamptz), ('back', 'pro', NULL), ('duo', 'duo', NULL), ('later', 'basic', '2026-04-01 00:00+00'), ('team', 'seats', NULL)) v (r, p, t),
    LATERAL credit_pools.provision_subscription(customer_id => 'acme', plan_id => p, resource_id => r, subscription_id => 'sub-' || r, starts_at => t, quantities => CASE p WHEN 'seats' THEN '{"seat": 7}'::jsonb END) ORDER BY r;

-- A raised quantity makes two grants of one entry for one period; both roll over, under one cap, in burn order: 50 of the 70 fill it, the 20 expire.
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT quantities FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub-team', feature_id => 'seat', quantity => 9);
-- A change of plan before the start: the plan that it has at the start is the one that grants.
SELECT plan_id, status FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'pro', resource_id => 'later');
-- Away from the plan with the welcome credits for more than a period.
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'back');
-- A subscription that is to end, and its credits with it, moves.
SELECT status, ends_at FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'sub-a', at => '2026-04-20 00:00+00', credits => 'expire');
SELECT resource_id, status, ends_at FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'sub-a', to_resource_id => 'b');
SET credit_pools.test_clock = '2026-04-10 00:00+00';
SELECT resource, balance FROM pools_of('acme');
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'pro', resource_id => 'back');
SELECT FROM credit_pools.run_maintenance();
SELECT resource, seq, entry_type, amount, after, "grant", effective_at FROM history_of('acme') WHERE effective_at > '2026-03-02';
SET credit_pools.test_clock = '2026-04-20 00:00+00';
SELECT resource, balance FROM pools_of('acme') WHERE resource IN ('a', 'b');

-- What was known on 5 March: nothing of the raised quantity, the plan that was changed, or the move of 10 March. (At 15 March.)
SELECT r, k.known_at, b.balance, b.granted, b.voided FROM (VALUES ('a'), ('back'), ('team')) v (r), (VALUES ('2026-03-05 00:00+00'::timestamptz), ('2026-03-10 00:00+00')) k (known_at),
    LATERAL credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits', resource_id => r, at => '2026-03-15 00:00+00', known_at => k.known_at) b ORDER BY 1, 2;
SELECT * FROM ledger_problems();
