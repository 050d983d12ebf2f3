-- balance_at (contract section 7): the balance at an instant, past, present or future, by what was known at another one. What the clock alone does counts whether or not it has been booked.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');
SELECT FROM credit_pools.define_plan(plan_id => 'carry');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'carry', credit_type_id => 'credits', amount => 100, rollover_max => 30, overdraft_limit => 50);
SELECT r, status FROM (VALUES ('carry', 'carry'), ('lend', 'carry'), ('ws', 'basic')) v (r, p), LATERAL credit_pools.provision_subscription(customer_id => 'acme', plan_id => p, resource_id => r) ORDER BY r;

-- 30 used on the 10th; on the 20th another 5, which were used on the 12th; 10 in April.
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 30);
SET credit_pools.test_clock = '2026-03-20 00:00+00';
SELECT balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 5, occurred_at => '2026-03-12 00:00+00');
SET credit_pools.test_clock = '2026-04-10 00:00+00';
SELECT balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 10);
-- Now, by default: what the view says.
SELECT * FROM credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws');
-- Past instants, and future ones (without further usage). An instant counts what happens at it. Before the pool's time there is nothing.
SELECT v.at, b.* FROM (VALUES ('2026-02-01 00:00+00'::timestamptz), ('2026-03-01 00:00+00'), ('2026-03-09 23:59:59.999999+00'), ('2026-03-10 00:00+00'), ('2026-03-11 23:59:59+00'), ('2026-03-12 00:00+00'), ('2026-03-31 23:59:59.999999+00'), ('2026-04-01 00:00+00'),
    ('2026-04-10 00:00+00'), ('2026-04-30 00:00+00'), ('2026-05-01 00:00+00')) v (at), LATERAL credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', at => v.at) b ORDER BY 1;
-- The second clock: on the 15th nobody knew of the usage of the 12th; by what was known then, 70 would expire on 1 April. A time to come knows what is known now.
SELECT v.at, v.known_at, b.* FROM (VALUES ('2026-03-12 00:00+00'::timestamptz, '2026-03-15 00:00+00'::timestamptz), ('2026-03-12 00:00+00', '2026-03-20 00:00+00'), ('2026-03-15 00:00+00', '2026-03-09 00:00+00'), ('2026-04-01 00:00+00', '2026-03-15 00:00+00'),
    ('2026-04-10 00:00+00', '2026-03-31 00:00+00'), ('2026-04-10 00:00+00', '2030-01-01 00:00+00')) v (at, known_at), LATERAL credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', at => v.at, known_at => v.known_at) b ORDER BY 1, 2;

-- Rollover and debt, past and to come, without a booking: lend owes 20 since 10 April (100 of the period and 30 carried were used up); on 1 May the new credits pay it.
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'lend', credit_type_id => 'credits', amount => 150);
SELECT r, v.at, b.* FROM (VALUES ('carry'), ('lend')) w (r), (VALUES ('2026-03-31 00:00+00'::timestamptz), ('2026-04-01 00:00+00'), ('2026-04-10 00:00+00'), ('2026-05-01 00:00+00'), ('2026-06-01 00:00+00')) v (at),
    LATERAL credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits', resource_id => r, at => v.at) b ORDER BY 1, 2;

-- The present of a pool that nobody has touched: equal to the view, before and after it is booked. The past does not depend on it either: on 15 May there were 100, though that period was
-- over before anybody came by.
SET credit_pools.test_clock = '2026-06-15 00:00+00';
SELECT b.balance, b.balance = p.balance AS as_the_view FROM credit_pools.pools p, LATERAL credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws') b WHERE p.customer_id = 'acme' AND p.resource_id = 'ws';
SELECT v.at, b.balance FROM (VALUES ('2026-04-30 00:00+00'::timestamptz), ('2026-05-15 00:00+00'), ('2026-06-01 00:00+00')) v (at), LATERAL credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', at => v.at) b ORDER BY 1;
SELECT FROM credit_pools.run_maintenance();
SELECT v.at, b.balance FROM (VALUES ('2026-04-30 00:00+00'::timestamptz), ('2026-05-15 00:00+00'), ('2026-06-01 00:00+00')) v (at), LATERAL credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', at => v.at) b ORDER BY 1;
SELECT b.balance, b.balance = p.balance AS as_the_view FROM credit_pools.pools p, LATERAL credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws') b WHERE p.customer_id = 'acme' AND p.resource_id = 'ws';
-- A grant that begins later, a voided one, and one in the customer's global pool.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 40, effective_at => '2026-06-20 00:00+00', expires_at => '2026-06-25 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 9, reason => 'void');
SET credit_pools.test_clock = '2026-06-16 00:00+00';
SELECT balance FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'void'), amount => 4);
SELECT v.at, b.* FROM (VALUES ('2026-06-15 00:00+00'::timestamptz), ('2026-06-16 00:00+00'), ('2026-06-20 00:00+00'), ('2026-06-25 00:00+00')) v (at), LATERAL credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits', at => v.at) b ORDER BY 1;
-- What was known before a cancellation: that the credits last to the end of their period.
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT status FROM credit_pools.provision_subscription(customer_id => 'known', plan_id => 'basic', resource_id => 'ws', subscription_id => 'sub');
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT status FROM credit_pools.cancel_subscription(customer_id => 'known', subscription_id => 'sub', credits => 'expire');
SET credit_pools.test_clock = '2026-06-16 00:00+00';
SELECT v.at, v.known_at, b.balance, b.granted, b.expired FROM (VALUES ('2026-03-09 00:00+00'::timestamptz, '2026-06-01 00:00+00'::timestamptz), ('2026-03-15 00:00+00', '2026-03-05 00:00+00'), ('2026-03-15 00:00+00', '2026-03-10 00:00+00'), ('2026-04-15 00:00+00', '2026-03-10 00:00+00')) v (at, known_at),
    LATERAL credit_pools.balance_at(customer_id => 'known', credit_type_id => 'credits', resource_id => 'ws', at => v.at, known_at => v.known_at) b ORDER BY 1, 2;
-- It reads only, and knows its pools.
BEGIN READ ONLY;
SELECT balance FROM credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', at => '2027-01-01 00:00+00');
COMMIT;
SELECT n, sqlstate, figures ->> 'argument' AS argument, world FROM (VALUES
    (1, $$SELECT * FROM credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'nowhere')$$),
    (2, $$SELECT * FROM credit_pools.balance_at(customer_id => 'nobody', credit_type_id => 'credits', resource_id => 'ws')$$),
    (3, $$SELECT * FROM credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'nothing', resource_id => 'ws')$$),
    (4, $$SELECT * FROM credit_pools.balance_at(customer_id => '', credit_type_id => 'credits', resource_id => 'ws')$$),
    (5, $$SELECT * FROM credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', at => 'infinity')$$)
  ) s (n, statement), LATERAL expect_error(statement), LATERAL (SELECT f.figures FROM error_figures(statement) f) f ORDER BY n;
SELECT * FROM ledger_problems();
