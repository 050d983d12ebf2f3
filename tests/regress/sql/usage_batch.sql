-- report_usage_batch (contract section 5): many events in one call, over any customers, resources and features, in any order; the same results, row for row, as single calls in that order.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'gold', scale => 0);
SELECT FROM (VALUES ('run'), ('chat'), ('dig'), ('tokens'), ('gift')) v (f), LATERAL credit_pools.define_feature(feature_id => f);
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'credits', credits_per_unit => 0.5, plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'dig', credit_type_id => 'gold', credits_per_unit => 3, plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'tokens', credit_type_id => 'credits', formula => 'value * 0.1 + size', plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'gift', credit_type_id => 'credits', credits_per_unit => 0, plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', resource_id => 'ws', plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'globex', resource_id => 'ws', plan_id => 'basic');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100, reason => 'A', priority => 1);
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 50, reason => 'B', priority => 2);
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 20, reason => 'G');
SELECT FROM credit_pools.grant_credits(customer_id => 'globex', resource_id => 'ws', credit_type_id => 'credits', amount => 30, reason => 'X');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'gold', amount => 10, reason => 'gold');
-- Earlier single calls, whose keys come again in the batch.
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1, idempotency_key => 'single');
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'globex', resource_id => 'ws', credit_type_id => 'credits', amount => 1, idempotency_key => 'k1');
-- A rate that changes between two instants of usage.
SET credit_pools.test_clock = '2026-03-20 00:00+00';
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 2, plan_id => 'basic', effective_at => '2026-03-15 00:00+00');
SELECT event_index, credit_type_id, credits_consumed, shortfall, balance, is_duplicate, error_code FROM credit_pools.report_usage_batch(events => '[
    {"customer_id": "acme", "resource_id": "ws", "feature_id": "run", "value": 10, "idempotency_key": "k1"},
    {"customer_id": "globex", "resource_id": "ws", "feature_id": "chat", "value": 5},
    {"customer_id": "acme", "feature_id": "chat", "value": 7.5},
    {"customer_id": "acme", "resource_id": "ws", "feature_id": "run", "value": 4, "occurred_at": "2026-03-14T23:59:59Z"},
    {"customer_id": "acme", "resource_id": "ws", "feature_id": "dig", "value": 2},
    {"customer_id": "acme", "resource_id": "ws", "feature_id": "run", "value": 10.0, "idempotency_key": "k1", "on_insufficient": "reject"},
    {"customer_id": "acme", "resource_id": "ws", "feature_id": "run", "value": 1, "idempotency_key": "single"},
    {"customer_id": "acme", "resource_id": "ws", "feature_id": "tokens", "value": 100, "dimensions": {"size": 0.25, "model": "large"}, "metadata": {"job": 7}},
    {"customer_id": "acme", "resource_id": null, "feature_id": "run", "value": 10, "on_insufficient": "cap", "occurred_at": "2026-03-15T00:00:00+00:00", "dimensions": null, "metadata": null, "idempotency_key": null},
    {"customer_id": "acme", "resource_id": "ws", "feature_id": "gift", "value": 3},
    {"customer_id": "acme", "resource_id": "ws", "feature_id": "run", "value": 42.5, "update_behavior": "delta"},
    {"customer_id": "acme", "feature_id": "chat", "value": 1, "on_insufficient": "cap"},
    {"customer_id": "globex", "resource_id": "ws", "feature_id": "run", "value": 12}
  ]') ORDER BY event_index;
-- Rows in the order of the input, without an ORDER BY; a repeated event has the id of the first.
WITH b AS MATERIALIZED (
  SELECT event_index, usage_id, usage_id IS NOT NULL AND pool_id IS NOT NULL AND error_message IS NULL AND error_detail IS NULL AS complete
  FROM credit_pools.report_usage_batch('[{"customer_id": "acme", "resource_id": "ws", "feature_id": "gift", "value": 1, "idempotency_key": "g"}, {"customer_id": "globex", "resource_id": "ws", "feature_id": "gift", "value": 1, "idempotency_key": "g"},
    {"customer_id": "acme", "resource_id": "ws", "feature_id": "gift", "value": 1, "idempotency_key": "g"}, {"customer_id": "acme", "feature_id": "gift", "value": 1}]', atomic => true))
  SELECT array_agg(event_index) AS order, (SELECT count(DISTINCT usage_id) FROM b) AS usages, bool_and(complete) AS complete FROM b;
-- Keys that a batch has used are used: by a single call of either kind. An equal payload is the first result.
SELECT credits_consumed, balance, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10, idempotency_key => 'k1');
SELECT * FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 10, idempotency_key => 'k1')$$);
SELECT * FROM refused($$SELECT * FROM credit_pools.report_usage_batch('[{"customer_id": "globex", "resource_id": "ws", "feature_id": "run", "value": 1, "idempotency_key": "k1"}]')$$);
-- What is written.
SELECT seq, entry_type, amount, after, "grant", feature, value, effective_at FROM ledger_of('acme', 'ws') WHERE type = 'credits' OFFSET 4;
SELECT feature, value, credits, rate, occurred_at FROM usage_of('acme') WHERE feature <> 'gift' OFFSET 1;
SELECT dimensions, metadata, idempotency_key FROM credit_pools.ledger WHERE feature_id = 'tokens' OR idempotency_key = 'k1' AND customer_id = 'acme' ORDER BY seq;

-- Twins: 600 events over four pools one by one, and in one batch: the same results, the same ledgers, the same views. They run into expiry, debt, caps, recharges, repeated keys, refused ones.
CREATE FUNCTION twin(twin text) RETURNS void LANGUAGE sql AS $f$
    SELECT credit_pools.provision_subscription(customer_id => twin, plan_id => 'basic', resource_id => r) FROM (VALUES ('p0'), ('p1'), ('p2')) v (r);
    SELECT credit_pools.provision_subscription(customer_id => twin, plan_id => 'basic');
    SELECT credit_pools.set_pool(customer_id => twin, credit_type_id => 'credits', resource_id => 'p1', overdraft_limit => 100);
    SELECT credit_pools.grant_credits(customer_id => twin, credit_type_id => 'credits', resource_id => r, amount => a, priority => p, reason => n, feature_ids => f)
      FROM (VALUES ('p0', 100, 1, 'A', NULL), ('p0', 100, 50, 'B', '{chat}'::text[]), ('p0', 150, 50, 'C', NULL), ('p1', 100, 50, 'A', NULL), ('p2', 120, 50, 'A', NULL), (NULL, 250, 50, 'A', NULL)) v (r, a, p, n, f);
    SELECT credit_pools.grant_credits(customer_id => twin, credit_type_id => 'gold', amount => 100, reason => 'gold');
    SELECT credit_pools.set_auto_recharge(customer_id => twin, credit_type_id => 'credits', resource_id => 'p2', threshold => 20, recharge_amount => 75, settlement => 'immediate', max_count => 4)
$f$;
SELECT FROM (VALUES ('single'), ('batch')) v (t), LATERAL twin(t);
CREATE TABLE event (n int, e jsonb);
-- Each tenth event repeats one of 200 before with its key and payload; each fifth has its key only.
INSERT INTO event SELECT n, jsonb_strip_nulls(jsonb_build_object('resource_id', (ARRAY['p0', 'p1', 'p2', NULL])[1 + m * 7 % 4], 'feature_id', f, 'value', 1 + m * 13 % 17 / 2.0,
      'on_insufficient', CASE m % 3 WHEN 0 THEN 'cap' WHEN 1 THEN 'reject' END, 'idempotency_key', CASE WHEN n % 5 = 0 THEN 'key-' || n % 200 END,
      'dimensions', CASE f WHEN 'tokens' THEN jsonb_build_object('size', m % 3) END, 'occurred_at', CASE WHEN m % 11 = 0 THEN '2026-03-20T00:00:00Z' END))
  FROM (SELECT n, m, (ARRAY['run', 'chat', 'tokens', 'gift', 'dig'])[1 + m * 3 % 5] AS f FROM generate_series(0, 599) n, LATERAL (SELECT CASE WHEN n % 10 = 0 THEN n % 200 ELSE n END) x (m)) y;
CREATE TABLE result (twin text, n int, credits numeric, shortfall numeric, balance numeric, is_duplicate boolean, error_code text, error_message text, error_detail jsonb);
DO $$
DECLARE x record; r record; detail text;
BEGIN
    FOR x IN SELECT n, e FROM event ORDER BY n LOOP
        BEGIN
            SELECT * INTO r FROM credit_pools.report_usage(customer_id => 'single', resource_id => x.e ->> 'resource_id', feature_id => x.e ->> 'feature_id', value => (x.e ->> 'value')::numeric,
                on_insufficient => coalesce(x.e ->> 'on_insufficient', 'reject'), idempotency_key => x.e ->> 'idempotency_key', dimensions => x.e -> 'dimensions', occurred_at => (x.e ->> 'occurred_at')::timestamptz);
            INSERT INTO result VALUES ('single', x.n, r.credits_consumed, r.shortfall, r.balance, r.is_duplicate);
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
            INSERT INTO result VALUES ('single', x.n, NULL, NULL, NULL, NULL, SQLSTATE, SQLERRM, detail::jsonb - 'pool_id');
        END;
    END LOOP;
END $$;
INSERT INTO result SELECT 'batch', event_index, credits_consumed, shortfall, balance, is_duplicate, error_code, error_message, error_detail - '{pool_id,index}'::text[]
  FROM credit_pools.report_usage_batch(events => (SELECT jsonb_agg('{"customer_id": "batch"}' || e ORDER BY n) FROM event), atomic => false);
SELECT twin, count(*), count(*) FILTER (WHERE error_code IS NOT NULL) > 20 AS refused, count(*) FILTER (WHERE shortfall > 0) > 5 AS capped, count(*) FILTER (WHERE is_duplicate) > 5 AS repeated FROM result GROUP BY 1 ORDER BY 1 DESC;
SELECT n, s.twin, s.credits, s.shortfall, s.balance, s.is_duplicate, s.error_code, s.error_detail FROM result s JOIN result b USING (n) WHERE s.twin <> b.twin
   AND (s.credits, s.shortfall, s.balance, s.is_duplicate, s.error_code, replace(replace(s.error_message, '"batch"', ''), '"single"', ''), replace(s.error_detail::text, 'batch', 'single'))
       IS DISTINCT FROM (b.credits, b.shortfall, b.balance, b.is_duplicate, b.error_code, replace(replace(b.error_message, '"batch"', ''), '"single"', ''), replace(b.error_detail::text, 'batch', 'single')) ORDER BY n, s.twin LIMIT 10;
-- The ledgers, row for row, the usage events in their order, the grants, the pools, the recharges.
CREATE FUNCTION traces(customer text) RETURNS TABLE (what text, n bigint, digest text) LANGUAGE sql AS $f$
    SELECT 'ledger', count(*), md5(string_agg(l::text, ' ' ORDER BY resource, type, seq)) FROM ledger_of(customer) l
    UNION ALL SELECT 'pools', count(*), md5(string_agg(p::text, ' ' ORDER BY p::text)) FROM pools_of(customer) p
    UNION ALL SELECT 'grants', count(*), md5(string_agg(g::text, ' ' ORDER BY g::text)) FROM grants_of(customer) g
    UNION ALL SELECT 'recharges', count(*), md5(string_agg(r::text, ' ' ORDER BY r::text)) FROM recharges_of(customer) r
    UNION ALL SELECT 'usage', count(*), md5(string_agg(u::text, ' ' ORDER BY o)) FROM usage_of(customer) WITH ORDINALITY u (resource, type, feature, value, credits, rate, occurred_at, recorded_at, o)
$f$;
SELECT s.what, s.n = b.n AS same_number, s.digest = b.digest AS same FROM traces('single') s JOIN traces('batch') b USING (what) ORDER BY 1;
-- The whole batch again: what has a key is a repetition, what has none is used once more.
SELECT count(*) FILTER (WHERE e ? 'idempotency_key' AND NOT r.is_duplicate AND b.error_code IS NULL) AS keyed_anew, count(*) FILTER (WHERE NOT e ? 'idempotency_key' AND r.is_duplicate) AS repeated_without_key
  FROM credit_pools.report_usage_batch(events => (SELECT jsonb_agg('{"customer_id": "batch"}' || e ORDER BY n) FROM event), atomic => false) r JOIN event ON event.n = r.event_index JOIN result b ON b.n = event.n AND b.twin = 'batch';
-- What clock and expiry have to do is done first, once, in each pool that the batch locks.
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', resource_id => 'due', plan_id => 'basic');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'due', credit_type_id => 'credits', amount => 10, expires_at => '2026-03-21 00:00+00', reason => 'E');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'due', credit_type_id => 'credits', amount => 10, effective_at => '2026-03-22 00:00+00', reason => 'N');
SET credit_pools.test_clock = '2026-03-23 00:00+00';
SELECT event_index, balance, error_code FROM credit_pools.report_usage_batch('[{"customer_id": "acme", "resource_id": "due", "feature_id": "run", "value": 1}, {"customer_id": "acme", "resource_id": "due", "feature_id": "run", "value": 3}]');
SELECT entry_type, amount, after, "grant", effective_at FROM rows_of('acme', 'due', 3);
SELECT * FROM ledger_problems();
