-- report_usage_batch against single calls once more, on pools with limits of the pool and of the customer, feature-limited and ending credits, holds that time out, debt, late usage, new totals (update_behavior 'set') and recharges: the same results, the same traces.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM (VALUES ('run'), ('chat'), ('tokens')) v (f), LATERAL credit_pools.define_feature(feature_id => f);
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 30, cadence => '1 day', rollover_max => 10);
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic', effective_at => '2026-03-01 00:00+00');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1.25, plan_id => 'basic', effective_at => '2026-03-11 06:00+00');
SELECT FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'credits', credits_per_unit => 0.333, effective_at => '2026-03-01 00:00+00');
SELECT FROM credit_pools.define_rate(feature_id => 'tokens', credit_type_id => 'credits', formula => 'max(value, size) / 3', effective_at => '2026-03-01 00:00+00');
CREATE FUNCTION twin(twin text) RETURNS void LANGUAGE sql AS $f$
    SELECT credit_pools.provision_subscription(customer_id => twin, plan_id => 'basic', resource_id => 'p' || i) FROM generate_series(0, 3) i;
    SELECT credit_pools.set_pool(customer_id => twin, credit_type_id => 'credits', resource_id => 'p1', overdraft_limit => 20);
    SELECT credit_pools.set_pool(customer_id => twin, credit_type_id => 'credits', resource_id => 'p3', overdraft_limit => 'Infinity');
    SELECT credit_pools.grant_credits(customer_id => twin, credit_type_id => 'credits', resource_id => r, amount => a, priority => p, reason => n, feature_ids => f, effective_at => s, expires_at => e)
      FROM (VALUES ('p0', 60, 10, 'A', NULL, NULL, timestamptz '2026-03-11 00:00+00'), ('p0', 40, 50, 'B', '{chat}'::text[], NULL, NULL), ('p0', 30, 5, 'C', '{run,tokens}', timestamptz '2026-03-11 12:00+00', NULL),
        ('p1', 70, 50, 'D', NULL, timestamptz '2026-03-12 00:00+00', NULL), ('p2', 10, 50, 'E', NULL, NULL, timestamptz '2026-03-11 18:00+00')) v (r, a, p, n, f, s, e);
    SELECT credit_pools.reserve_credits(customer_id => twin, reservation_id => 'h' || i, resource_id => 'p' || i % 4, credit_type_id => 'credits', amount => 4 + i, ttl => i * interval '4 hours') FROM generate_series(1, 6) i;
    SELECT credit_pools.set_limit(customer_id => twin, credit_type_id => 'credits', resource_id => 'p0', amount => 90, per => '1 day');
    SELECT credit_pools.set_limit(customer_id => twin, credit_type_id => 'credits', resource_id => 'p3', amount => 190, per => '1 month');
    SELECT credit_pools.set_limit(customer_id => twin, credit_type_id => 'credits', amount => 240, per => '1 day', all_resources => true);
    SELECT credit_pools.set_auto_recharge(customer_id => twin, credit_type_id => 'credits', resource_id => 'p2', threshold => 20, recharge_amount => 25, settlement => 'immediate', max_count => 5, price_per_credit => 0.01, price_currency => 'EUR', max_spend => 1)
$f$;
SELECT FROM (VALUES ('single'), ('batch')) v (t), LATERAL twin(t);
CREATE TABLE event (round int, n int, e jsonb);
-- Each sixth event repeats one of 60 before with its key and payload; each third has its key only.
INSERT INTO event SELECT round, n, jsonb_strip_nulls(jsonb_build_object('resource_id', 'p' || m * 7 % 4, 'feature_id', f, 'value', CASE WHEN m = 15 THEN 130 WHEN m % 9 = 3 THEN m * 17 % 29 ELSE round(1 + m * 31 % 23 / 3.0, 3) END, 'dimensions', jsonb_build_object('size', m % 9),
      'on_insufficient', CASE (m + round) % 4 WHEN 0 THEN 'cap' END, 'idempotency_key', CASE WHEN n % 3 = 0 THEN 'key-' || round || '-' || n % 60 END, 'update_behavior', CASE WHEN m % 9 = 3 THEN 'set' END,
      'occurred_at', CASE WHEN m % 8 = 0 THEN '2026-03-11T05:59:59.999999Z' WHEN m % 8 = 1 THEN '2026-03-10T00:00:00+00:00' END))
  FROM generate_series(1, 4) round, generate_series(0, 119) n, LATERAL (SELECT CASE WHEN n % 6 = 0 THEN n % 60 ELSE n END) x (m), LATERAL (SELECT (ARRAY['run', 'chat', 'tokens'])[1 + m * 5 % 3]) y (f);
CREATE TABLE result (twin text, round int, n int, credits numeric, shortfall numeric, balance numeric, is_duplicate boolean, error_code text, error_detail text);
CREATE FUNCTION play(at timestamptz, which int) RETURNS TABLE (refused bigint, capped bigint, repeated bigint, otherwise bigint) LANGUAGE plpgsql AS $f$
#variable_conflict use_column
DECLARE x record; r record; detail text;
BEGIN
    PERFORM set_config('credit_pools.test_clock', at::text, false);
    FOR x IN SELECT n, e FROM event WHERE round = which ORDER BY n LOOP
        BEGIN
            SELECT * INTO r FROM credit_pools.report_usage(customer_id => 'single', resource_id => x.e ->> 'resource_id', feature_id => x.e ->> 'feature_id', value => (x.e ->> 'value')::numeric,
                on_insufficient => coalesce(x.e ->> 'on_insufficient', 'reject'), update_behavior => coalesce(x.e ->> 'update_behavior', 'delta'), idempotency_key => x.e ->> 'idempotency_key', dimensions => x.e -> 'dimensions', occurred_at => (x.e ->> 'occurred_at')::timestamptz);
            INSERT INTO result VALUES ('single', which, x.n, r.credits_consumed, r.shortfall, r.balance, r.is_duplicate);
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
            INSERT INTO result VALUES ('single', which, x.n, NULL, NULL, NULL, NULL, SQLSTATE, (detail::jsonb - 'pool_id')::text);
        END;
    END LOOP;
    INSERT INTO result SELECT 'batch', which, event_index, credits_consumed, shortfall, balance, is_duplicate, error_code, replace((error_detail - '{pool_id,index}'::text[])::text, 'batch', 'single')
      FROM credit_pools.report_usage_batch(events => (SELECT jsonb_agg('{"customer_id": "batch"}' || e ORDER BY n) FROM event WHERE round = which), atomic => false);
    RETURN QUERY SELECT count(error_code) FILTER (WHERE twin = 'batch'), count(*) FILTER (WHERE twin = 'batch' AND shortfall > 0), count(*) FILTER (WHERE twin = 'batch' AND is_duplicate),
        (SELECT count(*) FROM result s JOIN result b USING (round, n) WHERE s.round = which AND s.twin = 'single' AND b.twin = 'batch'
            AND (s.credits, s.shortfall, s.balance, s.is_duplicate, s.error_code, s.error_detail) IS DISTINCT FROM (b.credits, b.shortfall, b.balance, b.is_duplicate, b.error_code, b.error_detail))
      FROM result WHERE round = which;
END $f$;
SELECT "at", refused > 5 AS refused, repeated > 5 AS repeated, otherwise FROM (VALUES (1, '2026-03-11 06:00+00'), (2, '2026-03-11 12:00+00'), (3, '2026-03-12 00:00+00'), (4, '2026-04-11 03:00+00')) v (n, "at"), LATERAL play("at"::timestamptz, n) ORDER BY n;
SELECT s.round, s.n, s.twin, s.credits, s.shortfall, s.balance, s.is_duplicate, s.error_code, s.error_detail FROM result s JOIN result b USING (round, n) WHERE s.twin <> b.twin
   AND (s.credits, s.shortfall, s.balance, s.is_duplicate, s.error_code, s.error_detail) IS DISTINCT FROM (b.credits, b.shortfall, b.balance, b.is_duplicate, b.error_code, b.error_detail) ORDER BY 1, 2, 3 LIMIT 6;
SELECT count(*) > 3 AS capped FROM result WHERE shortfall > 0;
SELECT count(*) > 3 AS recharged FROM credit_pools.recharges WHERE status = 'succeeded';
SELECT DISTINCT error_code FROM result WHERE error_code IS NOT NULL ORDER BY 1;
-- (What was due is booked by the first call that is not refused: the ledger without the time of writing.)
CREATE FUNCTION traces(customer text) RETURNS TABLE (what text, n bigint, digest text) LANGUAGE sql AS $f$
    SELECT 'ledger', count(*), md5(string_agg((to_jsonb(l) - 'recorded_at')::text, ' ' ORDER BY resource, type, seq)) FROM ledger_of(customer) l
    UNION ALL SELECT 'pools', count(*), md5(string_agg(p::text, ' ' ORDER BY p::text)) FROM pools_of(customer) p
    UNION ALL SELECT 'grants', count(*), md5(string_agg(g::text, ' ' ORDER BY g::text)) FROM grants_of(customer) g
    UNION ALL SELECT 'recharges', count(*), md5(string_agg(r::text, ' ' ORDER BY r::text)) FROM recharges_of(customer) r
    UNION ALL SELECT 'limits', count(*), md5(string_agg(l::text, ' ' ORDER BY l::text)) FROM limits_of(customer) l
    UNION ALL SELECT 'holds', count(*), md5(string_agg(h::text, ' ' ORDER BY h::text)) FROM holds_of(customer) h
    UNION ALL SELECT 'usage', count(*), md5(string_agg(u::text, ' ' ORDER BY o)) FROM usage_of(customer) WITH ORDINALITY u (resource, type, feature, value, credits, rate, occurred_at, recorded_at, o)
$f$;
SELECT s.what, s.n = b.n AS same_number, s.digest = b.digest AS same FROM traces('single') s JOIN traces('batch') b USING (what) ORDER BY 1;
SELECT * FROM ledger_problems();
