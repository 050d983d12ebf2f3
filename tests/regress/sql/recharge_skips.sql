-- Every decision of the auto-recharge is a row, also every skip with its reason: disabled, pending, cooldown, spend_limit, count_limit, breaker.
-- A skip is one row per episode: while the pool's latest decision is the same skip, only its count of evaluations grows.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
-- A customer per reason, each with one pool of 100 credits and a policy that fires below 100.
CREATE FUNCTION new_pool(customer text) RETURNS numeric LANGUAGE sql AS $$
    SELECT FROM credit_pools.open_pool(customer_id => $1, credit_type_id => 'credits', resource_id => 'ws');
    SELECT balance FROM credit_pools.grant_credits(customer_id => $1, resource_id => 'ws', credit_type_id => 'credits', amount => 100)$$;
CREATE FUNCTION use_one(customer text) RETURNS numeric LANGUAGE sql AS $$
    SELECT balance FROM credit_pools.consume_credits(customer_id => $1, resource_id => 'ws', credit_type_id => 'credits', amount => 1)$$;
SELECT c, new_pool(c) FROM unnest(ARRAY['archived', 'breaker', 'cooldown', 'count', 'disabled', 'frozen', 'none', 'pending', 'spend']) c;

-- disabled: there is a policy, switched off. Three usages, one row.
SELECT enabled, pools_covered, recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'disabled', credit_type_id => 'credits', threshold => 100, target_balance => 500, enabled => false);
SELECT use_one('disabled'), use_one('disabled'), use_one('disabled');
SELECT * FROM recharges_of('disabled');

-- pending: one is in flight, and it does not lift the pool over the threshold.
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'pending', credit_type_id => 'credits', threshold => 100, recharge_amount => 1);
SELECT use_one('pending');
SELECT use_one('pending'), use_one('pending');
SELECT * FROM recharges_of('pending');

-- cooldown: counted from the pool's last recharge, also across a change of the policy; over after an hour.
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'cooldown', credit_type_id => 'credits', threshold => 100, recharge_amount => 1, settlement => 'immediate', cooldown => '1 hour');
SELECT use_one('cooldown');
SELECT use_one('cooldown'), use_one('cooldown');
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'cooldown', credit_type_id => 'credits', threshold => 100, recharge_amount => 2, settlement => 'immediate', cooldown => '1 hour');
SET credit_pools.test_clock = '2026-03-01 00:59:59+00';
SELECT use_one('cooldown');
SET credit_pools.test_clock = '2026-03-01 01:00+00';
SELECT use_one('cooldown');
SELECT * FROM recharges_of('cooldown');

-- spend_limit: 1 EUR per month buys one credit.
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'spend', credit_type_id => 'credits', threshold => 100, recharge_amount => 1, settlement => 'immediate', price_per_credit => 1, price_currency => 'EUR', max_spend => 1);
SELECT use_one('spend');
SELECT use_one('spend'), use_one('spend');
SELECT * FROM recharges_of('spend');

-- count_limit: one recharge per month.
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'count', credit_type_id => 'credits', threshold => 100, recharge_amount => 1, settlement => 'immediate', max_count => 1);
SELECT use_one('count');
SELECT use_one('count'), use_one('count');
SELECT * FROM recharges_of('count');

-- breaker: a permanent failure stops all attempts.
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'breaker', credit_type_id => 'credits', threshold => 100, target_balance => 500);
SELECT use_one('breaker');
SELECT status FROM credit_pools.fail_recharge(customer_id => 'breaker', recharge_id => recharge_id('breaker', 'ws'), reason => 'no card', permanent => true);
SELECT use_one('breaker'), use_one('breaker');
SELECT * FROM recharges_of('breaker');

-- Another decision ends the episode: switched on again, the next fall asks for a recharge.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'disabled', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT resource_id, enabled, recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'disabled', credit_type_id => 'credits', threshold => 100, target_balance => 500, enabled => true);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'disabled', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT * FROM recharges_of('disabled');

-- A frozen pool fires no recharge, not even a skip.
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'frozen', credit_type_id => 'credits', threshold => 100, target_balance => 500);
SELECT status FROM credit_pools.set_pool(customer_id => 'frozen', credit_type_id => 'credits', resource_id => 'ws', status => 'frozen');
SELECT remaining, balance FROM credit_pools.void_grant(customer_id => 'frozen', grant_id => (SELECT grant_id FROM credit_pools.grants WHERE customer_id = 'frozen'), amount => 10);
SELECT * FROM recharges_of('frozen');
-- When it is active again, its level counts: it is low, so it asks.
SELECT status FROM credit_pools.set_pool(customer_id => 'frozen', credit_type_id => 'credits', resource_id => 'ws', status => 'active');
SELECT * FROM recharges_of('frozen');
-- No policy: no rows.
SELECT use_one('none');
SELECT * FROM recharges_of('none');
-- An archived credit type takes no new grants, so no recharge is asked for either; one that was asked for before is granted when it is paid.
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'archived', credit_type_id => 'credits', threshold => 100, recharge_amount => 1);
SELECT use_one('archived');
SELECT FROM credit_pools.archive_credit_type(credit_type_id => 'credits');
SELECT use_one('archived');
SELECT status, balance FROM credit_pools.complete_recharge(customer_id => 'archived', recharge_id => recharge_id('archived', 'ws'), payment_reference => 'pay-1');
SELECT use_one('archived');
SELECT * FROM recharges_of('archived');
SELECT * FROM ledger_problems();
