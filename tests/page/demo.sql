-- A customer with something of everything that the page shows, on 31 March 2026, 16:20 in Berlin. Also what `make page` shows.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET credit_pools.test_clock = '2026-02-02 08:00+01';
SELECT FROM credit_pools.apply_catalog(catalog => $${
  "credit_types": [{"credit_type_id": "ai-tokens", "display_name": "AI tokens", "scale": 2, "unit_plural": "tokens"},
                   {"credit_type_id": "images", "display_name": "Images", "scale": 0, "unit_plural": "images"}],
  "features": [{"feature_id": "chat", "display_name": "Chat", "unit": "message"}, {"feature_id": "summary", "display_name": "Summaries", "unit": "page"},
               {"feature_id": "search", "display_name": "Semantic search", "unit": "query"}, {"feature_id": "translate", "display_name": "Translation", "unit": "page"},
               {"feature_id": "draw", "display_name": "Image generation", "unit": "image"}, {"feature_id": "seat", "display_name": "Seats"}],
  "plans": [{"plan_id": "basic", "display_name": "Basic"}, {"plan_id": "pro", "display_name": "Pro"}]
}$$);
SELECT FROM (VALUES ('basic', 5000), ('pro', 20000)) p (plan_id, amount), LATERAL credit_pools.define_plan_credits(plan_id => p.plan_id, credit_type_id => 'ai-tokens', amount => p.amount);
SELECT FROM credit_pools.define_plan_credits(plan_id => 'pro', credit_type_id => 'images', amount => 60, rollover_max => 30);
SELECT FROM (VALUES ('chat', 1.5), ('summary', 12), ('search', 0.25), ('translate', 8)) r (feature_id, rate), LATERAL credit_pools.define_rate(feature_id => r.feature_id, credit_type_id => 'ai-tokens', credits_per_unit => r.rate);
SELECT FROM credit_pools.define_rate(feature_id => 'draw', credit_type_id => 'images', credits_per_unit => 1);

-- The customer's own pool, two busy workspaces, one that is new, and a team for each of ten offices.
SELECT FROM credit_pools.provision_subscription(customer_id => 'Acme GmbH & Co. KG', resource_id => 'workspace-docs', plan_id => 'basic', time_zone => 'Europe/Berlin', subscription_id => 'sub-docs', quantities => '{"seat": 12}');
SELECT FROM credit_pools.provision_subscription(customer_id => 'Acme GmbH & Co. KG', resource_id => 'workspace-chat', plan_id => 'basic', subscription_id => 'sub-chat');
SELECT FROM credit_pools.open_pool(customer_id => 'Acme GmbH & Co. KG', credit_type_id => 'ai-tokens');
SELECT FROM unnest('{Athens,Berlin,Cairo,Dublin,Essen,Fes,Ghent,Hobart,Izmir,Jena}'::text[]) city,
    LATERAL credit_pools.grant_credits(customer_id => (SELECT customer_id FROM credit_pools.open_pool(customer_id => 'Acme GmbH & Co. KG', resource_id => 'team-' || lower(city), credit_type_id => 'ai-tokens')),
        resource_id => 'team-' || lower(city), credit_type_id => 'ai-tokens', amount => 900 + 100 * length(city), display_name => city || ' starter', price => 9.90, price_currency => 'EUR');
SELECT FROM credit_pools.grant_credits(customer_id => 'Acme GmbH & Co. KG', credit_type_id => 'ai-tokens', amount => 250000, price => 1990, price_currency => 'EUR', display_name => 'Annual contract',
    reason => 'Order 2026-0117', expires_at => '2027-02-01 00:00+01', metadata => '{"order": "2026-0117"}');
SELECT FROM credit_pools.grant_credits(customer_id => 'Acme GmbH & Co. KG', resource_id => 'workspace-docs', credit_type_id => 'ai-tokens', amount => 1500, category => 'promotional', priority => 10,
    display_name => 'Welcome credits', reason => 'First month', expires_at => '2026-03-04 00:00+01');

CREATE FUNCTION pg_temp.use(resource text, feature text, value numeric) RETURNS void LANGUAGE sql AS $$
    SELECT FROM credit_pools.report_usage(customer_id => 'Acme GmbH & Co. KG', resource_id => $1, feature_id => $2, value => $3, on_insufficient => 'cap', dimensions => '{"model": "small"}', metadata => CASE WHEN $3 > 60 THEN '{"job": "nightly"}'::jsonb END) $$;
CREATE FUNCTION pg_temp.day(of date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    n int := of - date '2026-02-02';
    busy numeric := CASE WHEN extract(isodow FROM of) > 5 THEN 0.2 ELSE 1 END * (1 + (n * 37 % 11) / 10.0);
BEGIN
    PERFORM set_config('credit_pools.test_clock', (of + time '09:20')::text || '+01', false);
    PERFORM credit_pools.run_maintenance();
    PERFORM pg_temp.use('workspace-docs', 'chat', round(60 * busy)), pg_temp.use('workspace-docs', 'summary', round(9 * busy)), pg_temp.use('workspace-docs', 'search', round(230 * busy));
    PERFORM pg_temp.use('workspace-chat', 'chat', round(70 * busy));
    PERFORM set_config('credit_pools.test_clock', (of + time '14:05')::text || '+01', false);
    IF n % 3 = 0 THEN PERFORM pg_temp.use('workspace-docs', 'translate', round(14 * busy)); END IF;
    IF of >= date '2026-03-12' AND busy > 0.5 THEN PERFORM pg_temp.use('workspace-docs', 'draw', 1 + n % 4); END IF;
    PERFORM credit_pools.consume_credits(customer_id => 'Acme GmbH & Co. KG', credit_type_id => 'ai-tokens', amount => round(2400 * busy, 2), metadata => '{"export": "warehouse"}', idempotency_key => 'export-' || of);
    IF n % 4 = 1 THEN PERFORM credit_pools.consume_credits(customer_id => 'Acme GmbH & Co. KG', resource_id => 'team-berlin', credit_type_id => 'ai-tokens', amount => 37.25); END IF;
END $$;
SELECT count(pg_temp.day(d::date)) FROM generate_series(date '2026-02-02', date '2026-03-11', '1 day') d \g /dev/null
SELECT FROM credit_pools.provision_subscription(customer_id => 'Acme GmbH & Co. KG', resource_id => 'workspace-docs', plan_id => 'pro', subscription_id => 'sub-docs', quantities => '{"seat": 15}');
SELECT FROM credit_pools.set_auto_recharge(customer_id => 'Acme GmbH & Co. KG', credit_type_id => 'ai-tokens', threshold => 500, target_balance => 2000, price_per_credit => 0.01, price_currency => 'EUR', max_spend => 200);
SELECT FROM credit_pools.set_auto_recharge(customer_id => 'Acme GmbH & Co. KG', resource_id => 'workspace-docs', credit_type_id => 'ai-tokens', threshold => 17000, recharge_amount => 5000, price_per_credit => 0.008, price_currency => 'EUR',
    max_spend => 400, cooldown => '1 hour');
SELECT count(pg_temp.day(d::date)) FROM generate_series(date '2026-03-12', date '2026-03-30', '1 day') d \g /dev/null
-- Payments that fail, one that succeeded, one under way.
SELECT FROM credit_pools.claim_recharges(worker => 'payments-1', max_count => 10) c, LATERAL credit_pools.complete_recharge(customer_id => c.customer_id, recharge_id => c.recharge_id, payment_reference => 'pay-' || c.recharge_id)
    WHERE c.resource_id <> 'workspace-chat';
SELECT FROM credit_pools.recharges r, LATERAL credit_pools.fail_recharge(customer_id => r.customer_id, recharge_id => r.recharge_id, reason => 'card expired', permanent => true)
    WHERE r.resource_id = 'workspace-chat' AND r.status IN ('pending', 'processing');
SET credit_pools.test_clock = '2026-03-31 09:20+02';
SELECT FROM credit_pools.run_maintenance();
SELECT FROM credit_pools.set_pool(customer_id => 'Acme GmbH & Co. KG', resource_id => 'team-cairo', credit_type_id => 'ai-tokens', overdraft_limit => 500);
SELECT FROM credit_pools.consume_credits(customer_id => 'Acme GmbH & Co. KG', resource_id => 'team-cairo', credit_type_id => 'ai-tokens', amount => 1612.5);
SELECT FROM credit_pools.set_pool(customer_id => 'Acme GmbH & Co. KG', resource_id => 'team-essen', credit_type_id => 'ai-tokens', status => 'frozen');
SELECT FROM credit_pools.reverse_usage(customer_id => 'Acme GmbH & Co. KG', usage_id => (SELECT max(usage_id) FROM credit_pools.usage_events WHERE feature_id = 'summary'), credits => 24, reason => 'Complaint 881');
SELECT FROM credit_pools.reserve_credits(customer_id => 'Acme GmbH & Co. KG', resource_id => 'workspace-docs', reservation_id => 'render-88', credit_type_id => 'ai-tokens', amount => 750, ttl => '20 hours');
SELECT FROM credit_pools.grant_credits(customer_id => 'Acme GmbH & Co. KG', resource_id => 'workspace-docs', credit_type_id => 'ai-tokens', amount => 3000, effective_at => '2026-04-15 00:00+02', expires_at => '2026-10-15 00:00+02', price => 24, price_currency => 'EUR', display_name => 'Spring pack');
SELECT FROM credit_pools.grant_credits(customer_id => 'Acme GmbH & Co. KG', resource_id => 'workspace-docs', credit_type_id => 'ai-tokens', amount => 800, category => 'promotional', priority => 20, feature_ids => '{search}', display_name => 'Search trial', expires_at => '2026-04-20 00:00+02');
SELECT FROM credit_pools.open_pool(customer_id => 'Acme GmbH & Co. KG', resource_id => 'workspace-new', credit_type_id => 'ai-tokens');
-- Left to the clock: what has been due since 15:00 is booked by nobody.
SELECT FROM credit_pools.grant_credits(customer_id => 'Acme GmbH & Co. KG', resource_id => 'team-ghent', credit_type_id => 'ai-tokens', amount => 75, expires_at => '2026-03-31 15:00+02', category => 'promotional');
SET credit_pools.test_clock = '2026-03-31 16:20+02';
