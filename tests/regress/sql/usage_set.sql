-- report_usage with update_behavior => 'set' (contract section 4): value is the period's new total of the feature in this scope.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-12 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_feature(feature_id => 'seats');
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'seats', credit_type_id => 'credits', credits_per_unit => 2, plan_id => 'basic', effective_at => '2026-01-01 00:00+00');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic', effective_at => '2026-01-01 00:00+00');
-- The period is the month from the 10th.
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', resource_id => 'ws', plan_id => 'basic', starts_at => '2026-02-10 00:00+00');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', resource_id => 'own', plan_id => 'basic', starts_at => '2026-02-10 00:00+00');
SELECT FROM (VALUES ('ws'), ('own')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 500, reason => r);
-- Up: the difference is charged. The same total again: nothing. A plain usage adds to the total.
SELECT n, credits_consumed, shortfall, balance, is_duplicate FROM (VALUES (1, 10, 'set'), (2, 15.5, 'set'), (3, 15.5, 'set'), (4, 4, 'delta'), (5, 20, 'set')) v (n, x, b), LATERAL credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'seats', value => x, update_behavior => b) ORDER BY n;
SELECT feature, value, credits, rate FROM usage_of('acme');
-- Another feature and another scope have totals of their own.
SELECT credits_consumed FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 3, update_behavior => 'set');
SELECT credits_consumed FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'own', feature_id => 'seats', value => 3, update_behavior => 'set');
-- Down: what was charged last goes back first, a part of a usage in proportion: 0.5 and 4 whole (1 + 8), and 2 of 5.5 (4).
SELECT credits_consumed, shortfall, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'seats', value => 13.5, update_behavior => 'set');
SELECT u.value, u.credits, u.reversed FROM credit_pools.usage_events u WHERE feature_id = 'seats' AND resource_id = 'ws' ORDER BY usage_id;
-- Up again, over a new rate; down at the prices that were paid: 4 of 4.5 at 3.
SET credit_pools.test_clock = '2026-03-14 00:00+00';
SELECT FROM credit_pools.define_rate(feature_id => 'seats', credit_type_id => 'credits', credits_per_unit => 3, plan_id => 'basic', effective_at => '2026-03-14 00:00+00');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'seats', value => 18, update_behavior => 'set');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'seats', value => 14, update_behavior => 'set');
-- What does not fit changes nothing.
SELECT * FROM refused($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'seats', value => 214, update_behavior => 'set')$$);
-- Late: the total of the period in which it occurred, at its rate. The period of February has none yet.
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'seats', value => 5, update_behavior => 'set', occurred_at => '2026-03-09 23:59:59+00');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'seats', value => 2, update_behavior => 'set', occurred_at => '2026-02-10 00:00+00');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'seats', value => 14, update_behavior => 'set', occurred_at => '2026-03-10 00:00+00');
-- The next period begins at nothing.
SET credit_pools.test_clock = '2026-04-10 00:00+00';
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'seats', value => 1, update_behavior => 'set');
-- Down to 0 gives all of it back. A usage that was reversed as a whole counts no more; one that was in part does.
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'seats', value => 0, update_behavior => 'set');
SELECT usage_id AS whole FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'seats', value => 4, update_behavior => 'set') \gset
SELECT credits_returned FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => :whole);
SELECT usage_id AS part, credits_consumed FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'seats', value => 2, update_behavior => 'set') \gset
SELECT :credits_consumed AS credits_consumed;
SELECT credits_returned FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => :part, credits => 5);
SELECT credits_consumed FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'seats', value => 3, update_behavior => 'set');
-- With a key: once, though the total has moved on since. Another total with that key is a conflict, and so is the same value as a difference.
SELECT credits_consumed, balance, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'own', feature_id => 'seats', value => 5, update_behavior => 'set', idempotency_key => 'k');
SELECT credits_consumed, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'own', feature_id => 'seats', value => 8, update_behavior => 'set');
SELECT credits_consumed, balance, is_duplicate FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'own', feature_id => 'seats', value => 5, update_behavior => 'set', idempotency_key => 'k');
SELECT balance FROM pools_of('acme') WHERE resource = 'own';
SELECT n, r.* FROM (VALUES (1, $$value => 6, update_behavior => 'set', idempotency_key => 'k'$$), (2, $$value => 5, idempotency_key => 'k'$$), (3, $$value => -1, update_behavior => 'set'$$), (4, $$value => NULL, update_behavior => 'set'$$), (5, $$value => 'NaN', update_behavior => 'set'$$),
    (6, $$value => 1, update_behavior => 'add'$$), (7, $$value => 0, update_behavior => 'delta'$$)) v (n, arguments), LATERAL refused(format($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'own', feature_id => 'seats', %s)$$, arguments)) r ORDER BY n;
-- A lower total with a key, and again.
SELECT credits_consumed, balance, is_duplicate FROM (VALUES (1), (2)) v (n), LATERAL credit_pools.report_usage(customer_id => 'acme', resource_id => 'own', feature_id => 'seats', value => 7, update_behavior => 'set', idempotency_key => 'down', occurred_at => '2026-04-10 00:00+00'::timestamptz - interval '0' * n) ORDER BY n;
-- In a batch: in its order, also upon what the batch itself has charged.
SELECT event_index, credits_consumed, balance FROM credit_pools.report_usage_batch('[{"customer_id": "acme", "resource_id": "own", "feature_id": "seats", "value": 9, "update_behavior": "set"}, {"customer_id": "acme", "resource_id": "own", "feature_id": "seats", "value": 1},
    {"customer_id": "acme", "resource_id": "own", "feature_id": "seats", "value": 12, "update_behavior": "set"}, {"customer_id": "acme", "resource_id": "own", "feature_id": "seats", "value": 8, "update_behavior": "set"}]');
SELECT * FROM ledger_problems();
