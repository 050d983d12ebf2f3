SET LOCAL search_path TO pg_catalog, pg_temp; -- no name or operator from anywhere else

-- Views made of those before (60_views.sql), for who looks at a whole: a subscription, a customer, the installation. They
-- have the same two parts, for who reads all customers and for tenants.

-- For "what does auto-recharge do here?": the policy that covers a pool, its breaker, and its last recharge.
CREATE VIEW credit_pools.auto_recharge_states AS
SELECT p.customer_id,
       p.resource_id,
       p.credit_type_id,
       p.pool_id,
       CASE WHEN open.recharge_id IS NOT NULL THEN 'pending'
            WHEN r.customer_id IS NULL THEN 'none'
            WHEN NOT r.enabled THEN 'off'
            WHEN p.breaker_opened_at IS NOT NULL THEN 'breaker'
            ELSE 'on' END AS state,
       CASE WHEN r.customer_id IS NOT NULL THEN r.resource_id <> '' END AS is_override,
       r.threshold,
       r.target_balance,
       r.recharge_amount,
       r.price_per_credit,
       r.price_currency,
       p.breaker_opened_at,
       open.amount AS pending_amount,
       last.recharge_id AS last_recharge_id,
       last.status AS last_recharge_status,
       last.reason AS last_recharge_reason,
       last.amount AS last_recharge_amount,
       last.price AS last_recharge_price,
       last.price_currency AS last_recharge_currency,
       last.updated_at AS last_recharge_at
FROM credit_pools.pool p
LEFT JOIN LATERAL (
    SELECT * FROM credit_pools.recharge_policy r
    WHERE r.customer_id = p.customer_id AND r.credit_type_id = p.credit_type_id AND r.resource_id IN (p.scope_id, '')
    ORDER BY r.resource_id DESC
    LIMIT 1) r ON true
LEFT JOIN credit_pools.recharge open
  ON open.customer_id = p.customer_id AND open.pool_id = p.pool_id AND open.status IN ('pending', 'processing')
LEFT JOIN LATERAL (
    SELECT * FROM credit_pools.recharge l
    WHERE l.customer_id = p.customer_id AND l.pool_id = p.pool_id AND l.status <> 'skipped'
    ORDER BY l.recharge_id DESC
    LIMIT 1) last ON true
WHERE credit_pools.reads_all_customers()
UNION ALL
SELECT own.* FROM credit_pools.own_rows('auto_recharge_states') AS own (
    customer_id text COLLATE "C", resource_id text COLLATE "C", credit_type_id text COLLATE "C", pool_id bigint,
    state text, is_override boolean, threshold numeric, target_balance numeric, recharge_amount numeric,
    price_per_credit numeric, price_currency text, breaker_opened_at timestamptz, pending_amount numeric,
    last_recharge_id bigint, last_recharge_status text, last_recharge_reason text, last_recharge_amount numeric,
    last_recharge_price numeric, last_recharge_currency text, last_recharge_at timestamptz)
WHERE credit_pools.reads_own_customers();

CREATE VIEW credit_pools.subscription_pools AS
SELECT s.customer_id,
       s.resource_id,
       p.credit_type_id,
       s.subscription_id,
       p.pool_id,
       s.plan_id,
       n.display_name AS plan_name,
       s.status,
       s.starts_at,
       s.ends_at,
       t.period_start,
       t.period_end,
       p.balance,
       p.granted,
       p.consumed,
       p.held,
       p.debt,
       p.status AS pool_status,
       a.state AS auto_recharge,
       a.threshold AS recharge_threshold,
       a.target_balance AS recharge_target,
       a.recharge_amount,
       a.last_recharge_id,
       a.last_recharge_status,
       a.last_recharge_amount,
       a.last_recharge_at
FROM credit_pools.subscriptions s
JOIN credit_pools.pools p ON p.customer_id = s.customer_id AND p.resource_id IS NOT DISTINCT FROM s.resource_id
JOIN credit_pools.auto_recharge_states a ON a.customer_id = p.customer_id AND a.pool_id = p.pool_id
LEFT JOIN credit_pools.plan n ON n.plan_id = s.plan_id
LEFT JOIN LATERAL credit_pools.subscription_period(s.customer_id, s.subscription_id) t ON true
WHERE credit_pools.reads_all_customers()
UNION ALL
SELECT own.* FROM credit_pools.own_rows('subscription_pools') AS own (
    customer_id text COLLATE "C", resource_id text COLLATE "C", credit_type_id text COLLATE "C",
    subscription_id text COLLATE "C", pool_id bigint, plan_id text COLLATE "C", plan_name text, status text,
    starts_at timestamptz, ends_at timestamptz, period_start timestamptz, period_end timestamptz, balance numeric,
    granted numeric, consumed numeric, held numeric, debt numeric, pool_status text, auto_recharge text,
    recharge_threshold numeric, recharge_target numeric, recharge_amount numeric, last_recharge_id bigint,
    last_recharge_status text, last_recharge_amount numeric, last_recharge_at timestamptz)
WHERE credit_pools.reads_own_customers();

-- What a hold has of a grant does not expire with it, and is not counted as expiring (contract 10, holds).
CREATE VIEW credit_pools.expiring_credits AS
SELECT g.customer_id,
       g.resource_id,
       g.credit_type_id,
       g.grant_id,
       g.pool_id,
       g.category,
       g.priority,
       g.available AS expiring,
       g.held,
       g.expires_at,
       g.expires_at - credit_pools.clock() AS expires_in,
       g.source,
       g.display_name,
       g.subscription_id
FROM credit_pools.grants g
WHERE g.status = 'active' AND g.available > 0 AND g.expires_at <= credit_pools.clock() + interval '30 days'
  AND credit_pools.reads_all_customers()
UNION ALL
SELECT own.* FROM credit_pools.own_rows('expiring_credits') AS own (
    customer_id text COLLATE "C", resource_id text COLLATE "C", credit_type_id text COLLATE "C", grant_id bigint,
    pool_id bigint, category text, priority smallint, expiring numeric, held numeric, expires_at timestamptz,
    expires_in interval, source text, display_name text, subscription_id text COLLATE "C")
WHERE credit_pools.reads_own_customers();

-- The totals of a tenant are made of what it sees: those of the customer would tell a resource's tenant of others.
CREATE VIEW credit_pools.customer_overview AS
SELECT p.customer_id,
       p.resource_id,
       p.credit_type_id,
       p.pool_id,
       p.status,
       s.plan_id,
       p.balance,
       p.granted,
       p.consumed,
       p.expired,
       p.voided,
       p.held,
       p.debt,
       p.utilization,
       COALESCE(x.expiring, 0) AS expiring_30_days,
       p.next_expiry_at,
       a.state AS auto_recharge,
       u.last_usage_at,
       count(*) OVER customer_and_type AS pools,
       trim_scale(sum(p.balance) OVER customer_and_type) AS total_balance,
       trim_scale(sum(p.granted) OVER customer_and_type) AS total_granted,
       trim_scale(sum(p.consumed) OVER customer_and_type) AS total_consumed,
       trim_scale(sum(p.held) OVER customer_and_type) AS total_held,
       trim_scale(sum(p.debt) OVER customer_and_type) AS total_debt,
       trim_scale(round(p.consumed / NULLIF(sum(p.consumed) OVER customer_and_type, 0), 4)) AS share
FROM credit_pools.pools p
JOIN credit_pools.auto_recharge_states a ON a.customer_id = p.customer_id AND a.pool_id = p.pool_id
LEFT JOIN LATERAL (
    SELECT trim_scale(sum(e.expiring)) AS expiring
    FROM credit_pools.expiring_credits e
    WHERE e.customer_id = p.customer_id AND e.pool_id = p.pool_id) x ON true
LEFT JOIN LATERAL (
    SELECT s.plan_id
    FROM credit_pools.subscription s
    WHERE s.customer_id = p.customer_id AND s.resource_id = COALESCE(p.resource_id, '') AND s.status = 'active'
      AND s.starts_at <= credit_pools.clock() AND s.ends_at > credit_pools.clock()) s ON true
LEFT JOIN LATERAL (
    SELECT e.effective_at AS last_usage_at
    FROM (SELECT * FROM credit_pools.ledger_entry UNION ALL SELECT * FROM credit_pools.ledger_archive) e
    WHERE e.customer_id = p.customer_id AND e.pool_id = p.pool_id AND e.seq > 0 AND e.entry_type IN ('consume', 'debt')
    ORDER BY e.seq DESC
    LIMIT 1) u ON true
WHERE credit_pools.reads_all_customers()
WINDOW customer_and_type AS (PARTITION BY p.customer_id, p.credit_type_id)
UNION ALL
SELECT own.customer_id,
       own.resource_id,
       own.credit_type_id,
       own.pool_id,
       own.status,
       own.plan_id,
       own.balance,
       own.granted,
       own.consumed,
       own.expired,
       own.voided,
       own.held,
       own.debt,
       own.utilization,
       own.expiring_30_days,
       own.next_expiry_at,
       own.auto_recharge,
       own.last_usage_at,
       count(*) OVER customer_and_type,
       trim_scale(sum(own.balance) OVER customer_and_type),
       trim_scale(sum(own.granted) OVER customer_and_type),
       trim_scale(sum(own.consumed) OVER customer_and_type),
       trim_scale(sum(own.held) OVER customer_and_type),
       trim_scale(sum(own.debt) OVER customer_and_type),
       trim_scale(round(own.consumed / NULLIF(sum(own.consumed) OVER customer_and_type, 0), 4))
FROM credit_pools.own_rows('customer_overview') AS own (
    customer_id text COLLATE "C", resource_id text COLLATE "C", credit_type_id text COLLATE "C", pool_id bigint,
    status text, plan_id text COLLATE "C", balance numeric, granted numeric, consumed numeric, expired numeric,
    voided numeric, held numeric, debt numeric, utilization numeric, expiring_30_days numeric,
    next_expiry_at timestamptz, auto_recharge text, last_usage_at timestamptz, pools bigint, total_balance numeric,
    total_granted numeric, total_consumed numeric, total_held numeric, total_debt numeric, share numeric)
WHERE credit_pools.reads_own_customers()
WINDOW customer_and_type AS (PARTITION BY own.customer_id, own.credit_type_id);

-- For monitoring. It reads every pool's row, which at a million pools takes some tenths of a second.
CREATE VIEW credit_pools.health AS
SELECT credit_pools.clock() AS checked_at,
       p.pools,
       p.pools_in_debt,
       p.pools_empty,
       p.pools_frozen,
       d.pools_due,
       COALESCE(credit_pools.clock() - d.due_since, interval '0') AS maintenance_lag,
       r.recharges_pending,
       r.oldest_pending_recharge_at,
       r.recharges_failed_24h,
       p.breakers_open,
       (SELECT e.created_at FROM credit_pools.event e ORDER BY e.event_id LIMIT 1) AS oldest_event_at
FROM (
    SELECT count(*) AS pools,
           count(*) FILTER (WHERE p.debt > 0) AS pools_in_debt,
           count(*) FILTER (WHERE p.balance <= 0) AS pools_empty,
           count(*) FILTER (WHERE p.frozen) AS pools_frozen,
           count(*) FILTER (WHERE p.breaker_opened_at IS NOT NULL) AS breakers_open
    FROM credit_pools.pool p) p
CROSS JOIN (
    SELECT count(*) AS pools_due, min(p.next_transition_at) AS due_since
    FROM credit_pools.pool p WHERE p.next_transition_at <= credit_pools.clock()) d
CROSS JOIN (
    SELECT count(*) FILTER (WHERE r.status IN ('pending', 'processing')) AS recharges_pending,
           min(r.created_at) FILTER (WHERE r.status IN ('pending', 'processing')) AS oldest_pending_recharge_at,
           count(*) FILTER (WHERE r.status = 'failed' AND r.updated_at > credit_pools.clock() - interval '24 hours')
               AS recharges_failed_24h
    FROM credit_pools.recharge r) r
WHERE credit_pools.reads_all_customers();

SET LOCAL search_path TO credit_pools, pg_temp; -- as CREATE EXTENSION has set it
