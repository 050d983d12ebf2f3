-- report_usage_batch writes the events that single calls in the order of its input would: each usage counts by its own end, also where several are of one pool. customer 'one' calls, customer 'all' has the
-- same in one batch; both must have the same events, row for row.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
\set events :abs_srcdir '/include/events.sql'
\i :events
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'gold', scale => 0);
SELECT FROM (VALUES ('run'), ('dig')) v (f), LATERAL credit_pools.define_feature(feature_id => f);
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'dig', credit_type_id => 'gold', credits_per_unit => 2, plan_id => 'basic');
CREATE FUNCTION stock(customer text) RETURNS void LANGUAGE sql AS $$
    SELECT FROM (VALUES ('ws'), ('set'), ('now'), ('due'), (NULL)) v (r), LATERAL credit_pools.provision_subscription(customer_id => $1, plan_id => 'basic', resource_id => r, subscription_id => 'sub-' || coalesce(r, 'global'));
    SELECT FROM (VALUES ('ws', 'credits', 100, 1, NULL), ('ws', 'credits', 100, 2, NULL), ('ws', 'gold', 10, 50, NULL), ('set', 'credits', 150, 50, NULL), ('now', 'credits', 150, 50, NULL),
                        ('due', 'credits', 60, 50, '2026-03-05 00:00+00'), ('due', 'credits', 70, 50, NULL), (NULL, 'credits', 50, 50, NULL)) v (r, t, a, p, e),
        LATERAL credit_pools.grant_credits(customer_id => $1, resource_id => r, credit_type_id => t, amount => a, priority => p, expires_at => e::timestamptz);
    SELECT FROM credit_pools.set_balance_alerts(customer_id => $1, credit_type_id => 'credits', thresholds => '{100,20}', percents => '{60}');
    SELECT FROM credit_pools.set_auto_recharge(customer_id => $1, credit_type_id => 'credits', resource_id => 'now', threshold => 50, recharge_amount => 100, settlement => 'immediate', price_per_credit => 1, price_currency => 'EUR', max_spend => 110);
$$;
SELECT FROM (VALUES ('one'), ('all')) v (c), LATERAL stock(c);
SELECT count(*) AS before FROM news_of('one');
SELECT count(*) AS before FROM news_of('all');
-- 60 percent of what was granted: 120 in ws, 90 in set and now, 78 in due (42 from 5 March on), 30 in the global pool. What each usage does, of five pools in turn, booked on 8 March:
CREATE TABLE todo (n int, usage jsonb);
INSERT INTO todo VALUES
    (0, '{"resource_id": "ws", "feature_id": "run", "value": 90}'), -- 200 to 110: below 120
    (1, '{"resource_id": "set", "feature_id": "run", "value": 60}'), -- 150 to 90: below 100
    (2, '{"resource_id": "ws", "feature_id": "run", "value": 30}'), -- 110 to 80: the first grant is used up at 100; below 100
    (3, '{"feature_id": "run", "value": 10}'), -- 50 to 40: it never was at 100
    (4, '{"resource_id": "now", "feature_id": "run", "value": 110}'), -- 150 to 40: below 100 and 90; 100 credits for 100 of 110 EUR at once, to 140
    (5, '{"resource_id": "set", "feature_id": "run", "value": 20, "update_behavior": "set"}'), -- a lower total gives 40 back: 130, armed
    (6, '{"resource_id": "ws", "feature_id": "dig", "value": 5}'), -- gold: 10 to 0
    (7, '{"resource_id": "ws", "feature_id": "dig", "value": 1, "on_insufficient": "cap"}'), -- capped: nothing is left
    (8, '{"resource_id": "set", "feature_id": "run", "value": 45}'), -- 130 to 85: below 100 and 90
    (9, '{"resource_id": "ws", "feature_id": "run", "value": 70, "idempotency_key": "k"}'), -- 80 to 10: below 20
    (10, '{"resource_id": "ws", "feature_id": "run", "value": 70, "idempotency_key": "k"}'), -- the same key
    (11, '{"resource_id": "due", "feature_id": "run", "value": 10}'), -- 130 to 70 on 5 March, to 60 now: below 100 by the clock
    (12, '{"resource_id": "now", "feature_id": "run", "value": 100}'), -- 140 to 40: the recharge's grant is used up; 10 credits for the last 10 EUR, to 50
    (13, '{"feature_id": "run", "value": 40}'), -- 40 to 0: below 30 and 20, and empty
    (14, '{"resource_id": "now", "feature_id": "run", "value": 30}'); -- 50 to 20: nothing left to spend
SET credit_pools.test_clock = '2026-03-08 00:00+00';
SELECT n, u.credits_consumed, u.balance, u.is_duplicate FROM todo, LATERAL credit_pools.report_usage(customer_id => 'one', resource_id => usage ->> 'resource_id', feature_id => usage ->> 'feature_id', value => (usage ->> 'value')::numeric,
    idempotency_key => usage ->> 'idempotency_key', on_insufficient => usage ->> 'on_insufficient', update_behavior => usage ->> 'update_behavior') u ORDER BY n;
SELECT event_index AS n, credits_consumed, balance, is_duplicate FROM credit_pools.report_usage_batch(events => (SELECT jsonb_agg(usage || '{"customer_id": "all"}' ORDER BY n) FROM todo)) ORDER BY n;
-- The batch's events, pool by pool …
SELECT resource, type, event, time, data FROM events_of('all') WITH ORDINALITY WHERE created_at >= '2026-03-08' ORDER BY resource COLLATE "C", type COLLATE "C", ordinality;
-- … are those of the single calls: in each pool, and over all pools.
CREATE FUNCTION in_order(customer text, by_pool boolean) RETURNS text[] LANGUAGE sql AS $$
    SELECT array_agg(jsonb_build_array(resource, type, event, "time", created_at, data)::text ORDER BY CASE WHEN by_pool THEN concat(resource, ' ', type) END, ordinality) FROM events_of(customer) WITH ORDINALITY $$;
SELECT in_order('one', true) = in_order('all', true) AS same;
SELECT in_order('one', false) = in_order('all', false) AS same;
SELECT array_length(in_order('one', true), 1) AS one, array_length(in_order('all', true), 1) AS all;
-- Two customers in turn in one batch; the second time all of it again, by key: nothing.
SELECT FROM credit_pools.provision_subscription(customer_id => 'x', plan_id => 'basic', subscription_id => 'sub-1');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'x', credit_type_id => 'credits', amount => 120);
SELECT FROM credit_pools.provision_subscription(customer_id => 'y', plan_id => 'basic', subscription_id => 'sub-1');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'y', credit_type_id => 'credits', amount => 120);
SELECT FROM credit_pools.set_balance_alerts(credit_type_id => 'credits', thresholds => '{60}');
SELECT max(event_id) AS last FROM credit_pools.event \gset
SELECT event_index, balance, is_duplicate FROM credit_pools.report_usage_batch(events => '[{"customer_id": "x", "feature_id": "run", "value": 50, "idempotency_key": "1"}, {"customer_id": "y", "feature_id": "run", "value": 60, "idempotency_key": "1"},
    {"customer_id": "x", "feature_id": "run", "value": 70, "idempotency_key": "2"}, {"customer_id": "y", "feature_id": "run", "value": 60, "idempotency_key": "2"}]');
SELECT event_index, balance, is_duplicate FROM credit_pools.report_usage_batch(events => '[{"customer_id": "x", "feature_id": "run", "value": 50, "idempotency_key": "1"}, {"customer_id": "y", "feature_id": "run", "value": 60, "idempotency_key": "1"},
    {"customer_id": "x", "feature_id": "run", "value": 70, "idempotency_key": "2"}, {"customer_id": "y", "feature_id": "run", "value": 60, "idempotency_key": "2"}]');
SELECT FROM settled();
SELECT customer_id, type, data -> 'data' -> 'balance' AS balance FROM credit_pools.events WHERE event_id > :last ORDER BY event_id;
-- Rows of a metered table are a batch.
CREATE TABLE jobs (customer text, units int);
SELECT FROM credit_pools.grant_credits(customer_id => 'x', credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.meter_table('jobs', feature_id => 'run', customer_column => 'customer', value_column => 'units');
INSERT INTO jobs VALUES ('x', 30), ('x', 20), ('x', 50);
SELECT event, data FROM news_of('x') OFFSET 7;
SELECT * FROM event_problems();
SELECT * FROM ledger_problems();
