-- open_pool and set_pool (contract sections 5 and 10).
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'coins', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');

-- open_pool is for customers without a subscription: it makes the customer and the resource, and the pool with its opening row.
SELECT customer_id, resource_id, credit_type_id, balance, overdraft_limit, status FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', overdraft_limit => 10, metadata => '{"team": 1}');
SELECT world() AS before \gset
SELECT balance, overdraft_limit, status FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', overdraft_limit => 10, metadata => '{"team": 1}');
SELECT world() = :'before' AS unchanged;
-- Without a resource: the global pool.
SELECT resource_id, balance, overdraft_limit, status FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits');
SELECT * FROM ledger_of('acme');
-- consume_credits needs no subscription; usage by feature does.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100);
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1)$$);

-- set_pool: NULL leaves a value alone.
SELECT balance, overdraft_limit, status FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', overdraft_limit => 30);
SELECT balance, overdraft_limit, status FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', metadata => '{"team": 2}');
SELECT world() AS before \gset
SELECT balance, overdraft_limit, status FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws');
SELECT world() = :'before' AS unchanged;

-- frozen refuses usage; grants go on, and so does expiry.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 3, expires_at => '2026-03-05 00:00+00', reason => 'short');
SELECT balance, status FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', status => 'frozen');
SELECT * FROM expect_error($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1)$$);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, on_insufficient => 'cap')$$);
SELECT status, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 5);
SET credit_pools.test_clock = '2026-03-06 00:00+00';
SELECT FROM credit_pools.run_maintenance();
SELECT * FROM pools_of('acme');
-- Another pool of the customer is not frozen with it.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 5);
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 1);
SELECT balance, status FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', status => 'active');

-- A limit below the current debt is allowed: nothing new fits until the debt is covered.
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 120);
SELECT balance, overdraft_limit FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', overdraft_limit => 5);
SELECT * FROM error_figures($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1)$$);
SELECT credits_consumed, shortfall, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, on_insufficient => 'cap');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 20);
SELECT credits_consumed, shortfall, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, on_insufficient => 'cap');
SELECT balance, overdraft_limit FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', overdraft_limit => 'Infinity');
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1000);
SELECT * FROM pools_of('acme');

-- A pool that a plan opens next to it keeps what was set.
SELECT status FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws');
SELECT * FROM pools_of('acme');

SELECT n, e.* FROM (VALUES
    (1, $$SELECT * FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'nothing', resource_id => 'ws')$$),
    (2, $$SELECT * FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'new', overdraft_limit => -1)$$),
    (3, $$SELECT * FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'new', overdraft_limit => 'NaN')$$),
    (4, $$SELECT * FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'new', overdraft_limit => 0.001)$$),
    (5, $$SELECT * FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'new', metadata => '[]')$$),
    (6, $$SELECT * FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', status => 'asleep')$$),
    (7, $$SELECT * FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', overdraft_limit => -1)$$),
    (8, $$SELECT * FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', overdraft_limit => '-Infinity')$$),
    (9, $$SELECT * FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'nowhere', status => 'frozen')$$),
    (10, $$SELECT * FROM credit_pools.set_pool(customer_id => 'nobody', credit_type_id => 'credits', status => 'frozen')$$),
    (11, $$SELECT * FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'nothing', status => 'frozen')$$),
    (12, $$SELECT * FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'coins', status => 'frozen')$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
SELECT * FROM ledger_problems();
