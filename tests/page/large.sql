-- A thousand resources with a hundred ledger rows each, and the global pool: by calls of report_usage_batch.
SET client_min_messages = warning;
SET credit_pools.test_clock = '2026-02-25 08:00+01';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'ai-tokens', display_name => 'AI tokens', scale => 2);
SELECT FROM unnest('{chat,summary,search,translate}'::text[]) f, LATERAL credit_pools.define_feature(feature_id => f, display_name => initcap(f));
SELECT FROM credit_pools.define_plan(plan_id => 'basic', display_name => 'Basic');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'ai-tokens', amount => 1000);
SELECT FROM unnest('{chat,summary,search,translate}'::text[]) f, LATERAL credit_pools.define_rate(feature_id => f, credit_type_id => 'ai-tokens', credits_per_unit => 1.25);
SELECT FROM credit_pools.open_pool(customer_id => 'large', credit_type_id => 'ai-tokens');
SELECT count(*) FROM generate_series(1, 1000) n, LATERAL credit_pools.provision_subscription(customer_id => 'large', resource_id => 'workspace-' || to_char(n, 'FM0000'), plan_id => 'basic', time_zone => 'Europe/Berlin');
SELECT count(*) FROM generate_series(1, 1000) n, generate_series(1, 2) g, LATERAL credit_pools.grant_credits(customer_id => 'large', resource_id => 'workspace-' || to_char(n, 'FM0000'), credit_type_id => 'ai-tokens', amount => 5000 + n, display_name => 'Pack ' || g, price => 50, price_currency => 'EUR');
CREATE FUNCTION pg_temp.day(d int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    events jsonb;
BEGIN
    PERFORM set_config('credit_pools.test_clock', (timestamptz '2026-02-25 09:00+01' + d * interval '16 hours')::text, false);
    SELECT jsonb_agg(jsonb_build_object('customer_id', 'large', 'resource_id', 'workspace-' || to_char(n, 'FM0000'), 'feature_id', (ARRAY['chat', 'summary', 'search', 'translate'])[1 + (n + d + f) % 4], 'value', 1 + (n * 7 + d * 3 + f) % 23, 'on_insufficient', 'cap'))
    INTO events FROM generate_series(1, 1000) n, generate_series(1, 2) f;
    RETURN (SELECT count(*) FROM credit_pools.report_usage_batch(events => events));
END $$;
SELECT sum(pg_temp.day(d)) FROM generate_series(1, 50) d;
