SET LOCAL search_path TO pg_catalog, pg_temp; -- no name or operator from anywhere else

-- Where archive_ledger puts closed history (docs/growth.md), so that the ledger that usage writes to stays small. A row is
-- in ledger_entry or here, never in both: whoever reads history reads the two together.

-- Columns, types and order are those of ledger_entry; a change of the one is a change of the other. Not partitioned: a
-- question by pool or by usage would look into every part.
CREATE TABLE credit_pools.ledger_archive (
    LIKE credit_pools.ledger_entry,
    PRIMARY KEY (customer_id, pool_id, seq)
) WITH (autovacuum_freeze_min_age = 0); -- what never changes is frozen when it is vacuumed first
CREATE INDEX ledger_archive_usage ON credit_pools.ledger_archive (usage_id, customer_id) WHERE usage_id IS NOT NULL;
-- Each run adds the rows of a time: a question about another one passes over its pages.
CREATE INDEX ledger_archive_time ON credit_pools.ledger_archive
    USING brin (recorded_at, effective_at) WITH (pages_per_range = 64, autosummarize = on);

-- The keys of the usages there, for ever, with what the first call returned.
CREATE TABLE credit_pools.archived_usage (
    customer_id text COLLATE "C" NOT NULL,
    idempotency_key text COLLATE "C" NOT NULL,
    payload_digest bigint,
    usage_id bigint NOT NULL,
    pool_id bigint NOT NULL,
    credits numeric NOT NULL,
    shortfall numeric NOT NULL,
    balance numeric NOT NULL,
    PRIMARY KEY (customer_id, idempotency_key)
) WITH (autovacuum_freeze_min_age = 0);

-- One row each time that rows of a pool moved: the last of them, whose hash the first row left in ledger_entry goes on
-- from, and the last usage without credits (up_to_usage). The greatest says where the pool's archive ends.
CREATE TABLE credit_pools.ledger_archive_head (
    customer_id text COLLATE "C" NOT NULL,
    pool_id bigint NOT NULL,
    up_to_seq bigint NOT NULL,
    up_to_usage bigint NOT NULL,
    entry_hash bytea NOT NULL,
    balance_after numeric NOT NULL,
    recorded_at timestamptz NOT NULL,
    entries bigint NOT NULL,
    usage_events bigint NOT NULL,
    archived_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, pool_id, up_to_seq, up_to_usage)
);

SET LOCAL search_path TO credit_pools, pg_temp; -- as CREATE EXTENSION has set it
