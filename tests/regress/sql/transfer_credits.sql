-- transfer_credits (contract sections 5 and 10): only by explicit call, conserving, in the order of consumption; the moved part keeps its category, priority and expiry.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'old', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM (VALUES ('a'), ('b'), (NULL)) v (r), LATERAL credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => r) p;
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'old', resource_id => 'new');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 100, reason => 'bought');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 30, reason => 'gift', category => 'promotional', priority => 10, expires_at => '2026-03-10 00:00+00');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 9, reason => 'run only', priority => 0, feature_ids => '{run}');
-- The gift goes first, then 20 of what was bought. The feature-limited 9 stay.
SELECT amount, from_balance, to_balance, is_duplicate FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 50, from_resource_id => 'a', to_resource_id => 'b', reason => 'shared', idempotency_key => 't-1');
SELECT resource, type, balance, granted, voided, restricted FROM pools_of('acme');
SELECT n.resource_id, n.source, n.category, n.priority, n.amount, n.expires_at, s.reason AS of, s.voided FROM credit_pools.grants n JOIN credit_pools.grants s ON s.grant_id = n.source_grant_id ORDER BY n.grant_id;
SELECT resource, seq, entry_type, amount, before, after FROM ledger_of('acme') WHERE resource IN ('a', 'b') AND type = 'credits' ORDER BY 1, 2;
SELECT world() AS before \gset
SELECT from_balance, to_balance, is_duplicate FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 50, from_resource_id => 'a', to_resource_id => 'b', reason => 'shared', idempotency_key => 't-1');
SELECT world() = :'before' AS unchanged;
-- To and from the global pool, and to a pool that opens by itself.
SELECT from_balance, to_balance FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 10, from_resource_id => 'a');
SELECT from_balance, to_balance FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 4, to_resource_id => 'new');
-- Debt of the other pool is paid by what comes.
SELECT FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'new', overdraft_limit => 20);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'new', credit_type_id => 'credits', amount => 15);
SELECT from_balance, to_balance FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 20, from_resource_id => 'a', to_resource_id => 'new');
SELECT resource, balance, consumed, debt FROM pools_of('acme') WHERE type = 'credits';
-- Nothing is made or lost: 139 came, 15 were used.
SELECT sum(balance), sum(consumed) FROM credit_pools.pools WHERE credit_type_id = 'credits';
-- What moved ends when it would have ended.
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT balance, expired FROM credit_pools.pools WHERE resource_id = 'b';
-- Refused: more than there is (the limited credits and the overdraft do not count), to itself, unknown ones, a frozen pool.
SELECT FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'b', status => 'frozen', overdraft_limit => 1000);
SELECT FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'a', overdraft_limit => 1000);
SELECT FROM credit_pools.archive_credit_type('old');
SELECT n, e.sqlstate, message, world, figures FROM (VALUES
    (1, $$SELECT * FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 51, from_resource_id => 'a', to_resource_id => 'new')$$),
    (2, $$SELECT * FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 1, from_resource_id => 'a', to_resource_id => 'a')$$),
    (3, $$SELECT * FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 1)$$),
    (4, $$SELECT * FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 1, from_resource_id => 'a', to_resource_id => 'nowhere')$$),
    (5, $$SELECT * FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 1, from_resource_id => 'nowhere', to_resource_id => 'a')$$),
    (6, $$SELECT * FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'gold', amount => 1, from_resource_id => 'a', to_resource_id => 'b')$$),
    (7, $$SELECT * FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 1, from_resource_id => 'b', to_resource_id => 'a')$$),
    (8, $$SELECT * FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 0.5, from_resource_id => 'a', to_resource_id => 'b')$$),
    (9, $$SELECT * FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => -1, from_resource_id => 'a', to_resource_id => 'b')$$),
    (10, $$SELECT * FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'old', amount => 1, from_resource_id => 'new', to_resource_id => 'a')$$),
    (11, $$SELECT * FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 51, from_resource_id => 'a', to_resource_id => 'b', idempotency_key => 't-1')$$),
    (12, $$SELECT * FROM credit_pools.transfer_credits(customer_id => 'nobody', credit_type_id => 'credits', amount => 1, from_resource_id => 'a', to_resource_id => 'b')$$)
  ) s (n, statement), LATERAL expect_error(statement) e, LATERAL error_figures(statement) f ORDER BY n;
-- Into a frozen pool is fine.
SELECT from_balance FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 1, from_resource_id => 'a', to_resource_id => 'b');
SELECT * FROM ledger_problems();
