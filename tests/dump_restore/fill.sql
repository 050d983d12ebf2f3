-- A database with something of everything that a dump must carry.
\set ON_ERROR_STOP on
SET credit_pools.test_clock = '2026-03-10 12:00:00+00';

SELECT * FROM credit_pools.define_credit_type(credit_type_id => 'ai-tokens', display_name => 'AI tokens', scale => 2);
SELECT * FROM credit_pools.define_credit_type(credit_type_id => 'images', display_name => 'Images', scale => 0);
SELECT * FROM credit_pools.define_feature(feature_id => 'chat', display_name => 'Chat', unit => 'token');
SELECT * FROM credit_pools.define_plan(plan_id => 'team', display_name => 'Team', metadata => '{"tier": 2}');
SELECT * FROM credit_pools.define_plan_credits(plan_id => 'team', credit_type_id => 'ai-tokens', amount => 1000);
SELECT * FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'ai-tokens', credits_per_unit => 0.5, plan_id => 'team');

SELECT * FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'team', resource_id => 'docs', time_zone => 'Europe/Berlin');
SELECT * FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'team', resource_id => 'chat', idempotency_key => 'provision-1');
SELECT * FROM credit_pools.provision_subscription(customer_id => 'umlaut-ä"''\', plan_id => 'team');
SELECT * FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'images', resource_id => 'docs', overdraft_limit => 10);

SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'ai-tokens', amount => 200,
    category => 'promotional', priority => 10, expires_at => '2026-03-20 00:00+00', idempotency_key => 'grant-1');
SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'ai-tokens', amount => 300,
    effective_at => '2026-04-01 00:00+00', display_name => 'April');
SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'ai-tokens', amount => 40,
    payment_state => 'pending', price => 4, price_currency => 'EUR');
SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'ai-tokens', amount => 50,
    feature_ids => ARRAY['chat'], metadata => '{"note": "chat only"}');

-- Two draws on grants, then one that leaves less than the policy's threshold: a recharge waits for its payment.
SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'docs', feature_id => 'chat', value => 100,
    idempotency_key => 'usage-1', dimensions => '{"model": "small"}');
SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'docs', feature_id => 'chat', value => 450);
SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'ai-tokens', threshold => 100, target_balance => 500,
    price_per_credit => 0.01, price_currency => 'EUR', max_spend => 100);
SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'chat', feature_id => 'chat', value => 1900,
    idempotency_key => 'usage-2');
-- Debt in a pool without a grant, and a grant that is gone.
SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'images', amount => 3);
SELECT * FROM credit_pools.grant_credits(customer_id => 'umlaut-ä"''\', credit_type_id => 'ai-tokens', amount => 5) \gset
SELECT * FROM credit_pools.void_grant(customer_id => 'umlaut-ä"''\', grant_id => :grant_id, reason => 'by mistake');
