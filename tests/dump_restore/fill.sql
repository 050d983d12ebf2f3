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
-- Plans through time: one that carries over, moved and resized, with a change announced; one that is over; a schedule that renews before the dump.
SELECT * FROM credit_pools.define_feature(feature_id => 'seat');
SELECT * FROM credit_pools.define_plan(plan_id => 'weekly');
SELECT * FROM credit_pools.define_plan_credits(plan_id => 'weekly', credit_type_id => 'images', amount => 10, cadence => '7 days', rollover_max => 6,
    rollover_periods => 2, quantity_feature_id => 'seat');
SELECT * FROM credit_pools.provision_subscription(customer_id => 'timely', plan_id => 'weekly', resource_id => 'one', subscription_id => 'sub-one',
    starts_at => '2026-03-01 00:00+00', quantities => '{"seat": 2}');
SELECT * FROM credit_pools.set_quantity(customer_id => 'timely', subscription_id => 'sub-one', feature_id => 'seat', quantity => 3);
SELECT * FROM credit_pools.define_plan_credits(plan_id => 'weekly', credit_type_id => 'images', amount => 20, cadence => '7 days', rollover_max => 6,
    rollover_periods => 2, quantity_feature_id => 'seat');
SELECT * FROM credit_pools.transfer_subscription(customer_id => 'timely', subscription_id => 'sub-one', to_resource_id => 'two');
SELECT * FROM credit_pools.provision_subscription(customer_id => 'timely', plan_id => 'team', resource_id => 'gone', subscription_id => 'sub-gone');
SELECT * FROM credit_pools.cancel_subscription(customer_id => 'timely', subscription_id => 'sub-gone', credits => 'expire');
SELECT * FROM credit_pools.provision_subscription(customer_id => 'timely', plan_id => 'team', subscription_id => 'sub-ends');
SELECT * FROM credit_pools.cancel_subscription(customer_id => 'timely', subscription_id => 'sub-ends', at => '2026-05-20 00:00+00', credits => 'expire');
