-- reserve_credits by an amount (contract section 5): held credit is out of the balance from the same instant, each grant knows its part.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits');
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits');
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'od', credit_type_id => 'credits', overdraft_limit => 50);
SELECT FROM credit_pools.open_pool(customer_id => 'globex', resource_id => 'ws', credit_type_id => 'credits');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100, priority => 1, reason => 'A');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 50, priority => 2, reason => 'B');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 10, reason => 'G');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'od', credit_type_id => 'credits', amount => 20, reason => 'O');
SELECT FROM credit_pools.grant_credits(customer_id => 'globex', resource_id => 'ws', credit_type_id => 'credits', amount => 500, reason => 'X');

-- One row per grant, in the order of consumption.
SELECT reservation_id, credit_type_id, held, balance, expires_at, status, is_duplicate FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h1', resource_id => 'ws', credit_type_id => 'credits', amount => 120, metadata => '{"job": 7}');
SELECT resource, balance, granted, consumed, held, debt FROM pools_of('acme') WHERE resource = 'ws';
SELECT * FROM held_of('acme', 'ws');
SELECT * FROM rows_of('acme', 'ws');
SELECT * FROM holds_of('acme');
SELECT r.metadata, r.created_at, r.pool_id = p.pool_id AS its_pool, r.rate IS NULL AND r.formula IS NULL AND r.dimensions IS NULL AS no_price FROM credit_pools.reservations r JOIN credit_pools.pools p USING (customer_id, resource_id, credit_type_id);
-- Usage is checked against what is not held.
SELECT * FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 30.01)$$);
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT * FROM refused($$SELECT * FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h2', resource_id => 'ws', credit_type_id => 'credits', amount => 21)$$);

-- The same id and payload: the first result, though time and balance have moved on.
SET credit_pools.test_clock = '2026-03-01 00:01+00';
SELECT world() AS before \gset
SELECT reservation_id, held, balance, expires_at, is_duplicate FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h1', resource_id => 'ws', credit_type_id => 'credits', amount => 120.00, ttl => '1 hour', metadata => '{"job": 7}');
SELECT world() = :'before' AS unchanged;
-- Another payload: PC004, whatever differs. The check comes before all others.
SELECT n, r.* FROM (VALUES
    (1, $$resource_id => 'ws', credit_type_id => 'credits', amount => 121, metadata => '{"job": 7}'$$),
    (2, $$resource_id => 'ws', credit_type_id => 'credits', amount => 120, metadata => '{"job": 8}'$$),
    (3, $$resource_id => 'ws', credit_type_id => 'credits', amount => 120$$),
    (4, $$resource_id => 'ws', credit_type_id => 'credits', amount => 120, metadata => '{"job": 7}', ttl => '59 minutes'$$),
    (5, $$resource_id => 'od', credit_type_id => 'credits', amount => 120, metadata => '{"job": 7}'$$),
    (6, $$resource_id => 'nowhere', credit_type_id => 'gold', amount => 1e9$$),
    (7, $$resource_id => 'ws', feature_id => 'run', value => 120, metadata => '{"job": 7}'$$)
  ) v (n, arguments), LATERAL refused(format($$SELECT * FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h1', %s)$$, arguments)) r ORDER BY n;
-- Another customer has ids of its own.
SELECT held, balance, is_duplicate FROM credit_pools.reserve_credits(customer_id => 'globex', reservation_id => 'h1', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
-- A refused one leaves its id free; the very last credit can be held.
SELECT held, balance, expires_at FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h2', resource_id => 'ws', credit_type_id => 'credits', amount => 20, ttl => '24 hours');
-- Without an id one is made, each time another. The global pool is used where no resource is named.
SELECT reservation_id ~ '^rsv_\d+$' AS made, held, balance, is_duplicate FROM (VALUES (1), (2)) v (n), LATERAL credit_pools.reserve_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 2, metadata => jsonb_build_object('n', n)) ORDER BY n;
SELECT count(*), count(DISTINCT reservation_id) AS ids FROM credit_pools.reservations WHERE customer_id = 'acme' AND resource_id IS NULL;
-- Beyond the grants a hold takes the overdraft, as a usage may; nothing is owed yet. Not below the floor.
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'o1', resource_id => 'od', credit_type_id => 'credits', amount => 60);
SELECT * FROM refused($$SELECT * FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'o2', resource_id => 'od', credit_type_id => 'credits', amount => 11)$$);
SELECT * FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'od', credit_type_id => 'credits', amount => 11)$$);
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'o2', resource_id => 'od', credit_type_id => 'credits', amount => 10);
SELECT * FROM rows_of('acme', 'od', 2);
SELECT resource, balance, consumed, held, debt FROM pools_of('acme');

-- Each reserves 75 of 500 (one of which is held): six succeed, the seventh is refused.
SELECT i, balance FROM generate_series(1, 6) i, LATERAL credit_pools.reserve_credits(customer_id => 'globex', resource_id => 'ws', credit_type_id => 'credits', reservation_id => 'job-' || i, amount => 75) ORDER BY i;
SELECT * FROM refused($$SELECT * FROM credit_pools.reserve_credits(customer_id => 'globex', reservation_id => 'job-7', resource_id => 'ws', credit_type_id => 'credits', amount => 75)$$);
-- A frozen pool takes no new holds, but says what an old one was. A type that the scope has no pool for has nothing. Unknown ones are named.
SELECT FROM credit_pools.set_pool(customer_id => 'globex', resource_id => 'ws', credit_type_id => 'credits', status => 'frozen');
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'gold', scale => 0);
SELECT held, balance, is_duplicate FROM credit_pools.reserve_credits(customer_id => 'globex', reservation_id => 'h1', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT n, r.* FROM (VALUES
    (1, $$customer_id => 'globex', resource_id => 'ws', credit_type_id => 'credits', amount => 1$$),
    (2, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'gold', amount => 1$$),
    (3, $$customer_id => 'nobody', resource_id => 'ws', credit_type_id => 'credits', amount => 1$$),
    (4, $$customer_id => 'acme', resource_id => 'nowhere', credit_type_id => 'credits', amount => 1$$),
    (5, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'silver', amount => 1$$)
  ) v (n, arguments), LATERAL refused(format('SELECT * FROM credit_pools.reserve_credits(reservation_id => ''new'', %s)', arguments)) r ORDER BY n;
SELECT * FROM ledger_problems();
