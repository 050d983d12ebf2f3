-- Order of consumption (contract section 4): priority ascending, then expiry ascending (none last), then promotional before paid and recurring,
-- then effective_at, then created_at, then insertion. One ledger row per grant touched.
-- Each scenario has a pool of its own, and all its later tie-breaks point the other way, so that only the rule under test explains the result.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
CREATE FUNCTION new_grant(resource text, name text, category text DEFAULT 'paid', priority int DEFAULT 50, effective_at timestamptz DEFAULT NULL, expires_at timestamptz DEFAULT NULL) RETURNS text
LANGUAGE sql AS $$SELECT status FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => $1, credit_type_id => 'credits', amount => 10,
    reason => $2, category => $3, priority => $4, effective_at => $5, expires_at => $6)$$;
SELECT FROM (VALUES ('1-priority'), ('2-expiry'), ('3-category'), ('4-effective'), ('5-created'), ('6-insertion'), ('7-paid-recurring')) v (r),
    LATERAL credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => r);

-- 1. Priority: 40 goes before 50, although it never expires, is paid, started later and was granted later.
SELECT FROM new_grant('1-priority', 'second', 'promotional', 50, '2026-02-01 00:00+00', '2026-03-02 00:00+00');
SELECT FROM new_grant('1-priority', 'first', 'paid', 40);
-- 2. Expiry: the earlier end goes first; no end is last.
SELECT FROM new_grant('2-expiry', 'third', 'promotional', 50, '2026-02-01 00:00+00', NULL);
SELECT FROM new_grant('2-expiry', 'second', 'promotional', 50, '2026-02-01 00:00+00', '2026-05-01 00:00+00');
SELECT FROM new_grant('2-expiry', 'first', 'paid', 50, NULL, '2026-04-01 00:00+00');
-- 3. Category: promotional before paid and recurring.
SELECT FROM new_grant('3-category', 'second', 'paid', 50, '2026-02-01 00:00+00');
SELECT FROM new_grant('3-category', 'third', 'recurring', 50, '2026-02-02 00:00+00');
SELECT FROM new_grant('3-category', 'first', 'promotional', 50);
-- 4. effective_at: what began to count earlier goes first.
SELECT FROM new_grant('4-effective', 'second', 'paid', 50, '2026-02-02 00:00+00');
SELECT FROM new_grant('4-effective', 'first', 'paid', 50, '2026-02-01 00:00+00');
-- 5. created_at: the same effective_at, entered one after the other.
SELECT FROM new_grant('5-created', 'first', 'paid', 50, '2026-02-01 00:00+00');
-- 6. Insertion: everything else is the same.
SELECT FROM new_grant('6-insertion', 'first');
SELECT FROM new_grant('6-insertion', 'second');
-- 7. Paid and recurring are of one rank: effective_at decides between them.
SELECT FROM new_grant('7-paid-recurring', 'third', 'paid', 50, '2026-02-03 00:00+00');
SELECT FROM new_grant('7-paid-recurring', 'second', 'recurring', 50, '2026-02-02 00:00+00');
SELECT FROM new_grant('7-paid-recurring', 'first', 'paid', 50, '2026-02-01 00:00+00');
SET credit_pools.test_clock = '2026-03-01 12:00+00';
SELECT FROM new_grant('5-created', 'second', 'paid', 50, '2026-02-01 00:00+00');

-- 15 credits from each pool: the first grant is used up, then 5 from the next. Two ledger rows each, in the order of consumption.
SELECT r.resource_id, c.credits_consumed, c.balance
  FROM (SELECT DISTINCT resource_id FROM credit_pools.pools WHERE customer_id = 'acme' ORDER BY 1) r,
       LATERAL credit_pools.consume_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 15, resource_id => r.resource_id) c ORDER BY 1;
SELECT resource, seq, entry_type, amount, before, after, "grant" FROM ledger_of('acme') WHERE entry_type = 'consume';
-- 10 more: the rest of the second, then the third where there is one.
SELECT r.resource_id, c.credits_consumed, c.shortfall, c.balance
  FROM (SELECT DISTINCT resource_id FROM credit_pools.pools WHERE customer_id = 'acme' ORDER BY 1) r,
       LATERAL credit_pools.consume_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 10, resource_id => r.resource_id, on_insufficient => 'cap') c ORDER BY 1;
SELECT resource, "grant", consumed, remaining, status FROM grants_of('acme');
SELECT * FROM ledger_problems();
