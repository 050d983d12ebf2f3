-- Figures are made as PostgreSQL's numeric without its functions: byte for byte what numeric_in makes of their text, on the direct
-- path and by statements.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'fine', scale => 18);
CREATE TABLE figure (n int GENERATED ALWAYS AS IDENTITY, value numeric);
INSERT INTO figure (value) SELECT ('1' || repeat('0', p))::numeric + o FROM generate_series(0, 17) p, unnest('{0, 1, -0.000000000000000001, 0.0001}'::numeric[]) o;
INSERT INTO figure (value) SELECT d * ('1e-' || p)::numeric FROM generate_series(1, 18) p, unnest('{1, 7, 10, 9999, 10001}'::numeric[]) d;
INSERT INTO figure (value) VALUES (999999999999999999.999999999999999999), (9999), (9999.9999), (10000.0001), (99990000), (0.5), (1.1000);
DELETE FROM figure WHERE value > 999999999999999999.999999999999999999 OR value <= 0;
SELECT count(*) > 150 AS many FROM figure;

-- A pool for each: granted, and used up but for a bit of it, with an overdraft for what is below zero.
SELECT count(*) AS granted FROM figure f, credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'fine', resource_id => 'r-' || f.n, overdraft_limit => 'Infinity') o;
SELECT count(*) AS granted FROM figure f, credit_pools.grant_credits(customer_id => 'acme', resource_id => 'r-' || f.n, credit_type_id => 'fine', amount => f.value) g;
SET credit_pools.direct_access = off;
SELECT count(*) AS consumed FROM figure f, credit_pools.consume_credits(customer_id => 'acme', resource_id => 'r-' || f.n, credit_type_id => 'fine', amount => round(f.value / 3, 18) + 0.000000000000000001) c;
SET credit_pools.direct_access = on;
SELECT count(*) AS consumed FROM figure f, credit_pools.consume_credits(customer_id => 'acme', resource_id => 'r-' || f.n, credit_type_id => 'fine', amount => round(f.value / 7, 18) + 0.000000000000000001) c;
SELECT count(*) AS consumed FROM figure f, credit_pools.consume_credits(customer_id => 'acme', resource_id => 'r-' || f.n, credit_type_id => 'fine', amount => f.value) c;

-- Each as its text makes it; a stored one has a header of 1 byte instead of 4.
CREATE FUNCTION canonical(number numeric) RETURNS boolean LANGUAGE sql IMMUTABLE
RETURN number IS NULL OR pg_catalog.numeric_send(number) = pg_catalog.numeric_send(number::text::numeric)
    AND pg_column_size(number::text::numeric) - pg_column_size(number) IN (0, 3) AND scale(number) = scale(trim_scale(number));
SELECT count(*) > 600 AS many, bool_and(canonical(amount)) AS amount, bool_and(canonical(balance_after)) AS balance_after, bool_and(canonical(credits)) AS credits,
       count(*) FILTER (WHERE amount < 0) > 400 AS negative, count(*) FILTER (WHERE balance_after < 0) > 100 AS overdrawn
FROM credit_pools.ledger_entry;
SELECT count(*) > 150 AS many, bool_and(canonical(balance)) AS balance, bool_and(canonical(consumed)) AS consumed, bool_and(canonical(debt)) AS debt FROM credit_pools.pool WHERE scope_id <> '';
SELECT count(*) > 150 AS many, bool_and(canonical(amount)) AS amount, bool_and(canonical(consumed)) AS consumed FROM credit_pools.pool_grant;
SELECT count(*) FROM credit_pools.verify_ledger();
-- What functions return is made the same way.
SELECT bool_and(canonical(p.balance)) AS balance FROM figure f, credit_pools.grant_credits(customer_id => 'acme', resource_id => 'r-' || f.n, credit_type_id => 'fine', amount => f.value) p;
