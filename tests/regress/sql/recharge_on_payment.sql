-- Auto-recharge with settlement 'on_payment', the default (contract section 6): the trigger asks for a recharge, a payment worker claims and completes it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM (VALUES ('ws-a'), ('ws-b')) v (r), LATERAL credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => r);
SELECT r, balance FROM (VALUES ('ws-a'), ('ws-b')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 150);
-- Below 100 credits, fill up to 500; a credit costs one cent. Nobody is below: nothing is requested.
SELECT customer_id, resource_id, credit_type_id, enabled, pools_covered, recharges_requested
  FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 100, target_balance => 500, price_per_credit => 0.01, price_currency => 'EUR');
SELECT count(*) AS policies FROM credit_pools.auto_recharge_policies WHERE customer_id = 'acme';

-- At the threshold nothing happens; strictly below it, one recharge that closes the whole gap, in the same transaction. It is not credit yet.
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws-a', credit_type_id => 'credits', amount => 50);
SELECT * FROM recharges_of('acme');
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws-a', credit_type_id => 'credits', amount => 10);
SELECT * FROM recharges_of('acme');
-- What is pending counts: 40 and 410 to come are not below 100. So no second one. The neighbour is not touched, and not counted in.
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws-a', credit_type_id => 'credits', amount => 50);
SELECT * FROM recharges_of('acme');
-- A rejected call fires nothing.
SELECT sqlstate FROM expect_error($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws-b', credit_type_id => 'credits', amount => 151)$$);
SELECT count(*) FROM credit_pools.recharges WHERE customer_id = 'acme';
-- One in flight per pool, by a constraint of the database.
SELECT count(*) > 0 AS there_is_a_unique_partial_index FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
 WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relname = 'recharge' AND i.indisunique AND i.indpred IS NOT NULL;

-- A worker claims it, for five minutes; nobody else gets it meanwhile. When the lease has run out, another worker may.
SELECT customer_id, resource_id, credit_type_id, amount, price, price_currency, attempts, lease_expires_at FROM credit_pools.claim_recharges(worker => 'payer-1', max_count => 10);
SELECT resource, status, reason, amount, attempts FROM recharges_of('acme');
SELECT count(*) AS claimed FROM credit_pools.claim_recharges(worker => 'payer-2', max_count => 10);
SET credit_pools.test_clock = '2026-03-01 00:05+00';
SELECT resource_id, amount, lease_expires_at FROM credit_pools.claim_recharges(worker => 'payer-2', max_count => 10, lease => '10 minutes');

-- The payment went through: the grant is made, paid, with its price and its end a year from now; the recharge knows its grant.
SELECT status, amount, balance, is_duplicate FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'ws-a'), payment_reference => 'pay-1');
SELECT r.status, r.payment_reference, g.category, g.priority, g.amount, g.remaining, g.status AS grant_status, g.price, g.price_currency, g.source, g.effective_at, g.expires_at, g.recharge_id = r.recharge_id AS knows_its_recharge
  FROM credit_pools.recharges r JOIN credit_pools.grants g USING (customer_id, grant_id) WHERE r.customer_id = 'acme';
-- Once: a second completion gives the same result and no second grant.
SELECT world() AS before \gset
SELECT status, amount, is_duplicate FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'ws-a'), payment_reference => 'pay-1');
SELECT world() = :'before' AS unchanged;
SELECT * FROM pools_of('acme');
SELECT * FROM ledger_of('acme', 'ws-a');

-- A payment that fails is tried again after a minute, then after two, doubling; and then the breaker opens (max_failures 3 by default).
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws-b', credit_type_id => 'credits', amount => 100);
SELECT count(*) AS claimed FROM credit_pools.claim_recharges(worker => 'payer-1', max_count => 10);
SELECT status, attempts, next_attempt_at FROM credit_pools.fail_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'ws-b'), reason => 'card declined');
SELECT count(*) AS claimed FROM credit_pools.claim_recharges(worker => 'payer-1', max_count => 10);
SET credit_pools.test_clock = '2026-03-01 00:06+00';
SELECT count(*) AS claimed FROM credit_pools.claim_recharges(worker => 'payer-1', max_count => 10);
SELECT status, attempts, next_attempt_at FROM credit_pools.fail_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'ws-b'), reason => 'card declined');
SET credit_pools.test_clock = '2026-03-01 00:08+00';
SELECT count(*) AS claimed FROM credit_pools.claim_recharges(worker => 'payer-1', max_count => 10);
SELECT status, attempts, next_attempt_at FROM credit_pools.fail_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'ws-b'), reason => 'card declined');
SELECT * FROM recharges_of('acme');
-- While it is open: no more attempts, also when the pool sinks further. The skip is a row.
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws-b', credit_type_id => 'credits', amount => 10);
SELECT * FROM recharges_of('acme') OFFSET 2;
-- reset_auto_recharge closes it, and what is low is asked for at once.
SELECT enabled, pools_covered, recharges_requested FROM credit_pools.reset_auto_recharge(customer_id => 'acme', credit_type_id => 'credits');
SELECT * FROM recharges_of('acme') OFFSET 3;
-- A permanent failure opens it at once.
SELECT status, attempts FROM credit_pools.fail_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'ws-b'), reason => 'card stolen', permanent => true);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws-b', credit_type_id => 'credits', amount => 1);
SELECT * FROM recharges_of('acme') OFFSET 3;
-- … and set_auto_recharge closes it, too.
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 100, target_balance => 500, price_per_credit => 0.01, price_currency => 'EUR');
SELECT * FROM recharges_of('acme') OFFSET 5;

-- What may not be.
SELECT n, e.* FROM (VALUES
    (1, $$SELECT * FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => -1, payment_reference => 'x')$$),
    (2, $$SELECT * FROM credit_pools.complete_recharge(customer_id => 'globex', recharge_id => recharge_id('acme', 'ws-b'), payment_reference => 'x')$$),
    (3, $$SELECT * FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => (SELECT max(recharge_id) FROM credit_pools.recharges WHERE status = 'failed'), payment_reference => 'x')$$),
    (4, $$SELECT * FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => (SELECT max(recharge_id) FROM credit_pools.recharges WHERE status = 'skipped'), payment_reference => 'x')$$),
    (5, $$SELECT * FROM credit_pools.fail_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'ws-a'), reason => 'too late')$$),
    (6, $$SELECT * FROM credit_pools.claim_recharges(worker => '', max_count => 1)$$),
    (7, $$SELECT * FROM credit_pools.claim_recharges(worker => 'w', max_count => 0)$$),
    (8, $$SELECT * FROM credit_pools.claim_recharges(worker => 'w', max_count => 1, lease => '-1 minute')$$),
    (9, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 100, target_balance => 100)$$),
    (10, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => -1, target_balance => 100)$$),
    (11, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 10)$$),
    (12, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 10, target_balance => 100, recharge_amount => 5)$$),
    (13, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 10, recharge_amount => 0)$$),
    (14, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 10, target_balance => 100, max_spend => 5)$$),
    (15, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 10, target_balance => 100, settlement => 'soon')$$),
    (16, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'nobody', credit_type_id => 'credits', threshold => 10, target_balance => 100)$$),
    (17, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'nothing', threshold => 10, target_balance => 100)$$),
    (18, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 10, target_balance => 100, resource_id => 'nowhere')$$),
    (19, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 10, target_balance => 100, cooldown => '-1 hour')$$),
    (20, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 10, target_balance => 100, max_count => -1)$$),
    (21, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 10, target_balance => 100, max_failures => 0)$$),
    (22, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 10.5, target_balance => 100)$$),
    (23, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 'NaN', target_balance => 100)$$),
    (24, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 10, target_balance => 100, price_per_credit => -1, price_currency => 'EUR')$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
SELECT * FROM ledger_problems();
