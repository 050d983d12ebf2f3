-- A schema with a double of everything that a name or an operator could be looked up as: all functions, aggregates, operators and types of
-- pg_catalog, all relations of pg_catalog and of the extension. Whatever is taken from it raises an error.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE SCHEMA hostile;
GRANT USAGE ON SCHEMA hostile TO PUBLIC;
CREATE FUNCTION hostile.trap() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped as %', current_user; END $$;
CREATE TABLE test.doubles (kind text PRIMARY KEY, n bigint);
DO $$
DECLARE
	o record; n bigint;
BEGIN
	n := 0;
	FOR o IN SELECT p.proname, p.oid, p.proretset, format_type(p.prorettype, NULL) AS result,
			(SELECT string_agg(format_type(t, NULL), ', ' ORDER BY i) FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY u (t, i)) AS arguments
		FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind IN ('f', 'a')
	LOOP
		BEGIN
			EXECUTE format('CREATE FUNCTION hostile.%I(%s) RETURNS %s %s LANGUAGE plpgsql AS $b$ BEGIN RAISE EXCEPTION ''trapped as %%'', current_user; END $b$',
				o.proname, o.arguments, CASE WHEN o.proretset THEN 'SETOF' END, o.result);
			n := n + 1;
		EXCEPTION WHEN OTHERS THEN NULL; -- internal and pseudo types, which no call of ours has
		END;
	END LOOP;
	-- Those with VARIADIC "any" cannot be doubled, but one with the very types fits better.
	FOR o IN SELECT f, repeat('pg_catalog.text, ', i) || 'pg_catalog.text' AS arguments
		FROM unnest(ARRAY['format', 'concat', 'concat_ws', 'jsonb_build_object', 'jsonb_build_array', 'num_nulls', 'num_nonnulls']) f, generate_series(0, 7) i
	LOOP
		BEGIN
			EXECUTE format('CREATE FUNCTION hostile.%I(%s) RETURNS text LANGUAGE plpgsql AS $b$ BEGIN RAISE EXCEPTION ''trapped as %%'', current_user; END $b$', o.f, o.arguments);
			n := n + 1;
		EXCEPTION WHEN duplicate_function THEN NULL;
		END;
	END LOOP;
	INSERT INTO test.doubles VALUES ('functions', n);
	n := 0;
	FOR o IN SELECT oprname, oprleft, format_type(nullif(oprleft, 0), NULL) AS l, format_type(oprright, NULL) AS r, format_type(oprresult, NULL) AS result FROM pg_operator
		WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprcode <> 0
	LOOP
		BEGIN
			EXECUTE format('CREATE FUNCTION hostile.%I(%s) RETURNS %s LANGUAGE plpgsql AS $b$ BEGIN RAISE EXCEPTION ''trapped as %%'', current_user; END $b$',
				'operator ' || n, concat_ws(', ', o.l, o.r), o.result);
			EXECUTE format('CREATE OPERATOR hostile.%s (%s RIGHTARG = %s, FUNCTION = hostile.%I)', o.oprname, 'LEFTARG = ' || o.l || ',', o.r, 'operator ' || n);
			n := n + 1;
		EXCEPTION WHEN OTHERS THEN NULL;
		END;
	END LOOP;
	INSERT INTO test.doubles VALUES ('operators', n);
	n := 0;
	FOR o IN SELECT t.typname, t.oid FROM pg_type t WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm', 'e') LOOP
		BEGIN
			EXECUTE format('CREATE DOMAIN hostile.%I AS %s CHECK (hostile.trap())', o.typname, o.oid::regtype);
			n := n + 1;
		EXCEPTION WHEN OTHERS THEN NULL;
		END;
	END LOOP;
	INSERT INTO test.doubles VALUES ('types', n);
	n := 0;
	FOR o IN SELECT DISTINCT relname FROM pg_class WHERE relnamespace IN (to_regnamespace('credit_pools'), 'pg_catalog'::regnamespace) AND relkind IN ('r', 'v', 'S') LOOP
		BEGIN
			EXECUTE format('CREATE VIEW hostile.%I AS SELECT hostile.trap()', o.relname);
			n := n + 1;
		EXCEPTION WHEN duplicate_object OR duplicate_table THEN NULL;
		END;
	END LOOP;
	INSERT INTO test.doubles VALUES ('relations', n);
	CREATE COLLATION hostile."C" FROM pg_catalog."POSIX";
END $$;
-- The same in pg_temp, where PostgreSQL looks for relations and types before anything else unless search_path says where.
CREATE FUNCTION test.temporary_doubles() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	o record;
BEGIN
	FOR o IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind IN ('r', 'v', 'S')
		UNION ALL SELECT unnest(ARRAY['pg_class', 'pg_proc', 'pg_roles', 'pg_authid', 'pg_namespace', 'pg_attribute', 'pg_trigger', 'pg_auth_members', 'pg_type'])
	LOOP
		EXECUTE format('CREATE TEMPORARY VIEW %I AS SELECT hostile.trap()', o.relname);
	END LOOP;
	FOR o IN SELECT unnest(ARRAY['text', 'int4', 'int8', 'numeric', 'timestamptz', 'interval', 'jsonb', 'bytea', 'bool', 'name', 'oid', 'regclass', 'regrole', 'regprocedure']) AS typname LOOP
		EXECUTE format('CREATE DOMAIN pg_temp.%I AS pg_catalog.%I CHECK (hostile.trap())', o.typname, o.typname);
	END LOOP;
END $$;
