SET LOCAL search_path TO pg_catalog, pg_temp; -- no name or operator from anywhere else

-- Auto-recharge: policies, what they spent per period, and every decision. resource_id '' is the policy of
-- all pools of the customer and credit type; otherwise an override for that resource's pool.

CREATE TABLE credit_pools.recharge_policy (
    customer_id text COLLATE "C" NOT NULL,
    credit_type_id text COLLATE "C" NOT NULL,
    resource_id text COLLATE "C" NOT NULL,
    enabled boolean NOT NULL,
    threshold numeric NOT NULL CHECK (threshold >= 0),
    target_balance numeric CHECK (target_balance > threshold),
    recharge_amount numeric CHECK (recharge_amount > 0),
    price_per_credit numeric CHECK (price_per_credit >= 0),
    price_currency text,
    max_spend numeric CHECK (max_spend >= 0),
    spend_period interval NOT NULL,
    max_count bigint CHECK (max_count >= 0),
    cooldown interval NOT NULL,
    grant_expires_after interval,
    settlement text NOT NULL CHECK (settlement IN ('on_payment', 'immediate')),
    max_failures integer NOT NULL CHECK (max_failures > 0),
    backoff interval NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, credit_type_id, resource_id),
    CHECK ((target_balance IS NULL) <> (recharge_amount IS NULL))
);

-- Pending and succeeded recharges of a policy per calendar period. This row is the one lock that pools of
-- a policy with max_spend or max_count share.
CREATE TABLE credit_pools.recharge_spend (
    customer_id text COLLATE "C" NOT NULL,
    credit_type_id text COLLATE "C" NOT NULL,
    policy_resource_id text COLLATE "C" NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    spent numeric NOT NULL CHECK (spent >= 0),
    count bigint NOT NULL CHECK (count >= 0),
    PRIMARY KEY (customer_id, credit_type_id, policy_resource_id, period_start, period_end)
);

-- cause_seq is the ledger row that the decision looked at, settled_seq the last row of its own grant.
CREATE TABLE credit_pools.recharge (
    customer_id text COLLATE "C" NOT NULL,
    recharge_id bigint NOT NULL,
    pool_id bigint NOT NULL,
    resource_id text COLLATE "C" NOT NULL,
    credit_type_id text COLLATE "C" NOT NULL,
    policy_resource_id text COLLATE "C" NOT NULL,
    status text NOT NULL CHECK (status IN ('pending', 'processing', 'succeeded', 'failed', 'skipped')),
    reason text,
    balance numeric NOT NULL,
    amount numeric CHECK (amount > 0),
    price numeric CHECK (price >= 0),
    price_currency text,
    grant_expires_after interval,
    max_failures integer,
    backoff interval,
    grant_id bigint,
    attempts integer NOT NULL,
    evaluations bigint NOT NULL,
    payment_reference text,
    worker text,
    lease_expires_at timestamptz,
    next_attempt_at timestamptz,
    cause_seq bigint NOT NULL,
    settled_seq bigint,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, recharge_id),
    CHECK ((status = 'skipped') = (amount IS NULL))
);

CREATE UNIQUE INDEX recharge_one_in_flight
    ON credit_pools.recharge (customer_id, pool_id) WHERE status IN ('pending', 'processing');
CREATE INDEX recharge_of_pool ON credit_pools.recharge (customer_id, pool_id, recharge_id);
CREATE INDEX recharge_claimable
    ON credit_pools.recharge (next_attempt_at) WHERE status IN ('pending', 'processing');
-- Skips whose reason ends by the clock (cooldown, a period's limit), for maintenance to look at the pool again.
CREATE INDEX recharge_look_again
    ON credit_pools.recharge (next_attempt_at) WHERE status = 'skipped' AND next_attempt_at IS NOT NULL;

SET LOCAL search_path TO credit_pools, pg_temp; -- as CREATE EXTENSION has set it
