-- DROP EXTENSION takes everything with it, and a new CREATE EXTENSION starts from nothing, in the same session too (whose kept plans must not be the old ones).
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100);
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
DROP EXTENSION credit_pools;
SELECT count(*) AS schemas FROM pg_namespace WHERE nspname = 'credit_pools';
CREATE EXTENSION credit_pools;
SELECT count(*) AS customers FROM credit_pools.customer;
SELECT sqlstate, message FROM expect_error($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 10)$$);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 50);
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT * FROM ledger_of('acme');
SELECT * FROM ledger_problems();
