-- set_quantity (contract section 5): more seats grant the difference at once, fewer take nothing back; the next renewal gives what the quantity is then.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_feature(feature_id => 'seat');
SELECT FROM credit_pools.define_feature(feature_id => 'room');
SELECT FROM credit_pools.define_plan(plan_id => 'seats');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'seats', credit_type_id => 'credits', amount => 10, quantity_feature_id => 'seat');
SELECT status FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'seats', resource_id => 'team', subscription_id => 'sub', quantities => '{"seat": 7}');

-- Up from 7 to 9: 20 at once, until the end of the period. Down to 5: nothing is taken. Up to 8: 9 have been paid for. Up to 12: three more than the 9.
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT subscription_id, customer_id, resource_id, plan_id, status, quantities, is_duplicate FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub', feature_id => 'seat', quantity => 9);
SELECT balance FROM pools_of('acme');
SET credit_pools.test_clock = '2026-03-11 00:00+00';
SELECT quantities FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub', feature_id => 'seat', quantity => 5);
SET credit_pools.test_clock = '2026-03-12 00:00+00';
SELECT quantities FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub', feature_id => 'seat', quantity => 8);
SELECT balance FROM pools_of('acme');
SET credit_pools.test_clock = '2026-03-13 00:00+00';
SELECT quantities FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub', feature_id => 'seat', quantity => 12);
SELECT balance FROM pools_of('acme');
-- The same quantity again grants nothing.
SELECT quantities FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub', feature_id => 'seat', quantity => 12);
SELECT * FROM periods_of('acme');

-- The renewal gives what the quantity is then: 4 seats. With none there is no grant; three more in the middle of that period are granted at once.
SELECT quantities FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub', feature_id => 'seat', quantity => 4);
SET credit_pools.test_clock = '2026-04-10 00:00+00';
SELECT balance FROM pools_of('acme');
SELECT quantities FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub', feature_id => 'seat', quantity => 0);
SELECT balance FROM pools_of('acme');
SET credit_pools.test_clock = '2026-05-10 00:00+00';
SELECT balance FROM pools_of('acme');
SELECT quantities FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub', feature_id => 'seat', quantity => 2.5);
SELECT balance FROM pools_of('acme');
SET credit_pools.test_clock = '2026-06-01 00:00+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'team', credit_type_id => 'credits', amount => 1);
SELECT h.seq, h.entry_type, h.amount, h.after, h."grant", h.effective_at, l.reason FROM history_of('acme') h JOIN credit_pools.ledger l ON l.customer_id = 'acme' AND l.seq = h.seq ORDER BY 1;

-- More seats than at a renewal that nobody has booked yet: first the renewal with the old quantity, then the difference.
SET credit_pools.test_clock = '2026-07-10 00:00+00';
SELECT quantities, is_duplicate FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub', feature_id => 'seat', quantity => 3, idempotency_key => 'q-1');
SELECT seq, entry_type, amount, after, "grant", effective_at FROM history_of('acme') WHERE seq > 13;
SELECT world() AS before \gset
SELECT quantities, is_duplicate FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub', feature_id => 'seat', quantity => 3, idempotency_key => 'q-1');
SELECT world() = :'before' AS unchanged;

-- A feature that the plan does not count by is noted, and grants nothing. An override counts per seat.
SELECT quantities, status FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub', feature_id => 'room', quantity => 100);
SELECT balance FROM pools_of('acme');
SELECT status FROM credit_pools.provision_subscription(customer_id => 'big', plan_id => 'seats', resource_id => 'team', subscription_id => 'sub', overrides => '{"amounts": {"credits": 0.25}}', quantities => '{"seat": 1}');
SELECT quantities FROM credit_pools.set_quantity(customer_id => 'big', subscription_id => 'sub', feature_id => 'seat', quantity => 11);
SELECT balance FROM pools_of('big');

-- Before the start it is only noted.
SELECT status FROM credit_pools.provision_subscription(customer_id => 'early', plan_id => 'seats', resource_id => 'team', subscription_id => 'sub', quantities => '{"seat": 1}', starts_at => '2026-08-01 00:00+00');
SELECT status, quantities FROM credit_pools.set_quantity(customer_id => 'early', subscription_id => 'sub', feature_id => 'seat', quantity => 6);
SELECT balance FROM pools_of('early');
SET credit_pools.test_clock = '2026-08-01 00:00+00';
SELECT balance FROM pools_of('early');

-- What is refused.
SELECT FROM credit_pools.cancel_subscription(customer_id => 'early', subscription_id => 'sub');
SELECT n, sqlstate, figures ->> 'argument' AS argument, figures ->> 'kind' AS kind, world FROM (VALUES
    (1, $$SELECT * FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub', feature_id => 'seat', quantity => -1)$$),
    (2, $$SELECT * FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub', feature_id => 'seat', quantity => 'NaN')$$),
    (3, $$SELECT * FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub', feature_id => 'seat', quantity => 'Infinity')$$),
    (4, $$SELECT * FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub', feature_id => 'seat', quantity => NULL)$$),
    (5, $$SELECT * FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub', feature_id => 'nowhere', quantity => 1)$$),
    (6, $$SELECT * FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'nowhere', feature_id => 'seat', quantity => 1)$$),
    (7, $$SELECT * FROM credit_pools.set_quantity(customer_id => 'early', subscription_id => 'sub', feature_id => 'seat', quantity => 1)$$),
    (8, $$SELECT * FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub', feature_id => 'seat', quantity => 4, idempotency_key => 'q-1')$$),
    (9, $$SELECT * FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'sub', feature_id => 'seat', quantity => 999999999999999999)$$)
  ) s (n, statement), LATERAL expect_error(statement), LATERAL (SELECT f.figures FROM error_figures(statement) f) f ORDER BY n;
SELECT * FROM ledger_problems();
