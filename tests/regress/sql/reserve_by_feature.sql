-- Holds by feature (contract sections 3, 5, 10): priced by the version of the hold, also where the rate changes before the settlement; feature-limited grants as for a usage of it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM (VALUES ('run'), ('tokens'), ('gift'), ('image'), ('unpriced')) v (f), LATERAL credit_pools.define_feature(feature_id => f);
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 2, plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'gift', credit_type_id => 'credits', credits_per_unit => 0, plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'tokens', credit_type_id => 'credits', formula => 'value * 0.5 + tokens / 100', plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', resource_id => 'ws', plan_id => 'basic');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100, reason => 'A');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 30, feature_ids => '{run}', reason => 'R');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 40, feature_ids => '{image}', reason => 'X');

-- 20 x 2: the credits that only 'run' may touch come first.
SELECT credit_type_id, held, balance, status FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h1', resource_id => 'ws', feature_id => 'run', value => 20);
SELECT balance, held, restricted FROM pools_of('acme');
SELECT "grant", available, held FROM held_of('acme');
SELECT reservation, status, amount, held, feature, value FROM holds_of('acme');
SELECT rate::text, formula, dimensions FROM credit_pools.reservations;
-- The rate changes. What is settled is priced as it was reserved: 15 x 2, out of what was held first; the rest returns.
SET credit_pools.test_clock = '2026-03-01 00:10+00';
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 5, plan_id => 'basic');
SELECT credits_consumed, shortfall, balance, held, is_duplicate FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'h1', value => 15);
SELECT * FROM rows_of('acme', 'ws', 4);
SELECT feature, value, credits, rate, occurred_at FROM usage_of('acme');
SELECT feature_id, value FROM credit_pools.ledger WHERE customer_id = 'acme' AND seq = 9;
SELECT reservation, status, amount, held, charged, closed_at FROM holds_of('acme');
-- A new hold has the new rate. A usage may not touch what another feature's grants hold, and neither may a hold: 100 of 140.
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h2', resource_id => 'ws', feature_id => 'run', value => 2);
SELECT * FROM refused($$SELECT * FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h3', resource_id => 'ws', feature_id => 'run', value => 18.01)$$);
SELECT * FROM refused($$SELECT * FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h3', resource_id => 'ws', credit_type_id => 'credits', amount => 90.01)$$);
-- Settled by an amount, or by nothing at all: the credits that were held, and no value.
SELECT credits_consumed, balance, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'h2', amount => 4);
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h3', resource_id => 'ws', feature_id => 'run', value => 1);
SELECT credits_consumed, balance, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'h3');
SELECT feature_id, value, amount FROM credit_pools.ledger WHERE customer_id = 'acme' AND entry_type = 'consume' ORDER BY seq;

-- A formula, with the dimensions of the hold: 3 x 0.5 + 150 / 100.
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'f1', resource_id => 'ws', feature_id => 'tokens', value => 3, dimensions => '{"tokens": 150, "model": "large"}');
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'f2', resource_id => 'ws', feature_id => 'tokens', value => 3, dimensions => '{"tokens": 150}');
SELECT reservation_id, rate::text, formula, dimensions FROM credit_pools.reservations WHERE feature_id = 'tokens' ORDER BY reservation_id;
SET credit_pools.test_clock = '2026-03-01 00:20+00';
SELECT FROM credit_pools.define_rate(feature_id => 'tokens', credit_type_id => 'credits', credits_per_unit => 9, plan_id => 'basic');
-- Settled with its own dimensions: 5 x 0.5 + 1.5 = 4, one more than was held. With the dimensions of the call: 1 x 0.5 + 0.5 = 1.
SELECT credits_consumed, balance, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'f1', value => 5);
SELECT credits_consumed, balance, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'f2', value => 1, dimensions => '{"tokens": 50}');
SELECT feature_id, value, credits, dimensions FROM credit_pools.usage_events WHERE feature_id = 'tokens' ORDER BY usage_id;
-- What costs nothing holds nothing, and is not in the ledger.
SELECT max(seq) AS seq FROM credit_pools.ledger WHERE customer_id = 'acme' \gset
SELECT held, balance, status FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'g1', resource_id => 'ws', feature_id => 'gift', value => 1000);
SELECT credits_consumed, balance, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'g1', value => 5);
SELECT max(seq) = :seq AS no_row FROM credit_pools.ledger WHERE customer_id = 'acme';
SELECT feature, value, credits FROM usage_of('acme') WHERE feature = 'gift';
-- Refused: no subscription in that scope, no rate, unknown, a dimension that the formula needs (also that of a settlement), in a type without a pool.
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'own', credit_type_id => 'credits');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'own', credit_type_id => 'credits', amount => 100, reason => 'B');
SELECT FROM credit_pools.define_rate(feature_id => 'image', credit_type_id => 'credits', formula => 'value * size', plan_id => 'basic');
SELECT held FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'i1', resource_id => 'ws', feature_id => 'image', value => 2, dimensions => '{"size": 3}');
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'gold', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'mine');
SELECT FROM credit_pools.define_rate(feature_id => 'mine', credit_type_id => 'gold', credits_per_unit => 3);
SELECT n, r.* FROM (VALUES
    (1, $$credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'x', resource_id => 'own', feature_id => 'run', value => 1)$$),
    (2, $$credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'x', resource_id => 'ws', feature_id => 'unpriced', value => 1)$$),
    (3, $$credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'x', resource_id => 'ws', feature_id => 'unknown', value => 1)$$),
    (4, $$credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'x', resource_id => 'ws', feature_id => 'image', value => 1)$$),
    (5, $$credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'i1', value => 1, dimensions => '{"sizes": 1}')$$),
    (6, $$credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'x', resource_id => 'ws', feature_id => 'mine', value => 2)$$)
  ) v (n, call), LATERAL refused('SELECT * FROM ' || call) r ORDER BY n;
-- An excess may take what the feature's own grants have: 40 of X, of which 6 are held.
SELECT credits_consumed, balance, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'i1', value => 12);
SELECT "grant", available, consumed FROM held_of('acme', 'ws');
SELECT * FROM ledger_problems();
