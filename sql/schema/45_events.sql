SET LOCAL search_path TO pg_catalog, pg_temp; -- no name or operator from anywhere else

-- What happened, for those who are to hear of it (an outbox), and at what balance they are to hear.

-- Levels of a customer's own, in place of the credit type's. A new pool takes them over.
CREATE TABLE credit_pools.balance_alert (
    customer_id text COLLATE "C" NOT NULL,
    credit_type_id text COLLATE "C" NOT NULL,
    thresholds numeric[] NOT NULL,
    percents numeric[] NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, credit_type_id)
);

CREATE SEQUENCE credit_pools.event_id_seq AS bigint;

-- data is the whole envelope, so that who decodes the log needs nothing else.
--
-- Ids are given in the order of writing, commits come in another. horizon is the transaction id that was next when the
-- row was written, after its event_id was taken: whoever took a smaller event_id had a smaller transaction id by then.
-- So once every transaction before the horizon has ended, no event with a smaller event_id can still come.
CREATE TABLE credit_pools.event (
    customer_id text COLLATE "C" NOT NULL,
    event_id bigint NOT NULL,
    resource_id text COLLATE "C",
    credit_type_id text COLLATE "C",
    pool_id bigint,
    type text COLLATE "C" NOT NULL,
    data jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    horizon bigint NOT NULL,
    PRIMARY KEY (customer_id, event_id)
);

CREATE INDEX event_in_order ON credit_pools.event (event_id);

-- How far those who read have come.
CREATE TABLE credit_pools.event_consumer (
    consumer text COLLATE "C" NOT NULL PRIMARY KEY,
    event_id bigint NOT NULL,
    created_at timestamptz NOT NULL,
    acknowledged_at timestamptz
);

SET LOCAL search_path TO credit_pools, pg_temp; -- as CREATE EXTENSION has set it
