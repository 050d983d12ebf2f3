-- Time (contract section 2): active at effective_at, no longer at expires_at. Reads are right to the instant whether or not maintenance has run;
-- what is due is booked at the right effective_at by whoever comes first, maintenance, a usage or a grant, with equal results.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT credit_pools.clock();
-- Without a test clock it is the start of the statement for reads.
RESET credit_pools.test_clock;
SELECT credit_pools.clock() = statement_timestamp() AS real;
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
-- Four pools alike: 'ends' is there until the 10th, 'starts' from the 12th to the 20th, 'stays' for ever.
SELECT FROM (VALUES ('by-grant'), ('by-maintenance'), ('by-nobody'), ('by-usage')) v (r), LATERAL credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => r);
SELECT r, balance FROM (VALUES ('by-grant'), ('by-maintenance'), ('by-nobody'), ('by-usage')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits',
    amount => 100, expires_at => '2026-03-10 00:00+00', reason => 'ends');
SELECT r, balance FROM (VALUES ('by-grant'), ('by-maintenance'), ('by-nobody'), ('by-usage')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits',
    amount => 50, effective_at => '2026-03-12 00:00+00', expires_at => '2026-03-20 00:00+00', reason => 'starts');
SELECT r, balance FROM (VALUES ('by-grant'), ('by-maintenance'), ('by-nobody'), ('by-usage')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits',
    amount => 7, reason => 'stays');
SELECT r, balance FROM (VALUES ('by-grant'), ('by-maintenance'), ('by-nobody'), ('by-usage')) v (r), LATERAL credit_pools.consume_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 30);
SELECT next_expiry_at, next_expiry_amount FROM credit_pools.pools WHERE customer_id = 'acme' AND resource_id = 'by-nobody';

-- The last instant of 'ends', its end, the last instant before 'starts', its start: the views follow, though nothing has run.
CREATE FUNCTION look() RETURNS TABLE (balance numeric, expired numeric, ends text, starts text, next_expiry_at timestamptz, next_expiry_amount numeric) LANGUAGE sql AS $$
    SELECT p.balance, p.expired, (SELECT g.status || ', ' || g.available FROM credit_pools.grants g WHERE g.pool_id = p.pool_id AND g.reason = 'ends'),
           (SELECT g.status || ', ' || g.available FROM credit_pools.grants g WHERE g.pool_id = p.pool_id AND g.reason = 'starts'), p.next_expiry_at, p.next_expiry_amount
      FROM credit_pools.pools p WHERE p.customer_id = 'acme' AND p.resource_id = 'by-nobody'$$;
SET credit_pools.test_clock = '2026-03-09 23:59:59.999999+00';
SELECT * FROM look();
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT * FROM look();
SET credit_pools.test_clock = '2026-03-11 23:59:59.999999+00';
SELECT * FROM look();
SET credit_pools.test_clock = '2026-03-12 00:00+00';
SELECT * FROM look();
SET credit_pools.test_clock = '2026-03-13 00:00+00';
SELECT * FROM look();
SELECT count(*) AS rows_in_the_ledger FROM credit_pools.ledger WHERE customer_id = 'acme' AND resource_id = 'by-nobody';
SELECT * FROM pools_of('acme');

-- Each pool's dues are booked by another call; the instants at which they count are the same.
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'by-usage', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'by-grant', credit_type_id => 'credits', amount => 1, reason => 'new');
-- (a limit on the number of pools; two are still due, and each call takes one)
SELECT task, processed FROM credit_pools.run_maintenance(max_pools => 1) ORDER BY task;
SELECT task, processed FROM credit_pools.run_maintenance() ORDER BY task;
-- Nothing is left to do.
SELECT world() AS before \gset
SELECT task, processed FROM credit_pools.run_maintenance() ORDER BY task;
SELECT world() = :'before' AS unchanged;
SELECT resource, seq, entry_type, amount, before, after, "grant", effective_at, recorded_at FROM ledger_of('acme') WHERE seq > 5;
SELECT * FROM grants_of('acme', 'by-usage');
-- The views say the same as before anything was booked.
SELECT * FROM pools_of('acme');

-- At one instant the order is: expiry, new grants, settlement of debt, usage. Here all four fall on the 1st of April.
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'instant', overdraft_limit => 50);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'instant', credit_type_id => 'credits', amount => 10, feature_ids => NULL, effective_at => '2026-04-01 00:00+00', reason => 'new');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'instant', credit_type_id => 'credits', amount => 4);
SELECT FROM credit_pools.define_feature(feature_id => 'image');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'instant', credit_type_id => 'credits', amount => 3, feature_ids => ARRAY['image'], expires_at => '2026-04-01 00:00+00', reason => 'old');
SET credit_pools.test_clock = '2026-04-01 00:00+00';
SELECT * FROM pools_of('acme') WHERE resource = 'instant';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'instant', credit_type_id => 'credits', amount => 1);
SELECT * FROM ledger_of('acme', 'instant');
-- A grant that came and went while nobody looked leaves both rows, in order.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'instant', credit_type_id => 'credits', amount => 8, effective_at => '2026-04-05 00:00+00', expires_at => '2026-04-06 00:00+00', reason => 'short');
SET credit_pools.test_clock = '2026-04-10 00:00+00';
SELECT "grant", status, remaining, available, expired FROM grants_of('acme', 'instant') WHERE "grant" = 'short';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'instant', credit_type_id => 'credits', amount => 1);
SELECT * FROM ledger_of('acme', 'instant') WHERE "grant" = 'short';
-- A pool's time never runs backwards: what is written after the 10th counts from the 10th at the earliest, whatever the clock says.
SET credit_pools.test_clock = '2026-04-02 00:00+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'instant', credit_type_id => 'credits', amount => 1);
SELECT * FROM ledger_of('acme', 'instant') ORDER BY seq DESC LIMIT 1;
SELECT * FROM ledger_problems();
