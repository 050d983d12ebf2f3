-- Holds end by the clock alone (contract section 2): reads are right to the instant, whether or not maintenance has run; writes first carry out what is due in the pool that they lock.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100, reason => 'A', priority => 1);
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 50, reason => 'B', priority => 2);
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h1', resource_id => 'ws', credit_type_id => 'credits', amount => 120);
SELECT FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'h1', amount => 10, final => false);
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h2', resource_id => 'ws', credit_type_id => 'credits', amount => 5, ttl => '2 hours');

-- seen(): all that the views say, but for what only booking makes known.
CREATE FUNCTION seen() RETURNS text LANGUAGE sql AS $f$
    SELECT md5(concat((SELECT string_agg(to_jsonb(p)::text, ' ' ORDER BY p.pool_id) FROM credit_pools.pools p),
                      (SELECT string_agg(to_jsonb(g)::text, ' ' ORDER BY g.grant_id) FROM credit_pools.grants g),
                      (SELECT string_agg(to_jsonb(r)::text, ' ' ORDER BY r.reservation_id) FROM credit_pools.reservations r)))
$f$;
-- A microsecond before the end, and at it. Nothing has been booked.
SET credit_pools.test_clock = '2026-03-01 00:59:59.999999+00';
SELECT resource, balance, consumed, held FROM pools_of('acme');
SET credit_pools.test_clock = '2026-03-01 01:00+00';
SELECT world() AS before \gset
SELECT resource, balance, consumed, held FROM pools_of('acme');
SELECT * FROM held_of('acme');
SELECT reservation, status, amount, held, charged, expires_at, closed_at FROM holds_of('acme');
SELECT balance, held FROM credit_pools.balance_at(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', at => '2026-03-01 00:59+00');
SELECT balance, held FROM credit_pools.balance_at(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', at => '2026-03-01 01:00+00');
SELECT * FROM ledger_problems();
SELECT world() = :'before' AS unchanged;
-- Maintenance books the same, later, as of the instant at which it happened.
SET credit_pools.test_clock = '2026-03-01 01:30+00';
SELECT seen() AS seen \gset
SELECT sum(processed) > 0 AS worked FROM credit_pools.run_maintenance();
SELECT seen() = :'seen' AS same;
SELECT seq, entry_type, amount, after, "grant", feature, effective_at, recorded_at FROM ledger_of('acme') OFFSET 3;
SELECT string_agg(DISTINCT reservation_id, ',') AS of FROM credit_pools.ledger WHERE entry_type = 'reservation_expire';
SELECT sum(processed) AS again FROM credit_pools.run_maintenance();
SELECT balance, held FROM credit_pools.balance_at(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', at => '2026-03-01 00:59+00');
SELECT balance, held FROM credit_pools.balance_at(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', at => '2026-03-01 01:00+00');
-- A usage finds what has come back, and books it first.
SET credit_pools.test_clock = '2026-03-01 02:00+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 140);
SELECT * FROM rows_of('acme', 'ws', 10);

-- At one instant: end of holds, expiry, new grants, settlement of debt. E ends with the hold on it, N begins; the debt is paid by N, not by what came back to E.
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'instant', credit_type_id => 'credits', overdraft_limit => 100);
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'instant', credit_type_id => 'credits', amount => 50, expires_at => '2026-03-01 04:00+00', reason => 'E');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'instant', credit_type_id => 'credits', amount => 70, effective_at => '2026-03-01 04:00+00', reason => 'N');
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'i1', resource_id => 'instant', credit_type_id => 'credits', amount => 30, ttl => '2 hours');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'instant', credit_type_id => 'credits', amount => 60);
SET credit_pools.test_clock = '2026-03-01 03:59:59.999999+00';
SELECT resource, balance, consumed, expired, held, debt FROM pools_of('acme') WHERE resource = 'instant';
SET credit_pools.test_clock = '2026-03-01 04:00+00';
SELECT resource, balance, consumed, expired, held, debt FROM pools_of('acme') WHERE resource = 'instant';
SELECT "grant", available, held, consumed, expired, status FROM held_of('acme', 'instant');
SELECT seen() AS seen \gset
SELECT sum(processed) > 0 AS worked FROM credit_pools.run_maintenance();
SELECT seen() = :'seen' AS same;
SELECT * FROM rows_of('acme', 'instant', 3);
-- What comes back to a grant that goes on pays the debt. Several holds of one instant end in the order of their making, after what ended before.
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'debt', credit_type_id => 'credits', overdraft_limit => 100);
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'debt', credit_type_id => 'credits', amount => 50, reason => 'D');
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'd1', resource_id => 'debt', credit_type_id => 'credits', amount => 30, ttl => '2 hours');
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'd2', resource_id => 'debt', credit_type_id => 'credits', amount => 15, ttl => '2 hours');
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'd0', resource_id => 'debt', credit_type_id => 'credits', amount => 5, ttl => '1 hour');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'debt', credit_type_id => 'credits', amount => 40);
SET credit_pools.test_clock = '2026-03-01 05:30+00';
SELECT resource, balance, held, debt FROM pools_of('acme') WHERE resource = 'debt';
SET credit_pools.test_clock = '2026-03-01 07:00+00';
SELECT resource, balance, consumed, held, debt FROM pools_of('acme') WHERE resource = 'debt';
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'debt', credit_type_id => 'credits', amount => 1, reason => 'later');
SELECT seq, entry_type, amount, after, "grant", reservation, effective_at FROM rows_of('acme', 'debt', 6);
-- A hold that is cut short by nothing but a frozen pool ends as well.
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'd3', resource_id => 'debt', credit_type_id => 'credits', amount => 11);
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'debt', credit_type_id => 'credits', status => 'frozen');
SET credit_pools.test_clock = '2026-03-01 08:00+00';
SELECT sum(processed) > 0 AS worked FROM credit_pools.run_maintenance();
SELECT balance, held FROM pools_of('acme') WHERE resource = 'debt';
SELECT * FROM ledger_problems();
