SET LOCAL search_path TO pg_catalog, pg_temp; -- no name or operator from anywhere else

-- The catalogue: what can be granted, what can be used, and at what rate.
-- Small tables, written by the define_* functions only, shared by all customers. They check what a row refers to; there are
-- no foreign keys, since a parallel restore loads the tables of an extension in any order.

-- The schema may have been there before (a restore makes it first, DROP EXTENSION leaves it). Whoever owned it, could create in it or
-- had put something into it could later take calls and operators over, and drop the extension with the schema.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_catalog.pg_namespace n
        WHERE n.nspname OPERATOR(pg_catalog.=) 'credit_pools'
          AND (NOT EXISTS (SELECT FROM pg_catalog.pg_roles r
                           WHERE r.oid OPERATOR(pg_catalog.=) n.nspowner
                             AND (r.rolsuper OR r.rolname OPERATOR(pg_catalog.=) CURRENT_USER))
               OR EXISTS (SELECT FROM pg_catalog.aclexplode(n.nspacl) a
                          WHERE a.privilege_type OPERATOR(pg_catalog.=) 'CREATE' AND a.grantee OPERATOR(pg_catalog.<>) n.nspowner)
               OR EXISTS (SELECT FROM pg_catalog.pg_depend d
                          WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass
                            AND d.refobjid OPERATOR(pg_catalog.=) n.oid
                            AND d.classid OPERATOR(pg_catalog.<>) 'pg_catalog.pg_extension'::pg_catalog.regclass)))
    THEN
        RAISE EXCEPTION 'the schema credit_pools is not empty, or not a superuser''s alone'
            USING ERRCODE = '42501', HINT = 'Drop the schema credit_pools and let CREATE EXTENSION make it.';
    END IF;
END
$$;

-- Ids are compared byte by byte and handed to Rust as they are: both want UTF-8.
DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
        RAISE EXCEPTION 'credit_pools needs a database with encoding UTF8' USING ERRCODE = '0A000';
    END IF;
END
$$;

CREATE TABLE credit_pools.credit_type (
    credit_type_id text COLLATE "C" NOT NULL PRIMARY KEY,
    display_name text,
    scale smallint NOT NULL CHECK (scale BETWEEN 0 AND 18),
    symbol text,
    unit_singular text,
    unit_plural text,
    alert_thresholds numeric[],
    alert_percents numeric[],
    metadata jsonb,
    archived_at timestamptz,
    created_at timestamptz NOT NULL
);

CREATE TABLE credit_pools.feature (
    feature_id text COLLATE "C" NOT NULL PRIMARY KEY,
    display_name text,
    unit text,
    metadata jsonb,
    created_at timestamptz NOT NULL
);

CREATE TABLE credit_pools.plan (
    plan_id text COLLATE "C" NOT NULL PRIMARY KEY,
    display_name text,
    metadata jsonb,
    created_at timestamptz NOT NULL
);

-- Versioned, so that a renewal that is booked late is the one of its instant: it takes the version then in force.
CREATE TABLE credit_pools.plan_entry (
    plan_id text COLLATE "C" NOT NULL,
    credit_type_id text COLLATE "C" NOT NULL,
    entry_id text COLLATE "C" NOT NULL,
    effective_at timestamptz NOT NULL,
    amount numeric NOT NULL CHECK (amount > 0),
    cadence interval,
    priority smallint NOT NULL CHECK (priority BETWEEN 0 AND 100),
    category text NOT NULL CHECK (category IN ('paid', 'promotional', 'recurring')),
    expires_after interval,
    rollover_max numeric NOT NULL CHECK (rollover_max >= 0),
    rollover_percent numeric NOT NULL CHECK (rollover_percent BETWEEN 0 AND 100),
    rollover_periods integer NOT NULL CHECK (rollover_periods > 0),
    quantity_feature_id text COLLATE "C",
    overdraft_limit numeric NOT NULL CHECK (overdraft_limit >= 0),
    PRIMARY KEY (plan_id, credit_type_id, entry_id, effective_at)
);

-- plan_id '' is the rate for every plan: a key column cannot be NULL.
CREATE TABLE credit_pools.rate (
    feature_id text COLLATE "C" NOT NULL,
    plan_id text COLLATE "C" NOT NULL,
    effective_at timestamptz NOT NULL,
    credit_type_id text COLLATE "C" NOT NULL,
    credits_per_unit numeric CHECK (credits_per_unit >= 0),
    formula text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (feature_id, plan_id, effective_at),
    CHECK ((credits_per_unit IS NULL) <> (formula IS NULL))
);

SET LOCAL search_path TO credit_pools, pg_temp; -- as CREATE EXTENSION has set it
