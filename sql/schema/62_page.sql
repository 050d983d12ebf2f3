SET LOCAL search_path TO pg_catalog, pg_temp; -- no name or operator from anywhere else

-- What credits_page returns. PostgREST answers a request that accepts text/html with a function of a domain of that name.
CREATE DOMAIN credit_pools."text/html" AS pg_catalog.text;

SET LOCAL search_path TO credit_pools, pg_temp; -- as CREATE EXTENSION has set it
