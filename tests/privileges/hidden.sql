-- What a tenant must not learn of others: whether an id is there, how much there is, what is in it.
\set ON_ERROR_STOP on
SET client_min_messages = warning;

-- Errors. Each call of calls.sql for a customer that is there and for one that is not; with ids that are there and that are not: the same words.
CREATE FUNCTION test.for_customer(statement text, customer text, known boolean) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN known THEN replace(statement, '''acme''', quote_literal(customer))
		ELSE regexp_replace(replace(statement, '''acme''', quote_literal(customer)), 'test\.id\(''[^'']*''\)', '987654321', 'g') END
	FROM (SELECT replace(replace(statement, ' acme ws1''', ' ' || replace(customer, '''', '''''') || ' ws1'''), '"acme"', to_json(customer)::text) AS statement) s $$;
-- What is left of an answer without the ids that were in the question.
CREATE FUNCTION test.nameless(answer text, VARIADIC names text[]) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. cardinality(names) LOOP answer := replace(answer, names[i], '#'); END LOOP;
	RETURN answer;
END $$;
GRANT SELECT ON test.call, test.id TO PUBLIC;
CREATE FUNCTION test.same_errors() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	c record; there text; gone text; own text;
BEGIN
	CREATE TEMPORARY TABLE IF NOT EXISTS mine (customer text, units int);
	FOR c IN SELECT function, statement FROM test.call WHERE function NOT IN ('archive', 'maintain') AND statement NOT LIKE 'CREATE TRIGGER%' ORDER BY function LOOP
		there := test.try(test.for_customer(c.statement, 'zeta', true));
		gone := test.try(test.for_customer(c.statement, 'none', false));
		RETURN NEXT test.same(format('%s: %s of another customer', current_user, c.function), test.nameless(gone, 'none', '987654321'),
			test.nameless(there, 'zeta', test.id('usage zeta ws1')::text));
		-- A resource of its own name that only the others have, and ids of others under its own customer.
		there := test.try(regexp_replace(test.for_customer(c.statement, 'zeta', true), '(customer_id"?(?: =>|:) [''"])zeta', '\1acme', 'g'));
		gone := test.try(test.for_customer(c.statement, 'acme', false));
		IF c.statement LIKE '%test.id(%' THEN
			RETURN NEXT test.same(format('%s: %s with an id of another customer', current_user, c.function), test.nameless(gone, '987654321'),
				test.nameless(there, test.id('usage zeta ws1')::text, test.id('pool zeta ws1')::text));
		END IF;
	END LOOP;
END $$;
SET SESSION AUTHORIZATION credit_pools_test_customer;
SELECT test.same_errors();
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION credit_pools_test_none;
SELECT test.same_errors();
RESET SESSION AUTHORIZATION;

-- A tenant of one resource, asking for others of its customer: ws2 is there, no9 is not.
CREATE FUNCTION test.same_for(what text, question text, there text, gone text) RETURNS text LANGUAGE sql AS $$
	SELECT test.same(current_user || ': ' || what, test.nameless(test.try(format(question, gone)), gone), test.nameless(test.try(format(question, there)), there)) $$;
CREATE FUNCTION test.refused_for(what text, question text, there text, gone text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT test.same_for(what, question, there, gone);
	SELECT test.verdict(current_user || ': ' || what || ' is refused', test.try(format(question, there)) ~ '^(42501|PC002) ', test.try(format(question, there))) $$;
SET SESSION AUTHORIZATION credit_pools_test_resource;
SELECT test.refused_for('balance_at of a resource', $$SELECT credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits', resource_id => '%s')$$, 'ws2', 'no9');
SELECT test.refused_for('usage_chart of a resource', $$SELECT credit_pools.usage_chart(customer_id => 'acme', credit_type_id => 'credits', resource_id => '%s')$$, 'ws2', 'no9');
SELECT test.refused_for('usage_chart of a resource by resource', $$SELECT credit_pools.usage_chart(customer_id => 'acme', credit_type_id => 'credits', resource_id => '%s', group_by => '{resource}')$$, 'ws2', 'no9');
SELECT test.refused_for('credits_page of a resource', $$SELECT credit_pools.credits_page(customer_id => 'acme', resource_id => '%s')$$, 'ws2', 'no9');
SELECT test.verdict(current_user || ': its page has its own resource only', p ~ '"r":"ws1"' AND p !~ 'ws2|"policies":\[\[false' AND (length(p) - length(replace(p, '"ln":', ''))) / 5 = (SELECT count(*) FROM credit_pools.pools), p)
	FROM substring(credit_pools.credits_page(customer_id => 'acme')::text FROM '<script type="application/json" id="data">(.*?)</script>') p;
SELECT test.refused_for('report of a resource', $$SELECT credit_pools.report(customer_id => 'acme', resource_id => '%s')$$, 'ws2', 'no9');
SELECT test.refused_for('usage_overview of a resource', $$SELECT credit_pools.usage_overview(customer_id => 'acme', credit_type_id => 'credits', resource_id => '%s')$$, 'ws2', 'no9');
SELECT test.verdict(current_user || ': a chart by resource has its own only', test.rows($$SELECT resource_id FROM credit_pools.usage_chart(customer_id => 'acme', credit_type_id => 'credits', from_time => '2020-01-01', bucket => '1 year', group_by => '{resource}')$$) !~ 'ws2|null',
	test.rows($$SELECT resource_id FROM credit_pools.usage_chart(customer_id => 'acme', credit_type_id => 'credits', from_time => '2020-01-01', bucket => '1 year', group_by => '{resource}')$$));
SELECT test.refused_for('check_credits of a resource', $$SELECT credit_pools.check_credits(customer_id => 'acme', credit_type_id => 'credits', resource_id => '%s', amount => 1)$$, 'ws2', 'no9');
SELECT test.refused_for('check_credits of a feature', $$SELECT credit_pools.check_credits(customer_id => 'acme', feature_id => 'chat', resource_id => '%s', value => 1)$$, 'ws2', 'no9');
SELECT test.refused_for('explain_recharge of a resource', $$SELECT credit_pools.explain_recharge(customer_id => 'acme', credit_type_id => 'images', resource_id => '%s')$$, 'ws2', 'no9');
SELECT test.refused_for('ledger_head of a resource', $$SELECT credit_pools.ledger_head(customer_id => 'acme', resource_id => '%s')$$, 'ws2', 'no9');
SELECT test.refused_for('verify_ledger of a resource', $$SELECT credit_pools.verify_ledger(customer_id => 'acme', resource_id => '%s')$$, 'ws2', 'no9');
SELECT test.refused_for('explain_usage', $$SELECT credit_pools.explain_usage(customer_id => 'acme', usage_id => %s)$$, test.id('usage acme ws2')::text, '98765');
SELECT test.refused_for('explain_usage of the global pool', $$SELECT credit_pools.explain_usage(customer_id => 'acme', usage_id => %s)$$, test.id('usage acme')::text, '98765');
-- The global scope is nobody's but the customer's, and it is the same whether it has a pool.
SELECT test.verdict(current_user || ': the global scope is refused: ' || f, test.try(f) LIKE '42501 %', test.try(f)) FROM (VALUES
	($$SELECT credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits')$$),
	($$SELECT credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits', resource_id => NULL)$$),
	($$SELECT credit_pools.usage_chart(customer_id => 'acme', credit_type_id => 'credits')$$),
	($$SELECT credit_pools.usage_overview(customer_id => 'acme', credit_type_id => 'credits')$$),
	($$SELECT credit_pools.check_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 1)$$),
	($$SELECT credit_pools.explain_recharge(customer_id => 'acme', credit_type_id => 'images')$$)) v (f);
SELECT test.verdict(current_user || ': is told nothing of the others: ' || f, test.try(f) ~ '^(42501 |00000 0$)' OR test.rows(f) !~ 'ws2|"resource_id": null', test.try(f)) FROM (VALUES
	($$SELECT * FROM credit_pools.verify_ledger(customer_id => 'acme')$$), ($$SELECT * FROM credit_pools.verify_ledger()$$),
	($$SELECT * FROM credit_pools.ledger_head(customer_id => 'acme')$$), ($$SELECT * FROM credit_pools.ledger_head()$$),
	($$SELECT * FROM credit_pools.verify_ledger(customer_id => 'acme', credit_type_id => 'images')$$),
	($$SELECT * FROM credit_pools.ledger_head(credit_type_id => 'images')$$)) v (f);
-- Heads that somebody hands it.
SELECT test.same(current_user || ': kept heads of another''s pool', test.rows(format(q, 98765, repeat('00', 32))), test.rows(format(q, pool, repeat('00', 32))))
	FROM (VALUES ($$SELECT * FROM credit_pools.verify_ledger(heads => '[{"pool_id": %1$s, "seq": 1, "entry_hash": "\\x%2$s"}]')$$),
		($$SELECT * FROM credit_pools.verify_ledger(heads => '[{"customer_id": "acme", "pool_id": %1$s, "seq": 1, "entry_hash": "\\x%2$s"}]')$$)) v (q),
		(VALUES (test.id('pool acme ws2')), (test.id('pool zeta ws1'))) w (pool);
RESET SESSION AUTHORIZATION;

SET SESSION AUTHORIZATION credit_pools_test_customer;
SELECT test.refused_for('balance_at of a customer', $$SELECT credit_pools.balance_at(customer_id => '%s', credit_type_id => 'credits')$$, 'zeta', 'none');
SELECT test.refused_for('usage_chart of a customer', $$SELECT credit_pools.usage_chart(customer_id => '%s', credit_type_id => 'credits', group_by => '{resource}')$$, 'zeta', 'none');
SELECT test.refused_for('credits_page of a customer', $$SELECT credit_pools.credits_page(customer_id => '%s')$$, 'zeta', 'none');
SELECT test.refused_for('report of a customer', $$SELECT credit_pools.report(customer_id => '%s')$$, 'zeta', 'none');
SELECT test.refused_for('usage_overview of a customer', $$SELECT credit_pools.usage_overview(customer_id => '%s', credit_type_id => 'credits')$$, 'zeta', 'none');
SELECT test.refused_for('balance_at of a type that is not there', $$SELECT credit_pools.balance_at(customer_id => '%s', credit_type_id => 'nothing')$$, 'zeta', 'none');
SELECT test.refused_for('check_credits of a customer', $$SELECT credit_pools.check_credits(customer_id => '%s', credit_type_id => 'credits', amount => 1)$$, 'zeta', 'none');
SELECT test.refused_for('explain_recharge of a customer', $$SELECT credit_pools.explain_recharge(customer_id => '%s', credit_type_id => 'credits')$$, 'zeta', 'none');
SELECT test.refused_for('explain_usage of a customer', $$SELECT credit_pools.explain_usage(customer_id => '%s', usage_id => 1)$$, 'zeta', 'none');
SELECT test.refused_for('verify_ledger of a customer', $$SELECT credit_pools.verify_ledger(customer_id => '%s')$$, 'zeta', 'none');
SELECT test.refused_for('ledger_head of a customer', $$SELECT credit_pools.ledger_head(customer_id => '%s')$$, 'zeta', 'none');
SELECT test.refused_for('ledger_head of a resource of a customer', $$SELECT credit_pools.ledger_head(customer_id => '%s', resource_id => 'ws1')$$, 'zeta', 'none');
SELECT test.same_for('verify_ledger of a resource alone', $$SELECT credit_pools.verify_ledger(resource_id => '%s')$$, 'z-only', 'no-one');
-- Every id that there may be, one by one: none but its own answers otherwise than one that is not there.
SELECT test.same('explain_usage by every id', test.rows($$SELECT usage_id FROM credit_pools.usage_events$$), test.rows($$
	SELECT n AS usage_id FROM generate_series(-5, 60) n WHERE test.try(format('SELECT credit_pools.explain_usage(customer_id => %L, usage_id => %s)', 'acme', n)) LIKE '00000%'$$));
SELECT test.same('the other ids all answer alike', 'PC002 | usage # does not exist', (SELECT string_agg(DISTINCT split_part(regexp_replace(a, ' -?\d+ ', ' # '), ' | {', 1), ', ')
	FROM generate_series(-5, 60) n, LATERAL test.try(format('SELECT credit_pools.explain_usage(customer_id => %L, usage_id => %s)', 'acme', n)) a WHERE a NOT LIKE '00000%'));
RESET SESSION AUTHORIZATION;

-- Plans. A customer with very much, analysed, and one that is not there: the same text, but for the name.
SELECT count(o) AS huge FROM generate_series(1, 200) n, LATERAL credit_pools.open_pool(customer_id => 'huge', credit_type_id => 'images', resource_id => 'ws' || n) o \gset
SELECT count(c) AS huge FROM (SELECT credit_pools.grant_credits(customer_id => 'huge', credit_type_id => 'images', resource_id => 'ws1', amount => 5 + n) c
	FROM generate_series(1, 1000) n) x \gset
SELECT count(c) AS huge FROM (SELECT credit_pools.consume_credits(customer_id => 'huge', credit_type_id => 'images', resource_id => 'ws1', amount => 1) c
	FROM generate_series(1, 2000) n) x \gset
ANALYZE;
CREATE FUNCTION test.same_plan(statement text, there text, gone text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	a text; b text;
BEGIN
	-- The first run of each fills caches.
	a := test.plan(format(statement, there));
	b := test.plan(format(statement, gone));
	a := test.plan(format(statement, there));
	b := test.plan(format(statement, gone));
	RETURN test.verdict(concat_ws(' ', current_user, 'plan:', statement), replace(a, there, gone) = b,
		(SELECT string_agg(x.l || E'\n' || coalesce(y.l, ''), E'\n') FROM string_to_table(replace(a, there, gone), E'\n') WITH ORDINALITY x (l, n)
			LEFT JOIN string_to_table(b, E'\n') WITH ORDINALITY y (l, n) USING (n) WHERE x.l IS DISTINCT FROM y.l));
END $$;
CREATE FUNCTION test.same_plans() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	v text;
BEGIN
	FOR v IN SELECT name FROM test.customer_view ORDER BY 1 LOOP
		RETURN NEXT test.same_plan('SELECT * FROM ' || v || ' WHERE customer_id = ''%s''', 'huge', 'none');
		RETURN NEXT test.same_plan('SELECT * FROM ' || v || ' WHERE customer_id = ''%s''', 'zeta', 'none');
		RETURN NEXT test.same_plan('SELECT count(*) FROM ' || v || ' WHERE customer_id IN (''%1$s'', ''%1$s-2'') AND resource_id = ''ws1''', 'huge', 'none');
		RETURN NEXT test.same_plan('SELECT count(*) FROM ' || v || ' v WHERE EXISTS (SELECT FROM credit_pools.pools p WHERE p.customer_id = ''%s'' AND p.customer_id = v.customer_id)', 'huge', 'none');
		RETURN NEXT test.same_plan('SELECT (SELECT count(*) FROM ' || v || ' WHERE customer_id = ''%s'')', 'huge', 'none');
		RETURN NEXT test.same_plan('SELECT customer_id, count(*) FROM ' || v || ' WHERE customer_id LIKE ''%s%%'' GROUP BY 1 ORDER BY 2 LIMIT 1', 'huge', 'none');
	END LOOP;
	RETURN NEXT test.same_plan('SELECT * FROM credit_pools.ledger l JOIN credit_pools.pools p USING (pool_id) WHERE l.customer_id = ''%s''', 'huge', 'none');
	FOR v IN SELECT c.oid::regclass FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'customer_id'
		WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind = 'r' AND has_table_privilege(c.oid, 'SELECT') ORDER BY 1
	LOOP
		RETURN NEXT test.same_plan('SELECT * FROM ' || v || ' WHERE customer_id = ''%s''', 'huge', 'none');
		RETURN NEXT test.same_plan('SELECT count(*) FROM ' || v || ' WHERE customer_id >= ''%s''', 'huge', 'none');
	END LOOP;
END $$;
GRANT SELECT ON test.customer_view TO PUBLIC;
SET SESSION AUTHORIZATION credit_pools_test_customer;
SELECT test.same_plans();
-- Prepared, with its own and with a generic plan.
PREPARE q (text) AS SELECT count(*) FROM credit_pools.ledger WHERE customer_id = $1;
SELECT test.same_plan('EXECUTE q (''%s'')', 'huge', 'none');
SET plan_cache_mode = force_generic_plan;
SELECT test.same_plan('EXECUTE q (''%s'')', 'huge', 'none');
RESET plan_cache_mode;
SET SESSION AUTHORIZATION credit_pools_test_resource;
SELECT test.same_plans();
RESET SESSION AUTHORIZATION;

-- Statistics. What PostgreSQL itself shows everybody is in docs/security.md; contents are not among it.
SET SESSION AUTHORIZATION credit_pools_test_customer;
SELECT test.same('pg_stats has no column of ours', '0', (SELECT count(*)::text FROM pg_stats WHERE schemaname = 'credit_pools'));
SELECT test.same('nor have extended statistics', '0', (SELECT count(*)::text FROM pg_stats_ext WHERE schemaname = 'credit_pools'));
SELECT test.verdict('pg_statistic is refused', test.try('TABLE pg_statistic') LIKE '42501 %');
SELECT test.same('pg_sequences shows no position', '0', (SELECT count(last_value)::text FROM pg_sequences WHERE schemaname = 'credit_pools'));
SELECT test.verdict('nor does the sequence: ' || s, test.try(format(f, s)) LIKE '42501 %', test.try(format(f, s)))
	FROM (SELECT oid::regclass FROM pg_class WHERE relnamespace = 'credit_pools'::regnamespace AND relkind = 'S') q (s),
		(VALUES ('TABLE %s'), ('SELECT nextval(''%s'')'), ('SELECT currval(''%s'')'), ('SELECT setval(''%s'', 1)'), ('SELECT pg_sequence_last_value(''%s'')'),
			('SELECT last_value FROM %s')) v (f)
	WHERE f <> 'SELECT pg_sequence_last_value(''%s'')';
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION credit_pools_test_reader;
SELECT test.same('a reader: pg_stats has no column of ours', '0', (SELECT count(*)::text FROM pg_stats WHERE schemaname = 'credit_pools'));
RESET SESSION AUTHORIZATION;
-- lastval, after another role of the same session has called.
SET SESSION AUTHORIZATION credit_pools_test_authenticator;
SET ROLE credit_pools_test_app;
SELECT usage_id > 0 FROM credit_pools.consume_credits(customer_id => 'zeta', credit_type_id => 'images', resource_id => 'ws1', amount => 0.01 * 100) \g /dev/null
SET ROLE credit_pools_test_customer;
SELECT test.verdict('lastval', test.try('SELECT lastval()') ~ '^(42501|55000) ', test.try('SELECT lastval()'));
SELECT test.verdict('currval', test.try('SELECT currval(''credit_pools.usage_id_seq'')') LIKE '42501 %');
RESET SESSION AUTHORIZATION;

-- Leaks by functions, operators and casts of the tenant's own, as cheap as they can be said to be: PostgreSQL may call them first, on rows that it has not sorted out.
CREATE SCHEMA tenant;
GRANT ALL ON SCHEMA tenant TO PUBLIC;
CREATE FUNCTION test.leaks(relation text, has_customer boolean) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	seen bigint; own bigint; q text; a text;
	own_rows text := (SELECT string_agg(t.own, ' OR ') FROM test.tenant t WHERE t.role = current_user);
BEGIN
	FOREACH q IN ARRAY ARRAY[
		'SELECT count(*) FROM %1$s x WHERE tenant.leak(to_jsonb(x))',
		'SELECT count(*) FROM %1$s x WHERE customer_id = ''zeta'' AND tenant.leak(to_jsonb(x))',
		'SELECT count(*) FROM %1$s x WHERE customer_id <> ''acme'' AND tenant.leak(to_jsonb(x))',
		'SELECT count(*) FROM %1$s x WHERE to_jsonb(x) OPERATOR(tenant.~~~) true',
		'SELECT count(*) FROM %1$s x WHERE x.customer_id::tenant.box IS NOT NULL',
		'SELECT count(*) FROM %1$s x JOIN (VALUES (1)) y ON tenant.leak(to_jsonb(x))',
		'SELECT count(*) FROM %1$s x GROUP BY x.customer_id HAVING bool_and(tenant.leak(to_jsonb(x)))',
		'SELECT count(*) FROM %1$s x WHERE CASE WHEN tenant.leak(to_jsonb(x)) THEN true END',
		'SELECT x.customer_id FROM %1$s x ORDER BY tenant.leak(to_jsonb(x)) LIMIT 1',
		'SELECT tenant.leak(to_jsonb(x)) FROM %1$s x OFFSET 1']
	LOOP
		DELETE FROM pg_temp.seen;
		a := test.try(format(q, relation));
		EXECUTE format('SELECT count(*), count(*) FILTER (WHERE %s) FROM (SELECT data ->> ''customer_id'' AS customer_id, data ->> ''resource_id'' AS resource_id FROM pg_temp.seen) s', own_rows) INTO seen, own;
		RETURN NEXT test.verdict(format('%s leak: %s', current_user, format(q, relation)), seen = own AND (a LIKE '00000%' OR a LIKE '42501%'), concat_ws(' ', seen, own, a));
	END LOOP;
	-- The message of an error tells a value, too.
	FOREACH q IN ARRAY ARRAY['SELECT count(*) FROM %1$s x WHERE x.customer_id::bigint > 0', 'SELECT count(*) FROM %1$s x WHERE 1 / (CASE x.customer_id WHEN ''zeta'' THEN 0 ELSE 1 END) = 1'] LOOP
		a := test.try(format(q, relation));
		RETURN NEXT test.verdict(format('%s leak: %s', current_user, format(q, relation)), a !~ 'zeta|odd|huge|division', a);
	END LOOP;
END $$;
CREATE FUNCTION test.leak_all() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	v text;
BEGIN
	FOR v IN SELECT c.oid::regclass FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'customer_id'
		WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind IN ('r', 'v') AND has_table_privilege(c.oid, 'SELECT') ORDER BY c.relkind, c.relname
	LOOP
		RETURN QUERY SELECT test.leaks(v, true);
	END LOOP;
END $$;
SET SESSION AUTHORIZATION credit_pools_test_resource;
CREATE TEMPORARY TABLE seen (data jsonb);
CREATE FUNCTION tenant.leak(jsonb) RETURNS boolean LANGUAGE plpgsql VOLATILE COST 0.0001 AS $$ BEGIN INSERT INTO pg_temp.seen VALUES ($1); RETURN true; END $$;
CREATE FUNCTION tenant.leak(jsonb, boolean) RETURNS boolean LANGUAGE plpgsql STABLE COST 0.0001 AS $$ BEGIN RETURN tenant.leak($1); END $$;
CREATE OPERATOR tenant.~~~ (LEFTARG = jsonb, RIGHTARG = boolean, FUNCTION = tenant.leak);
CREATE TYPE tenant.box AS (customer text);
CREATE FUNCTION tenant.to_box(text) RETURNS tenant.box LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN INSERT INTO pg_temp.seen VALUES (jsonb_build_object('customer_id', $1, 'resource_id', 'ws1')); RETURN ROW($1); END $$;
CREATE CAST (text AS tenant.box) WITH FUNCTION tenant.to_box(text) AS IMPLICIT;
SELECT test.leak_all();
SELECT test.verdict('the trap works', test.try('SELECT count(*) FROM credit_pools.pools x WHERE tenant.leak(to_jsonb(x))') LIKE '00000%' AND EXISTS (SELECT FROM pg_temp.seen));
RESET SESSION AUTHORIZATION;
DROP SCHEMA tenant CASCADE;
CREATE SCHEMA tenant;
GRANT ALL ON SCHEMA tenant TO PUBLIC;
DISCARD TEMP;

-- The tables themselves, by whatever way.
CREATE FUNCTION test.table_ways() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	t text; a text;
BEGIN
	FOR t IN SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind = 'r' ORDER BY 1 LOOP
		a := test.try('TABLE ' || t);
		RETURN NEXT test.verdict(format('%s: %s gives nothing', current_user, t), a IN ('00000 0') OR a LIKE '42501 %', a);
		a := test.try('SELECT count(*) FROM ' || t || ' TABLESAMPLE SYSTEM (100) HAVING count(*) > 0');
		RETURN NEXT test.verdict(format('%s: a sample of %s', current_user, t), a IN ('00000 0') OR a LIKE '42501 %', a);
		a := test.try('SELECT ctid, xmin, tableoid FROM ONLY ' || t);
		RETURN NEXT test.verdict(format('%s: system columns of %s', current_user, t), a IN ('00000 0') OR a LIKE '42501 %', a);
		a := test.try('COPY ' || t || ' TO ''/dev/null''');
		RETURN NEXT test.verdict(format('%s: %s into a file', current_user, t), a LIKE '42501 %', a);
		a := test.try('LOCK TABLE ' || t || ' IN ACCESS EXCLUSIVE MODE');
		RETURN NEXT test.verdict(format('%s: cannot lock %s', current_user, t), a LIKE '42501 %', a);
		a := test.try('CREATE TEMPORARY TABLE child () INHERITS (' || t || ')');
		RETURN NEXT test.verdict(format('%s: cannot inherit from %s', current_user, t), a LIKE '42501 %', a);
		a := test.try('CREATE TABLE more.pointing (customer_id text REFERENCES ' || t || ')');
		RETURN NEXT test.verdict(format('%s: cannot refer to %s', current_user, t), a LIKE '42501 %', a);
		a := test.try('CREATE POLICY mine ON ' || t || ' USING (true)');
		RETURN NEXT test.verdict(format('%s: no policy of its own on %s', current_user, t), a LIKE '42501 %', a);
		a := test.try('CREATE STATISTICS more.s ON ctid, tableoid FROM ' || t);
		RETURN NEXT test.verdict(format('%s: no statistics on %s', current_user, t), a LIKE '42501 %' OR a LIKE '0A000 %', a);
	END LOOP;
END $$;
SET SESSION AUTHORIZATION credit_pools_test_customer;
SELECT test.table_ways();
-- row_security = off is a question for all rows, and an error.
SET row_security = off;
SELECT test.verdict('row_security = off: ' || c.oid::regclass, test.try('TABLE ' || c.oid::regclass) LIKE '42501 %', test.try('TABLE ' || c.oid::regclass))
	FROM pg_class c WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind = 'r' ORDER BY c.relname;
SELECT test.verdict('row_security = off: ' || name, a LIKE '42501 %' OR test.rows('SELECT * FROM ' || name) = e.rows, a)
	FROM test.customer_view v, LATERAL test.try('TABLE ' || name) a, test.expected e WHERE e.role = current_user AND e.what = v.name ORDER BY 1;
RESET row_security;
SET SESSION AUTHORIZATION credit_pools_test_reader;
SET row_security = off;
SELECT test.verdict('row_security = off, as a reader', a LIKE '42501 %', a) FROM test.try('TABLE credit_pools.pool') a;
RESET row_security;
RESET SESSION AUTHORIZATION;

-- Cursors: what one is opened as is what it gives.
SET SESSION AUTHORIZATION credit_pools_test_authenticator;
SET ROLE credit_pools_test_customer;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT DISTINCT customer_id FROM credit_pools.pools;
FETCH FIRST FROM c \gset first_
SET LOCAL ROLE credit_pools_test_reader;
FETCH FIRST FROM c \gset again_
MOVE ALL FROM c \g /dev/null
\set rest :ROW_COUNT
SET LOCAL ROLE credit_pools_test_customer;
SELECT test.same('a cursor', 'acme acme', concat_ws(' ', :'first_customer_id', :'again_customer_id'));
COMMIT;
SELECT test.same('which has no more', '0', :'rest');
RESET SESSION AUTHORIZATION;

-- COPY of a query, and what a tenant makes of what it may read.
SET SESSION AUTHORIZATION credit_pools_test_customer;
COPY (SELECT DISTINCT 'ok       COPY gives the rows of ' || customer_id FROM credit_pools.ledger) TO STDOUT;
CREATE TEMPORARY TABLE copied AS SELECT * FROM credit_pools.ledger;
SELECT test.same('CREATE TABLE AS', 'acme', (SELECT string_agg(DISTINCT customer_id, ' ') FROM pg_temp.copied));
SELECT test.verdict('no SELECT FOR UPDATE', test.try('SELECT FROM credit_pools.recharges FOR UPDATE') ~ '^(42501|0A000) ', test.try('SELECT FROM credit_pools.recharges FOR UPDATE'));
SELECT test.verdict('views are not for writing: ' || f, test.try(f) ~ '^(42501|55000) ', test.try(f)) FROM test.customer_view v,
	LATERAL (VALUES ('DELETE FROM ' || v.name), ('UPDATE ' || v.name || ' SET customer_id = ''zeta'''), ('INSERT INTO ' || v.name || ' (customer_id) VALUES (''zeta'')')) w (f) ORDER BY 1;

-- What the views call inside, called directly, with what it may be called with and what not.
SELECT test.verdict('reads_all_customers() is not for tenants', a LIKE '42501 %' OR a = '00000 0', a) FROM test.try('SELECT WHERE credit_pools.reads_all_customers()') a;
CREATE FUNCTION pg_temp.own_pools(argument text) RETURNS text LANGUAGE sql AS $$ SELECT format($q$SELECT * FROM credit_pools.own_rows(%s) AS o (customer_id text, resource_id text, credit_type_id text,
	pool_id bigint, balance numeric, granted numeric, consumed numeric, expired numeric, voided numeric, held numeric, debt numeric, restricted numeric, overdraft_limit numeric, status text,
	next_expiry_at timestamptz, next_expiry_amount numeric, utilization numeric, metadata jsonb, created_at timestamptz)$q$, argument) $$;
SELECT test.same('own_rows has the rows of the view', test.rows('SELECT * FROM credit_pools.pools'), test.rows(pg_temp.own_pools('''pools''')));
SELECT test.verdict('own_rows(' || v || ') is no view of tenants', a LIKE '22023 %', a) FROM unnest(ARRAY['NULL', '''''', '''pool''', '''Pools''', '''POOLS''', '''pools ''', '''credit_pools.pools''', '''"pools"''',
	'''access''', '''role_access''', '''event_consumers''', '''health''', '''pg_authid''', '''pools v, credit_pools.access''', '''pools v WHERE true OR ''''a'''' --''', '''pools; DROP TABLE test.id; --''',
	'''pools UNION ALL SELECT * FROM credit_pools.pools''', 'E''pools\n''', 'repeat(''pools'', 100000)']) v, LATERAL test.try(pg_temp.own_pools(v)) a;
SELECT test.verdict('own_rows of another shape', a !~ '^(00000|XX000) ', a) FROM unnest(ARRAY[pg_temp.own_pools('''ledger'''), pg_temp.own_pools('''grants'''),
	'SELECT * FROM credit_pools.own_rows(''pools'') AS o (customer_id text)', 'SELECT * FROM credit_pools.own_rows(''pools'') AS o (customer_id bigint, resource_id bigint)',
	replace(pg_temp.own_pools('''pools'''), 'pool_id bigint', 'pool_id timestamptz'), replace(pg_temp.own_pools('''pools'''), 'customer_id text,', 'customer_id bytea,'),
	replace(pg_temp.own_pools('''pools'''), 'created_at timestamptz', 'created_at timestamptz, more text'),
	'SELECT credit_pools.own_rows(''pools'')', 'SELECT (credit_pools.own_rows(''pools'')).*', 'SELECT coalesce(credit_pools.own_rows(''pools''), NULL)']) q, LATERAL test.try(q) a;
SELECT test.verdict('own_rows with ordinality, in ROWS FROM, LATERAL', a LIKE '00000 %' OR a LIKE '42601 %', a) FROM unnest(ARRAY[
	'SELECT count(*) FROM ROWS FROM (credit_pools.own_rows(''balance_alerts'') AS (customer_id text, resource_id text, credit_type_id text, thresholds numeric[], percents numeric[], updated_at timestamptz), generate_series(1, 3)) WITH ORDINALITY',
	'SELECT count(*) FROM (VALUES (''balance_alerts''), (''balance_alerts'')) v (n), LATERAL credit_pools.own_rows(n) AS o (customer_id text, resource_id text, credit_type_id text, thresholds numeric[], percents numeric[], updated_at timestamptz)']) q,
	LATERAL test.try(q) a;
SET SESSION AUTHORIZATION credit_pools_test_reader;
SELECT test.verdict('own_rows is not for readers', a LIKE '42501 %', a) FROM test.try($$SELECT * FROM credit_pools.own_rows('balance_alerts') AS o (customer_id text, resource_id text, credit_type_id text, thresholds numeric[], percents numeric[], updated_at timestamptz)$$) a;
SET SESSION AUTHORIZATION credit_pools_test_none;
-- Planned for a role that may not call it, such a question is a constant: no.
SELECT test.verdict('what is inside is not for others: ' || q, a LIKE '42501 %' OR a LIKE '22012 %', a) FROM unnest(ARRAY['SELECT 1 / (credit_pools.reads_all_customers()::int)', 'SELECT 1 / (credit_pools.reads_own_customers()::int)',
	'SELECT * FROM credit_pools.own_rows(''pools'') AS o (customer_id text)', 'SELECT credit_pools.pool_now(''acme'', 1)']) q, LATERAL test.try(q) a;
RESET SESSION AUTHORIZATION;
SELECT test.verdict('row-level security is on for every table: ' || c.oid::regclass, c.relrowsecurity AND
	(SELECT string_agg(concat_ws(' ', p.cmd, p.permissive, p.qual), ', ') FROM pg_policies p WHERE p.schemaname = 'credit_pools' AND p.tablename = c.relname) = 'SELECT PERMISSIVE credit_pools.reads_all_customers()')
	FROM pg_class c WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind = 'r' ORDER BY c.relname;
SELECT test.verdict('nobody but the owner may read a table: ' || c.oid::regclass, NOT EXISTS (SELECT FROM aclexplode(c.relacl) x WHERE x.grantee <> c.relowner))
	FROM pg_class c WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind = 'r' ORDER BY c.relname;
\echo @@end
