-- A payment arrives for a frozen pool in which something is due: its credits are granted, and no further recharge is asked for, nor a skip told.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-01-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits');
SELECT FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 50, recharge_amount => 10);
SELECT * FROM recharges_of('acme');
SELECT status FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', status => 'frozen');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 5, expires_at => '2026-01-01 00:30+00');
SET credit_pools.test_clock = '2026-01-01 01:00+00';
SELECT status FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => recharge_id('acme'));
SELECT * FROM recharges_of('acme');
SELECT balance, expired, status FROM credit_pools.pools WHERE customer_id = 'acme';
-- Active again, it asks.
SELECT status FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', status => 'active');
SELECT status, amount, balance FROM credit_pools.recharges WHERE customer_id = 'acme' ORDER BY recharge_id;
SELECT * FROM ledger_problems();
