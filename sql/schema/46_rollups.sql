SET LOCAL search_path TO pg_catalog, pg_temp; -- no name or operator from anywhere else

-- Usage added up, for charts. Maintenance adds rows of the ledger, which never change; usage itself pays nothing. What
-- has not been added yet is read from the ledger, so that a chart is right at any time, also with these tables empty.

-- What occurred in a quarter of an hour (every zone's hours and days begin with one), feature_id '' for plain credits:
-- credits less what was taken back, units (value) and usages.
CREATE TABLE credit_pools.usage_rollup (
    customer_id text COLLATE "C" NOT NULL,
    pool_id bigint NOT NULL,
    quarter timestamptz NOT NULL,
    feature_id text COLLATE "C" NOT NULL,
    credits numeric NOT NULL,
    units numeric NOT NULL,
    events bigint NOT NULL,
    PRIMARY KEY (customer_id, pool_id, quarter, feature_id)
);

-- Where in the ledger the rows of a quarter lie, by blocks of a thousand: a chart whose beginning is not that of a quarter,
-- or one by dimensions, reads these rows and no others.
CREATE TABLE credit_pools.usage_rollup_place (
    customer_id text COLLATE "C" NOT NULL,
    pool_id bigint NOT NULL,
    quarter timestamptz NOT NULL,
    block bigint NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    PRIMARY KEY (customer_id, pool_id, quarter, block)
);

-- What a pool's sums have: ledger rows up to up_to_seq, and usages that moved no credits (seq = -usage_id) up to
-- up_to_usage. Both are written in the order of their numbers, under the pool's lock.
CREATE TABLE credit_pools.usage_rollup_progress (
    customer_id text COLLATE "C" NOT NULL,
    pool_id bigint NOT NULL,
    up_to_seq bigint NOT NULL,
    up_to_usage bigint NOT NULL,
    PRIMARY KEY (customer_id, pool_id)
) WITH (fillfactor = 80);

-- Up to which pool maintenance has looked on its round: at most one row.
CREATE TABLE credit_pools.usage_rollup_position (
    the_only boolean NOT NULL PRIMARY KEY CHECK (the_only),
    customer_id text COLLATE "C" NOT NULL,
    pool_id bigint NOT NULL
);

SET LOCAL search_path TO credit_pools, pg_temp; -- as CREATE EXTENSION has set it
