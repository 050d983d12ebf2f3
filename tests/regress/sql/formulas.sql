-- Rates by formula (contract section 3): arithmetic over value and the usage's numeric dimensions; a missing dimension, a division by zero or a negative cost is an error that names it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_feature(feature_id => 'chat');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT changed FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'credits', formula => 'max(1, value * 0.01 + tokens / 1000 * if(size >= 70, 3, 1))');
-- The same again changes nothing; a formula and a price per unit exclude each other.
SELECT changed FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'credits', formula => 'max(1, value * 0.01 + tokens / 1000 * if(size >= 70, 3, 1))');
SELECT feature_id, credits_per_unit, formula FROM credit_pools.rate;
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws');
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100, reason => 'bought');

-- 1.20 + 0.85 x 3 = 3.75; then the least of 1; then rounded half away from zero once: 0.01 x 1 + 2.005 = 2.015 -> 2.02.
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'chat', value => 120, dimensions => '{"tokens": 850, "size": 70, "model": "large"}');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'chat', value => 1, dimensions => '{"tokens": 1, "size": 7}');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'chat', value => 1, dimensions => '{"tokens": 2005, "size": 7}');
SELECT feature_id, value, credits, rate FROM credit_pools.usage_events ORDER BY usage_id;

-- A version by its time: from noon on 2 credits for each started hundred. Late usage is priced by the version of its own instant.
SET credit_pools.test_clock = '2026-03-01 13:00+00';
SELECT changed FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'credits', formula => '2 * ceil(value / 100)', effective_at => '2026-03-01 12:00+00');
SELECT credits_consumed FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'chat', value => 101);
SELECT credits_consumed FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'chat', value => 101, occurred_at => '2026-03-01 11:59+00', dimensions => '{"tokens": 0, "size": 0}');
-- The plan's own comes before it, and the subscription's own before both.
SELECT changed FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'credits', formula => 'value * 0 + 7', plan_id => 'basic');
SELECT credits_consumed FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'chat', value => 101);
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'own', overrides => '{"rates": {"chat": {"formula": "min(value, 5) + \"gpu hours\""}}}');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'own', credit_type_id => 'credits', amount => 100, reason => 'bought');
SELECT credits_consumed FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'own', feature_id => 'chat', value => 101, dimensions => '{"gpu hours": 1.5}');
-- A cost of 0 is a usage event without a ledger row.
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'own', feature_id => 'chat', value => 5, dimensions => '{"gpu hours": -5}');

-- What gives no cost names it, and takes nothing.
SELECT changed FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'credits', formula => 'value / (tokens - 3) - 1', plan_id => 'basic');
SELECT n, message, world, figures FROM (VALUES
    (1, $$NULL$$), (2, $$'{"tokens": "many"}'$$), (3, $$'{"Tokens": 5}'$$), (4, $$'{"tokens": 3}'$$), (5, $$'{"tokens": 1000}'$$), (6, $$'{"tokens": 3.000000000000000001}'$$), (7, $$'{"tokens": 1e300}'$$)
  ) v (n, d), LATERAL (SELECT format('SELECT * FROM credit_pools.report_usage(customer_id => ''acme'', resource_id => ''ws'', feature_id => ''chat'', value => 999999999999999999, dimensions => %s)', d)) s (statement),
    LATERAL expect_error(statement) e, LATERAL (SELECT f.figures - 'formula' FROM error_figures(statement) f) f (figures) ORDER BY n;
SELECT message, world, figures FROM (VALUES ($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'chat', value => 1, dimensions => '{"tokens": 5}')$$)) s (statement),
    LATERAL expect_error(statement) e, LATERAL (SELECT f.figures - 'formula' FROM error_figures(statement) f) f (figures);
-- What is no formula: the position of the character that is wrong.
SELECT n, e.sqlstate, message, figures ->> 'position' AS position, world FROM (VALUES
    (1, ''), (2, 'value *'), (3, 'value * sqrt(2)'), (4, '(value'), (5, 'value)'), (6, 'value ; 1'), (7, 'min(value)'), (8, 'if(value, 1, 2)'), (9, 'value = 1'), (10, '1e5'), (11, '1.2.3'),
    (12, repeat('(', 10000) || 'value' || repeat(')', 10000)), (13, repeat('(', 101) || 'value' || repeat(')', 101)), (14, repeat('-', 500) || '1'), (15, 'round(value, 19)'), (16, '"open'),
    (17, '99999999999999999999999999999999999999999999'), (18, 'value ++ 1'), (19, 'MAX(1, 2)'), (20, 'drop table x'), (21, E'value\t+\n 1 + é')
  ) v (n, f), LATERAL (SELECT format('SELECT * FROM credit_pools.define_rate(feature_id => ''chat'', credit_type_id => ''credits'', formula => %L)', f)) s (statement),
    LATERAL expect_error(statement) e, LATERAL error_figures(statement) f2 ORDER BY n;
SELECT n, sqlstate, message FROM (VALUES
    (1, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'x', overrides => '{"rates": {"chat": {"formula": "value +"}}}')$$),
    (3, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'x', overrides => '{"rates": {"chat": "value"}}')$$),
    (4, $$SELECT * FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'x', overrides => '{"rates": {"chat": {"formula": "1", "more": 1}}}')$$),
    (2, $$SELECT * FROM credit_pools.apply_catalog('{"rates": [{"feature_id": "chat", "credit_type_id": "credits", "formula": "2 +* value"}]}')$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
SELECT kind, id, changed FROM credit_pools.apply_catalog('{"rates": [{"feature_id": "chat", "credit_type_id": "credits", "formula": "floor(value) / 2", "plan_id": "basic"}]}');
SELECT credits_consumed FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'chat', value => 3.9);
SELECT * FROM ledger_problems();
