-- Events of subscriptions (contract section 7): created, changed, cancelled, transferred, another quantity, ended by the clock. They are of a resource, and of no credit type and no pool. What becomes of
-- the pools comes behind them.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
\set events :abs_srcdir '/include/events.sql'
\i :events
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM (VALUES ('credits'), ('gold')) v (t), LATERAL credit_pools.define_credit_type(credit_type_id => t, scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'seats');
SELECT FROM (VALUES ('basic'), ('large'), ('team')) v (p), LATERAL credit_pools.define_plan(plan_id => p);
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.define_plan_credits(plan_id => 'large', credit_type_id => 'credits', amount => 500);
SELECT FROM credit_pools.define_plan_credits(plan_id => 'large', credit_type_id => 'gold', amount => 5);
SELECT FROM credit_pools.define_plan_credits(plan_id => 'team', credit_type_id => 'credits', amount => 10, quantity_feature_id => 'seats');
-- Created, and then its pools in the order of their credit types. The same again is nothing.
SELECT status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws', subscription_id => 'sub-1');
SELECT status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws');
SELECT * FROM news_of('acme');
SELECT status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'globex', plan_id => 'large', subscription_id => 'sub-g');
SELECT * FROM events_of('globex');
-- One that begins later, and ends: scheduled. The event is of now. That it begins is none.
SELECT status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'later', plan_id => 'basic', resource_id => 'ws', subscription_id => 'sub-l', starts_at => '2026-03-10 00:00+00', ends_at => '2026-05-10 00:00+00');
SELECT * FROM news_of('later');
SET credit_pools.test_clock = '2026-03-11 00:00+00';
SELECT count(*) > 0 AS ran FROM credit_pools.run_maintenance();
SELECT * FROM news_of('later');
-- Another plan on the scope: changed, with the plan that it was. What was granted before stays.
SELECT status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'large', resource_id => 'ws');
SELECT * FROM news_of('acme') WHERE event LIKE 'subscription.%';
SELECT type, event, time, data FROM events_of('acme') OFFSET 4;
-- Quantities: the new one, as a number; then what is granted for it at once. The same quantity again is no change; fewer are one, and take nothing.
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'team', plan_id => 'team', resource_id => 'ws', subscription_id => 'sub-t', quantities => '{"seats": 3}');
SELECT quantities FROM credit_pools.set_quantity(customer_id => 'team', subscription_id => 'sub-t', feature_id => 'seats', quantity => 5);
SELECT quantities FROM credit_pools.set_quantity(customer_id => 'team', subscription_id => 'sub-t', feature_id => 'seats', quantity => 5);
SELECT quantities FROM credit_pools.set_quantity(customer_id => 'team', subscription_id => 'sub-t', feature_id => 'seats', quantity => 2);
SELECT * FROM news_of('team');
-- Transferred with its credits: resource is the new one, from_resource_id the old (null = the customer's global scope).
SELECT resource_id, status FROM credit_pools.transfer_subscription(customer_id => 'team', subscription_id => 'sub-t', to_resource_id => 'other');
SELECT resource_id, status FROM credit_pools.transfer_subscription(customer_id => 'globex', subscription_id => 'sub-g', to_resource_id => 'other', credits => 'keep');
SELECT * FROM news_of('team') WHERE event LIKE 'subscription.%';
SELECT resource, event, data FROM events_of('team', 'ws') WHERE event NOT LIKE 'subscription.%' OFFSET 3;
SELECT resource, event, data FROM events_of('team', 'other') WHERE event NOT LIKE 'subscription.%';
SELECT * FROM news_of('globex') WHERE event LIKE 'subscription.%';
-- Cancelled now: that is its end, there is no other. Credits stay, or end with it.
SELECT status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'gone', plan_id => 'basic', resource_id => 'keep', subscription_id => 'sub-keep');
SELECT status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'gone', plan_id => 'basic', resource_id => 'expire', subscription_id => 'sub-expire');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'gone', resource_id => 'expire', credit_type_id => 'credits', amount => 40);
SET credit_pools.test_clock = '2026-03-05 00:00+00';
SELECT status FROM credit_pools.cancel_subscription(customer_id => 'gone', subscription_id => 'sub-keep');
SELECT status FROM credit_pools.cancel_subscription(customer_id => 'gone', subscription_id => 'sub-expire', credits => 'expire');
SELECT processed FROM credit_pools.run_maintenance() WHERE task = 'subscriptions';
SELECT * FROM news_of('gone', 'keep');
SELECT * FROM news_of('gone', 'expire');
-- Cancelled for later: it is active until then. Sooner: once more. Refused, or said again with the same key: nothing. Its end comes by the clock, as that of any other: at its instant, when maintenance sees it, once.
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'soon', plan_id => 'basic', resource_id => 'ws', subscription_id => 'sub-s');
SELECT status FROM credit_pools.cancel_subscription(customer_id => 'soon', subscription_id => 'sub-s', at => '2026-03-20 00:00+00');
SELECT status FROM credit_pools.cancel_subscription(customer_id => 'soon', subscription_id => 'sub-s', at => '2026-03-10 00:00+00', credits => 'expire', idempotency_key => 'k');
SELECT status FROM credit_pools.cancel_subscription(customer_id => 'soon', subscription_id => 'sub-s', at => '2026-03-10 00:00+00', credits => 'expire', idempotency_key => 'k');
SELECT sqlstate, world FROM refused($$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'soon', subscription_id => 'sub-s', at => '2026-03-15 00:00+00')$$);
SELECT * FROM news_of('soon');
SET credit_pools.test_clock = '2026-03-12 00:00+00';
SELECT processed FROM credit_pools.run_maintenance() WHERE task = 'subscriptions';
SELECT processed FROM credit_pools.run_maintenance() WHERE task = 'subscriptions';
SELECT * FROM news_of('soon') WHERE event LIKE 'subscription.%';
SELECT event, time, created_at, data FROM events_of('soon') WHERE event = 'credits.expired';
-- Ended at the end that it was given: by maintenance …
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'end', plan_id => 'basic', resource_id => 'a', subscription_id => 'sub-a', ends_at => '2026-03-20 00:00+00');
SELECT status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'end', plan_id => 'basic', resource_id => 'b', subscription_id => 'sub-b', ends_at => '2026-03-21 00:00+00');
SELECT status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'end', plan_id => 'basic', resource_id => 'c', subscription_id => 'sub-c', ends_at => '2026-03-22 00:00+00');
SELECT status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'end', plan_id => 'basic', resource_id => 'd', subscription_id => 'sub-d');
SELECT event, data FROM news_of('end', 'a');
SET credit_pools.test_clock = '2026-03-20 00:00+00';
SELECT processed FROM credit_pools.run_maintenance() WHERE task = 'subscriptions';
SELECT * FROM news_of('end', 'a');
-- … or by the next subscription of its scope, which comes behind it.
SET credit_pools.test_clock = '2026-03-25 00:00+00';
SELECT status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'end', plan_id => 'large', resource_id => 'b', subscription_id => 'sub-e');
SELECT * FROM news_of('end', 'b') WHERE event LIKE 'subscription.%';
-- … or by one that is transferred there.
SELECT resource_id FROM credit_pools.transfer_subscription(customer_id => 'end', subscription_id => 'sub-d', to_resource_id => 'c');
SELECT * FROM news_of('end', 'c') WHERE event LIKE 'subscription.%';
SELECT processed FROM credit_pools.run_maintenance() WHERE task = 'subscriptions';
-- Refused: nothing.
SET credit_pools.test_clock = '2026-03-26 00:00+00';
SELECT n, e.* FROM (VALUES
    (1, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'end', plan_id => 'nothing', resource_id => 'z')$$),
    (2, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'end', plan_id => 'large', resource_id => 'b', quantities => '{"seats": 2}')$$),
    (3, $$SELECT * FROM credit_pools.transfer_subscription(customer_id => 'end', subscription_id => 'sub-d', to_resource_id => 'b')$$),
    (4, $$SELECT * FROM credit_pools.set_quantity(customer_id => 'end', subscription_id => 'sub-a', feature_id => 'seats', quantity => 2)$$),
    (5, $$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'end', subscription_id => 'sub-b')$$)
  ) s (n, statement), LATERAL refused(statement) e ORDER BY n;
SELECT count(*) AS news FROM events_of('end') WHERE created_at >= '2026-03-26';
SELECT * FROM event_problems();
SELECT * FROM ledger_problems();
