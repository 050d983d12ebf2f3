-- Not enough credits (contract section 4): 'reject' takes nothing, 'cap' takes what is there, an overdraft limit lets the pool go into debt.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_feature(feature_id => 'gift');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'gift', credit_type_id => 'credits', credits_per_unit => 0, plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100, reason => 'A');

-- reject (the default): PC001, nothing is taken. DETAIL has the figures.
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 100.01)$$);
SELECT * FROM error_figures($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 150)$$);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 150, on_insufficient => 'reject')$$);
-- The very last credit can be used.
SELECT credits_consumed, shortfall, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 60);
-- cap: takes what is there and returns the rest as shortfall.
SELECT credits_consumed, shortfall, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 70, on_insufficient => 'cap');
-- cap on an empty pool: a usage event with 0 credits and the whole as shortfall; no ledger row.
SELECT credits_consumed, shortfall, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 5, on_insufficient => 'cap');
SELECT credits_consumed, shortfall, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 5, on_insufficient => 'cap');
-- A cost of 0, by the rate or by rounding: a usage event, no ledger row; it needs no credits.
SELECT credits_consumed, shortfall, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'gift', value => 1000);
SELECT credits_consumed, shortfall, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 0.004);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1, on_insufficient => 'beg')$$);
SELECT * FROM usage_of('acme');
SELECT * FROM ledger_of('acme');

-- Usage in a type without a pool: PC001 with balance 0.
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'other', scale => 0);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'other', amount => 1)$$);
SELECT * FROM error_figures($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'other', amount => 1)$$);

-- A pool with an overdraft limit of 50 goes into debt down to -50, and not a cent below.
SELECT balance, overdraft_limit, status FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'od', overdraft_limit => 50);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'od', credit_type_id => 'credits', amount => 20, reason => 'A');
SELECT credits_consumed, shortfall, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'od', credit_type_id => 'credits', amount => 60);
SELECT * FROM error_figures($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'od', credit_type_id => 'credits', amount => 20)$$);
SELECT credits_consumed, shortfall, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'od', credit_type_id => 'credits', amount => 20, on_insufficient => 'cap');
SELECT * FROM pools_of('acme') WHERE resource = 'od';
-- Debt belongs to the pool and is paid first by the next credits, without new usage. A small grant pays a part …
SELECT status, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'od', credit_type_id => 'credits', amount => 30, reason => 'B');
SELECT * FROM pools_of('acme') WHERE resource = 'od';
-- … one that is scheduled pays when it begins …
SELECT status, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'od', credit_type_id => 'credits', amount => 100, effective_at => '2026-03-02 00:00+00', reason => 'C');
SET credit_pools.test_clock = '2026-03-02 00:00+00';
SELECT * FROM pools_of('acme') WHERE resource = 'od';
SELECT "grant", remaining, available, status FROM grants_of('acme', 'od');
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'od', credit_type_id => 'credits', amount => 10);
-- … and the ledger shows it: two rows debt_settle that cancel out.
SELECT * FROM ledger_of('acme', 'od');
SELECT * FROM grants_of('acme', 'od');
SELECT * FROM pools_of('acme') WHERE resource = 'od';

-- An infinite overdraft never refuses.
SELECT overdraft_limit FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'endless', overdraft_limit => 'Infinity');
SELECT credits_consumed, shortfall, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'endless', credit_type_id => 'credits', amount => 123456789.01);
SELECT credits_consumed, shortfall, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'endless', credit_type_id => 'credits', amount => 1, on_insufficient => 'cap');
SELECT * FROM pools_of('acme') WHERE resource = 'endless';
-- Several debts, one grant: settled as far as it reaches; the rest stays owed.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'endless', credit_type_id => 'credits', amount => 123456789.51, reason => 'D');
SELECT * FROM ledger_of('acme', 'endless');
SELECT * FROM ledger_problems();
