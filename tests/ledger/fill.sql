-- Every kind of ledger row, in pools of several customers, with texts and numbers that are hard to write down.
\set ON_ERROR_STOP on
SET timezone = 'UTC';
SET credit_pools.test_clock = '2026-03-01 08:00:00.000001+00';
SET credit_pools.actor = E'app "one"\\ — ünï';

SELECT FROM credit_pools.define_credit_type(credit_type_id => 'tokens', scale => 18);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'images', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'chat');
SELECT FROM credit_pools.define_feature(feature_id => 'storage');
SELECT FROM credit_pools.define_feature(feature_id => 'seats');
SELECT FROM credit_pools.define_feature(feature_id => 'free');
SELECT FROM credit_pools.define_plan(plan_id => 'team');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'team', credit_type_id => 'tokens', amount => 100, cadence => '7 days', rollover_max => 30,
    rollover_periods => 2);
SELECT FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'tokens', credits_per_unit => 0.000000000000000001, plan_id => 'team');
SELECT FROM credit_pools.define_rate(feature_id => 'storage', credit_type_id => 'tokens', formula => 'value * (1 + copies)', plan_id => 'team');
SELECT FROM credit_pools.define_rate(feature_id => 'seats', credit_type_id => 'tokens', credits_per_unit => 1.50, plan_id => 'team');
SELECT FROM credit_pools.define_rate(feature_id => 'free', credit_type_id => 'tokens', credits_per_unit => 0, plan_id => 'team');

-- Texts that JSON escapes, or must not; JSON that PostgreSQL prints in another way than it was given.
SELECT E'quotes " \\ / \b\f\n\r\t \x01\x1f\x7f ü € 𝄞 \u2028 <&> '','  AS hard, '' AS empty \gset
SELECT jsonb_build_object('text', :'hard', 'b', 1, 'aa', 2, '', null)::text AS object \gset
\set numbers '{"big": 123456789012345678901234567890.12345678901234567890, "exp": 1.50e3, "tiny": 1e-7, "zero": -0.0, "list": [ 1 , 2.00,{"z":1,"y" : [ ]}], "copies": 1.0, "copies": 2.50}'

-- The pool that is tampered with: all that can happen to one.
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'team', resource_id => 'ws', subscription_id => 'weekly');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'team', resource_id => 'other');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'tokens', amount => 1000.500, priority => 20,
    reason => :'hard', idempotency_key => 'grant-1', metadata => :'object', price => 10.00, price_currency => 'EUR') \gset first_
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'tokens', amount => 40, category => 'promotional',
    priority => 10, expires_at => '2026-03-03 00:00+00', reason => :'empty');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'tokens', amount => 25, priority => 5,
    feature_ids => '{chat}', expires_at => '2026-06-01 00:00+00');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'tokens', amount => 70,
    effective_at => '2026-03-05 00:00+00', expires_at => '2026-04-05 00:00+00');
SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'tokens', amount => 60, payment_state => 'pending',
    price => 6, price_currency => 'EUR') \gset pending_
SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'tokens', amount => 33, payment_state => 'pending')
    \gset never_
SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'tokens', amount => 8,
    effective_at => '2027-01-01 00:00+00', expires_at => '2027-02-01 00:00+00') \gset future_
SELECT FROM credit_pools.void_grant(customer_id => 'acme', grant_id => :never_grant_id);
SELECT FROM credit_pools.void_grant(customer_id => 'acme', grant_id => :future_grant_id, amount => 3, reason => E'a\nline');

-- Usage: over several grants, capped, late, costing nothing, as a new total, in a batch, with and without keys.
SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'storage', value => 30, dimensions => :'numbers',
    idempotency_key => E'use "1" \\ ü', metadata => :'object') \gset used_
SELECT FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'chat', value => 1234567890123.5);
SELECT FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'chat', value => 3, idempotency_key => 'use-2',
    dimensions => '{}');
SELECT FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'free', value => 7, dimensions => :'numbers',
    metadata => :'object', idempotency_key => 'free-1');
SELECT FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'free', value => 0.10);
SELECT FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'seats', value => 5,
    update_behavior => 'set', idempotency_key => 'total-1');
SELECT FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'seats', value => 4,
    update_behavior => 'set', idempotency_key => 'total-2');
SELECT count(*) FROM credit_pools.report_usage_batch(jsonb_build_array(
    jsonb_build_object('customer_id', 'acme', 'resource_id', 'ws', 'feature_id', 'storage', 'value', 1.0, 'dimensions', :'numbers'::jsonb,
        'metadata', :'object'::jsonb, 'idempotency_key', 'batch-1'),
    jsonb_build_object('customer_id', 'acme', 'resource_id', 'ws', 'feature_id', 'chat', 'value', 2.50),
    jsonb_build_object('customer_id', 'acme', 'resource_id', 'ws', 'feature_id', 'free', 'value', 2.50, 'dimensions', :'numbers'::jsonb),
    jsonb_build_object('customer_id', 'acme', 'resource_id', 'other', 'feature_id', 'chat', 'value', 100)));
SELECT FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'tokens', amount => 1.000000000000000001,
    dimensions => :'numbers', metadata => :'numbers');

-- Holds in each state: open (one with a part), settled for more, released, timed out.
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', resource_id => 'ws', reservation_id => 'open "ü"', feature_id => 'storage', value => 4,
    dimensions => '{"copies": 1}', ttl => '24 hours', metadata => :'object');
SELECT FROM (VALUES ('part', 20, interval '23 hours'), ('settled', 10, '1 hour'), ('released', 15, '1 hour'), ('late', 5, '20 minutes')) v (id, a, t),
    LATERAL credit_pools.reserve_credits(customer_id => 'acme', resource_id => 'ws', reservation_id => id, credit_type_id => 'tokens', amount => a,
        ttl => t) r;
SELECT FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'part', amount => 7.5, final => false, idempotency_key => 'part-1');
SELECT FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'settled', amount => 12, metadata => :'object');
SELECT FROM credit_pools.release_reservation(customer_id => 'acme', reservation_id => 'released');
SELECT FROM credit_pools.extend_reservation(customer_id => 'acme', reservation_id => 'part', ttl => '24 hours');
SET credit_pools.test_clock = '2026-03-01 09:30:00.123456+00';
SELECT FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'tokens', amount => 1,
    occurred_at => '2026-03-01 09:00:00.999999+00');

SELECT FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => :used_usage_id, credits => 12.25, reason => :'hard', idempotency_key => 'back-1');
SELECT FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => :used_usage_id, credits => 3);
SELECT FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'tokens', amount => 5, from_resource_id => 'ws', to_resource_id => 'other',
    reason => 'move');
SELECT FROM credit_pools.transfer_credits(customer_id => 'acme', credit_type_id => 'tokens', amount => 2, from_resource_id => 'other', to_resource_id => 'ws',
    idempotency_key => 'move-2');
SELECT FROM credit_pools.grants g, LATERAL credit_pools.update_grant(customer_id => 'acme', grant_id => g.grant_id, priority => 7,
    expires_at => '2026-07-01 00:00+00', display_name => :'hard', metadata => :'object') u WHERE g.customer_id = 'acme' AND g.amount = 25;
SELECT FROM credit_pools.confirm_grant_payment(customer_id => 'acme', grant_id => :pending_grant_id, payment_reference => 'paid');

-- Debt and its settlement; a recharge that settles at once and one that is paid.
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'tokens', overdraft_limit => 5000);
SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'tokens', amount => 1500, idempotency_key => 'deep') \gset deep_
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', resource_id => 'ws', reservation_id => 'unbacked', credit_type_id => 'tokens', amount => 9,
    ttl => '24 hours');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'tokens', amount => 50);
SELECT FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => :deep_usage_id, credits => 30);
SELECT FROM credit_pools.set_auto_recharge(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'tokens', threshold => 50, target_balance => 2000,
    price_per_credit => 0.01, price_currency => 'EUR');
SELECT count(*) FROM credit_pools.claim_recharges(worker => 'w', max_count => 10) r,
    LATERAL credit_pools.complete_recharge(customer_id => r.customer_id, recharge_id => r.recharge_id, payment_reference => 'ref-1') c;
SELECT FROM credit_pools.set_auto_recharge(customer_id => 'acme', resource_id => 'other', credit_type_id => 'tokens', threshold => 200, recharge_amount => 300,
    settlement => 'immediate');
SELECT FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'tokens', amount => 1950);

-- Periods that end: rollover, expiry, a scheduled grant that begins.
SET credit_pools.test_clock = '2026-03-16 12:00:00+00';
SELECT count(*) FROM credit_pools.run_maintenance();
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'tokens', amount => 99.9,
    expires_at => '2026-03-16 18:00+00', reason => 'soon');
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', resource_id => 'ws', reservation_id => 'now', credit_type_id => 'tokens', amount => 40,
    ttl => '24 hours');

-- Another customer, with names that are hard to quote; a global pool, and one that holds nothing.
SELECT FROM credit_pools.open_pool(customer_id => 'ä "q" '',\', credit_type_id => 'images', resource_id => '€,"', overdraft_limit => 10);
SELECT FROM credit_pools.consume_credits(customer_id => 'ä "q" '',\', resource_id => '€,"', credit_type_id => 'images', amount => 3, on_insufficient => 'cap');
SELECT FROM credit_pools.consume_credits(customer_id => 'ä "q" '',\', resource_id => '€,"', credit_type_id => 'images', amount => 30, on_insufficient => 'cap');
SELECT FROM credit_pools.open_pool(customer_id => 'ä "q" '',\', credit_type_id => 'tokens');
SELECT FROM credit_pools.consume_credits(customer_id => 'ä "q" '',\', credit_type_id => 'tokens', amount => 3, on_insufficient => 'cap');
SELECT FROM credit_pools.open_pool(customer_id => 'zoe', credit_type_id => 'images');
SELECT FROM credit_pools.grant_credits(customer_id => 'zoe', credit_type_id => 'images', amount => 100000000000000000);
SELECT FROM credit_pools.consume_credits(customer_id => 'zoe', credit_type_id => 'images', amount => 99999999999999999);
-- Holds that the overdraft backs, and a recharge that waits for its payment.
SELECT FROM credit_pools.open_pool(customer_id => 'zoe', credit_type_id => 'tokens', overdraft_limit => 100);
SELECT FROM credit_pools.grant_credits(customer_id => 'zoe', credit_type_id => 'tokens', amount => 5);
SELECT FROM credit_pools.reserve_credits(customer_id => 'zoe', reservation_id => 'deep', credit_type_id => 'tokens', amount => 30, ttl => '24 hours');
SELECT FROM credit_pools.set_auto_recharge(customer_id => 'zoe', credit_type_id => 'tokens', threshold => 1, recharge_amount => 500);
