-- Limits of a recharge policy (contract section 6): max_spend per calendar period, shared by all pools of the policy, exactly; max_count; cooldown.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-30 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM (VALUES ('a'), ('b'), ('own')) v (r), LATERAL credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => r);
SELECT r, balance FROM (VALUES ('a'), ('b'), ('own')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 100);
-- Below 100, fill up to 500; one cent a credit; at most 5 EUR a month for all pools together …
SELECT pools_covered, recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 100, target_balance => 500,
    price_per_credit => 0.01, price_currency => 'EUR', max_spend => 5);
-- … but for 'own', which has a policy of its own and so a spend of its own.
SELECT pools_covered, recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'own', threshold => 100, target_balance => 500,
    price_per_credit => 0.01, price_currency => 'EUR', max_spend => 5, settlement => 'immediate');

-- Pool a takes 4.10 of the 5.00. That is pending, and counts.
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 10);
-- Pool b would take 4.10 as well; 0.90 is left, which is 90 credits.
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'b', credit_type_id => 'credits', amount => 10);
-- Its own policy is not concerned.
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'own', credit_type_id => 'credits', amount => 10);
SELECT * FROM recharges_of('acme');
-- Both are paid. Then nothing is left for this month.
SELECT r, c.status, c.amount, c.balance FROM (VALUES ('a'), ('b')) v (r), LATERAL credit_pools.complete_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', r), payment_reference => 'pay-' || r) c ORDER BY r;
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'b', credit_type_id => 'credits', amount => 100);
SELECT * FROM recharges_of('acme') OFFSET 3;
-- The period is the calendar month: on the 31st still nothing, on the 1st of April 5 EUR again.
SET credit_pools.test_clock = '2026-03-31 23:59:59+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'b', credit_type_id => 'credits', amount => 10);
SET credit_pools.test_clock = '2026-04-01 00:00+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'b', credit_type_id => 'credits', amount => 10);
SELECT * FROM recharges_of('acme') OFFSET 3;
-- What failed for good was not spent: its money is free again.
SELECT status FROM credit_pools.fail_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'b'), reason => 'no card', permanent => true);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 450);
SELECT * FROM recharges_of('acme') OFFSET 5;
SELECT sum(price) AS april FROM credit_pools.recharges WHERE customer_id = 'acme' AND resource_id IN ('a', 'b') AND status IN ('pending', 'processing', 'succeeded') AND created_at >= '2026-04-01 00:00+00';

-- A cut goes down to what can be paid: 1 EUR at 0.30 a credit is 3 credits for 0.90.
SELECT FROM credit_pools.open_pool(customer_id => 'cut', credit_type_id => 'credits');
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'cut', credit_type_id => 'credits', threshold => 10, target_balance => 50, price_per_credit => 0.30, price_currency => 'EUR', max_spend => 1);
SELECT * FROM recharges_of('cut');

-- max_count counts per spend_period and is shared by the policy's pools as well; here per day.
SELECT FROM (VALUES ('a'), ('b')) v (r), LATERAL credit_pools.open_pool(customer_id => 'count', credit_type_id => 'credits', resource_id => r);
SELECT r, balance FROM (VALUES ('a'), ('b')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'count', resource_id => r, credit_type_id => 'credits', amount => 100);
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'count', credit_type_id => 'credits', threshold => 100, recharge_amount => 1, settlement => 'immediate', spend_period => '1 day', max_count => 2);
SELECT r, balance FROM (VALUES (1, 'a'), (2, 'b'), (3, 'a'), (4, 'b')) v (n, r), LATERAL credit_pools.consume_credits(customer_id => 'count', resource_id => r, credit_type_id => 'credits', amount => 5) ORDER BY n;
SELECT * FROM recharges_of('count');
SET credit_pools.test_clock = '2026-04-02 00:00+00';
SELECT r, balance FROM (VALUES (1, 'a'), (2, 'b'), (3, 'a')) v (n, r), LATERAL credit_pools.consume_credits(customer_id => 'count', resource_id => r, credit_type_id => 'credits', amount => 5) ORDER BY n;
SELECT * FROM recharges_of('count') OFFSET 4;

-- cooldown is of each pool: b's recharge does not wait for a's.
SELECT FROM (VALUES ('a'), ('b')) v (r), LATERAL credit_pools.open_pool(customer_id => 'cool', credit_type_id => 'credits', resource_id => r);
SELECT r, balance FROM (VALUES ('a'), ('b')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'cool', resource_id => r, credit_type_id => 'credits', amount => 100);
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'cool', credit_type_id => 'credits', threshold => 100, recharge_amount => 1, settlement => 'immediate', cooldown => '1 day');
SELECT r, balance FROM (VALUES (1, 'a'), (2, 'b'), (3, 'a')) v (n, r), LATERAL credit_pools.consume_credits(customer_id => 'cool', resource_id => r, credit_type_id => 'credits', amount => 5) ORDER BY n;
SELECT * FROM recharges_of('cool');
SELECT * FROM ledger_problems();
