-- The archive in batches that each commit, so that no pool is locked for longer than its batch takes. What was passed over
-- because it was locked is gone back to: the first pool of a batch is waited for. A procedure that commits may have no SET
-- clause: every name and operator is written with its schema instead.
CREATE PROCEDURE credit_pools.archive(
    before pg_catalog.timestamptz DEFAULT NULL,
    customer_id pg_catalog.text DEFAULT NULL,
    batch_rows pg_catalog.int4 DEFAULT 50000,
    max_batches pg_catalog.int4 DEFAULT NULL)
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    done pg_catalog.record;
    last_customer pg_catalog.text;
    last_pool pg_catalog.int8;
    passed_over pg_catalog.int8 := 0;
    rows_in_all pg_catalog.int8 := 0;
    batches pg_catalog.int4 := 0;
BEGIN
    IF max_batches OPERATOR(pg_catalog.<) 1 THEN
        RAISE EXCEPTION 'max_batches must be 1 or more, or NULL for all that is old enough'
            USING ERRCODE = '22023', DETAIL = '{"argument":"max_batches"}',
                HINT = 'Correct the argument that DETAIL names.';
    END IF;
    LOOP
        SELECT a.* INTO done
        FROM credit_pools.archive_ledger(before, customer_id, batch_rows, 1000, last_customer, last_pool) a;
        COMMIT;
        batches := batches OPERATOR(pg_catalog.+) 1;
        passed_over := passed_over OPERATOR(pg_catalog.+) done.passed_over;
        rows_in_all := rows_in_all OPERATOR(pg_catalog.+) done.ledger_rows OPERATOR(pg_catalog.+) done.usage_events;
        IF done.pools OPERATOR(pg_catalog.>) 0 THEN
            RAISE NOTICE 'credit_pools: batch %, % rows of % pools archived, % rows in all', batches,
                done.ledger_rows OPERATOR(pg_catalog.+) done.usage_events, done.pools, rows_in_all;
        END IF;
        EXIT WHEN (done.is_complete AND passed_over OPERATOR(pg_catalog.=) 0)
            OR batches OPERATOR(pg_catalog.>=) max_batches;
        IF done.is_complete THEN
            last_customer := NULL;
            last_pool := NULL;
            passed_over := 0;
        ELSE
            last_customer := done.last_customer_id;
            last_pool := done.last_pool_id;
        END IF;
    END LOOP;
END
$$;
