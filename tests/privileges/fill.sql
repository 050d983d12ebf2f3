-- A world with at least one row in every table, and with customers whose resources are called alike. Some pools have something due at the
-- clock that the tests run with (pool_now, grants_now), others have not.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION credit_pools;
CREATE SCHEMA test;
GRANT USAGE ON SCHEMA test TO PUBLIC;
CREATE TABLE test.id (name text PRIMARY KEY, id bigint NOT NULL);
CREATE FUNCTION test.id(text) RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$ SELECT id FROM test.id WHERE name = $1 $$;

SELECT set_config('credit_pools.test_clock', '2026-03-10 12:00:00+00', false);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'images', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'chat');
SELECT FROM credit_pools.define_feature(feature_id => 'seat');
SELECT FROM credit_pools.define_plan(plan_id => 'team');
SELECT FROM credit_pools.define_plan(plan_id => 'other');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'team', credit_type_id => 'credits', amount => 1000);
SELECT FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'team');
SELECT FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'other');
SELECT FROM credit_pools.set_balance_alerts(credit_type_id => 'credits', thresholds => '{500}');

-- The same for each customer: a global pool and two resources with a subscription, pools without one, and every kind of row.
CREATE PROCEDURE test.fill(customer text, extra int) LANGUAGE plpgsql AS $$
DECLARE
	scope text;
	g bigint; u bigint; p bigint; c bigint; r bigint;
BEGIN
	FOREACH scope IN ARRAY ARRAY[NULL, 'ws1', 'ws2'] LOOP
		PERFORM credit_pools.provision_subscription(customer_id => customer, resource_id => scope, plan_id => 'team',
			subscription_id => 'sub-' || coalesce(scope, 'global'), quantities => '{"seat": 1}', idempotency_key => 'provision-' || coalesce(scope, 'global'));
		-- Nothing is due in the pools of images.
		PERFORM credit_pools.open_pool(customer_id => customer, resource_id => scope, credit_type_id => 'images', overdraft_limit => 10);
		PERFORM credit_pools.grant_credits(customer_id => customer, resource_id => scope, credit_type_id => 'images', amount => 50 + extra);
		g := (credit_pools.grant_credits(customer_id => customer, resource_id => scope, credit_type_id => 'credits', amount => 100 + extra,
			category => 'promotional', expires_at => '2026-04-10 00:00+00', reason => 'welcome')).grant_id;
		p := (credit_pools.grant_credits(customer_id => customer, resource_id => scope, credit_type_id => 'credits', amount => 40,
			payment_state => 'pending', price => 4, price_currency => 'EUR')).grant_id;
		u := (credit_pools.report_usage(customer_id => customer, resource_id => scope, feature_id => 'chat', value => 30 + extra,
			dimensions => '{"model": "small"}', idempotency_key => 'usage-' || coalesce(scope, 'global'))).usage_id;
		PERFORM credit_pools.reverse_usage(customer_id => customer, usage_id => u, credits => 5);
		PERFORM credit_pools.report_usage(customer_id => customer, resource_id => scope, feature_id => 'chat', value => 50, update_behavior => 'set');
		c := (credit_pools.consume_credits(customer_id => customer, resource_id => scope, credit_type_id => 'images', amount => 3)).usage_id;
		PERFORM credit_pools.reserve_credits(customer_id => customer, resource_id => scope, reservation_id => 'hold-' || coalesce(scope, 'global'),
			credit_type_id => 'credits', amount => 7, ttl => '24 hours');
		PERFORM credit_pools.set_limit(customer_id => customer, resource_id => scope, credit_type_id => 'credits', amount => 5000, per => '1 month');
		PERFORM credit_pools.set_auto_recharge(customer_id => customer, resource_id => scope, credit_type_id => 'images', threshold => 10, recharge_amount => 100,
			price_per_credit => 0.5, price_currency => 'EUR', max_spend => 1000);
		-- Below the threshold: a recharge waits for its payment.
		PERFORM credit_pools.consume_credits(customer_id => customer, resource_id => scope, credit_type_id => 'images', amount => 40 + extra);
		r := (SELECT v.recharge_id FROM credit_pools.recharges v
			WHERE v.customer_id = customer AND v.resource_id IS NOT DISTINCT FROM scope AND v.status = 'pending');
		INSERT INTO test.id SELECT concat_ws(' ', n, customer, scope), i FROM (VALUES ('grant', g), ('pending', p), ('usage', u), ('plain', c), ('recharge', r),
			('pool', (SELECT v.pool_id FROM credit_pools.pools v WHERE v.customer_id = customer AND v.resource_id IS NOT DISTINCT FROM scope AND v.credit_type_id = 'credits'))) v (n, i);
	END LOOP;
	PERFORM credit_pools.set_limit(customer_id => customer, all_resources => true, credit_type_id => 'credits', amount => 90000, per => '1 month');
	PERFORM credit_pools.set_balance_alerts(customer_id => customer, credit_type_id => 'images', thresholds => '{20}');
END $$;
-- Extra figures, so that no two customers have equal rows.
CALL test.fill('acme', 0);
CALL test.fill('zeta', 1);
CALL test.fill('it''s "odd"; --', 2);
SELECT FROM credit_pools.fetch_events(consumer => 'mailer', max => 1);

CREATE TABLE test.metered (customer text, units int);
GRANT ALL ON test.metered TO PUBLIC;

-- A month later the renewal, the expiry of the promotional grant and the holds are due in the pools of credits, and nothing in those of images.
SELECT set_config('credit_pools.test_clock', '2026-04-20 12:00:00+00', false);
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET credit_pools.test_clock = %L', current_database(), current_setting('credit_pools.test_clock')); END $$;
SELECT FROM credit_pools.pools p, LATERAL credit_pools.reserve_credits(customer_id => p.customer_id, resource_id => p.resource_id,
	reservation_id => 'image-' || coalesce(p.resource_id, 'global'), credit_type_id => p.credit_type_id, amount => 2, ttl => '24 hours')
	WHERE p.credit_type_id = 'images';
-- What was before is history.
SELECT FROM credit_pools.archive_ledger(before => '2026-04-01 00:00+00');
