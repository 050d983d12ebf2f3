-- Ten years of a monthly plan that began on 31 January 2024 at midnight, in three time zones: one line per renewal (0 is the first grant), with its instant in local time and in UTC.
-- Every boundary is counted from the anchor: the last day of each shorter month (29 February in 2024, 2028 and 2032), and the 31st again after it; midnight stays midnight, also in
-- summer time (America/New_York) and at an offset of five hours and three quarters (Asia/Kathmandu). Somebody looks after the pools on the third of each month, at noon UTC.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2024-02-03 12:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_plan(plan_id => 'monthly');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'monthly', credit_type_id => 'credits', amount => 100);
CREATE VIEW zones AS SELECT * FROM (VALUES ('utc', 'UTC'), ('new_york', 'America/New_York'), ('kathmandu', 'Asia/Kathmandu')) v (resource, zone);
SELECT resource, status FROM zones, LATERAL credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'monthly', resource_id => resource, time_zone => zone, starts_at => '2024-01-31 00:00'::timestamp AT TIME ZONE zone) ORDER BY 1;
DO $$ BEGIN
    FOR month IN 1..120 LOOP
        PERFORM set_config('credit_pools.test_clock', ('2024-02-03 12:00+00'::timestamptz + make_interval(months => month))::text, false);
        PERFORM credit_pools.run_maintenance();
    END LOOP;
END $$;
SHOW credit_pools.test_clock;
WITH renewals AS (
    SELECT g.resource_id, row_number() OVER (PARTITION BY g.resource_id ORDER BY g.effective_at) - 1 AS n, g.effective_at,
           to_char(g.effective_at AT TIME ZONE z.zone, 'YYYY-MM-DD HH24:MI') AS local, to_char(g.effective_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS utc
      FROM credit_pools.grants g JOIN zones z ON z.resource = g.resource_id WHERE g.customer_id = 'acme')
SELECT n, u.local AS utc, y.local AS new_york, y.utc AS new_york_in_utc, k.local AS kathmandu, k.utc AS kathmandu_in_utc
  FROM (SELECT * FROM renewals WHERE resource_id = 'utc') u FULL JOIN (SELECT * FROM renewals WHERE resource_id = 'new_york') y USING (n) FULL JOIN (SELECT * FROM renewals WHERE resource_id = 'kathmandu') k USING (n) ORDER BY n;
-- Each grant ends when the next one begins, and each was booked with the one before it: no gap and no overlap in ten years.
SELECT resource_id, count(*) AS grants, count(*) FILTER (WHERE expires_at = next) AS meet, count(*) FILTER (WHERE status = 'active') AS active
  FROM (SELECT resource_id, expires_at, status, lead(effective_at) OVER (PARTITION BY resource_id ORDER BY effective_at) AS next FROM credit_pools.grants) g GROUP BY 1 ORDER BY 1;
SELECT resource, balance, granted, expired FROM pools_of('acme');
-- Each end and its renewal stand at the same instant in the ledger, one after the other.
SELECT resource_id, count(*) FILTER (WHERE entry_type = 'expire' AND next_type = 'grant' AND next_at = effective_at) AS pairs, count(*) AS rows
  FROM (SELECT resource_id, entry_type, effective_at, lead(entry_type) OVER w AS next_type, lead(effective_at) OVER w AS next_at FROM credit_pools.ledger WINDOW w AS (PARTITION BY pool_id ORDER BY seq)) l GROUP BY 1 ORDER BY 1;
SELECT * FROM ledger_problems();
