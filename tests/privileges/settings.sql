-- What a caller can set for himself changes neither what is booked nor how it is sealed.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE FUNCTION test.book(scope text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM credit_pools.grant_credits(customer_id => 'settings', resource_id => scope, credit_type_id => 'credits', amount => 1234.5, reason => 'ä' || chr(92) || 'n''', metadata => '{"a": [1, 2.50]}',
		expires_at => '2027-01-02 03:04:05.678+00');
	PERFORM credit_pools.report_usage(customer_id => 'settings', resource_id => scope, feature_id => 'chat', value => 12.34, dimensions => '{"b": 1e3}');
	PERFORM credit_pools.reserve_credits(customer_id => 'settings', resource_id => scope, reservation_id => 'hold ' || scope, credit_type_id => 'credits', amount => 7, ttl => interval 'P0DT2H');
	PERFORM credit_pools.set_limit(customer_id => 'settings', resource_id => scope, credit_type_id => 'credits', amount => 500, per => interval 'P1M');
	PERFORM credit_pools.set_auto_recharge(customer_id => 'settings', resource_id => scope, credit_type_id => 'credits', threshold => 2000, recharge_amount => 10, cooldown => interval 'PT1H');
END $$;
CREATE FUNCTION test.booked(scope text) RETURNS text LANGUAGE sql AS $$
	SELECT replace(test.rows(format($q$SELECT seq, entry_type, amount, balance_after, value, reservation_id, reason, metadata, dimensions, actor FROM credit_pools.ledger
		WHERE customer_id = 'settings' AND resource_id = %1$L UNION ALL SELECT NULL, reason, amount, balance, price, NULL, status, NULL, NULL, NULL FROM credit_pools.recharges
		WHERE customer_id = 'settings' AND resource_id = %1$L$q$, scope)), scope, '#') $$;
SELECT FROM unnest(ARRAY['plain', 'odd']) r, LATERAL credit_pools.provision_subscription(customer_id => 'settings', resource_id => r, plan_id => 'other', time_zone => 'America/New_York');
SELECT FROM unnest(ARRAY['plain', 'odd']) r, LATERAL credit_pools.open_pool(customer_id => 'settings', resource_id => r, credit_type_id => 'credits');
SET SESSION AUTHORIZATION credit_pools_test_admin;
SELECT test.book('plain') \g /dev/null
\c -
SET SESSION AUTHORIZATION credit_pools_test_admin;
SET datestyle = 'German, DMY';
SET intervalstyle = 'sql_standard';
SET timezone = 'Asia/Kathmandu';
SET extra_float_digits = -15;
SET bytea_output = 'escape';
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SET backslash_quote = on;
SET transform_null_equals = on;
SET array_nulls = off;
SET quote_all_identifiers = on;
SET xmloption = 'content';
SET lc_numeric = 'C.UTF-8';
SET lc_monetary = 'C.UTF-8';
SET default_transaction_isolation = 'repeatable read';
SET row_security = off;
SET plan_cache_mode = 'force_custom_plan';
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET enable_nestloop = off;
SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query') \g /dev/null
SET from_collapse_limit = 1;
SET join_collapse_limit = 1;
SET check_function_bodies = off;
SET synchronize_seqscans = off;
SET default_tablespace = '';
SET default_toast_compression = 'pglz';
SET constraint_exclusion = on;
SELECT test.book('odd') \g /dev/null
RESET row_security;
SELECT test.same('the ledger is sound, asked under odd settings', '', test.rows('SELECT * FROM credit_pools.verify_ledger(customer_id => ''settings'')'));
\c -
SELECT test.same('and under plain ones', '', test.rows('SELECT * FROM credit_pools.verify_ledger(customer_id => ''settings'')'));
SELECT test.same('what is booked under odd settings', test.booked('plain'), test.booked('odd'));
SELECT test.verdict('something is', test.booked('odd') LIKE '%reserve%');
\echo @@end
