-- Holds and the ends of grants (contract section 10): a held part outlives its grant's expiry, outside the balance; it may be settled until the hold ends, then what comes back expires (or is voided) at once. Holds, debt and the overdraft.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
-- E ends at 02:00, F never. Each of four pools holds 45 of E until 03:00.
SELECT FROM (VALUES ('settle'), ('release'), ('timeout'), ('part')) v (r), LATERAL credit_pools.open_pool(customer_id => 'acme', resource_id => r, credit_type_id => 'credits');
SELECT FROM (VALUES ('settle'), ('release'), ('timeout'), ('part')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 50, expires_at => '2026-03-01 02:00+00', reason => 'E');
SELECT FROM (VALUES ('settle'), ('release'), ('timeout'), ('part')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 50, reason => 'F');
SELECT r, balance FROM (VALUES ('settle'), ('release'), ('timeout'), ('part')) v (r), LATERAL credit_pools.reserve_credits(customer_id => 'acme', reservation_id => r, resource_id => r, credit_type_id => 'credits', amount => 45, ttl => '3 hours') ORDER BY r;
-- E ends: 5 of it were free and expire, 45 stay with the hold, outside the balance. Read before anything is booked.
SET credit_pools.test_clock = '2026-03-01 02:00+00';
SELECT resource, balance, granted, consumed, expired, held FROM pools_of('acme');
SELECT * FROM held_of('acme', 'settle');
SELECT * FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'settle', credit_type_id => 'credits', amount => 51)$$);
SELECT sum(processed) > 0 AS worked FROM credit_pools.run_maintenance();
SELECT * FROM held_of('acme', 'settle');
-- What is charged is charged to E, and what comes back to it expires at once.
SET credit_pools.test_clock = '2026-03-01 02:30+00';
SELECT credits_consumed, shortfall, balance, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'settle', amount => 25);
SELECT status, held, balance FROM credit_pools.release_reservation(customer_id => 'acme', reservation_id => 'release');
SELECT credits_consumed, balance, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'part', amount => 10, final => false);
-- Above the hold: the excess comes from what is active.
SELECT credits_consumed, balance, held FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'part', amount => 36);
SET credit_pools.test_clock = '2026-03-01 03:00+00';
SELECT resource, balance, expired, held FROM pools_of('acme') WHERE resource = 'timeout';
SELECT * FROM ledger_problems();
SELECT sum(processed) > 0 AS worked FROM credit_pools.run_maintenance();
SELECT r.* FROM (VALUES (1, 'settle'), (2, 'release'), (3, 'part'), (4, 'timeout')) v (n, p), LATERAL rows_of('acme', p, 3) r ORDER BY n, seq;
SELECT resource, balance, granted, consumed, expired, held FROM pools_of('acme');

-- A grant is voided while a part of it is held: what is free goes now, the rest when it comes back.
SELECT FROM (VALUES ('v1'), ('v2'), ('v3'), ('v4')) v (r), LATERAL credit_pools.open_pool(customer_id => 'void', resource_id => r, credit_type_id => 'credits');
SELECT FROM (VALUES ('v1'), ('v2'), ('v3'), ('v4')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'void', resource_id => r, credit_type_id => 'credits', amount => 100, reason => r);
SELECT FROM (VALUES ('v1'), ('v2'), ('v3'), ('v4')) v (r), LATERAL credit_pools.reserve_credits(customer_id => 'void', reservation_id => r, resource_id => r, credit_type_id => 'credits', amount => 60);
SELECT * FROM refused($$SELECT * FROM credit_pools.void_grant(customer_id => 'void', grant_id => grant_id('void', 'v1'), amount => 41)$$);
SELECT r, amount, remaining, status, balance FROM (VALUES ('v1'), ('v2'), ('v3')) v (r), LATERAL credit_pools.void_grant(customer_id => 'void', grant_id => grant_id('void', r)) ORDER BY r;
SELECT amount, remaining, status, balance FROM credit_pools.void_grant(customer_id => 'void', grant_id => grant_id('void', 'v4'), amount => 10);
SELECT * FROM held_of('void');
SELECT world() AS before \gset
SELECT remaining, status, balance FROM credit_pools.void_grant(customer_id => 'void', grant_id => grant_id('void', 'v1'));
SELECT world() = :'before' AS unchanged;
SELECT credits_consumed, balance FROM credit_pools.settle_reservation(customer_id => 'void', reservation_id => 'v1', amount => 20);
SELECT status, balance FROM credit_pools.release_reservation(customer_id => 'void', reservation_id => 'v2');
SELECT status, balance FROM credit_pools.release_reservation(customer_id => 'void', reservation_id => 'v4');
SET credit_pools.test_clock = '2026-03-01 04:00+00';
SELECT sum(processed) > 0 AS worked FROM credit_pools.run_maintenance();
SELECT r.* FROM (VALUES ('v1'), ('v2'), ('v3'), ('v4')) v (p), LATERAL rows_of('void', p, 2) r ORDER BY p, seq;
SELECT "grant", remaining, available, consumed, voided, status FROM held_of('void');

-- update_grant: an end that is moved before the end of the hold expires the free part only; one that is moved behind it lets the rest return.
SELECT FROM (VALUES ('u1'), ('u2')) v (r), LATERAL credit_pools.open_pool(customer_id => 'upd', resource_id => r, credit_type_id => 'credits');
SELECT FROM (VALUES ('u1', NULL), ('u2', '2026-03-01 05:00+00'::timestamptz)) v (r, e), LATERAL credit_pools.grant_credits(customer_id => 'upd', resource_id => r, credit_type_id => 'credits', amount => 100, reason => r, expires_at => e);
SELECT FROM (VALUES ('u1'), ('u2')) v (r), LATERAL credit_pools.reserve_credits(customer_id => 'upd', reservation_id => r, resource_id => r, credit_type_id => 'credits', amount => 60, ttl => '3 hours');
SELECT FROM (VALUES ('u1', '2026-03-01 04:30+00'), ('u2', '2026-03-01 06:30+00')) v (r, e), LATERAL credit_pools.update_grant(customer_id => 'upd', grant_id => grant_id('upd', r), expires_at => e::timestamptz);
SET credit_pools.test_clock = '2026-03-01 06:00+00';
SELECT resource, balance, expired, held FROM pools_of('upd');
SELECT r, credits_consumed, balance FROM (VALUES ('u1'), ('u2')) v (r), LATERAL credit_pools.settle_reservation(customer_id => 'upd', reservation_id => r, amount => 50) ORDER BY r;
SELECT "grant", remaining, available, held, consumed, expired, status FROM held_of('upd');

-- Debt: what returns from a hold pays it, after what is charged.
SELECT FROM (VALUES ('d1'), ('d2')) v (r), LATERAL credit_pools.open_pool(customer_id => 'debt', resource_id => r, credit_type_id => 'credits', overdraft_limit => 100);
SELECT FROM (VALUES ('d1'), ('d2')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'debt', resource_id => r, credit_type_id => 'credits', amount => 50, reason => 'A');
SELECT FROM (VALUES ('d1'), ('d2')) v (r), LATERAL credit_pools.reserve_credits(customer_id => 'debt', reservation_id => r, resource_id => r, credit_type_id => 'credits', amount => 30);
SELECT r, balance FROM (VALUES ('d1'), ('d2')) v (r), LATERAL credit_pools.consume_credits(customer_id => 'debt', resource_id => r, credit_type_id => 'credits', amount => 40) ORDER BY r;
SELECT balance FROM credit_pools.release_reservation(customer_id => 'debt', reservation_id => 'd1');
SELECT credits_consumed, balance, held FROM credit_pools.settle_reservation(customer_id => 'debt', reservation_id => 'd2', amount => 15);
SELECT r.* FROM (VALUES ('d1'), ('d2')) v (p), LATERAL rows_of('debt', p, 5) r ORDER BY p, seq;
SELECT resource, balance, consumed, held, debt FROM pools_of('debt');

-- A hold on the overdraft owes nothing yet. It is charged to what has become available meanwhile, else to debt; what is not charged just returns. It fits also where the limit is lower by then.
SELECT FROM (VALUES ('o1'), ('o2'), ('o3'), ('o4')) v (r), LATERAL credit_pools.open_pool(customer_id => 'od', resource_id => r, credit_type_id => 'credits', overdraft_limit => 50);
SELECT FROM (VALUES ('o1'), ('o2'), ('o3'), ('o4')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'od', resource_id => r, credit_type_id => 'credits', amount => 20, reason => 'A');
SELECT r, held, balance FROM (VALUES ('o1'), ('o2'), ('o3'), ('o4')) v (r), LATERAL credit_pools.reserve_credits(customer_id => 'od', reservation_id => r, resource_id => r, credit_type_id => 'credits', amount => 60) ORDER BY r;
SELECT r, balance FROM (VALUES ('o1'), ('o2')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'od', resource_id => r, credit_type_id => 'credits', amount => 30, reason => 'B') ORDER BY r;
SELECT FROM (VALUES ('o1'), ('o2'), ('o3'), ('o4')) v (r), LATERAL credit_pools.set_pool(customer_id => 'od', resource_id => r, credit_type_id => 'credits', overdraft_limit => 0);
SELECT * FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'od', resource_id => 'o1', credit_type_id => 'credits', amount => 1)$$);
SELECT credits_consumed, shortfall, balance, held FROM credit_pools.settle_reservation(customer_id => 'od', reservation_id => 'o1');
SELECT credits_consumed, balance, held FROM credit_pools.settle_reservation(customer_id => 'od', reservation_id => 'o2', amount => 25, final => false);
SELECT status, balance FROM credit_pools.release_reservation(customer_id => 'od', reservation_id => 'o3');
SET credit_pools.test_clock = '2026-03-01 07:00+00';
SELECT resource, balance, consumed, held, debt FROM pools_of('od');
SELECT * FROM ledger_problems();
SELECT sum(processed) > 0 AS worked FROM credit_pools.run_maintenance();
SELECT r.* FROM (VALUES ('o1'), ('o2'), ('o3'), ('o4')) v (p), LATERAL rows_of('od', p, 2) r ORDER BY p, seq;
-- What is held is not transferred.
SELECT FROM credit_pools.reserve_credits(customer_id => 'od', reservation_id => 't', resource_id => 'o4', credit_type_id => 'credits', amount => 15);
SELECT * FROM refused($$SELECT * FROM credit_pools.transfer_credits(customer_id => 'od', credit_type_id => 'credits', amount => 6, from_resource_id => 'o4', to_resource_id => 'o3')$$);
SELECT from_balance, to_balance FROM credit_pools.transfer_credits(customer_id => 'od', credit_type_id => 'credits', amount => 5, from_resource_id => 'o4', to_resource_id => 'o3');
SELECT balance FROM credit_pools.release_reservation(customer_id => 'od', reservation_id => 't');
SELECT * FROM ledger_problems();
