-- Everything a psql user meets has a comment: \df+, \d+ and \dv+ are the reference at hand. Each query lists what has none.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SELECT p.oid::regprocedure AS function_without_comment FROM pg_proc p
 WHERE p.pronamespace = 'credit_pools'::regnamespace AND coalesce(obj_description(p.oid, 'pg_proc'), '') = '' ORDER BY 1;
SELECT c.relkind, c.relname AS without_comment FROM pg_class c
 WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind IN ('r', 'v', 'p', 'm') AND coalesce(obj_description(c.oid, 'pg_class'), '') = '' ORDER BY 1, 2;
SELECT c.relname AS view, a.attname AS column_without_comment FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind = 'v' AND coalesce(col_description(c.oid, a.attnum), '') = '' ORDER BY 1, a.attnum;
SELECT 'schema' AS without_comment WHERE coalesce(obj_description('credit_pools'::regnamespace, 'pg_namespace'), '') = '';
SELECT 'extension' AS without_comment FROM pg_extension WHERE extname = 'credit_pools' AND coalesce(obj_description(oid, 'pg_extension'), '') = '';
-- Every row survives a dump: each table and each sequence is registered, without a filter.
SELECT c.relkind, c.relname AS not_registered_for_dump FROM pg_class c, pg_extension e
 WHERE e.extname = 'credit_pools' AND c.relnamespace = 'credit_pools'::regnamespace AND c.relkind IN ('r', 'S') AND NOT c.oid = ANY (coalesce(e.extconfig, '{}'))
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'i') ORDER BY 1, 2;
SELECT count(*) AS tables_registered_with_a_filter FROM pg_extension e, unnest(e.extcondition) f WHERE e.extname = 'credit_pools' AND f <> '';
