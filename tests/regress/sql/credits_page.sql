-- credits_page (contract section 7): a customer's credits as one HTML document; the figures of each pool as the views have them, right to the instant, whoever asks.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 08:00+00';
SELECT FROM unnest('{credits, gold}'::text[]) t, LATERAL credit_pools.define_credit_type(credit_type_id => t, display_name => initcap(t), scale => 2);
SELECT FROM credit_pools.define_feature(feature_id => 'chat', display_name => 'Chat <b>');
SELECT FROM credit_pools.define_plan(plan_id => 'basic', display_name => 'Basic');
SELECT FROM credit_pools.define_plan(plan_id => 'pro', display_name => 'Pro');
SELECT FROM unnest('{basic,pro}'::text[]) p, LATERAL credit_pools.define_plan_credits(plan_id => p, credit_type_id => 'credits', amount => 100);
SELECT FROM unnest('{basic,pro}'::text[]) p, LATERAL credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'credits', credits_per_unit => 0.5, plan_id => p);
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme & sons', resource_id => 'docs', plan_id => 'basic', subscription_id => 'sub', time_zone => 'Europe/Berlin');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme & sons', resource_id => 'docs', credit_type_id => 'gold', amount => 7, price => 1.5, price_currency => 'EUR');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme & sons', resource_id => 'docs', credit_type_id => 'credits', amount => 50, expires_at => '2026-03-20 00:00+00', category => 'promotional', reason => '</script>', display_name => 'Gift');
SELECT FROM credit_pools.open_pool(customer_id => 'acme & sons', credit_type_id => 'credits');
SELECT FROM credit_pools.open_pool(customer_id => 'acme & sons', resource_id => 'chat', credit_type_id => 'credits');
SELECT FROM credit_pools.open_pool(customer_id => 'other', credit_type_id => 'credits');
SELECT FROM credit_pools.set_auto_recharge(customer_id => 'acme & sons', credit_type_id => 'credits', threshold => 10, recharge_amount => 40, max_spend => 9, price_per_credit => 0.1, price_currency => 'EUR', enabled => false);
SET credit_pools.test_clock = '2026-03-10 08:00+00';
SELECT FROM generate_series(1, 3) n, LATERAL credit_pools.report_usage(customer_id => 'acme & sons', resource_id => 'docs', feature_id => 'chat', value => n, idempotency_key => 'k' || n);
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme & sons', resource_id => 'docs', plan_id => 'pro', subscription_id => 'sub');
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme & sons', resource_id => 'docs', reservation_id => 'job', credit_type_id => 'credits', amount => 4);

-- The data of a page, one pool at a time.
CREATE FUNCTION data(customer text, resource text DEFAULT NULL, type text DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$
    SELECT regexp_replace(page::text, '^.*<script type="application/json" id="data">(.*?)</script>.*$', '\1', 's')::jsonb
    FROM credit_pools.credits_page(customer_id => customer, resource_id => resource, credit_type_id => type) page $$;
CREATE FUNCTION pool(of jsonb, resource text, type text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT p FROM jsonb_array_elements(of -> 'pools') p WHERE p ->> 'r' IS NOT DISTINCT FROM resource AND of -> 'types' -> (p ->> 't')::int ->> 0 = type $$;
CREATE FUNCTION text_at(of jsonb, place jsonb) RETURNS text LANGUAGE sql AS $$ SELECT of -> 'texts' ->> place::int $$;

-- What it is: a document of the domain, with a policy that lets nothing in and nothing out.
SELECT pg_typeof(page), page LIKE '<!DOCTYPE html>%</html>' || chr(10) AS whole, page::text ~ 'default-src &#39;none&#39;; script-src &#39;sha256-[A-Za-z0-9+/]{43}=&#39;; style-src &#39;sha256-' AS policy,
    page LIKE '%<title>Credits of acme &amp; sons</title>%' AS title, regexp_count(page, '<script') AS scripts, page::text ~* 'https?://(?!www\.w3\.org/2000/svg)' AS addresses
FROM credit_pools.credits_page(customer_id => 'acme & sons') page;
SELECT d ->> 'customer' AS customer, d ->> 'zone' AS zone, d ->> 'utc' AS utc, timestamp 'epoch' + (d ->> 'now')::int * interval '1 second' AS wall_clock, d ->> 'days' AS days, date '1970-01-01' + (d ->> 'day0')::int AS first_day, d -> 'part' AS part
FROM data('acme & sons') d;
-- The pools, the global one first, and which is shown first.
SELECT p ->> 'r' AS resource, d -> 'types' -> (p ->> 't')::int ->> 1 AS type, split_part(p ->> 'f', ' ', 1) AS balance, n - 1 = (d ->> 'asked')::int AS first FROM data('acme & sons') d, jsonb_array_elements(d -> 'pools') WITH ORDINALITY v (p, n);
SELECT d -> 'pools' -> (d ->> 'asked')::int ->> 'r' AS first FROM data('acme & sons', 'docs') d;
SELECT p ->> 'r' AS resource, d -> 'types' -> (p ->> 't')::int ->> 0 AS type FROM data('acme & sons', NULL, 'gold') d, jsonb_array_elements(d -> 'pools') p;

-- Figures as the views have them, of every pool.
CREATE FUNCTION differences(customer text) RETURNS TABLE (resource_id text, credit_type_id text, the_page text, the_views text) LANGUAGE sql AS $$
    SELECT p.resource_id, p.credit_type_id, page.figures, views.figures
    FROM data(customer) d, credit_pools.pools p
    CROSS JOIN LATERAL credit_pools.usage_overview(customer_id => p.customer_id, resource_id => p.resource_id, credit_type_id => p.credit_type_id,
        from_time => (date_trunc('day', credit_pools.clock() AT TIME ZONE 'Europe/Berlin') - interval '29 days') AT TIME ZONE 'Europe/Berlin') o
    CROSS JOIN LATERAL (SELECT pool(d, p.resource_id, p.credit_type_id) ->> 'f') page (figures)
    CROSS JOIN LATERAL (SELECT format('%s %s %s %s %s %s %s %s %s %s %s %s %s %s', p.balance, p.granted, p.consumed, p.expired, p.voided, p.held, p.debt, p.restricted, p.overdraft_limit,
        trim_scale(o.consumed), trim_scale(o.burn_rate_per_day), trim_scale(o.expiring_30_days), trim_scale(p.next_expiry_amount), p.utilization)) views (figures)
    WHERE p.customer_id = customer AND page.figures IS DISTINCT FROM views.figures $$;
SELECT * FROM differences('acme & sons');
-- Grants, ledger, usage, history, policy, subscription of one pool.
SELECT row ->> 0 AS grant_id, text_at(d, row -> 1) AS status, text_at(d, row -> 2) AS category, text_at(d, row -> 3) AS source, row ->> 5 AS amount, row ->> 6 AS remaining, row ->> 7 AS available, row ->> 12 AS name, row ->> 13 AS held, row ->> 14 AS reason
FROM data('acme & sons', 'docs') d, pool(d, 'docs', 'credits') p, jsonb_array_elements(p -> 'g') row;
SELECT (p ->> 'ln')::int - n + 1 AS seq, text_at(d, row -> 0) AS type, row ->> 1 AS amount, row ->> 2 AS balance, d -> 'features' -> (row ->> 4)::int ->> 1 AS feature, row ->> 5 AS grant_id, row ->> 7 AS reason, row -> 9 ->> 'key' AS key
FROM data('acme & sons', 'docs') d, pool(d, 'docs', 'credits') p, jsonb_array_elements(p -> 'l') WITH ORDINALITY v (row, n);
SELECT d -> 'features' -> (row ->> 0)::int AS feature, (string_to_array(row ->> 1, ' '))[30] AS today, array_length(string_to_array(row ->> 1, ' '), 1) AS days FROM data('acme & sons', 'docs') d, pool(d, 'docs', 'credits') p, jsonb_array_elements(p -> 'u') row;
SELECT row ->> 0 AS kind, timestamp 'epoch' + ((d ->> 'now')::int - (row ->> 1)::int) * interval '1 second' AS at, d -> 'plans' ->> text_at(d, row -> 2) AS plan FROM data('acme & sons', 'docs') d, pool(d, 'docs', 'credits') p, jsonb_array_elements(p -> 'h') row;
SELECT d -> 'policies' -> (p ->> 'p')::int AS policy, d -> 'subs' -> (p ->> 's')::int ->> 0 AS subscription, text_at(d, d -> 'subs' -> (p ->> 's')::int -> 2) AS status FROM data('acme & sons', 'docs') d, pool(d, 'docs', 'credits') p;

-- What is due by the clock and not booked: the figures and grants of this instant, the ledger as booked.
SET credit_pools.test_clock = '2026-04-01 07:59+00';
SELECT split_part(p ->> 'f', ' ', 1) AS balance, p -> 'due' AS due, p ->> 'ln' AS entries FROM data('acme & sons', 'docs') d, pool(d, 'docs', 'credits') p;
SELECT * FROM differences('acme & sons');
SET credit_pools.test_clock = '2026-04-01 08:00+00';
SELECT split_part(p ->> 'f', ' ', 1) AS balance, text_at(d, row -> 1) AS status, row ->> 0 AS grant_id, row ->> 6 AS remaining FROM data('acme & sons', 'docs') d, pool(d, 'docs', 'credits') p, jsonb_array_elements(p -> 'g') row;
SELECT * FROM differences('acme & sons');
SELECT FROM credit_pools.run_maintenance();
SELECT * FROM differences('acme & sons');
SELECT p -> 'due' AS due, p ->> 'ln' AS entries FROM data('acme & sons', 'docs') d, pool(d, 'docs', 'credits') p;

-- A resource without a pool; names that would be something else in HTML; a customer's time zone that is not UTC by whole hours.
INSERT INTO credit_pools.resource VALUES ('acme & sons', 'bare', now());
SELECT d ->> 'without' AS without, d ->> 'asked' AS asked, jsonb_array_length(d -> 'pools') AS pools FROM data('acme & sons', 'bare') d;
SELECT FROM credit_pools.provision_subscription(customer_id => '<script>alert("x")</script>', resource_id => E'</script><!--\u2028''"&', plan_id => 'basic', time_zone => 'Asia/Kathmandu');
SELECT d ->> 'customer' AS customer, to_json(d -> 'pools' -> 0 ->> 'r')::text COLLATE "C" = to_json(E'</script><!--\u2028''"&'::text)::text AS resource, timestamp 'epoch' + (d ->> 'now')::int * interval '1 second' AS wall_clock FROM data('<script>alert("x")</script>') d;
SELECT regexp_count(page, '<script') AS scripts, regexp_count(page, '</script') AS ends, page LIKE '%<h1><bdi>&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;</bdi></h1>%' AS heading FROM credit_pools.credits_page(customer_id => '<script>alert("x")</script>') page;

-- Errors.
SELECT n, sqlstate, message FROM (VALUES (1, ''), (2, $$customer_id => NULL$$), (3, $$customer_id => ''$$), (4, $$customer_id => 'nobody'$$), (5, $$customer_id => 'acme & sons', resource_id => 'nothing'$$),
    (6, $$customer_id => 'acme & sons', resource_id => ''$$), (7, $$customer_id => 'acme & sons', credit_type_id => 'silver'$$), (8, $$customer_id => 'other', credit_type_id => 'gold'$$), (9, $$customer_id => 'acme & sons', credit_type_id => ''$$)
  ) v (n, arguments), LATERAL expect_error(format('SELECT credit_pools.credits_page(%s)', arguments)) e ORDER BY n;

-- Tenants: of the customer, of one resource, of another customer.
CREATE ROLE regress_page_customer; CREATE ROLE regress_page_docs; CREATE ROLE regress_page_other;
SELECT FROM credit_pools.grant_access(role_name => 'regress_page_customer', level => 'tenant', customer_id => 'acme & sons');
SELECT FROM credit_pools.grant_access(role_name => 'regress_page_docs', level => 'tenant', customer_id => 'acme & sons', resource_id => 'docs');
SELECT FROM credit_pools.grant_access(role_name => 'regress_page_other', level => 'tenant', customer_id => 'other');
CREATE FUNCTION seen() RETURNS TABLE (resource text, type text, policies int, part jsonb) LANGUAGE sql AS $$
    SELECT p ->> 'r', d -> 'types' -> (p ->> 't')::int ->> 0, jsonb_array_length(d -> 'policies'), d -> 'part' FROM data('acme & sons') d, jsonb_array_elements(d -> 'pools') p $$;
SET ROLE regress_page_customer;
SELECT * FROM seen();
SET ROLE regress_page_docs;
SELECT * FROM seen();
SELECT n, sqlstate, message FROM (VALUES (1, $$'acme & sons', 'chat'$$), (2, $$'acme & sons', 'nothing'$$), (3, $$'nobody'$$), (4, $$'other'$$), (5, $$'acme & sons', NULL, 'silver'$$)) v (n, a), LATERAL expect_error(format('SELECT credit_pools.credits_page(%s)', a)) e ORDER BY n;
SET ROLE regress_page_other;
SELECT n, sqlstate, message FROM (VALUES (1, $$'acme & sons', 'chat'$$), (2, $$'acme & sons'$$), (3, $$'nobody'$$)) v (n, a), LATERAL expect_error(format('SELECT credit_pools.credits_page(%s)', a)) e ORDER BY n;
RESET ROLE;
SELECT FROM unnest('{regress_page_customer,regress_page_docs,regress_page_other}'::text[]) r, LATERAL credit_pools.revoke_access(role_name => r);
DROP ROLE regress_page_customer, regress_page_docs, regress_page_other;
-- It writes nothing.
BEGIN READ ONLY;
SELECT length(credit_pools.credits_page(customer_id => 'acme & sons')) > 10000 AS made, pg_current_xact_id_if_assigned() AS transaction;
COMMIT;
SELECT * FROM ledger_problems();
