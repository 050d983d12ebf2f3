-- What leaves no event (contract sections 4 and 7): what is rolled back, also in part; a call that is rejected; one that is repeated by its key; an estimate; a batch that fails; what changes nothing.
-- And what was undone has not crossed a level.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
\set events :abs_srcdir '/include/events.sql'
\i :events
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM (VALUES ('run'), ('gift'), ('free')) v (f), LATERAL credit_pools.define_feature(feature_id => f);
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'gift', credit_type_id => 'credits', credits_per_unit => 0, plan_id => 'basic');
-- The catalogue and the default of alerts are no customer's: no events.
SELECT pools_covered FROM credit_pools.set_balance_alerts(credit_type_id => 'credits', thresholds => '{100}');
SELECT count(*) FROM credit_pools.event;
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws', subscription_id => 'sub-1');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 150, reason => 'A');
SELECT * FROM news_of('acme') WHERE event NOT LIKE 'subscription.%';
-- ROLLBACK: of a usage that would empty the pool, and of a new customer.
BEGIN;
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 150);
SELECT FROM credit_pools.open_pool(customer_id => 'nobody', resource_id => 'ws', credit_type_id => 'credits');
ROLLBACK;
SELECT count(*) FROM credit_pools.event WHERE customer_id = 'nobody';
SELECT * FROM news_of('acme');
-- A statement that fails behind the call.
\set VERBOSITY sqlstate
SELECT 1 / balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 150);
\set VERBOSITY default
SELECT * FROM news_of('acme');
-- Savepoints: what was undone has not crossed the level, what follows crosses it; one event. What stands before the savepoint stays.
BEGIN;
SAVEPOINT a;
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 60);
ROLLBACK TO SAVEPOINT a;
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 55);
SAVEPOINT b;
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 95);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 7);
ROLLBACK TO SAVEPOINT b;
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 5);
RELEASE SAVEPOINT b;
COMMIT;
SELECT * FROM news_of('acme');
-- An exception that PL/pgSQL catches is the same.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 60, reason => 'B');
DO $$
BEGIN
    PERFORM FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 60);
    RAISE EXCEPTION 'no';
EXCEPTION WHEN raise_exception THEN
    PERFORM FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 51);
END $$;
SELECT * FROM news_of('acme');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 51, reason => 'C');
SELECT * FROM news_of('acme');
-- Rejected: nothing at all, no recharge either, though it would have made room.
SELECT FROM credit_pools.set_auto_recharge(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', threshold => 50, target_balance => 1000, settlement => 'immediate');
SELECT event FROM news_of('acme');
SELECT n, e.sqlstate, e.world FROM (VALUES
    (1, $$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 151)$$),
    (2, $$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'nothing', amount => 1)$$),
    (3, $$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', feature_id => 'run', value => 1)$$),
    (4, $$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'free', value => 1)$$),
    (5, $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => -1)$$),
    (6, $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'nowhere', credit_type_id => 'credits', amount => 1)$$),
    (7, $$SELECT * FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'A'), amount => 1000)$$),
    (8, $$SELECT * FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h', resource_id => 'ws', credit_type_id => 'credits', amount => 151)$$),
    (9, $$SELECT * FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 151, from_resource_id => 'ws')$$),
    (10, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 50, target_balance => 50)$$)
  ) s (n, statement), LATERAL refused(statement) e ORDER BY n;
SELECT * FROM news_of('acme');
-- Repeated by key or id: the first call's events, once. (160, 90: low; 80, 80, back at 100: armed; 90: low.)
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 10, idempotency_key => 'g');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 10, idempotency_key => 'g');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 70, idempotency_key => 'u');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 70, idempotency_key => 'u');
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT credits_consumed, balance FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'h');
SELECT credits_consumed, balance FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'h');
SELECT credits_returned, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => (SELECT usage_id FROM credit_pools.usage_events WHERE customer_id = 'acme' AND idempotency_key = 'u'), credits => 20, idempotency_key => 'r');
SELECT credits_returned, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => (SELECT usage_id FROM credit_pools.usage_events WHERE customer_id = 'acme' AND idempotency_key = 'u'), credits => 20, idempotency_key => 'r');
SELECT from_balance, to_balance FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 10, from_resource_id => 'ws', idempotency_key => 't');
SELECT from_balance, to_balance FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 10, from_resource_id => 'ws', idempotency_key => 't');
SELECT resource, event, count(*) FROM news_of('acme') GROUP BY 1, 2 ORDER BY 1, 2;
-- Estimated: a usage that would empty the pool and recharge it, and one that would be rejected.
SELECT world() AS before \gset
SELECT would_be_rejected FROM credit_pools.estimate_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 90);
SELECT would_be_rejected FROM credit_pools.estimate_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 91);
SELECT world() = :'before' AS unchanged;
SELECT * FROM news_of('acme');
-- A batch that fails leaves nothing; one that keeps the good ones has their events.
SELECT FROM credit_pools.provision_subscription(customer_id => 'batch', plan_id => 'basic', resource_id => 'ws', subscription_id => 'sub-1');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'batch', resource_id => 'ws', credit_type_id => 'credits', amount => 150);
SELECT event FROM news_of('batch');
SELECT * FROM refused($$SELECT * FROM credit_pools.report_usage_batch(events => '[{"customer_id": "batch", "resource_id": "ws", "feature_id": "run", "value": 60}, {"customer_id": "batch", "resource_id": "ws", "feature_id": "run", "value": 100},
    {"customer_id": "batch", "resource_id": "ws", "feature_id": "free", "value": 1}, {"customer_id": "batch", "resource_id": "ws", "feature_id": "run", "value": 10}]')$$);
SELECT * FROM news_of('batch');
SELECT event_index, balance, error_code FROM credit_pools.report_usage_batch(events => '[{"customer_id": "batch", "resource_id": "ws", "feature_id": "run", "value": 60}, {"customer_id": "batch", "resource_id": "ws", "feature_id": "run", "value": 100},
    {"customer_id": "batch", "resource_id": "ws", "feature_id": "free", "value": 1}, {"customer_id": "batch", "resource_id": "ws", "feature_id": "run", "value": 10}]', atomic => false);
SELECT * FROM news_of('batch');
-- What changes no credits: usage that costs nothing, reads, limits, a hold's longer life, maintenance with nothing due.
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'batch', reservation_id => 'h', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'batch', resource_id => 'ws', feature_id => 'gift', value => 5);
SELECT is_granted FROM credit_pools.check_credits(customer_id => 'batch', resource_id => 'ws', feature_id => 'run', value => 71);
SELECT balance FROM credit_pools.balance_at(customer_id => 'batch', resource_id => 'ws', credit_type_id => 'credits', at => '2026-04-01 00:00+00');
SELECT FROM credit_pools.set_limit(customer_id => 'batch', resource_id => 'ws', credit_type_id => 'credits', amount => 1000, per => '1 day');
SELECT status FROM credit_pools.extend_reservation(customer_id => 'batch', reservation_id => 'h', ttl => '2 hours');
SELECT status, balance FROM credit_pools.release_reservation(customer_id => 'batch', reservation_id => 'h');
SELECT count(*) > 0 AS ran FROM credit_pools.run_maintenance();
SELECT * FROM news_of('batch');
SELECT count(*) FROM credit_pools.event WHERE customer_id NOT IN ('acme', 'batch');
SELECT * FROM event_problems();
SELECT * FROM ledger_problems();
