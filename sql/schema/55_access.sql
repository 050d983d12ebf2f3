SET LOCAL search_path TO pg_catalog, pg_temp; -- no name or operator from anywhere else

-- Who may see what. The privilege to execute reads_all_customers() is the right to see the rows of all customers; that to
-- execute reads_own_customers() makes a role a tenant, which sees what role_access names. grant_access (68_access.sql) gives the one or the other.

-- One row per access that was given. resource_id '' is the whole customer; customer_id is '' but for tenants. role_id is the
-- role's oid: another role that takes the name of one that was dropped or renamed takes nothing else over.
CREATE TABLE credit_pools.role_access (
    role_name text COLLATE "C" NOT NULL,
    role_id oid NOT NULL,
    level text COLLATE "C" NOT NULL CHECK (level IN ('admin', 'app', 'meter', 'reader', 'tenant')),
    customer_id text COLLATE "C" NOT NULL,
    resource_id text COLLATE "C" NOT NULL,
    granted_at timestamptz NOT NULL,
    PRIMARY KEY (role_name, level, customer_id, resource_id),
    CHECK ((level = 'tenant') = (customer_id <> ''))
);

-- Oids mean nothing in another cluster: what a restore inserts gets that of the role of here (ALWAYS), 0 for one that is not.
CREATE FUNCTION credit_pools.set_role_id() RETURNS trigger
    LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    NEW.role_id := COALESCE((SELECT r.oid FROM pg_roles r WHERE r.rolname = NEW.role_name), 0::oid);
    RETURN NEW;
END
$$;
CREATE TRIGGER role_access_role_id
    BEFORE INSERT ON credit_pools.role_access
    FOR EACH ROW EXECUTE FUNCTION credit_pools.set_role_id();
ALTER TABLE credit_pools.role_access ENABLE ALWAYS TRIGGER role_access_role_id;

CREATE FUNCTION credit_pools.access_support(internal) RETURNS internal
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'credit_pools_access_support';
ALTER FUNCTION credit_pools.reads_all_customers() SUPPORT credit_pools.access_support;
ALTER FUNCTION credit_pools.reads_own_customers() SUPPORT credit_pools.access_support;

-- A tenant's rows of a view. A function shows nothing of what it reads: no estimate, no count of rows left out.
CREATE FUNCTION credit_pools.own_rows(view pg_catalog.text) RETURNS SETOF record
    LANGUAGE c STABLE SET search_path TO pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'credit_pools_own_rows';

-- Nobody but the owner has a privilege on a table. Should one be granted by hand, it is no way around: the policy asks the
-- same. And where row-level security is on, PostgreSQL plans a prepared statement anew when the role changes, which what
-- access_support says depends on. Functions that write run as the owner, who is not concerned.
DO $$
DECLARE
    name pg_catalog.text;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_catalog.pg_class c
        WHERE c.relnamespace OPERATOR(pg_catalog.=) 'credit_pools'::pg_catalog.regnamespace
          AND c.relkind OPERATOR(pg_catalog.=) 'r'
        ORDER BY c.relname
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE credit_pools.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE pg_catalog.format(
            'CREATE POLICY readers ON credit_pools.%I FOR SELECT USING (credit_pools.reads_all_customers())', name);
    END LOOP;
END
$$;

SET LOCAL search_path TO credit_pools, pg_temp; -- as CREATE EXTENSION has set it
