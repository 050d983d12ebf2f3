-- reverse_usage (contract sections 5, 10): back to the source grants, last drawn first, never above what was drawn; what belongs to a grant that is no longer active is booked back and expired at once.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits');
SELECT FROM (VALUES (100, 1, 'A'), (50, 2, 'B'), (30, 3, 'C')) g (amount, priority, reason), LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => g.amount, priority => g.priority, reason => g.reason);
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 165);
-- In part: C gives its 15 first, then B, which is used up no more.
SET credit_pools.test_clock = '2026-03-01 00:30+00';
SELECT usage_id = usage_id('acme', 1) AS its_id, credits_returned, reversed, balance, is_duplicate FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 1), credits => 40, reason => 'refund');
SELECT * FROM held_of('acme');
-- Repeated: it goes on where it stopped.
SELECT credits_returned, reversed, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 1), credits => 60.5);
-- More than is left is refused, and DETAIL says what is left. All that is left; then nothing, with success.
SELECT * FROM refused($$SELECT * FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 1), credits => 64.51)$$);
SELECT credits_returned, reversed, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 1));
SELECT world() AS before \gset
SELECT credits_returned, reversed, balance, is_duplicate FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 1));
SELECT world() = :'before' AS unchanged;
SELECT * FROM refused($$SELECT * FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 1), credits => 1)$$);
SELECT * FROM rows_of('acme', 'ws', 4);
SELECT seq, reason FROM credit_pools.ledger WHERE entry_type = 'reverse' ORDER BY seq LIMIT 3;
SELECT credits, reversed FROM credit_pools.usage_events WHERE customer_id = 'acme';
SELECT resource, balance, granted, consumed FROM pools_of('acme');
-- It can be used again, in the same order.
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 110);
SELECT "grant", available, status FROM held_of('acme');

-- A grant that has ended: what comes back expires at once, and counts as returned. What is due is booked first.
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'ended', credit_type_id => 'credits');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ended', credit_type_id => 'credits', amount => 50, expires_at => '2026-03-01 02:00+00', reason => 'E');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ended', credit_type_id => 'credits', amount => 40, priority => 60, expires_at => '2026-03-01 02:00+00', reason => 'F');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ended', credit_type_id => 'credits', amount => 100, priority => 70, reason => 'G');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ended', credit_type_id => 'credits', amount => 60);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ended', credit_type_id => 'credits', amount => 35);
SET credit_pools.test_clock = '2026-03-01 03:00+00';
SELECT credits_returned, reversed, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 4), credits => 20);
SELECT credits_returned, reversed, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 3), credits => 12);
SELECT * FROM rows_of('acme', 'ended', 7);
SELECT * FROM held_of('acme', 'ended');
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'due', credit_type_id => 'credits');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'due', credit_type_id => 'credits', amount => 50, expires_at => '2026-03-01 04:00+00', reason => 'D');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'due', credit_type_id => 'credits', amount => 20);
SET credit_pools.test_clock = '2026-03-01 05:00+00';
SELECT credits_returned, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 5));
SELECT * FROM rows_of('acme', 'due', 2);
-- A voided grant, and one that was used up before its end and comes back before it.
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'void', credit_type_id => 'credits');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'void', credit_type_id => 'credits', amount => 100, reason => 'V');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'void', credit_type_id => 'credits', amount => 10, reason => 'W', priority => 60, expires_at => '2026-03-01 06:00+00');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'void', credit_type_id => 'credits', amount => 60);
SELECT status, balance FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'V'));
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'void', credit_type_id => 'credits', amount => 10);
SELECT credits_returned, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 6), credits => 15);
SELECT credits_returned, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 7));
SELECT * FROM held_of('acme', 'void');
SELECT entry_type, amount, "grant" FROM rows_of('acme', 'void', 6);
SET credit_pools.test_clock = '2026-03-01 06:00+00';
SELECT resource, balance, expired FROM pools_of('acme') WHERE resource = 'void';

-- What is only for one feature goes back to it.
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 2, plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', resource_id => 'own', plan_id => 'basic');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'own', credit_type_id => 'credits', amount => 10, reason => 'A');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'own', credit_type_id => 'credits', amount => 30, feature_ids => '{run}', reason => 'R');
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'own', feature_id => 'run', value => 17);
SELECT credits_returned, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 8), credits => 14);
SELECT resource, balance, restricted FROM pools_of('acme') WHERE resource = 'own';
SELECT feature, value, credits, rate FROM usage_of('acme') WHERE resource = 'own';
-- A settlement of a hold is a usage like any other.
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', reservation_id => 'h', resource_id => 'own', feature_id => 'run', value => 8);
SELECT credits_consumed, balance FROM credit_pools.settle_reservation(customer_id => 'acme', reservation_id => 'h', value => 9);
SELECT credits_returned, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 9), credits => 10);
SELECT "grant", sum(amount) FROM rows_of('acme', 'own') WHERE entry_type = 'reverse' AND usage = 'u9' GROUP BY 1 ORDER BY 1;
-- A usage of nothing: success with nothing. A capped one: what it took. A frozen pool takes back, too.
SELECT credits_consumed, shortfall, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'own', credit_type_id => 'credits', amount => 20, on_insufficient => 'cap');
SELECT credits_consumed, shortfall FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'void', credit_type_id => 'credits', amount => 20, on_insufficient => 'cap');
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'own', credit_type_id => 'credits', status => 'frozen');
SELECT credits_returned, reversed, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 10));
SELECT credits_returned, reversed, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 11));
-- With a key: the first result again, before any other check.
SELECT credits_returned, reversed, balance, is_duplicate FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 2), credits => 10, reason => 'r', idempotency_key => 'k');
SELECT credits_returned, reversed, balance FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 2), idempotency_key => 'k-2');
SELECT world() AS before \gset
SELECT credits_returned, reversed, balance, is_duplicate FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 2), credits => 10.0, reason => 'r', idempotency_key => 'k');
SELECT credits_returned, reversed, balance, is_duplicate FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => usage_id('acme', 2), idempotency_key => 'k-2');
SELECT world() = :'before' AS unchanged;
SELECT entry_type, idempotency_key, sum(amount) FROM credit_pools.ledger WHERE idempotency_key IN ('k', 'k-2') GROUP BY 1, 2 ORDER BY 2;
SELECT FROM credit_pools.open_pool(customer_id => 'globex', resource_id => 'ws', credit_type_id => 'credits');
SELECT n, r.* FROM (VALUES
    (1, $$customer_id => 'acme', usage_id => usage_id('acme', 2), credits => 11, reason => 'r', idempotency_key => 'k'$$),
    (2, $$customer_id => 'acme', usage_id => usage_id('acme', 3), credits => 10, reason => 'r', idempotency_key => 'k'$$),
    (3, $$customer_id => 'acme', usage_id => -1, credits => 10, reason => 'r', idempotency_key => 'k'$$),
    (4, $$customer_id => 'acme', usage_id => -1$$),
    (5, $$customer_id => 'acme', usage_id => NULL$$),
    (6, $$customer_id => 'acme', usage_id => usage_id('acme', 3), credits => 0$$),
    (7, $$customer_id => 'acme', usage_id => usage_id('acme', 3), credits => -1$$),
    (8, $$customer_id => 'acme', usage_id => usage_id('acme', 3), credits => 'NaN'$$),
    (9, $$customer_id => 'acme', usage_id => usage_id('acme', 3), credits => 0.001$$),
    (10, $$customer_id => 'acme', usage_id => usage_id('acme', 3), credits => 1, idempotency_key => ''$$),
    (11, $$customer_id => NULL, usage_id => usage_id('acme', 3)$$)
  ) v (n, arguments), LATERAL refused(format('SELECT * FROM credit_pools.reverse_usage(%s)', arguments)) r ORDER BY n;
-- Another customer's usage is unknown.
SELECT sqlstate, figures ->> 'kind' AS kind, world FROM refused($$SELECT * FROM credit_pools.reverse_usage(customer_id => 'globex', usage_id => usage_id('acme', 3))$$);
SELECT * FROM ledger_problems();
