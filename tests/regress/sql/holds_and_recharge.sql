-- Holds and auto-recharge (contract section 6): a hold that leaves the balance below the threshold fires it, in the same call; what comes back takes nothing back and does not run away.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM (VALUES ('pay'), ('now')) v (r), LATERAL credit_pools.open_pool(customer_id => 'acme', resource_id => r, credit_type_id => 'credits');
SELECT FROM (VALUES ('pay'), ('now')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 100, reason => 'A');
SELECT FROM credit_pools.set_auto_recharge(customer_id => 'acme', resource_id => 'pay', credit_type_id => 'credits', threshold => 50, recharge_amount => 100);
SELECT FROM credit_pools.set_auto_recharge(customer_id => 'acme', resource_id => 'now', credit_type_id => 'credits', threshold => 50, target_balance => 200, settlement => 'immediate');
-- Exactly at the threshold: nothing. A refused hold: nothing.
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'p1', resource_id => 'pay', credit_type_id => 'credits', amount => 50);
SELECT sqlstate, world FROM refused($$SELECT * FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'p2', resource_id => 'pay', credit_type_id => 'credits', amount => 51)$$);
SELECT status, amount FROM recharges_of('acme');
-- Below it: one recharge, which waits for its payment. Its repetition and what comes back fire nothing.
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'p2', resource_id => 'pay', credit_type_id => 'credits', amount => 1);
SELECT resource, status, amount, granted FROM recharges_of('acme');
SELECT held, balance, is_duplicate FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'p2', resource_id => 'pay', credit_type_id => 'credits', amount => 1);
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'p3', resource_id => 'pay', credit_type_id => 'credits', amount => 20);
SELECT balance FROM credit_pools.release_reservation(customer_id => 'acme', reservation_id => 'p1');
SELECT credits_consumed, balance FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'p3');
SELECT resource, status, amount, granted FROM recharges_of('acme');
SELECT status, balance FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'pay'), payment_reference => 'p');
-- Granted at once: the balance that the hold returns has it already. Released, the pool has more than the target, and nothing is taken back.
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'n1', resource_id => 'now', credit_type_id => 'credits', amount => 60);
SELECT balance FROM credit_pools.release_reservation(customer_id => 'acme', reservation_id => 'n1');
-- Again and again: never another one, because the balance stays above the threshold.
SELECT i, r.balance AS held_balance, s.balance FROM generate_series(1, 3) i, LATERAL credit_pools.reserve_credits(customer_id => 'acme', resource_id => 'now', credit_type_id => 'credits', reservation_id => 'again-' || i, amount => 200) r, LATERAL credit_pools.release_reservation(customer_id => 'acme', reservation_id => 'again-' || i) s ORDER BY i;
SELECT resource, status, amount FROM recharges_of('acme');
-- What is drawn beyond a hold may fire it, and so may a hold of which nothing comes back …
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'n2', resource_id => 'now', credit_type_id => 'credits', amount => 10);
SELECT credits_consumed, balance FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'n2', amount => 230);
SELECT resource, status, amount FROM recharges_of('acme') OFFSET 2;
-- … but not one that times out.
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'n3', resource_id => 'now', credit_type_id => 'credits', amount => 150);
SET credit_pools.test_clock = '2026-03-01 01:00+00';
SELECT sum(processed) > 0 AS worked FROM credit_pools.run_maintenance();
SELECT resource, balance, held FROM pools_of('acme');
SELECT count(*) FROM credit_pools.recharges;
SELECT * FROM ledger_problems();
