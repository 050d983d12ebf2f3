-- Holds and what happens to their pool meanwhile: a renewal with rollover, the end, a change and a move of the subscription, a pool that is read as of then.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_plan(plan_id => 'roll');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'roll', credit_type_id => 'credits', amount => 100, rollover_max => 30);
SELECT FROM credit_pools.define_plan(plan_id => 'other');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'other', credit_type_id => 'credits', entry_id => 'other', amount => 500);
SELECT FROM (VALUES ('roll'), ('cancel'), ('change'), ('move')) v (r), LATERAL credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'roll', resource_id => r, subscription_id => r);
-- A day before the end of the month each pool holds 80 of its 100.
SET credit_pools.test_clock = '2026-03-31 12:00+00';
SELECT r, balance FROM (VALUES ('roll'), ('cancel'), ('change'), ('move')) v (r), LATERAL credit_pools.reserve_credits(customer_id => 'acme', reservation_id => r, resource_id => r, credit_type_id => 'credits', amount => 80, ttl => '24 hours') ORDER BY r;
-- Cancelled with its credits: the free ones end now, the held ones stay with the hold.
SELECT status FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'cancel', credits => 'expire');
SELECT resource, balance, expired, held FROM pools_of('acme') WHERE resource = 'cancel';
SELECT credits_consumed, balance, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'cancel', amount => 50);
SELECT resource, balance, consumed, expired, held FROM pools_of('acme') WHERE resource = 'cancel';
-- Another plan: the old credits keep their end, the new ones come.
SELECT status FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'other', resource_id => 'change');
SELECT resource, balance, held FROM pools_of('acme') WHERE resource = 'change';
-- Moved to another resource with its credits: what is held stays behind with its hold.
SELECT status FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'move', to_resource_id => 'there');
SELECT resource, balance, held FROM pools_of('acme') WHERE resource IN ('move', 'there');
SELECT credits_consumed, balance, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'move', amount => 10, final => false);
-- The renewal: what is free is carried over (up to 30; it counts as expired in the old grant), what is held is not; it ends with its grant when it comes back.
SET credit_pools.test_clock = '2026-04-01 00:00+00';
SELECT resource, balance, consumed, expired, held FROM pools_of('acme');
SELECT * FROM ledger_problems();
SELECT sum(processed) > 0 AS worked FROM credit_pools.run_maintenance();
SELECT resource, balance, consumed, expired, held FROM pools_of('acme');
SELECT status, balance FROM credit_pools.release_reservation(customer_id => 'acme', reservation_id => 'move');
SELECT credits_consumed, balance FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'change', amount => 85);
SET credit_pools.test_clock = '2026-04-01 12:00+00';
SELECT resource, balance, consumed, expired, held FROM pools_of('acme');
-- As of then: what was held, and what is known by now.
SELECT t, balance, held, consumed, expired FROM (VALUES (1, '2026-03-31 11:59'), (2, '2026-03-31 12:00'), (3, '2026-04-01 00:00'), (4, '2026-04-01 11:59'), (5, '2026-04-01 12:00')) v (n, t), LATERAL credit_pools.balance_at(customer_id => 'acme', resource_id => 'roll', credit_type_id => 'credits', at => (t || '+00')::timestamptz) ORDER BY n;
SELECT sum(processed) > 0 AS worked FROM credit_pools.run_maintenance();
SELECT t, balance, held, consumed, expired FROM (VALUES (1, '2026-03-31 11:59'), (2, '2026-03-31 12:00'), (3, '2026-04-01 00:00'), (4, '2026-04-01 11:59'), (5, '2026-04-01 12:00')) v (n, t), LATERAL credit_pools.balance_at(customer_id => 'acme', resource_id => 'roll', credit_type_id => 'credits', at => (t || '+00')::timestamptz) ORDER BY n;
-- What was known on 31 March of 1 April: the hold that ends by the clock.
SELECT balance, held, expired FROM credit_pools.balance_at(customer_id => 'acme', resource_id => 'roll', credit_type_id => 'credits', at => '2026-04-01 12:00+00', known_at => '2026-03-31 12:00+00');
SELECT * FROM ledger_problems();
