-- Events of pools and grants (contract section 7): opened, granted, used up, expired, voided. Each stands beside a row of the ledger, whose seq it names: time is when that row counts,
-- created_at when it was booked, balance what the pool had after it. Rows of 0 (scheduled, waiting for payment, updated) are no events.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
\set events :abs_srcdir '/include/events.sql'
\i :events
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'gold', scale => 0);
-- A pool opens, once.
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits');
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits');
SELECT * FROM news_of('acme');
-- A grant begins to count. Its end is null where it has none; amounts are numbers, exact.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 100.50, reason => 'A');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 0.05, reason => 'B', category => 'promotional', priority => 7, expires_at => '2026-03-10 00:00+00');
SELECT * FROM news_of('acme');
-- A grant in another credit type opens its pool first: one call, two events, of that type. The customer's global pool has no resource.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'gold', amount => 5);
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'gold');
SELECT * FROM events_of('acme') WHERE type = 'gold';
-- One that is said to have begun earlier: time is when it began to count, created_at is now.
SELECT FROM credit_pools.open_pool(customer_id => 'past', resource_id => 'ws', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'past', resource_id => 'ws', credit_type_id => 'credits', amount => 10, effective_at => '2026-02-20 00:00+00', expires_at => '2026-03-20 00:00+00');
SELECT * FROM news_of('past');
-- A scheduled grant is an event when it begins, not when it is made, with what is left of it by then. One that is voided before is none at all.
SELECT FROM credit_pools.open_pool(customer_id => 'later', resource_id => 'ws', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'later', resource_id => 'ws', credit_type_id => 'credits', amount => 40, reason => 'S1', effective_at => '2026-03-03 00:00+00', expires_at => '2026-03-10 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'later', resource_id => 'ws', credit_type_id => 'credits', amount => 60, reason => 'S2', effective_at => '2026-03-04 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'later', resource_id => 'ws', credit_type_id => 'credits', amount => 70, reason => 'S3', effective_at => '2026-03-04 00:00+00');
SELECT voided, balance FROM credit_pools.void_grant(customer_id => 'later', grant_id => grant_id('later', 'S2'), amount => 20);
SELECT voided, balance FROM credit_pools.void_grant(customer_id => 'later', grant_id => grant_id('later', 'S3'));
SELECT * FROM news_of('later');
SET credit_pools.test_clock = '2026-03-05 00:00+00';
SELECT count(*) > 0 AS ran FROM credit_pools.run_maintenance();
SELECT * FROM news_of('later');
SET credit_pools.test_clock = '2026-03-01 00:00+00';
-- A grant that waits for its payment is an event when it is paid, as of then; its effective_at stays. Paid twice: once. One whose time runs out unpaid was never there.
SELECT FROM credit_pools.open_pool(customer_id => 'unpaid', resource_id => 'ws', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'unpaid', resource_id => 'ws', credit_type_id => 'credits', amount => 30, reason => 'P1', payment_state => 'pending', price => 3, price_currency => 'EUR');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'unpaid', resource_id => 'ws', credit_type_id => 'credits', amount => 31, reason => 'P2', payment_state => 'pending', effective_at => '2026-03-06 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'unpaid', resource_id => 'ws', credit_type_id => 'credits', amount => 32, reason => 'P3', payment_state => 'pending', expires_at => '2026-03-04 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'unpaid', resource_id => 'ws', credit_type_id => 'credits', amount => 33, reason => 'P4', payment_state => 'pending');
SELECT voided, balance FROM credit_pools.void_grant(customer_id => 'unpaid', grant_id => grant_id('unpaid', 'P4'));
SELECT * FROM news_of('unpaid');
SET credit_pools.test_clock = '2026-03-02 00:00+00';
SELECT status, balance FROM credit_pools.confirm_grant_payment(customer_id => 'unpaid', grant_id => grant_id('unpaid', 'P1'), payment_reference => 'pay-P1');
SELECT status, balance FROM credit_pools.confirm_grant_payment(customer_id => 'unpaid', grant_id => grant_id('unpaid', 'P1'), payment_reference => 'pay-P1');
SELECT status, balance FROM credit_pools.confirm_grant_payment(customer_id => 'unpaid', grant_id => grant_id('unpaid', 'P2'), payment_reference => 'pay-P2');
SELECT * FROM news_of('unpaid');
SET credit_pools.test_clock = '2026-03-07 00:00+00';
SELECT count(*) > 0 AS ran FROM credit_pools.run_maintenance();
SELECT * FROM news_of('unpaid');
SET credit_pools.test_clock = '2026-03-01 00:00+00';
-- Used up: the event of the grant that a usage empties, in its row's place; the next grant, drawn in part, has none. What is still held is not used up.
SELECT FROM credit_pools.open_pool(customer_id => 'used', resource_id => 'ws', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'used', resource_id => 'ws', credit_type_id => 'credits', amount => 100, reason => 'A', priority => 1);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'used', resource_id => 'ws', credit_type_id => 'credits', amount => 50, reason => 'B', category => 'promotional', priority => 2);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'used', resource_id => 'ws', credit_type_id => 'credits', amount => 120);
SELECT * FROM news_of('used');
-- The last credit: B is used up, and so is the pool.
SELECT balance FROM credit_pools.consume_credits(customer_id => 'used', resource_id => 'ws', credit_type_id => 'credits', amount => 30);
SELECT * FROM news_of('used');
-- Several in one usage, in the order of the ledger's rows.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'used', resource_id => 'ws', credit_type_id => 'credits', amount => 10, reason => 'C0', priority => 0);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'used', resource_id => 'ws', credit_type_id => 'credits', amount => 20, reason => 'C1', priority => 1);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'used', resource_id => 'ws', credit_type_id => 'credits', amount => 5, reason => 'C2', priority => 2);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'used', resource_id => 'ws', credit_type_id => 'credits', amount => 35);
SELECT * FROM news_of('used');
-- A cap on the empty pool takes nothing, and says nothing.
SELECT credits_consumed, shortfall FROM credit_pools.consume_credits(customer_id => 'used', resource_id => 'ws', credit_type_id => 'credits', amount => 7, on_insufficient => 'cap');
SELECT * FROM news_of('used');
-- A part that was voided: amount is the whole grant's.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'used', resource_id => 'ws', credit_type_id => 'credits', amount => 100, reason => 'V');
SELECT voided, balance FROM credit_pools.void_grant(customer_id => 'used', grant_id => grant_id('used', 'V'), amount => 40, reason => 'too many');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'used', resource_id => 'ws', credit_type_id => 'credits', amount => 60);
SELECT * FROM news_of('used');
-- Late usage: the row counts as of when it occurred, and so does the event.
SET credit_pools.test_clock = '2026-03-02 00:00+00';
SELECT balance FROM credit_pools.grant_credits(customer_id => 'used', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'used', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'used', resource_id => 'ws', credit_type_id => 'credits', amount => 10, occurred_at => '2026-03-01 12:00+00');
SELECT * FROM news_of('used');
SET credit_pools.test_clock = '2026-03-01 00:00+00';
-- Held credits: nothing is used up while a part is held; the settlement uses it up, in the row that charges it. The pool is empty from the hold on, and stays so.
SELECT FROM credit_pools.open_pool(customer_id => 'held', resource_id => 'ws', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'held', resource_id => 'ws', credit_type_id => 'credits', amount => 100);
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'held', reservation_id => 'h1', resource_id => 'ws', credit_type_id => 'credits', amount => 40);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'held', resource_id => 'ws', credit_type_id => 'credits', amount => 60);
SELECT * FROM news_of('held');
SELECT credits_consumed, balance FROM credit_pools.settle_reservation(customer_id => 'held', reservation_id => 'h1');
SELECT * FROM news_of('held');
-- Released instead: nothing was used up.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'held', resource_id => 'ws', credit_type_id => 'credits', amount => 100);
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'held', reservation_id => 'h2', resource_id => 'ws', credit_type_id => 'credits', amount => 40);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'held', resource_id => 'ws', credit_type_id => 'credits', amount => 60);
SELECT status, balance FROM credit_pools.release_reservation(customer_id => 'held', reservation_id => 'h2');
SELECT * FROM news_of('held');
-- Debt: from 0 downwards is no fall to 0. What is granted pays first: a grant that goes into debt altogether is used up at once, in the row that takes it.
SELECT FROM credit_pools.open_pool(customer_id => 'debtor', resource_id => 'ws', credit_type_id => 'credits', overdraft_limit => 100);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'debtor', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'debtor', resource_id => 'ws', credit_type_id => 'credits', amount => 4, reason => 'small');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'debtor', resource_id => 'ws', credit_type_id => 'credits', amount => 20, reason => 'large');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'debtor', resource_id => 'ws', credit_type_id => 'credits', amount => 24);
SELECT * FROM news_of('debtor');
-- Expired: what is left at the end, at that instant, also when it is booked later. A grant that is used up ends unnoticed. What a hold gives back too late expires then.
SELECT FROM credit_pools.open_pool(customer_id => 'ends', resource_id => 'ws', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'ends', resource_id => 'ws', credit_type_id => 'credits', amount => 50, reason => 'rest', priority => 1, expires_at => '2026-03-10 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'ends', resource_id => 'ws', credit_type_id => 'credits', amount => 20, reason => 'none', priority => 0, expires_at => '2026-03-10 00:00+00');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'ends', resource_id => 'ws', credit_type_id => 'credits', amount => 30);
SET credit_pools.test_clock = '2026-03-09 12:00+00';
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'ends', reservation_id => 'h', resource_id => 'ws', credit_type_id => 'credits', amount => 15, ttl => '24 hours');
SELECT * FROM news_of('ends');
SET credit_pools.test_clock = '2026-03-11 00:00+00';
SELECT count(*) > 0 AS ran FROM credit_pools.run_maintenance();
SELECT * FROM news_of('ends');
-- A grant of which all is held has nothing left to expire at its end; then the hold ends on its own. A hold of two grants is one event, of all that comes back.
SELECT FROM credit_pools.open_pool(customer_id => 'two', resource_id => 'ws', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'two', resource_id => 'ws', credit_type_id => 'credits', amount => 10, reason => 'A', priority => 1, expires_at => '2026-03-11 01:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'two', resource_id => 'ws', credit_type_id => 'credits', amount => 10, reason => 'B', priority => 2);
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'two', reservation_id => 'h', resource_id => 'ws', credit_type_id => 'credits', amount => 15, ttl => '2 hours');
SET credit_pools.test_clock = '2026-03-11 03:00+00';
SELECT count(*) > 0 AS ran FROM credit_pools.run_maintenance();
SELECT event, time, created_at, (data::jsonb - 'seq')::text AS data FROM news_of('two') OFFSET 3;
-- Voided: what it took, with the reason. What was used up or voided before gives nothing. A held part is voided when it comes back, for no reason that the call gave.
SELECT FROM credit_pools.open_pool(customer_id => 'void', resource_id => 'ws', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'void', resource_id => 'ws', credit_type_id => 'credits', amount => 100, reason => 'A');
SELECT voided, balance FROM credit_pools.void_grant(customer_id => 'void', grant_id => grant_id('void', 'A'), amount => 30, reason => 'a mistake');
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'void', reservation_id => 'h', resource_id => 'ws', credit_type_id => 'credits', amount => 20);
SELECT voided, balance FROM credit_pools.void_grant(customer_id => 'void', grant_id => grant_id('void', 'A'), reason => 'fraud');
SELECT voided, balance FROM credit_pools.void_grant(customer_id => 'void', grant_id => grant_id('void', 'A'), reason => 'again');
SELECT * FROM news_of('void');
SELECT status, balance FROM credit_pools.release_reservation(customer_id => 'void', reservation_id => 'h');
SELECT * FROM news_of('void');
-- Reversed: what comes back to a grant that was used up lets it be used up again. To one that is over it comes back and expires.
SELECT FROM credit_pools.open_pool(customer_id => 'back', resource_id => 'ws', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'back', resource_id => 'ws', credit_type_id => 'credits', amount => 10, reason => 'A', expires_at => '2026-03-12 00:00+00');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'back', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT credits_returned, balance FROM credit_pools.reverse_usage(customer_id => 'back', usage_id => usage_id('back', 1), credits => 4);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'back', resource_id => 'ws', credit_type_id => 'credits', amount => 4);
SELECT * FROM news_of('back');
SET credit_pools.test_clock = '2026-03-13 00:00+00';
SELECT credits_returned, balance FROM credit_pools.reverse_usage(customer_id => 'back', usage_id => usage_id('back', 1));
SELECT * FROM news_of('back');
-- Debt that a grant paid, and that is reversed: the grant has it back, and is used up again by the next usage.
SELECT FROM credit_pools.open_pool(customer_id => 'owed', resource_id => 'ws', credit_type_id => 'credits', overdraft_limit => 10);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'owed', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'owed', resource_id => 'ws', credit_type_id => 'credits', amount => 10, reason => 'A');
SELECT credits_returned, balance FROM credit_pools.reverse_usage(customer_id => 'owed', usage_id => usage_id('owed', 1));
SELECT balance FROM credit_pools.consume_credits(customer_id => 'owed', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT * FROM news_of('owed');
-- Transferred: a grant begins to count where it arrives, with what is moved. Where it leaves nothing is granted, used up or voided: only the balance falls. A pool that has to be opened opens.
SELECT FROM credit_pools.open_pool(customer_id => 'mover', resource_id => 'a', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'mover', resource_id => 'a', credit_type_id => 'credits', amount => 100, reason => 'A', category => 'promotional', priority => 9, expires_at => '2026-04-01 00:00+00');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'mover', resource_id => 'a', credit_type_id => 'credits', amount => 30);
SELECT from_balance, to_balance FROM credit_pools.transfer_credits(customer_id => 'mover', credit_type_id => 'credits', amount => 70, from_resource_id => 'a');
SELECT * FROM news_of('mover', 'a');
SELECT * FROM news_of('mover', '(global)');
SET credit_pools.test_clock = '2026-03-01 00:00+00';
-- A plan: the pool opens with its credits. At the period's end, booked late: what expires, what is carried over, and the new period's credits, in this order.
SELECT FROM credit_pools.define_plan(plan_id => 'carry');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'carry', credit_type_id => 'credits', amount => 100, rollover_max => 30);
SELECT FROM credit_pools.provision_subscription(customer_id => 'planned', plan_id => 'carry', resource_id => 'ws', subscription_id => 'sub-1');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'planned', resource_id => 'ws', credit_type_id => 'credits', amount => 20);
SELECT * FROM news_of('planned') WHERE event NOT LIKE 'subscription.%';
SET credit_pools.test_clock = '2026-04-02 00:00+00';
SELECT count(*) > 0 AS ran FROM credit_pools.run_maintenance();
SELECT * FROM news_of('planned');
-- Two months later, by whichever call comes first: every period that was, each at its own instant; then the call's own.
SET credit_pools.test_clock = '2026-06-02 00:00+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'planned', resource_id => 'ws', credit_type_id => 'credits', amount => 130);
SELECT * FROM news_of('planned');
-- What changes no credits is no event: updates, another overdraft limit, freezing. A frozen pool's grants end as any.
SELECT FROM credit_pools.open_pool(customer_id => 'frozen', resource_id => 'ws', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'frozen', resource_id => 'ws', credit_type_id => 'credits', amount => 10, reason => 'A', expires_at => '2026-06-03 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'frozen', resource_id => 'ws', credit_type_id => 'credits', amount => 10, reason => 'B');
SELECT status FROM credit_pools.update_grant(customer_id => 'frozen', grant_id => grant_id('frozen', 'B'), priority => 1);
SELECT status FROM credit_pools.set_pool(customer_id => 'frozen', credit_type_id => 'credits', resource_id => 'ws', overdraft_limit => 5, status => 'frozen');
SELECT * FROM news_of('frozen');
SET credit_pools.test_clock = '2026-06-04 00:00+00';
SELECT count(*) > 0 AS ran FROM credit_pools.run_maintenance();
SELECT * FROM news_of('frozen');
SELECT * FROM event_problems();
SELECT * FROM ledger_problems();
-- A grant that pays a debt when it begins and is moved away for the rest, all booked by one call: it was not used up.
SELECT FROM unnest(ARRAY['a', 'd']) r, LATERAL credit_pools.open_pool(customer_id => 'moved', credit_type_id => 'credits', resource_id => r, overdraft_limit => 60);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'moved', credit_type_id => 'credits', resource_id => 'a', amount => 60);
SELECT credit_pools.clock() AS now \gset
SELECT status FROM credit_pools.grant_credits(customer_id => 'moved', credit_type_id => 'credits', resource_id => 'a', amount => 123, effective_at => :'now'::timestamptz + interval '1 day');
SELECT set_config('credit_pools.test_clock', (:'now'::timestamptz + interval '25 hours')::text, false) IS NOT NULL AS later;
SELECT from_balance, to_balance FROM credit_pools.transfer_credits(customer_id => 'moved', credit_type_id => 'credits', amount => 63, from_resource_id => 'a', to_resource_id => 'd');
SELECT count(*) AS used_up FROM credit_pools.events WHERE customer_id = 'moved' AND type = 'credits.depleted';
