-- usage_chart (contract section 7): a series with its empty buckets, on the customer's calendar, by feature, resource and dimensions; the same before and after
-- maintenance has added usage up.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-27 08:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'gold', scale => 0);
SELECT FROM unnest('{chat, image, gift}'::text[]) f, LATERAL credit_pools.define_feature(feature_id => f);
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM (VALUES ('chat', 2), ('image', 0.5), ('gift', 0)) v (f, r), LATERAL credit_pools.define_rate(feature_id => f, credit_type_id => 'credits', credits_per_unit => r, plan_id => 'basic');
SELECT FROM unnest('{NULL, docs}'::text[]) r, LATERAL credit_pools.provision_subscription(customer_id => 'acme', resource_id => r, plan_id => 'basic', time_zone => 'Europe/Berlin');
SELECT FROM unnest('{NULL, docs}'::text[]) r, LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 500);
CREATE FUNCTION use(instant timestamptz, feature text, value numeric, dimensions jsonb DEFAULT NULL, resource text DEFAULT 'docs', occurred_at timestamptz DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('credit_pools.test_clock', instant::text, false);
    PERFORM credit_pools.report_usage(customer_id => 'acme', resource_id => resource, feature_id => feature, value => value, dimensions => dimensions, occurred_at => occurred_at,
        on_insufficient => 'cap');
END $$;
-- The night of 28 to 29 March has one hour less in Berlin.
SELECT count(use(instant, feature, value, dimensions, resource, occurred_at)) FROM (VALUES
    (timestamptz '2026-03-27 23:30+00', 'chat', 10, jsonb '{"model": "small", "feature": "x"}', 'docs', NULL::timestamptz),
    ('2026-03-28 22:59:59.999999+00', 'chat', 1, '{"model": "large"}', 'docs', NULL),
    ('2026-03-28 23:00+00', 'image', 4, '{"model": "large", "feature": "y"}', 'docs', NULL),
    ('2026-03-29 00:30+00', 'chat', 2, NULL, 'docs', NULL),
    ('2026-03-29 01:10+00', 'image', 6, '{"model": null}', 'docs', NULL),
    ('2026-03-29 09:00+00', 'gift', 7, '{"model": "small"}', 'docs', NULL),
    ('2026-03-29 22:00+00', 'chat', 5, '{"model": "small"}', NULL, NULL),
    -- Late.
    ('2026-03-30 10:00+00', 'image', 8, NULL, 'docs', '2026-03-28 12:00+00'),
    -- More than there is: a usage all the same.
    ('2026-03-30 11:00+00', 'chat', 300, NULL, 'docs', NULL),
    ('2026-03-30 11:01+00', 'chat', 9, NULL, 'docs', NULL)) v (instant, feature, value, dimensions, resource, occurred_at);
SELECT credits_returned FROM credit_pools.usage_events u, LATERAL credit_pools.reverse_usage(customer_id => 'acme', usage_id => u.usage_id, credits => 1.5) WHERE u.occurred_at = '2026-03-28 23:00+00';

CREATE FUNCTION berlin(instant timestamptz) RETURNS text LANGUAGE sql AS $$SELECT to_char(instant AT TIME ZONE 'Europe/Berlin', 'MM-DD HH24:MI')$$;
CREATE FUNCTION charts(n int) RETURNS TABLE (line text) LANGUAGE plpgsql AS $$
DECLARE
    arguments text := (ARRAY[
        $a$resource_id => 'docs', from_time => '2026-03-27 23:00+00', to_time => '2026-03-31 22:00+00'$a$,
        $a$resource_id => 'docs', from_time => '2026-03-28 23:00+00', to_time => '2026-03-29 04:00+00', bucket => '1 hour', group_by => '{feature}'$a$,
        $a$resource_id => 'docs', from_time => '2026-03-28 23:00+00', to_time => '2026-03-29 22:00+00', bucket => '6 hours'$a$,
        $a$from_time => '2026-03-01 00:00+00', to_time => '2026-04-30 00:00+00', bucket => '1 month', group_by => '{resource, feature}'$a$,
        $a$from_time => '2026-03-27 00:00+00', to_time => '2026-03-31 00:00+00', bucket => '1 month'$a$,
        $a$resource_id => 'docs', from_time => '2026-03-27 00:00+00', to_time => '2026-04-01 00:00+00', bucket => '7 days', group_by => '{model}'$a$,
        $a$resource_id => 'docs', from_time => '2026-03-27 00:00+00', to_time => '2026-04-01 00:00+00', bucket => '1 year', group_by => '{feature, dimension:feature, model}'$a$,
        -- Cut at both ends, and in the middle of quarters.
        $a$resource_id => 'docs', from_time => '2026-03-28 22:59:59.999999+00', to_time => '2026-03-29 00:30+00', bucket => '1 hour'$a$,
        $a$resource_id => 'docs', from_time => '2026-03-28 23:00:00.000001+00', to_time => '2026-03-29 00:30:00.000001+00', bucket => '7 minutes'$a$])[n];
BEGIN
    RETURN QUERY EXECUTE format($q$SELECT concat_ws(' ', berlin(bucket_start), '-', berlin(bucket_end), feature_id, resource_id, dimensions::text, ':', credits, 'credits', units, 'units', events)
        FROM credit_pools.usage_chart(customer_id => 'acme', credit_type_id => 'credits', %s) WITH ORDINALITY %s ORDER BY ordinality$q$, arguments,
        CASE WHEN n = 9 THEN 'WHERE events > 0' ELSE '' END);
END $$;
CREATE TABLE charted AS SELECT n, ordinality, line FROM generate_series(1, 9) n, LATERAL charts(n) WITH ORDINALITY;
SELECT n, line FROM charted ORDER BY n, ordinality;

-- Usage that is added up changes nothing, whatever then comes: by bits, all at once, and once more.
CREATE FUNCTION differences() RETURNS TABLE (n int, line text) LANGUAGE sql AS $$
    (SELECT n, line FROM charted EXCEPT ALL SELECT n, line FROM generate_series(1, 9) n, LATERAL charts(n)) UNION ALL
    (SELECT n, line FROM generate_series(1, 9) n, LATERAL charts(n) EXCEPT ALL SELECT n, line FROM charted) $$;
SELECT task, processed FROM credit_pools.run_maintenance() WHERE task = 'rolled_up';
SET credit_pools.rollup_rows = 0;
SELECT task, processed FROM credit_pools.run_maintenance() WHERE task = 'rolled_up';
SET credit_pools.rollup_rows = 2;
SELECT task, processed FROM credit_pools.run_maintenance(max_pools => 1) WHERE task = 'rolled_up';
SELECT task, processed FROM credit_pools.run_maintenance(max_pools => 1) WHERE task = 'rolled_up';
SELECT count(*) > 0 AS known, sum(credits), sum(units), sum(events) FROM credit_pools.usage_rollup;
SELECT * FROM differences();
SET credit_pools.rollup_rows = 1;
SELECT count(use('2026-03-30 12:00+00', feature, 2, NULL, 'docs', occurred_at)) FROM (VALUES ('image', timestamptz '2026-03-28 23:10+00'), ('gift', '2026-03-29 00:00+00')) v (feature, occurred_at);
SELECT credits_returned FROM credit_pools.usage_events u, LATERAL credit_pools.reverse_usage(customer_id => 'acme', usage_id => u.usage_id) WHERE u.occurred_at = '2026-03-29 00:30+00';
TRUNCATE charted;
INSERT INTO charted SELECT n, ordinality, line FROM generate_series(1, 9) n, LATERAL charts(n) WITH ORDINALITY;
SELECT n, line FROM charted WHERE n IN (2, 9) ORDER BY n, ordinality;
SELECT processed > 0 AS added FROM credit_pools.run_maintenance() WHERE task = 'rolled_up';
SELECT processed FROM credit_pools.run_maintenance() WHERE task = 'rolled_up';
SELECT * FROM differences();
-- What the view says, too.
SELECT sum(c.credits) = u.credits AND sum(c.units) = u.units AND sum(c.events) = u.events AS as_the_view
  FROM (SELECT sum(credits - reversed) AS credits, sum(value) AS units, count(*) AS events FROM credit_pools.usage_events) u,
       credit_pools.usage_chart(customer_id => 'acme', from_time => '2026-01-01 00:00+00', group_by => '{resource, feature, model}') c GROUP BY u.credits, u.units, u.events;
-- Without the sums, as after a restore of nothing but the ledger.
BEGIN;
DELETE FROM credit_pools.usage_rollup;
DELETE FROM credit_pools.usage_rollup_place;
DELETE FROM credit_pools.usage_rollup_progress;
SELECT * FROM differences();
ROLLBACK;

-- verify_ledger tells where the sums are not the ledger's.
SELECT * FROM credit_pools.verify_ledger(customer_id => 'acme');
BEGIN;
UPDATE credit_pools.usage_rollup SET credits = credits + 1 WHERE feature_id = 'gift';
DELETE FROM credit_pools.usage_rollup WHERE quarter = '2026-03-28 12:00+00';
SELECT resource_id, problem, detail FROM credit_pools.verify_ledger(customer_id => 'acme');
ROLLBACK;

-- Plain credits have no feature; a total that is lowered has units below zero.
SELECT FROM credit_pools.consume_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 3);
SELECT credits_consumed FROM unnest('{9, 6}'::numeric[]) n, LATERAL credit_pools.report_usage(customer_id => 'acme', feature_id => 'chat', value => n, update_behavior => 'set');
SELECT feature_id, credits, units, events FROM credit_pools.usage_chart(customer_id => 'acme', from_time => '2026-03-01 00:00+00', bucket => '1 year', group_by => '{feature}');
-- Defaults: 30 days until now, by the day; a pool of the scope's only type.
SELECT count(*), berlin(min(bucket_start)) AS first, berlin(max(bucket_end)) AS last, sum(credits) AS credits, sum(events) AS events FROM credit_pools.usage_chart(customer_id => 'acme');
-- A scope without usage has empty buckets.
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'new', credit_type_id => 'gold');
SELECT berlin(bucket_start), feature_id, dimensions, credits, units, events FROM credit_pools.usage_chart(customer_id => 'acme', resource_id => 'new', from_time => '2026-10-24 00:00+00', to_time => '2026-10-26 00:00+00', group_by => '{feature, model}');
-- A zone whose hours begin at a quarter.
SELECT FROM credit_pools.provision_subscription(customer_id => 'ktm', plan_id => 'basic', time_zone => 'Asia/Kathmandu');
SELECT FROM credit_pools.grant_credits(customer_id => 'ktm', credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.report_usage(customer_id => 'ktm', feature_id => 'chat', value => 1);
SET credit_pools.test_clock = '2026-03-30 18:15+00';
SELECT FROM credit_pools.report_usage(customer_id => 'ktm', feature_id => 'chat', value => 2);
SELECT bucket_start, bucket_end, credits FROM credit_pools.usage_chart(customer_id => 'ktm', from_time => '2026-03-30 00:00+00', to_time => '2026-03-31 00:00+00');
SELECT processed > 0 AS added FROM credit_pools.run_maintenance() WHERE task = 'rolled_up';
SELECT bucket_start, bucket_end, credits FROM credit_pools.usage_chart(customer_id => 'ktm', from_time => '2026-03-30 17:00+00', to_time => '2026-03-30 18:30+00', bucket => '1 hour');

-- Bad input.
SELECT n, sqlstate, message, detail_keys FROM (VALUES
    (1, $$customer_id => NULL$$), (2, $$customer_id => 'nobody'$$), (3, $$customer_id => 'acme', resource_id => 'nowhere'$$),
    (4, $$customer_id => 'acme', credit_type_id => 'gold'$$), (5, $$customer_id => 'acme', group_by => '{resource}'$$),
    (6, $$customer_id => 'acme', from_time => '2026-03-01 00:00+00', to_time => '2026-03-01 00:00+00'$$),
    (7, $$customer_id => 'acme', from_time => '-infinity'$$), (8, $$customer_id => 'acme', to_time => 'infinity'$$),
    (9, $$customer_id => 'acme', bucket => '0'$$), (10, $$customer_id => 'acme', bucket => '1 month -1 day'$$),
    (11, $$customer_id => 'acme', bucket => '1 month 1 day'$$), (12, $$customer_id => 'acme', bucket => '1 minute'$$),
    (13, $$customer_id => 'acme', group_by => '{feature, feature}'$$), (14, $$customer_id => 'acme', group_by => '{a, dimension:a}'$$),
    (15, $$customer_id => 'acme', group_by => '{a, b, c, d}'$$), (16, $$customer_id => 'acme', group_by => '{NULL}'$$),
    (17, $$customer_id => 'acme', group_by => '{""}'$$), (18, $$customer_id => 'acme', credit_type_id => 'nothing'$$),
    (19, $$customer_id => 'acme', from_time => '290000-01-01 00:00+00', to_time => '290001-01-01 00:00+00'$$),
    (20, $$customer_id => 'acme', credit_type_id => 'credits', resource_id => ''$$), (21, $$customer_id => 'acme', bucket => '178000000 years'$$)
  ) v (n, arguments), LATERAL expect_error(format('SELECT * FROM credit_pools.usage_chart(%s)', arguments)) e ORDER BY n;
SELECT count(*) FROM credit_pools.usage_chart(customer_id => 'acme', bucket => NULL, group_by => '{}');

-- usage_overview: a pool's time in one row.
\x
SELECT * FROM credit_pools.usage_overview(customer_id => 'acme', resource_id => 'docs', from_time => '2026-03-28 00:00+00', to_time => '2026-03-30 00:00+00');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'new', credit_type_id => 'gold', amount => 60, expires_at => '2026-04-10 00:00+00');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'new', credit_type_id => 'gold', amount => 40);
SELECT FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'new', credit_type_id => 'gold', amount => 10);
SELECT * FROM credit_pools.usage_overview(customer_id => 'acme', resource_id => 'new', from_time => '2026-03-30 06:15+00');
\x
SELECT n, sqlstate, message FROM (VALUES (1, $$customer_id => 'nobody'$$), (2, $$customer_id => 'acme', credit_type_id => 'gold'$$), (3, $$customer_id => 'acme', from_time => 'infinity'$$)
  ) v (n, arguments), LATERAL expect_error(format('SELECT * FROM credit_pools.usage_overview(%s)', arguments)) e ORDER BY n;
SELECT * FROM ledger_problems();
