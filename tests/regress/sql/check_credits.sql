-- check_credits (contract section 5): would this usage pass? The same rules as the real call; reads only.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-10 12:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'gold', scale => 0);
SELECT FROM (VALUES ('run'), ('tokens'), ('gift'), ('dig'), ('unpriced')) v (f), LATERAL credit_pools.define_feature(feature_id => f);
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 2, plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'gift', credit_type_id => 'credits', credits_per_unit => 0, plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'tokens', credit_type_id => 'credits', formula => 'value * size', plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'dig', credit_type_id => 'gold', credits_per_unit => 3);
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', resource_id => 'ws', plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic');
SELECT FROM (VALUES ('plain', 0), ('od', 50), ('ice', 0), ('cap', 0)) v (r, o), LATERAL credit_pools.open_pool(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', overdraft_limit => o);
SELECT FROM (VALUES ('plain'), ('od'), ('ice'), ('cap')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 60, reason => 'A');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 40, feature_ids => '{run}', reason => 'R');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 30, expires_at => '2026-03-10 13:00+00', reason => 'E');
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'ice', credit_type_id => 'credits', status => 'frozen');
SELECT FROM credit_pools.set_limit(customer_id => 'acme', resource_id => 'cap', credit_type_id => 'credits', amount => 20, per => '1 day');
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h', resource_id => 'plain', credit_type_id => 'credits', amount => 30, ttl => '2 hours');
SELECT world() AS before \gset
BEGIN READ ONLY;
-- By amount: a plain usage; without a subscription, too. What is held is not there. balance is what that usage may touch.
SELECT is_granted, denial_reason, balance, required, credit_type_id FROM credit_pools.check_credits(customer_id => 'acme', resource_id => 'plain', credit_type_id => 'credits', amount => 70);
SELECT is_granted, denial_reason, balance, required FROM credit_pools.check_credits(customer_id => 'acme', resource_id => 'plain', credit_type_id => 'credits', amount => 70.01);
SELECT is_granted, denial_reason, balance, required FROM credit_pools.check_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 90.01);
-- By feature: the rate says what it costs, and its own grants count for it.
SELECT is_granted, denial_reason, balance, required, credit_type_id FROM credit_pools.check_credits(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 65);
SELECT is_granted, denial_reason, balance, required FROM credit_pools.check_credits(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 65.01);
SELECT is_granted, balance, required FROM credit_pools.check_credits(customer_id => 'acme', resource_id => 'ws', feature_id => 'tokens', value => 45, dimensions => '{"size": 2}');
SELECT is_granted, balance, required FROM credit_pools.check_credits(customer_id => 'acme', resource_id => 'ws', feature_id => 'tokens', value => 45, dimensions => '{"size": 2.01}');
SELECT is_granted, required FROM credit_pools.check_credits(customer_id => 'acme', feature_id => 'gift', value => 1000000);
-- The overdraft: granted down to the floor.
SELECT n, is_granted, denial_reason, balance, required FROM (VALUES (150), (150.01)) v (n), LATERAL credit_pools.check_credits(customer_id => 'acme', resource_id => 'od', credit_type_id => 'credits', amount => n) ORDER BY n;
-- What else denies it; what was never opened has nothing.
SELECT n, c.is_granted, c.denial_reason FROM (VALUES
    (1, 'plain', NULL, 'run', NULL, 1), (2, 'ws', NULL, 'unpriced', NULL, 1), (3, 'ice', 'credits', NULL, 1, NULL), (4, 'cap', 'credits', NULL, 21, NULL), (5, 'cap', 'credits', NULL, 20, NULL), (6, 'plain', 'gold', NULL, 1, NULL), (7, 'ws', NULL, 'dig', NULL, 1), (8, 'cap', 'credits', NULL, 500, NULL)
  ) v (n, r, t, f, a, x), LATERAL credit_pools.check_credits(customer_id => 'acme', resource_id => r, credit_type_id => t, feature_id => f, amount => a, value => x) c ORDER BY n;
SELECT balance, required, credit_type_id FROM credit_pools.check_credits(customer_id => 'acme', resource_id => 'ws', feature_id => 'dig', value => 2);
COMMIT;
SELECT world() = :'before' AS unchanged;
-- Unknown entities and bad input are errors.
SELECT n, e.sqlstate, e.figures, e.world FROM (VALUES
    (1, $$customer_id => 'acme', resource_id => 'nowhere', credit_type_id => 'credits', amount => 1$$), (2, $$customer_id => 'nobody', resource_id => 'ws', credit_type_id => 'credits', amount => 1$$), (3, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'silver', amount => 1$$), (4, $$customer_id => 'acme', resource_id => 'ws', feature_id => 'unknown', value => 1$$),
    (5, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 0$$), (6, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 'NaN'$$), (7, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 0.001$$), (8, $$customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => -1$$), (9, $$customer_id => 'acme', resource_id => 'ws', feature_id => 'tokens', value => 1$$), (10, $$customer_id => NULL, credit_type_id => 'credits', amount => 1$$),
    (11, $$customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 1, dimensions => '[]'$$)
  ) v (n, arguments), LATERAL refused(format('SELECT * FROM credit_pools.check_credits(%s)', arguments)) e ORDER BY n;
SELECT n, e.sqlstate, e.world FROM (VALUES (1, $$customer_id => 'acme', resource_id => 'ws'$$), (2, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, feature_id => 'run', value => 1$$), (3, $$customer_id => 'acme', resource_id => 'ws', amount => 1$$)
  ) v (n, arguments), LATERAL refused(format('SELECT * FROM credit_pools.check_credits(%s)', arguments)) e ORDER BY n;
-- It agrees with the call that follows, over 300 mixed ones: granted where that passes, else denied by its reason; required is what it takes.
CREATE FUNCTION disagreements() RETURNS TABLE (n int, r text, f text, x numeric, is_granted boolean, denial_reason text, required numeric, state text, taken numeric) LANGUAGE plpgsql AS $f$
#variable_conflict use_variable
BEGIN
    FOR n IN 1 .. 300 LOOP
        r := (ARRAY['ws', 'od', 'cap', 'plain', 'ice', NULL])[1 + n % 6];
        f := (ARRAY['run', NULL, 'tokens', 'gift', 'dig', NULL, 'unpriced', 'run'])[1 + n * 3 % 8];
        x := round(1 + n * 37 % 101 + n % 3 * 0.25, 2);
        state := NULL; taken := NULL;
        IF f IS NULL THEN
            SELECT c.is_granted, c.denial_reason, c.required INTO is_granted, denial_reason, required FROM credit_pools.check_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => x) c;
        ELSE
            SELECT c.is_granted, c.denial_reason, c.required INTO is_granted, denial_reason, required FROM credit_pools.check_credits(customer_id => 'acme', resource_id => r, feature_id => f, value => x, dimensions => '{"size": 0.7}') c;
        END IF;
        BEGIN
            IF f IS NULL THEN
                SELECT credits_consumed INTO taken FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => x);
            ELSE
                SELECT credits_consumed INTO taken FROM credit_pools.report_usage(customer_id => 'acme', resource_id => r, feature_id => f, value => x, dimensions => '{"size": 0.7}');
            END IF;
            IF n % 9 <> 0 THEN RAISE EXCEPTION USING ERRCODE = 'ZZ000'; END IF;
        EXCEPTION WHEN OTHERS THEN state := nullif(SQLSTATE, 'ZZ000');
        END;
        IF is_granted <> (state IS NULL) OR denial_reason IS DISTINCT FROM (CASE state WHEN 'PC001' THEN 'insufficient_credits' WHEN 'PC003' THEN 'no_active_subscription' WHEN 'PC005' THEN 'invalid_state' WHEN 'PC006' THEN 'no_rate' WHEN 'PC007' THEN 'limit_exceeded' ELSE state END)
           OR taken IS NOT NULL AND taken <> required THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END $f$;
BEGIN;
SELECT * FROM disagreements();
ROLLBACK;
-- Right to the instant: an expiry, the end of a hold, the end of a subscription.
SET credit_pools.test_clock = '2026-03-10 13:00+00';
SELECT is_granted, balance FROM credit_pools.check_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 60.01);
SET credit_pools.test_clock = '2026-03-10 14:00+00';
SELECT is_granted, balance FROM credit_pools.check_credits(customer_id => 'acme', resource_id => 'plain', credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => (SELECT subscription_id FROM credit_pools.subscriptions WHERE resource_id IS NULL LIMIT 1));
SELECT is_granted, denial_reason FROM credit_pools.check_credits(customer_id => 'acme', feature_id => 'gift', value => 1);
SELECT * FROM ledger_problems();
