-- Maintenance in batches that each commit, so that no lock is held for longer than its batch takes. A procedure
-- that commits may have no SET clause: every name and operator is written with its schema instead.
CREATE PROCEDURE credit_pools.maintain(
    batch_size pg_catalog.int4 DEFAULT 1000,
    max_batches pg_catalog.int4 DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
    done pg_catalog.int8;
    other pg_catalog.int8;
    rolled_up pg_catalog.int8;
    failed pg_catalog.int8;
    remaining pg_catalog.int8;
    batches pg_catalog.int4 := 0;
BEGIN
    IF max_batches OPERATOR(pg_catalog.<) 1 THEN
        RAISE EXCEPTION 'max_batches must be 1 or more, or NULL for all that is due'
            USING ERRCODE = '22023', DETAIL = '{"argument":"max_batches"}',
                HINT = 'Correct the argument that DETAIL names.';
    END IF;
    LOOP
        SELECT pg_catalog.sum(m.processed) FILTER (WHERE m.task OPERATOR(pg_catalog.=) 'pools'),
               pg_catalog.sum(m.processed) FILTER (WHERE m.task OPERATOR(pg_catalog.=) ANY (ARRAY['recharges', 'subscriptions', 'events'])),
               pg_catalog.sum(m.processed) FILTER (WHERE m.task OPERATOR(pg_catalog.=) 'rolled_up'),
               pg_catalog.sum(m.processed) FILTER (WHERE m.task OPERATOR(pg_catalog.=) 'failed'),
               pg_catalog.sum(m.processed) FILTER (WHERE m.task OPERATOR(pg_catalog.=) 'remaining')
        INTO done, other, rolled_up, failed, remaining
        FROM credit_pools.run_maintenance(batch_size) m;
        COMMIT;
        batches := batches OPERATOR(pg_catalog.+) 1;
        IF done OPERATOR(pg_catalog.>) 0 THEN
            RAISE NOTICE 'credit_pools: batch %, % pools done, % failed, % remaining', batches, done, failed, remaining;
        END IF;
        -- As many rows as a batch adds up (engine/rolling_up.rs): there may be more.
        EXIT WHEN (other OPERATOR(pg_catalog.=) 0 AND rolled_up OPERATOR(pg_catalog.<) 100000
                   AND (done OPERATOR(pg_catalog.=) 0 OR remaining OPERATOR(pg_catalog.=) 0))
            OR batches OPERATOR(pg_catalog.>=) max_batches;
    END LOOP;
END
$$;
