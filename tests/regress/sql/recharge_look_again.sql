-- A pool that was passed over for a cooldown or a period's limit is looked at again by run_maintenance when that has ended: an empty pool refuses all usage,
-- and a rejected call fires nothing, so nobody else would ask. The skip's next_attempt_at says when.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
CREATE FUNCTION decisions(customer text) RETURNS TABLE (status text, reason text, amount numeric, evaluations bigint, next_attempt text) LANGUAGE sql AS $$
    SELECT status, reason, amount, evaluations, public.at(next_attempt_at) FROM credit_pools.recharges WHERE customer_id = customer ORDER BY recharge_id$$;
CREATE FUNCTION looked_at() RETURNS bigint LANGUAGE sql AS $$SELECT processed FROM credit_pools.run_maintenance() WHERE task = 'recharges'$$;
CREATE FUNCTION use_all(customer text) RETURNS text LANGUAGE sql AS $$
    SELECT sqlstate FROM expect_error(format('SELECT * FROM credit_pools.consume_credits(customer_id => %L, resource_id => ''ws'', credit_type_id => ''credits'', amount => 11)', customer))$$;
SELECT FROM unnest(ARRAY['cooldown', 'count', 'frozen', 'later', 'spend']) c, LATERAL credit_pools.open_pool(customer_id => c, credit_type_id => 'credits', resource_id => 'ws');

-- Ten at a time, at most one an hour; usage of eleven never fits.
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'cooldown', credit_type_id => 'credits', threshold => 100, recharge_amount => 10, settlement => 'immediate', cooldown => '1 hour');
SELECT FROM credit_pools.consume_credits(customer_id => 'cooldown', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT use_all('cooldown');
SELECT * FROM decisions('cooldown');
SET credit_pools.test_clock = '2026-03-01 00:59:59+00';
SELECT looked_at();
SET credit_pools.test_clock = '2026-03-01 01:00+00';
SELECT use_all('cooldown');
SELECT looked_at(), looked_at();
SELECT * FROM decisions('cooldown');

-- Skipped till the next month, each for its limit. Still skipped then where the reason stays.
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'count', credit_type_id => 'credits', threshold => 100, recharge_amount => 10, settlement => 'immediate', max_count => 0);
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'spend', credit_type_id => 'credits', threshold => 100, recharge_amount => 10, settlement => 'immediate', price_per_credit => 1, price_currency => 'EUR', max_spend => 10);
SELECT FROM credit_pools.consume_credits(customer_id => 'spend', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
-- Frozen meanwhile: not looked at, before or after; it is when it is active again.
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'frozen', credit_type_id => 'credits', threshold => 100, recharge_amount => 10, settlement => 'immediate', max_count => 0);
SELECT FROM credit_pools.set_pool(customer_id => 'frozen', resource_id => 'ws', credit_type_id => 'credits', status => 'frozen');
-- Something was decided since: the old skip is no reason to look.
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'later', credit_type_id => 'credits', threshold => 100, recharge_amount => 10, max_count => 0);
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'later', credit_type_id => 'credits', threshold => 100, recharge_amount => 10);
SELECT c, d.* FROM unnest(ARRAY['count', 'frozen', 'later', 'spend']) c, LATERAL decisions(c) d;
SET credit_pools.test_clock = '2026-03-31 23:59:59+00';
SELECT looked_at();
SET credit_pools.test_clock = '2026-04-01 00:00+00';
SELECT looked_at(), looked_at();
SELECT c, d.* FROM unnest(ARRAY['count', 'frozen', 'later', 'spend']) c, LATERAL decisions(c) d;
SELECT resource, balance FROM pools_of('spend');
SELECT * FROM ledger_problems();
