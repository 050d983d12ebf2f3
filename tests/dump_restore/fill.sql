-- A database with something of everything that a dump must carry.
\set ON_ERROR_STOP on
SET credit_pools.test_clock = '2026-03-10 12:00:00+00';

SELECT * FROM credit_pools.define_credit_type(credit_type_id => 'ai-tokens', display_name => 'AI tokens', scale => 2);
SELECT * FROM credit_pools.define_credit_type(credit_type_id => 'images', display_name => 'Images', scale => 0);
SELECT * FROM credit_pools.define_feature(feature_id => 'chat', display_name => 'Chat', unit => 'token');
SELECT * FROM credit_pools.define_plan(plan_id => 'team', display_name => 'Team', metadata => '{"tier": 2}');
SELECT * FROM credit_pools.define_plan_credits(plan_id => 'team', credit_type_id => 'ai-tokens', amount => 1000);
SELECT * FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'ai-tokens', credits_per_unit => 0.5, plan_id => 'team');

SELECT * FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'team', resource_id => 'docs', time_zone => 'Europe/Berlin');
SELECT * FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'team', resource_id => 'chat', idempotency_key => 'provision-1');
SELECT * FROM credit_pools.provision_subscription(customer_id => 'umlaut-ä"''\', plan_id => 'team');
SELECT * FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'images', resource_id => 'docs', overdraft_limit => 10);

SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'ai-tokens', amount => 200,
    category => 'promotional', priority => 10, expires_at => '2026-03-20 00:00+00', idempotency_key => 'grant-1');
SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'ai-tokens', amount => 300,
    effective_at => '2026-04-01 00:00+00', display_name => 'April');
SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'ai-tokens', amount => 40,
    payment_state => 'pending', price => 4, price_currency => 'EUR');
SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'ai-tokens', amount => 50,
    feature_ids => ARRAY['chat'], metadata => '{"note": "chat only"}');

-- Two draws on grants, then one that leaves less than the policy's threshold: a recharge waits for its payment.
SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'docs', feature_id => 'chat', value => 100,
    idempotency_key => 'usage-1', dimensions => '{"model": "small"}');
SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'docs', feature_id => 'chat', value => 450);
SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'ai-tokens', threshold => 100, target_balance => 500,
    price_per_credit => 0.01, price_currency => 'EUR', max_spend => 100);
SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'chat', feature_id => 'chat', value => 1900,
    idempotency_key => 'usage-2');
-- Debt in a pool without a grant, and a grant that is gone.
SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'images', amount => 3);
SELECT * FROM credit_pools.grant_credits(customer_id => 'umlaut-ä"''\', credit_type_id => 'ai-tokens', amount => 5) \gset
SELECT * FROM credit_pools.void_grant(customer_id => 'umlaut-ä"''\', grant_id => :grant_id, reason => 'by mistake');
-- Plans through time: one that carries over, moved and resized, with a change announced; one that is over; a schedule that renews before the dump.
SELECT * FROM credit_pools.define_feature(feature_id => 'seat');
SELECT * FROM credit_pools.define_plan(plan_id => 'weekly');
SELECT * FROM credit_pools.define_plan_credits(plan_id => 'weekly', credit_type_id => 'images', amount => 10, cadence => '7 days', rollover_max => 6,
    rollover_periods => 2, quantity_feature_id => 'seat');
SELECT * FROM credit_pools.provision_subscription(customer_id => 'timely', plan_id => 'weekly', resource_id => 'one', subscription_id => 'sub-one',
    starts_at => '2026-03-01 00:00+00', quantities => '{"seat": 2}');
SELECT * FROM credit_pools.set_quantity(customer_id => 'timely', subscription_id => 'sub-one', feature_id => 'seat', quantity => 3);
SELECT * FROM credit_pools.define_plan_credits(plan_id => 'weekly', credit_type_id => 'images', amount => 20, cadence => '7 days', rollover_max => 6,
    rollover_periods => 2, quantity_feature_id => 'seat');
SELECT * FROM credit_pools.transfer_subscription(customer_id => 'timely', subscription_id => 'sub-one', to_resource_id => 'two');
SELECT * FROM credit_pools.provision_subscription(customer_id => 'timely', plan_id => 'team', resource_id => 'gone', subscription_id => 'sub-gone');
SELECT * FROM credit_pools.cancel_subscription(customer_id => 'timely', subscription_id => 'sub-gone', credits => 'expire');
SELECT * FROM credit_pools.provision_subscription(customer_id => 'timely', plan_id => 'team', subscription_id => 'sub-ends');
SELECT * FROM credit_pools.cancel_subscription(customer_id => 'timely', subscription_id => 'sub-ends', at => '2026-05-20 00:00+00', credits => 'expire');

-- Holds, reversals, limits, totals, batches and metered tables: a customer whose pools have only what is granted here.
SELECT * FROM credit_pools.define_feature(feature_id => 'storage');
SELECT * FROM credit_pools.define_feature(feature_id => 'row');
SELECT * FROM credit_pools.define_plan(plan_id => 'bare');
SELECT * FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'ai-tokens', credits_per_unit => 0.5, plan_id => 'bare');
SELECT * FROM credit_pools.define_rate(feature_id => 'storage', credit_type_id => 'ai-tokens', formula => 'value * (1 + copies)', plan_id => 'bare');
SELECT * FROM credit_pools.define_rate(feature_id => 'row', credit_type_id => 'ai-tokens', credits_per_unit => 1, plan_id => 'bare');
SELECT * FROM unnest(ARRAY['holds', 'overdraft', 'reversed', 'capped', 'total', 'rows']) r, LATERAL credit_pools.provision_subscription(
    customer_id => 'busy', plan_id => 'bare', resource_id => r);
SELECT * FROM credit_pools.grant_credits(customer_id => 'busy', resource_id => 'holds', credit_type_id => 'ai-tokens', amount => 100,
    priority => 10, expires_at => '2026-03-10 18:00+00');
SELECT * FROM (VALUES ('holds', 400), ('overdraft', 10), ('reversed', 50), ('capped', 1000), ('total', 1000), ('rows', 100)) v (r, a),
    LATERAL credit_pools.grant_credits(customer_id => 'busy', resource_id => r, credit_type_id => 'ai-tokens', amount => a);
SELECT * FROM (VALUES ('overdraft', 50), ('reversed', 40)) v (r, o),
    LATERAL credit_pools.set_pool(customer_id => 'busy', resource_id => r, credit_type_id => 'ai-tokens', overdraft_limit => o);

-- A hold in each state. soon times out between the dump and what is done with its copy; late before the dump.
SELECT * FROM credit_pools.reserve_credits(customer_id => 'busy', resource_id => 'holds', reservation_id => 'open', feature_id => 'chat', value => 100,
    dimensions => '{"model": "small"}', ttl => '24 hours', metadata => '{"job": 1}');
SELECT * FROM (VALUES ('soon', 20, interval '50 minutes'), ('partial', 60, '24 hours'), ('settled', 10, '24 hours'), ('released', 15, '24 hours'),
    ('late', 5, '20 minutes')) v (id, a, t), LATERAL credit_pools.reserve_credits(customer_id => 'busy', resource_id => 'holds',
    reservation_id => id, credit_type_id => 'ai-tokens', amount => a, ttl => t);
SELECT * FROM credit_pools.settle_reservation(customer_id => 'busy', reservation_id => 'partial', amount => 25, final => false, idempotency_key => 'part-1');
SELECT * FROM credit_pools.settle_reservation(customer_id => 'busy', reservation_id => 'settled', amount => 12);
SELECT * FROM credit_pools.release_reservation(customer_id => 'busy', reservation_id => 'released');
SELECT * FROM credit_pools.reserve_credits(customer_id => 'busy', resource_id => 'overdraft', reservation_id => 'deep', credit_type_id => 'ai-tokens',
    amount => 30, ttl => '24 hours');
SELECT * FROM credit_pools.reserve_credits(customer_id => 'busy', resource_id => 'capped', credit_type_id => 'ai-tokens', amount => 1) \gset made_
SELECT * FROM credit_pools.release_reservation(customer_id => 'busy', reservation_id => :'made_reservation_id');
-- The price of the hold is not that of later usage.
SELECT * FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'ai-tokens', credits_per_unit => 0.6, plan_id => 'bare',
    effective_at => '2026-03-10 12:15+00');

-- 30 of the 80 are debt, of which 10 come back.
SELECT * FROM credit_pools.consume_credits(customer_id => 'busy', resource_id => 'reversed', credit_type_id => 'ai-tokens', amount => 80,
    idempotency_key => 'spent') \gset
SELECT * FROM credit_pools.reverse_usage(customer_id => 'busy', usage_id => :usage_id, credits => 10, idempotency_key => 'back-1');

-- Limits: one set after usage in its window, one before.
SELECT * FROM credit_pools.report_usage(customer_id => 'busy', resource_id => 'capped', feature_id => 'chat', value => 60);
SELECT * FROM credit_pools.set_limit(customer_id => 'busy', resource_id => 'capped', credit_type_id => 'ai-tokens', amount => 50, per => '1 day');
SELECT * FROM credit_pools.set_limit(customer_id => 'busy', all_resources => true, credit_type_id => 'ai-tokens', amount => 600, per => '1 month');

SELECT * FROM credit_pools.report_usage(customer_id => 'busy', resource_id => 'total', feature_id => 'storage', value => 10, update_behavior => 'set',
    dimensions => '{"copies": 1}', idempotency_key => 'total-1');
SELECT * FROM credit_pools.report_usage_batch('[
    {"customer_id": "busy", "resource_id": "total", "feature_id": "chat", "value": 2, "idempotency_key": "batch-1"},
    {"customer_id": "acme", "resource_id": "docs", "feature_id": "chat", "value": 2},
    {"customer_id": "busy", "resource_id": "total", "feature_id": "chat", "value": 2, "idempotency_key": "batch-1"},
    {"customer_id": "busy", "resource_id": "nowhere", "feature_id": "chat", "value": 2}]', atomic => false);

-- A table of another role and schema that charges by itself; a row is older than that.
CREATE ROLE app_owner;
CREATE SCHEMA "The App" AUTHORIZATION app_owner;
CREATE TABLE "The App".job (id bigint, customer text, "Work space" text, rows_read int);
ALTER TABLE "The App".job OWNER TO app_owner;
INSERT INTO "The App".job VALUES (0, 'busy', 'rows', 50);
SELECT * FROM credit_pools.meter_table("table" => '"The App".job', feature_id => 'row', customer_column => 'customer',
    resource_column => 'Work space', value_column => 'rows_read', key_column => 'id');
SET ROLE app_owner;
COPY "The App".job FROM stdin;
1	busy	rows	1
2	busy	rows	2
3	busy	rows	3
\.
RESET ROLE;

-- The time-out of late is booked by the next write.
-- Usage is added up, but for what comes now. Where maintenance looked last is only kept where there are very many pools.
SET credit_pools.rollup_rows = 1;
SELECT * FROM credit_pools.run_maintenance();
RESET credit_pools.rollup_rows;
INSERT INTO credit_pools.usage_rollup_position (the_only, customer_id, pool_id) VALUES (true, 'busy', 1);

SET credit_pools.test_clock = '2026-03-10 12:30:00+00';
SELECT * FROM credit_pools.consume_credits(customer_id => 'busy', resource_id => 'holds', credit_type_id => 'ai-tokens', amount => 1);

-- Alerts, and two who read events.
SELECT FROM credit_pools.open_pool(customer_id => 'watched', credit_type_id => 'ai-tokens', resource_id => 'docs');
SELECT FROM credit_pools.grant_credits(customer_id => 'watched', credit_type_id => 'ai-tokens', resource_id => 'docs', amount => 1000);
SELECT * FROM credit_pools.set_balance_alerts(credit_type_id => 'ai-tokens', thresholds => '{500}', percents => '{10}');
SELECT * FROM credit_pools.set_balance_alerts(customer_id => 'watched', credit_type_id => 'ai-tokens', thresholds => '{900}');
SELECT count(*) FROM credit_pools.fetch_events('slow', 2);
SELECT count(*) FROM credit_pools.fetch_events('quick', 3);
SELECT * FROM credit_pools.ack_events('quick', 3);

-- All but the last row of each pool is history.
SELECT * FROM credit_pools.archive_ledger(before => '2026-03-10 12:30:00+00');

-- A role of each level.
CREATE ROLE a_meter;
CREATE ROLE a_reader;
CREATE ROLE an_app;
CREATE ROLE an_admin;
CREATE ROLE a_tenant;
CREATE ROLE a_resource;
SELECT * FROM credit_pools.grant_access(role_name => 'a_meter', level => 'meter');
SELECT * FROM credit_pools.grant_access(role_name => 'a_reader', level => 'reader');
SELECT * FROM credit_pools.grant_access(role_name => 'an_app', level => 'app');
SELECT * FROM credit_pools.grant_access(role_name => 'an_admin', level => 'admin');
SELECT * FROM credit_pools.grant_access(role_name => 'a_tenant', level => 'tenant', customer_id => 'busy');
SELECT * FROM credit_pools.grant_access(role_name => 'a_resource', level => 'tenant', customer_id => 'acme', resource_id => 'docs');
