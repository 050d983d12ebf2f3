-- The archive is append-only, for its owner and superusers, too, and nobody but archive_ledger takes rows out of the ledger; verify_ledger tells what was done to it all the same.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 100);
SELECT FROM generate_series(1, 8) n, LATERAL credit_pools.consume_credits(customer_id => 'acme', credit_type_id => 'credits', amount => n, idempotency_key => 'k' || n);
SET credit_pools.test_clock = '2026-03-02 00:00+00';
SELECT FROM credit_pools.archive_ledger(before => '2026-03-02 00:00+00', max_rows => 3);
SELECT ledger_rows, keys FROM credit_pools.archive_ledger(before => '2026-03-02 00:00+00', max_rows => 4);
SELECT * FROM credit_pools.verify_ledger();

SELECT n, e.* FROM (VALUES
    (1, $$UPDATE credit_pools.ledger_archive SET amount = 1000$$),
    (2, $$DELETE FROM credit_pools.ledger_archive$$),
    (3, $$TRUNCATE credit_pools.ledger_archive$$),
    (4, $$DELETE FROM credit_pools.archived_usage WHERE idempotency_key = 'k1'$$),
    (5, $$UPDATE credit_pools.archived_usage SET payload_digest = 0$$),
    (6, $$TRUNCATE credit_pools.archived_usage$$),
    (7, $$UPDATE credit_pools.ledger_archive_head SET up_to_seq = 2$$),
    (8, $$DELETE FROM credit_pools.ledger_archive_head$$),
    (9, $$TRUNCATE credit_pools.ledger_archive_head$$),
    (10, $$DELETE FROM credit_pools.ledger_entry$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
SET session_replication_role = replica;
SELECT n, e.sqlstate FROM (VALUES
    (1, $$DELETE FROM credit_pools.ledger_archive$$),
    (2, $$DELETE FROM credit_pools.ledger_entry$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
RESET session_replication_role;

-- Right after rows have moved, and after it failed half way, nobody else's DELETE passes.
SELECT ledger_rows FROM credit_pools.archive_ledger(before => '2026-03-02 00:00+00', max_rows => 1);
SELECT sqlstate FROM expect_error($$DELETE FROM credit_pools.ledger_entry$$);
CREATE FUNCTION public.get_in_the_way() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RAISE EXCEPTION 'no'; END $f$;
CREATE TRIGGER get_in_the_way BEFORE INSERT ON credit_pools.ledger_archive FOR EACH ROW EXECUTE FUNCTION public.get_in_the_way();
SELECT sqlstate FROM expect_error($$SELECT * FROM credit_pools.archive_ledger(before => '2026-03-02 00:00+00', max_rows => 1)$$);
SELECT sqlstate FROM expect_error($$DELETE FROM credit_pools.ledger_entry$$);
-- A trigger of somebody's that keeps rows back, or deletes others meanwhile, is found out.
CREATE OR REPLACE FUNCTION public.get_in_the_way() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RETURN NULL; END $f$;
SELECT sqlstate, message FROM expect_error($$SELECT * FROM credit_pools.archive_ledger(before => '2026-03-02 00:00+00', max_rows => 1)$$);
DROP TRIGGER get_in_the_way ON credit_pools.ledger_archive;
CREATE TRIGGER get_in_the_way BEFORE DELETE ON credit_pools.ledger_entry FOR EACH ROW EXECUTE FUNCTION public.get_in_the_way();
SELECT sqlstate, message FROM expect_error($$SELECT * FROM credit_pools.archive_ledger(before => '2026-03-02 00:00+00', max_rows => 1)$$);
CREATE OR REPLACE FUNCTION public.get_in_the_way() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN DELETE FROM credit_pools.ledger_entry WHERE seq > OLD.seq; RETURN OLD; END $f$;
SELECT sqlstate FROM expect_error($$SELECT * FROM credit_pools.archive_ledger(before => '2026-03-02 00:00+00', max_rows => 1)$$);
DROP TRIGGER get_in_the_way ON credit_pools.ledger_entry;
SELECT * FROM credit_pools.verify_ledger();

-- Somebody with the rights of the owner does it anyway.
CREATE FUNCTION public.told(what text) RETURNS TABLE (seq bigint, problem text, detail jsonb) LANGUAGE plpgsql AS $f$
BEGIN
    ALTER TABLE credit_pools.ledger_entry DISABLE TRIGGER USER;
    ALTER TABLE credit_pools.ledger_archive DISABLE TRIGGER USER;
    ALTER TABLE credit_pools.ledger_archive_head DISABLE TRIGGER USER;
    ALTER TABLE credit_pools.archived_usage DISABLE TRIGGER USER;
    EXECUTE what;
    RETURN QUERY SELECT v.seq, v.problem, v.detail - 'entry_hash' - 'ledger' FROM credit_pools.verify_ledger() v;
    ALTER TABLE credit_pools.ledger_entry ENABLE ALWAYS TRIGGER ledger_entry_append_only;
END $f$;
BEGIN; SELECT * FROM told($$SELECT$$); ROLLBACK;
BEGIN; SELECT * FROM told($$UPDATE credit_pools.ledger_archive SET reason = 'nicer' WHERE seq = 3$$); ROLLBACK;
BEGIN; SELECT * FROM told($$UPDATE credit_pools.ledger_archive SET amount = -20 WHERE seq = 3$$); ROLLBACK;
BEGIN; SELECT * FROM told($$DELETE FROM credit_pools.ledger_archive WHERE seq = 5$$); ROLLBACK;
BEGIN; SELECT * FROM told($$DELETE FROM credit_pools.ledger_archive WHERE seq = 8$$); ROLLBACK;
BEGIN; SELECT DISTINCT problem FROM told($$DELETE FROM credit_pools.ledger_archive$$) ORDER BY 1; ROLLBACK;
BEGIN; SELECT * FROM told($$INSERT INTO credit_pools.ledger_archive SELECT * FROM credit_pools.ledger_entry WHERE seq = 9$$); ROLLBACK;
BEGIN; SELECT * FROM told($$WITH gone AS (DELETE FROM credit_pools.ledger_entry WHERE seq = 9 RETURNING *) INSERT INTO credit_pools.ledger_archive SELECT * FROM gone$$); ROLLBACK;
BEGIN; SELECT * FROM told($$UPDATE credit_pools.ledger_archive_head SET entry_hash = sha256('x') WHERE up_to_seq = 3$$); ROLLBACK;
BEGIN; SELECT * FROM told($$UPDATE credit_pools.ledger_archive_head SET up_to_seq = 4 WHERE up_to_seq = 8$$); ROLLBACK;
BEGIN; SELECT * FROM told($$UPDATE credit_pools.ledger_archive_head SET up_to_seq = 80 WHERE up_to_seq = 3$$); ROLLBACK;
BEGIN; SELECT * FROM told($$DELETE FROM credit_pools.archived_usage WHERE idempotency_key = 'k2'$$); ROLLBACK;
BEGIN; SELECT * FROM told($$UPDATE credit_pools.archived_usage SET payload_digest = 0 WHERE idempotency_key = 'k2'$$); ROLLBACK;
BEGIN; SELECT * FROM told($$UPDATE credit_pools.archived_usage SET idempotency_key = 'other' WHERE idempotency_key = 'k2'$$); ROLLBACK;
BEGIN; SELECT problem, detail - 'usage_id' AS detail FROM told($$UPDATE credit_pools.archived_usage SET usage_id = 1000 WHERE idempotency_key = 'k2'$$); ROLLBACK;
BEGIN; SELECT problem, detail FROM told($$DELETE FROM credit_pools.pool$$) ORDER BY detail::text; ROLLBACK;
SELECT * FROM ledger_problems();
