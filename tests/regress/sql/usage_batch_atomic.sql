-- report_usage_batch: atomic => true is all or nothing and names the event; atomic => false keeps the good events and reports the others, each by itself.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM (VALUES ('run'), ('free')) v (f), LATERAL credit_pools.define_feature(feature_id => f);
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', resource_id => 'ws', plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', resource_id => 'ice', plan_id => 'basic');
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'bare', credit_type_id => 'credits');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100, reason => 'A');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ice', credit_type_id => 'credits', amount => 100, reason => 'I');
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'ice', credit_type_id => 'credits', status => 'frozen');
SELECT FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1, idempotency_key => 'used');
-- ev(resource, feature, value, more): an event of acme's; the first one is always good.
CREATE FUNCTION ev(resource text, value numeric DEFAULT 1, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $f$
    SELECT jsonb_build_object('customer_id', 'acme', 'resource_id', resource, 'feature_id', 'run', 'value', value) || more
$f$;
-- One bad event among good ones: DETAIL has the figures of the single call and the index; nothing changed, though the good ones came first.
SELECT n, r.* FROM (VALUES
    (1, jsonb_build_array(ev('ws', 60), ev('ws', 39), ev('ws', 1), ev('ws', 1))),
    (2, jsonb_build_array(ev('ws'), ev('nowhere'), ev('ws'))),
    (3, jsonb_build_array(ev('ws'), ev('bare'))),
    (4, jsonb_build_array(ev('ws', 1, '{"idempotency_key": "x"}'), ev('ws'), ev('ws', 2, '{"idempotency_key": "x"}'))),
    (5, jsonb_build_array(ev('ws'), ev('ws', 2, '{"idempotency_key": "used"}'))),
    (6, jsonb_build_array(ev('ws'), ev('ws'), ev('ws'), ev('ice'))),
    (7, jsonb_build_array(ev('ws', 1, '{"feature_id": "free"}'))),
    (8, jsonb_build_array(ev('ws'), ev('ws', -1))),
    (9, jsonb_build_array(ev('ws'), ev('ws', 1, '{"customer_id": "nobody"}'))),
    (10, jsonb_build_array(ev('ws'), ev('ws', 1, '{"feature_id": "none"}'))),
    (11, jsonb_build_array(ev('ws'), ev('ws', 1, '{"occurred_at": "2026-03-01T00:00:01Z"}'))),
-- The first that fails in the order of the input decides, whatever the failures are and wherever their pools are in the order of locking.
    (12, jsonb_build_array(ev('ws', 99), ev('ws', 1), ev('nowhere'), ev('ice'))),
    (13, jsonb_build_array(ev('ws'), ev('ws', 200), ev('ice'), ev('ws', -1))),
    (14, jsonb_build_array(ev('ws', 99), ev('ice'), ev('ws', 1)))
  ) v (n, events), LATERAL refused(format('SELECT * FROM credit_pools.report_usage_batch(%L)', events)) r ORDER BY n;
-- A refused batch left its keys free, and fires no recharge.
SELECT FROM credit_pools.set_auto_recharge(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', threshold => 50, recharge_amount => 10);
SELECT sqlstate, world FROM refused(format('SELECT * FROM credit_pools.report_usage_batch(%L)', jsonb_build_array(ev('ws', 60, '{"idempotency_key": "x"}'), ev('nowhere'))));
SELECT event_index, credits_consumed, balance, is_duplicate FROM credit_pools.report_usage_batch(jsonb_build_array(ev('ws', 3, '{"idempotency_key": "x"}'), ev('ws', 5)));

-- atomic => false: each bad event has its own row, with what the single call would have said; a key that a refused event had is free for the next one.
SELECT event_index, credits_consumed, balance, is_duplicate, error_code, fixed_figures(error_code, error_detail) - 'index' AS figures, error_message <> '' AS says, usage_id IS NULL AS no_usage FROM credit_pools.report_usage_batch(atomic => false, events => jsonb_build_array(
    ev('ws', 200, '{"idempotency_key": "y"}'), ev('nowhere'), ev('ws', 11, '{"idempotency_key": "y"}'), ev('bare'), ev('ice'), ev('ws', 12, '{"idempotency_key": "y"}'), ev('ws', 11, '{"idempotency_key": "y"}'),
    ev('ws', 81), ev('ws', -1), '7'::jsonb, ev('ws', 1, '{"more": 1}'), ev('ws', 1, '{"feature_id": "free"}'), ev('ws', 79), ev('ws', 2), ev('ws', 2, '{"on_insufficient": "cap"}')));
SELECT resource, balance, consumed FROM pools_of('acme');
SELECT value, credits FROM usage_of('acme');
SELECT resource, status, reason, amount FROM recharges_of('acme');
-- Only bad ones: nothing changes at all.
SELECT world() AS before \gset
SELECT count(*), count(error_code) AS refused FROM credit_pools.report_usage_batch(atomic => false, events => jsonb_build_array(ev('ws', 1), ev('nowhere'), '[]'::jsonb, '{}'::jsonb));
SELECT world() = :'before' AS unchanged;
-- A transaction goes on after a refused batch, and takes a good one back with it.
BEGIN;
SELECT sqlstate FROM refused($$SELECT FROM credit_pools.report_usage_batch(jsonb_build_array(ev('ws', 1)))$$);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, reason => 'B');
SELECT balance FROM credit_pools.report_usage_batch(jsonb_build_array(ev('ws', 1)));
ROLLBACK;
SELECT world() = :'before' AS unchanged;
SELECT * FROM ledger_problems();
