-- What is tried by each role: every object of the extension, as the catalogue of PostgreSQL has it. A cell of the matrix is one or several letters, one
-- per probe that was not refused.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE TABLE test.call (function name PRIMARY KEY, statement text NOT NULL);
CREATE TABLE test.probe (n int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, object text NOT NULL, letter text NOT NULL, statement text NOT NULL);
\ir calls.sql
-- A trigger function is called by a trigger.
INSERT INTO test.call (function, statement)
	SELECT p.proname, format('CREATE TRIGGER t BEFORE INSERT ON pg_temp.mine FOR EACH ROW EXECUTE FUNCTION %s', p.oid::regprocedure)
	FROM pg_proc p WHERE p.pronamespace = 'credit_pools'::regnamespace AND p.prorettype = 'trigger'::regtype;
INSERT INTO test.probe (object, letter, statement) VALUES
	('schema', 'T', 'CREATE TABLE credit_pools.mine (a int)'),
	('schema', 'F', 'CREATE FUNCTION credit_pools.mine() RETURNS int LANGUAGE sql AS ''SELECT 1'''),
	('schema', 'Y', 'CREATE TYPE credit_pools.mine AS ENUM ()'),
	('schema', 'D', 'DROP SCHEMA credit_pools CASCADE'),
	('extension', 'A', 'ALTER EXTENSION credit_pools UPDATE'),
	('extension', 'M', 'ALTER EXTENSION credit_pools ADD TABLE pg_temp.mine'),
	('extension', 'D', 'DROP EXTENSION credit_pools');
INSERT INTO test.probe (object, letter, statement)
	SELECT CASE c.relkind WHEN 'v' THEN 'view ' ELSE 'table ' END || c.relname, a.letter, format(a.statement, c.oid::regclass, quote_ident(f.attname))
	FROM pg_class c
	CROSS JOIN LATERAL (SELECT attname FROM pg_attribute WHERE attrelid = c.oid AND attnum = 1) f
	CROSS JOIN (VALUES (1, 'S', 'TABLE %1$s'), (2, 'I', 'INSERT INTO %1$s DEFAULT VALUES'), (3, 'U', 'UPDATE %1$s SET %2$s = %2$s'),
		(4, 'D', 'DELETE FROM %1$s'), (5, 'T', 'TRUNCATE %1$s'), (6, 'R', 'CREATE TRIGGER t AFTER INSERT ON %1$s EXECUTE FUNCTION test.nothing()'),
		(7, 'A', 'ALTER TABLE %1$s DISABLE TRIGGER USER'), (8, 'P', 'ALTER TABLE %1$s DISABLE ROW LEVEL SECURITY')) a (n, letter, statement)
	WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND (c.relkind <> 'v' OR a.n <= 4)
	ORDER BY c.relkind, c.relname COLLATE "C", a.n;
INSERT INTO test.probe (object, letter, statement)
	SELECT 'sequence ' || c.relname, a.letter, format(a.statement, c.oid::regclass)
	FROM pg_class c
	CROSS JOIN (VALUES (1, 'S', 'TABLE %1$s'), (2, 'N', 'SELECT nextval(''%1$s'')'), (3, 'V', 'SELECT setval(''%1$s'', 1000000)')) a (n, letter, statement)
	WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind = 'S' ORDER BY c.relname COLLATE "C", a.n;
INSERT INTO test.probe (object, letter, statement)
	SELECT CASE p.prokind WHEN 'p' THEN 'procedure ' ELSE 'function ' END || p.proname, 'X', c.statement
	FROM pg_proc p JOIN test.call c ON c.function = p.proname
	WHERE p.pronamespace = 'credit_pools'::regnamespace ORDER BY p.prokind, p.proname COLLATE "C";
CREATE FUNCTION test.nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
