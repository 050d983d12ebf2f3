-- The ledger refuses UPDATE, DELETE and TRUNCATE from everyone, the owner and superusers included (contract section 9).
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 100);
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 10);

-- We are the owner, and a superuser.
SELECT pg_get_userbyid(relowner) = current_user AS owner, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser FROM pg_class WHERE oid = 'credit_pools.ledger_entry'::regclass;
SELECT n, e.* FROM (VALUES
    (1, $$UPDATE credit_pools.ledger_entry SET amount = 1000$$),
    (2, $$UPDATE credit_pools.ledger_entry SET reason = 'nicer'$$),
    (3, $$DELETE FROM credit_pools.ledger_entry$$),
    (4, $$TRUNCATE credit_pools.ledger_entry$$),
    (5, $$TRUNCATE credit_pools.ledger_entry CASCADE$$),
    (6, $$DELETE FROM credit_pools.ledger_entry WHERE seq = 3$$),
    (7, $$MERGE INTO credit_pools.ledger_entry l USING (SELECT 1) x ON l.seq = 3 WHEN MATCHED THEN DELETE$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
-- The view over it cannot be written either, by whichever error.
SELECT n, e.sqlstate <> '00000' AS refused, e.world FROM (VALUES
    (1, $$UPDATE credit_pools.ledger SET reason = 'nicer'$$),
    (2, $$DELETE FROM credit_pools.ledger$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
-- No deletion elsewhere takes its rows along: what a superuser may do to the other tables leaves the ledger as it is.
DO $$
DECLARE
    before bigint := (SELECT count(*) FROM credit_pools.ledger_entry);
    statement text;
BEGIN
    FOREACH statement IN ARRAY ARRAY['DELETE FROM credit_pools.pool', 'TRUNCATE credit_pools.pool CASCADE', 'DELETE FROM credit_pools.customer', 'TRUNCATE credit_pools.customer CASCADE'] LOOP
        BEGIN
            EXECUTE statement;
            IF (SELECT count(*) FROM credit_pools.ledger_entry) <> before THEN
                RAISE WARNING 'the ledger lost rows by: %', statement;
            END IF;
            RAISE EXCEPTION 'undo';
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
END $$;
-- Nor in a session that plays the replica, where ordinary triggers sleep.
SET session_replication_role = replica;
SELECT n, e.* FROM (VALUES
    (1, $$UPDATE credit_pools.ledger_entry SET amount = 1000$$),
    (2, $$DELETE FROM credit_pools.ledger_entry$$),
    (3, $$TRUNCATE credit_pools.ledger_entry$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
RESET session_replication_role;
-- An owner without superuser rights: the same.
CREATE ROLE regress_credit_pools_owner;
GRANT USAGE ON SCHEMA credit_pools, public TO regress_credit_pools_owner;
BEGIN;
ALTER TABLE credit_pools.ledger_entry OWNER TO regress_credit_pools_owner;
SET LOCAL ROLE regress_credit_pools_owner;
SELECT n, e.sqlstate, e.world FROM (VALUES
    (1, $$UPDATE credit_pools.ledger_entry SET amount = 1000$$),
    (2, $$DELETE FROM credit_pools.ledger_entry$$),
    (3, $$TRUNCATE credit_pools.ledger_entry$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
ROLLBACK;
REVOKE USAGE ON SCHEMA credit_pools, public FROM regress_credit_pools_owner;
DROP ROLE regress_credit_pools_owner;

SELECT * FROM ledger_of('acme');
SELECT * FROM ledger_problems();
