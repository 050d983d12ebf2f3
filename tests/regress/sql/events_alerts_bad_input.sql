-- What set_balance_alerts refuses: DETAIL names the argument, or the kind and id of what is unknown; nothing changes. What it accepts is shown as it is kept.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
\set events :abs_srcdir '/include/events.sql'
\i :events
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'exact', scale => 2);
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits');
SELECT thresholds, pools_covered FROM credit_pools.set_balance_alerts(customer_id => 'acme', credit_type_id => 'credits', thresholds => '{100}');
SELECT n, e.* FROM (VALUES
    (1, $$customer_id => 'acme', credit_type_id => 'credits', thresholds => '{-1}'$$),
    (2, $$customer_id => 'acme', credit_type_id => 'credits', thresholds => '{100,-0.5}'$$),
    (3, $$customer_id => 'acme', credit_type_id => 'credits', thresholds => '{NaN}'$$),
    (4, $$customer_id => 'acme', credit_type_id => 'credits', thresholds => '{Infinity}'$$),
    (5, $$customer_id => 'acme', credit_type_id => 'credits', thresholds => '{-Infinity}'$$),
    (6, $$customer_id => 'acme', credit_type_id => 'credits', thresholds => '{10.5}'$$),
    (7, $$customer_id => 'acme', credit_type_id => 'credits', thresholds => '{NULL}'$$),
    (8, $$customer_id => 'acme', credit_type_id => 'credits', thresholds => '{100,NULL,50}'$$),
    (9, $$customer_id => 'acme', credit_type_id => 'credits', thresholds => '{{100,50},{20,10}}'$$),
    (10, $$customer_id => 'acme', credit_type_id => 'credits', thresholds => '{1,2,3,4,5,6,7,8,9,10,11}'$$),
    (11, $$customer_id => 'acme', credit_type_id => 'credits', thresholds => '{1000000000000000000}'$$),
    (12, $$customer_id => 'acme', credit_type_id => 'credits', percents => '{0}'$$),
    (13, $$customer_id => 'acme', credit_type_id => 'credits', percents => '{-5}'$$),
    (14, $$customer_id => 'acme', credit_type_id => 'credits', percents => '{50,0}'$$),
    (15, $$customer_id => 'acme', credit_type_id => 'credits', percents => '{100.01}'$$),
    (16, $$customer_id => 'acme', credit_type_id => 'credits', percents => '{NaN}'$$),
    (17, $$customer_id => 'acme', credit_type_id => 'credits', percents => '{Infinity}'$$),
    (18, $$customer_id => 'acme', credit_type_id => 'credits', percents => '{NULL}'$$),
    (19, $$customer_id => 'acme', credit_type_id => 'credits', percents => '{10,NULL}'$$),
    (20, $$customer_id => 'acme', credit_type_id => 'credits', percents => '{{10},{20}}'$$),
    (21, $$customer_id => 'acme', credit_type_id => 'credits', percents => '{1,2,3,4,5,6,7,8,9,10,11}'$$),
    (22, $$customer_id => 'acme', credit_type_id => 'exact', thresholds => '{0.005}'$$),
    (23, $$credit_type_id => 'credits', thresholds => '{-1}'$$),
    (24, $$credit_type_id => 'credits', percents => '{101}'$$),
    (25, $$customer_id => 'acme', thresholds => '{100}'$$),
    (26, $$thresholds => '{100}'$$),
    (27, $$customer_id => 'acme', credit_type_id => '', thresholds => '{100}'$$),
    (28, $$customer_id => '', credit_type_id => 'credits', thresholds => '{100}'$$),
    (29, $$customer_id => E'a\nb', credit_type_id => 'credits', thresholds => '{100}'$$),
    (30, $$customer_id => repeat('x', 256), credit_type_id => 'credits', thresholds => '{100}'$$),
    (31, $$customer_id => 'nobody', credit_type_id => 'credits', thresholds => '{100}'$$),
    (32, $$customer_id => 'nobody', credit_type_id => 'credits'$$),
    (33, $$customer_id => 'acme', credit_type_id => 'nothing', thresholds => '{100}'$$),
    (34, $$credit_type_id => 'nothing', thresholds => '{100}'$$),
    (35, $$credit_type_id => 'nothing'$$)
  ) s (n, arguments), LATERAL refused('SELECT * FROM credit_pools.set_balance_alerts(' || arguments || ')') e ORDER BY n;
SELECT customer_id, credit_type_id, thresholds, coalesce(percents, '{}') AS percents FROM credit_pools.balance_alerts;
-- Accepted: each value once, whatever its zeros, the highest first; the ends of the ranges; ten of each; empty arrays; any lower bound. What is set stands in place of what was.
SELECT n, s.thresholds, s.percents, s.pools_covered FROM (VALUES
    (1, '{50,100,100.0,50}'::numeric[], '{10,12.5,10.00}'::numeric[]),
    (2, '{0}'::numeric[], '{100,0.01}'::numeric[]),
    (3, '{1,2,3,4,5,6,7,8,9,10}'::numeric[], '{1,2,3,4,5,6,7,8,9,10}'::numeric[]),
    (4, '[7:8]={20,30}'::numeric[], '{}'::numeric[]),
    (5, '{999999999999999999}'::numeric[], '{}'::numeric[]),
    (6, '{}'::numeric[], '{}'::numeric[])
  ) v (n, t, p), LATERAL credit_pools.set_balance_alerts(customer_id => 'acme', credit_type_id => 'credits', thresholds => t, percents => p) s ORDER BY n;
SELECT thresholds, pools_covered FROM credit_pools.set_balance_alerts(customer_id => 'acme', credit_type_id => 'exact', thresholds => '{0.01,10.5,10.50}');
SELECT customer_id, credit_type_id, thresholds, coalesce(percents, '{}') AS percents FROM credit_pools.balance_alerts ORDER BY credit_type_id;
-- None of this is an event.
SELECT * FROM news_of('acme');
SELECT * FROM event_problems();
SELECT * FROM ledger_problems();
