-- Everything that an extension is in the catalogue, a line per fact, in an order that does not depend on how it came about:
-- to compare a fresh installation with an upgraded one.
--   psql -XAtq -v extension=credit_pools -f tests/upgrade/catalogue.sql
-- Left out is what may differ: oids, the version, the places of columns that were dropped.
\set ON_ERROR_STOP on
SET search_path TO pg_catalog;
CREATE TEMPORARY VIEW extension AS SELECT * FROM pg_extension WHERE extname = :'extension';
-- What belongs to it, and its schema (which CREATE EXTENSION makes without giving it to the extension).
CREATE TEMPORARY VIEW member AS
SELECT d.classid, d.objid FROM pg_depend d
WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM extension)
UNION SELECT 'pg_namespace'::regclass, extnamespace FROM extension;
CREATE TEMPORARY VIEW relation AS
SELECT c.*, c.oid::regclass::text AS name FROM pg_class c
WHERE c.oid IN (SELECT objid FROM member WHERE classid = 'pg_class'::regclass)
   OR c.oid IN (SELECT t.typrelid FROM pg_type t JOIN member m ON m.objid = t.oid AND m.classid = 'pg_type'::regclass WHERE t.typtype = 'c');
-- With what hangs on them.
CREATE TEMPORARY VIEW object AS
SELECT classid, objid FROM member
UNION SELECT 'pg_class'::regclass, indexrelid FROM pg_index WHERE indrelid IN (SELECT oid FROM relation)
UNION SELECT 'pg_constraint'::regclass, oid FROM pg_constraint WHERE conrelid IN (SELECT oid FROM relation)
UNION SELECT 'pg_constraint'::regclass, oid FROM pg_constraint
    WHERE contypid IN (SELECT objid FROM member WHERE classid = 'pg_type'::regclass)
UNION SELECT 'pg_trigger'::regclass, oid FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM relation) AND NOT tgisinternal
UNION SELECT 'pg_policy'::regclass, oid FROM pg_policy WHERE polrelid IN (SELECT oid FROM relation)
UNION SELECT 'pg_rewrite'::regclass, oid FROM pg_rewrite WHERE ev_class IN (SELECT oid FROM relation)
UNION SELECT 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext WHERE stxrelid IN (SELECT oid FROM relation)
UNION SELECT 'pg_extension'::regclass, oid FROM extension;

CREATE FUNCTION pg_temp.rights(acl aclitem[]) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END || ' ' || privilege_type || CASE WHEN is_grantable THEN '*' ELSE '' END
        || ' from ' || grantor::regrole, ', ' ORDER BY grantee::regrole::text, privilege_type, grantor::regrole::text)
    FROM aclexplode(acl)
$$;
-- pg_attver is the server's own note of when a relation was made.
CREATE FUNCTION pg_temp.options(options text[]) RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(options) o WHERE o NOT LIKE 'pg\_attver=%' $$;

SELECT object || ' | ' || property || ': ' || replace(value, E'\n', E'\n    ')
FROM (
    SELECT i.type || ' ' || i.identity AS object, 'belongs' AS property, 'to the extension' AS value
    FROM member m, pg_identify_object(m.classid, m.objid, 0) i
    UNION ALL
    -- A kind that nothing below knows, so that it cannot be overlooked.
    SELECT i.type || ' ' || i.identity, 'NOT COMPARED', 'tests/upgrade/catalogue.sql does not know this kind of object'
    FROM member m, pg_identify_object(m.classid, m.objid, 0) i
    WHERE m.classid NOT IN ('pg_namespace'::regclass, 'pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_statistic_ext'::regclass)
       OR m.classid = 'pg_class'::regclass AND m.objid NOT IN (SELECT oid FROM pg_class WHERE relkind IN ('r', 'v', 'S', 'c', 'i'))
       OR m.classid = 'pg_proc'::regclass AND m.objid NOT IN (SELECT oid FROM pg_proc WHERE prokind IN ('f', 'p'))
       OR m.classid = 'pg_type'::regclass AND m.objid NOT IN (SELECT oid FROM pg_type WHERE typtype IN ('c', 'd', 'e') OR typelem <> 0 AND typlen = -1)
    UNION ALL
    SELECT i.type || ' ' || i.identity, 'owner', o.owner::regrole::text
    FROM (SELECT 'pg_class'::regclass AS classid, oid AS objid, relowner AS owner FROM relation
          UNION ALL SELECT 'pg_proc'::regclass, oid, proowner FROM pg_proc
          UNION ALL SELECT 'pg_type'::regclass, oid, typowner FROM pg_type
          UNION ALL SELECT 'pg_namespace'::regclass, oid, nspowner FROM pg_namespace) o
    JOIN object USING (classid, objid), pg_identify_object(classid, objid, 0) i
    UNION ALL
    -- What is granted, whether it was said or goes without saying.
    SELECT i.type || ' ' || i.identity, 'granted', pg_temp.rights(a.acl)
    FROM (SELECT 'pg_class'::regclass AS classid, oid AS objid,
                 COALESCE(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)) AS acl FROM relation
          UNION ALL SELECT 'pg_proc'::regclass, oid, COALESCE(proacl, acldefault('f', proowner)) FROM pg_proc
          UNION ALL SELECT 'pg_type'::regclass, oid, COALESCE(typacl, acldefault('T', typowner)) FROM pg_type
          UNION ALL SELECT 'pg_namespace'::regclass, oid, COALESCE(nspacl, acldefault('n', nspowner)) FROM pg_namespace) a
    JOIN object USING (classid, objid), pg_identify_object(classid, objid, 0) i
    UNION ALL
    -- What pg_dump takes for granted by the extension itself.
    SELECT i.type || ' ' || i.identity, 'granted by the extension', pg_temp.rights(p.initprivs)
    FROM pg_init_privs p JOIN object o ON o.classid = p.classoid AND o.objid = p.objoid, pg_identify_object(p.classoid, p.objoid, p.objsubid) i
    UNION ALL
    SELECT i.type || ' ' || i.identity, 'comment', d.description
    FROM pg_description d JOIN object o ON o.classid = d.classoid AND o.objid = d.objoid, pg_identify_object(d.classoid, d.objoid, d.objsubid) i
    UNION ALL
    SELECT 'relation ' || name, p.property, p.value
    FROM relation r,
         LATERAL (VALUES ('kind', relkind::text), ('persistence', relpersistence::text), ('options', pg_temp.options(reloptions)),
             ('options of its toast table', (SELECT pg_temp.options(t.reloptions) FROM pg_class t WHERE t.oid = r.reltoastrelid)),
             ('replica identity', relreplident::text), ('row security', relrowsecurity || ' forced ' || relforcerowsecurity),
             ('access method', (SELECT amname::text FROM pg_am WHERE oid = relam)),
             ('tablespace', (SELECT spcname::text FROM pg_tablespace WHERE oid = reltablespace)),
             ('definition', CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END),
             ('parents', (SELECT string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno) FROM pg_inherits WHERE inhrelid = r.oid))
         ) p (property, value)
    UNION ALL
    -- A new column goes to the end of its table in sql/schema, too: the order is one of the facts.
    SELECT 'relation ' || r.name, 'column ' || lpad(a.place::text, 3), concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod),
        'COLLATE ' || (SELECT collname FROM pg_collation c WHERE c.oid = a.attcollation AND c.collname <> 'default'), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
        'DEFAULT ' || (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum),
        'IDENTITY ' || NULLIF(a.attidentity::text, ''), 'GENERATED ' || NULLIF(a.attgenerated::text, ''),
        'STORAGE ' || a.attstorage::text, 'COMPRESSION ' || NULLIF(a.attcompression::text, ''),
        -- The default is -1 up to 16, NULL since.
        'STATISTICS ' || NULLIF(a.attstattarget, -1), 'OPTIONS ' || pg_temp.options(a.attoptions), 'GRANTED ' || pg_temp.rights(a.attacl))
    FROM relation r
    JOIN (SELECT *, row_number() OVER (PARTITION BY attrelid ORDER BY attnum) AS place FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped) a
        ON a.attrelid = r.oid
    UNION ALL
    SELECT 'relation ' || r.name, 'constraint ' || c.conname, pg_get_constraintdef(c.oid) || CASE WHEN c.convalidated THEN '' ELSE ' not validated' END
    FROM pg_constraint c JOIN relation r ON r.oid = c.conrelid
    UNION ALL
    SELECT 'relation ' || r.name, 'index', concat_ws(' ', pg_get_indexdef(x.indexrelid), CASE WHEN x.indisreplident THEN 'REPLICA IDENTITY' END,
        CASE WHEN x.indisclustered THEN 'CLUSTER' END, CASE WHEN NOT x.indisvalid THEN 'INVALID' END,
        'STATISTICS ' || (SELECT string_agg(attnum || ' ' || attstattarget, ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = x.indexrelid AND attstattarget >= 0))
    FROM pg_index x JOIN relation r ON r.oid = x.indrelid
    UNION ALL
    SELECT 'relation ' || r.name, 'trigger', pg_get_triggerdef(t.oid) || ' enabled ' || t.tgenabled::text
    FROM pg_trigger t JOIN relation r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT 'relation ' || r.name, 'rule', pg_get_ruledef(w.oid) || ' enabled ' || w.ev_enabled::text
    FROM pg_rewrite w JOIN relation r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'
    UNION ALL
    SELECT 'relation ' || r.name, 'policy ' || p.polname, concat_ws(' ', CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, 'FOR ' || p.polcmd::text,
        'TO ' || (SELECT string_agg(CASE o WHEN 0 THEN 'PUBLIC' ELSE o::regrole::text END, ', ' ORDER BY o::regrole::text) FROM unnest(p.polroles) o),
        'USING ' || pg_get_expr(p.polqual, p.polrelid), 'WITH CHECK ' || pg_get_expr(p.polwithcheck, p.polrelid))
    FROM pg_policy p JOIN relation r ON r.oid = p.polrelid
    UNION ALL
    SELECT 'relation ' || r.name, 'sequence', concat_ws(' ', format_type(s.seqtypid, NULL), 'START', s.seqstart, 'INCREMENT', s.seqincrement, 'MIN', s.seqmin,
        'MAX', s.seqmax, 'CACHE', s.seqcache, CASE WHEN s.seqcycle THEN 'CYCLE' END,
        'OWNED BY ' || (SELECT string_agg(d.refobjid::regclass || '.' || a.attname, ', ') FROM pg_depend d JOIN pg_attribute a
            ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid WHERE d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.deptype IN ('a', 'i')))
    FROM pg_sequence s JOIN relation r ON r.oid = s.seqrelid
    UNION ALL
    SELECT 'relation ' || r.name, 'statistics', pg_get_statisticsobjdef(s.oid) FROM pg_statistic_ext s JOIN relation r ON r.oid = s.stxrelid
    UNION ALL
    -- Arguments, result and every attribute are in it, of SQL functions the body, of others the symbol.
    SELECT 'function ' || p.oid::regprocedure, 'definition', pg_get_functiondef(p.oid)
    FROM pg_proc p JOIN member m ON m.objid = p.oid AND m.classid = 'pg_proc'::regclass WHERE p.prokind IN ('f', 'p')
    UNION ALL
    SELECT 'type ' || format_type(t.oid, NULL), 'definition', concat_ws(' ', t.typtype, format_type(NULLIF(t.typbasetype, 0), t.typtypmod),
        CASE WHEN t.typnotnull THEN 'NOT NULL' END, 'DEFAULT ' || t.typdefault,
        (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid),
        (SELECT string_agg(conname || ' ' || pg_get_constraintdef(c.oid), ', ' ORDER BY conname) FROM pg_constraint c WHERE contypid = t.oid))
    FROM pg_type t JOIN member m ON m.objid = t.oid AND m.classid = 'pg_type'::regclass
    UNION ALL
    SELECT 'extension', 'dumped with its rows', c.oid::regclass || ' ' || f.condition
    FROM extension e, LATERAL unnest(e.extconfig, e.extcondition) f (oid, condition) JOIN pg_class c ON c.oid = f.oid
    UNION ALL
    SELECT 'extension', 'settings', concat_ws(' ', extnamespace::regnamespace, extowner::regrole, extrelocatable) FROM extension
    UNION ALL
    SELECT 'extension', 'requires', r.extname FROM pg_depend d JOIN pg_extension r ON r.oid = d.refobjid
    WHERE d.classid = 'pg_extension'::regclass AND d.objid = (SELECT oid FROM extension) AND d.refclassid = 'pg_extension'::regclass
    UNION ALL
    -- What lies in its schema without being its own, so would be dumped beside it.
    SELECT i.type || ' ' || i.identity, 'STRAY', 'lies in the schema, but does not belong to the extension'
    FROM (SELECT 'pg_class'::regclass AS classid, oid, relnamespace AS schema FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
          UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc
          UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace FROM pg_type WHERE typtype IN ('d', 'e', 'r', 'b') AND typelem = 0
          UNION ALL SELECT 'pg_operator'::regclass, oid, oprnamespace FROM pg_operator
          UNION ALL SELECT 'pg_opclass'::regclass, oid, opcnamespace FROM pg_opclass
          UNION ALL SELECT 'pg_collation'::regclass, oid, collnamespace FROM pg_collation) o, pg_identify_object(o.classid, o.oid, 0) i
    WHERE o.schema = (SELECT extnamespace FROM extension) AND (o.classid, o.oid) NOT IN (SELECT classid, objid FROM member)
) fact (object, property, value)
WHERE value IS NOT NULL
ORDER BY object COLLATE "C", property COLLATE "C", value COLLATE "C";
