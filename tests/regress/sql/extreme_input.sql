-- The ends of the ranges: no input reaches a panic or an internal error (XX...), whatever it is. What is shown is the SQLSTATE alone.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'fine', scale => 18);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 999999999999999999, plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws');
SELECT FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', overdraft_limit => 'Infinity');

-- A plan whose one value is replaced, subscribed to at once: the error may come from either call, but it is 22023 (or none).
CREATE FUNCTION with_plan(arguments text, subscription text DEFAULT '') RETURNS text LANGUAGE sql AS $f$
    SELECT format($q$DO $d$BEGIN PERFORM credit_pools.define_plan('odd'); PERFORM credit_pools.define_plan_credits(plan_id => 'odd', credit_type_id => 'credits', %s);
        PERFORM credit_pools.provision_subscription(customer_id => 'odd', plan_id => 'odd', resource_id => 'ws'%s); PERFORM credit_pools.run_maintenance(); PERFORM * FROM credit_pools.grants; END$d$$q$, $1, $2)
$f$;
SELECT what, e.sqlstate, e.world FROM (VALUES
    (1, 'cadence of 178,000,000 years', with_plan($$amount => 1, cadence => '178000000 years'$$)),
    (2, 'cadence of 100,000 years', with_plan($$amount => 1, cadence => '100000 years'$$)),
    (3, 'cadence of a microsecond', with_plan($$amount => 1, cadence => '1 microsecond'$$)),
    (4, 'cadence of mixed signs', with_plan($$amount => 1, cadence => '1 month -40 days'$$)),
    (5, 'expires after 178,000,000 years', with_plan($$amount => 1, expires_after => '178000000 years'$$)),
    (6, 'expires after a microsecond', with_plan($$amount => 1, expires_after => '1 microsecond'$$)),
    (7, 'starts in 4713 BC', with_plan($$amount => 1$$, $$, starts_at => '4713-01-01 00:00+00 BC'$$)),
    (8, 'starts in 294276', with_plan($$amount => 1$$, $$, starts_at => '294276-12-31 23:59+00'$$)),
    (9, 'hourly since 4713 BC', with_plan($$amount => 1, cadence => '1 hour'$$, $$, starts_at => '4713-01-01 00:00+00 BC'$$)),
    (10, 'starts at the last leap day', with_plan($$amount => 1, cadence => '1 year'$$, $$, starts_at => '2024-02-29 00:00+00', time_zone => 'America/New_York'$$)),
    (11, 'amount at the end of the range', with_plan($$amount => 999999999999999999.99$$)),
    (12, 'quantity beyond the range', with_plan($$amount => 999999999999999999.99, quantity_feature_id => 'run'$$, $$, quantities => '{"run": 999999999999999999}'$$)),
    (13, 'quantity with many decimals', with_plan($$amount => 1, quantity_feature_id => 'run'$$, $$, quantities => '{"run": 0.333333333333333333}'$$)),
    (14, 'quantity of 1e400', with_plan($$amount => 1, quantity_feature_id => 'run'$$, $$, quantities => '{"run": 1e400}'$$)),
    (15, 'rate of 1e-300', with_plan($$amount => 1$$, $$, overrides => '{"rates": {"run": 1e-300}}'$$)),
    (16, 'deep JSON', with_plan($$amount => 1$$, $$, metadata => (repeat('{"a":', 5000) || '1' || repeat('}', 5000))::jsonb$$)),
    (17, 'deep JSON in overrides', with_plan($$amount => 1$$, $$, overrides => ('{"rates": ' || repeat('{"a":', 5000) || '1' || repeat('}', 5001))::jsonb$$)),
    (18, 'rollover_periods at the end of the range', with_plan($$amount => 1, rollover_periods => 2147483647$$)),
    (19, 'time zone of 300 characters', with_plan($$amount => 1$$, $$, time_zone => repeat('x', 300)$$)),
    (20, 'time zone that climbs', with_plan($$amount => 1$$, $$, time_zone => '../../etc/passwd'$$)),
    (21, 'POSIX time zone', with_plan($$amount => 1$$, $$, time_zone => 'FOO+25'$$))
  ) s (n, what, statement), LATERAL expect_error(statement) e ORDER BY n;
SELECT what, e.sqlstate, e.world FROM (VALUES
    (1, 'cost beyond the range', $$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 999999999999999999)$$),
    (2, 'value of 19 decimals', $$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 0.0000000000000000001)$$),
    (3, 'value of 1e-16383', $$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1e-16383)$$),
    (4, 'amount of 1e131071', $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1e131071)$$),
    (5, 'expires in 294276', $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, expires_at => '294276-12-31 23:59:59.999999+00')$$),
    (6, 'effective in 4713 BC', $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, effective_at => '4713-01-01 00:00+00 BC')$$),
    (7, 'expires at infinity', $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, expires_at => 'infinity')$$),
    (8, 'effective at -infinity', $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, effective_at => '-infinity')$$),
    (9, 'largest priority', $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, priority => 2147483647)$$),
    (10, 'largest grant id', $$SELECT * FROM credit_pools.void_grant(customer_id => 'acme', grant_id => 9223372036854775807)$$),
    (11, 'smallest grant id', $$SELECT * FROM credit_pools.void_grant(customer_id => 'acme', grant_id => -9223372036854775808)$$),
    (12, 'lease of 178,000,000 years', $$SELECT * FROM credit_pools.claim_recharges(worker => 'w', max_count => 2147483647, lease => '178000000 years')$$),
    (13, 'cooldown of 178,000,000 years', $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 1, target_balance => 2, cooldown => '178000000 years')$$),
    (14, 'spend period of 178,000,000 years', $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 1, target_balance => 2, spend_period => '178000000 years', max_count => 1)$$),
    (15, 'spend period of a microsecond', $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 1, target_balance => 2, spend_period => '1 microsecond', max_count => 1)$$),
    (16, 'spend period of 7 months', $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 1, target_balance => 2, spend_period => '7 months', max_count => 1)$$),
    (17, 'grant expires after 178,000,000 years', $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 1, target_balance => 2, grant_expires_after => '178000000 years', settlement => 'immediate')$$),
    (18, 'price beyond the range', $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 1, target_balance => 999999999999999999, price_per_credit => 999999999999999999, price_currency => 'EUR')$$),
    (19, 'price of 18 decimals', $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 1, target_balance => 2, price_per_credit => 0.000000000000000001, price_currency => 'JPY', max_spend => 1)$$),
    (20, 'a million features', $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, feature_ids => array_fill('run'::text, ARRAY[1000000]))$$),
    (21, 'no features', $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, feature_ids => '{}')$$),
    (22, 'features in two dimensions', $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, feature_ids => '{{run},{run}}')$$),
    (23, 'reason of a megabyte', $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, reason => repeat('x', 1000000))$$),
    (24, 'currency in lower case', $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, price => 1, price_currency => 'eur')$$),
    (25, 'max_pools of 0', $$SELECT * FROM credit_pools.run_maintenance(max_pools => 0)$$),
    (26, 'max_pools of -1', $$SELECT * FROM credit_pools.run_maintenance(max_pools => -1)$$),
    (27, 'rate of 200 digits', $$SELECT * FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => repeat('9', 200)::numeric)$$),
    (28, 'rate from infinity', $$SELECT * FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, effective_at => 'infinity')$$),
    (29, 'rate from -infinity', $$SELECT * FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, effective_at => '-infinity')$$)
  ) s (n, what, statement), LATERAL expect_error(statement) e ORDER BY n;
-- Sums beyond the range: each call is carried out exactly or refused, and none is lost. 150 grants of all but 10^18, and as much debt.
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'fine', resource_id => 'rich');
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'fine', resource_id => 'poor', overdraft_limit => 'Infinity');
CREATE TABLE tries (resource text, sqlstate text);
DO $d$
BEGIN
    FOR n IN 1..150 LOOP
        BEGIN
            PERFORM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'rich', credit_type_id => 'fine', amount => 999999999999999999.999999999999999999);
            INSERT INTO tries VALUES ('rich', '00000');
        EXCEPTION WHEN OTHERS THEN INSERT INTO tries VALUES ('rich', SQLSTATE);
        END;
        BEGIN
            PERFORM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'poor', credit_type_id => 'fine', amount => 999999999999999999.999999999999999999);
            INSERT INTO tries VALUES ('poor', '00000');
        EXCEPTION WHEN OTHERS THEN INSERT INTO tries VALUES ('poor', SQLSTATE);
        END;
    END LOOP;
END $d$;
SELECT t.resource, bool_and(t.sqlstate IN ('00000', '22023')) AS carried_out_or_refused, abs(p.balance) = count(*) FILTER (WHERE t.sqlstate = '00000') * 999999999999999999.999999999999999999 AS exact
  FROM tries t JOIN pools_of('acme') p ON p.resource = t.resource GROUP BY t.resource, p.balance ORDER BY 1;
SELECT * FROM pools_of('acme') WHERE resource = 'ws';
SELECT * FROM ledger_problems();
