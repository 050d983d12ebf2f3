-- release_reservation and extend_reservation (contract sections 5, 10).
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100, reason => 'A', priority => 1);
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 50, reason => 'B', priority => 2);
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h1', resource_id => 'ws', credit_type_id => 'credits', amount => 120);

-- All that is still held returns. A second release is the same success, and changes nothing.
SET credit_pools.test_clock = '2026-03-01 00:10+00';
SELECT FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'h1', amount => 30, final => false);
SELECT reservation_id, credit_type_id, status, amount, held, charged, balance, expires_at, is_duplicate FROM credit_pools.release_reservation(customer_id => 'acme', reservation_id => 'h1');
SELECT world() AS before \gset
SELECT status, amount, held, charged, balance, is_duplicate FROM credit_pools.release_reservation(customer_id => 'acme', reservation_id => 'h1');
SELECT world() = :'before' AS unchanged;
SELECT * FROM rows_of('acme', 'ws', 3);
SELECT * FROM holds_of('acme');
-- Its id stays taken: the same payload is the first result.
SELECT held, balance, expires_at, is_duplicate FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h1', resource_id => 'ws', credit_type_id => 'credits', amount => 120);
-- What is released cannot be settled, what is settled cannot be released, and neither can be extended.
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h2', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT FROM credit_pools.open_pool(customer_id => 'globex', resource_id => 'ws', credit_type_id => 'credits');
SELECT FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'h2', amount => 7);
SELECT n, r.* FROM (VALUES
    (1, $$settle_reservation(customer_id => 'acme', reservation_id => 'h1')$$),
    (2, $$settle_reservation(customer_id => 'acme', reservation_id => 'h1', amount => 0)$$),
    (3, $$settle_reservation(customer_id => 'acme', reservation_id => 'h1', amount => 30, final => false)$$),
    (4, $$extend_reservation(customer_id => 'acme', reservation_id => 'h1')$$),
    (5, $$release_reservation(customer_id => 'acme', reservation_id => 'h2')$$),
    (6, $$extend_reservation(customer_id => 'acme', reservation_id => 'h2')$$),
    (7, $$release_reservation(customer_id => 'acme', reservation_id => 'nope')$$),
    (8, $$extend_reservation(customer_id => 'acme', reservation_id => 'nope')$$),
    (9, $$settle_reservation(customer_id => 'acme', reservation_id => 'nope')$$),
    (10, $$release_reservation(customer_id => 'globex', reservation_id => 'h2')$$)
  ) v (n, call), LATERAL refused('SELECT * FROM credit_pools.' || call) r ORDER BY n;
-- A frozen pool gives back what is held.
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h3', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', status => 'frozen');
SELECT expires_at FROM credit_pools.extend_reservation(customer_id => 'acme', reservation_id => 'h3');
SELECT status, balance FROM credit_pools.release_reservation(customer_id => 'acme', reservation_id => 'h3');
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', status => 'active');

-- extend_reservation counts from now. The ledger says so by a row of 0; the same instant again is no change.
SET credit_pools.test_clock = '2026-03-01 00:20+00';
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h4', resource_id => 'ws', credit_type_id => 'credits', amount => 100);
SET credit_pools.test_clock = '2026-03-01 01:19:59+00';
SELECT status, amount, held, charged, balance, expires_at, is_duplicate FROM credit_pools.extend_reservation(customer_id => 'acme', reservation_id => 'h4', ttl => '2 hours');
SELECT world() AS before \gset
SELECT status, held, balance, expires_at FROM credit_pools.extend_reservation(customer_id => 'acme', reservation_id => 'h4', ttl => '120 minutes');
SELECT world() = :'before' AS unchanged;
SELECT entry_type, amount, reservation_id, grant_id, usage_id, at((metadata -> 'expires_at' ->> 'from')::timestamptz) AS "from", at((metadata -> 'expires_at' ->> 'to')::timestamptz) AS "to" FROM credit_pools.ledger WHERE reservation_id = 'h4' AND entry_type = 'update';
-- So it lives on; one hour is the default, 24 hours the most; it may become shorter, too.
SET credit_pools.test_clock = '2026-03-01 03:19:58+00';
SELECT balance, held FROM pools_of('acme');
SELECT expires_at FROM credit_pools.extend_reservation(customer_id => 'acme', reservation_id => 'h4', ttl => '24 hours');
SELECT expires_at FROM credit_pools.extend_reservation(customer_id => 'acme', reservation_id => 'h4');
SELECT expires_at FROM credit_pools.extend_reservation(customer_id => 'acme', reservation_id => 'h4', ttl => '2 seconds');
SELECT reservation, status, held, expires_at FROM holds_of('acme') WHERE reservation = 'h4';
-- At that instant it is over: it cannot be extended nor settled; to release it is a success that changes nothing but what the clock has done.
SET credit_pools.test_clock = '2026-03-01 03:20+00';
SELECT sqlstate, figures, world FROM refused($$SELECT * FROM credit_pools.extend_reservation(customer_id => 'acme', reservation_id => 'h4')$$);
SELECT sqlstate, figures, world FROM refused($$SELECT * FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'h4', amount => 1)$$);
SELECT status, amount, held, charged, balance, is_duplicate FROM credit_pools.release_reservation(customer_id => 'acme', reservation_id => 'h4');
SELECT held, is_duplicate FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h4', resource_id => 'ws', credit_type_id => 'credits', amount => 100);
SELECT resource, balance, consumed, held FROM pools_of('acme');
SELECT * FROM ledger_problems();
