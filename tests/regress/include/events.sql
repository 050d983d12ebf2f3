\set ECHO none
-- Helpers of the cases about events, beside helpers.sql, which comes first:
--
--   \set events :abs_srcdir '/include/events.sql'
--   \i :events
--
--   events_of(customer, resource)   the view events, in order of event_id: credit type, type, the envelope's time as it is, created_at, and the payload without
--                                   what a sequence made and without customer, resource and credit type, which event_problems() compares with the view's columns.
--   news_of(customer, resource)     the same without the credit type, but only what has come since the last news_of of these arguments.
--   settled()                       waits until every event that is committed can be seen. The functions here call it: another session of the server, such as
--                                   autovacuum, may hold events back for a moment. Not for use in a transaction that has written events.
--   event_problems()                a row per broken promise of the envelope and of the payload, looked at beside the ledger, grants and recharges; none when all is
--                                   well. complete => false where events were off or have been deleted.
--
-- A pool is called by its resource, the customer's global pool '(global)'; the resource is '' for what is of no pool and no resource.
-- The cases' clocks jump by months: nothing is deleted, unless a case says so (RESET credit_pools.event_retention).
SET credit_pools.event_retention = -1;

CREATE FUNCTION public.settled() RETURNS void LANGUAGE plpgsql VOLATILE AS $f$
BEGIN
    FOR i IN 1 .. 300 LOOP
        EXIT WHEN (SELECT count(*) FROM credit_pools.event) = (SELECT count(*) FROM credit_pools.events);
        PERFORM pg_sleep(0.1);
    END LOOP;
END $f$;

CREATE FUNCTION public.events_behind(of_customer text, of_resource text, behind bigint)
    RETURNS TABLE (event_id bigint, resource text, type text, event text, "time" text, created_at text, data text)
LANGUAGE sql VOLATILE AS $f$
    SELECT x.event_id, x.r, x.credit_type_id, x.type, x.data ->> 'time', public.at(x.created_at),
           ((x.data -> 'data') - '{customer_id,resource_id,credit_type_id,pool_id,grant_id,recharge_id}'::text[])::text
      FROM (SELECT e.*, coalesce(e.resource_id, CASE WHEN e.pool_id IS NULL THEN '' ELSE '(global)' END) AS r FROM credit_pools.events e) x
     WHERE x.customer_id = of_customer AND of_resource IN ('*', x.r) AND x.event_id > behind
     ORDER BY x.event_id
$f$;

CREATE FUNCTION public.events_of(of_customer text, of_resource text DEFAULT '*')
    RETURNS TABLE (resource text, type text, event text, "time" text, created_at text, data text)
LANGUAGE plpgsql VOLATILE AS $f$
#variable_conflict use_column
BEGIN
    PERFORM public.settled();
    RETURN QUERY SELECT resource, type, event, "time", created_at, data FROM public.events_behind(of_customer, of_resource, 0);
END $f$;

CREATE FUNCTION public.news_of(of_customer text, of_resource text DEFAULT '*')
    RETURNS TABLE (resource text, event text, "time" text, created_at text, data text)
LANGUAGE plpgsql VOLATILE AS $f$
#variable_conflict use_column
DECLARE
    about text := of_customer || ' ' || of_resource;
    -- The newest event that was shown, by what was asked for.
    seen jsonb := coalesce(nullif(current_setting('regress.seen', true), '')::jsonb, '{}');
    last bigint := coalesce((seen ->> about)::bigint, 0);
BEGIN
    PERFORM public.settled();
    RETURN QUERY SELECT resource, event, "time", created_at, data FROM public.events_behind(of_customer, of_resource, last);
    SELECT coalesce(max(event_id), last) INTO last FROM public.events_behind(of_customer, of_resource, last);
    PERFORM set_config('regress.seen', (seen || jsonb_build_object(about, last))::text, false);
END $f$;

CREATE FUNCTION public.event_problems(complete boolean DEFAULT true)
    RETURNS TABLE (problem text, customer text, event text, figures text)
LANGUAGE plpgsql VOLATILE AS $f$
#variable_conflict use_column
BEGIN
    PERFORM public.settled();
    RETURN QUERY
    WITH e AS (
        SELECT v.*, v.data -> 'data' AS d, (v.data -> 'data' ->> 'seq')::bigint AS seq,
               v.type LIKE 'subscription.%' OR v.type = 'recharge.policy_changed' AS poolless
          FROM credit_pools.events v
    ), rows_with_events (entry_type, type) AS (VALUES
        ('open', 'pool.opened'), ('grant', 'credits.granted'), ('transfer_in', 'credits.granted'), ('rollover_in', 'credits.granted'),
        ('consume', 'credits.depleted'), ('debt_settle', 'credits.depleted'), ('expire', 'credits.expired'), ('void', 'credits.voided'), ('reservation_expire', 'reservation.expired')
    ), p (problem, customer_id, type, data) AS (
        -- The envelope.
        SELECT 'envelope: its keys are not those of CloudEvents', customer_id, type, data FROM e
         WHERE (SELECT array_agg(k ORDER BY k COLLATE "C") FROM jsonb_object_keys(data) k) <> '{data,datacontenttype,id,source,specversion,subject,time,type}'::text[]
        UNION ALL SELECT 'envelope: a value is not that of the event', customer_id, type, data FROM e
         WHERE data - 'data' - 'time' - 'source' IS DISTINCT FROM jsonb_build_object('specversion', '1.0', 'id', event_id::text, 'type', type, 'subject', customer_id, 'datacontenttype', 'application/json')
            OR coalesce(data ->> 'source', '') = ''
        UNION ALL SELECT 'envelope: time is no instant in UTC as RFC 3339 writes it', customer_id, type, data FROM e
         WHERE (data ->> 'time' ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$') IS NOT TRUE
        UNION ALL SELECT 'it was written before it happened', customer_id, type, data FROM e WHERE (data ->> 'time')::timestamptz > created_at
        UNION ALL SELECT 'unknown type', customer_id, type, data FROM e
         WHERE type NOT IN ('pool.opened', 'credits.granted', 'credits.depleted', 'credits.expired', 'credits.voided', 'balance.low', 'balance.depleted', 'reservation.expired',
                            'recharge.requested', 'recharge.skipped', 'recharge.succeeded', 'recharge.failed', 'recharge.breaker_opened', 'recharge.limit_reached', 'recharge.policy_changed',
                            'subscription.created', 'subscription.changed', 'subscription.cancelled', 'subscription.transferred', 'subscription.quantity_changed', 'subscription.ended')
        -- What every payload has.
        UNION ALL SELECT 'customer, resource or credit type are not those of the view', customer_id, type, data FROM e
         WHERE NOT d ?& '{customer_id,resource_id,credit_type_id}' OR d ->> 'customer_id' IS DISTINCT FROM customer_id
            OR d ->> 'resource_id' IS DISTINCT FROM resource_id OR d ->> 'credit_type_id' IS DISTINCT FROM credit_type_id
        UNION ALL SELECT 'the pool is not that of the view', e.customer_id, type, data FROM e LEFT JOIN credit_pools.pools q ON q.customer_id = e.customer_id AND q.pool_id = e.pool_id
         WHERE NOT poolless AND (d -> 'pool_id' IS DISTINCT FROM to_jsonb(e.pool_id) OR q.resource_id IS DISTINCT FROM e.resource_id OR q.credit_type_id IS DISTINCT FROM e.credit_type_id)
        UNION ALL SELECT 'no pool, and yet a pool or a balance', customer_id, type, data FROM e WHERE poolless AND (d ?| '{pool_id,balance}' OR pool_id IS NOT NULL)
        UNION ALL SELECT 'an amount is no number', customer_id, type, data FROM e, jsonb_each(d) f (k, v)
         WHERE k IN ('balance', 'amount', 'price', 'debt', 'threshold', 'percent', 'granted', 'used', 'maximum', 'quantity', 'target_balance', 'recharge_amount', 'price_per_credit', 'max_spend', 'max_count', 'attempts', 'priority', 'seq', 'grant_id', 'recharge_id', 'pool_id')
           AND jsonb_typeof(v) NOT IN ('number', 'null')
        -- Beside the ledger.
        UNION ALL SELECT 'it is not the ledger''s row', e.customer_id, e.type, e.data FROM e
          LEFT JOIN credit_pools.ledger l ON l.customer_id = e.customer_id AND l.pool_id = e.pool_id AND l.seq = e.seq
         WHERE e.type IN (SELECT w.type FROM rows_with_events w)
           AND NOT coalesce(EXISTS (SELECT FROM rows_with_events w WHERE w.entry_type = l.entry_type::text AND w.type = e.type)
                            AND l.balance_after = (d ->> 'balance')::numeric AND l.recorded_at = e.created_at AND l.effective_at = (e.data ->> 'time')::timestamptz
                            AND (e.type NOT LIKE 'credits.%' OR d -> 'grant_id' = to_jsonb(l.grant_id))
                            AND (e.type NOT IN ('credits.granted', 'credits.expired', 'credits.voided') OR abs(l.amount) = (d ->> 'amount')::numeric)
                            AND (e.type <> 'reservation.expired' OR (l.reservation_id = d ->> 'reservation_id' AND (d ->> 'amount')::numeric = (
                                     SELECT sum(x.amount) FROM credit_pools.ledger x WHERE x.customer_id = l.customer_id AND x.reservation_id = l.reservation_id AND x.entry_type::text = 'reservation_expire'))), false)
        UNION ALL SELECT 'not one event for the ledger''s row ' || l.entry_type::text || ' ' || l.amount, l.customer_id, w.type, NULL FROM credit_pools.ledger l JOIN rows_with_events w ON w.entry_type = l.entry_type::text
         WHERE complete AND w.entry_type NOT IN ('consume', 'debt_settle', 'reservation_expire') AND (l.amount <> 0 OR w.entry_type = 'open')
           AND 1 <> (SELECT count(*) FROM e WHERE e.customer_id = l.customer_id AND e.pool_id = l.pool_id AND e.type = w.type AND e.seq = l.seq)
        UNION ALL SELECT 'a hold that timed out', r.customer_id, 'reservation.expired', to_jsonb(r.reservation_id) FROM credit_pools.reservations r
         WHERE complete AND 1 < (SELECT count(*) FROM e WHERE e.customer_id = r.customer_id AND e.type = 'reservation.expired' AND d ->> 'reservation_id' = r.reservation_id)
        UNION ALL SELECT 'events of a pool are not in the order of its ledger', customer_id, type, data FROM (
            SELECT e.*, lag(seq) OVER w AS last_seq FROM e WHERE seq IS NOT NULL WINDOW w AS (PARTITION BY customer_id, pool_id ORDER BY event_id)) x WHERE seq < last_seq
        UNION ALL SELECT 'events of a pool were not written in their order', customer_id, type, data FROM (
            SELECT e.*, lag(created_at) OVER w AS last_at FROM e WHERE NOT poolless WINDOW w AS (PARTITION BY customer_id, pool_id ORDER BY event_id)) x WHERE created_at < last_at
        -- Beside grants, alerts and recharges.
        UNION ALL SELECT 'it is not the grant', e.customer_id, e.type, e.data FROM e
          LEFT JOIN credit_pools.grants g ON g.customer_id = e.customer_id AND g.grant_id = (d ->> 'grant_id')::bigint
         WHERE (e.type LIKE 'credits.%' OR e.type = 'recharge.succeeded')
           AND NOT coalesce(g.pool_id = e.pool_id
                            AND (e.type <> 'credits.depleted' OR (g.amount = (d ->> 'amount')::numeric AND g.category::text = d ->> 'category'))
                            AND (e.type <> 'credits.granted' OR (g.category::text = d ->> 'category' AND g.source = d ->> 'source' AND g.effective_at = (d ->> 'effective_at')::timestamptz
                                                                 AND CASE g.source WHEN 'recharge' THEN d -> 'recharge_id' = to_jsonb(g.recharge_id) ELSE NOT d ? 'recharge_id' END))
                            AND (e.type <> 'recharge.succeeded' OR d -> 'recharge_id' = to_jsonb(g.recharge_id)), false)
        UNION ALL SELECT 'it is not low', customer_id, type, data FROM e
         WHERE type = 'balance.low' AND NOT coalesce((d ->> 'balance')::numeric < (d ->> 'threshold')::numeric
            AND CASE WHEN d ->> 'percent' IS NULL THEN d ->> 'granted' IS NULL ELSE (d ->> 'threshold')::numeric = (d ->> 'granted')::numeric * (d ->> 'percent')::numeric / 100 END, false)
        UNION ALL SELECT 'it is not used up', customer_id, type, data FROM e
         WHERE type = 'balance.depleted' AND NOT coalesce((d ->> 'balance')::numeric <= 0 AND (d ->> 'debt')::numeric >= 0, false)
        UNION ALL SELECT 'it is not the recharge', e.customer_id, e.type, e.data FROM e
          LEFT JOIN credit_pools.recharges r ON r.customer_id = e.customer_id AND r.recharge_id = (d ->> 'recharge_id')::bigint
         WHERE e.type IN ('recharge.requested', 'recharge.skipped', 'recharge.succeeded', 'recharge.failed', 'recharge.breaker_opened')
           AND NOT coalesce(r.pool_id = e.pool_id AND (r.status::text = 'skipped') = (e.type = 'recharge.skipped')
                            AND (e.type IN ('recharge.skipped', 'recharge.breaker_opened') OR (r.amount = (d ->> 'amount')::numeric AND r.price IS NOT DISTINCT FROM (d ->> 'price')::numeric
                                                                                               AND r.price_currency IS NOT DISTINCT FROM d ->> 'price_currency'))
                            AND (e.type <> 'recharge.skipped' OR r.reason = d ->> 'reason'), false)
        UNION ALL SELECT 'not one event for the recharge', r.customer_id, w.type, to_jsonb(r.status::text) FROM credit_pools.recharges r
          JOIN (VALUES ('recharge.requested'), ('recharge.skipped'), ('recharge.succeeded')) w (type)
            ON CASE w.type WHEN 'recharge.skipped' THEN r.status::text = 'skipped' WHEN 'recharge.succeeded' THEN r.status::text = 'succeeded' ELSE r.status::text <> 'skipped' END
         WHERE complete AND 1 <> (SELECT count(*) FROM e WHERE e.customer_id = r.customer_id AND e.type = w.type AND d -> 'recharge_id' = to_jsonb(r.recharge_id))
    )
    SELECT p.problem, p.customer_id, p.type, p.data::text FROM p ORDER BY 1, 2, 3;
END $f$;
\set ECHO all
