-- What SQL says of each pool of :customer, for the page to be compared with: JSON.
SELECT jsonb_agg(to_jsonb(x) ORDER BY x.resource_id NULLS FIRST, x.credit_type_id) FROM (
    SELECT p.resource_id, p.credit_type_id, p.pool_id::text, p.balance::text, p.granted::text, p.consumed::text, p.expired::text, p.voided::text, p.held::text, p.debt::text,
        trim_scale(p.utilization * 100)::text AS utilization, p.status,
        trim_scale(o.expiring_30_days)::text AS expiring, trim_scale(o.burn_rate_per_day)::text AS burn, trim_scale(o.consumed)::text AS used,
        to_char(o.projected_depletion_at AT TIME ZONE z.zone, 'FMDD Mon YYYY') AS depletion,
        to_char(o.next_expiry_at AT TIME ZONE z.zone, 'FMDD Mon YYYY') AS next_expiry_at, trim_scale(o.next_expiry_amount)::text AS next_expiry_amount,
        (SELECT coalesce(jsonb_object_agg(c.day, c.features), '{}') FROM (
            SELECT to_char(c.bucket_start AT TIME ZONE z.zone, 'FMDD Mon YYYY') AS day, jsonb_object_agg(coalesce(f.display_name, f.feature_id, 'Plain credits'), trim_scale(c.credits)::text) AS features
            FROM credit_pools.usage_chart(customer_id => p.customer_id, resource_id => p.resource_id, credit_type_id => p.credit_type_id, from_time => z.since, group_by => '{feature}') c
            LEFT JOIN credit_pools.feature f ON f.feature_id = c.feature_id
            WHERE c.credits <> 0 GROUP BY 1) c) AS chart,
        (SELECT coalesce(jsonb_agg(jsonb_build_array(g.grant_id::text, g.status, trim_scale(g.amount)::text, trim_scale(g.remaining)::text, coalesce(to_char(g.expires_at AT TIME ZONE z.zone, 'FMDD Mon YYYY, HH24:MI'), 'never'))), '[]')
            FROM credit_pools.grants g WHERE g.customer_id = p.customer_id AND g.pool_id = p.pool_id) AS grants,
        (SELECT count(*) FROM credit_pools.ledger l WHERE l.customer_id = p.customer_id AND l.pool_id = p.pool_id) AS entries,
        (SELECT jsonb_agg(jsonb_build_array(l.seq::text, l.entry_type, trim_scale(l.amount)::text, trim_scale(l.balance_after)::text) ORDER BY l.seq DESC)
            FROM (SELECT * FROM credit_pools.ledger l WHERE l.customer_id = p.customer_id AND l.pool_id = p.pool_id ORDER BY l.seq DESC LIMIT 100) l) AS ledger,
        (SELECT coalesce(jsonb_agg(jsonb_build_array(r.recharge_id::text, r.status) ORDER BY r.recharge_id DESC), '[]') FROM credit_pools.recharges r WHERE r.customer_id = p.customer_id AND r.pool_id = p.pool_id) AS recharges,
        (SELECT trim_scale(r.threshold)::text FROM credit_pools.auto_recharge_policies r WHERE r.customer_id = p.customer_id AND r.credit_type_id = p.credit_type_id AND (r.resource_id IS NULL OR r.resource_id = p.resource_id)
            ORDER BY r.resource_id NULLS LAST LIMIT 1) AS threshold,
        (SELECT jsonb_build_array(s.subscription_id, coalesce(n.display_name, s.plan_id), s.status) FROM credit_pools.subscriptions s LEFT JOIN credit_pools.plan n USING (plan_id)
            WHERE s.customer_id = p.customer_id AND s.resource_id IS NOT DISTINCT FROM p.resource_id ORDER BY s.status = 'active' DESC, s.starts_at DESC LIMIT 1) AS subscription
    FROM credit_pools.pools p
    CROSS JOIN LATERAL (SELECT c.time_zone AS zone, (date_trunc('day', credit_pools.clock() AT TIME ZONE c.time_zone) - interval '29 days') AT TIME ZONE c.time_zone AS since
        FROM credit_pools.customer c WHERE c.customer_id = p.customer_id) z
    CROSS JOIN LATERAL credit_pools.usage_overview(customer_id => p.customer_id, resource_id => p.resource_id, credit_type_id => p.credit_type_id, from_time => z.since) o
    WHERE p.customer_id = :'customer') x
