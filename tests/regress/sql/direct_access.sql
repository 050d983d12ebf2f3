-- credit_pools.direct_access: usage with and without the executor leaves the same results and the same rows, and a table that somebody has changed is gone to through the executor.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM (VALUES ('run'), ('chat')) v (f), LATERAL credit_pools.define_feature(feature_id => f);
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 300, cadence => '1 week');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1.25);
SELECT FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'credits', credits_per_unit => 0.333);
CREATE FUNCTION twin(twin text) RETURNS void LANGUAGE sql AS $f$
    SELECT credit_pools.provision_subscription(customer_id => twin, plan_id => 'basic', resource_id => 'p' || i) FROM generate_series(0, 3) i;
    SELECT credit_pools.provision_subscription(customer_id => twin, plan_id => 'basic');
    SELECT credit_pools.set_pool(customer_id => twin, credit_type_id => 'credits', resource_id => 'p1', overdraft_limit => 50);
    SELECT credit_pools.grant_credits(customer_id => twin, credit_type_id => 'credits', resource_id => r, amount => a, priority => p, feature_ids => f, effective_at => s, expires_at => e)
      FROM (VALUES ('p0', 60, 10, NULL, NULL, timestamptz '2026-03-11 00:00+00'), ('p0', 400.5, 50, '{chat}'::text[], NULL, NULL), ('p0', 30, 5, '{run}', timestamptz '2026-03-11 12:00+00', NULL), ('p0', 1000, 50, NULL, NULL, NULL),
        ('p1', 70, 50, NULL, timestamptz '2026-03-12 00:00+00', NULL), ('p2', 10, 50, NULL, NULL, timestamptz '2026-03-11 18:00+00'), (NULL, 5000, 50, NULL, NULL, NULL)) v (r, a, p, f, s, e);
    SELECT credit_pools.set_limit(customer_id => twin, credit_type_id => 'credits', resource_id => 'p3', amount => 190, per => '1 day');
    SELECT credit_pools.set_auto_recharge(customer_id => twin, credit_type_id => 'credits', resource_id => 'p2', threshold => 40, recharge_amount => 75, settlement => 'immediate', max_count => 5, price_per_credit => 0.01, price_currency => 'EUR');
    SELECT credit_pools.set_balance_alerts(customer_id => twin, credit_type_id => 'credits', thresholds => '{150}')
$f$;
SELECT FROM (VALUES ('direct'), ('stated')) v (t), LATERAL twin(t);
CREATE TABLE result (twin text, n int, credits numeric, shortfall numeric, balance numeric, is_duplicate boolean, error text);
-- Each event for both: by the setting on for the one, off for the other. Every seventh repeats the key of one before.
CREATE FUNCTION play() RETURNS void LANGUAGE plpgsql AS $f$
DECLARE t text; r record;
BEGIN
    FOR n IN 0 .. 599 LOOP
        PERFORM set_config('credit_pools.test_clock', ('2026-03-10 00:00+00'::timestamptz + n * interval '10 minutes')::text, false);
        FOREACH t IN ARRAY ARRAY['direct', 'stated'] LOOP
            PERFORM set_config('credit_pools.direct_access', CASE t WHEN 'direct' THEN 'on' ELSE 'off' END, false);
            BEGIN
                IF n % 10 = 9 THEN
                    SELECT * INTO r FROM credit_pools.consume_credits(customer_id => t, resource_id => 'p' || n % 90 % 4, credit_type_id => 'credits', amount => 0.25 + n % 90 % 7, idempotency_key => 'c' || n % 90);
                ELSE
                    SELECT * INTO r FROM credit_pools.report_usage(customer_id => t, resource_id => CASE WHEN n % 5 < 4 THEN 'p' || n % 5 END, feature_id => CASE n % 3 WHEN 0 THEN 'chat' ELSE 'run' END,
                        value => round(1 + n * 31 % 23 / 3.0, 3), on_insufficient => CASE n % 4 WHEN 0 THEN 'cap' ELSE 'reject' END, idempotency_key => CASE WHEN n % 2 = 0 THEN 'k' || CASE WHEN n % 7 = 0 THEN n - 60 ELSE n END END,
                        dimensions => CASE WHEN n % 6 = 0 THEN '{"model": "large", "n": 1.50}'::jsonb END, metadata => CASE WHEN n % 8 = 0 THEN jsonb_build_object('text', repeat('long ', 1000)) END);
                END IF;
                INSERT INTO result VALUES (t, n, r.credits_consumed, r.shortfall, r.balance, r.is_duplicate);
            EXCEPTION WHEN OTHERS THEN
                INSERT INTO result VALUES (t, n, NULL, NULL, NULL, NULL, SQLSTATE || ' ' || SQLERRM);
            END;
        END LOOP;
    END LOOP;
END $f$;
SELECT play();
RESET credit_pools.direct_access;
SELECT count(*) FILTER (WHERE a.error IS NULL AND NOT a.is_duplicate) > 300 AS charged, count(*) FILTER (WHERE a.is_duplicate) > 5 AS repeated, count(*) FILTER (WHERE a.error LIKE 'PC001%') > 5 AS refused, count(*) FILTER (WHERE a.error LIKE 'PC004%') > 5 AS conflicts,
       count(*) FILTER (WHERE (a.credits, a.shortfall, a.balance, a.is_duplicate, a.error) IS DISTINCT FROM (b.credits, b.shortfall, b.balance, b.is_duplicate, b.error)) AS otherwise
FROM result a JOIN result b USING (n) WHERE a.twin = 'direct' AND b.twin = 'stated';
-- The same rows, but for ids, and for what names the twin: its id and the hashes.
CREATE FUNCTION written_of(t text) RETURNS SETOF text LANGUAGE sql AS $f$
    SELECT 'ledger ' || (to_jsonb(l) - '{customer_id,pool_id,grant_id,usage_id,recharge_id,entry_hash}'::text[])::text FROM credit_pools.ledger l WHERE customer_id = t
    UNION ALL SELECT 'grant ' || (to_jsonb(g) - '{customer_id,pool_id,grant_id,subscription_id,recharge_id}'::text[])::text FROM credit_pools.grants g WHERE customer_id = t
    UNION ALL SELECT 'pool ' || (to_jsonb(p) - '{customer_id,pool_id}'::text[])::text FROM credit_pools.pools p WHERE customer_id = t
    UNION ALL SELECT 'usage ' || (to_jsonb(u) - '{customer_id,pool_id,usage_id}'::text[])::text FROM credit_pools.usage_events u WHERE customer_id = t
    UNION ALL SELECT 'row ' || (to_jsonb(p) - '{customer_id,pool_id,last_hash,scope_revision,grants_revision,last_recharge_id}'::text[])::text FROM credit_pools.pool p WHERE customer_id = t
$f$;
SELECT count(*) AS otherwise FROM (SELECT written_of('direct') EXCEPT ALL SELECT written_of('stated')) x;
SELECT count(*) AS otherwise FROM (SELECT written_of('stated') EXCEPT ALL SELECT written_of('direct')) x;
SELECT * FROM credit_pools.verify_ledger();
-- Every index has what the tables have.
CREATE EXTENSION amcheck;
SELECT count(*) AS checked FROM (SELECT bt_index_check(i.indexrelid, true) FROM pg_index i WHERE i.indrelid IN ('credit_pools.pool'::regclass, 'credit_pools.pool_grant'::regclass, 'credit_pools.ledger_entry'::regclass)) x;
-- Whether a usage goes around the executor shows in the scans of pool: one look, or another one for its update.
CREATE FUNCTION is_direct(t text) RETURNS boolean LANGUAGE plpgsql AS $f$
DECLARE before bigint;
BEGIN
    SELECT pg_stat_get_xact_numscans('credit_pools.pool_by_resource'::regclass) + pg_stat_get_xact_numscans('credit_pools.pool_pkey'::regclass) INTO before;
    PERFORM credit_pools.report_usage(customer_id => t, feature_id => 'run', value => 1);
    RETURN pg_stat_get_xact_numscans('credit_pools.pool_by_resource'::regclass) + pg_stat_get_xact_numscans('credit_pools.pool_pkey'::regclass) = before;
END $f$;
SELECT is_direct('direct') AS "on";
SET credit_pools.direct_access = off;
SELECT is_direct('direct') AS "off";
RESET credit_pools.direct_access;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT is_direct('direct') AS repeatable_read;
COMMIT;
-- Whatever somebody adds to a table is done by the executor.
CREATE TABLE seen (what text);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN INSERT INTO public.seen VALUES (TG_TABLE_NAME || ' ' || TG_OP); RETURN NEW; END $f$;
CREATE TRIGGER of_somebody AFTER INSERT ON credit_pools.ledger_entry FOR EACH ROW EXECUTE FUNCTION see();
SELECT is_direct('direct') AS trigger_on_ledger;
DROP TRIGGER of_somebody ON credit_pools.ledger_entry;
SELECT is_direct('direct') AS "on";
CREATE TRIGGER of_somebody BEFORE UPDATE ON credit_pools.pool_grant FOR EACH ROW EXECUTE FUNCTION see();
SELECT is_direct('direct') AS trigger_on_grant;
DROP TRIGGER of_somebody ON credit_pools.pool_grant;
CREATE TRIGGER of_somebody AFTER UPDATE ON credit_pools.pool FOR EACH STATEMENT EXECUTE FUNCTION see();
SELECT is_direct('direct') AS trigger_on_pool;
DROP TRIGGER of_somebody ON credit_pools.pool;
SELECT what, count(*) FROM seen GROUP BY what ORDER BY what;
CREATE INDEX of_somebody ON credit_pools.ledger_entry (recorded_at);
SELECT is_direct('direct') AS index_on_ledger;
SET enable_seqscan = off;
SELECT count(*) FROM credit_pools.ledger_entry WHERE recorded_at = (SELECT max(recorded_at) FROM credit_pools.ledger_entry) AND usage_id = (SELECT max(usage_id) FROM credit_pools.ledger_entry);
RESET enable_seqscan;
DROP INDEX credit_pools.of_somebody;
-- An index on the columns that usage changes takes the new version, directly too.
CREATE INDEX of_somebody ON credit_pools.pool (balance);
SELECT is_direct('direct') AS index_on_pool;
SELECT bt_index_check('credit_pools.of_somebody', true);
DROP INDEX credit_pools.of_somebody;
ALTER TABLE credit_pools.ledger_entry ADD CONSTRAINT of_somebody CHECK (amount < 0 OR usage_id IS NULL OR entry_type <> 'consume' OR amount = 0) NOT VALID;
SELECT is_direct('direct') AS check_on_ledger;
ALTER TABLE credit_pools.ledger_entry DROP CONSTRAINT of_somebody;
ALTER TABLE credit_pools.pool REPLICA IDENTITY FULL;
SELECT is_direct('direct') AS replica_identity;
ALTER TABLE credit_pools.pool REPLICA IDENTITY DEFAULT;
-- Rolled back, nothing is left; the key is free again, also after an error behind the usage.
BEGIN;
SELECT is_duplicate FROM credit_pools.report_usage(customer_id => 'direct', feature_id => 'run', value => 1, idempotency_key => 'again');
SAVEPOINT s;
SELECT is_duplicate FROM credit_pools.report_usage(customer_id => 'direct', feature_id => 'run', value => 1, idempotency_key => 'twice');
ROLLBACK TO s;
SELECT is_duplicate FROM credit_pools.report_usage(customer_id => 'direct', feature_id => 'run', value => 1, idempotency_key => 'twice');
SELECT is_duplicate FROM credit_pools.report_usage(customer_id => 'direct', feature_id => 'run', value => 1, idempotency_key => 'again');
ROLLBACK;
SELECT is_duplicate FROM credit_pools.report_usage(customer_id => 'direct', feature_id => 'run', value => 1, idempotency_key => 'again');
-- Several in one statement see each other, in the same pool too.
SELECT count(DISTINCT u.balance) AS balances, count(*) FILTER (WHERE u.is_duplicate) AS repeated FROM generate_series(1, 20) n, LATERAL credit_pools.report_usage(customer_id => 'direct', feature_id => 'run', value => 1, idempotency_key => 'many-' || n % 15) u;
SELECT count(*) FROM credit_pools.verify_ledger();
