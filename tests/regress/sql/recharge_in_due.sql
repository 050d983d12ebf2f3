-- What is due is booked before some calls go on (they read the ledger, or a limit), and booking it may recharge the pool at once: the call then goes on with the pool as it is after that.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');
-- Each has 200 credits until 11 March, uses 50, and is filled up to 100 at once where it falls below 50. On 12 March the other 150 are gone, and nobody has booked that.
SELECT FROM unnest(ARRAY['batch', 'limit', 'reverse', 'set-higher', 'set-lower', 'settle']) c, LATERAL credit_pools.provision_subscription(customer_id => c, plan_id => 'basic', resource_id => 'ws');
SELECT FROM unnest(ARRAY['batch', 'limit', 'reverse', 'set-higher', 'set-lower', 'settle']) c,
    LATERAL credit_pools.grant_credits(customer_id => c, credit_type_id => 'credits', resource_id => 'ws', amount => 200, expires_at => '2026-03-11 00:00+00');
SELECT FROM unnest(ARRAY['batch', 'limit', 'reverse', 'set-higher', 'set-lower', 'settle']) c, LATERAL credit_pools.report_usage(customer_id => c, feature_id => 'run', resource_id => 'ws', value => 50);
SELECT FROM unnest(ARRAY['batch', 'limit', 'reverse', 'set-higher', 'set-lower', 'settle']) c,
    LATERAL credit_pools.set_auto_recharge(customer_id => c, credit_type_id => 'credits', threshold => 50, target_balance => 100, settlement => 'immediate');
SELECT FROM credit_pools.set_limit(customer_id => 'batch', credit_type_id => 'credits', resource_id => 'ws', amount => 500, per => '1 day');
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'settle', reservation_id => 'job', credit_type_id => 'credits', resource_id => 'ws', amount => 20, ttl => '24 hours');
SET credit_pools.test_clock = '2026-03-12 00:00+00';
-- The limit counts nothing of today; the pool has the recharge.
SELECT used FROM credit_pools.set_limit(customer_id => 'limit', credit_type_id => 'credits', resource_id => 'ws', amount => 500, per => '1 day');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'limit', credit_type_id => 'credits', resource_id => 'ws', amount => 1);
-- 10 more; 30 less, which were of a grant that is over; all 50 back, the same.
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'set-higher', feature_id => 'run', resource_id => 'ws', value => 60, update_behavior => 'set');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'set-lower', feature_id => 'run', resource_id => 'ws', value => 20, update_behavior => 'set');
SELECT credits_returned, balance FROM credit_pools.usage_events u, LATERAL credit_pools.reverse_usage(customer_id => 'reverse', usage_id => u.usage_id) WHERE u.customer_id = 'reverse';
SELECT error_code, credits_consumed, balance FROM credit_pools.report_usage_batch(events => '[{"customer_id": "batch", "resource_id": "ws", "feature_id": "run", "value": 5}]');
-- The hold's time was over with the grant's: nothing to settle. (Its 20 came back on 11 March and expired.)
SELECT sqlstate FROM expect_error($$SELECT * FROM credit_pools.settle_reservation(customer_id => 'settle', reservation_id => 'job')$$);
SELECT processed FROM credit_pools.run_maintenance() WHERE task = 'pools';
SELECT customer_id, balance, granted, consumed, expired, p.balance = (SELECT l.balance_after FROM credit_pools.ledger l WHERE l.customer_id = p.customer_id ORDER BY seq DESC LIMIT 1) AS as_in_the_ledger
  FROM credit_pools.pools p ORDER BY customer_id COLLATE "C";
-- One recharge each, and nothing but its own row for a limit that is set over it.
SELECT customer_id, status, amount, cause_seq FROM credit_pools.recharges ORDER BY customer_id COLLATE "C", recharge_id;
SELECT * FROM ledger_problems();
