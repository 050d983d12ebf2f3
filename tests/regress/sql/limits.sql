-- set_limit (contract section 5): a spending cap per calendar window, on a pool or on the customer across resources; the tightest wins, PC007 names it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-10 12:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'gold', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_feature(feature_id => 'gift');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 2, plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'gift', credit_type_id => 'credits', credits_per_unit => 0, plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', resource_id => 'a', plan_id => 'basic');
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'b', credit_type_id => 'credits');
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'c', credit_type_id => 'credits', overdraft_limit => 500);
SELECT FROM (VALUES ('a'), ('b')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 1000, reason => r);

-- A pool's cap by the day. What was used before it was set counts.
SELECT FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 30);
SELECT customer_id, resource_id, credit_type_id, all_resources, amount, per, used, window_start, window_end FROM credit_pools.set_limit(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 100, per => '1 day');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'a', feature_id => 'run', value => 35);
SELECT * FROM limits_of('acme');
SELECT * FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 0.01)$$);
-- Before PC001; what costs nothing passes; other pools and other types are free.
SELECT sqlstate, world FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 5000)$$);
SELECT credits_consumed FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'a', feature_id => 'gift', value => 5);
SELECT credits_consumed, shortfall, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 7, on_insufficient => 'cap');
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'b', credit_type_id => 'credits', amount => 200);
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'gold', amount => 500);
SELECT credits_consumed FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'gold', amount => 300);
-- The window is half open: until its end nothing, at its end all again. Late usage counts when it is recorded.
SET credit_pools.test_clock = '2026-03-10 23:59:59.999999+00';
SELECT sqlstate, world FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 1)$$);
SET credit_pools.test_clock = '2026-03-11 00:00+00';
SELECT used, remaining, window_start, window_end FROM limits_of('acme');
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 20, occurred_at => '2026-03-10 13:00+00');
SELECT used, remaining FROM limits_of('acme');
-- cap takes what the limit leaves, and what the pool has, whichever is less.
SELECT credits_consumed, shortfall, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 90, on_insufficient => 'cap');

-- Two limits on one pool: the one with the least left decides, and is named.
SET credit_pools.test_clock = '2026-03-12 00:00+00';
SELECT used, per FROM credit_pools.set_limit(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 250, per => '1 month');
SELECT * FROM limits_of('acme');
SELECT * FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 50.5)$$);
SELECT figures ->> 'per' AS per FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 101)$$);
-- Set again it is changed, not another one; a limit below what is used refuses; Infinity lifts it.
SELECT amount, used FROM credit_pools.set_limit(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 150, per => '1 month');
SELECT sqlstate, figures - '{per,scope,window_end}'::text[] AS figures, world FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 1)$$);
SELECT credits_consumed, shortfall FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 1, on_insufficient => 'cap');
SELECT FROM credit_pools.set_limit(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 'Infinity', per => '1 month');
SELECT resource, amount, per, used FROM limits_of('acme');
SELECT FROM credit_pools.set_limit(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 'Infinity', per => '1 month');
SELECT credits_consumed FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 60);

-- The customer's cap: over all pools of the type, also the global one and those that open later; debt counts, too.
SET credit_pools.test_clock = '2026-03-13 00:00+00';
SELECT resource_id, all_resources, used FROM credit_pools.set_limit(customer_id => 'acme', credit_type_id => 'credits', amount => 130, per => '1 day', all_resources => true);
SELECT credits_consumed FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 50);
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'c', credit_type_id => 'credits', amount => 25);
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 20, reason => 'G');
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 10);
SELECT * FROM limits_of('acme');
SELECT * FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'b', credit_type_id => 'credits', amount => 45.01)$$);
-- The customer has 45 left, the pool 50: the customer's is named. Then the pool 5, the customer 15.
SELECT figures ->> 'scope' AS scope FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 60)$$);
SELECT FROM credit_pools.set_limit(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 85, per => '1 day');
SELECT credits_consumed FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 30);
SELECT figures ->> 'scope' AS scope, figures ->> 'used' AS used FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 60)$$);
-- A batch stops at the event that is too much; a capped event takes what is left.
SELECT * FROM refused($$SELECT * FROM credit_pools.report_usage_batch('[{"customer_id": "acme", "resource_id": "a", "feature_id": "run", "value": 2}, {"customer_id": "acme", "resource_id": "a", "feature_id": "run", "value": 1}]')$$);
SELECT event_index, credits_consumed, shortfall, error_code FROM credit_pools.report_usage_batch(atomic => false, events => '[{"customer_id": "acme", "resource_id": "a", "feature_id": "run", "value": 2}, {"customer_id": "acme", "resource_id": "a", "feature_id": "run", "value": 1}, {"customer_id": "acme", "resource_id": "a", "feature_id": "run", "value": 1, "on_insufficient": "cap"}]');

-- Holds count as soon as they are made; what they give back in the same window counts no more.
SET credit_pools.test_clock = '2026-03-14 00:00+00';
SELECT held FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h1', resource_id => 'a', credit_type_id => 'credits', amount => 60, ttl => '24 hours');
SELECT * FROM refused($$SELECT * FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h2', resource_id => 'a', credit_type_id => 'credits', amount => 26)$$);
SELECT held FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h2', resource_id => 'a', credit_type_id => 'credits', amount => 25, ttl => '1 hour');
-- What is held is settled whatever the limit; the excess is not.
SELECT sqlstate, world FROM refused($$SELECT * FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'h1', amount => 61)$$);
SELECT credits_consumed, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'h1', amount => 20, final => false);
SELECT resource, used FROM limits_of('acme');
SELECT credits_consumed FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'h1', amount => 10);
SELECT resource, used FROM limits_of('acme');
SELECT held FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h3', resource_id => 'a', credit_type_id => 'credits', amount => 30);
SELECT status FROM credit_pools.release_reservation(customer_id => 'acme', reservation_id => 'h3');
SET credit_pools.test_clock = '2026-03-14 01:00+00';
-- h2 has timed out: read so, before anything is booked.
SELECT resource, used FROM limits_of('acme');
SELECT credits_consumed FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 55);
-- A reversal in the same window gives it back …
SELECT credits_returned FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => (SELECT max(usage_id) FROM credit_pools.usage_events), credits => 15);
SELECT resource, used FROM limits_of('acme');
-- … but not one later: neither of usage nor of a hold of another window. What was held then and is settled now counted then.
SELECT held FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h4', resource_id => 'a', credit_type_id => 'credits', amount => 15, ttl => '24 hours');
SET credit_pools.test_clock = '2026-03-15 00:00+00';
SELECT credits_returned FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => (SELECT max(usage_id) FROM credit_pools.usage_events), credits => 15);
SELECT resource, used FROM limits_of('acme');
SELECT FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 83);
SELECT credits_consumed FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'h4', amount => 17);
SELECT resource, used FROM limits_of('acme');
SELECT sqlstate, world FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 0.01)$$);
-- A refusal by the limit fires no recharge; grants, transfers, voids and expiry are no usage.
SELECT FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 100, from_resource_id => 'a', to_resource_id => 'b');
SELECT FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'a'), amount => 5);
SELECT resource, used FROM limits_of('acme');
-- Under the customer's cap a hold that has timed out on one pool, and is booked nowhere yet, counts no more for another.
SELECT FROM (VALUES ('x'), ('y')) v (r), LATERAL credit_pools.open_pool(customer_id => 'late', resource_id => r, credit_type_id => 'credits');
SELECT FROM (VALUES ('x'), ('y')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'late', resource_id => r, credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.set_limit(customer_id => 'late', credit_type_id => 'credits', amount => 70, per => '1 month', all_resources => true);
SELECT held FROM credit_pools.reserve_credits(customer_id => 'late', reservation_id => 'l', resource_id => 'x', credit_type_id => 'credits', amount => 60, ttl => '5 minutes');
SELECT sqlstate FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'late', resource_id => 'y', credit_type_id => 'credits', amount => 11)$$);
SET credit_pools.test_clock = '2026-03-15 00:05+00';
SELECT used, remaining FROM limits_of('late');
SELECT credits_consumed FROM credit_pools.consume_credits(customer_id => 'late', resource_id => 'y', credit_type_id => 'credits', amount => 70);
SELECT used, remaining FROM limits_of('late');
SELECT sum(processed) > 0 AS worked FROM credit_pools.run_maintenance();
SELECT used, remaining FROM limits_of('late');
-- Other windows: an hour is elapsed time, seven days begin on Monday (16 March is one), a year in January.
SELECT per, window_start, window_end FROM (VALUES (1, interval '1 hour'), (2, '7 days'), (3, '1 year'), (4, '3 months'), (5, '30 minutes')) v (n, p), LATERAL credit_pools.set_limit(customer_id => 'acme', resource_id => 'b', credit_type_id => 'credits', amount => 1000 + n, per => p) ORDER BY n;
SELECT amount, per, used FROM limits_of('acme') WHERE resource = 'b' ORDER BY amount;

-- In the customer's time zone: the day begins at 05:00 UTC, after the change to summer time at 04:00.
SELECT FROM credit_pools.provision_subscription(customer_id => 'york', resource_id => 'ny', plan_id => 'basic', time_zone => 'America/New_York');
SELECT FROM credit_pools.grant_credits(customer_id => 'york', resource_id => 'ny', credit_type_id => 'credits', amount => 1000);
SELECT window_start, window_end FROM credit_pools.set_limit(customer_id => 'york', resource_id => 'ny', credit_type_id => 'credits', amount => 10, per => '1 day');
SELECT window_start, window_end FROM credit_pools.set_limit(customer_id => 'york', resource_id => 'ny', credit_type_id => 'credits', amount => 15, per => '1 month');
SELECT FROM credit_pools.consume_credits(customer_id => 'york', resource_id => 'ny', credit_type_id => 'credits', amount => 10);
SET credit_pools.test_clock = '2026-03-15 03:59:59.999999+00';
SELECT sqlstate, figures ->> 'window_end' AS window_end FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'york', resource_id => 'ny', credit_type_id => 'credits', amount => 1)$$);
SET credit_pools.test_clock = '2026-03-15 04:00+00';
SELECT sqlstate, figures ->> 'window_end' AS window_end FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'york', resource_id => 'ny', credit_type_id => 'credits', amount => 6)$$);
SELECT credits_consumed FROM credit_pools.consume_credits(customer_id => 'york', resource_id => 'ny', credit_type_id => 'credits', amount => 5);
SELECT amount, per, used, remaining FROM limits_of('york');
SELECT * FROM ledger_problems();
