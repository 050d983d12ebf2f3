-- void_grant (contract sections 5 and 10) takes back what is not consumed; twice = success without a row.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws');
SELECT FROM credit_pools.open_pool(customer_id => 'globex', credit_type_id => 'credits', resource_id => 'ws');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100, priority => 1, reason => 'A');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 10, reason => 'B');
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 30);

-- A part of it …
SELECT amount, remaining, status, voided, balance FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'A'), amount => 20.50, reason => 'mistake');
-- … more than the remainder is refused …
SELECT * FROM expect_error($$SELECT * FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'A'), amount => 49.51)$$);
-- … the remainder, which is the default.
SELECT amount, remaining, status, voided, balance FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'A'));
-- Again: success without a row, also with an amount.
SELECT world() AS before \gset
SELECT amount, remaining, status, balance FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'A'));
SELECT amount, remaining, status, balance FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'A'), amount => 5);
SELECT world() = :'before' AS unchanged;
-- What was consumed stays consumed; the voided credits can no longer be used.
SELECT * FROM expect_error($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 11)$$);
-- A used-up grant: success without a row.
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT world() AS before \gset
SELECT amount, remaining, status, balance FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'B'));
SELECT world() = :'before' AS unchanged;

-- An expired grant: success; the only row is that of its expiry, which was due.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 4, expires_at => '2026-03-02 00:00+00', reason => 'short');
SET credit_pools.test_clock = '2026-03-03 00:00+00';
SELECT amount, remaining, status, balance FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'short'));

-- A grant that has not begun, and one that is not paid: they end before they count.
SELECT status, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 5, effective_at => '2026-03-10 00:00+00', reason => 'later');
SELECT status, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 6, payment_state => 'pending', reason => 'unpaid');
SELECT amount, remaining, status, balance FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'later'));
SELECT amount, remaining, status, balance FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'unpaid'));
SELECT * FROM expect_error($$SELECT * FROM credit_pools.confirm_grant_payment(customer_id => 'acme', grant_id => grant_id('acme', 'unpaid'))$$);
SET credit_pools.test_clock = '2026-03-11 00:00+00';
SELECT FROM credit_pools.run_maintenance();
-- A part of a grant that has not begun: what is left begins.
SELECT status, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 8, effective_at => '2026-03-12 00:00+00', reason => 'half');
SELECT amount, remaining, status, balance FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'half'), amount => 3);
SET credit_pools.test_clock = '2026-03-12 00:00+00';
SELECT * FROM pools_of('acme');
SELECT FROM credit_pools.run_maintenance();
SELECT * FROM pools_of('acme');

-- With an idempotency key: the first result again.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 50, reason => 'C');
SELECT voided, remaining, balance, is_duplicate FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'C'), amount => 10, idempotency_key => 'v-1');
SELECT voided, remaining, balance, is_duplicate FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'C'), amount => 10, idempotency_key => 'v-1');
SELECT * FROM expect_error($$SELECT * FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'C'), amount => 11, idempotency_key => 'v-1')$$);

-- An unknown grant, and another customer's grant, are unknown.
SELECT n, e.* FROM (VALUES
    (1, $$SELECT * FROM credit_pools.void_grant(customer_id => 'acme', grant_id => -1)$$),
    (2, $$SELECT * FROM credit_pools.void_grant(customer_id => 'globex', grant_id => grant_id('acme', 'C'))$$),
    (3, $$SELECT * FROM credit_pools.void_grant(customer_id => 'nobody', grant_id => grant_id('acme', 'C'))$$),
    (4, $$SELECT * FROM credit_pools.void_grant(customer_id => 'acme', grant_id => NULL)$$),
    (5, $$SELECT * FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'C'), amount => 0)$$),
    (6, $$SELECT * FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'C'), amount => -1)$$),
    (7, $$SELECT * FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'C'), amount => 'NaN')$$),
    (8, $$SELECT * FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'C'), amount => 0.001)$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;

SELECT * FROM grants_of('acme');
SELECT * FROM ledger_of('acme');
SELECT * FROM ledger_problems();
