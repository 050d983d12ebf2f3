-- meter_table (contract section 5): from then on each INSERT into a table charges the pool in the same transaction; ROLLBACK is the refund.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-10 12:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_feature(feature_id => 'tokens');
SELECT FROM credit_pools.define_feature(feature_id => 'jobs');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'tokens', credit_type_id => 'credits', credits_per_unit => 0.5, plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'jobs', credit_type_id => 'credits', credits_per_unit => 10, plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', resource_id => 'ws', plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'globex', resource_id => '7', plan_id => 'basic');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1000, reason => 'A');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 100, reason => 'G');
SELECT FROM credit_pools.grant_credits(customer_id => 'globex', resource_id => '7', credit_type_id => 'credits', amount => 100, reason => 'X');
CREATE TABLE job (id bigint, customer text, workspace text, tokens numeric, note text);
INSERT INTO job VALUES (0, 'acme', 'ws', 999, 'before it is metered');
SELECT trigger_name <> '' AS named FROM credit_pools.meter_table("table" => 'job', feature_id => 'tokens', customer_column => 'customer', resource_column => 'workspace', value_column => 'tokens', key_column => 'id');
-- One row, several rows, COPY, INSERT … SELECT. A resource that is NULL is the global pool; a value that is NULL is an error, one of 0 is not charged.
INSERT INTO job VALUES (1, 'acme', 'ws', 10, 'one');
INSERT INTO job VALUES (2, 'acme', 'ws', 20, 'two'), (3, 'globex', '7', 30, 'three'), (4, 'acme', NULL, 4, 'four'), (5, 'acme', 'ws', 0, 'five');
COPY job (id, customer, workspace, tokens) FROM stdin WITH (FORMAT csv);
6,acme,ws,1.5
7,acme,ws,2.5
\.
INSERT INTO job SELECT i, 'acme', 'ws', 1, 'many' FROM generate_series(100, 199) i;
SELECT c, resource, balance, consumed FROM (VALUES ('acme'), ('globex')) v (c), LATERAL pools_of(c) ORDER BY 1, 2;
SELECT resource, value, credits, idempotency_key IS NOT NULL AS keyed, count(*) FROM usage_of('acme') WITH ORDINALITY u (resource, type, feature, value, credits, rate, occurred_at, recorded_at, o) JOIN (SELECT usage_id, idempotency_key, row_number() OVER (ORDER BY usage_id) AS o FROM credit_pools.ledger WHERE customer_id = 'acme' AND usage_id IS NOT NULL) l USING (o) GROUP BY 1, 2, 3, 4 ORDER BY 1, 2;
-- The same transaction: a rollback is the refund and leaves no trace; a savepoint, too. UPDATE and DELETE charge nothing.
SELECT world() AS before \gset
BEGIN;
INSERT INTO job VALUES (8, 'acme', 'ws', 100, 'undone');
SELECT balance FROM pools_of('acme') WHERE resource = 'ws';
SAVEPOINT s;
INSERT INTO job VALUES (9, 'acme', 'ws', 100, 'undone');
ROLLBACK TO s;
SELECT balance FROM pools_of('acme') WHERE resource = 'ws';
ROLLBACK;
UPDATE job SET tokens = tokens + 1 WHERE id = 1;
DELETE FROM job WHERE id = 1;
INSERT INTO job SELECT 10, 'acme', 'ws', 1, 'none' WHERE false;
SELECT world() = :'before' AS unchanged;
-- The key: a row that was charged before with the same payload is not charged again, with another payload it is a conflict; a key that is NULL is none.
INSERT INTO job VALUES (2, 'acme', 'ws', 20, 'again'), (11, 'acme', 'ws', 2, 'new');
SELECT balance FROM pools_of('acme') WHERE resource = 'ws';
INSERT INTO job VALUES (NULL, 'acme', 'ws', 2, 'no key'), (NULL, 'acme', 'ws', 2, 'no key');
SELECT balance FROM pools_of('acme') WHERE resource = 'ws';
-- A row that cannot be charged fails the statement: none of its rows is there, nothing is charged, and DETAIL says which one (and its column).
SELECT count(*) AS rows FROM job \gset
SELECT n, r.* FROM (VALUES
    (1, $$(12, 'acme', 'ws', 2, ''), (13, 'globex', '7', 171, ''), (14, 'acme', 'ws', 2, '')$$),
    (2, $$(12, 'acme', 'ws', 1860.1, '')$$),
    (3, $$(12, 'acme', 'ws', 2, ''), (13, 'acme', 'nowhere', 2, '')$$),
    (4, $$(12, 'nobody', 'ws', 2, '')$$),
    (5, $$(12, 'acme', 'ws', 2, ''), (13, NULL, 'ws', 2, '')$$),
    (6, $$(12, 'acme', 'ws', 2, ''), (13, 'acme', 'ws', NULL, '')$$),
    (7, $$(12, 'acme', 'ws', -2, '')$$),
    (8, $$(12, 'acme', 'ws', 'NaN', '')$$),
    (9, $$(12, 'acme', 'ws', 2, ''), (2, 'acme', 'ws', 21, '')$$),
    (10, $$(12, '', 'ws', 2, '')$$)
  ) v (n, rows), LATERAL refused('INSERT INTO job VALUES ' || rows) r ORDER BY n;
SELECT count(*) = :rows AS no_row FROM job;
SELECT figures ->> 'table' ~ 'job' AS names_the_table FROM error_figures($$INSERT INTO job VALUES (12, 'acme', 'ws', 5000, '')$$);
-- ON CONFLICT: only what is inserted is charged.
CREATE UNIQUE INDEX ON job (id) WHERE id >= 1000;
INSERT INTO job VALUES (1000, 'acme', 'ws', 2, '');
INSERT INTO job VALUES (1000, 'acme', 'ws', 2, ''), (1001, 'acme', 'ws', 2, '') ON CONFLICT (id) WHERE id >= 1000 DO NOTHING;
SELECT balance FROM pools_of('acme') WHERE resource = 'ws';
-- Another feature of the same table: 1 per row where no value column is named. Each charges for itself.
SELECT count(*) FROM credit_pools.meter_table('job', feature_id => 'jobs', customer_column => 'customer', resource_column => 'workspace');
INSERT INTO job VALUES (1002, 'acme', 'ws', 4, '');
SELECT * FROM (SELECT feature, value, credits FROM usage_of('acme') OFFSET (SELECT count(*) - 2 FROM usage_of('acme'))) x ORDER BY feature;
-- The same feature again takes the place of the first: now by another column, and to the global pool alone.
ALTER TABLE job ADD COLUMN size int;
SELECT count(*) FROM credit_pools.meter_table("table" => 'job', feature_id => 'tokens', customer_column => 'customer', value_column => 'size');
INSERT INTO job VALUES (1003, 'acme', 'ws', 4, '', 6);
SELECT * FROM (SELECT resource, feature, value, credits FROM usage_of('acme') OFFSET (SELECT count(*) - 2 FROM usage_of('acme'))) x ORDER BY feature;
-- unmeter_table undoes one, or all; what is not metered gives no row.
SELECT count(*) FROM credit_pools.unmeter_table('job', feature_id => 'jobs');
SELECT count(*) FROM credit_pools.unmeter_table('job', feature_id => 'jobs');
INSERT INTO job VALUES (1004, 'acme', 'ws', 4, '', 2);
SELECT resource, balance FROM pools_of('acme');
SELECT count(*) FROM credit_pools.meter_table('job', feature_id => 'jobs', customer_column => 'customer');
SELECT count(*) FROM credit_pools.unmeter_table("table" => 'job');
SELECT world() AS before \gset
INSERT INTO job VALUES (1005, 'nobody', 'ws', -4, '', NULL);
SELECT world() = :'before' AS unchanged;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'job'::regclass;

-- A table of another role, in another schema, with names that need quotes: its owner needs no right on credit_pools to insert.
CREATE ROLE regress_credit_pools_owner;
CREATE SCHEMA "My Schema" AUTHORIZATION regress_credit_pools_owner;
SET ROLE regress_credit_pools_owner;
CREATE TABLE "My Schema"."Table ""1""" ("Customer Id" varchar(20), "select" uuid, "%s $1" smallint, "Key;" char(8));
RESET ROLE;
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', resource_id => '00000000-0000-0000-0000-00000000000a', plan_id => 'basic');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => '00000000-0000-0000-0000-00000000000a', credit_type_id => 'credits', amount => 5, reason => 'U');
SELECT count(*) FROM credit_pools.meter_table("table" => '"My Schema"."Table ""1"""', feature_id => 'tokens', customer_column => 'Customer Id', resource_column => 'select', value_column => '%s $1', key_column => 'Key;');
SET ROLE regress_credit_pools_owner;
INSERT INTO "My Schema"."Table ""1""" VALUES ('acme', '00000000-0000-0000-0000-00000000000A', 8, 'a');
SELECT sqlstate, message, detail_keys FROM expect_error($$SELECT * FROM credit_pools.pools$$);
DO $$ BEGIN INSERT INTO "My Schema"."Table ""1""" VALUES ('acme', '00000000-0000-0000-0000-00000000000A', 3, 'b'); RAISE 'not refused'; EXCEPTION WHEN SQLSTATE 'PC001' THEN NULL; END $$;
RESET ROLE;
SELECT balance FROM pools_of('acme') WHERE resource ~ '^0000';
SELECT actor = session_user AS by_the_session_user, value FROM credit_pools.ledger WHERE resource_id ~ '^0000' AND entry_type = 'consume';
SELECT count(*) FROM "My Schema"."Table ""1""";
DROP TABLE "My Schema"."Table ""1""";
-- Integer ids of other types, and a table that is dropped and renamed.
CREATE TABLE typed (c char(6), r int, v bigint, k uuid);
SELECT count(*) FROM credit_pools.meter_table('typed', feature_id => 'tokens', customer_column => 'c', resource_column => 'r', value_column => 'v', key_column => 'k');
INSERT INTO typed VALUES ('globex', 7, 10, '11111111-1111-1111-1111-111111111111'), ('globex', 7, 10, '11111111-1111-1111-1111-111111111111');
ALTER TABLE typed RENAME TO renamed;
INSERT INTO renamed VALUES ('globex', 7, 12, NULL);
SELECT balance FROM pools_of('globex');
SELECT count(*) FROM credit_pools.unmeter_table('renamed');
-- What cannot be metered: columns that are not there or of another type, unknown features, what is no table, tables of the extension.
CREATE TABLE odd (customer text, f real, d float8, t timestamptz, j jsonb, b boolean, n numeric, i int, x text, arr int[]);
CREATE VIEW seen AS SELECT * FROM odd;
SELECT n, e.sqlstate, e.world FROM (VALUES
    (1, $$'odd', feature_id => 'tokens', customer_column => 'customer', value_column => 'f'$$), (2, $$'odd', feature_id => 'tokens', customer_column => 'customer', value_column => 'd'$$), (3, $$'odd', feature_id => 'tokens', customer_column => 'customer', value_column => 't'$$),
    (4, $$'odd', feature_id => 'tokens', customer_column => 'customer', value_column => 'x'$$), (5, $$'odd', feature_id => 'tokens', customer_column => 'customer', value_column => 'b'$$), (6, $$'odd', feature_id => 'tokens', customer_column => 'j'$$),
    (7, $$'odd', feature_id => 'tokens', customer_column => 'd'$$), (8, $$'odd', feature_id => 'tokens', customer_column => 'customer', resource_column => 't'$$), (9, $$'odd', feature_id => 'tokens', customer_column => 'customer', key_column => 'arr'$$),
    (10, $$'odd', feature_id => 'tokens', customer_column => 'missing'$$), (11, $$'odd', feature_id => 'tokens', customer_column => 'customer', value_column => 'N'$$), (12, $$'odd', feature_id => 'tokens', customer_column => NULL$$),
    (13, $$'odd', feature_id => 'tokens', customer_column => 'customer', resource_column => 'ctid'$$), (14, $$'seen', feature_id => 'tokens', customer_column => 'customer'$$), (15, $$NULL, feature_id => 'tokens', customer_column => 'customer'$$),
    (16, $$'odd', feature_id => NULL, customer_column => 'customer'$$), (17, $$'odd', feature_id => 'unknown', customer_column => 'customer'$$)
  ) v (n, arguments), LATERAL refused(format('SELECT * FROM credit_pools.meter_table(%s)', arguments)) e ORDER BY n;
-- The message of a wrong type names column and type.
SELECT message ~ '"d"' AS names_the_column, message ~ 'double precision' AS names_the_type FROM expect_error($$SELECT * FROM credit_pools.meter_table('odd', feature_id => 'tokens', customer_column => 'customer', value_column => 'd')$$);
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'odd'::regclass;
-- 20,000 rows in one statement.
SELECT count(*) FROM credit_pools.meter_table('odd', feature_id => 'tokens', customer_column => 'customer', resource_column => 'x', value_column => 'n');
INSERT INTO odd (customer, x, n) SELECT 'acme', 'ws', 0.02 FROM generate_series(1, 20000);
SELECT balance FROM pools_of('acme') WHERE resource = 'ws';
DROP SCHEMA "My Schema";
DROP ROLE regress_credit_pools_owner;
SELECT * FROM ledger_problems();
