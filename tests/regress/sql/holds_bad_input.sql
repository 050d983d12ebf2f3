-- Holds refuse bad input clearly: the SQLSTATE says what, DETAIL names the argument, the backend survives and nothing changes.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 2, plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', resource_id => 'ws', plan_id => 'basic');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1000, reason => 'A');
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'plain', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'priced', resource_id => 'ws', feature_id => 'run', value => 5);
-- Which argument DETAIL names where there are two is not fixed: named says whether it is one of them.
SELECT n, e.sqlstate, e.figures ->> 'argument' = ANY (string_to_array(may_name, ' ')) AS named, e.world FROM (VALUES
    (1, 'amount value credit_type_id feature_id', $$resource_id => 'ws'$$),
    (2, 'amount value credit_type_id feature_id', $$resource_id => 'ws', credit_type_id => 'credits', amount => 1, feature_id => 'run', value => 1$$),
    (3, 'amount', $$resource_id => 'ws', credit_type_id => 'credits'$$),
    (4, 'amount credit_type_id', $$resource_id => 'ws', amount => 1$$),
    (5, 'value', $$resource_id => 'ws', feature_id => 'run'$$),
    (6, 'value feature_id', $$resource_id => 'ws', value => 1$$),
    (7, 'amount value feature_id credit_type_id', $$resource_id => 'ws', credit_type_id => 'credits', value => 1$$),
    (8, 'amount value feature_id credit_type_id', $$resource_id => 'ws', feature_id => 'run', amount => 1$$),
    (9, 'amount', $$resource_id => 'ws', credit_type_id => 'credits', amount => 0$$),
    (10, 'amount', $$resource_id => 'ws', credit_type_id => 'credits', amount => -1$$),
    (11, 'amount', $$resource_id => 'ws', credit_type_id => 'credits', amount => 'NaN'$$),
    (12, 'amount', $$resource_id => 'ws', credit_type_id => 'credits', amount => 'Infinity'$$),
    (13, 'amount', $$resource_id => 'ws', credit_type_id => 'credits', amount => 0.001$$),
    (14, 'value', $$resource_id => 'ws', feature_id => 'run', value => 0$$),
    (15, 'value', $$resource_id => 'ws', feature_id => 'run', value => -1$$),
    (16, 'value', $$resource_id => 'ws', feature_id => 'run', value => 'NaN'$$),
    (17, 'ttl', $$resource_id => 'ws', credit_type_id => 'credits', amount => 1, ttl => '0'$$),
    (18, 'ttl', $$resource_id => 'ws', credit_type_id => 'credits', amount => 1, ttl => '-1 second'$$),
    (19, 'ttl', $$resource_id => 'ws', credit_type_id => 'credits', amount => 1, ttl => '24 hours 1 microsecond'$$),
    (20, 'ttl', $$resource_id => 'ws', credit_type_id => 'credits', amount => 1, ttl => '1 month'$$),
    (21, 'ttl', $$resource_id => 'ws', credit_type_id => 'credits', amount => 1, ttl => '178000000 years'$$),
    (22, 'ttl', $$resource_id => 'ws', credit_type_id => 'credits', amount => 1, ttl => '1 month -40 days'$$),
    (23, 'reservation_id', $$resource_id => 'ws', credit_type_id => 'credits', amount => 1, reservation_id => ''$$),
    (24, 'reservation_id', $$resource_id => 'ws', credit_type_id => 'credits', amount => 1, reservation_id => repeat('x', 256)$$),
    (25, 'reservation_id', $$resource_id => 'ws', credit_type_id => 'credits', amount => 1, reservation_id => E'a\nb'$$),
    (26, 'dimensions', $$resource_id => 'ws', feature_id => 'run', value => 1, dimensions => '[1]'$$),
    (27, 'metadata', $$resource_id => 'ws', credit_type_id => 'credits', amount => 1, metadata => '"text"'$$),
    (28, 'resource_id', $$resource_id => '', credit_type_id => 'credits', amount => 1$$)
  ) v (n, may_name, arguments), LATERAL refused(format('SELECT * FROM credit_pools.reserve_credits(customer_id => ''acme'', %s)', arguments)) e ORDER BY n;
SELECT n, e.sqlstate, e.figures ->> 'argument' = ANY (string_to_array(may_name, ' ')) AS named, e.world FROM (VALUES
    (1, 'customer_id', $$credit_pools.reserve_credits(customer_id => NULL, credit_type_id => 'credits', amount => 1)$$),
    (2, 'reservation_id', $$credit_pools.settle_reservation(customer_id => 'acme', reservation_id => NULL)$$),
    (3, 'customer_id', $$credit_pools.settle_reservation(customer_id => NULL, reservation_id => 'plain')$$),
    (4, 'amount value', $$credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'priced', amount => 1, value => 1)$$),
    (5, 'value', $$credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'plain', value => 1)$$),
    (6, 'amount', $$credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'plain', amount => -1)$$),
    (7, 'amount', $$credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'plain', amount => 'NaN')$$),
    (8, 'amount', $$credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'plain', amount => 'Infinity')$$),
    (9, 'amount', $$credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'plain', amount => 0.001)$$),
    (10, 'value', $$credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'priced', value => -1)$$),
    (11, 'value', $$credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'priced', value => 'NaN')$$),
    (12, 'dimensions', $$credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'priced', value => 1, dimensions => '7')$$),
    (13, 'metadata', $$credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'priced', metadata => '[]')$$),
    (14, 'idempotency_key', $$credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'priced', idempotency_key => '')$$),
    (15, 'reservation_id', $$credit_pools.release_reservation(customer_id => 'acme', reservation_id => NULL)$$),
    (16, 'reservation_id', $$credit_pools.extend_reservation(customer_id => 'acme', reservation_id => NULL)$$),
    (17, 'ttl', $$credit_pools.extend_reservation(customer_id => 'acme', reservation_id => 'plain', ttl => '0')$$),
    (18, 'ttl', $$credit_pools.extend_reservation(customer_id => 'acme', reservation_id => 'plain', ttl => '-5 minutes')$$),
    (19, 'ttl', $$credit_pools.extend_reservation(customer_id => 'acme', reservation_id => 'plain', ttl => '1 day 00:00:01')$$)
  ) v (n, may_name, call), LATERAL refused('SELECT * FROM ' || call) e ORDER BY n;
-- A day is 24 hours, and allowed; ids with every other character, and of 255 of them, too.
SELECT expires_at FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => E'\u00e9 "'' %s $1 \U0001F600', resource_id => 'ws', credit_type_id => 'credits', amount => 1, ttl => '1 day');
SELECT held FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => repeat('x', 255), resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.release_reservation(customer_id => 'acme', reservation_id => E'\u00e9 "'' %s $1 \U0001F600');
-- Ids are compared byte by byte.
SELECT * FROM refused($$SELECT * FROM credit_pools.release_reservation(customer_id => 'acme', reservation_id => 'PLAIN')$$);
SELECT resource, balance, held FROM pools_of('acme');
SELECT * FROM ledger_problems();
