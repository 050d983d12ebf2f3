-- settle_reservation (contract sections 5, 10): up to the hold is charged to the grants that backed it, the rest returns, an excess is consumed normally.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM (VALUES ('whole'), ('part'), ('above'), ('zero'), ('key')) v (r), LATERAL credit_pools.open_pool(customer_id => 'acme', resource_id => r, credit_type_id => 'credits');
SELECT FROM (VALUES ('whole'), ('part'), ('above'), ('zero'), ('key')) v (r), (VALUES ('A', 100, 1), ('B', 50, 2)) g (reason, amount, priority), LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => g.amount, priority => g.priority, reason => g.reason);
SELECT r, held, balance FROM (VALUES ('whole', 120), ('part', 120), ('above', 20), ('zero', 70), ('key', 60)) v (r, a), LATERAL credit_pools.reserve_credits(customer_id => 'acme', reservation_id => r, resource_id => r, credit_type_id => 'credits', amount => a) ORDER BY r;

-- The whole hold.
SET credit_pools.test_clock = '2026-03-01 00:30+00';
SELECT credit_type_id, credits_consumed, shortfall, balance, held, is_duplicate FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'whole', metadata => '{"job": 7}');
SELECT * FROM rows_of('acme', 'whole', 3);
SELECT * FROM held_of('acme', 'whole');
SELECT resource, balance, consumed, held FROM pools_of('acme') WHERE resource = 'whole';
SELECT resource, feature, value, credits, occurred_at, recorded_at FROM usage_of('acme');
SELECT seq, entry_type FROM credit_pools.ledger WHERE reservation_id = 'whole' AND metadata = '{"job": 7}';

-- In parts: final => false charges and keeps the rest. Each part is a usage; equal parts without a key are two.
SELECT credits_consumed, balance, held, is_duplicate FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'part', amount => 30, final => false);
SELECT credits_consumed, balance, held, is_duplicate FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'part', amount => 30, final => false);
SELECT credits_consumed, balance, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'part', amount => 45.5, final => false);
SELECT reservation, status, amount, held, charged, closed_at FROM holds_of('acme') WHERE resource = 'part';
SELECT credits_consumed, balance, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'part', amount => 4);
SELECT * FROM rows_of('acme', 'part', 5);
SELECT reservation, status, amount, held, charged, closed_at FROM holds_of('acme') WHERE resource = 'part';

-- Above the hold: what does not fit at all changes nothing (150 are there with the hold) …
SELECT sqlstate, figures -> 'shortfall' AS shortfall, world FROM refused($$SELECT * FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'above', amount => 150.01)$$);
SELECT sqlstate, figures -> 'shortfall' AS shortfall, world FROM refused($$SELECT * FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'above', amount => 150.01, final => false)$$);
-- … and in a frozen pool the excess is a usage, what is held is not.
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'above', credit_type_id => 'credits', status => 'frozen');
SELECT * FROM refused($$SELECT * FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'above', amount => 21)$$);
SELECT credits_consumed, balance, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'above', amount => 5, final => false);
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'above', credit_type_id => 'credits', status => 'active');
-- A part that is more than is held: the hold stays, with nothing in it.
SELECT credits_consumed, balance, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'above', amount => 25, final => false);
SELECT reservation, status, amount, held, charged FROM holds_of('acme') WHERE resource = 'above';
SELECT credits_consumed, shortfall, balance, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'above', amount => 90);
SELECT * FROM rows_of('acme', 'above', 4);
SELECT reservation, status, amount, held, charged FROM holds_of('acme') WHERE resource = 'above';

-- 0: nothing is charged, all returns; a usage event of 0 credits. With final => false nothing moves.
SELECT credits_consumed, balance, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'zero', amount => 0, final => false);
SELECT credits_consumed, shortfall, balance, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'zero', amount => 0);
SELECT * FROM rows_of('acme', 'zero', 3);
SELECT resource, credits FROM usage_of('acme') WHERE resource = 'zero';

-- Twice: the same figures are the same answer, also when the pool has changed since; other figures are a conflict.
SELECT FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'whole', credit_type_id => 'credits', amount => 1);
SELECT world() AS before \gset
SELECT usage_id = usage_id('acme', 1) AS same_usage, credits_consumed, balance, held, is_duplicate FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'whole', metadata => '{"job": 7}');
SELECT usage_id = usage_id('acme', 5) AS same_usage, credits_consumed, balance, is_duplicate FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'part', amount => 4.00, final => true);
SELECT credits_consumed, balance, is_duplicate FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'zero', amount => 0);
SELECT world() = :'before' AS unchanged;
SELECT n, r.* FROM (VALUES
    (1, $$customer_id => 'acme', reservation_id => 'whole', amount => 119$$),
    (2, $$customer_id => 'acme', reservation_id => 'whole', amount => 0$$),
    (3, $$customer_id => 'acme', reservation_id => 'part'$$),
    (4, $$customer_id => 'acme', reservation_id => 'part', amount => 4, final => false$$),
    (5, $$customer_id => 'acme', reservation_id => 'part', amount => 30, final => false$$),
    (6, $$customer_id => 'acme', reservation_id => 'zero', amount => 1$$)
  ) v (n, arguments), LATERAL refused(format('SELECT * FROM credit_pools.settle_reservation(%s)', arguments)) r ORDER BY n;
-- With a key: a part counts once. The kind of key is its own.
SELECT credits_consumed, balance, held, is_duplicate FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'key', amount => 10, final => false, idempotency_key => 'k');
SELECT credits_consumed, balance, held, is_duplicate FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'key', amount => 10, final => false, idempotency_key => 'k-2');
SELECT credits_consumed, balance, held, is_duplicate FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'key', amount => 10, final => false, idempotency_key => 'k');
SELECT * FROM refused($$SELECT * FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'key', amount => 11, final => false, idempotency_key => 'k')$$);
SELECT * FROM refused($$SELECT * FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'part', amount => 10, final => false, idempotency_key => 'k')$$);
SELECT credits_consumed, balance, is_duplicate FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'key', credit_type_id => 'credits', amount => 1, idempotency_key => 'k');
-- A refused settlement leaves its key free.
SELECT sqlstate, figures - '{floor,balance,required}'::text[] AS figures, world FROM refused($$SELECT * FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'key', amount => 1000, idempotency_key => 'k-3')$$);
SELECT credits_consumed, balance, held, is_duplicate FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'key', amount => 39, idempotency_key => 'k-3');
SELECT credits_consumed, balance, held, is_duplicate FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'key', amount => 39, idempotency_key => 'k-3');
-- The first row of the call carries the key (a usage's own row only a key of report_usage's kind).
SELECT entry_type, amount, idempotency_key FROM credit_pools.ledger WHERE reservation_id = 'key' AND idempotency_key IS NOT NULL ORDER BY seq;
SELECT resource, balance, consumed, held FROM pools_of('acme');
SELECT * FROM ledger_problems();
