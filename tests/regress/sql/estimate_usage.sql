-- estimate_usage (contract section 5): report_usage's arguments, the real code, undone. An estimate followed by the call in the same transaction never disagrees.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-10 12:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM (VALUES ('run'), ('chat'), ('tokens'), ('gift'), ('unpriced')) v (f), LATERAL credit_pools.define_feature(feature_id => f);
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 2, plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'credits', credits_per_unit => 0.25, plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'gift', credit_type_id => 'credits', credits_per_unit => 0, plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'tokens', credit_type_id => 'credits', formula => 'value * size', plan_id => 'basic');
SELECT FROM (VALUES ('ws'), ('ice'), ('cap'), ('re')) v (r), LATERAL credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => r);
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 30, priority => 1, reason => 'A');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 40, feature_ids => '{run}', reason => 'R');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 50, reason => 'B');
SELECT FROM (VALUES ('ice'), ('cap'), ('re')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 100, reason => r);
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'ice', credit_type_id => 'credits', status => 'frozen');
SELECT FROM credit_pools.set_limit(customer_id => 'acme', resource_id => 'cap', credit_type_id => 'credits', amount => 20, per => '1 day');
SELECT FROM credit_pools.set_auto_recharge(customer_id => 'acme', resource_id => 're', credit_type_id => 'credits', threshold => 50, recharge_amount => 100, settlement => 'immediate');
-- estimate(arguments): the row, with the grants by their reasons.
CREATE FUNCTION estimate(arguments text) RETURNS TABLE (credits numeric, shortfall numeric, before numeric, after numeric, rejected boolean, error text, grants text, duplicate boolean) LANGUAGE plpgsql AS $f$
BEGIN
    RETURN QUERY EXECUTE format($q$SELECT e.credits, e.shortfall, e.balance, e.balance_after, e.would_be_rejected, e.error_code,
        (SELECT string_agg(g.reason || ' ' || (d ->> 'credits'), ', ' ORDER BY o) FROM jsonb_array_elements(e.grants) WITH ORDINALITY x (d, o) JOIN credit_pools.grants g ON g.grant_id = (d ->> 'grant_id')::bigint), e.is_duplicate
        FROM credit_pools.estimate_usage(%s) e$q$, arguments);
END $f$;
SELECT world() AS before \gset
SELECT * FROM estimate($$customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 40$$);
SELECT * FROM estimate($$customer_id => 'acme', resource_id => 'ws', feature_id => 'tokens', value => 10, dimensions => '{"size": 3.5}', metadata => '{"job": 1}', idempotency_key => 'k'$$);
SELECT * FROM estimate($$customer_id => 'acme', resource_id => 'ws', feature_id => 'gift', value => 10$$);
SELECT * FROM estimate($$customer_id => 'acme', resource_id => 'ws', feature_id => 'chat', value => 500, on_insufficient => 'cap'$$);
-- What would be rejected says so, and what it would cost; the balance stays.
SELECT credits, before, after, rejected, error FROM estimate($$customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 61$$);
SELECT credits, before, after, rejected, error FROM estimate($$customer_id => 'acme', resource_id => 'ice', feature_id => 'run', value => 1$$);
SELECT credits, before, after, rejected, error FROM estimate($$customer_id => 'acme', resource_id => 'cap', feature_id => 'run', value => 11$$);
SELECT credits, shortfall, before, after, rejected FROM estimate($$customer_id => 'acme', resource_id => 'cap', feature_id => 'run', value => 11, on_insufficient => 'cap'$$);
-- With the recharge that it would fire and that is granted at once.
SELECT credits, before, after, grants FROM estimate($$customer_id => 'acme', resource_id => 're', feature_id => 'run', value => 30$$);
SELECT warnings IS NOT NULL AS warnings, credit_type_id FROM credit_pools.estimate_usage(customer_id => 'acme', resource_id => 're', feature_id => 'run', value => 30);
SELECT world() = :'before' AS unchanged;
-- Every other error is the call's.
SELECT FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'chat', value => 4, idempotency_key => 'used');
SELECT n, r.* FROM (VALUES
    (1, $$customer_id => 'acme', resource_id => 'nowhere', feature_id => 'run', value => 1$$), (2, $$customer_id => 'acme', feature_id => 'run', value => 1$$), (3, $$customer_id => 'acme', resource_id => 'ws', feature_id => 'unpriced', value => 1$$), (4, $$customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 0$$),
    (5, $$customer_id => 'acme', resource_id => 'ws', feature_id => 'tokens', value => 1$$), (6, $$customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1, idempotency_key => 'used'$$), (7, $$customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1, occurred_at => '2026-03-10 12:00:01+00'$$),
    (8, $$customer_id => 'acme', resource_id => 'ws', feature_id => 'unknown', value => 1$$), (9, $$customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1, on_insufficient => 'beg'$$)
  ) v (n, arguments), LATERAL refused(format('SELECT * FROM credit_pools.estimate_usage(%s)', arguments)) r ORDER BY n;
-- A key that was used with this payload: nothing would be charged any more.
SELECT credits, duplicate FROM estimate($$customer_id => 'acme', resource_id => 'ws', feature_id => 'chat', value => 4, idempotency_key => 'used'$$);

-- 400 usages, some of them new totals, each estimated and then made: never another figure.
CREATE TABLE told (n int, e_credits numeric, e_shortfall numeric, e_after numeric, e_error text, credits numeric, shortfall numeric, after numeric, error text);
DO $$
DECLARE n int; r text; f text; e record; u record; code text;
BEGIN
    PERFORM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 150 + i, priority => i * 7 % 5, expires_at => CASE WHEN i % 3 = 0 THEN timestamptz '2026-04-01 00:00+00' END, feature_ids => CASE WHEN i % 4 = 0 THEN '{chat,tokens}'::text[] END, reason => 'x' || i) FROM generate_series(1, 8) i;
    PERFORM credit_pools.set_pool(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', overdraft_limit => 33);
    FOR n IN 1 .. 400 LOOP
        r := (ARRAY['ws', 'ws', 'cap', 're', 'ice'])[1 + n * 3 % 5];
        f := (ARRAY['run', 'chat', 'tokens', 'gift'])[1 + n * 5 % 4];
        SELECT * INTO e FROM credit_pools.estimate_usage(customer_id => 'acme', resource_id => r, feature_id => f, value => 0.5 + n * 13 % 19, dimensions => jsonb_build_object('size', n % 4), on_insufficient => CASE n % 2 WHEN 0 THEN 'cap' ELSE 'reject' END, update_behavior => CASE WHEN n % 11 = 5 THEN 'set' ELSE 'delta' END);
        code := NULL; u := NULL;
        BEGIN
            SELECT * INTO u FROM credit_pools.report_usage(customer_id => 'acme', resource_id => r, feature_id => f, value => 0.5 + n * 13 % 19, dimensions => jsonb_build_object('size', n % 4), on_insufficient => CASE n % 2 WHEN 0 THEN 'cap' ELSE 'reject' END, update_behavior => CASE WHEN n % 11 = 5 THEN 'set' ELSE 'delta' END);
            INSERT INTO told VALUES (n, e.credits, e.shortfall, e.balance_after, e.error_code, u.credits_consumed, u.shortfall, u.balance);
        EXCEPTION WHEN SQLSTATE 'PC001' OR SQLSTATE 'PC005' OR SQLSTATE 'PC007' THEN
            INSERT INTO told VALUES (n, e.credits, e.shortfall, e.balance_after, e.error_code, NULL, NULL, NULL, SQLSTATE);
        END;
    END LOOP;
END $$;
SELECT count(*), count(error) > 20 AS refused, count(*) FILTER (WHERE shortfall > 0) > 10 AS capped, count(*) FILTER (WHERE error IS NULL AND (e_error IS NOT NULL OR (e_credits, e_shortfall, e_after) IS DISTINCT FROM (credits, shortfall, after))) AS otherwise,
       count(*) FILTER (WHERE error IS DISTINCT FROM e_error) AS other_error FROM told;
SELECT * FROM told WHERE error IS DISTINCT FROM e_error OR error IS NULL AND (e_credits, e_shortfall, e_after) IS DISTINCT FROM (credits, shortfall, after) ORDER BY n LIMIT 10;
SELECT * FROM ledger_problems();
