SET LOCAL search_path TO pg_catalog, pg_temp; -- no name or operator from anywhere else

-- Pools, grants and the ledger. There are no foreign keys from here to the customer or the catalogue: a
-- foreign key locks the row it points to, and nothing may be shared between two pools.

CREATE SEQUENCE credit_pools.pool_id_seq AS bigint;
CREATE SEQUENCE credit_pools.grant_id_seq AS bigint;
CREATE SEQUENCE credit_pools.usage_id_seq AS bigint;
CREATE SEQUENCE credit_pools.recharge_id_seq AS bigint;
CREATE SEQUENCE credit_pools.revision_seq AS bigint;
CREATE SEQUENCE credit_pools.grants_revision_seq AS bigint;
CREATE SEQUENCE credit_pools.schedule_id_seq AS bigint;
CREATE SEQUENCE credit_pools.reservation_id_seq AS bigint;

-- The lock and the summary of a pool. A usage changes no indexed column, so its update stays on the page
-- (HOT); the free space is for that.
--
-- The tables that usage writes have no CHECK and no index on an expression: PostgreSQL parses these anew for
-- every statement, which took a quarter of a usage's time. The same invariants are asserted before each write
-- (Wallet::audit).
--
-- held is what holds have of grants, and unbacked the part of it that they have of the overdraft. limited says that
-- spending limits may cover the pool, so that usage elsewhere does not look for any.
--
-- alert_thresholds and alert_percents are the customer's own; NULL both, those of the credit type count. alert_granted is what
-- percents are of, NULL until somebody needs it; it is so until alert_granted_until, when a grant that counts in it ends.
--
-- The order of columns, here and in the two tables below: first those of fixed length and those in indexes, as an update
-- looks at every one of these and only up to the first text are their places known; then what usage leaves alone; then what
-- it changes, together, as an update logs all bytes from its first change to its last.
--
-- grants_revision is another number of grants_revision_seq after each change of the pool's grants but plain usage, so that a session
-- knows whether the grant that it drew from last is still the first.
--
-- scope_id is resource_id with '' for the global scope, for the key; resource_id is NULL there, for the views.
CREATE TABLE credit_pools.pool (
    pool_id bigint NOT NULL,
    scope_revision bigint NOT NULL,
    grants_revision bigint NOT NULL,
    next_transition_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    frozen boolean NOT NULL,
    limited boolean NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    scope_id text COLLATE "C" NOT NULL,
    resource_id text COLLATE "C",
    credit_type_id text COLLATE "C" NOT NULL,
    held numeric NOT NULL,
    unbacked numeric NOT NULL,
    debt numeric NOT NULL,
    granted numeric NOT NULL,
    expired numeric NOT NULL,
    voided numeric NOT NULL,
    overdraft_limit numeric NOT NULL,
    seq bigint NOT NULL,
    last_recorded_at timestamptz NOT NULL,
    balance numeric NOT NULL,
    restricted numeric NOT NULL,
    consumed numeric NOT NULL,
    last_hash bytea NOT NULL,
    last_recharge_id bigint,
    breaker_opened_at timestamptz,
    alert_granted_until timestamptz,
    recharge_threshold numeric,
    alert_granted numeric,
    alert_thresholds numeric[],
    alert_percents numeric[],
    metadata jsonb,
    PRIMARY KEY (customer_id, pool_id),
    -- The scope first, as the resource below: what looks for a pool by customer and id must not find another index as good
    -- as the key, which it would as long as the table has no statistics.
    CONSTRAINT pool_of_scope UNIQUE (scope_id, customer_id, credit_type_id)
) WITH (fillfactor = 60);

CREATE INDEX pool_by_resource ON credit_pools.pool (resource_id, customer_id, credit_type_id);
-- The order in which maintenance takes them.
CREATE INDEX pool_due ON credit_pools.pool (next_transition_at, customer_id, pool_id);

-- Where each entry of a subscription's plan stands: the next boundary at which it grants, and into which pool. Read
-- and written under the pool's lock only. A plan or a pool that the subscription left keeps its rows, stopped: an
-- entry grants once per period also when the plan is changed away and back.
CREATE TABLE credit_pools.schedule (
    customer_id text COLLATE "C" NOT NULL,
    schedule_id bigint NOT NULL,
    pool_id bigint NOT NULL,
    subscription_id text COLLATE "C" NOT NULL,
    plan_id text COLLATE "C" NOT NULL,
    credit_type_id text COLLATE "C" NOT NULL,
    entry_id text COLLATE "C" NOT NULL,
    next_at timestamptz NOT NULL,
    granted numeric,
    period_start timestamptz,
    period_from timestamptz,
    overdraft_limit numeric NOT NULL,
    running_since timestamptz NOT NULL,
    first_at timestamptz NOT NULL,
    stopped_at timestamptz,
    PRIMARY KEY (customer_id, schedule_id),
    UNIQUE (customer_id, subscription_id, plan_id, credit_type_id, entry_id, pool_id)
) WITH (fillfactor = 80);

CREATE INDEX schedule_of_pool ON credit_pools.schedule (customer_id, pool_id);

-- expires_at 'infinity' is never. unlimited and plain are feature_ids IS NULL and category <> 'promotional',
-- as columns for the order of consumption.
CREATE TABLE credit_pools.pool_grant (
    grant_id bigint NOT NULL,
    pool_id bigint NOT NULL,
    effective_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    priority smallint NOT NULL,
    unlimited boolean NOT NULL,
    plain boolean NOT NULL,
    unpaid boolean NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    status text NOT NULL,
    schedule_id bigint,
    period_start timestamptz,
    category text NOT NULL,
    amount numeric NOT NULL,
    held numeric NOT NULL,
    expired numeric NOT NULL,
    voided numeric NOT NULL,
    consumed numeric NOT NULL,
    feature_ids text[] COLLATE "C",
    price numeric,
    price_currency text,
    payment_reference text,
    source text NOT NULL,
    subscription_id text COLLATE "C",
    plan_id text COLLATE "C",
    entry_id text COLLATE "C",
    source_grant_id bigint,
    recharge_id bigint,
    display_name text,
    reason text,
    metadata jsonb,
    PRIMARY KEY (customer_id, grant_id),
    -- A plan entry grants at most once per period of a subscription. NULLs, of other grants, do not meet.
    CONSTRAINT pool_grant_once_per_period UNIQUE (customer_id, schedule_id, period_start)
) WITH (fillfactor = 70);

CREATE INDEX pool_grant_of_pool ON credit_pools.pool_grant (customer_id, pool_id, grant_id);
-- The open grants in order of consumption (contract, section 4). Only a grant's last draw changes the status,
-- so the updates before it stay HOT.
CREATE INDEX pool_grant_burn_order ON credit_pools.pool_grant
    (customer_id, pool_id, priority, unlimited, expires_at, plain, effective_at, created_at, grant_id)
    WHERE status IN ('active', 'scheduled', 'pending_payment');

-- One row per ledger entry. The first row of a usage also carries the usage itself (credits, shortfall,
-- rate, key), so that the common usage costs one row. A usage that moved no credits has a row with
-- seq = -usage_id: it is a usage event, not a ledger entry. A shortfall below zero is what a lower total of a period
-- (update_behavior set) gave back.
CREATE TABLE credit_pools.ledger_entry (
    pool_id bigint NOT NULL,
    seq bigint NOT NULL,
    effective_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    grant_id bigint,
    usage_id bigint,
    recharge_id bigint,
    payload_digest bigint,
    customer_id text COLLATE "C" NOT NULL,
    entry_type text NOT NULL,
    amount numeric NOT NULL,
    balance_after numeric NOT NULL,
    feature_id text COLLATE "C",
    value numeric,
    credits numeric,
    shortfall numeric,
    rate numeric,
    reservation_id text COLLATE "C",
    idempotency_key text COLLATE "C",
    actor text NOT NULL,
    reason text,
    dimensions jsonb,
    metadata jsonb,
    entry_hash bytea,
    PRIMARY KEY (customer_id, pool_id, seq)
);

-- A usage's key counts once per customer; it stands on the usage's first row, the one with credits.
CREATE UNIQUE INDEX ledger_entry_usage_key ON credit_pools.ledger_entry (customer_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL AND credits IS NOT NULL;

-- The rows of one usage, and those that take it back: usage_id grows with time, so this index does at its end only.
-- customer_id is in it so that no other way seems as good to the planner, even without statistics: it would be 17 bytes a
-- usage smaller without, and verify_ledger takes minutes on a ledger that was never analyzed.
CREATE INDEX ledger_entry_usage ON credit_pools.ledger_entry (usage_id, customer_id) WHERE usage_id IS NOT NULL;

-- What has been taken back of each usage: credits, the sum of its rows of type reverse, and how much of its value counts
-- no more in its period's total. Few usages have a row.
CREATE TABLE credit_pools.usage_reversal (
    customer_id text COLLATE "C" NOT NULL,
    usage_id bigint NOT NULL,
    credits numeric NOT NULL,
    value numeric NOT NULL,
    PRIMARY KEY (customer_id, usage_id)
);

-- A scope's total of a feature in a billing period, for usage that is reported as a new total. It has what was recorded
-- up to ledger row up_to_seq and usage up_to_usage; the rest is added when it is asked for, so that other usage pays
-- nothing for it.
CREATE TABLE credit_pools.usage_total (
    customer_id text COLLATE "C" NOT NULL,
    pool_id bigint NOT NULL,
    feature_id text COLLATE "C" NOT NULL,
    period_start timestamptz NOT NULL,
    value numeric NOT NULL,
    up_to_seq bigint NOT NULL,
    up_to_usage bigint NOT NULL,
    PRIMARY KEY (customer_id, pool_id, feature_id, period_start)
) WITH (fillfactor = 80);

-- Holds. grant_ids and parts say what is still held of which grant, in the order in which it will be charged; NULL among
-- the ids is the overdraft. The first_ and closing_ columns answer a call that is repeated.
CREATE TABLE credit_pools.reservation (
    customer_id text COLLATE "C" NOT NULL,
    reservation_id text COLLATE "C" NOT NULL,
    pool_id bigint NOT NULL,
    status text NOT NULL,
    amount numeric NOT NULL,
    held numeric NOT NULL,
    charged numeric NOT NULL,
    grant_ids bigint[] NOT NULL,
    parts numeric[] NOT NULL,
    feature_id text COLLATE "C",
    value numeric,
    rate numeric,
    formula text,
    dimensions jsonb,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    closed_at timestamptz,
    payload_digest bigint NOT NULL,
    first_expires_at timestamptz NOT NULL,
    first_balance numeric NOT NULL,
    closing_digest bigint,
    closing_result jsonb,
    metadata jsonb,
    PRIMARY KEY (customer_id, reservation_id)
) WITH (fillfactor = 70);

CREATE INDEX reservation_open ON credit_pools.reservation (customer_id, pool_id) WHERE status = 'active';

-- Spending limits: what a pool (scope_id '' is the global one), or with all_resources a customer, may use per window.
-- The row counts for the window that it names and is locked by whoever uses credits under it.
CREATE TABLE credit_pools.spending_limit (
    customer_id text COLLATE "C" NOT NULL,
    credit_type_id text COLLATE "C" NOT NULL,
    all_resources boolean NOT NULL,
    scope_id text COLLATE "C" NOT NULL,
    per interval NOT NULL,
    amount numeric NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    used numeric NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, credit_type_id, all_resources, scope_id, per)
) WITH (fillfactor = 60);

-- The row of report_usage and consume_credits.
CREATE TYPE credit_pools.usage_result AS (
    usage_id bigint,
    pool_id bigint,
    credit_type_id text,
    credits_consumed numeric,
    shortfall numeric,
    balance numeric,
    is_duplicate boolean
);

-- The row of check_credits.
CREATE TYPE credit_pools.check_result AS (
    is_granted boolean,
    denial_reason text,
    balance numeric,
    required numeric,
    pool_id bigint,
    credit_type_id text
);

-- Keys of the calls other than usage, with what the first call returned.
CREATE TABLE credit_pools.idempotency_key (
    customer_id text COLLATE "C" NOT NULL,
    call text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    payload_digest bigint NOT NULL,
    result jsonb,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, call, key)
);

SET LOCAL search_path TO credit_pools, pg_temp; -- as CREATE EXTENSION has set it
