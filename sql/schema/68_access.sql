SET LOCAL search_path TO pg_catalog, pg_temp; -- no name or operator from anywhere else

-- Access by level. An extension makes no roles: these functions give an application's own roles the privileges that its
-- work needs, and take them back.

CREATE VIEW credit_pools.access AS
SELECT a.role_name,
       a.level,
       NULLIF(a.customer_id, '') AS customer_id,
       NULLIF(a.resource_id, '') AS resource_id,
       a.granted_at
FROM credit_pools.role_access a
JOIN pg_catalog.pg_roles r ON r.oid = a.role_id AND r.rolname = a.role_name;

-- What a level may execute and select, by name: no function is overloaded. NULL for a level that is none.
CREATE FUNCTION credit_pools.objects_of_level(level pg_catalog.text)
RETURNS TABLE (routines pg_catalog.text[], relations pg_catalog.text[])
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    metering CONSTANT text[] := '{report_usage, report_usage_batch, consume_credits, reserve_credits, settle_reservation,
        release_reservation, extend_reservation, check_credits, estimate_usage, meter_table, unmeter_table,
        check_metering, metering_trigger, charge_inserted}';
    asking CONSTANT text[] := '{check_credits, balance_at, usage_chart, usage_overview, report, credits_page, explain_usage,
        explain_recharge, verify_ledger, ledger_head, clock}';
    -- What the views call.
    of_views CONSTANT text[] := '{pool_now, grants_now, limit_window, subscription_period, next_transaction_id,
        reads_all_customers}';
    selling CONSTANT text[] := '{provision_subscription, cancel_subscription, transfer_subscription, set_quantity,
        grant_credits, confirm_grant_payment, void_grant, update_grant, reverse_usage, transfer_credits, open_pool,
        claim_recharges, complete_recharge, fail_recharge, fetch_events, ack_events}';
    views CONSTANT text[] := '{pools, grants, ledger, usage_events, reservations, subscriptions, recharges,
        auto_recharge_policies, limits, events, balance_alerts, auto_recharge_states, subscription_pools,
        expiring_credits, customer_overview}';
BEGIN
    CASE level
        WHEN 'meter' THEN
            -- It asks about any customer.
            routines := metering || '{reads_all_customers}'::text[];
            relations := '{}';
        WHEN 'reader' THEN
            routines := asking || of_views;
            relations := views || '{event_consumers, health}';
        WHEN 'app' THEN
            routines := metering || asking || of_views || selling;
            relations := views || '{event_consumers, health}';
        WHEN 'admin' THEN
            SELECT array_agg(DISTINCT p.proname::text) INTO routines
            FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
            JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
            WHERE e.extname = 'credit_pools'
              -- On a table of their own, triggers of ours have no business.
              AND (p.prorettype <> 'trigger'::regtype OR p.proname = 'charge_inserted');
            relations := views || '{event_consumers, health, access}';
        WHEN 'tenant' THEN
            routines := asking || '{own_rows, reads_own_customers}';
            relations := views;
        ELSE
            RETURN;
    END CASE;
    RETURN NEXT;
END
$$;

-- Gives a role what its levels have; anew: and takes away all else that it has here.
CREATE FUNCTION credit_pools.apply_access(of_role pg_catalog.text, anew pg_catalog.bool) RETURNS pg_catalog.void
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    routines text;
    relations text;
BEGIN
    SELECT string_agg(DISTINCT p.oid::regprocedure::text, ', ') INTO routines
    FROM credit_pools.access a, credit_pools.objects_of_level(a.level) o, unnest(o.routines) n (name), pg_proc p
    WHERE a.role_name = of_role AND p.pronamespace = 'credit_pools'::regnamespace AND p.proname = n.name;
    SELECT string_agg(DISTINCT format('credit_pools.%I', n.name), ', ') INTO relations
    FROM credit_pools.access a, credit_pools.objects_of_level(a.level) o, unnest(o.relations) n (name)
    WHERE a.role_name = of_role;
    IF anew THEN
        EXECUTE format('REVOKE ALL ON ALL ROUTINES IN SCHEMA credit_pools FROM %I', of_role);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA credit_pools FROM %I', of_role);
        EXECUTE format('REVOKE ALL ON SCHEMA credit_pools FROM %I', of_role);
    END IF;
    IF routines IS NOT NULL THEN
        EXECUTE format('GRANT USAGE ON SCHEMA credit_pools TO %I', of_role);
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %I', routines, of_role);
    END IF;
    IF relations IS NOT NULL THEN
        EXECUTE format('GRANT SELECT ON %s TO %I', relations, of_role);
    END IF;
END
$$;

SET LOCAL search_path TO credit_pools, pg_temp; -- as CREATE EXTENSION has set it
