-- 10,000 pools for each contestant, of 100 customers with 100 workspaces, with more credits than any run uses up.
\set ON_ERROR_STOP on
CREATE EXTENSION IF NOT EXISTS credit_pools;
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'ai-tokens', display_name => 'AI tokens');
SELECT FROM credit_pools.define_feature(feature_id => 'feature-ai-tokens', display_name => 'AI tokens');
SELECT FROM credit_pools.define_plan(plan_id => 'plan-basic', display_name => 'Basic');
SELECT FROM credit_pools.define_rate(plan_id => 'plan-basic', feature_id => 'feature-ai-tokens',
                                     credit_type_id => 'ai-tokens', credits_per_unit => 1);

SELECT count(*) AS subscriptions
FROM generate_series(1, 100) c, generate_series(1, 100) w,
     LATERAL credit_pools.provision_subscription(customer_id => 'customer-' || c, plan_id => 'plan-basic',
                                                 resource_id => 'workspace-' || w) s;
SELECT count(*) AS grants
FROM generate_series(1, 100) c, generate_series(1, 100) w,
     LATERAL credit_pools.grant_credits(customer_id => 'customer-' || c, resource_id => 'workspace-' || w,
                                        credit_type_id => 'ai-tokens', amount => 1000000000) g;

-- As many again, with a recharge policy and alerts far below what they have.
SELECT count(*) AS guarded_subscriptions
FROM generate_series(1, 100) c, generate_series(1, 100) w,
     LATERAL credit_pools.provision_subscription(customer_id => 'guarded-' || c, plan_id => 'plan-basic',
                                                 resource_id => 'workspace-' || w) s;
SELECT count(*) AS guarded_grants
FROM generate_series(1, 100) c, generate_series(1, 100) w,
     LATERAL credit_pools.grant_credits(customer_id => 'guarded-' || c, resource_id => 'workspace-' || w,
                                        credit_type_id => 'ai-tokens', amount => 1000000000) g;
SELECT sum(pools_covered) AS pools_with_policy
FROM generate_series(1, 100) c,
     LATERAL credit_pools.set_auto_recharge(customer_id => 'guarded-' || c, credit_type_id => 'ai-tokens', threshold => 1000,
                                            target_balance => 100000, price_per_credit => 0.01, price_currency => 'USD',
                                            max_spend => 500, cooldown => '1 hour') p;
SELECT sum(pools_covered) AS pools_with_alerts
FROM generate_series(1, 100) c,
     LATERAL credit_pools.set_balance_alerts(customer_id => 'guarded-' || c, credit_type_id => 'ai-tokens',
                                             thresholds => '{5000, 1000}', percents => '{20, 10}') a;

-- A table whose rows are usage.
CREATE TABLE metered_event (customer text, workspace text, tokens bigint);
SELECT * FROM credit_pools.meter_table("table" => 'metered_event', feature_id => 'feature-ai-tokens', customer_column => 'customer',
                                       resource_column => 'workspace', value_column => 'tokens');

-- The floor: what any wallet has to write, without a rule in it.
CREATE TABLE floor_pool (
    pool_id bigint PRIMARY KEY,
    seq bigint NOT NULL,
    balance numeric NOT NULL
) WITH (fillfactor = 60);
CREATE TABLE floor_ledger (
    entry_id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    pool_id bigint NOT NULL,
    seq bigint NOT NULL,
    amount numeric NOT NULL,
    balance_after numeric NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (pool_id, seq)
);
INSERT INTO floor_pool SELECT n, 0, 1000000000 FROM generate_series(1, 10000) n;
