-- grant_credits: statuses, start and end, payment, and who may receive (contract sections 4 and 10).
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'coins', scale => 0);
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws');

-- An ordinary grant: paid, priority 50, active at once, no end.
SELECT amount, status, balance, is_duplicate FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100, reason => 'plain');
-- Category, priority, price, expiry, metadata.
SELECT amount, status, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 20.50, category => 'promotional', priority => 10,
    expires_at => '2026-04-01 00:00+00', reason => 'spring', display_name => 'Spring gift', metadata => '{"campaign": 7}');
SELECT amount, status, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 50, price => 4.99, price_currency => 'EUR', reason => 'bought');
-- A grant that starts later is scheduled: not in the balance yet.
SELECT amount, status, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 7, effective_at => '2026-03-12 00:00+00', reason => 'later');
-- A grant that is not yet paid is unusable until its payment is confirmed.
SELECT amount, status, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 30, payment_state => 'pending', price => 3, price_currency => 'EUR', reason => 'invoice');
-- A start in the past is allowed; it counts now, and the ledger says since when.
SELECT amount, status, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, effective_at => '2026-02-01 00:00+00', reason => 'backdated');
SELECT * FROM grants_of('acme', 'ws');
SELECT "grant", price, price_currency, source, metadata FROM (SELECT reason AS "grant", price, price_currency, source, metadata, grant_id FROM credit_pools.grants WHERE customer_id = 'acme') g ORDER BY grant_id;
SELECT * FROM ledger_of('acme', 'ws');

-- The payment arrives: the grant counts from now on. A second confirmation is the same success.
SET credit_pools.test_clock = '2026-03-11 00:00+00';
SELECT amount, status, balance FROM credit_pools.confirm_grant_payment(customer_id => 'acme', grant_id => grant_id('acme', 'invoice'), payment_reference => 'pay-1');
SELECT world() AS before \gset
SELECT amount, status, balance FROM credit_pools.confirm_grant_payment(customer_id => 'acme', grant_id => grant_id('acme', 'invoice'), payment_reference => 'pay-1');
SELECT world() = :'before' AS unchanged;
-- A grant that needed no payment, confirmed: nothing to do.
SELECT amount, status FROM credit_pools.confirm_grant_payment(customer_id => 'acme', grant_id => grant_id('acme', 'plain'));
-- The scheduled grant begins by itself; the view shows it from its very instant.
SET credit_pools.test_clock = '2026-03-12 00:00+00';
SELECT "grant", status, remaining, available FROM grants_of('acme', 'ws');
SELECT * FROM pools_of('acme');
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT * FROM ledger_of('acme', 'ws') WHERE seq > 7;

-- Unpaid and scheduled: a payment before the start makes it scheduled; it counts from its start.
SELECT status, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 5, effective_at => '2026-03-14 00:00+00', payment_state => 'pending', reason => 'both');
SELECT status, balance FROM credit_pools.confirm_grant_payment(customer_id => 'acme', grant_id => grant_id('acme', 'both'));
SET credit_pools.test_clock = '2026-03-14 00:00+00';
SELECT FROM credit_pools.run_maintenance();
SELECT * FROM ledger_of('acme', 'ws') WHERE "grant" = 'both';
-- Never paid: its end comes all the same, and no credit was ever in the balance.
SELECT status, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 5, expires_at => '2026-03-15 00:00+00', payment_state => 'pending', reason => 'unpaid');
SET credit_pools.test_clock = '2026-03-16 00:00+00';
SELECT "grant", status, available FROM grants_of('acme', 'ws') WHERE "grant" = 'unpaid';
SELECT FROM credit_pools.run_maintenance();
SELECT "grant", status, available FROM grants_of('acme', 'ws') WHERE "grant" = 'unpaid';
SELECT sum(amount) AS moved FROM ledger_of('acme', 'ws') WHERE "grant" = 'unpaid';
SELECT * FROM expect_error($$SELECT * FROM credit_pools.confirm_grant_payment(customer_id => 'acme', grant_id => grant_id('acme', 'unpaid'))$$);

-- A grant of a further credit type opens that pool by itself. The customer's global pool is one, too.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'coins', amount => 3);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', credit_type_id => 'coins', amount => 4);
SELECT resource, type, seq, entry_type, amount, after FROM ledger_of('acme') WHERE type = 'coins';

-- Needs a known customer and, where named, a known resource; an unknown one is an error, never another pool.
SELECT * FROM expect_error($$SELECT * FROM credit_pools.grant_credits(customer_id => 'nobody', credit_type_id => 'credits', amount => 1)$$);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'nowhere', credit_type_id => 'credits', amount => 1)$$);
SELECT * FROM error_figures($$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'nowhere', credit_type_id => 'credits', amount => 1)$$);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'nothing', amount => 1)$$);
-- An archived credit type takes no new grants.
SELECT FROM credit_pools.archive_credit_type(credit_type_id => 'coins');
SELECT * FROM expect_error($$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'coins', amount => 1)$$);

-- What a grant refuses.
SELECT n, e.* FROM (VALUES
    (1, $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, category => 'gift')$$),
    (2, $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, payment_state => 'maybe')$$),
    (3, $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, price => -1, price_currency => 'EUR')$$),
    (4, $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, price => 1)$$),
    (5, $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, price => 1, price_currency => 'euro')$$),
    (6, $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, expires_at => '2026-03-16 00:00+00')$$),
    (7, $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, effective_at => '2026-04-01 00:00+00', expires_at => '2026-04-01 00:00+00')$$),
    (8, $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, effective_at => '2026-01-01 00:00+00', expires_at => '2026-02-01 00:00+00')$$),
    (9, $$SELECT * FROM credit_pools.confirm_grant_payment(customer_id => 'acme', grant_id => -5)$$),
    (10, $$SELECT * FROM credit_pools.confirm_grant_payment(customer_id => 'acme', grant_id => NULL)$$),
    (11, $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, effective_at => 'infinity')$$),
    (12, $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, feature_ids => ARRAY['nowhere'])$$),
    (13, $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, feature_ids => ARRAY[NULL]::text[])$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
SELECT * FROM ledger_problems();
