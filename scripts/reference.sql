-- docs/reference.md, from the catalogue of a server with the extension. Run by scripts/reference, which sets :codes to the
-- SQLSTATEs that the sources raise. Fails where something has no comment, no chapter, or no line in the table of errors.
\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
SELECT set_config('reference.codes', :'codes', false) \g /dev/null
LOAD 'credit_pools'; -- its settings
BEGIN; -- for the temporary tables; the database is not used again
SET LOCAL client_min_messages = error;

-- The first word of a function's comment is its chapter. What stands in a chapter's second column goes below its heading.
CREATE TEMPORARY TABLE chapter (place serial, name text, more text);
INSERT INTO chapter (name, more) VALUES
    ('Catalogue', 'What is sold, and what a unit costs. Upserts: calling again with the same values changes nothing (`changed` is false). See [Credits through time](plans.md), [Rates](rates.md).'),
    ('Subscriptions', 'See [Credits through time](plans.md).'),
    ('Pools', 'Pools open by themselves with a subscription or a first grant; these are for what goes beyond it.'),
    ('Grants', 'Credits in, moved, changed and taken back.'),
    ('Usage', 'See [Every way to charge](charging.md).'),
    ('Holds', 'See [Holds](charging.md#holds).'),
    ('Limits', 'See [Spending limits](charging.md#spending-limits).'),
    ('Metering', 'See [Tables that charge by themselves](charging.md#tables-that-charge-by-themselves).'),
    ('Recharge', 'See [Auto-recharge](recharge.md).'),
    ('Events', 'See [Events](events.md).'),
    ('Reading', 'Besides the [views](#views). See [Charts of usage](charts.md), [Credits through time](plans.md#at-any-instant).'),
    ('Proof', 'See [The ledger](ledger.md).'),
    ('Maintenance', 'See [Maintenance](plans.md#maintenance), [Growth](growth.md), [Operations](operations.md).'),
    ('Access', 'See [Security](security.md).');

CREATE TEMPORARY TABLE error (code text PRIMARY KEY, name text, at text, detail text);
INSERT INTO error VALUES
    ('PC001', 'insufficient_credits', 'not enough credits in that pool', '`pool_id, balance, required, shortfall, floor`'),
    ('PC002', 'unknown_entity', 'an unknown customer, resource, plan, subscription, feature, credit type, grant, usage, reservation, recharge, pool, policy', '`kind, id`'),
    ('PC003', 'no_active_subscription', 'usage by feature in a scope without an active subscription; HINT names the scopes that have one', '`customer_id, resource_id, at`'),
    ('PC004', 'idempotency_conflict', 'the same key or id with another payload', '`idempotency_key` or the id'),
    ('PC005', 'invalid_state', 'frozen, archived, closed, cancelled, another subscription in the way …', 'the state'),
    ('PC006', 'no_rate', 'the feature has no rate for that plan and time', '`feature_id, plan_id, at`'),
    ('PC007', 'limit_exceeded', 'a spending limit', '`limit, used, required, window_start, window_end, per, scope`'),
    ('22023', 'invalid_parameter', 'a bad value', '`argument`'),
    ('42501', 'insufficient_privilege', 'a change of the ledger; rows of others, asked for by a tenant; no right to call; CREATE EXTENSION where the schema is another''s', ''),
    ('40001', 'serialization_failure', 'a concurrent change at REPEATABLE READ or SERIALIZABLE; a key whose usage was being archived. Run the transaction again', ''),
    ('0A000', 'feature_not_supported', 'CREATE EXTENSION in a database whose encoding is not UTF8', '');

CREATE FUNCTION pg_temp.md(text) RETURNS text LANGUAGE sql AS $$
    SELECT replace(replace(replace(regexp_replace($1, '\s+', ' ', 'g'), '<', '&lt;'), '|', '\|'), '*', '\*')
$$;
CREATE FUNCTION pg_temp.type_name(oid) RETURNS text LANGUAGE sql AS $$
    SELECT replace(format_type($1, NULL), 'timestamp with time zone', 'timestamptz')
$$;

-- Which arguments a call cannot do without: it is called without any, and with what it asks for one after the other. What it
-- says in the end, where a choice of arguments is asked for. What calls look up is there, with the id 1.
SELECT FROM credit_pools.define_credit_type('1'), credit_pools.define_feature('1'), credit_pools.define_plan('1');
SELECT FROM credit_pools.define_rate(feature_id => '1', credit_type_id => '1', credits_per_unit => 1);
SELECT FROM credit_pools.provision_subscription(customer_id => '1', plan_id => '1', subscription_id => '1');
SELECT FROM credit_pools.open_pool(customer_id => '1', credit_type_id => '1');
SELECT FROM credit_pools.grant_credits(customer_id => '1', credit_type_id => '1', amount => 100);
SELECT FROM credit_pools.reserve_credits(customer_id => '1', reservation_id => '1', credit_type_id => '1', amount => 1);
SELECT FROM credit_pools.consume_credits(customer_id => '1', credit_type_id => '1', amount => 1);
SELECT FROM credit_pools.set_auto_recharge(customer_id => '1', credit_type_id => '1', threshold => 100, recharge_amount => 1);
CREATE FUNCTION pg_temp.required(f oid, OUT arguments text[], OUT choice text) LANGUAGE plpgsql AS $$
DECLARE
    routine pg_proc := (SELECT p FROM pg_proc p WHERE p.oid = f);
    given text[] := '{}';
    list text;
    message text;
    detail text;
    argument text;
BEGIN
    arguments := '{}';
    LOOP
        SELECT string_agg(format('%I => %s', a.name, CASE format_type(a.type, NULL)
                WHEN 'jsonb' THEN '''[]''' WHEN 'regclass' THEN '''pg_class''' WHEN 'interval' THEN '''1 hour'''
                WHEN 'timestamp with time zone' THEN '''2026-01-01''' WHEN 'numeric' THEN a.place::text ELSE '''1''' END), ', ')
        INTO list
        FROM unnest(routine.proargnames[1:routine.pronargs], routine.proargtypes::oid[]) WITH ORDINALITY a (name, type, place)
        WHERE a.name = ANY (given);
        BEGIN
            EXECUTE format('%s %s(%s)', CASE routine.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, f::regproc, list);
            RETURN;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
        END;
        IF message !~ ' required$' THEN RETURN; END IF;
        argument := detail::jsonb ->> 'argument';
        IF message <> argument || ' is required' THEN
            choice := message;
        ELSIF choice !~ ('\m' || argument || '\M') IS NOT FALSE THEN
            arguments := arguments || argument;
        END IF;
        IF argument = ANY (given) THEN RETURN; END IF;
        given := given || argument;
    END LOOP;
END
$$;

CREATE TEMPORARY VIEW routine AS
SELECT p.oid, p.proname::text AS name, p.prokind, p.provolatile,
       substring(obj_description(p.oid, 'pg_proc') FROM '^\w+') AS chapter,
       regexp_replace(obj_description(p.oid, 'pg_proc'), '^\w+[:, ]*', '') AS comment
FROM pg_proc p
WHERE p.pronamespace = 'credit_pools'::regnamespace;

CREATE TEMPORARY VIEW relation AS
SELECT c.oid, c.relname::text AS name, c.relkind, obj_description(c.oid, 'pg_class') AS comment
FROM pg_class c
WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind IN ('r', 'v', 'c');

CREATE TEMPORARY VIEW column_of AS
SELECT r.oid, r.relkind, a.attnum, a.attname::text AS name, pg_temp.type_name(a.atttypid) AS type, col_description(r.oid, a.attnum) AS comment
FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped;

CREATE TEMPORARY VIEW type_of AS
SELECT t.oid, t.typname::text AS name, t.typtype, t.typrelid, t.typbasetype, obj_description(t.oid, 'pg_type') AS comment
FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE t.typnamespace = 'credit_pools'::regnamespace AND (t.typtype = 'd' OR c.relkind = 'c');

DO $$
DECLARE
    bad text;
BEGIN
    SELECT string_agg(x.what, '; ') INTO bad FROM (
        SELECT r.name || ' has no comment' FROM routine r WHERE r.comment IS NULL
        UNION ALL SELECT r.name || ' is in no chapter: ' || r.chapter FROM routine r
        WHERE r.chapter <> 'Internal' AND r.chapter NOT IN (SELECT c.name FROM chapter c)
        UNION ALL SELECT r.name || ' has no comment' FROM relation r WHERE r.comment IS NULL AND r.relkind <> 'c'
        UNION ALL SELECT t.name || ' has no comment' FROM type_of t WHERE t.comment IS NULL
        UNION ALL SELECT r.name || '.' || c.name || ' has no comment' FROM column_of c JOIN relation r USING (oid)
        WHERE r.relkind = 'v' AND c.comment IS NULL
        UNION ALL SELECT format('%s is not in the table of errors', code)
        FROM regexp_split_to_table(current_setting('reference.codes'), '\s+') code
        WHERE code NOT IN (SELECT e.code FROM error e)
        UNION ALL SELECT e.code || ' is raised nowhere' FROM error e
        WHERE e.code <> ALL (regexp_split_to_array(current_setting('reference.codes'), '\s+'))) x (what);
    IF bad IS NOT NULL THEN RAISE EXCEPTION 'reference: %', bad; END IF;
END
$$;

\echo '# Reference'
\echo
\echo 'Made by `make reference` from the comments in the catalogue; do not edit it here. `\\df+ credit_pools.*` and `\\d+ credit_pools.pools` say the same in psql.'
\echo
SELECT 'Functions: ' || string_agg(format('[%s](#functions-%s)', c.name, lower(c.name)), ', ' ORDER BY c.place)
    || '. [Views](#views), [types](#types), [settings](#settings), [errors](#errors), [tables](#tables).'
FROM chapter c;
\echo
\echo 'All calls work with named notation (`customer_id => ''…''`). An argument without a default may be left out, or is required. Amounts are in credits of the credit type, at its scale; times are `timestamptz`, intervals as PostgreSQL writes them. '
\echo '`resource_id` NULL is the customer''s global pool. Who may call: the levels that [`grant_access`](#grant_access) gives; `admin` may call everything.'
SELECT E'\n## Functions: ' || c.name || E'\n\n' || c.more || string_agg(
    E'\n\n### ' || r.name || E'\n\n'
    || CASE r.prokind WHEN 'p' THEN 'Procedure, for CALL. ' ELSE '' END
    || pg_temp.md(r.comment) || CASE WHEN r.comment ~ '[.)]$' THEN '' ELSE '.' END || E'\n\n'
    || COALESCE(E'| argument | type | default |\n|---|---|---|\n' || a.list || E'\n\n', '')
    || COALESCE('Also ' || q.choice || E'.\n\n', '')
    || COALESCE('Gives ' || o.list || E'.\n\n', '')
    || 'Level ' || l.list || CASE r.provolatile WHEN 'v' THEN '; volatile' WHEN 's' THEN '; stable' ELSE '; immutable' END || '.',
    '' ORDER BY r.name)
FROM chapter c JOIN routine r ON r.chapter = c.name JOIN pg_proc p ON p.oid = r.oid
CROSS JOIN LATERAL pg_temp.required(r.oid) q
CROSS JOIN LATERAL (
    SELECT string_agg(format('| `%s` | %s | %s |', i.name, pg_temp.type_name(i.type), CASE
            WHEN i.name = ANY (q.arguments) THEN 'required'
            ELSE COALESCE('`' || regexp_replace(NULLIF(pg_get_function_arg_default(p.oid, i.place::int), 'NULL::' || format_type(i.type, NULL)), '::[a-z ]+$', '') || '`', '') END),
        E'\n' ORDER BY i.place) AS list
    FROM unnest(p.proargnames[1:p.pronargs], p.proargtypes::oid[]) WITH ORDINALITY i (name, type, place)) a
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN p.prokind = 'p' OR p.prorettype = 'void'::regtype THEN NULL
        WHEN p.proallargtypes IS NOT NULL THEN (
            SELECT string_agg(format('`%s` %s', i.name, pg_temp.type_name(i.type)), ', ' ORDER BY i.place)
            FROM unnest(p.proargnames, p.proallargtypes, p.proargmodes) WITH ORDINALITY i (name, type, mode, place) WHERE i.mode IN ('t', 'o'))
        WHEN p.prorettype IN (SELECT t.oid FROM type_of t WHERE t.typtype = 'c') THEN (
            SELECT format('one [%s](#%s): ', t.name, t.name) || string_agg(format('`%s` %s', k.name, k.type), ', ' ORDER BY k.attnum)
            FROM type_of t JOIN column_of k ON k.oid = t.typrelid WHERE t.oid = p.prorettype GROUP BY t.name)
        ELSE CASE WHEN p.proretset THEN 'rows of ' ELSE 'one ' END || pg_temp.type_name(p.prorettype) END AS list) o
CROSS JOIN LATERAL (
    SELECT string_agg(v.level, ', ' ORDER BY v.place) AS list
    FROM unnest('{meter, reader, app, admin, tenant}'::text[]) WITH ORDINALITY v (level, place), LATERAL credit_pools.objects_of_level(v.level) b
    WHERE r.name = ANY (b.routines)) l
GROUP BY c.place, c.name, c.more
ORDER BY c.place;
SELECT E'\nOf the inside, not to be called: ' || string_agg(format('`%s`', r.name), ', ' ORDER BY r.name) || '.' FROM routine r WHERE r.chapter = 'Internal';

\echo
\echo '## Views'
SELECT E'\n### ' || r.name || E'\n\n' || pg_temp.md(r.comment) || CASE WHEN r.comment ~ '\.$' THEN '' ELSE '.' END
    || ' Level ' || (
        SELECT string_agg(v.level, ', ' ORDER BY v.place)
        FROM unnest('{meter, reader, app, admin, tenant}'::text[]) WITH ORDINALITY v (level, place), LATERAL credit_pools.objects_of_level(v.level) b
        WHERE r.name = ANY (b.relations)) || E'.\n\n| column | type | |\n|---|---|---|\n'
    || string_agg(format('| `%s` | %s | %s |', k.name, k.type, pg_temp.md(k.comment)), E'\n' ORDER BY k.attnum)
FROM relation r JOIN column_of k USING (oid)
WHERE r.relkind = 'v'
GROUP BY r.oid, r.name, r.comment
ORDER BY r.name;

\echo
\echo '## Types'
SELECT E'\n### ' || t.name || E'\n\n' || pg_temp.md(t.comment) || '. ' || COALESCE(
    (SELECT string_agg(format('`%s` %s', k.name, k.type), ', ' ORDER BY k.attnum) FROM column_of k WHERE k.oid = t.typrelid),
    'A domain over ' || pg_temp.type_name(t.typbasetype)) || '.'
FROM type_of t ORDER BY t.name;

\echo
\echo '## Settings'
\echo
\echo 'Set in `postgresql.conf`, or by `ALTER DATABASE … SET` and `SET` where the third column allows it. A name under `credit_pools.` that is not here is refused once the library is loaded.'
\echo
\echo '| setting | default | who may set it | |'
\echo '|---|---|---|---|'
SELECT format('| `%s` | %s | %s | %s %s |', s.name,
    CASE WHEN s.boot_val IS NULL OR s.boot_val = '' THEN 'empty' ELSE format('`%s`', s.boot_val || COALESCE(' ' || s.unit, '')) END
        || CASE WHEN s.vartype = 'integer' THEN format(' (%s to %s)', s.min_val, s.max_val) ELSE '' END,
    CASE s.context WHEN 'user' THEN 'everybody' WHEN 'superuser' THEN 'a superuser' WHEN 'sighup' THEN 'the configuration, read again on reload'
        WHEN 'postmaster' THEN 'the configuration, at a restart' ELSE s.context END,
    pg_temp.md(s.short_desc), pg_temp.md(s.extra_desc))
FROM pg_settings s WHERE s.name LIKE 'credit_pools.%' ORDER BY s.name;

\echo
\echo '## Errors'
\echo
\echo 'The message says what, DETAIL is one JSON object with the figures, HINT says what to do. A refused call changes nothing.'
\echo
\echo '| SQLSTATE | name | when | DETAIL has |'
\echo '|---|---|---|---|'
SELECT format('| %s | `%s` | %s | %s |', e.code, e.name, e.at, e.detail) FROM error e ORDER BY e.code !~ '^PC', e.code;
\echo
\echo 'DETAIL of an event of a batch also has its `index`, of a row of a metered table `row` and `table`, both from 0. PostgreSQL''s own codes stay: 25006 in a read-only transaction and on a standby, '
\echo '40P01 for a deadlock, 57014 for a cancelled call.'

\echo
\echo '## Tables'
\echo
\echo 'Behind the views. No level has any right on them; functions write them.'
\echo
\echo '| table | |'
\echo '|---|---|'
SELECT format('| `%s` | %s |', r.name, pg_temp.md(r.comment)) FROM relation r WHERE r.relkind = 'r' ORDER BY r.name;
ROLLBACK;
