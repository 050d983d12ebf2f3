-- The views made for people: subscription_pools, expiring_credits, customer_overview, auto_recharge_states, health. Every figure is that of the views that it comes from,
-- right to the instant, also where nothing has been booked yet.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-01-31 08:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'gold', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'chat');
SELECT FROM credit_pools.define_plan(plan_id => 'basic', display_name => 'Basic');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'gold', amount => 7, cadence => '1 year');
SELECT FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');
SELECT FROM unnest('{NULL, docs, mail}'::text[]) r, LATERAL credit_pools.provision_subscription(customer_id => 'acme', resource_id => r, plan_id => 'basic', time_zone => 'Europe/Berlin');
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'bare', credit_type_id => 'credits');
SELECT FROM credit_pools.provision_subscription(customer_id => 'other', plan_id => 'basic');
\echo -- No policy, no usage.
SELECT resource_id, credit_type_id, plan_id, plan_name, status, at(period_start) AS period_start, at(period_end) AS period_end, balance, auto_recharge FROM credit_pools.subscription_pools WHERE customer_id = 'acme' ORDER BY 1, 2;
SELECT resource_id, credit_type_id, plan_id, balance, utilization, expiring_30_days, auto_recharge, last_usage_at, pools, total_balance, total_consumed, share FROM credit_pools.customer_overview WHERE customer_id = 'acme' ORDER BY 1, 2;
\echo -- Usage, a hold, grants with an end, a policy and an override.
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'credits', amount => 50, expires_at => '2026-03-02 08:00+00', display_name => 'Gift');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'credits', amount => 60, expires_at => '2026-03-02 08:00:00.000001+00');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'credits', amount => 70, effective_at => '2026-02-10 00:00+00', expires_at => '2026-02-12 00:00+00');
SELECT FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'docs', feature_id => 'chat', value => 30);
SELECT FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'mail', feature_id => 'chat', value => 90, occurred_at => '2026-01-31 08:00+00');
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'credits', amount => 45, reservation_id => 'job');
SELECT FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 5, target_balance => 200, price_per_credit => 0.01, price_currency => 'EUR');
SELECT FROM credit_pools.set_auto_recharge(customer_id => 'acme', resource_id => 'docs', credit_type_id => 'credits', threshold => 10, recharge_amount => 500, enabled => false);
SELECT resource_id, grant_id, category, expiring, held, at(expires_at) AS expires_at, expires_in, source, display_name, subscription_id FROM credit_pools.expiring_credits WHERE customer_id = 'acme' ORDER BY expires_at, resource_id, credit_type_id;
SELECT resource_id, state, is_override, threshold, target_balance, recharge_amount, pending_amount, last_recharge_id, last_recharge_status FROM credit_pools.auto_recharge_states WHERE customer_id = 'acme' AND credit_type_id = 'credits' ORDER BY 1;
SELECT resource_id, balance, consumed, held, utilization, expiring_30_days, auto_recharge, at(last_usage_at) AS last_usage_at, pools, total_balance, total_granted, total_consumed, total_held, share FROM credit_pools.customer_overview WHERE customer_id = 'acme' AND credit_type_id = 'credits' ORDER BY 1;
\echo -- The totals are of all pools of the customer and type, whichever of them is asked for.
SELECT pools, total_balance FROM credit_pools.customer_overview WHERE customer_id = 'acme' AND resource_id = 'mail' AND credit_type_id = 'credits';
\echo -- A payment that fails for good opens the breaker; one that succeeds.
SELECT recharge_id FROM credit_pools.claim_recharges(worker => 'w', max_count => 10) \gset
SELECT FROM credit_pools.fail_recharge(customer_id => 'acme', recharge_id => :recharge_id, reason => 'card stolen', permanent => true);
SELECT resource_id, state, breaker_opened_at IS NOT NULL AS opened, last_recharge_status, last_recharge_reason, last_recharge_amount, last_recharge_price, last_recharge_currency FROM credit_pools.auto_recharge_states WHERE customer_id = 'acme' AND credit_type_id = 'credits' ORDER BY 1;
SELECT pools, pools_in_debt, pools_empty, pools_frozen, pools_due, maintenance_lag, recharges_pending, recharges_failed_24h, breakers_open, at(oldest_event_at) AS oldest_event FROM credit_pools.health;
SELECT FROM credit_pools.reset_auto_recharge(customer_id => 'acme', credit_type_id => 'credits');
SELECT recharge_id FROM credit_pools.claim_recharges(worker => 'w', max_count => 10) \gset
SELECT resource_id, state, pending_amount, last_recharge_status FROM credit_pools.auto_recharge_states WHERE customer_id = 'acme' AND resource_id = 'bare';
SELECT FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => :recharge_id, payment_reference => 'p');
SELECT resource_id, auto_recharge, last_recharge_status, last_recharge_amount FROM credit_pools.subscription_pools WHERE customer_id = 'acme' ORDER BY 1, 2, 3, 4;
SELECT resource_id, state, pending_amount, last_recharge_status FROM credit_pools.auto_recharge_states WHERE customer_id = 'acme' AND resource_id = 'bare';
\echo -- By the clock alone: periods go on, renewals count, what ends is gone, and health tells what waits.
SET credit_pools.test_clock = '2026-03-01 09:00+00';
SELECT resource_id, credit_type_id, status, at(period_start) AS period_start, at(period_end) AS period_end, balance FROM credit_pools.subscription_pools WHERE customer_id = 'acme' ORDER BY 1, 2;
SELECT resource_id, credit_type_id, grant_id, expiring, held, at(expires_at) AS expires_at FROM credit_pools.expiring_credits WHERE customer_id = 'acme' ORDER BY expires_at, resource_id, credit_type_id, grant_id;
SELECT pools, pools_due, maintenance_lag FROM credit_pools.health;
SELECT count(*) AS differences FROM (SELECT customer_id, resource_id, credit_type_id, pool_id, balance, granted, consumed, expired, voided, held, debt FROM credit_pools.customer_overview
    EXCEPT SELECT customer_id, resource_id, credit_type_id, pool_id, balance, granted, consumed, expired, voided, held, debt FROM credit_pools.pools) d;
SELECT count(*) AS differences FROM credit_pools.customer_overview o WHERE expiring_30_days <> (SELECT coalesce(sum(available), 0) FROM credit_pools.grants g WHERE g.pool_id = o.pool_id AND g.expires_at <= '2026-03-31 09:00+00');
\echo -- After the maintenance nothing waits, and the figures are the same.
CREATE TEMP TABLE before AS SELECT * FROM credit_pools.customer_overview;
SELECT FROM credit_pools.run_maintenance();
SELECT count(*) AS differences FROM (TABLE before EXCEPT TABLE credit_pools.customer_overview) d;
SELECT pools_due, maintenance_lag FROM credit_pools.health;
\echo -- A subscription that is over stays, with the period that was its last; one that has not begun has its first.
SELECT FROM credit_pools.cancel_subscription(customer_id => 'other', subscription_id => (SELECT subscription_id FROM credit_pools.subscriptions WHERE customer_id = 'other'));
SELECT FROM credit_pools.provision_subscription(customer_id => 'other', resource_id => 'later', plan_id => 'basic', starts_at => '2026-05-31 00:00+00');
SET credit_pools.test_clock = '2026-04-10 00:00+00';
SELECT resource_id, credit_type_id, status, at(starts_at) AS starts_at, at(ends_at) AS ends_at, at(period_start) AS period_start, at(period_end) AS period_end FROM credit_pools.subscription_pools WHERE customer_id = 'other' ORDER BY 1, 2;
SELECT resource_id, credit_type_id, plan_id FROM credit_pools.customer_overview WHERE customer_id = 'other' ORDER BY 1, 2;
\echo -- Debt, an empty pool, a frozen one.
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'mail', credit_type_id => 'credits', overdraft_limit => 1000);
SELECT FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'mail', credit_type_id => 'credits', amount => 150);
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'mail', credit_type_id => 'credits', status => 'frozen');
SELECT pools_in_debt, pools_empty, pools_frozen FROM credit_pools.health;
SELECT status, balance, debt, total_debt FROM credit_pools.customer_overview WHERE customer_id = 'acme' AND resource_id = 'mail' AND credit_type_id = 'credits';
\echo -- Usage that was archived is the last usage all the same.
SELECT at(last_usage_at) AS last_usage_at FROM credit_pools.customer_overview WHERE customer_id = 'acme' AND resource_id = 'docs' AND credit_type_id = 'credits';
SELECT pools > 0 AS archived FROM credit_pools.archive_ledger(before => '2026-04-01 00:00+00');
SELECT at(last_usage_at) AS last_usage_at FROM credit_pools.customer_overview WHERE customer_id = 'acme' AND resource_id = 'docs' AND credit_type_id = 'credits';
\echo -- A tenant sees its own, and totals of its own.
CREATE ROLE overviews_tenant;
SELECT FROM credit_pools.grant_access(role_name => 'overviews_tenant', level => 'tenant', customer_id => 'acme', resource_id => 'docs');
SET ROLE overviews_tenant;
SELECT customer_id, resource_id, credit_type_id, pools, total_balance = balance AS total_is_own, share FROM credit_pools.customer_overview ORDER BY 1, 2, 3;
SELECT DISTINCT customer_id, resource_id FROM credit_pools.subscription_pools UNION ALL SELECT DISTINCT customer_id, resource_id FROM credit_pools.auto_recharge_states;
SELECT DISTINCT resource_id FROM credit_pools.expiring_credits;
SELECT * FROM credit_pools.health;
RESET ROLE;
SELECT FROM credit_pools.revoke_access(role_name => 'overviews_tenant');
DROP ROLE overviews_tenant;
