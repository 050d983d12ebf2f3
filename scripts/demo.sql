-- The demo: psql runs this on a throw-away cluster (make demo). Any error but the one it expects ends it.
\set ON_ERROR_STOP on
\set ECHO none
\pset pager off
\pset null '-'

\echo
\echo '=== 1. The catalogue: what is sold, and what a unit of it costs ========================================='
\echo
\set ECHO queries
\i scripts/demo_catalog.sql

\set ECHO none
\echo '=== 2. Three calls: subscribe a workspace, grant it credits, report its usage ==========================='
\echo
\x on
\set ECHO queries
SELECT * FROM credit_pools.provision_subscription(customer_id => 'customer-demo-01', plan_id => 'plan-basic', resource_id => 'workspace-example-com');
SELECT * FROM credit_pools.grant_credits(customer_id => 'customer-demo-01', resource_id => 'workspace-example-com', credit_type_id => 'ai-tokens', amount => 5000);
SELECT * FROM credit_pools.report_usage(customer_id => 'customer-demo-01', resource_id => 'workspace-example-com', feature_id => 'feature-ai-tokens', value => 150);
\set ECHO none
\x off
\echo 'Its ledger:'
SELECT seq, entry_type, amount, balance_before, balance_after
FROM credit_pools.ledger WHERE customer_id = 'customer-demo-01' ORDER BY seq;

\echo '=== 3. A day in the life of two workspaces of one customer =============================================='
\echo
\echo '08:00  workspace-docs gets 1000 paid credits, and 300 promotional ones until noon; workspace-chat gets 200.'
SET credit_pools.test_clock = '2026-03-02 08:00+00';
-- \g /dev/null: the calls whose results the tables below show anyway
SELECT credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'plan-basic', resource_id => 'workspace-docs'),
       credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'plan-basic', resource_id => 'workspace-chat') \g /dev/null
SELECT credit_pools.grant_credits(customer_id => 'acme', resource_id => 'workspace-docs', credit_type_id => 'ai-tokens', amount => 1000),
       credit_pools.grant_credits(customer_id => 'acme', resource_id => 'workspace-docs', credit_type_id => 'ai-tokens', amount => 300,
                                  category => 'promotional', expires_at => '2026-03-02 12:00+00'),
       credit_pools.grant_credits(customer_id => 'acme', resource_id => 'workspace-chat', credit_type_id => 'ai-tokens', amount => 200) \g /dev/null
SELECT resource_id, balance, granted, consumed, expired, next_expiry_at, next_expiry_amount
FROM credit_pools.pools WHERE customer_id = 'acme' ORDER BY resource_id DESC;

\echo '09:00  workspace-docs uses 120: drawn from the credits that expire first.'
SET credit_pools.test_clock = '2026-03-02 09:00+00';
SELECT credits_consumed, balance
FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'workspace-docs', feature_id => 'feature-ai-tokens', value => 120);
SELECT category, amount, remaining, status, expires_at
FROM credit_pools.grants WHERE customer_id = 'acme' AND resource_id = 'workspace-docs' ORDER BY grant_id;

\echo '12:00  The other 180 promotional credits expire. No job ran, yet every read is right; maintenance then books it.'
SET credit_pools.test_clock = '2026-03-02 12:00+00';
SELECT resource_id, balance, expired
FROM credit_pools.pools WHERE customer_id = 'acme' AND resource_id = 'workspace-docs';
SELECT * FROM credit_pools.run_maintenance();

\echo '13:00  workspace-chat uses all of its 200.'
SET credit_pools.test_clock = '2026-03-02 13:00+00';
SELECT credits_consumed, balance
FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'workspace-chat', feature_id => 'feature-ai-tokens', value => 200);
\echo '       Its next usage is refused (PC001) and leaves no trace, though workspace-docs still has 1000:'
\echo
\set ON_ERROR_STOP off
SELECT credits_consumed, balance
FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'workspace-chat', feature_id => 'feature-ai-tokens', value => 1);
\set ON_ERROR_STOP on
SELECT :'LAST_ERROR_SQLSTATE' = 'PC001' AND :'ERROR' AS refused \gset
\if :refused
\else
  DO $$ BEGIN RAISE 'this usage should have been refused with PC001'; END $$;
\endif
\echo
\echo '       workspace-docs goes on as if nothing had happened:'
SELECT credits_consumed, balance
FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'workspace-docs', feature_id => 'feature-ai-tokens', value => 50);

\echo '15:00  workspace-docs gets an auto-recharge: below 500, fill up to 1000. A usage of 600 wakes it.'
SET credit_pools.test_clock = '2026-03-02 15:00+00';
SELECT credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'ai-tokens', resource_id => 'workspace-docs',
                                      threshold => 500, target_balance => 1000, price_per_credit => 0.01,
                                      price_currency => 'EUR', max_spend => 50) \g /dev/null
SELECT credits_consumed, balance
FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'workspace-docs', feature_id => 'feature-ai-tokens', value => 600);
SELECT resource_id, status, amount, price, price_currency FROM credit_pools.recharges WHERE customer_id = 'acme';

\echo '15:01  The payment worker claims it, charges the card, and completes it: the credits arrive.'
SET credit_pools.test_clock = '2026-03-02 15:01+00';
SELECT recharge_id FROM credit_pools.claim_recharges(worker => 'payments-1', max_count => 1) \gset
SELECT status, amount, balance
FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => :recharge_id, payment_reference => 'pay-4711');

\echo '=== 4. The end of the day ================================================================================'
\echo
\echo 'Pools:'
SELECT resource_id, balance, granted, consumed, expired
FROM credit_pools.pools WHERE customer_id = 'acme' ORDER BY resource_id DESC;
\echo 'Ledger:'
SELECT resource_id, seq, entry_type, amount, balance_after, grant_id, usage_id, to_char(effective_at, 'HH24:MI') AS at
FROM credit_pools.ledger WHERE customer_id = 'acme' ORDER BY resource_id DESC, seq;
