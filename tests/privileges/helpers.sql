-- What the scripts of this folder say and ask. All of it may be called by every role; nothing of it has the owner's rights.
\set ON_ERROR_STOP on
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE FUNCTION test.verdict(name text, fine boolean, detail text DEFAULT '') RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN fine THEN 'ok       ' || name ELSE 'FAILED   ' || name || E'\n  ' || left(detail, 1500) END $$;
CREATE FUNCTION test.same(name text, expected text, got text) RETURNS text LANGUAGE sql AS $$
	SELECT test.verdict(name, expected IS NOT DISTINCT FROM got, format(E'expected: %s\n  got:      %s', expected, got)) $$;
-- A statement's SQLSTATE, message, DETAIL and HINT; 00000 and its number of rows where it does not fail.
CREATE FUNCTION test.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text; d text; h text; n bigint;
BEGIN
	EXECUTE statement;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN '00000 ' || n;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, m, d, h);
END $$;
-- The rows of a query, sorted, one per line.
CREATE FUNCTION test.rows(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r text;
BEGIN
	EXECUTE format('SELECT string_agg(to_jsonb(q)::text, E''\n'' ORDER BY to_jsonb(q)::text COLLATE "C") FROM (%s) q', query) INTO r;
	RETURN coalesce(r, '');
END $$;
CREATE FUNCTION test.plan(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text; r text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, VERBOSE, BUFFERS, TIMING OFF, SUMMARY OFF) ' || statement LOOP
		r := r || line || E'\n';
	END LOOP;
	RETURN r;
END $$;
-- Which rows are a role's own, and which of them are of a customer of which it sees all.
CREATE TABLE test.tenant (role name PRIMARY KEY, own text NOT NULL, whole text NOT NULL);
GRANT SELECT ON test.tenant TO PUBLIC;
INSERT INTO test.tenant VALUES
	('credit_pools_test_customer', $$customer_id = 'acme'$$, $$customer_id = 'acme'$$),
	('credit_pools_test_resource', $$customer_id = 'acme' AND resource_id = 'ws1'$$, 'false'),
	('credit_pools_test_two', $$(customer_id = 'acme' OR customer_id = 'zeta' AND resource_id = 'ws2')$$, $$customer_id = 'acme'$$),
	('credit_pools_test_zeta', $$customer_id = 'zeta'$$, $$customer_id = 'zeta'$$),
	('credit_pools_test_odd', $$customer_id = 'it''s "odd"; --'$$, $$customer_id = 'it''s "odd"; --'$$),
	('credit_pools_test_heir', $$customer_id = 'acme'$$, $$customer_id = 'acme'$$);
-- The views with a customer's rows, and those without, which no tenant may read.
CREATE VIEW test.customer_view AS
	SELECT c.oid::regclass::text AS name FROM pg_class c WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind = 'v'
		AND c.relname NOT IN ('access', 'event_consumers', 'health');
GRANT SELECT ON test.customer_view TO PUBLIC;
