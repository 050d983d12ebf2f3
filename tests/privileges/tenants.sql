-- What a tenant sees is exactly its rows, in every view and every function that reads.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE TABLE test.seen (role name, what text, rows text, PRIMARY KEY (role, what));
CREATE TABLE test.expected (LIKE test.seen INCLUDING ALL);
GRANT SELECT, INSERT ON test.seen TO PUBLIC;
CREATE FUNCTION test.by_pool(which text) RETURNS text LANGUAGE sql AS $f$ SELECT format($q$
	SELECT p.pool_id, b AS balance_at, c AS check_credits, h AS ledger_head
	FROM (SELECT * FROM credit_pools.pools WHERE %s) p,
		credit_pools.balance_at(customer_id => p.customer_id, resource_id => p.resource_id, credit_type_id => p.credit_type_id) b,
		credit_pools.check_credits(customer_id => p.customer_id, resource_id => p.resource_id, credit_type_id => p.credit_type_id, amount => 1) c,
		credit_pools.ledger_head(customer_id => p.customer_id, resource_id => p.resource_id, credit_type_id => p.credit_type_id) h
	WHERE h.pool_id = p.pool_id$q$, which) $f$;
-- Policies count what a whole customer spends: a tenant of a resource is not told.
CREATE FUNCTION test.recharges_by_pool(which text) RETURNS text LANGUAGE sql AS $f$ SELECT format($q$
	SELECT r AS explain_recharge FROM (SELECT * FROM credit_pools.pools WHERE %s) p,
		credit_pools.explain_recharge(customer_id => p.customer_id, resource_id => p.resource_id, credit_type_id => p.credit_type_id) r$q$, which) $f$;
CREATE FUNCTION test.look() RETURNS void LANGUAGE sql AS $$
	INSERT INTO test.seen SELECT current_user, v.name, test.rows('SELECT * FROM ' || v.name) FROM test.customer_view v;
	INSERT INTO test.seen SELECT current_user, 'count of ' || v.name, test.rows('SELECT count(*) FROM ' || v.name) FROM test.customer_view v;
	INSERT INTO test.seen VALUES (current_user, 'ledger_head()', test.rows('SELECT * FROM credit_pools.ledger_head()'));
	INSERT INTO test.seen VALUES (current_user, 'verify_ledger()', test.rows('SELECT * FROM credit_pools.verify_ledger()'));
	INSERT INTO test.seen VALUES (current_user, 'functions by pool', test.rows(test.by_pool('true')));
	INSERT INTO test.seen VALUES (current_user, 'explain_recharge', test.rows(test.recharges_by_pool((SELECT whole FROM test.tenant WHERE role = current_user))));
	INSERT INTO test.seen VALUES (current_user, 'explain_usage', test.rows($q$
		SELECT u.customer_id, e FROM credit_pools.usage_events u, credit_pools.explain_usage(customer_id => u.customer_id, usage_id => u.usage_id) e$q$));
$$;

-- Something is wrong with the ledger of every customer and resource, so that verify_ledger has something to say.
ALTER TABLE credit_pools.ledger_archive DISABLE TRIGGER USER;
UPDATE credit_pools.ledger_archive SET reason = 'changed' WHERE seq = 2;
ALTER TABLE credit_pools.ledger_archive ENABLE ALWAYS TRIGGER ledger_archive_append_only;

-- The totals of a tenant are those of its own pools.
CREATE FUNCTION test.of_view(view text, own text) RETURNS text LANGUAGE sql AS $f$ SELECT format(CASE view WHEN 'credit_pools.customer_overview' THEN $q$
	SELECT customer_id, resource_id, credit_type_id, pool_id, status, plan_id, balance, granted, consumed, expired, voided, held, debt, utilization, expiring_30_days, next_expiry_at, auto_recharge, last_usage_at,
		count(*) OVER w AS pools, trim_scale(sum(balance) OVER w) AS total_balance, trim_scale(sum(granted) OVER w) AS total_granted, trim_scale(sum(consumed) OVER w) AS total_consumed,
		trim_scale(sum(held) OVER w) AS total_held, trim_scale(sum(debt) OVER w) AS total_debt, trim_scale(round(consumed / nullif(sum(consumed) OVER w, 0), 4)) AS share
	FROM %s WHERE %s WINDOW w AS (PARTITION BY customer_id, credit_type_id)$q$ ELSE 'SELECT * FROM %s WHERE %s' END, view, own) $f$;
INSERT INTO test.expected SELECT t.role, v.name, test.rows(test.of_view(v.name, t.own)) FROM test.customer_view v, test.tenant t;
INSERT INTO test.expected SELECT t.role, 'count of ' || v.name, test.rows(format('SELECT count(*) FROM %s WHERE %s', v.name, t.own)) FROM test.customer_view v, test.tenant t;
INSERT INTO test.expected SELECT t.role, 'ledger_head()', test.rows(format('SELECT * FROM credit_pools.ledger_head() WHERE %s', t.own)) FROM test.tenant t;
INSERT INTO test.expected SELECT t.role, 'verify_ledger()', test.rows(format('SELECT * FROM credit_pools.verify_ledger() WHERE %s', t.own)) FROM test.tenant t;
INSERT INTO test.expected SELECT t.role, 'functions by pool', test.rows(test.by_pool(t.own)) FROM test.tenant t;
INSERT INTO test.expected SELECT t.role, 'explain_recharge', test.rows(test.recharges_by_pool(t.whole)) FROM test.tenant t;
INSERT INTO test.expected SELECT t.role, 'explain_usage', test.rows(format($q$
		SELECT u.customer_id, e FROM (SELECT * FROM credit_pools.usage_events WHERE %s) u, credit_pools.explain_usage(customer_id => u.customer_id, usage_id => u.usage_id) e$q$, t.own)) FROM test.tenant t;
-- Alerts are of a customer, none of a resource.
SELECT test.same('there are rows to see, of everybody, in nearly everything', 'credit_pools_test_resource credit_pools.balance_alerts, credit_pools_test_resource explain_recharge',
	(SELECT string_agg(concat_ws(' ', role, what), ', ' ORDER BY what) FROM test.expected WHERE rows = ''));

SET SESSION AUTHORIZATION credit_pools_test_customer; SELECT test.look() \g /dev/null
SET SESSION AUTHORIZATION credit_pools_test_resource; SELECT test.look() \g /dev/null
SET SESSION AUTHORIZATION credit_pools_test_two; SELECT test.look() \g /dev/null
SET SESSION AUTHORIZATION credit_pools_test_zeta; SELECT test.look() \g /dev/null
SET SESSION AUTHORIZATION credit_pools_test_odd; SELECT test.look() \g /dev/null
SET SESSION AUTHORIZATION credit_pools_test_heir; SELECT test.look() \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT test.same(concat_ws(' ', e.role, e.what), e.rows, s.rows) FROM test.expected e LEFT JOIN test.seen s USING (role, what) ORDER BY e.role, e.what;
SELECT test.verdict('nothing else was seen', NOT EXISTS (SELECT FROM test.seen s WHERE NOT EXISTS (SELECT FROM test.expected e WHERE (e.role, e.what) = (s.role, s.what))));

-- One that does not inherit has nothing before SET ROLE; one that may become many is each in turn, in one session with the plans of the others.
CREATE FUNCTION test.mine(of name) RETURNS boolean LANGUAGE sql AS $$
	SELECT bool_and(test.rows('SELECT * FROM ' || v.name) = e.rows) FROM test.customer_view v JOIN test.expected e ON e.what = v.name WHERE e.role = of $$;
GRANT SELECT ON test.expected TO PUBLIC;
SET SESSION AUTHORIZATION credit_pools_test_switch;
SELECT test.verdict('NOINHERIT: nothing of its own', test.try('TABLE credit_pools.pools') LIKE '42501%');
SELECT test.verdict('NOINHERIT: no function either', test.try($$SELECT credit_pools.balance_at('acme', 'credits')$$) LIKE '42501%');
SET ROLE credit_pools_test_customer;
SELECT test.verdict('NOINHERIT: its tenant''s rows after SET ROLE', test.mine('credit_pools_test_customer'));
SET SESSION AUTHORIZATION credit_pools_test_authenticator;
SELECT test.verdict('authenticator: nothing of its own', test.try('TABLE credit_pools.pools') LIKE '42501%');
SET ROLE credit_pools_test_reader;
PREPARE p AS SELECT count(*) FROM credit_pools.pools;
SELECT test.same('authenticator as reader: all', '18', (SELECT count(*)::text FROM credit_pools.pools));
EXECUTE p \gset all_
SET ROLE credit_pools_test_customer;
SELECT test.verdict('authenticator as one', test.mine('credit_pools_test_customer'));
EXECUTE p \gset one_
SET ROLE credit_pools_test_zeta;
SELECT test.verdict('authenticator as another', test.mine('credit_pools_test_zeta'));
EXECUTE p \gset two_
SET ROLE credit_pools_test_app;
SELECT test.same('authenticator as app: all', '18', (SELECT count(*)::text FROM credit_pools.pools));
EXECUTE p \gset app_
SET ROLE credit_pools_test_customer;
EXECUTE p \gset again_
SELECT test.same('authenticator: a prepared statement goes with the role', '18 6 6 18 6', concat_ws(' ', :all_count, :one_count, :two_count, :app_count, :again_count));
RESET SESSION AUTHORIZATION;
DEALLOCATE ALL;

-- A prepared statement whose plan has become generic, too.
SET plan_cache_mode = force_generic_plan;
SET SESSION AUTHORIZATION credit_pools_test_authenticator;
SET ROLE credit_pools_test_reader;
PREPARE g (text) AS SELECT count(*) FROM credit_pools.ledger WHERE customer_id = $1;
EXECUTE g ('zeta') \gset all_
SET ROLE credit_pools_test_customer;
EXECUTE g ('zeta') \gset one_
SET ROLE credit_pools_test_reader;
EXECUTE g ('zeta') \gset again_
SELECT test.verdict('generic plans go with the role', :all_count > 0 AND :one_count = 0 AND :again_count = :all_count, concat_ws(' ', :all_count, :one_count, :again_count));
RESET SESSION AUTHORIZATION;
RESET plan_cache_mode;
DEALLOCATE ALL;

-- Inside a function of the application with SECURITY DEFINER, the function's owner reads: the application decides what it hands out. And the other way round.
CREATE FUNCTION test.of_reader() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$ SELECT count(*) FROM credit_pools.pools $$;
ALTER FUNCTION test.of_reader() OWNER TO credit_pools_test_reader;
CREATE FUNCTION test.of_resource() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$ SELECT count(*) FROM credit_pools.pools $$;
ALTER FUNCTION test.of_resource() OWNER TO credit_pools_test_resource;
CREATE FUNCTION test.of_none() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$ SELECT count(*) FROM credit_pools.pools $$;
ALTER FUNCTION test.of_none() OWNER TO credit_pools_test_none;
SET SESSION AUTHORIZATION credit_pools_test_customer;
SELECT test.same('in a function of a reader: what the reader sees', '18', test.of_reader()::text);
SELECT test.same('in a function of a tenant: what that one sees', '2', test.of_resource()::text);
SELECT test.verdict('in a function of a role without access: nothing', test.try('SELECT test.of_none()') LIKE '42501%');
SELECT test.same('and outside: what it sees itself', '6', (SELECT count(*)::text FROM credit_pools.pools));
SET SESSION AUTHORIZATION credit_pools_test_reader;
SELECT test.same('a reader in a function of a tenant: what that one sees', '2', test.of_resource()::text);
RESET SESSION AUTHORIZATION;

-- Views over the views. One over ours reads as whoever asks, not as the one who made it.
CREATE SCHEMA more;
GRANT ALL ON SCHEMA more TO PUBLIC;
SET SESSION AUTHORIZATION credit_pools_test_customer;
CREATE VIEW more.of_customer AS SELECT * FROM credit_pools.pools;
GRANT SELECT ON more.of_customer TO PUBLIC;
SELECT test.same('a view by a tenant: its rows', '6', (SELECT count(*)::text FROM more.of_customer));
SET SESSION AUTHORIZATION credit_pools_test_reader;
CREATE VIEW more.of_reader AS SELECT * FROM credit_pools.pools;
CREATE VIEW more.of_reader_table AS SELECT * FROM credit_pools.pool;
GRANT SELECT ON more.of_reader, more.of_reader_table TO PUBLIC;
SELECT test.same('a view by a reader: all rows, for the reader', '18', (SELECT count(*)::text FROM more.of_reader));
SET SESSION AUTHORIZATION credit_pools_test_zeta;
SELECT test.same('a tenant, through a view of another: no more than its own', 'zeta', (SELECT string_agg(DISTINCT customer_id, ' ') FROM more.of_customer));
SELECT test.same('through a view of a reader: no more than its own', 'zeta', (SELECT string_agg(DISTINCT customer_id, ' ') FROM more.of_reader));
SELECT test.verdict('through a view of a reader on a table: nothing', a = '00000 0' OR a LIKE '42501 %', a) FROM test.try('TABLE more.of_reader_table') a;
SET SESSION AUTHORIZATION credit_pools_test_none;
SELECT test.verdict('a role without access, through a view of anybody: nothing', a = '00000 0' OR a LIKE '42501 %', a)
	FROM unnest(ARRAY['TABLE more.of_customer', 'TABLE more.of_reader', 'TABLE more.of_reader_table', 'SELECT count(*) FROM more.of_reader HAVING count(*) > 0']) q, test.try(q) a;
SET SESSION AUTHORIZATION credit_pools_test_reader;
SELECT test.same('a reader, through a view of a tenant: what a reader sees', '18', (SELECT count(*)::text FROM more.of_customer));
RESET SESSION AUTHORIZATION;
\echo @@end
