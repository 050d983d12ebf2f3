-- Renewals (contract sections 2 and 3): a plan's credits come again with each period, at the instant, counted from the original anchor in the subscription's time zone.
-- The old period's rest ends at the very instant at which the new credits begin, so the pool never stands empty between them.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-01-31 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'coins', scale => 0);
SELECT FROM credit_pools.define_plan(plan_id => 'monthly');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'monthly', credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.define_plan(plan_id => 'weekly');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'weekly', credit_type_id => 'credits', amount => 10, cadence => '1 week');
SELECT FROM credit_pools.define_plan(plan_id => 'daily');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'daily', credit_type_id => 'credits', amount => 3, cadence => '1 day');
SELECT FROM credit_pools.define_plan(plan_id => 'hourly');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'hourly', credit_type_id => 'credits', amount => 6, cadence => '1 hour');
SELECT FROM credit_pools.define_plan(plan_id => 'once');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'once', credit_type_id => 'credits', amount => 50, cadence => NULL);
SELECT FROM credit_pools.define_plan_credits(plan_id => 'once', credit_type_id => 'credits', entry_id => 'trial', amount => 20, cadence => NULL, expires_after => '30 days');
SELECT FROM credit_pools.define_plan(plan_id => 'several');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'several', credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.define_plan_credits(plan_id => 'several', credit_type_id => 'credits', entry_id => 'weekly', amount => 10, cadence => '1 week');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'several', credit_type_id => 'coins', amount => 5, cadence => '2 months');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'several', credit_type_id => 'coins', entry_id => 'welcome', amount => 7, cadence => NULL, category => 'promotional');

-- Monthly from 31 January: 28 February, 31 March, 30 April. A usage at the very instant of the boundary draws from the new credits.
SELECT status, period_start, period_end FROM credit_pools.provision_subscription(customer_id => 'monthly', plan_id => 'monthly', resource_id => 'ws');
SET credit_pools.test_clock = '2026-02-28 00:00+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'monthly', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SET credit_pools.test_clock = '2026-03-30 23:59+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'monthly', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SET credit_pools.test_clock = '2026-03-31 00:00+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'monthly', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SET credit_pools.test_clock = '2026-05-01 12:00+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'monthly', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT * FROM history_of('monthly');
-- A renewal's row says by its reason what it is; its grant says of which plan, entry and period.
SELECT l.seq, l.reason FROM credit_pools.ledger l WHERE l.customer_id = 'monthly' AND l.entry_type = 'grant' ORDER BY l.seq;
SELECT source, category, priority, plan_id, entry_id, period_start, effective_at = period_start AS at_its_start, expires_at, subscription_id IS NOT NULL AS of_subscription FROM credit_pools.grants WHERE customer_id = 'monthly' ORDER BY effective_at;

-- Weekly.
SET credit_pools.test_clock = '2026-01-31 00:00+00';
SELECT status, period_end FROM credit_pools.provision_subscription(customer_id => 'weekly', plan_id => 'weekly', resource_id => 'ws');
SET credit_pools.test_clock = '2026-02-07 00:00+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'weekly', resource_id => 'ws', credit_type_id => 'credits', amount => 3);
SET credit_pools.test_clock = '2026-02-14 00:00+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'weekly', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT * FROM periods_of('weekly');

-- Hourly. The hour from 02:00 was missed, and its credits are over: it leaves nothing. The end of the credits before it is booked at its own instant.
SET credit_pools.test_clock = '2026-01-31 00:00+00';
SELECT status, period_end FROM credit_pools.provision_subscription(customer_id => 'hourly', plan_id => 'hourly', resource_id => 'ws');
SET credit_pools.test_clock = '2026-01-31 00:59:59+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'hourly', resource_id => 'ws', credit_type_id => 'credits', amount => 2);
SET credit_pools.test_clock = '2026-01-31 01:00+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'hourly', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SET credit_pools.test_clock = '2026-01-31 03:30+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'hourly', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT * FROM history_of('hourly');

-- Once only: no second grant in a year; without an end of its own, or with one after 30 days.
SET credit_pools.test_clock = '2026-01-31 00:00+00';
SELECT status FROM credit_pools.provision_subscription(customer_id => 'once', plan_id => 'once', resource_id => 'ws');
SET credit_pools.test_clock = '2027-01-31 00:00+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'once', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT * FROM periods_of('once');

-- Several entries and several types in one plan: each entry has its own periods; at one instant they are granted in the order of their ids.
SET credit_pools.test_clock = '2026-01-31 00:00+00';
SELECT status FROM credit_pools.provision_subscription(customer_id => 'several', plan_id => 'several', resource_id => 'ws');
SET credit_pools.test_clock = '2026-02-07 00:00+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'several', resource_id => 'ws', credit_type_id => 'credits', amount => 4);
SET credit_pools.test_clock = '2026-02-28 00:00+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'several', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SET credit_pools.test_clock = '2026-03-31 00:00+00';
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'several', resource_id => 'ws', credit_type_id => 'coins', amount => 1);
SELECT * FROM history_of('several');

-- Daylight saving in Berlin (clocks go forward on 29 March 2026 at 02:00): midnight stays midnight, also for days, of which that one has 23 hours. A half past two that
-- does not exist is half past three on that day, and half past two again a month later, since each step is counted from the anchor. An hour is always an hour.
SET credit_pools.test_clock = '2026-01-29 12:00+00';
SELECT r, status, period_start, period_end FROM (VALUES (1, 'midnight', 'monthly', '2026-01-29 00:00 Europe/Berlin'), (2, 'half past two', 'monthly', '2026-01-29 02:30 Europe/Berlin'), (3, 'days', 'daily', '2026-03-28 00:00 Europe/Berlin'),
    (4, 'hours', 'hourly', '2026-03-29 01:00 Europe/Berlin')) v (n, r, p, t),
    LATERAL credit_pools.provision_subscription(customer_id => 'berlin', plan_id => p, resource_id => r, starts_at => t::timestamptz, time_zone => 'Europe/Berlin') ORDER BY n;
-- Maintenance at noon of each day until 18 May; the hourly pool is used at half past each hour of the night.
DO $$ BEGIN
    FOR d IN 0..109 LOOP
        FOR h IN 0..2 LOOP
            CONTINUE WHEN d <> 59;
            PERFORM set_config('credit_pools.test_clock', ('2026-03-29 00:30+00'::timestamptz + make_interval(hours => h))::text, false);
            PERFORM credit_pools.consume_credits(customer_id => 'berlin', resource_id => 'hours', credit_type_id => 'credits', amount => 1);
        END LOOP;
        PERFORM set_config('credit_pools.test_clock', ('2026-01-29 12:00+00'::timestamptz + make_interval(days => d))::text, false);
        PERFORM credit_pools.run_maintenance();
    END LOOP;
END $$;
SELECT resource, effective_at, expires_at, effective_at::timestamp AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/Berlin' AS local FROM periods_of('berlin') WHERE resource = 'days' AND effective_at < '2026-03-31'
   OR resource IN ('midnight', 'half past two') OR resource = 'hours' AND effective_at < '2026-03-29 03:00';
SELECT * FROM ledger_problems();
