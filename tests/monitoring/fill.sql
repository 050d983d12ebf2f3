-- An installation in which everything that is watched has a known value at 2026-06-15 12:00 UTC.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET credit_pools.test_clock = '2026-06-01 00:00+00';

SELECT FROM credit_pools.define_credit_type(credit_type_id => 'tokens', scale => 2);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'images', scale => 0);
SELECT FROM unnest('{chat, draw}'::text[]) f, LATERAL credit_pools.define_feature(feature_id => f);
SELECT FROM credit_pools.define_plan(plan_id => 'team', display_name => 'Team');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'team', credit_type_id => 'tokens', amount => 500);
SELECT FROM credit_pools.define_rate(feature_id => 'chat', credit_type_id => 'tokens', plan_id => 'team', credits_per_unit => 0.5);
SELECT FROM credit_pools.define_rate(feature_id => 'draw', credit_type_id => 'tokens', plan_id => 'team', credits_per_unit => 2);

-- The customer that is looked at, with all that panels show; its ids have quotes.
SELECT FROM credit_pools.provision_subscription(customer_id => 'o''brien', plan_id => 'team', resource_id => 'it''s', subscription_id => 'sub-1');
SELECT FROM credit_pools.open_pool(customer_id => 'o''brien', credit_type_id => 'tokens');
SELECT FROM credit_pools.open_pool(customer_id => 'o''brien', credit_type_id => 'images', resource_id => 'it''s');
SELECT FROM credit_pools.grant_credits(customer_id => 'o''brien', credit_type_id => 'tokens', amount => 1000);
SELECT FROM credit_pools.grant_credits(customer_id => 'o''brien', credit_type_id => 'images', resource_id => 'it''s', amount => 70);
SELECT FROM credit_pools.set_auto_recharge(customer_id => 'o''brien', credit_type_id => 'tokens', resource_id => 'it''s', threshold => 50, target_balance => 300,
    price_per_credit => 0.01, price_currency => 'EUR', max_spend => 100, settlement => 'immediate');
SET credit_pools.test_clock = '2026-06-10 09:00+00';
SELECT FROM credit_pools.report_usage(customer_id => 'o''brien', resource_id => 'it''s', feature_id => 'chat', value => 300);
SET credit_pools.test_clock = '2026-06-12 10:00+00';
SELECT FROM credit_pools.report_usage(customer_id => 'o''brien', resource_id => 'it''s', feature_id => 'draw', value => 100);
SELECT FROM credit_pools.report_usage(customer_id => 'o''brien', resource_id => 'it''s', feature_id => 'chat', value => 220);
SELECT FROM credit_pools.consume_credits(customer_id => 'o''brien', credit_type_id => 'tokens', amount => 10.25);
SET credit_pools.test_clock = '2026-06-15 11:00+00';
SELECT FROM credit_pools.reserve_credits(customer_id => 'o''brien', credit_type_id => 'tokens', amount => 5, reservation_id => 'job', ttl => '6 hours');

-- Ids that a query must not take for more than that.
SELECT FROM unnest(ARRAY['''); DROP TABLE bait; --', '\''; DROP TABLE bait; --', '$__timeFrom()', '${resource}', 'a"b%_']) c,
    LATERAL credit_pools.open_pool(customer_id => c, credit_type_id => 'tokens', resource_id => c),
    LATERAL credit_pools.grant_credits(customer_id => c, resource_id => c, credit_type_id => 'tokens', amount => 1);
CREATE TABLE public.bait ();
GRANT ALL ON public.bait TO PUBLIC;

-- One pool in debt, one empty besides, one frozen.
SELECT FROM credit_pools.open_pool(customer_id => 'debtor', credit_type_id => 'tokens', overdraft_limit => 100);
SELECT FROM credit_pools.consume_credits(customer_id => 'debtor', credit_type_id => 'tokens', amount => 40);
SELECT FROM credit_pools.open_pool(customer_id => 'new', credit_type_id => 'images');
SELECT FROM credit_pools.open_pool(customer_id => 'cold', credit_type_id => 'images');
SELECT FROM credit_pools.grant_credits(customer_id => 'cold', credit_type_id => 'images', amount => 3);
SELECT FROM credit_pools.set_pool(customer_id => 'cold', credit_type_id => 'images', status => 'frozen');

-- A recharge that fails for good, so that its breaker opens; one that fails for now, and is tried again; one that nobody claims,
-- for 50 minutes.
SELECT FROM unnest('{declined, paused, waiting}'::text[]) WITH ORDINALITY c (id, n),
    LATERAL credit_pools.open_pool(customer_id => c.id, credit_type_id => 'tokens'),
    LATERAL credit_pools.grant_credits(customer_id => c.id, credit_type_id => 'tokens', amount => 20);
SET credit_pools.test_clock = '2026-06-15 11:05+00';
SELECT FROM unnest('{declined, paused}'::text[]) c,
    LATERAL credit_pools.set_auto_recharge(customer_id => c, credit_type_id => 'tokens', threshold => 50, target_balance => 100,
        price_per_credit => 0.01, price_currency => 'EUR', backoff => '1 day');
SELECT FROM credit_pools.claim_recharges(worker => 'w', max_count => 10);
SELECT FROM credit_pools.recharges r, LATERAL credit_pools.fail_recharge(customer_id => r.customer_id, recharge_id => r.recharge_id,
    reason => 'card declined', permanent => r.customer_id = 'declined') WHERE r.customer_id IN ('declined', 'paused');
SET credit_pools.test_clock = '2026-06-15 11:10+00';
SELECT FROM credit_pools.set_auto_recharge(customer_id => 'waiting', credit_type_id => 'tokens', threshold => 50, target_balance => 100,
    price_per_credit => 0.01, price_currency => 'EUR');

-- One pool in which a grant ended two hours ago, and nobody has booked it; and one that ends soon.
SET credit_pools.test_clock = '2026-06-15 09:00+00';
SELECT FROM credit_pools.open_pool(customer_id => 'late', credit_type_id => 'images');
SELECT FROM credit_pools.grant_credits(customer_id => 'late', credit_type_id => 'images', amount => 9, expires_at => '2026-06-15 10:00+00');
SELECT FROM credit_pools.open_pool(customer_id => 'soon', credit_type_id => 'images');
SELECT FROM credit_pools.grant_credits(customer_id => 'soon', credit_type_id => 'images', amount => 6, expires_at => '2026-06-20 00:00+00');

-- One consumer that has read nothing since the first of the month, one that has read it all.
SELECT FROM credit_pools.ack_events(consumer => 'slow', event_id => (SELECT min(event_id) FROM credit_pools.events));
SELECT FROM credit_pools.ack_events(consumer => 'quick', event_id => (SELECT max(event_id) FROM credit_pools.events));
