-- Redefining what a plan gives: it counts from each subscription's next period on. A renewal takes the definition in force at its own instant, whoever books it and when.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT changed FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.define_plan(plan_id => 'pace');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'pace', credit_type_id => 'credits', amount => 10);
SELECT r, status FROM (VALUES ('a', 'basic'), ('pace', 'pace')) v (r, p), LATERAL credit_pools.provision_subscription(customer_id => 'acme', plan_id => p, resource_id => r) ORDER BY r;

-- The same values again change nothing. Other values leave the period that runs as it is; who subscribes now gets the new ones.
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT world() AS before \gset
SELECT changed FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 100);
SELECT changed FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 100, cadence => '1 month', rollover_max => 0, rollover_percent => 100, rollover_periods => 1, overdraft_limit => 0);
SELECT world() = :'before' AS unchanged;
SELECT changed FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 200);
SELECT balance FROM credit_pools.pools WHERE customer_id = 'acme' AND resource_id = 'a';
SET credit_pools.test_clock = '2026-03-12 00:00+00';
SELECT status FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'b');
SELECT balance FROM credit_pools.pools WHERE customer_id = 'acme' AND resource_id = 'b';

-- Once more on 10 April, before anybody has booked the renewal of 1 April: that one stays with the 200 that were in force then. B's renewal on 12 April gives 300.
SET credit_pools.test_clock = '2026-04-10 00:00+00';
SELECT changed FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 300);
SET credit_pools.test_clock = '2026-04-20 00:00+00';
SELECT resource, balance FROM pools_of('acme') WHERE resource IN ('a', 'b');
SELECT r, balance FROM (VALUES ('a'), ('b')) v (r), LATERAL credit_pools.consume_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 1) ORDER BY r;
SET credit_pools.test_clock = '2026-05-01 00:00+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 1);
SELECT resource, seq, entry_type, amount, after, effective_at FROM history_of('acme') WHERE resource IN ('a', 'b');

-- A redefinition at the very instant of a boundary is in force at it.
SELECT FROM credit_pools.define_plan(plan_id => 'exact');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'exact', credit_type_id => 'credits', amount => 1);
SELECT status FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'exact', resource_id => 'exact');
SET credit_pools.test_clock = '2026-06-01 00:00+00';
SELECT changed FROM credit_pools.define_plan_credits(plan_id => 'exact', credit_type_id => 'credits', amount => 2);
SELECT balance FROM credit_pools.pools WHERE customer_id = 'acme' AND resource_id = 'exact';

-- A new entry of a plan counts for those who subscribe (or change to the plan) afterwards.
SELECT changed FROM credit_pools.define_plan_credits(plan_id => 'exact', credit_type_id => 'credits', entry_id => 'more', amount => 40);
SELECT status FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'exact', resource_id => 'exact-2');
SET credit_pools.test_clock = '2026-07-01 00:00+00';
SELECT resource, balance FROM pools_of('acme') WHERE resource ~ 'exact';

-- Another cadence: the period that runs ends as planned, on 1 April; from then on the grid of the new one, counted from the same anchor: 5 April, 12 April …
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT changed FROM credit_pools.define_plan_credits(plan_id => 'pace', credit_type_id => 'credits', amount => 10, cadence => '7 days');
DO $$ BEGIN
    FOR d IN 0..40 LOOP
        PERFORM set_config('credit_pools.test_clock', ('2026-03-11 12:00+00'::timestamptz + make_interval(days => d))::text, false);
        PERFORM credit_pools.set_pool(customer_id => 'acme', resource_id => 'pace', credit_type_id => 'credits', status => 'active');
    END LOOP;
END $$;
SELECT amount, effective_at, expires_at FROM periods_of('acme', 'pace');
-- A raised quantity counts by the definition of the period that runs: 10 a seat, also after the plan has gone up to 20; the next period counts by the new one.
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_feature(feature_id => 'seat');
SELECT FROM credit_pools.define_plan(plan_id => 'seats');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'seats', credit_type_id => 'credits', amount => 10, quantity_feature_id => 'seat');
SELECT status FROM credit_pools.provision_subscription(customer_id => 'team', plan_id => 'seats', resource_id => 'ws', subscription_id => 'sub', quantities => '{"seat": 3}');
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT changed FROM credit_pools.define_plan_credits(plan_id => 'seats', credit_type_id => 'credits', amount => 20, quantity_feature_id => 'seat');
SELECT quantities FROM credit_pools.set_quantity(customer_id => 'team', subscription_id => 'sub', feature_id => 'seat', quantity => 3);
SELECT balance FROM pools_of('team');
SELECT quantities FROM credit_pools.set_quantity(customer_id => 'team', subscription_id => 'sub', feature_id => 'seat', quantity => 4);
SELECT balance FROM pools_of('team');
SET credit_pools.test_clock = '2026-04-01 00:00+00';
SELECT balance FROM pools_of('team');
SELECT * FROM ledger_problems();
