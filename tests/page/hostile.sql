-- Names as nobody should have them: what a page would run, end or turn round, and the longest that there may be.
SET client_min_messages = warning;
SET credit_pools.test_clock = '2026-03-30 10:00+02';
CREATE TEMP TABLE name (n int, t text);
INSERT INTO name VALUES
    (1, '<script>window.broken = 1</script>'), (2, '</script><script>window.broken = 2</script>'), (3, '"><img src=x onerror="window.broken = 3">'),
    (4, 'javascript:window.broken = 4'), (5, E'\u202etxet desrever \u2066'), (6, E'\U0001f9d1\u200d\U0001f680 & <!-- <script> ''quoted'' "twice" \u2028 \\u003c'),
    (7, rpad('<b>&', 255, E'\U0001f680<')), (8, '</noscript></style></title></textarea>'), (9, '#resource=other&type=none'), (10, '  '), (11, '__proto__'), (12, 'global');
SELECT FROM name, LATERAL credit_pools.define_feature(feature_id => t, display_name => CASE WHEN n % 2 = 0 THEN t END, unit => t);
SELECT FROM name, LATERAL credit_pools.define_credit_type(credit_type_id => t, display_name => t, symbol => t, unit_plural => t, scale => 2) WHERE n < 3;
SELECT FROM name, LATERAL credit_pools.define_plan(plan_id => t, display_name => t) WHERE n < 4;
SELECT FROM name p, name f, LATERAL credit_pools.define_rate(feature_id => f.t, plan_id => p.t, credit_type_id => (SELECT t FROM name WHERE n = 1), credits_per_unit => 1) WHERE p.n < 4;
SELECT FROM name, LATERAL credit_pools.provision_subscription(customer_id => (SELECT t FROM name WHERE n = 1), resource_id => t, plan_id => (SELECT t FROM name p WHERE p.n = name.n % 3 + 1),
    subscription_id => t, quantities => jsonb_build_object(t, n), metadata => jsonb_build_object(t, t), time_zone => 'Asia/Kathmandu');
SELECT FROM name, credit_pools.customer c, generate_series(1, 2) type, LATERAL credit_pools.grant_credits(customer_id => c.customer_id, resource_id => t, credit_type_id => (SELECT t FROM name WHERE n = type), amount => 1000,
    display_name => t, reason => t, metadata => jsonb_build_object(t, t), feature_ids => CASE WHEN n % 4 = 1 THEN ARRAY[t] END, price => 1, price_currency => 'EUR') WHERE name.n <> 4;
SELECT FROM name r, name f, credit_pools.customer c, LATERAL credit_pools.report_usage(customer_id => c.customer_id, resource_id => r.t, feature_id => f.t, value => f.n, on_insufficient => 'cap',
    dimensions => jsonb_build_object(f.t, f.t), metadata => jsonb_build_object(f.t, f.t), idempotency_key => left(r.n || f.t, 255));
SELECT FROM name, credit_pools.customer c, LATERAL credit_pools.reverse_usage(customer_id => c.customer_id, usage_id => (SELECT max(usage_id) FROM credit_pools.usage_events WHERE resource_id = t AND credits > 0), credits => 0.5, reason => t) WHERE n <> 4;
SELECT FROM name, credit_pools.customer c, LATERAL credit_pools.set_auto_recharge(customer_id => c.customer_id, resource_id => t, credit_type_id => (SELECT t FROM name WHERE n = 1), threshold => 5000, recharge_amount => 10) WHERE n < 9;
SELECT FROM credit_pools.claim_recharges(worker => (SELECT t FROM name WHERE n = 1), max_count => 100) r, LATERAL credit_pools.fail_recharge(customer_id => r.customer_id, recharge_id => r.recharge_id, reason => r.resource_id, permanent => true);
SELECT FROM credit_pools.open_pool(customer_id => 'empty', credit_type_id => (SELECT t FROM name WHERE n = 1));
