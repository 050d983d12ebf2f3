-- What sqlsmith works on: customers with all that they may have, a metered table, and a role that may call everything.
-- sqlsmith calls functions with one result and fills arguments by their types. So each function of the extension gets a
-- wrapper with one result, and each kind of id a type of its own, with views that have its values.
SET client_min_messages = warning;
SELECT credit_pools.define_credit_type(credit_type_id => 'ai-tokens'), credit_pools.define_credit_type(credit_type_id => 'images', scale => 0);
SELECT credit_pools.define_feature(feature_id => feature) FROM unnest('{chat,search,draw,seat}'::text[]) feature;
SELECT credit_pools.define_plan(plan_id => plan) FROM unnest('{basic,pro}'::text[]) plan;
SELECT credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'ai-tokens', amount => 1000, rollover_max => 500),
       credit_pools.define_plan_credits(plan_id => 'pro', credit_type_id => 'ai-tokens', amount => 10, quantity_feature_id => 'seat', overdraft_limit => 100),
       credit_pools.define_plan_credits(plan_id => 'pro', credit_type_id => 'images', amount => 50, cadence => '1 day');
SELECT credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'ai-tokens', credits_per_unit => 1.5),
       credit_pools.define_rate(feature_id => 'search', credit_type_id => 'ai-tokens', formula => 'max(value, 1) * 2'),
       credit_pools.define_rate(feature_id => 'draw', credit_type_id => 'images', plan_id => 'pro', credits_per_unit => 1);
SELECT credit_pools.provision_subscription(customer_id => 'customer-' || n, resource_id => CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN 'lab' ELSE 'shop' END,
           plan_id => CASE n % 2 WHEN 0 THEN 'pro' ELSE 'basic' END, subscription_id => 'subscription-' || n, quantities => '{"seat": 5}')
FROM generate_series(1, 30) n;
SELECT credit_pools.grant_credits(customer_id => p.customer_id, resource_id => p.resource_id, credit_type_id => p.credit_type_id, amount => 100 * n, priority => 10 * n,
           expires_at => CASE n WHEN 2 THEN now() + interval '1 day' END, price => 1, price_currency => 'EUR', payment_state => CASE n WHEN 3 THEN 'pending' ELSE 'paid' END)
FROM credit_pools.pools p, generate_series(1, 3) n;
SELECT credit_pools.consume_credits(customer_id => p.customer_id, resource_id => p.resource_id, credit_type_id => p.credit_type_id, amount => 7 * n, dimensions => '{"model": "a"}', metadata => '{"job": 1}')
FROM credit_pools.pools p, generate_series(1, 3) n;
SELECT credit_pools.reserve_credits(customer_id => p.customer_id, resource_id => p.resource_id, credit_type_id => p.credit_type_id, amount => 5, reservation_id => 'hold-' || p.pool_id)
FROM credit_pools.pools p;
SELECT credit_pools.set_limit(customer_id => customer_id, all_resources => true, credit_type_id => 'ai-tokens', amount => 5000, per => '1 day') FROM credit_pools.pools WHERE pool_id % 3 = 0 GROUP BY customer_id;
SELECT credit_pools.set_auto_recharge(customer_id => customer_id, credit_type_id => 'ai-tokens', threshold => 500 + pool_id, recharge_amount => 1000, price_per_credit => 0.01, price_currency => 'EUR', max_spend => 100,
           settlement => CASE pool_id % 2 WHEN 0 THEN 'immediate' ELSE 'on_payment' END)
FROM credit_pools.pools WHERE credit_type_id = 'ai-tokens';

CREATE SCHEMA app;
CREATE DOMAIN app.customer AS text;
CREATE DOMAIN app.resource AS text;
CREATE DOMAIN app.credit_type AS text;
CREATE DOMAIN app.feature AS text;
CREATE DOMAIN app.plan AS text;
CREATE DOMAIN app.subscription AS text;
CREATE DOMAIN app.reservation AS text;
CREATE DOMAIN app.key AS text;
CREATE DOMAIN app.word AS text;
CREATE DOMAIN app.grant_no AS bigint;
CREATE DOMAIN app.usage_no AS bigint;
CREATE DOMAIN app.recharge_no AS bigint;
CREATE DOMAIN app.event_no AS bigint;
CREATE DOMAIN app.amount AS numeric;

-- Tables, since sqlsmith takes columns of views for base types.
CREATE TABLE app.pool AS SELECT customer_id::app.customer, resource_id::app.resource, credit_type_id::app.credit_type, balance::app.amount, created_at, m.metadata
    FROM credit_pools.pools, LATERAL (SELECT '{"a": 1}'::jsonb AS metadata) m;
CREATE TABLE app.credit AS SELECT customer_id::app.customer, grant_id::app.grant_no, amount::app.amount, effective_at, expires_at FROM credit_pools.grants;
CREATE TABLE app.usage AS SELECT customer_id::app.customer, usage_id::app.usage_no, credits::app.amount, occurred_at, dimensions FROM credit_pools.usage_events;
CREATE TABLE app.hold AS SELECT customer_id::app.customer, reservation_id::app.reservation, amount::app.amount FROM credit_pools.reservations;
CREATE TABLE app.subscribed AS SELECT customer_id::app.customer, resource_id::app.resource, subscription_id::app.subscription, plan_id::app.plan FROM credit_pools.subscriptions;
CREATE TABLE app.recharge AS SELECT customer_id::app.customer, recharge_id::app.recharge_no FROM credit_pools.recharges;
CREATE TABLE app.priced AS SELECT feature::app.feature, credit_type::app.credit_type, 'basic'::app.plan AS plan, 2.5::app.amount AS amount
    FROM unnest('{chat,search,draw,seat}'::text[], '{ai-tokens,ai-tokens,images,ai-tokens}'::text[]) p (feature, credit_type);
CREATE TABLE app.said AS SELECT word::app.word, ('k' || n)::app.key AS key, n::app.amount AS amount, n::app.event_no AS event, (n || ' days')::interval AS span, n::int AS number, n % 2 = 0 AS flag
    FROM unnest('{reject,cap,delta,set,paid,promotional,pending,keep,move,expire,active,frozen,UTC,EUR,immediate,on_payment}'::text[]) WITH ORDINALITY w (word, n);
CREATE TABLE app.call_log (id app.key, customer app.customer, resource app.resource, units app.amount, at timestamptz DEFAULT now());
SELECT credit_pools.meter_table("table" => 'app.call_log', feature_id => 'chat', customer_column => 'customer', resource_column => 'resource', value_column => 'units');

-- The wrappers. Text that says how (reject, paid, …) is a word; names of people and reasons are any text.
DO $$
DECLARE f record;
BEGIN
    FOR f IN
        SELECT p.proname, p.provolatile, p.proretset,
               string_agg(CASE
                   WHEN a.name = 'customer_id' THEN 'app.customer'
                   WHEN a.name LIKE '%resource_id' THEN 'app.resource'
                   WHEN a.name = 'credit_type_id' THEN 'app.credit_type'
                   WHEN a.name LIKE '%feature_id' THEN 'app.feature'
                   WHEN a.name = 'plan_id' THEN 'app.plan'
                   WHEN a.name = 'subscription_id' THEN 'app.subscription'
                   WHEN a.name = 'reservation_id' THEN 'app.reservation'
                   WHEN a.name = 'idempotency_key' THEN 'app.key'
                   WHEN a.name = 'grant_id' THEN 'app.grant_no'
                   WHEN a.name = 'usage_id' THEN 'app.usage_no'
                   WHEN a.name = 'recharge_id' THEN 'app.recharge_no'
                   WHEN a.name = 'event_id' THEN 'app.event_no'
                   WHEN a.kind = 'numeric'::regtype THEN 'app.amount'
                   WHEN a.kind = 'text'::regtype THEN 'app.word'
                   ELSE format_type(a.kind, NULL)
               END, ', ' ORDER BY a.place) AS types,
               string_agg(format('$%s', a.place), ', ' ORDER BY a.place) AS passed
        FROM pg_proc p
        JOIN LATERAL (SELECT p.proargnames[n] AS name, kind, n AS place FROM unnest(p.proargtypes) WITH ORDINALITY t (kind, n)) a ON true
        WHERE p.pronamespace = 'credit_pools'::regnamespace AND p.prokind = 'f' AND NOT 'internal'::regtype = ANY (p.proargtypes::oid[])
          AND p.prorettype <> 'trigger'::regtype AND (p.prorettype <> 'record'::regtype OR p.proargmodes IS NOT NULL)
          AND p.proname NOT IN ('meter_table', 'unmeter_table', 'grant_access', 'revoke_access')
        GROUP BY p.oid
    LOOP
        EXECUTE format(
            'CREATE FUNCTION app.%I(%s) RETURNS text LANGUAGE sql %s AS %L', f.proname, f.types,
            CASE f.provolatile WHEN 'v' THEN 'VOLATILE' ELSE 'STABLE' END,
            format('SELECT r::text FROM credit_pools.%I(%s) r LIMIT 1', f.proname, f.passed));
    END LOOP;
END $$;

CREATE ROLE smith LOGIN;
GRANT USAGE ON SCHEMA app, credit_pools TO smith;
GRANT SELECT ON ALL TABLES IN SCHEMA app, credit_pools TO smith;
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO smith;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA credit_pools TO smith;
ANALYZE;

-- sqlsmith takes every function that it finds in pg_proc, thousands of PostgreSQL's own, most of them refused by the parser. It
-- looks without naming the schema, so it can be shown ours and some that make their arguments.
CREATE SCHEMA shown;
CREATE VIEW shown.pg_proc AS
SELECT * FROM pg_catalog.pg_proc
WHERE pronamespace = 'app'::regnamespace OR prokind = 'a' AND proname IN ('sum', 'count', 'max', 'min', 'string_agg') AND prorettype <> 'anyelement'::regtype
   OR prokind = 'w' AND proname IN ('row_number', 'rank')
   OR proname IN ('lower', 'upper', 'md5', 'left', 'repeat', 'abs', 'ceil', 'round', 'trim_scale', 'power', 'now', 'clock_timestamp', 'date_trunc', 'to_timestamp', 'pg_sleep',
                  'jsonb_pretty', 'jsonb_set', 'jsonb_strip_nulls', 'make_interval', 'justify_interval', 'txid_current', 'pg_backend_pid', 'current_setting', 'pg_advisory_xact_lock')
      AND pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f';
GRANT USAGE ON SCHEMA shown TO smith;
GRANT SELECT ON shown.pg_proc TO smith;
ALTER ROLE smith SET search_path = shown, pg_catalog;
-- Nor does the parser take its calls of operators on ranges of any type. Nothing here needs them.
DELETE FROM pg_catalog.pg_operator WHERE '{anyrange,anymultirange}'::regtype[] && ARRAY[oprleft, oprright]::regtype[];
