-- Grants with feature_ids are usable for these features only (contract section 10).
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'chat');
SELECT FROM credit_pools.define_feature(feature_id => 'image');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'image', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws');

-- An unlimited grant that ends soon, and one for images only without an end.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100, reason => 'any', expires_at => '2026-03-02 00:00+00', category => 'promotional');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 50, reason => 'images', feature_ids => ARRAY['image']);
-- They count in the balance; restricted says how much of it is limited.
SELECT * FROM pools_of('acme');
-- They are drawn before unlimited ones of equal priority, by their feature …
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'image', value => 20);
-- … and never by another one: chat may touch 100 of the 130, and the error says that figure.
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'chat', value => 101)$$);
SELECT * FROM error_figures($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'chat', value => 101)$$);
SELECT credits_consumed, shortfall, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'chat', value => 101, on_insufficient => 'cap');
-- Usage without a feature may not touch them either.
SELECT * FROM error_figures($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1)$$);
SELECT * FROM pools_of('acme');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'image', value => 10);
SELECT * FROM ledger_of('acme');

-- A lower priority number goes first, limited or not.
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws-2');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws-2', credit_type_id => 'credits', amount => 10, reason => 'images', feature_ids => ARRAY['image']);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws-2', credit_type_id => 'credits', amount => 10, reason => 'any, urgent', priority => 1);
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws-2', feature_id => 'image', value => 15);
SELECT "grant", consumed, remaining FROM grants_of('acme', 'ws-2');

-- They never pay debt: the pool owes 30, gets 50 for images, and still owes 30. What a chat may touch is below zero; what an image may touch is 20.
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws-3');
SELECT overdraft_limit FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws-3', overdraft_limit => 30);
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws-3', feature_id => 'chat', value => 30);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws-3', credit_type_id => 'credits', amount => 50, reason => 'images', feature_ids => ARRAY['image']);
SELECT * FROM pools_of('acme') WHERE resource = 'ws-3';
SELECT * FROM error_figures($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws-3', feature_id => 'chat', value => 1)$$);
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws-3', feature_id => 'image', value => 5);
-- An unlimited grant pays it.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws-3', credit_type_id => 'credits', amount => 40, reason => 'any');
SELECT * FROM ledger_of('acme', 'ws-3');
SELECT * FROM pools_of('acme') WHERE resource = 'ws-3';
SELECT * FROM ledger_problems();
