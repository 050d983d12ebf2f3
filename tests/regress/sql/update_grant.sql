-- update_grant (contract section 5): priority, expiry, name and metadata of a grant can change; each change is a ledger row of amount 0 that says from what to what.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100, reason => 'first', expires_at => '2026-03-10 00:00+00');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 50, reason => 'second', metadata => '{"note": 1}');
-- The second is drawn first from now on, and the first lives on.
SELECT amount, remaining, status, balance, is_duplicate FROM credit_pools.update_grant(customer_id => 'acme', grant_id => grant_id('acme', 'second'), priority => 5, display_name => 'Bought', metadata => '{"note": 2}', idempotency_key => 'u-1');
SELECT status, balance FROM credit_pools.update_grant(customer_id => 'acme', grant_id => grant_id('acme', 'first'), expires_at => '2026-03-20 00:00+00');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 60);
SELECT "grant", remaining, status, expires_at FROM grants_of('acme');
SELECT l.seq, l.entry_type, l.amount, l.balance_after, g.reason AS "grant", l.idempotency_key, l.metadata FROM credit_pools.ledger l LEFT JOIN credit_pools.grants g USING (customer_id, grant_id) WHERE l.customer_id = 'acme' ORDER BY l.seq;
SELECT priority, display_name, metadata FROM credit_pools.grants WHERE reason = 'second';
-- The same values again: no row. The same key: the first result. Another payload under it: PC004.
SELECT world() AS before \gset
SELECT status, is_duplicate FROM credit_pools.update_grant(customer_id => 'acme', grant_id => grant_id('acme', 'first'), expires_at => '2026-03-20 00:00+00', priority => 50);
SELECT remaining, is_duplicate FROM credit_pools.update_grant(customer_id => 'acme', grant_id => grant_id('acme', 'second'), priority => 5, display_name => 'Bought', metadata => '{"note": 2}', idempotency_key => 'u-1');
SELECT world() = :'before' AS unchanged;
-- Past the old end the credits are still there; past the new one they are gone. infinity is no end.
SET credit_pools.test_clock = '2026-03-15 00:00+00';
SELECT balance, next_expiry_at FROM credit_pools.pools;
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 7, reason => 'third', expires_at => '2026-03-16 00:00+00');
SELECT status FROM credit_pools.update_grant(customer_id => 'acme', grant_id => grant_id('acme', 'third'), expires_at => 'infinity');
-- An earlier end counts from then on, without anybody calling.
SELECT status FROM credit_pools.update_grant(customer_id => 'acme', grant_id => grant_id('acme', 'first'), expires_at => '2026-03-15 12:00+00');
SET credit_pools.test_clock = '2026-03-15 12:00+00';
SELECT balance, expired FROM credit_pools.pools;
SELECT "grant", remaining, status, expires_at FROM grants_of('acme');
-- What is over keeps its end and priority, but not its name.
SELECT n, e.sqlstate, message, detail_keys, world FROM (VALUES
    (1, format($$SELECT * FROM credit_pools.update_grant(customer_id => 'acme', grant_id => %s, expires_at => '2027-01-01 00:00+00')$$, grant_id('acme', 'first'))),
    (2, format($$SELECT * FROM credit_pools.update_grant(customer_id => 'acme', grant_id => %s, priority => 1)$$, grant_id('acme', 'second'))),
    (3, format($$SELECT * FROM credit_pools.update_grant(customer_id => 'acme', grant_id => %s, expires_at => '2026-03-15 12:00+00')$$, grant_id('acme', 'third'))),
    (4, format($$SELECT * FROM credit_pools.update_grant(customer_id => 'acme', grant_id => %s, priority => 101)$$, grant_id('acme', 'third'))),
    (5, format($$SELECT * FROM credit_pools.update_grant(customer_id => 'acme', grant_id => %s, metadata => '[]')$$, grant_id('acme', 'third'))),
    (6, $$SELECT * FROM credit_pools.update_grant(customer_id => 'acme', grant_id => -1, priority => 1)$$),
    (7, $$SELECT * FROM credit_pools.update_grant(customer_id => 'acme', priority => 1)$$),
    (8, format($$SELECT * FROM credit_pools.update_grant(customer_id => 'nobody', grant_id => %s, priority => 1)$$, grant_id('acme', 'third'))),
    (9, format($$SELECT * FROM credit_pools.update_grant(customer_id => 'acme', grant_id => %s, priority => 6, idempotency_key => 'u-1')$$, grant_id('acme', 'third')))
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
SELECT status FROM credit_pools.update_grant(customer_id => 'acme', grant_id => grant_id('acme', 'first'), display_name => 'Over');
SELECT * FROM ledger_problems();
