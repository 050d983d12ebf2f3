-- Auto-recharge with settlement 'immediate' (contract section 6): the grant is made in the very transaction of the call that brought the pool down.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM (VALUES ('amount'), ('debt'), ('expiry'), ('gap'), ('other'), ('void')) v (r), LATERAL credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => r, overdraft_limit => 50);
SELECT r, balance FROM (VALUES ('amount'), ('debt'), ('gap'), ('other')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 150, reason => 'first');
-- These two lose a grant in another way than by usage.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'expiry', credit_type_id => 'credits', amount => 150, expires_at => '2026-03-02 00:00+00', reason => 'first');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'void', credit_type_id => 'credits', amount => 150, reason => 'to be voided');
SELECT enabled, pools_covered, recharges_requested
  FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 100, target_balance => 500, settlement => 'immediate', grant_expires_after => '30 days');

-- The returned balance is the one at the end of the call, after the recharge.
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'gap', credit_type_id => 'credits', amount => 60);
-- More than there is: rejected, although a recharge could have covered it. A rejected call fires nothing.
SELECT * FROM expect_error($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'other', credit_type_id => 'credits', amount => 201)$$);
-- Into the debt: the gap from there to the target is closed, and the debt is settled by it.
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'debt', credit_type_id => 'credits', amount => 170);
-- Expiry and void fire, too.
SET credit_pools.test_clock = '2026-03-02 00:00+00';
SELECT FROM credit_pools.run_maintenance();
SELECT remaining, balance FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'to be voided'));
SELECT * FROM recharges_of('acme');
SELECT * FROM ledger_of('acme');
-- Not on the sum of pools: 'amount' and 'other' are as they were.
SELECT * FROM pools_of('acme');
SELECT resource, "grant", category, amount, status, effective_at, expires_at FROM grants_of('acme') WHERE "grant" NOT IN ('first', 'to be voided');

-- A policy of its own for one pool, by a fixed amount: one recharge is one recharge_amount, also where that does not lift the pool over the threshold;
-- a recharge never triggers itself, so the next one comes with the next call.
SELECT resource_id, enabled, pools_covered, recharges_requested
  FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'amount', threshold => 100, recharge_amount => 20, settlement => 'immediate', price_per_credit => 0.5, price_currency => 'USD');
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'amount', credit_type_id => 'credits', amount => 130);
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'amount', credit_type_id => 'credits', amount => 1);
-- The other pools keep the customer's policy.
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'other', credit_type_id => 'credits', amount => 51);
SELECT * FROM recharges_of('acme') OFFSET 4;
-- Undone with the call that fired it.
BEGIN;
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'gap', credit_type_id => 'credits', amount => 450);
ROLLBACK;
SELECT count(*) AS recharges FROM credit_pools.recharges WHERE customer_id = 'acme';
-- A replay fires nothing either, and gives the balance of the first time.
SELECT credits_consumed, balance, is_duplicate FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'gap', credit_type_id => 'credits', amount => 450, idempotency_key => 'k');
SELECT credits_consumed, balance, is_duplicate FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'gap', credit_type_id => 'credits', amount => 450, idempotency_key => 'k');
SELECT count(*) AS recharges FROM credit_pools.recharges WHERE customer_id = 'acme';
SELECT * FROM ledger_problems();
