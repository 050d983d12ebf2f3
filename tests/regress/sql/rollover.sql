-- Rollover (contract sections 3 and 10): what a plan's grant still holds at its end goes on as a grant of its own: so many percent of it, at most so much in all, for so many periods.
-- A pair of ledger rows says so, rollover_out on the old grant and rollover_in on the new one; what is not carried expires first. Nothing is carried twice.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'old', scale => 2);
SELECT FROM credit_pools.define_plan(plan_id => 'cap');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'cap', credit_type_id => 'credits', amount => 100, rollover_max => 50);
SELECT FROM credit_pools.define_plan(plan_id => 'half');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'half', credit_type_id => 'credits', amount => 33.33, rollover_max => 1000, rollover_percent => 50, category => 'promotional', priority => 10);
SELECT FROM credit_pools.define_plan(plan_id => 'two');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'two', credit_type_id => 'credits', amount => 100, rollover_max => 50, rollover_periods => 2);
SELECT FROM credit_pools.define_plan(plan_id => 'early');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'early', credit_type_id => 'credits', amount => 100, expires_after => '10 days', rollover_max => 1000);
SELECT FROM credit_pools.define_plan(plan_id => 'old');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'old', credit_type_id => 'old', amount => 100, rollover_max => 50);
SELECT r, status FROM (VALUES ('cap', 'cap', NULL), ('early', 'early', NULL), ('ends', 'cap', '2026-04-01 00:00+00'::timestamptz), ('half', 'half', NULL), ('old', 'old', NULL), ('two', 'two', NULL)) v (r, p, e),
    LATERAL credit_pools.provision_subscription(customer_id => 'acme', plan_id => p, resource_id => r, ends_at => e) ORDER BY r;

-- The cap: 70 are left on 1 April, 50 are carried. In April they are drawn first (both grants end on 1 May; the carried one is older). On 1 May the rest of them expires, and is not carried again.
SET credit_pools.test_clock = '2026-03-15 00:00+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'cap', credit_type_id => 'credits', amount => 30);
SET credit_pools.test_clock = '2026-04-15 00:00+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'cap', credit_type_id => 'credits', amount => 30);
SET credit_pools.test_clock = '2026-05-01 00:00+00';
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'cap', credit_type_id => 'credits', status => 'active');
SELECT * FROM history_of('acme', 'cap');
-- The figures of the grants add up to those of the pool: what was carried counts as expired in the old grant, and as granted in the new one.
SELECT * FROM periods_of('acme', 'cap');
SELECT * FROM pools_of('acme') WHERE resource = 'cap';
-- Each carried grant knows the one it came from, and the pair of rows names both.
SELECT n.effective_at, n.amount, s.source AS from_source, s.effective_at AS from_effective_at, n.subscription_id = s.subscription_id AS same_subscription,
       (SELECT string_agg(l.entry_type || ' ' || l.amount, ', ' ORDER BY l.seq) FROM credit_pools.ledger l WHERE l.customer_id = 'acme' AND l.entry_type::text ~ '^rollover' AND l.effective_at = n.effective_at AND l.grant_id IN (n.grant_id, s.grant_id)) AS rows
  FROM credit_pools.grants n JOIN credit_pools.grants s ON s.customer_id = n.customer_id AND s.grant_id = n.source_grant_id WHERE n.customer_id = 'acme' AND n.resource_id = 'cap' ORDER BY 1;

-- Half of 33.33 is 16.665: cut down to the scale, 16.66 are carried and 16.67 expire. The carried grant keeps category and priority.
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'half', credit_type_id => 'credits', amount => 0.01);
SELECT * FROM history_of('acme', 'half') WHERE recorded_at = '2026-05-01 00:00' AND effective_at < '2026-05';
SELECT source, category, priority, amount, available FROM credit_pools.grants WHERE customer_id = 'acme' AND resource_id = 'half' AND status = 'active' ORDER BY source;

-- Two periods: what is carried on 1 April ends on 1 June; in April the plan's own credits end earlier and are drawn first. The cap counts all that the entry carries:
-- with 30 of the carried 50 still there on 1 May, 20 more fit in (of 90). On 1 June those 20 are still there, and 30 fit in.
SET credit_pools.test_clock = '2026-04-15 00:00+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'two', credit_type_id => 'credits', amount => 10);
SELECT balance FROM credit_pools.void_grant(customer_id => 'acme', grant_id => (SELECT grant_id FROM credit_pools.grants WHERE customer_id = 'acme' AND resource_id = 'two' AND source = 'rollover'), amount => 20);
SET credit_pools.test_clock = '2026-05-15 00:00+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'two', credit_type_id => 'credits', amount => 20);
SET credit_pools.test_clock = '2026-06-01 00:00+00';
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'two', credit_type_id => 'credits', status => 'active');
SELECT * FROM history_of('acme', 'two');
SELECT amount, available, effective_at, expires_at FROM periods_of('acme', 'two') WHERE source = 'rollover';

-- Credits that end after ten days are carried then; the carried grant ends on the grid of the periods: one period after the first boundary at or after it.
SET credit_pools.test_clock = '2026-04-15 00:00+00';
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'early', credit_type_id => 'credits', status => 'active');
SELECT source, amount, available, status, effective_at, expires_at FROM periods_of('acme', 'early');
SELECT seq, entry_type, amount, after, "grant", effective_at FROM history_of('acme', 'early');

-- A subscription that ends at that very instant carries nothing. Nor does one whose credit type has been archived before: no period begins, nothing goes on.
SET credit_pools.test_clock = '2026-03-20 00:00+00';
SELECT FROM credit_pools.archive_credit_type(credit_type_id => 'old');
SET credit_pools.test_clock = '2026-04-15 00:00+00';
SELECT * FROM pools_of('acme') WHERE resource IN ('ends', 'old');
SELECT FROM credit_pools.run_maintenance();
SELECT resource, seq, entry_type, amount, after, effective_at FROM history_of('acme') WHERE resource IN ('ends', 'old');
SELECT * FROM ledger_problems();
