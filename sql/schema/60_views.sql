SET LOCAL search_path TO pg_catalog, pg_temp; -- no name or operator from anywhere else

-- What one reads. Where something is due in a pool by the clock and not yet booked, the figures come from
-- the same rules that will book it (pool_now, grants_now), so that reads are right to the instant.
--
-- They run with the owner's rights: nobody else needs a privilege on a table, nor has one. All but the last part of each
-- view is for roles that read all customers, the last has what a tenant may see. For each role one of the two is false when
-- the query is planned, and costs and shows nothing (sql/schema/55_access.sql).

CREATE VIEW credit_pools.pools AS
SELECT p.customer_id,
       p.resource_id,
       p.credit_type_id,
       p.pool_id,
       p.balance,
       p.granted,
       p.consumed,
       p.expired,
       p.voided,
       p.held,
       p.debt,
       p.restricted,
       p.overdraft_limit,
       CASE WHEN p.frozen THEN 'frozen' ELSE 'active' END AS status,
       x.expires_at AS next_expiry_at,
       x.amount AS next_expiry_amount,
       trim_scale(round(p.consumed / NULLIF(p.granted, 0), 4)) AS utilization,
       p.metadata,
       p.created_at
FROM credit_pools.pool p
LEFT JOIN LATERAL (
    SELECT g.expires_at, trim_scale(sum(g.amount - g.consumed - g.expired - g.voided - g.held)) AS amount
    FROM credit_pools.pool_grant g
    WHERE g.customer_id = p.customer_id AND g.pool_id = p.pool_id AND g.status = 'active'
      AND g.expires_at < 'infinity' AND g.amount - g.consumed - g.expired - g.voided > g.held
    GROUP BY g.expires_at
    ORDER BY g.expires_at
    LIMIT 1) x ON true
WHERE p.next_transition_at > credit_pools.clock()
  AND credit_pools.reads_all_customers()
UNION ALL
SELECT p.customer_id,
       p.resource_id,
       p.credit_type_id,
       p.pool_id,
       n.balance,
       n.granted,
       n.consumed,
       n.expired,
       n.voided,
       n.held,
       n.debt,
       n.restricted,
       n.overdraft_limit,
       CASE WHEN p.frozen THEN 'frozen' ELSE 'active' END AS status,
       n.next_expiry_at,
       n.next_expiry_amount,
       trim_scale(round(n.consumed / NULLIF(n.granted, 0), 4)),
       p.metadata,
       p.created_at
FROM credit_pools.pool p
CROSS JOIN LATERAL credit_pools.pool_now(p.customer_id, p.pool_id) n
WHERE p.next_transition_at <= credit_pools.clock()
  AND credit_pools.reads_all_customers()
UNION ALL
SELECT own.* FROM credit_pools.own_rows('pools') AS own (
    customer_id text COLLATE "C", resource_id text COLLATE "C", credit_type_id text COLLATE "C", pool_id bigint,
    balance numeric, granted numeric, consumed numeric, expired numeric, voided numeric, held numeric, debt numeric,
    restricted numeric, overdraft_limit numeric, status text, next_expiry_at timestamptz,
    next_expiry_amount numeric, utilization numeric, metadata jsonb, created_at timestamptz)
WHERE credit_pools.reads_own_customers();

-- A renewal that is due but not booked is a grant without grant_id, so that the grants always make up the balance.
CREATE VIEW credit_pools.grants AS
SELECT p.customer_id,
       p.resource_id,
       p.credit_type_id,
       g.grant_id,
       g.pool_id,
       g.category,
       g.priority,
       g.amount,
       trim_scale(g.amount - g.consumed - g.expired - g.voided) AS remaining,
       CASE WHEN g.status = 'active' THEN trim_scale(g.amount - g.consumed - g.expired - g.voided - g.held)
            ELSE 0 END AS available,
       g.held,
       g.consumed,
       g.expired,
       g.voided,
       g.status,
       g.effective_at,
       NULLIF(g.expires_at, 'infinity') AS expires_at,
       g.price,
       g.price_currency,
       g.source,
       g.subscription_id,
       g.recharge_id,
       g.reason,
       g.metadata,
       g.created_at,
       g.feature_ids,
       g.display_name,
       g.payment_reference,
       g.plan_id,
       g.entry_id,
       g.period_start,
       g.source_grant_id
FROM credit_pools.pool p
JOIN credit_pools.pool_grant g ON g.customer_id = p.customer_id AND g.pool_id = p.pool_id
WHERE p.next_transition_at > credit_pools.clock()
  AND credit_pools.reads_all_customers()
UNION ALL
SELECT p.customer_id,
       p.resource_id,
       p.credit_type_id,
       n.grant_id,
       p.pool_id,
       n.category,
       n.priority,
       n.amount,
       trim_scale(n.amount - n.consumed - n.expired - n.voided),
       CASE WHEN n.status = 'active' THEN trim_scale(n.amount - n.consumed - n.expired - n.voided - n.held)
            ELSE 0 END,
       n.held,
       n.consumed,
       n.expired,
       n.voided,
       n.status,
       n.effective_at,
       NULLIF(n.expires_at, 'infinity'),
       g.price,
       g.price_currency,
       n.source,
       s.subscription_id,
       g.recharge_id,
       g.reason,
       g.metadata,
       n.created_at,
       g.feature_ids,
       g.display_name,
       g.payment_reference,
       s.plan_id,
       s.entry_id,
       n.period_start,
       n.source_grant_id
FROM credit_pools.pool p
CROSS JOIN LATERAL credit_pools.grants_now(p.customer_id, p.pool_id) n
LEFT JOIN credit_pools.pool_grant g ON g.customer_id = p.customer_id AND g.grant_id = n.grant_id
LEFT JOIN credit_pools.schedule s ON s.customer_id = p.customer_id AND s.schedule_id = n.schedule_id
WHERE p.next_transition_at <= credit_pools.clock()
  AND credit_pools.reads_all_customers()
UNION ALL
SELECT own.* FROM credit_pools.own_rows('grants') AS own (
    customer_id text COLLATE "C", resource_id text COLLATE "C", credit_type_id text COLLATE "C", grant_id bigint,
    pool_id bigint, category text, priority smallint, amount numeric, remaining numeric, available numeric,
    held numeric, consumed numeric, expired numeric, voided numeric, status text, effective_at timestamptz,
    expires_at timestamptz, price numeric, price_currency text, source text, subscription_id text COLLATE "C",
    recharge_id bigint, reason text, metadata jsonb, created_at timestamptz, feature_ids text[] COLLATE "C",
    display_name text, payment_reference text, plan_id text COLLATE "C", entry_id text COLLATE "C",
    period_start timestamptz, source_grant_id bigint)
WHERE credit_pools.reads_own_customers();

CREATE VIEW credit_pools.ledger AS
SELECT e.customer_id,
       p.resource_id,
       p.credit_type_id,
       e.pool_id,
       e.seq,
       e.entry_type,
       e.amount,
       trim_scale(e.balance_after - e.amount) AS balance_before,
       e.balance_after,
       e.grant_id,
       e.usage_id,
       e.feature_id,
       e.value,
       e.reservation_id,
       e.recharge_id,
       e.idempotency_key,
       e.actor,
       e.reason,
       e.dimensions,
       e.metadata,
       e.effective_at,
       e.recorded_at,
       e.entry_hash,
       e.credits,
       e.shortfall,
       e.rate,
       e.payload_digest
FROM credit_pools.pool p
JOIN (SELECT * FROM credit_pools.ledger_entry UNION ALL SELECT * FROM credit_pools.ledger_archive) e
  ON e.customer_id = p.customer_id AND e.pool_id = p.pool_id
WHERE e.seq > 0
  AND credit_pools.reads_all_customers()
UNION ALL
SELECT own.* FROM credit_pools.own_rows('ledger') AS own (
    customer_id text COLLATE "C", resource_id text COLLATE "C", credit_type_id text COLLATE "C", pool_id bigint,
    seq bigint, entry_type text, amount numeric, balance_before numeric, balance_after numeric, grant_id bigint,
    usage_id bigint, feature_id text COLLATE "C", value numeric, reservation_id text COLLATE "C",
    recharge_id bigint, idempotency_key text COLLATE "C", actor text, reason text, dimensions jsonb, metadata jsonb,
    effective_at timestamptz, recorded_at timestamptz, entry_hash bytea,
    credits numeric, shortfall numeric, rate numeric, payload_digest bigint)
WHERE credit_pools.reads_own_customers();

CREATE VIEW credit_pools.usage_events AS
SELECT e.customer_id,
       p.resource_id,
       p.credit_type_id,
       e.usage_id,
       e.pool_id,
       e.feature_id,
       e.value,
       e.credits,
       COALESCE(r.credits, 0) AS reversed,
       e.rate,
       e.dimensions,
       e.effective_at AS occurred_at,
       e.recorded_at,
       e.shortfall,
       e.idempotency_key,
       e.metadata,
       e.reservation_id
FROM credit_pools.pool p
JOIN (SELECT * FROM credit_pools.ledger_entry UNION ALL SELECT * FROM credit_pools.ledger_archive) e
  ON e.customer_id = p.customer_id AND e.pool_id = p.pool_id
LEFT JOIN credit_pools.usage_reversal r ON r.customer_id = e.customer_id AND r.usage_id = e.usage_id
WHERE e.credits IS NOT NULL
  AND credit_pools.reads_all_customers()
UNION ALL
SELECT own.* FROM credit_pools.own_rows('usage_events') AS own (
    customer_id text COLLATE "C", resource_id text COLLATE "C", credit_type_id text COLLATE "C", usage_id bigint,
    pool_id bigint, feature_id text COLLATE "C", value numeric, credits numeric, reversed numeric, rate numeric,
    dimensions jsonb, occurred_at timestamptz, recorded_at timestamptz, shortfall numeric,
    idempotency_key text COLLATE "C", metadata jsonb, reservation_id text COLLATE "C")
WHERE credit_pools.reads_own_customers();

-- A hold whose time is over holds nothing, whether or not that has been booked.
CREATE VIEW credit_pools.reservations AS
SELECT r.customer_id,
       p.resource_id,
       p.credit_type_id,
       r.reservation_id,
       r.pool_id,
       CASE WHEN t.over THEN 'expired' ELSE r.status END AS status,
       r.amount,
       CASE WHEN t.over THEN 0 ELSE r.held END AS held,
       r.charged,
       r.feature_id,
       r.value,
       r.rate,
       r.formula,
       r.dimensions,
       r.expires_at,
       r.created_at,
       CASE WHEN t.over THEN r.expires_at ELSE r.closed_at END AS closed_at,
       r.metadata
FROM credit_pools.reservation r
JOIN credit_pools.pool p ON p.customer_id = r.customer_id AND p.pool_id = r.pool_id
CROSS JOIN LATERAL (SELECT r.status = 'active' AND r.expires_at <= credit_pools.clock() AS over) t
WHERE credit_pools.reads_all_customers()
UNION ALL
SELECT own.* FROM credit_pools.own_rows('reservations') AS own (
    customer_id text COLLATE "C", resource_id text COLLATE "C", credit_type_id text COLLATE "C",
    reservation_id text COLLATE "C", pool_id bigint, status text, amount numeric, held numeric, charged numeric,
    feature_id text COLLATE "C", value numeric, rate numeric, formula text, dimensions jsonb,
    expires_at timestamptz, created_at timestamptz, closed_at timestamptz, metadata jsonb)
WHERE credit_pools.reads_own_customers();

-- One row per subscription, whatever number of credit types its scope has pools for: credit_type_ids has
-- them all, credit_type_id the only one where there is one.
CREATE VIEW credit_pools.subscriptions AS
SELECT s.customer_id,
       NULLIF(s.resource_id, '') AS resource_id,
       CASE WHEN array_length(t.ids, 1) = 1 THEN t.ids[1] END AS credit_type_id,
       s.subscription_id,
       s.plan_id,
       CASE WHEN s.status <> 'active' THEN s.status
            WHEN s.ends_at <= credit_pools.clock() AND s.cancelled_at IS NOT NULL THEN 'cancelled'
            WHEN s.ends_at <= credit_pools.clock() THEN 'ended'
            WHEN s.starts_at > credit_pools.clock() THEN 'scheduled'
            ELSE 'active' END AS status,
       s.starts_at,
       NULLIF(s.ends_at, 'infinity') AS ends_at,
       s.time_zone,
       s.quantities,
       s.rate_overrides,
       s.amount_overrides,
       s.metadata,
       s.created_at,
       s.updated_at,
       t.ids AS credit_type_ids,
       s.cancelled_at,
       s.end_credits
FROM credit_pools.subscription s
CROSS JOIN LATERAL (
    SELECT array_agg(p.credit_type_id ORDER BY p.credit_type_id) AS ids
    FROM credit_pools.pool p
    WHERE p.customer_id = s.customer_id AND p.scope_id = s.resource_id) t
WHERE credit_pools.reads_all_customers()
UNION ALL
SELECT own.* FROM credit_pools.own_rows('subscriptions') AS own (
    customer_id text COLLATE "C", resource_id text COLLATE "C", credit_type_id text COLLATE "C",
    subscription_id text COLLATE "C", plan_id text COLLATE "C", status text, starts_at timestamptz,
    ends_at timestamptz, time_zone text, quantities jsonb, rate_overrides jsonb, amount_overrides jsonb,
    metadata jsonb, created_at timestamptz, updated_at timestamptz, credit_type_ids text[] COLLATE "C",
    cancelled_at timestamptz, end_credits text)
WHERE credit_pools.reads_own_customers();

CREATE VIEW credit_pools.recharges AS
SELECT r.customer_id,
       NULLIF(r.resource_id, '') AS resource_id,
       r.credit_type_id,
       r.recharge_id,
       r.pool_id,
       r.status,
       r.reason,
       r.amount,
       r.price,
       r.price_currency,
       r.grant_id,
       r.attempts,
       r.payment_reference,
       r.created_at,
       r.updated_at,
       r.balance,
       r.evaluations,
       r.next_attempt_at,
       r.worker,
       r.lease_expires_at,
       r.cause_seq
FROM credit_pools.recharge r
WHERE credit_pools.reads_all_customers()
UNION ALL
SELECT own.* FROM credit_pools.own_rows('recharges') AS own (
    customer_id text COLLATE "C", resource_id text COLLATE "C", credit_type_id text COLLATE "C", recharge_id bigint,
    pool_id bigint, status text, reason text, amount numeric, price numeric, price_currency text, grant_id bigint,
    attempts integer, payment_reference text, created_at timestamptz, updated_at timestamptz, balance numeric,
    evaluations bigint, next_attempt_at timestamptz, worker text, lease_expires_at timestamptz, cause_seq bigint)
WHERE credit_pools.reads_own_customers();

CREATE VIEW credit_pools.auto_recharge_policies AS
SELECT r.customer_id,
       NULLIF(r.resource_id, '') AS resource_id,
       r.credit_type_id,
       r.enabled,
       r.threshold,
       r.target_balance,
       r.recharge_amount,
       r.price_per_credit,
       r.price_currency,
       r.max_spend,
       r.spend_period,
       r.max_count,
       r.cooldown,
       r.grant_expires_after,
       r.settlement,
       r.max_failures,
       r.backoff,
       (SELECT trim_scale(s.spent) FROM credit_pools.recharge_spend s
        WHERE s.customer_id = r.customer_id AND s.credit_type_id = r.credit_type_id
          AND s.policy_resource_id = r.resource_id
          AND s.period_start <= credit_pools.clock() AND s.period_end > credit_pools.clock()
        ORDER BY s.period_start DESC LIMIT 1) AS spent_in_period,
       r.created_at,
       r.updated_at
FROM credit_pools.recharge_policy r
WHERE credit_pools.reads_all_customers()
UNION ALL
SELECT own.* FROM credit_pools.own_rows('auto_recharge_policies') AS own (
    customer_id text COLLATE "C", resource_id text COLLATE "C", credit_type_id text COLLATE "C", enabled boolean,
    threshold numeric, target_balance numeric, recharge_amount numeric, price_per_credit numeric,
    price_currency text, max_spend numeric, spend_period interval, max_count bigint, cooldown interval,
    grant_expires_after interval, settlement text, max_failures integer, backoff interval, spent_in_period numeric,
    created_at timestamptz, updated_at timestamptz)
WHERE credit_pools.reads_own_customers();

-- What counts in a window that is over counts no more, whether or not anybody has used credits since.
CREATE VIEW credit_pools.limits AS
SELECT l.customer_id,
       NULLIF(l.scope_id, '') AS resource_id,
       l.credit_type_id,
       l.all_resources,
       l.amount,
       l.per,
       u.used,
       GREATEST(trim_scale(l.amount - u.used), 0) AS remaining,
       w.window_start,
       w.window_end,
       l.created_at,
       l.updated_at
FROM credit_pools.spending_limit l
CROSS JOIN LATERAL credit_pools.limit_window(l.customer_id, l.per) w
CROSS JOIN LATERAL (
    SELECT CASE WHEN l.window_start = w.window_start THEN trim_scale(GREATEST(l.used - COALESCE(sum(r.held), 0), 0))
                ELSE 0 END AS used
    FROM credit_pools.reservation r
    JOIN credit_pools.pool p ON p.customer_id = r.customer_id AND p.pool_id = r.pool_id
    WHERE r.customer_id = l.customer_id AND p.credit_type_id = l.credit_type_id
      AND (l.all_resources OR p.scope_id = l.scope_id)
      AND r.status = 'active' AND r.created_at >= w.window_start AND r.expires_at <= credit_pools.clock()) u
WHERE credit_pools.reads_all_customers()
UNION ALL
SELECT own.* FROM credit_pools.own_rows('limits') AS own (
    customer_id text COLLATE "C", resource_id text COLLATE "C", credit_type_id text COLLATE "C",
    all_resources boolean, amount numeric, per interval, used numeric, remaining numeric, window_start timestamptz,
    window_end timestamptz, created_at timestamptz, updated_at timestamptz)
WHERE credit_pools.reads_own_customers();

-- Up to the newest event before which none can still come. The ids are compared as numbers: a transaction id of 64 bits
-- never wraps. After a crash transaction ids that left no trace are given again, so that a horizon may lie ahead: then
-- nobody may be writing at all.
CREATE VIEW credit_pools.events AS
SELECT e.customer_id,
       e.resource_id,
       e.credit_type_id,
       e.event_id,
       e.type,
       e.data,
       e.created_at,
       e.pool_id
FROM credit_pools.event e
WHERE e.event_id <= (
    SELECT b.event_id FROM credit_pools.event b
    WHERE b.horizon <= (
        SELECT CASE WHEN credit_pools.next_transaction_id() <= x.oldest THEN 9223372036854775807 ELSE x.oldest END
        FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest) x)
    ORDER BY b.event_id DESC LIMIT 1)
  AND credit_pools.reads_all_customers()
UNION ALL
SELECT own.* FROM credit_pools.own_rows('events') AS own (
    customer_id text COLLATE "C", resource_id text COLLATE "C", credit_type_id text COLLATE "C", event_id bigint,
    type text COLLATE "C", data jsonb, created_at timestamptz, pool_id bigint)
WHERE credit_pools.reads_own_customers();

CREATE VIEW credit_pools.event_consumers AS
SELECT c.consumer,
       c.event_id,
       (SELECT e.created_at FROM credit_pools.event e
        WHERE e.event_id > c.event_id ORDER BY e.event_id LIMIT 1) AS oldest_pending_at,
       c.created_at,
       c.acknowledged_at
FROM credit_pools.event_consumer c;

CREATE VIEW credit_pools.balance_alerts AS
SELECT NULL::text AS customer_id,
       NULL::text AS resource_id,
       t.credit_type_id,
       t.alert_thresholds AS thresholds,
       t.alert_percents AS percents,
       NULL::timestamptz AS updated_at
FROM credit_pools.credit_type t
WHERE t.alert_thresholds IS NOT NULL
  AND credit_pools.reads_all_customers()
UNION ALL
SELECT a.customer_id,
       NULL,
       a.credit_type_id,
       a.thresholds,
       a.percents,
       a.updated_at
FROM credit_pools.balance_alert a
WHERE credit_pools.reads_all_customers()
UNION ALL
SELECT own.* FROM credit_pools.own_rows('balance_alerts') AS own (
    customer_id text COLLATE "C", resource_id text, credit_type_id text COLLATE "C", thresholds numeric[],
    percents numeric[], updated_at timestamptz)
WHERE credit_pools.reads_own_customers();

SET LOCAL search_path TO credit_pools, pg_temp; -- as CREATE EXTENSION has set it
