-- balance_at of an instant at which nobody looked at the pool: a hold that ended by then pays the debt before its grant ends, as the clock had it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-01-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', overdraft_limit => 50);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 100, expires_at => '2026-01-10 00:00+00');
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'job', credit_type_id => 'credits', amount => 100, ttl => '24 hours');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 20);
-- 100 come back on the 2nd and pay the debt of 20; 80 expire on the 10th. Nobody looks before the 20th.
SET credit_pools.test_clock = '2026-01-20 00:00+00';
SELECT FROM credit_pools.run_maintenance();
SELECT v.at::date, b.* FROM (VALUES ('2026-01-01 00:00+00'::timestamptz), ('2026-01-05 00:00+00'), ('2026-01-15 00:00+00')) v (at),
    LATERAL credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits', at => v.at, known_at => v.at) b ORDER BY 1;
SELECT * FROM ledger_problems();
