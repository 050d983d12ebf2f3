-- Missed periods (contract sections 2 and 3): when nobody has touched a pool for months, its next call books what is due, each at its own effective_at with the anchor kept.
-- A period whose credits would be over by now leaves no grant and no row, unless it matters: where it rolls over, or where the pool owed something when it began.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-01-31 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.define_plan(plan_id => 'carry');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'carry', credit_type_id => 'credits', amount => 100, rollover_max => 30);
SELECT FROM credit_pools.define_plan(plan_id => 'lend');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'lend', credit_type_id => 'credits', amount => 100, overdraft_limit => 500);
SELECT FROM credit_pools.define_plan(plan_id => 'lasting');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'lasting', credit_type_id => 'credits', amount => 100, expires_after => '3 months');
SELECT p, status FROM (VALUES ('basic'), ('carry'), ('lasting'), ('lend')) v (p), LATERAL credit_pools.provision_subscription(customer_id => p, plan_id => p, resource_id => 'ws') ORDER BY p;

-- Four boundaries were missed; three of their periods are over. Only the end of the old credits and the period that runs are booked.
SET credit_pools.test_clock = '2026-06-15 00:00+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'basic', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT * FROM history_of('basic');

-- With rollover every period is booked in full, as if somebody had come by at each boundary. (20 were left of January's credits; after that the cap of 30 is reached each time,
-- and what was carried once is not carried again.)
SET credit_pools.test_clock = '2026-02-10 00:00+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'carry', resource_id => 'ws', credit_type_id => 'credits', amount => 80);
SET credit_pools.test_clock = '2026-06-15 00:00+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'carry', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT * FROM history_of('carry');

-- Debt is paid by each period that began while it was open (28 February, 31 March, half of 30 April), as it would have been by a pool that was looked after.
-- The periods from 31 May and 30 June find no debt, are over, and leave nothing.
SET credit_pools.test_clock = '2026-02-10 00:00+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'lend', resource_id => 'ws', credit_type_id => 'credits', amount => 350);
SET credit_pools.test_clock = '2026-08-15 00:00+00';
SELECT * FROM pools_of('lend');
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'lend', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT * FROM history_of('lend');

-- Credits that last three months: of the missed periods those still valid are granted, each from its own start; those from 28 February ended on 28 May.
SET credit_pools.test_clock = '2026-06-15 00:00+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'lasting', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT * FROM history_of('lasting');
SELECT source, amount, available, status, effective_at, expires_at FROM periods_of('lasting');
SELECT * FROM ledger_problems();
