-- archive_ledger: closed history moves out of the table that usage writes to; views, functions and keys go on as before (docs/growth.md).
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-01-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_feature(feature_id => 'free');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 2, plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'free', credit_type_id => 'credits', credits_per_unit => 0, plan_id => 'basic');
SELECT FROM (VALUES ('acme', 'ws'), ('acme', 'lab'), ('globex', 'ws')) v (c, r), LATERAL credit_pools.provision_subscription(customer_id => c, plan_id => 'basic', resource_id => r);
SELECT FROM (VALUES ('acme', 'ws'), ('acme', 'lab'), ('globex', 'ws')) v (c, r), LATERAL credit_pools.grant_credits(customer_id => c, resource_id => r, credit_type_id => 'credits', amount => CASE r WHEN 'lab' THEN 5000 ELSE 300 END, reason => 'first');
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', overdraft_limit => 500);
-- A year of it, with what is drawn from several grants, held, reversed, late, free, and in debt.
DO $$
BEGIN
    FOR month IN 1 .. 12 LOOP
        PERFORM set_config('credit_pools.test_clock', format('2026-%s-10 12:00+00', lpad(month::text, 2, '0')), false);
        PERFORM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 50, priority => 10, reason => 'month ' || month, expires_at => credit_pools.clock() + interval '20 days');
        PERFORM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 40 + month, idempotency_key => 'usage-' || month, dimensions => jsonb_build_object('month', month));
        PERFORM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'free', value => month, idempotency_key => 'free-' || month);
        PERFORM credit_pools.report_usage(customer_id => 'acme', resource_id => 'lab', feature_id => 'run', value => 1, occurred_at => credit_pools.clock() - interval '3 days');
        PERFORM credit_pools.report_usage(customer_id => 'acme', resource_id => 'lab', feature_id => 'run', value => 10 * month, update_behavior => 'set');
        PERFORM credit_pools.reserve_credits(customer_id => 'acme', resource_id => 'lab', reservation_id => 'job-' || month, credit_type_id => 'credits', amount => 7);
        PERFORM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'job-' || month, amount => 9);
    END LOOP;
END $$;
SELECT FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => (SELECT usage_id FROM credit_pools.usage_events WHERE idempotency_key = 'usage-2'), credits => 10);
SET credit_pools.test_clock = '2026-12-31 00:00+00';

-- What anybody may ask of it, before and after.
CREATE TABLE public.asked (at_all text, question text, answer text);
CREATE FUNCTION public.ask(moment text) RETURNS void LANGUAGE sql AS $f$
    INSERT INTO public.asked
    SELECT moment, 'ledger', md5(string_agg(l::text, E'\n' ORDER BY pool_id, seq)) || ' ' || count(*) FROM credit_pools.ledger l UNION ALL
    SELECT moment, 'usage_events', md5(string_agg(u::text, E'\n' ORDER BY usage_id)) || ' ' || count(*) FROM credit_pools.usage_events u UNION ALL
    SELECT moment, 'pools', md5(string_agg(p::text, E'\n' ORDER BY pool_id)) FROM credit_pools.pools p UNION ALL
    SELECT moment, 'grants', md5(string_agg(g::text, E'\n' ORDER BY grant_id)) FROM credit_pools.grants g UNION ALL
    SELECT moment, 'heads', md5(string_agg(h::text, E'\n' ORDER BY pool_id)) FROM credit_pools.ledger_head() h UNION ALL
    SELECT moment, 'verify_ledger', string_agg(v::text, E'\n') FROM credit_pools.verify_ledger() v UNION ALL
    SELECT moment, 'balance_at ' || r || ' ' || a || ' ' || k, b::text
    FROM unnest(ARRAY['ws', 'lab']) r, generate_series(timestamptz '2026-01-05 00:00+00', '2026-12-31 00:00+00', '17 days 5 hours') a,
         unnest(ARRAY[timestamptz '2026-06-11 00:00+00', '2026-12-31 00:00+00']) k,
         LATERAL credit_pools.balance_at(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', at => a, known_at => k) b UNION ALL
    SELECT moment, 'explain_usage ' || u.usage_id, x::text FROM credit_pools.usage_events u, LATERAL credit_pools.explain_usage(customer_id => u.customer_id, usage_id => u.usage_id) x
$f$;
SELECT ask('before');
SELECT count(*) FILTER (WHERE question LIKE 'balance_at%') AS instants, count(*) FILTER (WHERE question LIKE 'explain%') AS usages FROM asked;

-- Half a year goes.
SELECT pools, ledger_rows, usage_events, keys, bytes > 10000 AS has_bytes, passed_over, is_complete FROM credit_pools.archive_ledger(before => '2026-07-01 00:00+00');
SELECT (SELECT count(*) FROM credit_pools.ledger_archive) AS archived, (SELECT count(*) FROM credit_pools.ledger_entry WHERE recorded_at < '2026-07-01 00:00+00') AS old_ones_left,
    (SELECT count(*) FROM credit_pools.ledger_archive WHERE recorded_at >= '2026-07-01 00:00+00') AS new_ones_moved;
SELECT p.resource_id, h.up_to_seq, h.up_to_usage > 0 AS has_events, h.entries, h.usage_events, h.archived_at, h.entry_hash = l.entry_hash AS hash, h.balance_after = l.balance_after AS balance, h.recorded_at
FROM credit_pools.ledger_archive_head h JOIN credit_pools.pools p USING (pool_id) JOIN credit_pools.ledger l ON l.pool_id = h.pool_id AND l.seq = h.up_to_seq ORDER BY h.pool_id;
-- Of a pool with nothing but old rows the last stays; again there is nothing to do.
SELECT resource_id, count(*) AS live FROM credit_pools.ledger_entry JOIN credit_pools.pools USING (customer_id, pool_id) WHERE customer_id = 'globex' GROUP BY 1;
SELECT pools, ledger_rows, usage_events, keys, bytes, passed_over, is_complete, last_customer_id, last_pool_id FROM credit_pools.archive_ledger(before => '2026-07-01 00:00+00');
SELECT ask('after');
SELECT a.question, a.answer AS before, b.answer AS after FROM asked a FULL JOIN asked b ON b.question = a.question AND b.at_all = 'after' WHERE a.at_all = 'before' AND a.answer IS DISTINCT FROM b.answer;
SELECT count(*) AS asked_again FROM asked WHERE at_all = 'after';

-- Keys are kept for ever: the same payload is the same usage, another one a conflict, whichever way it comes.
SELECT credits_consumed, shortfall, balance, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 42, idempotency_key => 'usage-2', dimensions => '{"month": 2}');
SELECT credits_consumed, shortfall, balance, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'free', value => 3, idempotency_key => 'free-3');
SELECT n, e.* FROM (VALUES
    (1, $$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 43, idempotency_key => 'usage-2', dimensions => '{"month": 2}')$$),
    (2, $$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'lab', feature_id => 'run', value => 42, idempotency_key => 'usage-2', dimensions => '{"month": 2}')$$),
    (3, $$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'lab', feature_id => 'free', value => 1, idempotency_key => 'usage-2')$$),
    (4, $$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'lab', feature_id => 'run', value => 1, idempotency_key => 'usage-2', update_behavior => 'set')$$),
    (5, $$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'lab', credit_type_id => 'credits', amount => 1, idempotency_key => 'free-3')$$),
    (6, $$SELECT * FROM credit_pools.report_usage_batch('[{"customer_id": "acme", "resource_id": "lab", "feature_id": "run", "value": 1, "idempotency_key": "usage-2"}]')$$),
    -- … and before every other check
    (7, $$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'nowhere', feature_id => 'run', value => 43, idempotency_key => 'usage-2')$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
SELECT event_index, credits_consumed, balance, is_duplicate, error_code FROM credit_pools.report_usage_batch(atomic => false, events => '[
    {"customer_id": "acme", "resource_id": "ws", "feature_id": "run", "value": 44, "idempotency_key": "usage-4", "dimensions": {"month": 4}},
    {"customer_id": "acme", "resource_id": "ws", "feature_id": "run", "value": 45, "idempotency_key": "usage-4"},
    {"customer_id": "acme", "resource_id": "lab", "feature_id": "run", "value": 1, "idempotency_key": "new"}]');
-- Another customer's keys are its own.
SELECT credits_consumed, is_duplicate FROM credit_pools.report_usage(customer_id => 'globex', resource_id => 'ws', feature_id => 'run', value => 42, idempotency_key => 'usage-2');

-- An archived usage is taken back as any other, and in parts; its rows are then in both tables.
SELECT usage_id AS old FROM credit_pools.usage_events WHERE idempotency_key = 'usage-4' \gset
SELECT credits_returned FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => :old, credits => 80);
SELECT credits_returned FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => :old);
SELECT credits, reversed FROM credit_pools.usage_events WHERE usage_id = :old;
SELECT entry_type, amount FROM credit_pools.ledger WHERE usage_id = :old ORDER BY seq;
-- A hold that was settled then is closed; its id is taken.
SELECT error_figures($$SELECT * FROM credit_pools.release_reservation(customer_id => 'acme', reservation_id => 'job-2')$$);

-- In bounded pieces: by rows, by pools, and on from where the last one stopped.
SELECT pools, ledger_rows, usage_events, is_complete, last_customer_id, last_pool_id FROM credit_pools.archive_ledger(before => '2026-09-01 00:00+00', max_rows => 5);
SELECT pools, is_complete, last_customer_id FROM credit_pools.archive_ledger(before => '2026-09-01 00:00+00', max_pools => 1);
SELECT pools, is_complete, last_customer_id FROM credit_pools.archive_ledger(before => '2026-09-01 00:00+00', max_pools => 1, after_customer_id => 'acme', after_pool_id => 1);
SELECT pools, is_complete, last_customer_id FROM credit_pools.archive_ledger(before => '2026-09-01 00:00+00', customer_id => 'globex');
SELECT count(*) AS old_ones_left FROM credit_pools.ledger_entry WHERE recorded_at < '2026-09-01 00:00+00' AND customer_id = 'acme';
-- A transaction that is undone has moved nothing.
BEGIN;
SELECT ledger_rows > 10 AS moved FROM credit_pools.archive_ledger(before => '2026-12-01 00:00+00');
ROLLBACK;
SELECT * FROM credit_pools.verify_ledger();
-- In one transaction with usage of the same keys.
BEGIN;
SELECT ledger_rows > 10 AS moved FROM credit_pools.archive_ledger(before => '2026-12-01 00:00+00');
SELECT credits_consumed, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 51, idempotency_key => 'usage-11', dimensions => '{"month": 11}');
SELECT sqlstate FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'lab', feature_id => 'run', value => 1, idempotency_key => 'usage-11')$$);
ROLLBACK;
SELECT credits_consumed, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 51, idempotency_key => 'usage-11', dimensions => '{"month": 11}');

-- The procedure commits between batches.
SET client_min_messages = notice;
CALL credit_pools.archive(before => '2026-12-31 00:00+00', batch_rows => 20);
SET client_min_messages = warning;
SELECT resource_id, count(*) AS live FROM credit_pools.ledger_entry JOIN credit_pools.pools USING (customer_id, pool_id) WHERE recorded_at < '2026-12-31 00:00+00' GROUP BY pool_id, 1 ORDER BY pool_id;
SELECT * FROM credit_pools.verify_ledger();

-- What it does not take.
SELECT n, e.* FROM (VALUES
    (1, $$SELECT * FROM credit_pools.archive_ledger()$$),
    (2, $$SELECT * FROM credit_pools.archive_ledger(before => '2026-12-31 00:00:01+00')$$),
    (3, $$SELECT * FROM credit_pools.archive_ledger(before => 'infinity')$$),
    (4, $$SELECT * FROM credit_pools.archive_ledger(before => '2026-01-01 00:00+00', max_rows => 0)$$),
    (5, $$SELECT * FROM credit_pools.archive_ledger(before => '2026-01-01 00:00+00', max_pools => -1)$$),
    (6, $$SELECT * FROM credit_pools.archive_ledger(before => '2026-01-01 00:00+00', after_pool_id => 1)$$),
    (7, $$SELECT * FROM credit_pools.archive_ledger(before => '2026-01-01 00:00+00', after_customer_id => 'acme')$$),
    (8, $$SELECT * FROM credit_pools.archive_ledger(before => '2026-01-01 00:00+00', customer_id => 'nobody')$$),
    (9, $$CALL credit_pools.archive(before => '2026-01-01 00:00+00', max_batches => 0)$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
SELECT * FROM ledger_problems();
