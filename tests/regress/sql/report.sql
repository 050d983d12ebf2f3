-- report: a scope's pools as text. The figures are those of the views, the chart's heights those of usage_chart (src/domain/text.rs draws them).
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 08:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'gold', scale => 0);
SELECT FROM unnest('{chat, image}'::text[]) f, LATERAL credit_pools.define_feature(feature_id => f);
SELECT FROM credit_pools.define_plan(plan_id => 'basic', display_name => 'Basic');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 1000, rollover_max => 50);
SELECT FROM unnest('{chat, image}'::text[]) f, LATERAL credit_pools.define_rate(feature_id => f, credit_type_id => 'credits', credits_per_unit => 2.5, plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', resource_id => 'docs', plan_id => 'basic', time_zone => 'Europe/Berlin');
\echo -- A new pool.
\pset format unaligned
\pset tuples_only on
SELECT * FROM credit_pools.report(customer_id => 'acme', resource_id => 'docs');
\echo -- Usage of ten days, of two features and of plain credits, a hold, several grants; the last row is due and not booked.
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'credits', amount => 2000, priority => 10, expires_at => '2026-03-20 00:00+00');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'credits', amount => 300, category => 'promotional', effective_at => '2026-04-01 00:00+00', reason => E'welcome\nback');
SELECT count(*) FROM generate_series(1, 10) day,
    LATERAL (SELECT set_config('credit_pools.test_clock', (timestamptz '2026-03-01 08:00+00' + day * interval '1 day')::text, false)) clock,
    LATERAL credit_pools.report_usage(customer_id => 'acme', resource_id => 'docs', feature_id => CASE WHEN day % 3 = 0 THEN 'image' ELSE 'chat' END, value => day * 7 + (clock.set_config IS NULL)::int);
SELECT FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'credits', amount => 12.5);
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'credits', amount => 45, reservation_id => 'job-1', ttl => '24 hours');
SELECT FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 5, target_balance => 200, price_per_credit => 0.01, price_currency => 'EUR');
SELECT * FROM credit_pools.report(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'credits', days => 14, rows => 4);
\echo -- By the clock: the hold is over, the grant has expired.
SET credit_pools.test_clock = '2026-03-25 08:00+00';
SELECT * FROM credit_pools.report(customer_id => 'acme', resource_id => 'docs', width => 60, rows => 2, days => 300);
\echo -- Two credit types: one report after the other. Another encoding has no blocks.
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'gold', amount => 3);
SET client_encoding = 'LATIN1';
SELECT * FROM credit_pools.report(customer_id => 'acme', resource_id => 'docs', rows => 0, width => 50, days => 1);
RESET client_encoding;
\echo -- No line is wider than asked for, but where a number would be cut; there is no usage in the figures that the chart has not.
SELECT max(char_length(report)) FROM credit_pools.report(customer_id => 'acme', resource_id => 'docs', width => 120, days => 100, rows => 1000);
SELECT (SELECT sum(credits) FROM credit_pools.usage_chart(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'credits', from_time => '2026-03-01 00:00+00'))
     = (SELECT substring(report FROM ': ([0-9.]+) credits')::numeric FROM credit_pools.report(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'credits', days => 60) WHERE report LIKE 'Usage by%') AS same_sum;
\echo -- Bad input.
SELECT sqlstate, message FROM expect_error('SELECT * FROM credit_pools.report()');
SELECT sqlstate, message FROM expect_error($$SELECT * FROM credit_pools.report('nobody')$$);
SELECT sqlstate, message FROM expect_error($$SELECT * FROM credit_pools.report('acme')$$);
SELECT sqlstate, message FROM expect_error($$SELECT * FROM credit_pools.report('acme', 'nothing')$$);
SELECT sqlstate, message FROM expect_error($$SELECT * FROM credit_pools.report('acme', 'docs', 'silver')$$);
SELECT sqlstate, message FROM expect_error($$SELECT * FROM credit_pools.report('acme', 'docs', days => 0)$$);
SELECT sqlstate, message FROM expect_error($$SELECT * FROM credit_pools.report('acme', 'docs', width => 39)$$);
SELECT sqlstate, message FROM expect_error($$SELECT * FROM credit_pools.report('acme', 'docs', rows => 1001)$$);
