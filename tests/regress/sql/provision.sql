-- provision_subscription (contract section 4): one call makes the customer, the resource and a pool for every credit type that the plan grants or prices.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'coins', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_feature(feature_id => 'seat');
-- 'basic' grants credits each month and prices a feature in coins; 'pro' grants more credits, and a welcome once; 'seats' grants by the number of seats.
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'coins', credits_per_unit => 1, plan_id => 'basic');
SELECT FROM credit_pools.define_plan(plan_id => 'pro');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'pro', credit_type_id => 'credits', amount => 300);
SELECT FROM credit_pools.define_plan_credits(plan_id => 'pro', credit_type_id => 'credits', entry_id => 'welcome', amount => 50, cadence => NULL, category => 'promotional');
SELECT FROM credit_pools.define_plan(plan_id => 'seats');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'seats', credit_type_id => 'credits', amount => 10, quantity_feature_id => 'seat', overdraft_limit => 25);

-- Both pools start with an opening row; the plan's credits follow at once and end with the period.
SELECT subscription_id, customer_id, resource_id, plan_id, status, period_start, period_end, is_duplicate
  FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws', subscription_id => 'sub-ws');
SELECT * FROM ledger_of('acme');
-- The same again changes nothing.
SELECT world() AS before \gset
SELECT subscription_id, plan_id, status, period_start, period_end, is_duplicate
  FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws', subscription_id => 'sub-ws');
SELECT subscription_id, plan_id, status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws');
SELECT world() = :'before' AS unchanged;

-- Without a subscription_id one is made; it is not the same twice, and not empty.
SELECT subscription_id <> '' AS named, status FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws-2');
SELECT count(DISTINCT subscription_id) AS subscriptions FROM credit_pools.subscriptions WHERE customer_id = 'acme';

-- At most one active subscription per (customer, resource).
SELECT * FROM expect_error($$SELECT * FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws', subscription_id => 'sub-other')$$);
-- A subscription_id belongs to one scope: another resource is another payload. So are other values under the same plan.
SELECT sqlstate, world FROM expect_error($$SELECT * FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws-3', subscription_id => 'sub-ws')$$);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws', subscription_id => 'sub-ws', overrides => '{"rates": {"run": 2}}')$$);
-- Another customer's subscription of the same name is another one.
SELECT subscription_id, status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'globex', plan_id => 'basic', resource_id => 'ws', subscription_id => 'sub-ws');
SELECT count(*) AS pools FROM credit_pools.pools WHERE customer_id = 'globex';

-- An idempotency key: the same call gives the first result, another payload is refused.
SELECT plan_id, status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws-4', idempotency_key => 'p-1');
SELECT world() AS before \gset
SELECT plan_id, status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws-4', idempotency_key => 'p-1');
SELECT world() = :'before' AS unchanged;
SELECT * FROM expect_error($$SELECT * FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws-5', idempotency_key => 'p-1')$$);

-- Another plan on the same scope changes the plan. The subscription stays the same; the old plan's credits keep their expiry, the new plan's are added.
SET credit_pools.test_clock = '2026-03-11 00:00+00';
SELECT subscription_id, plan_id, status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'pro', resource_id => 'ws');
SELECT * FROM grants_of('acme', 'ws');
-- An entry grants at most once per period, also when the plan is changed away and back: no credits to be won by that.
SET credit_pools.test_clock = '2026-03-12 00:00+00';
SELECT subscription_id, plan_id, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws');
SELECT subscription_id, plan_id, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'pro', resource_id => 'ws');
SELECT subscription_id, plan_id, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws');
SELECT * FROM grants_of('acme', 'ws');
SELECT * FROM ledger_of('acme', 'ws');

-- The global pool is the one without a resource: a scope of its own, with its own subscription.
SELECT resource_id, plan_id, status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'pro');
SELECT * FROM pools_of('acme');

-- Quantities: the entry's amount times the subscription's quantity. The entry's overdraft limit becomes the pool's.
SELECT status FROM credit_pools.provision_subscription(customer_id => 'initech', plan_id => 'seats', resource_id => 'team', quantities => '{"seat": 7}');
-- Overrides: another amount for this subscription, by credit type or by entry.
SELECT status FROM credit_pools.provision_subscription(customer_id => 'initech', plan_id => 'pro', resource_id => 'big', overrides => '{"amounts": {"credits/default": 1000}}');
SELECT status FROM credit_pools.provision_subscription(customer_id => 'initech', plan_id => 'basic', resource_id => 'small', overrides => '{"amounts": {"credits": 5}}');
SELECT resource, type, amount, status FROM grants_of('initech');
-- A change of plan keeps the quantities: seven seats are seven seats under the new plan, too.
SELECT FROM credit_pools.define_plan(plan_id => 'seats-pro');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'seats-pro', credit_type_id => 'credits', amount => 20, quantity_feature_id => 'seat', overdraft_limit => 25);
SELECT plan_id, status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'initech', plan_id => 'seats-pro', resource_id => 'team');
SELECT resource, type, amount, status FROM grants_of('initech', 'team');
SELECT * FROM pools_of('initech');

-- Time: months are counted from the original anchor, so a start on the 31st gives 28 February and then 31 March. The current period's credits are granted.
SET credit_pools.test_clock = '2026-02-15 00:00+00';
SELECT status, period_start, period_end FROM credit_pools.provision_subscription(customer_id => 'umbrella', plan_id => 'basic', resource_id => 'a', starts_at => '2026-01-31 00:00+00');
SET credit_pools.test_clock = '2026-03-15 00:00+00';
SELECT status, period_start, period_end FROM credit_pools.provision_subscription(customer_id => 'umbrella', plan_id => 'basic', resource_id => 'b', starts_at => '2026-01-31 00:00+00');
-- … in the customer's time zone: midnight in Berlin stays midnight in Berlin when summer time begins on 29 March.
SELECT status, period_start, period_end FROM credit_pools.provision_subscription(customer_id => 'berlin', plan_id => 'basic', resource_id => 'a', starts_at => '2026-03-15 00:00 Europe/Berlin', time_zone => 'Europe/Berlin');
SELECT resource, type, amount, status, effective_at, expires_at FROM grants_of('umbrella') UNION ALL SELECT resource, type, amount, status, effective_at, expires_at FROM grants_of('berlin');

-- A subscription that starts later: nothing to use until then.
SELECT status, period_start, period_end FROM credit_pools.provision_subscription(customer_id => 'later', plan_id => 'basic', resource_id => 'ws', starts_at => '2026-03-20 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'later', resource_id => 'ws', credit_type_id => 'coins', amount => 10);
SELECT * FROM pools_of('later');
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'later', resource_id => 'ws', feature_id => 'run', value => 1)$$);
SET credit_pools.test_clock = '2026-03-20 00:00+00';
SELECT * FROM pools_of('later');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'later', resource_id => 'ws', feature_id => 'run', value => 1);
SELECT plan_id, status FROM credit_pools.subscriptions WHERE customer_id = 'later';

-- A subscription that ends: no usage by feature from that instant on, and the scope is free for another one.
SELECT status, period_end FROM credit_pools.provision_subscription(customer_id => 'over', plan_id => 'basic', resource_id => 'ws', subscription_id => 'first', ends_at => '2026-03-25 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'over', resource_id => 'ws', credit_type_id => 'coins', amount => 10);
SET credit_pools.test_clock = '2026-03-24 23:59+00';
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'over', resource_id => 'ws', feature_id => 'run', value => 1);
SET credit_pools.test_clock = '2026-03-25 00:00+00';
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'over', resource_id => 'ws', feature_id => 'run', value => 1)$$);
SELECT subscription_id, status, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'over', plan_id => 'basic', resource_id => 'ws', subscription_id => 'second');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'over', resource_id => 'ws', feature_id => 'run', value => 1);
SELECT subscription_id, plan_id, status FROM credit_pools.subscriptions WHERE customer_id = 'over' ORDER BY subscription_id;

-- What provisioning refuses; nothing of the customer, the resource or the pools is left behind.
SELECT n, e.* FROM (VALUES
    (1, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'new', plan_id => 'nowhere', resource_id => 'ws')$$),
    (2, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'new', plan_id => 'basic', resource_id => 'ws', time_zone => 'Mars/Olympus')$$),
    (3, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'new', plan_id => 'basic', resource_id => 'ws', starts_at => '2026-04-02 00:00+00', ends_at => '2026-04-01 00:00+00')$$),
    (4, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'new', plan_id => 'basic', resource_id => 'ws', starts_at => 'infinity')$$),
    (5, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'new', plan_id => 'basic', resource_id => 'ws', starts_at => '-infinity')$$),
    (6, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'new', plan_id => 'seats', resource_id => 'ws', quantities => '{"seat": -1}')$$),
    (7, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'new', plan_id => 'seats', resource_id => 'ws', quantities => '{"seat": "seven"}')$$),
    (8, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'new', plan_id => 'seats', resource_id => 'ws', quantities => '{"nowhere": 1}')$$),
    (9, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'new', plan_id => 'basic', resource_id => 'ws', overrides => '{"prices": {}}')$$),
    (10, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'new', plan_id => 'basic', resource_id => 'ws', overrides => '{"rates": {"run": -1}}')$$),
    (11, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'new', plan_id => 'basic', resource_id => 'ws', overrides => '{"rates": {"run": "cheap"}}')$$),
    (12, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'new', plan_id => 'basic', resource_id => 'ws', overrides => '{"rates": 5}')$$),
    (13, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'new', plan_id => 'basic', resource_id => 'ws', overrides => '{"amounts": {"credits": 0.001}}')$$),
    (14, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'new', plan_id => 'basic', resource_id => 'ws', overrides => '[]')$$),
    (15, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'new', plan_id => 'basic', resource_id => 'ws', quantities => '5')$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
SELECT * FROM ledger_problems();
