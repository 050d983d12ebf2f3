-- explain_usage (contract section 7): the rate version, the inputs, the grants drawn and the rule that chose them.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-10 12:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_feature(feature_id => 'tokens');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 2, plan_id => 'basic', effective_at => '2026-03-01 00:00+00');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 3, plan_id => 'basic', effective_at => '2026-03-08 00:00+00');
SELECT FROM credit_pools.define_rate(feature_id => 'tokens', credit_type_id => 'credits', formula => 'value * size');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', resource_id => 'ws', plan_id => 'basic', starts_at => '2026-03-05 00:00+00');
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', overdraft_limit => 100);
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 10, priority => 1, reason => 'A');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 30, reason => 'B');
-- u1: by rate, over two grants and into debt. u2: late, by the version of its own time. u3: by formula. u4: plain credits. u5: of nothing, with a shortfall. u6: a settlement.
SELECT credits_consumed FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 15);
SELECT credits_consumed FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 5, occurred_at => '2026-03-06 00:00+00');
SELECT credits_consumed FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'tokens', value => 2, dimensions => '{"size": 1.5, "model": "x"}');
SELECT credits_consumed FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 4);
SELECT credits_consumed, shortfall FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 50, on_insufficient => 'cap');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 200, reason => 'C');
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h', resource_id => 'ws', feature_id => 'run', value => 10);
SELECT FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'h', value => 8);
SELECT FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 6), credits => 4);
SELECT n, e.feature_id, e.value, e.dimensions, e.plan_id, e.rate, e.formula, at(e.rate_effective_at) AS since, at(e.occurred_at) AS occurred_at FROM generate_series(1, 6) n, LATERAL credit_pools.explain_usage(customer_id => 'acme', usage_id => usage_id('acme', n)) e ORDER BY n;
SELECT n, e.usage_id = usage_id('acme', n) AS its_id, e.credit_type_id, e.cost, e.credits, e.shortfall, e.reversed, e.debt, e.reservation_id, e.explanation <> '' AS explained,
       (SELECT string_agg(g.reason || ' ' || (d ->> 'credits'), ', ' ORDER BY o) FROM jsonb_array_elements(e.grants) WITH ORDINALITY x (d, o) JOIN credit_pools.grants g ON g.grant_id = (d ->> 'grant_id')::bigint) AS grants
  FROM generate_series(1, 6) n, LATERAL credit_pools.explain_usage(customer_id => 'acme', usage_id => usage_id('acme', n)) e ORDER BY n;
SELECT n, r.* FROM (VALUES (1, $$customer_id => 'acme', usage_id => -1$$), (2, $$customer_id => 'acme', usage_id => NULL$$), (3, $$customer_id => NULL, usage_id => usage_id('acme', 1)$$)) v (n, arguments),
  LATERAL refused(format('SELECT * FROM credit_pools.explain_usage(%s)', arguments)) r ORDER BY n;
SELECT sqlstate, figures ->> 'kind' AS kind FROM refused($$SELECT * FROM credit_pools.explain_usage(customer_id => 'globex', usage_id => usage_id('acme', 1))$$);
-- Reads only.
BEGIN READ ONLY;
SELECT credits FROM credit_pools.explain_usage(customer_id => 'acme', usage_id => usage_id('acme', 1));
COMMIT;
SELECT * FROM ledger_problems();
