-- A subscription in time (contract sections 3, 4 and 10): starts_at in the past or the future, ends_at, the time zone, and what overrides and quantities do to renewals.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-06-15 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_feature(feature_id => 'seat');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');
SELECT FROM credit_pools.define_plan(plan_id => 'lasting');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'lasting', credit_type_id => 'credits', amount => 100, expires_after => '3 months');
SELECT FROM credit_pools.define_plan(plan_id => 'once');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'once', credit_type_id => 'credits', amount => 50, cadence => NULL);
SELECT FROM credit_pools.define_plan_credits(plan_id => 'once', credit_type_id => 'credits', entry_id => 'trial', amount => 20, cadence => NULL, expires_after => '30 days');
SELECT FROM credit_pools.define_plan(plan_id => 'seats');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'seats', credit_type_id => 'credits', amount => 10, quantity_feature_id => 'seat');

-- A start in the past: the period that runs is granted, from its own start. Earlier periods leave a grant only where their credits are still valid; once-only credits count from the start.
SELECT p, status, period_start, period_end FROM (VALUES ('basic'), ('lasting')) v (p), LATERAL credit_pools.provision_subscription(customer_id => 'past', plan_id => p, resource_id => p, starts_at => '2026-01-31 00:00+00') ORDER BY p;
SELECT status FROM credit_pools.provision_subscription(customer_id => 'past', plan_id => 'once', resource_id => 'once', starts_at => '2026-01-31 00:00+00');
SELECT * FROM periods_of('past');
SELECT resource, seq, entry_type, amount, after, effective_at, recorded_at FROM history_of('past');
-- Usage of the time before the call, but after the start, is usage under this subscription; before the start there was none.
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'past', resource_id => 'basic', feature_id => 'run', value => 1, occurred_at => '2026-02-01 00:00+00');
SELECT sqlstate, world FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'past', resource_id => 'basic', feature_id => 'run', value => 1, occurred_at => '2026-01-30 00:00+00')$$);

-- A start in the future: customer, resource and pools are there at once, without a grant (not even a scheduled one). At the start the first credits come by the clock.
SELECT status, period_start, period_end FROM credit_pools.provision_subscription(customer_id => 'future', plan_id => 'basic', resource_id => 'ws', starts_at => '2026-07-01 00:00+00');
SELECT status FROM credit_pools.provision_subscription(customer_id => 'future', plan_id => 'once', resource_id => 'once', starts_at => '2026-07-01 00:00+00');
SELECT resource, balance, granted FROM pools_of('future');
SELECT * FROM periods_of('future');
SELECT seq, entry_type, amount FROM history_of('future', 'ws');
SELECT sqlstate, world FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'future', resource_id => 'ws', feature_id => 'run', value => 1)$$);
SET credit_pools.test_clock = '2026-06-30 23:59:59.999999+00';
SELECT resource, balance FROM pools_of('future');
SET credit_pools.test_clock = '2026-07-01 00:00+00';
SELECT resource, balance FROM pools_of('future');
SELECT resource_id, status FROM credit_pools.subscriptions WHERE customer_id = 'future' ORDER BY 1;
SET credit_pools.test_clock = '2026-07-02 00:00+00';
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'future', resource_id => 'ws', feature_id => 'run', value => 1);
SELECT seq, entry_type, amount, after, "grant", effective_at, recorded_at FROM history_of('future', 'ws');
-- Nobody comes by until October: August and September are over, the first period's rest ended on 1 August.
SET credit_pools.test_clock = '2026-10-10 00:00+00';
SELECT * FROM pools_of('future') WHERE resource = 'ws';

-- An end: there is no period after it, and no usage by feature. The credits that are there keep their own expiry, the end of their period, and can be used by credit type until then.
SET credit_pools.test_clock = '2026-06-15 00:00+00';
SELECT status, period_start, period_end FROM credit_pools.provision_subscription(customer_id => 'ends', plan_id => 'basic', resource_id => 'ws', starts_at => '2026-06-01 00:00+00', ends_at => '2026-07-20 00:00+00');
SET credit_pools.test_clock = '2026-07-19 23:59+00';
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'ends', resource_id => 'ws', feature_id => 'run', value => 1);
SET credit_pools.test_clock = '2026-07-20 00:00+00';
SELECT sqlstate, world FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'ends', resource_id => 'ws', feature_id => 'run', value => 1)$$);
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'ends', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT status, ends_at FROM credit_pools.subscriptions WHERE customer_id = 'ends';
SET credit_pools.test_clock = '2026-08-01 00:00+00';
SELECT balance, expired FROM pools_of('ends');
SELECT source, amount, available, status, effective_at, expires_at FROM periods_of('ends');
-- An end at a boundary: the period that would begin then does not.
SET credit_pools.test_clock = '2026-06-15 00:00+00';
SELECT status FROM credit_pools.provision_subscription(customer_id => 'ends', plan_id => 'basic', resource_id => 'exact', starts_at => '2026-06-01 00:00+00', ends_at => '2026-07-01 00:00+00');
SET credit_pools.test_clock = '2026-07-01 00:00+00';
SELECT balance, granted FROM pools_of('ends') WHERE resource = 'exact';

-- The time zone: the subscription's own, else the customer's (that of the customer's first call), else UTC.
SET credit_pools.test_clock = '2026-03-15 12:00+00';
SELECT period_start, period_end FROM credit_pools.provision_subscription(customer_id => 'zone', plan_id => 'basic', resource_id => 'a', starts_at => '2026-03-15 00:00 Europe/Berlin', time_zone => 'Europe/Berlin');
SELECT period_start, period_end FROM credit_pools.provision_subscription(customer_id => 'zone', plan_id => 'basic', resource_id => 'b', starts_at => '2026-03-15 00:00 Europe/Berlin');
SELECT period_start, period_end FROM credit_pools.provision_subscription(customer_id => 'zone', plan_id => 'basic', resource_id => 'c', starts_at => '2026-03-15 00:00 Europe/Berlin', time_zone => 'America/New_York');
SELECT period_start, period_end FROM credit_pools.provision_subscription(customer_id => 'no-zone', plan_id => 'basic', resource_id => 'a', starts_at => '2026-03-15 00:00 Europe/Berlin');
SELECT resource_id, time_zone FROM credit_pools.subscriptions WHERE customer_id IN ('zone', 'no-zone') ORDER BY customer_id DESC, resource_id;

-- Overrides and quantities count for every renewal. (0.5 seats of 10 credits; no quantity and a quantity of 0 are no credits; a renewal of 0 leaves no row.)
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT r, status FROM (VALUES ('half', 'seats', '{"seat": 0.5}'::jsonb, NULL::jsonb), ('less', 'basic', NULL, '{"amounts": {"credits": 5}}'), ('more', 'seats', '{"seat": 3}', '{"amounts": {"credits/default": 20}}'),
    ('none', 'seats', NULL, NULL), ('seven', 'seats', '{"seat": 7}', NULL), ('zero', 'seats', '{"seat": 0}', NULL)) v (r, p, q, o),
    LATERAL credit_pools.provision_subscription(customer_id => 'by-number', plan_id => p, resource_id => r, quantities => q, overrides => o) ORDER BY r;
SELECT resource, balance FROM pools_of('by-number');
SET credit_pools.test_clock = '2026-04-01 00:00+00';
SELECT resource, balance FROM pools_of('by-number');
SELECT FROM credit_pools.run_maintenance();
SELECT resource, seq, entry_type, amount, after FROM history_of('by-number');
SELECT * FROM ledger_problems();
