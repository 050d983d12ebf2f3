-- Tables that charge by themselves. The triggers are made with the caller's rights, on tables of the caller; they run
-- with the extension's.
CREATE FUNCTION credit_pools.meter_table(
    "table" pg_catalog.regclass DEFAULT NULL,
    feature_id pg_catalog.text DEFAULT NULL,
    customer_column pg_catalog.text DEFAULT NULL,
    resource_column pg_catalog.text DEFAULT NULL,
    value_column pg_catalog.text DEFAULT NULL,
    key_column pg_catalog.text DEFAULT NULL)
RETURNS TABLE (trigger_name pg_catalog.text)
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    trigger_name := credit_pools.check_metering("table", feature_id, customer_column, resource_column, value_column,
                                                key_column);
    EXECUTE pg_catalog.format(
        'CREATE OR REPLACE TRIGGER %I AFTER INSERT ON %s REFERENCING NEW TABLE AS credit_pools_inserted
         FOR EACH STATEMENT EXECUTE FUNCTION credit_pools.charge_inserted(%L, %L, %L, %L, %L)',
        trigger_name, "table", feature_id, customer_column, COALESCE(resource_column, ''), COALESCE(value_column, ''),
        COALESCE(key_column, ''));
    RETURN NEXT;
END
$$;

CREATE FUNCTION credit_pools.unmeter_table(
    "table" pg_catalog.regclass DEFAULT NULL,
    feature_id pg_catalog.text DEFAULT NULL)
RETURNS TABLE (trigger_name pg_catalog.text)
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    IF "table" IS NULL THEN
        RAISE EXCEPTION 'table is required' USING ERRCODE = '22023', DETAIL = '{"argument":"table"}',
            HINT = 'Correct the argument that DETAIL names.';
    END IF;
    FOR trigger_name IN
        SELECT t.tgname::text FROM pg_catalog.pg_trigger t
        WHERE t.tgrelid OPERATOR(pg_catalog.=) "table"
          AND t.tgfoid OPERATOR(pg_catalog.=) 'credit_pools.charge_inserted()'::pg_catalog.regprocedure
          AND t.tgparentid OPERATOR(pg_catalog.=) 0
          AND (feature_id IS NULL OR t.tgname OPERATOR(pg_catalog.=) credit_pools.metering_trigger(feature_id))
        ORDER BY t.tgname
    LOOP
        EXECUTE pg_catalog.format('DROP TRIGGER %I ON %s', trigger_name, "table");
        RETURN NEXT;
    END LOOP;
END
$$;
