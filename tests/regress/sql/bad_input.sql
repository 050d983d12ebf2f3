-- Bad input: each call is refused with the right SQLSTATE, says in DETAIL (one JSON object) what is wrong, and changes nothing.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'old', scale => 2);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws');
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'no-plan');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100, idempotency_key => 'g-1');
SELECT FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1, idempotency_key => 'u-1');
SELECT FROM credit_pools.archive_credit_type(credit_type_id => 'old');

-- The calls under test, with one argument each that can be replaced. bad(call, argument, value) is the call with that argument's SQL text replaced.
CREATE TABLE calls (call text, argument text, value text, n int GENERATED ALWAYS AS IDENTITY);
INSERT INTO calls (call, argument, value) VALUES
    ('provision_subscription', 'customer_id', '''acme'''), ('provision_subscription', 'plan_id', '''basic'''), ('provision_subscription', 'resource_id', '''ws-2'''),
    ('grant_credits', 'customer_id', '''acme'''), ('grant_credits', 'resource_id', '''ws'''), ('grant_credits', 'credit_type_id', '''credits'''), ('grant_credits', 'amount', '1'),
    ('report_usage', 'customer_id', '''acme'''), ('report_usage', 'resource_id', '''ws'''), ('report_usage', 'feature_id', '''run'''), ('report_usage', 'value', '1'),
    ('consume_credits', 'customer_id', '''acme'''), ('consume_credits', 'resource_id', '''ws'''), ('consume_credits', 'credit_type_id', '''credits'''), ('consume_credits', 'amount', '1'),
    ('open_pool', 'customer_id', '''acme'''), ('open_pool', 'resource_id', '''new'''), ('open_pool', 'credit_type_id', '''credits'''),
    ('set_pool', 'customer_id', '''acme'''), ('set_pool', 'resource_id', '''ws'''), ('set_pool', 'credit_type_id', '''credits'''),
    ('set_auto_recharge', 'customer_id', '''acme'''), ('set_auto_recharge', 'resource_id', '''ws'''), ('set_auto_recharge', 'credit_type_id', '''credits'''), ('set_auto_recharge', 'threshold', '1'), ('set_auto_recharge', 'target_balance', '2'),
    ('define_credit_type', 'credit_type_id', '''new'''), ('define_feature', 'feature_id', '''new'''), ('define_plan', 'plan_id', '''new'''),
    ('define_plan_credits', 'plan_id', '''basic'''), ('define_plan_credits', 'credit_type_id', '''credits'''), ('define_plan_credits', 'amount', '1'),
    ('define_rate', 'feature_id', '''run'''), ('define_rate', 'credit_type_id', '''credits'''), ('define_rate', 'credits_per_unit', '1');
-- Replaces an argument of the call, or adds it.
CREATE FUNCTION bad(call text, argument text, value text) RETURNS text LANGUAGE sql STABLE AS $f$
    SELECT format('SELECT * FROM credit_pools.%I(%s)', $1, string_agg(a || ' => ' || v, ', ' ORDER BY n))
      FROM (SELECT c.argument AS a, CASE WHEN c.argument = $2 THEN $3 ELSE c.value END AS v, n FROM calls c WHERE c.call = $1
            UNION ALL SELECT $2, $3, 1000 WHERE NOT EXISTS (SELECT FROM calls c WHERE c.call = $1 AND c.argument = $2)) x
$f$;
-- The good ones are good (shown inside a transaction that is undone).
BEGIN;
SELECT DISTINCT call, (SELECT sqlstate FROM expect_error(bad(call, argument, value))) AS sqlstate FROM calls WHERE argument IN ('customer_id', 'credit_type_id', 'feature_id', 'plan_id') ORDER BY 1;
ROLLBACK;

-- Ids: NULL, empty, 256 characters, control characters. (A NULL resource_id is the global pool.)
-- Every id of every call, one line per kind of bad id: all of them 22023, and DETAIL names the argument.
SELECT b.what, e.sqlstate, e.detail_keys, e.world, bool_and(f.figures ->> 'argument' = c.argument) AS names_the_argument, count(*), string_agg(DISTINCT c.call, ', ' ORDER BY c.call) AS calls
  FROM calls c, (VALUES (1, 'NULL', 'NULL'), (2, 'empty', $$''$$), (3, '256 characters', $$repeat('x', 256)$$), (4, 'newline', $$E'a\nb'$$),
    (5, 'escape', $$E'\x1b[31m'$$), (6, 'delete', $$E'a\x7f'$$), (7, 'C1 control', $$E'a\u0085b'$$)) b (k, what, value), LATERAL expect_error(bad(c.call, c.argument, b.value)) e, LATERAL error_figures(bad(c.call, c.argument, b.value)) f
 WHERE c.argument ~ '_id$' AND NOT (c.argument = 'resource_id' AND what = 'NULL') GROUP BY b.k, b.what, e.sqlstate, e.detail_keys, e.world ORDER BY b.k;
-- 255 characters are fine, whatever their length in bytes, and blanks, quotes and backslashes too.
SELECT length(customer_id), length(resource_id), octet_length(resource_id), credit_type_id FROM credit_pools.open_pool(customer_id => repeat('x', 255), credit_type_id => 'credits', resource_id => repeat(U&'\+01F600', 255));
SELECT customer_id, resource_id FROM credit_pools.open_pool(customer_id => ' ''; DROP TABLE pool; -- "\', credit_type_id => 'credits', resource_id => ' ');
-- Ids are compared byte by byte: no case folding, no normal forms.
SELECT count(*) FROM (VALUES ('ACME'), ('Acme'), (U&'acm\00e9'), (U&'acme\0301')) v (c), LATERAL credit_pools.open_pool(customer_id => c, credit_type_id => 'credits') p;
SELECT count(DISTINCT pool_id) FROM credit_pools.pools WHERE customer_id IN ('ACME', 'Acme', U&'acm\00e9', U&'acme\0301');

-- Amounts: NULL, 0, negative, NaN, infinite, too many decimals, 200 digits.
SELECT c.call, c.argument, b.what, e.sqlstate, e.message, e.detail_keys, e.world FROM calls c, (VALUES (1, 'NULL', 'NULL'), (2, 'zero', '0'), (3, 'negative', '-1'), (4, 'NaN', $$'NaN'$$), (5, 'Infinity', $$'Infinity'$$), (6, '-Infinity', $$'-Infinity'$$),
    (7, 'too many decimals', '0.001'), (8, '200 digits', $$repeat('9', 200)::numeric$$), (9, '19 digits', $$1000000000000000000$$)) b (k, what, value), LATERAL expect_error(bad(c.call, c.argument, b.value)) e
 WHERE (c.call, c.argument) IN (('grant_credits', 'amount'), ('consume_credits', 'amount'), ('define_plan_credits', 'amount')) AND NOT (c.call = 'define_plan_credits' AND what = 'NULL') ORDER BY c.n, b.k;
-- A value is a quantity: it may be finer than the scale; the rest is as for amounts.
SELECT b.what, e.sqlstate, e.message, e.detail_keys, e.world FROM (VALUES (1, 'NULL', 'NULL'), (2, 'zero', '0'), (3, 'negative', '-1'), (4, 'NaN', $$'NaN'$$), (5, 'Infinity', $$'Infinity'$$), (6, '-Infinity', $$'-Infinity'$$),
    (7, '200 digits', $$repeat('9', 200)::numeric$$)) b (k, what, value), LATERAL expect_error(bad('report_usage', 'value', b.value)) e ORDER BY b.k;

-- Times, priority, words that are not in the list.
SELECT b.call, b.argument, b.value, e.sqlstate, e.message, e.detail_keys, e.world FROM (VALUES
    (1, 'grant_credits', 'expires_at', $$'2026-03-01 00:00+00'$$), (2, 'grant_credits', 'expires_at', $$'2026-02-01 00:00+00'$$), (3, 'grant_credits', 'expires_at', $$'-infinity'$$),
    (4, 'grant_credits', 'priority', '101'), (5, 'grant_credits', 'priority', '-1'), (6, 'grant_credits', 'category', $$'gift'$$), (7, 'grant_credits', 'payment_state', $$'later'$$),
    (8, 'report_usage', 'occurred_at', $$'2026-03-01 00:00:01+00'$$), (9, 'report_usage', 'on_insufficient', $$'wait'$$), (10, 'report_usage', 'update_behavior', $$'add'$$),
    (12, 'set_pool', 'status', $$'closed'$$), (13, 'set_auto_recharge', 'settlement', $$'never'$$)
  ) b (k, call, argument, value), LATERAL expect_error(bad(b.call, b.argument, b.value)) e ORDER BY b.k;
SELECT sqlstate, message, detail_keys, world FROM expect_error($$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, effective_at => '2026-05-02 00:00+00', expires_at => '2026-05-01 00:00+00')$$);

-- JSON that is no object.
SELECT b.call, b.argument, b.value, e.sqlstate, e.message, e.detail_keys, e.world FROM (VALUES (1, 'provision_subscription', 'metadata'), (2, 'provision_subscription', 'quantities'), (3, 'provision_subscription', 'overrides'), (4, 'grant_credits', 'metadata'),
    (5, 'report_usage', 'metadata'), (6, 'report_usage', 'dimensions'), (7, 'consume_credits', 'metadata'), (8, 'consume_credits', 'dimensions'), (9, 'open_pool', 'metadata'), (10, 'set_pool', 'metadata'),
    (11, 'define_credit_type', 'metadata'), (12, 'define_feature', 'metadata'), (13, 'define_plan', 'metadata')) c (k, call, argument),
    LATERAL (VALUES (1, c.call, c.argument, $$'[]'$$), (2, c.call, c.argument, $$'"text"'$$), (3, c.call, c.argument, $$'5'$$), (4, c.call, c.argument, $$'null'$$)) b (m, call, argument, value),
    LATERAL expect_error(bad(b.call, b.argument, b.value)) e ORDER BY c.k, b.m;

-- Unknown customer, resource, plan, feature, credit type: PC002 with kind and id.
SELECT b.call, b.argument, e.sqlstate, e.message, e.detail_keys, e.world, f.figures FROM (VALUES
    (1, 'provision_subscription', 'plan_id'), (2, 'grant_credits', 'customer_id'), (3, 'grant_credits', 'resource_id'), (4, 'grant_credits', 'credit_type_id'),
    (5, 'report_usage', 'customer_id'), (6, 'report_usage', 'resource_id'), (7, 'report_usage', 'feature_id'), (8, 'consume_credits', 'customer_id'), (9, 'consume_credits', 'resource_id'), (10, 'consume_credits', 'credit_type_id'),
    (11, 'open_pool', 'credit_type_id'), (12, 'set_pool', 'customer_id'), (13, 'set_pool', 'resource_id'), (14, 'set_pool', 'credit_type_id'), (15, 'set_auto_recharge', 'customer_id'), (16, 'set_auto_recharge', 'resource_id'),
    (17, 'set_auto_recharge', 'credit_type_id'), (18, 'define_plan_credits', 'plan_id'), (19, 'define_plan_credits', 'credit_type_id'), (20, 'define_rate', 'feature_id'), (21, 'define_rate', 'credit_type_id'), (22, 'define_rate', 'plan_id')
  ) b (k, call, argument), LATERAL expect_error(bad(b.call, b.argument, $$'nowhere'$$)) e, LATERAL error_figures(bad(b.call, b.argument, $$'nowhere'$$)) f ORDER BY b.k;

-- A scope without a subscription: PC003, and HINT names the one that has it. Also where the customer forgot to name the resource.
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'no-plan', feature_id => 'run', value => 1)$$);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', feature_id => 'run', value => 1)$$);
SELECT FROM credit_pools.open_pool(customer_id => 'globex', credit_type_id => 'credits');
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'globex', feature_id => 'run', value => 1)$$);
-- An archived credit type: PC005.
SELECT * FROM expect_error(bad('grant_credits', 'credit_type_id', $$'old'$$));
-- The same key with another payload: PC004.
SELECT * FROM expect_error($$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 101, idempotency_key => 'g-1')$$);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 2, idempotency_key => 'u-1')$$);

-- A read-only transaction: 25006, from every call that writes.
BEGIN READ ONLY;
SELECT DISTINCT ON (c.call) c.call, e.sqlstate, e.message, e.world FROM calls c, LATERAL expect_error(bad(c.call, c.argument, c.value)) e ORDER BY c.call;
SELECT n, e.sqlstate, e.message, e.world FROM (VALUES
    (1, $$SELECT * FROM credit_pools.run_maintenance()$$),
    (2, $$SELECT * FROM credit_pools.void_grant(customer_id => 'acme', grant_id => (SELECT grant_id FROM credit_pools.grants WHERE customer_id = 'acme'))$$),
    (3, $$SELECT * FROM credit_pools.confirm_grant_payment(customer_id => 'acme', grant_id => (SELECT grant_id FROM credit_pools.grants WHERE customer_id = 'acme'))$$),
    (4, $$SELECT * FROM credit_pools.archive_credit_type(credit_type_id => 'credits')$$),
    (5, $$SELECT * FROM credit_pools.apply_catalog('{"plans": [{"plan_id": "new"}]}')$$),
    (6, $$SELECT * FROM credit_pools.claim_recharges(worker => 'w', max_count => 1)$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
COMMIT;

-- Nothing above reached a panic: the session is alive, and the pools are as they were.
SELECT * FROM pools_of('acme');
SELECT * FROM ledger_of('acme');
SELECT * FROM ledger_problems();
