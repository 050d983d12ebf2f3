-- Roles and customers whose names are made to break out of a statement, and words that are no roles.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE TABLE test.bystander (a int);
CREATE TABLE test.role (name text PRIMARY KEY);
INSERT INTO test.role VALUES ('"; DROP TABLE test.bystander; --'), ('''; DROP TABLE test.bystander; --'), ('Ünïcode "quoted"'), ('select'), ('user'), ('Current_User'), ('ALL'),
	('with space'), ('a,b'), ('back\slash'), ('$1'), ('%s %I'), (repeat('n', 63)), ('tab	here'), ('credit_pools'), ('PUBLIC '), ('0');
DO $$
DECLARE
	n text;
BEGIN
	FOR n IN SELECT name FROM test.role LOOP EXECUTE format('CREATE ROLE %I', n); END LOOP;
END $$;
CREATE FUNCTION test.may_read(r text) RETURNS boolean LANGUAGE sql AS $$ SELECT has_table_privilege(r, 'credit_pools.pools', 'SELECT') AND has_schema_privilege(r, 'credit_pools', 'USAGE') $$;
-- Each gets what it is given, that one and no other, and loses it again.
CREATE FUNCTION test.give_and_take(name text, level text, customer text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	others bigint := (SELECT count(*) FROM pg_roles WHERE test.may_read(rolname));
	a text; state text := (SELECT md5(string_agg(relacl::text, ',' ORDER BY oid)) FROM pg_class WHERE relnamespace = 'credit_pools'::regnamespace);
BEGIN
	a := test.try(format('SELECT FROM credit_pools.grant_access(role_name => %L, level => %L, customer_id => %L)', name, level, customer));
	RETURN NEXT test.verdict(format('%s for role %L', level, name), a = '00000 1' AND test.may_read(name) AND others + 1 = (SELECT count(*) FROM pg_roles WHERE test.may_read(rolname)), a);
	RETURN NEXT test.same(format('it is in the view access: %L', name), concat_ws(' ', name, level, customer),
		(SELECT concat_ws(' ', v.role_name, v.level, v.customer_id) FROM credit_pools.access v WHERE v.role_name = name));
	a := test.try(format('SELECT FROM credit_pools.revoke_access(role_name => %L)', name));
	RETURN NEXT test.verdict(format('revoked from role %L', name), a = '00000 1' AND NOT test.may_read(name) AND others = (SELECT count(*) FROM pg_roles WHERE test.may_read(rolname))
		AND NOT EXISTS (SELECT FROM credit_pools.access v WHERE v.role_name = name), a);
END $$;
SELECT v FROM test.role r, LATERAL test.give_and_take(r.name, 'reader', NULL) v ORDER BY r.name COLLATE "C";
SELECT v FROM test.role r, LATERAL test.give_and_take(r.name, 'tenant', '"; DROP TABLE test.bystander; -- '' ü') v ORDER BY r.name COLLATE "C";
-- What is no role, however SQL might take it.
SELECT test.verdict(format('no role: %L', name), a LIKE 'PC002 %' OR a LIKE '22023 %', a) FROM unnest(ARRAY['public', 'PUBLIC', 'Public', 'none', 'NONE', 'current_user', 'session_user', 'CURRENT_ROLE',
	'credit_pools_test_reader"', '"credit_pools_test_reader"', 'credit_pools_test_reader ', ' credit_pools_test_reader', 'CREDIT_POOLS_TEST_READER', 'credit_pools_test_reader, postgres',
	'credit_pools_test_none; ALTER ROLE credit_pools_test_none SUPERUSER', 'pg_no_such', '-1', '10', '', repeat('n', 64), repeat('n', 70), 'credit_pools_test_none WITH GRANT OPTION']) name,
	LATERAL test.try(format('SELECT FROM credit_pools.grant_access(role_name => %L, level => ''reader'')', name)) a;
SELECT test.verdict('no role: NULL', a LIKE '22023 %', a) FROM test.try('SELECT FROM credit_pools.grant_access(role_name => NULL, level => ''reader'')') a;
SELECT test.verdict(format('revoke: no role: %L', name), a LIKE 'PC002 %' OR a LIKE '22023 %', a) FROM unnest(ARRAY['public', 'PUBLIC', 'none', 'current_user', '"credit_pools_test_reader"', '']) name,
	LATERAL test.try(format('SELECT FROM credit_pools.revoke_access(role_name => %L)', name)) a;
-- Levels are words of the contract.
SELECT test.verdict(format('no level: %L', level), a LIKE '22023 %', a) FROM unnest(ARRAY['owner', 'superuser', 'ADMIN', 'Reader', 'reader ', '', 'reader; --', 'ALL']) level,
	LATERAL test.try(format('SELECT FROM credit_pools.grant_access(role_name => ''credit_pools_test_spare'', level => %L)', level)) a;
SELECT test.verdict('refused: ' || q, a LIKE s || ' %', a) FROM (VALUES
	('22023', $$role_name => 'credit_pools_test_spare'$$),
	('22023', $$role_name => 'credit_pools_test_spare', level => 'tenant'$$),
	('22023', $$role_name => 'credit_pools_test_spare', level => 'tenant', resource_id => 'ws1'$$),
	('22023', $$role_name => 'credit_pools_test_spare', level => 'reader', customer_id => 'acme'$$),
	('22023', $$role_name => 'credit_pools_test_spare', level => 'admin', resource_id => 'ws1'$$),
	('22023', $$role_name => 'credit_pools_test_spare', level => 'tenant', customer_id => ''$$),
	('22023', $$role_name => 'credit_pools_test_spare', level => 'tenant', customer_id => 'acme', resource_id => ''$$),
	('22023', $$role_name => 'credit_pools_test_spare', level => 'tenant', customer_id => E'ac\nme'$$),
	('PC005', $$role_name => 'credit_pools_test_customer', level => 'reader'$$),
	('PC005', $$role_name => 'credit_pools_test_customer', level => 'admin'$$),
	('PC005', $$role_name => 'credit_pools_test_reader', level => 'tenant', customer_id => 'acme'$$)) v (s, q),
	LATERAL test.try('SELECT FROM credit_pools.grant_access(' || q || ')') a;
-- Who asks without being admin is refused whatever he asks, also through a function of his own.
SET SESSION AUTHORIZATION credit_pools_test_app;
SELECT test.verdict(session_user || ' gives itself nothing', a LIKE '42501 %', a) FROM test.try($$SELECT FROM credit_pools.grant_access('credit_pools_test_app', 'admin')$$) a;
SET SESSION AUTHORIZATION credit_pools_test_customer;
SELECT test.verdict(session_user || ' gives itself nothing', a LIKE '42501 %', a) FROM test.try($$SELECT FROM credit_pools.grant_access('credit_pools_test_customer', 'tenant', 'zeta')$$) a;
SELECT test.verdict(session_user || ' does not see who has access', a LIKE '42501 %', a) FROM unnest(ARRAY['TABLE credit_pools.access', 'TABLE credit_pools.role_access']) q, LATERAL test.try(q) a;
SELECT test.verdict(session_user || ' writes no access', a LIKE '42501 %', a) FROM unnest(ARRAY['DELETE FROM credit_pools.role_access', 'UPDATE credit_pools.role_access SET customer_id = ''zeta''',
	'INSERT INTO credit_pools.role_access DEFAULT VALUES']) q, LATERAL test.try(q) a;
-- An admin has everything here, and nothing outside: not a right of the owner or of a superuser.
SET SESSION AUTHORIZATION credit_pools_test_admin;
SELECT test.verdict('an admin may not: ' || q, a LIKE '42501 %', a) FROM unnest(ARRAY['TABLE pg_authid', 'ALTER TABLE credit_pools.pool DISABLE ROW LEVEL SECURITY', 'DROP EXTENSION credit_pools',
	'UPDATE credit_pools.pool SET balance = 0', 'CREATE ROLE credit_pools_test_more', 'SET credit_pools.test_clock = ''2030-01-01 00:00+00''', 'DELETE FROM credit_pools.role_access']) q, LATERAL test.try(q) a;
-- These are warnings in PostgreSQL. What grant_access calls inside has the caller's rights: the admin's, who can neither give nor take.
SET client_min_messages = error;
SELECT test.try('SELECT credit_pools.apply_access(''credit_pools_test_reader'', true)') \g /dev/null
GRANT SELECT ON credit_pools.pools TO credit_pools_test_none;
GRANT EXECUTE ON FUNCTION credit_pools.clock TO credit_pools_test_none;
RESET SESSION AUTHORIZATION;
SELECT test.verdict('GRANT by an admin has given nothing', NOT has_table_privilege('credit_pools_test_none', 'credit_pools.pools', 'SELECT') AND NOT has_function_privilege('credit_pools_test_none', 'credit_pools.clock()', 'EXECUTE'));
SELECT test.verdict('nor has apply_access by an admin taken anything', test.may_read('credit_pools_test_reader'));
SELECT test.verdict('the bystander is still there', to_regclass('test.bystander') IS NOT NULL);
SELECT test.verdict('nobody has become superuser', NOT EXISTS (SELECT FROM pg_roles WHERE rolsuper AND rolname <> 'postgres'));
SELECT test.verdict('no right is given on', NOT EXISTS (SELECT FROM pg_class c, aclexplode(c.relacl) x WHERE c.relnamespace = 'credit_pools'::regnamespace AND x.is_grantable AND x.grantee <> c.relowner)
	AND NOT EXISTS (SELECT FROM pg_proc p, aclexplode(p.proacl) x WHERE p.pronamespace = 'credit_pools'::regnamespace AND x.is_grantable AND x.grantee <> p.proowner));

-- A role that goes takes its access with it: one of the same name that comes later has none.
CREATE ROLE credit_pools_test_gone LOGIN;
SELECT FROM credit_pools.grant_access('credit_pools_test_gone', 'tenant', 'zeta');
DROP OWNED BY credit_pools_test_gone;
SELECT test.verdict('DROP OWNED BY takes all rights', NOT test.may_read('credit_pools_test_gone'));
DROP ROLE credit_pools_test_gone;
CREATE ROLE credit_pools_test_gone LOGIN;
SET SESSION AUTHORIZATION credit_pools_test_gone;
SELECT test.verdict('a new role of the name of one that was dropped sees nothing', a LIKE '42501 %', a) FROM test.try('TABLE credit_pools.pools') a;
RESET SESSION AUTHORIZATION;
SELECT FROM credit_pools.grant_access('credit_pools_test_gone', 'tenant', 'acme');
SET SESSION AUTHORIZATION credit_pools_test_gone;
SELECT test.same('and what it is given then is all that it has', 'acme', (SELECT string_agg(DISTINCT customer_id, ' ') FROM credit_pools.pools));
RESET SESSION AUTHORIZATION;
-- Renamed, it has what it had, or nothing; nobody else has it.
ALTER ROLE credit_pools_test_gone RENAME TO credit_pools_test_renamed;
CREATE ROLE credit_pools_test_gone LOGIN;
GRANT credit_pools_test_zeta TO credit_pools_test_gone;
SET SESSION AUTHORIZATION credit_pools_test_renamed;
SELECT test.verdict('a renamed role', customers = 'acme' OR customers IS NULL, customers) FROM (SELECT string_agg(DISTINCT customer_id, ' ') AS customers FROM credit_pools.pools) x;
SET SESSION AUTHORIZATION credit_pools_test_gone;
SELECT test.same('a tenant that now has its old name', 'zeta', (SELECT string_agg(DISTINCT customer_id, ' ') FROM credit_pools.pools));
RESET SESSION AUTHORIZATION;

-- Rights that are given by hand, on functions, views and tables, show nobody's rows without the right to all customers.
CREATE ROLE credit_pools_test_hand LOGIN;
GRANT USAGE ON SCHEMA credit_pools TO credit_pools_test_hand;
GRANT EXECUTE ON FUNCTION credit_pools.balance_at, credit_pools.usage_chart, credit_pools.usage_overview, credit_pools.report, credit_pools.credits_page, credit_pools.check_credits, credit_pools.explain_usage, credit_pools.explain_recharge, credit_pools.verify_ledger,
	credit_pools.ledger_head, credit_pools.clock, credit_pools.pool_now, credit_pools.grants_now, credit_pools.limit_window, credit_pools.subscription_period, credit_pools.next_transaction_id TO credit_pools_test_hand;
GRANT SELECT ON ALL TABLES IN SCHEMA credit_pools TO credit_pools_test_hand;
GRANT SELECT ON test.call, test.customer_view TO credit_pools_test_hand;
SET SESSION AUTHORIZATION credit_pools_test_hand;
SELECT test.verdict('given by hand: ' || function, a LIKE '42501 %' OR a = '00000 0', a) FROM test.call, test.try(statement) a
	WHERE function IN ('balance_at', 'usage_chart', 'usage_overview', 'report', 'credits_page', 'check_credits', 'explain_usage', 'explain_recharge', 'verify_ledger', 'ledger_head') ORDER BY 1;
SELECT test.verdict('given by hand: ' || v, a LIKE '42501 %' OR a = '00000 0', a) FROM (SELECT name FROM test.customer_view
	UNION ALL SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'credit_pools'::regnamespace AND relkind = 'r') w (v), test.try('TABLE ' || v) a ORDER BY 1;
RESET SESSION AUTHORIZATION;
-- A meter locks no table that is not its own.
SET SESSION AUTHORIZATION credit_pools_test_meter;
SELECT test.verdict('check_metering opens no table of others', a LIKE '42501 %', a) FROM test.try($$SELECT credit_pools.check_metering('pg_authid'::regclass, 'chat', 'rolname', NULL, NULL, NULL)$$) a;
RESET SESSION AUTHORIZATION;
\echo @@end
