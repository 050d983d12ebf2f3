-- report_usage_batch refuses what is no batch: SQLSTATE 22023, DETAIL names the event and the argument, nothing changes and the backend survives.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', resource_id => 'ws', plan_id => 'basic');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1000, reason => 'A');
-- Not an array, or not of 1 to 100,000 events: the whole call, atomic or not.
CREATE FUNCTION good() RETURNS jsonb LANGUAGE sql AS $f$ SELECT '{"customer_id": "acme", "resource_id": "ws", "feature_id": "run", "value": 1}'::jsonb $f$;
SELECT n, atomic, r.* FROM (VALUES (1, $$NULL$$), (2, $$'{}'$$), (3, $$good()$$), (4, $$'"events"'$$), (5, $$'7'$$), (6, $$'null'$$), (7, $$'true'$$), (8, $$'[]'$$),
    (9, $$(SELECT jsonb_agg(good()) FROM generate_series(1, 100001))$$), (10, $$(SELECT jsonb_agg(1) FROM generate_series(1, 1000000))$$)
  ) v (n, events), (VALUES (true), (false)) a (atomic), LATERAL refused(format('SELECT * FROM credit_pools.report_usage_batch(events => %s, atomic => %L)', events, atomic)) r WHERE n < 9 OR atomic ORDER BY n, atomic DESC;
-- One bad event after a good one. DETAIL has its index and the argument; as part of a batch that is not atomic it fails by itself.
CREATE TABLE bad (n int GENERATED ALWAYS AS IDENTITY, argument text, event text);
INSERT INTO bad (argument, event) VALUES
    ('events', '7'), ('events', '"x"'), ('events', 'null'), ('events', '[]'), ('events', '[{"customer_id": "acme"}]'),
    ('customer_id', '{}'), ('customer_id', '{"customer_id": null, "resource_id": "ws", "feature_id": "run", "value": 1}'), ('feature_id', '{"customer_id": "acme", "resource_id": "ws", "value": 1}'),
    ('value', '{"customer_id": "acme", "resource_id": "ws", "feature_id": "run"}'), ('value', '{"customer_id": "acme", "resource_id": "ws", "feature_id": "run", "value": null}');
INSERT INTO bad (argument, event) SELECT k, (good() || jsonb_build_object(k, v::jsonb))::text FROM (VALUES
    (1, 'customer_id', '5'), (2, 'customer_id', '""'), (3, 'customer_id', '["acme"]'), (4, 'resource_id', '5'), (5, 'resource_id', '""'), (6, 'resource_id', 'false'), (7, 'resource_id', '"a\u0007b"'), (8, 'feature_id', '1'), (9, 'feature_id', '{}'),
    (10, 'value', '"10"'), (11, 'value', 'true'), (12, 'value', '[1]'), (13, 'value', '{"n": 1}'), (14, 'value', '0'), (15, 'value', '-1'), (16, 'value', '1e300'), (17, 'value', '1e-300'),
    (18, 'occurred_at', '1772323200'), (19, 'occurred_at', '"yesterday"'), (20, 'occurred_at', '"2026-02-30T00:00:00Z"'), (21, 'occurred_at', '"infinity"'), (22, 'occurred_at', '"2026-03-01T00:00:01Z"'), (23, 'occurred_at', '""'),
    (24, 'occurred_at', '"2026-02-28T00:00:00"'),
    (25, 'dimensions', '"x"'), (26, 'dimensions', '[]'), (27, 'dimensions', '7'), (28, 'metadata', '[1]'), (29, 'metadata', '"x"'), (30, 'idempotency_key', '5'), (31, 'idempotency_key', '""'), (32, 'idempotency_key', '{"k": 1}'),
    (33, 'on_insufficient', '"beg"'), (34, 'on_insufficient', '5'), (35, 'update_behavior', '"add"'), (36, 'update_behavior', 'false'),
    (37, 'amount', '1'), (38, 'Value', '1'), (39, 'credit_type_id', '"credits"'), (40, '', '1'), (41, 'events', '[]')) v (o, k, v) ORDER BY o;
INSERT INTO bad (argument, event) VALUES ('customer_id', (good() || jsonb_build_object('customer_id', repeat('x', 256)))::text), ('idempotency_key', (good() || jsonb_build_object('idempotency_key', repeat('x', 256)))::text);
SELECT sqlstate, figures ->> 'index' AS index, world, count(*), string_agg(CASE WHEN figures ->> 'argument' IS DISTINCT FROM argument THEN format('%s: %s not %s', n, figures ->> 'argument', argument) END, '; ' ORDER BY n) AS otherwise_named
  FROM bad, LATERAL refused(format('SELECT * FROM credit_pools.report_usage_batch(%L)', '[' || good()::text || ',' || event || ']')) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT error_code, count(*), count(*) FILTER (WHERE error_detail ->> 'argument' IS DISTINCT FROM argument) AS otherwise_named, count(usage_id) AS charged, bool_and(error_message <> '') AS said
  FROM credit_pools.report_usage_batch(events => (SELECT jsonb_agg(event::jsonb ORDER BY n) || good() FROM bad), atomic => false) r LEFT JOIN bad ON bad.n = r.event_index + 1 GROUP BY 1 ORDER BY 1;
SELECT resource, balance FROM pools_of('acme');
-- Nested garbage: deep and wide.
SELECT n, sqlstate, world FROM (VALUES (1, $$(repeat('[', 3000) || repeat(']', 3000))::jsonb$$), (2, $$('[' || repeat('{"customer_id":', 3000) || '1' || repeat('}', 3000) || ']')::jsonb$$),
    (3, $$jsonb_build_array(good() || jsonb_build_object('idempotency_key', repeat('k', 1000000)))$$), (4, $$jsonb_build_array(good() || (SELECT jsonb_object_agg('key' || i, i) FROM generate_series(1, 10000) i))$$)
  ) v (n, events), LATERAL refused(format('SELECT * FROM credit_pools.report_usage_batch(%s)', events)) ORDER BY n;
-- What is deep but right is as good as in a single call.
CREATE FUNCTION deep() RETURNS jsonb LANGUAGE sql AS $f$ SELECT ('{"a": ' || repeat('[', 100) || '"\u00e9 \\ \" \ud83d\ude00"' || repeat(']', 100) || ', "n": 12345678901234567890.123456789}')::jsonb $f$;
SELECT credits_consumed FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1, dimensions => deep(), metadata => deep(), idempotency_key => 'single');
SELECT credits_consumed FROM credit_pools.report_usage_batch(jsonb_build_array(good() || jsonb_build_object('dimensions', deep(), 'metadata', deep(), 'idempotency_key', 'batch')));
SELECT idempotency_key, dimensions = deep() AS same_dimensions, metadata = deep() AS same_metadata FROM credit_pools.ledger WHERE idempotency_key IS NOT NULL ORDER BY seq;
SELECT is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1, dimensions => deep(), metadata => deep(), idempotency_key => 'batch');
-- 100,000 events are allowed (and undone here).
BEGIN;
SELECT count(*), sum(credits_consumed), min(balance) AS balance FROM credit_pools.report_usage_batch((SELECT jsonb_agg(good() || '{"on_insufficient": "cap"}') FROM generate_series(1, 100000)));
ROLLBACK;
SELECT * FROM ledger_problems();
