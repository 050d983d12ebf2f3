-- Pools, grants and the ledger. There are no foreign keys from here to the customer or the catalogue: a
-- foreign key locks the row it points to, and nothing may be shared between two pools.

CREATE SEQUENCE credit_pools.pool_id_seq AS bigint;
CREATE SEQUENCE credit_pools.grant_id_seq AS bigint;
CREATE SEQUENCE credit_pools.usage_id_seq AS bigint;
CREATE SEQUENCE credit_pools.recharge_id_seq AS bigint;
CREATE SEQUENCE credit_pools.revision_seq AS bigint;

-- The lock and the summary of a pool. A usage changes no indexed column, so its update stays on the page
-- (HOT); the free space is for that.
CREATE TABLE credit_pools.pool (
    customer_id text COLLATE "C" NOT NULL,
    pool_id bigint NOT NULL,
    resource_id text COLLATE "C" NOT NULL,
    credit_type_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    balance numeric NOT NULL,
    held numeric NOT NULL CHECK (held >= 0),
    debt numeric NOT NULL CHECK (debt >= 0),
    restricted numeric NOT NULL CHECK (restricted >= 0),
    granted numeric NOT NULL CHECK (granted >= 0),
    consumed numeric NOT NULL CHECK (consumed >= 0),
    expired numeric NOT NULL CHECK (expired >= 0),
    voided numeric NOT NULL CHECK (voided >= 0),
    overdraft_limit numeric NOT NULL CHECK (overdraft_limit >= 0),
    status text NOT NULL CHECK (status IN ('active', 'frozen')),
    scope_revision bigint NOT NULL,
    recharge_threshold numeric CHECK (recharge_threshold >= 0),
    last_recharge_id bigint,
    breaker_opened_at timestamptz,
    next_transition_at timestamptz NOT NULL,
    last_hash bytea NOT NULL,
    last_recorded_at timestamptz NOT NULL,
    metadata jsonb,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, pool_id),
    UNIQUE (customer_id, resource_id, credit_type_id),
    CONSTRAINT pool_sums_agree CHECK (balance = granted - consumed - expired - voided - held - debt)
) WITH (fillfactor = 60);

-- Views show NULL for the global pool; this index finds a pool by the column as they show it.
CREATE INDEX pool_by_shown_resource
    ON credit_pools.pool (customer_id, (NULLIF(resource_id, '')), credit_type_id);
CREATE INDEX pool_due ON credit_pools.pool (next_transition_at) WHERE next_transition_at < 'infinity';

-- expires_at 'infinity' is never.
CREATE TABLE credit_pools.pool_grant (
    customer_id text COLLATE "C" NOT NULL,
    grant_id bigint NOT NULL,
    pool_id bigint NOT NULL,
    category text NOT NULL CHECK (category IN ('paid', 'promotional', 'recurring')),
    priority smallint NOT NULL CHECK (priority BETWEEN 0 AND 100),
    amount numeric NOT NULL CHECK (amount > 0),
    consumed numeric NOT NULL CHECK (consumed >= 0),
    held numeric NOT NULL CHECK (held >= 0),
    expired numeric NOT NULL CHECK (expired >= 0),
    voided numeric NOT NULL CHECK (voided >= 0),
    status text NOT NULL
        CHECK (status IN ('scheduled', 'pending_payment', 'active', 'depleted', 'expired', 'voided')),
    effective_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    feature_ids text[] COLLATE "C",
    price numeric CHECK (price >= 0),
    price_currency text,
    payment_reference text,
    source text NOT NULL CHECK (source IN ('manual', 'plan', 'recharge')),
    subscription_id text COLLATE "C",
    plan_id text COLLATE "C",
    entry_id text COLLATE "C",
    period_start timestamptz,
    recharge_id bigint,
    display_name text,
    reason text,
    metadata jsonb,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, grant_id),
    CONSTRAINT grant_not_overdrawn CHECK (consumed + held + expired + voided <= amount),
    CONSTRAINT grant_ends_after_start CHECK (expires_at > effective_at)
) WITH (fillfactor = 70);

CREATE INDEX pool_grant_of_pool ON credit_pools.pool_grant (customer_id, pool_id, grant_id);
-- The order of consumption (contract, section 4). Only a grant's first and last draw can change the
-- status, so the updates in between stay HOT.
CREATE INDEX pool_grant_burn_order ON credit_pools.pool_grant
    (customer_id, pool_id, priority, (feature_ids IS NULL), expires_at, (category <> 'promotional'),
     effective_at, created_at, grant_id)
    WHERE status = 'active';
CREATE INDEX pool_grant_waiting ON credit_pools.pool_grant (customer_id, pool_id)
    WHERE status IN ('scheduled', 'pending_payment');
-- A plan entry grants at most once per period of a subscription.
CREATE UNIQUE INDEX pool_grant_once_per_period ON credit_pools.pool_grant
    (customer_id, subscription_id, plan_id, pool_id, entry_id, period_start) WHERE source = 'plan';

-- One row per ledger entry. The first row of a usage also carries the usage itself (credits, shortfall,
-- rate, key), so that the common usage costs one row. A usage that moved no credits has a row with
-- seq = -usage_id: it is a usage event, not a ledger entry.
CREATE TABLE credit_pools.ledger_entry (
    customer_id text COLLATE "C" NOT NULL,
    pool_id bigint NOT NULL,
    seq bigint NOT NULL,
    entry_type text NOT NULL CHECK (entry_type IN
        ('open', 'schedule', 'grant', 'consume', 'expire', 'void', 'update', 'reserve', 'release',
         'reservation_expire', 'debt', 'debt_settle', 'reverse', 'transfer_in', 'transfer_out',
         'rollover_in', 'rollover_out')),
    amount numeric NOT NULL,
    balance_after numeric NOT NULL,
    grant_id bigint,
    usage_id bigint,
    feature_id text COLLATE "C",
    value numeric,
    credits numeric,
    shortfall numeric,
    rate numeric,
    reservation_id text COLLATE "C",
    recharge_id bigint,
    idempotency_key text COLLATE "C",
    payload_digest bigint,
    actor text NOT NULL,
    reason text,
    dimensions jsonb,
    metadata jsonb,
    effective_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    entry_hash bytea,
    PRIMARY KEY (customer_id, pool_id, seq)
);

-- A usage's key counts once per customer; it stands on the usage's first row, the one with credits.
CREATE UNIQUE INDEX ledger_entry_usage_key ON credit_pools.ledger_entry (customer_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL AND credits IS NOT NULL;

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
