-- A reversal of usage that went into debt (contract section 5: reversed debt shrinks the debt): what is still owed is owed no more, what was paid since goes back to the grants that paid.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM (VALUES ('open'), ('paid'), ('mixed'), ('ended'), ('other'), ('shared')) v (r), LATERAL credit_pools.open_pool(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', overdraft_limit => 100);
SELECT FROM (VALUES ('open'), ('paid'), ('mixed'), ('ended'), ('other'), ('shared')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 50, reason => 'A');
-- u1 to u6: 80 each, of which 30 are owed.
SELECT r, balance FROM (VALUES (1, 'open'), (2, 'paid'), (3, 'mixed'), (4, 'ended'), (5, 'other'), (6, 'shared')) v (n, r), LATERAL credit_pools.consume_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 80) ORDER BY n;

-- Still open: the debt comes last, and so goes first.
SET credit_pools.test_clock = '2026-03-01 00:30+00';
SELECT credits_returned, reversed, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 1), credits => 10);
SELECT credits_returned, reversed, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 1), credits => 35);
SELECT * FROM rows_of('acme', 'open', 2);
SELECT resource, balance, consumed, debt FROM pools_of('acme') WHERE resource = 'open';

-- Paid since: the settlement is undone on the grant that paid.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'paid', credit_type_id => 'credits', amount => 100, reason => 'B');
SELECT credits_returned, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 2), credits => 20);
SELECT * FROM rows_of('acme', 'paid', 4);
SELECT "grant", available, consumed FROM held_of('acme', 'paid');
SELECT credits_returned, reversed, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 2));
SELECT resource, balance, consumed, debt FROM pools_of('acme') WHERE resource = 'paid';

-- A part is paid (B is used up by it), a part is open: first the open one. Then what was paid last, then what was drawn.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'mixed', credit_type_id => 'credits', amount => 10, reason => 'B');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'mixed', credit_type_id => 'credits', amount => 4, reason => 'C');
SELECT "grant", available, status FROM held_of('acme', 'mixed');
SELECT credits_returned, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 3), credits => 15);
SELECT credits_returned, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 3), credits => 7);
SELECT "grant", available, consumed, status FROM held_of('acme', 'mixed');
SELECT entry_type, "grant", sum(amount) FROM rows_of('acme', 'mixed', 11) GROUP BY 1, 2 ORDER BY 1, 2;
SELECT credits_returned, reversed, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 3));
SELECT "grant", available, consumed, status FROM held_of('acme', 'mixed');

-- The grant that paid has ended: what goes back to it expires at once; the reversal counts all the same.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ended', credit_type_id => 'credits', amount => 40, expires_at => '2026-03-01 02:00+00', reason => 'E');
SET credit_pools.test_clock = '2026-03-01 03:00+00';
SELECT credits_returned, reversed, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 4), credits => 30);
SELECT entry_type, "grant", sum(amount) FROM rows_of('acme', 'ended', 7) GROUP BY 1, 2 ORDER BY 1, 2;
SELECT "grant", available, consumed, expired, status FROM held_of('acme', 'ended');
SELECT resource, balance, consumed, expired, debt FROM pools_of('acme') WHERE resource = 'ended';

-- What goes back to a grant pays what else is owed: u7 of 40 is all debt; u5 gives its 30 of debt first, then its 50 of A, which pays the 40.
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'other', credit_type_id => 'credits', amount => 40);
SELECT credits_returned, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 5));
SELECT * FROM rows_of('acme', 'other', 5);
SELECT resource, balance, consumed, debt FROM pools_of('acme') WHERE resource = 'other';

-- Debt belongs to the pool: u6 is paid by B, u8 of 20 is owed. A reversal of u6 shrinks what is owed, then undoes the payment; u8's then undoes the rest of it.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'shared', credit_type_id => 'credits', amount => 30, reason => 'B');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'shared', credit_type_id => 'credits', amount => 20);
SELECT credits_returned, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 6), credits => 30);
SELECT resource, balance, consumed, debt FROM pools_of('acme') WHERE resource = 'shared';
SELECT credits_returned, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 8));
SELECT "grant", available, consumed, status FROM held_of('acme', 'shared');
SELECT credits, reversed FROM credit_pools.usage_events WHERE customer_id = 'acme' ORDER BY usage_id;
SELECT entry_type, sum(amount) FROM credit_pools.ledger WHERE entry_type IN ('debt', 'debt_settle') GROUP BY 1 ORDER BY 1;
SELECT * FROM ledger_problems();
