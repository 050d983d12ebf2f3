SET LOCAL search_path TO pg_catalog, pg_temp; -- no name or operator from anywhere else

-- Customers, their resources and subscriptions. resource_id '' is the customer's global scope: key columns
-- cannot be NULL, and one plan then serves both. Views show NULL.

CREATE TABLE credit_pools.customer (
    customer_id text COLLATE "C" NOT NULL PRIMARY KEY,
    time_zone text NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE credit_pools.resource (
    customer_id text COLLATE "C" NOT NULL,
    resource_id text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, resource_id)
);

-- revision changes with every change of the scope's subscription and is copied to the scope's pools, so
-- that a usage that waited for its pool sees whether the subscription it had read is still the one.
CREATE TABLE credit_pools.subscription (
    customer_id text COLLATE "C" NOT NULL,
    subscription_id text COLLATE "C" NOT NULL,
    resource_id text COLLATE "C" NOT NULL,
    plan_id text COLLATE "C" NOT NULL,
    status text NOT NULL CHECK (status IN ('active', 'cancelled', 'ended')),
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    cancelled_at timestamptz,
    end_credits text NOT NULL CHECK (end_credits IN ('keep', 'expire')),
    time_zone text NOT NULL,
    quantities jsonb,
    rate_overrides jsonb,
    amount_overrides jsonb,
    metadata jsonb,
    revision bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, subscription_id),
    CHECK (ends_at > starts_at OR cancelled_at IS NOT NULL)
);

-- What a subscription was from an instant on, for balance_at: the past must not depend on what came later.
CREATE TABLE credit_pools.subscription_version (
    customer_id text COLLATE "C" NOT NULL,
    subscription_id text COLLATE "C" NOT NULL,
    changed_at timestamptz NOT NULL,
    resource_id text COLLATE "C" NOT NULL,
    plan_id text COLLATE "C" NOT NULL,
    ends_at timestamptz NOT NULL,
    end_credits text NOT NULL,
    quantities jsonb,
    amount_overrides jsonb,
    PRIMARY KEY (customer_id, subscription_id, changed_at)
);

-- At most one active subscription per scope.
CREATE UNIQUE INDEX subscription_one_active
    ON credit_pools.subscription (customer_id, resource_id) WHERE status = 'active';
CREATE INDEX subscription_scope ON credit_pools.subscription (customer_id, resource_id);
-- The subscriptions that the clock will end, for maintenance.
CREATE INDEX subscription_ending ON credit_pools.subscription (ends_at) WHERE status = 'active' AND ends_at < 'infinity';

SET LOCAL search_path TO credit_pools, pg_temp; -- as CREATE EXTENSION has set it
