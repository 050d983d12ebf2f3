-- Events of auto-recharge (contract section 6): requested, succeeded, failed, the breaker, skipped (once per episode), limits of spending and count (80, 90, 100 percent), policies.
-- They come behind what the call did to the pool's credits and balance.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
\set events :abs_srcdir '/include/events.sql'
\i :events
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
-- A policy of all pools: no pool, no balance, no resource. The same again changes nothing; another value does, also one that the event does not show.
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 150);
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 100, target_balance => 500, price_per_credit => 0.01, price_currency => 'EUR');
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 100, target_balance => 500, price_per_credit => 0.01, price_currency => 'EUR');
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 100, target_balance => 500, price_per_credit => 0.01, price_currency => 'EUR', cooldown => '0', max_failures => 3, enabled => true);
SELECT * FROM news_of('acme');
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 100, target_balance => 500, price_per_credit => 0.01, price_currency => 'EUR', backoff => '2 minutes');
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 50, recharge_amount => 10, price_per_credit => 0.01, price_currency => 'EUR', max_spend => 20, max_count => 7, resource_id => 'ws');
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 50, recharge_amount => 10, enabled => false, resource_id => 'ws');
SELECT * FROM news_of('acme');
-- On payment: asked for once, also while it is in flight; granted when it is paid; once.
SELECT FROM credit_pools.open_pool(customer_id => 'globex', resource_id => 'a', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'globex', resource_id => 'a', credit_type_id => 'credits', amount => 150);
SELECT FROM credit_pools.open_pool(customer_id => 'globex', resource_id => 'b', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'globex', resource_id => 'b', credit_type_id => 'credits', amount => 150);
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'globex', credit_type_id => 'credits', threshold => 100, target_balance => 500, price_per_credit => 0.01, price_currency => 'EUR');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'globex', resource_id => 'a', credit_type_id => 'credits', amount => 60);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'globex', resource_id => 'a', credit_type_id => 'credits', amount => 10);
SELECT amount FROM credit_pools.claim_recharges(worker => 'payer', max_count => 10);
SET credit_pools.test_clock = '2026-03-01 00:05+00';
SELECT status, balance FROM credit_pools.complete_recharge(customer_id => 'globex', recharge_id => recharge_id('globex', 'a'), payment_reference => 'pay-1');
SELECT status, balance FROM credit_pools.complete_recharge(customer_id => 'globex', recharge_id => recharge_id('globex', 'a'), payment_reference => 'pay-1');
SELECT * FROM news_of('globex', 'a');
-- Failed: every attempt, with the next one's instant; the last one opens the breaker. While that is open, one skip for all evaluations. Closed by reset_auto_recharge, which is no change of the policy; a permanent failure opens it at once.
SELECT balance FROM credit_pools.consume_credits(customer_id => 'globex', resource_id => 'b', credit_type_id => 'credits', amount => 100);
SELECT status, attempts FROM credit_pools.fail_recharge(customer_id => 'globex', recharge_id => recharge_id('globex', 'b'), reason => 'card declined');
SELECT status, attempts FROM credit_pools.fail_recharge(customer_id => 'globex', recharge_id => recharge_id('globex', 'b'), reason => 'card declined');
SELECT status, attempts FROM credit_pools.fail_recharge(customer_id => 'globex', recharge_id => recharge_id('globex', 'b'), reason => 'card declined');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'globex', resource_id => 'b', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'globex', resource_id => 'b', credit_type_id => 'credits', amount => 1);
SELECT recharges_requested FROM credit_pools.reset_auto_recharge(customer_id => 'globex', credit_type_id => 'credits');
SELECT status, attempts FROM credit_pools.fail_recharge(customer_id => 'globex', recharge_id => recharge_id('globex', 'b'), reason => 'card stolen', permanent => true);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'globex', resource_id => 'b', credit_type_id => 'credits', amount => 1);
SELECT * FROM news_of('globex', 'b');
SELECT event, time, created_at, data FROM news_of('globex', '');
-- Skips: a row and an event per episode, whatever the number of evaluations. Another decision ends the episode. A frozen pool says nothing.
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.open_pool(customer_id => 'skips', resource_id => 'off', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'skips', resource_id => 'off', credit_type_id => 'credits', amount => 100, reason => 'off');
SELECT FROM credit_pools.open_pool(customer_id => 'skips', resource_id => 'flight', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'skips', resource_id => 'flight', credit_type_id => 'credits', amount => 100, reason => 'flight');
SELECT FROM credit_pools.open_pool(customer_id => 'skips', resource_id => 'frozen', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'skips', resource_id => 'frozen', credit_type_id => 'credits', amount => 100, reason => 'frozen');
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'skips', credit_type_id => 'credits', threshold => 100, target_balance => 500, enabled => false);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'skips', resource_id => 'off', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'skips', resource_id => 'off', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'skips', resource_id => 'off', credit_type_id => 'credits', amount => 1);
SELECT * FROM news_of('skips', 'off');
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'skips', credit_type_id => 'credits', threshold => 100, recharge_amount => 1, resource_id => 'flight');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'skips', resource_id => 'flight', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'skips', resource_id => 'flight', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'skips', resource_id => 'flight', credit_type_id => 'credits', amount => 1);
SELECT status, balance FROM credit_pools.complete_recharge(customer_id => 'skips', recharge_id => recharge_id('skips', 'flight'));
SELECT balance FROM credit_pools.consume_credits(customer_id => 'skips', resource_id => 'flight', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'skips', resource_id => 'flight', credit_type_id => 'credits', amount => 1);
SELECT * FROM news_of('skips', 'flight');
SELECT status FROM credit_pools.set_pool(customer_id => 'skips', credit_type_id => 'credits', resource_id => 'frozen', status => 'frozen');
SELECT voided, balance FROM credit_pools.void_grant(customer_id => 'skips', grant_id => grant_id('skips', 'frozen'), amount => 10);
SELECT * FROM news_of('skips', 'frozen');
-- A pool that opens empty under a policy that is switched off has its skip at once; filled, and low again: the same episode, since nothing else was decided.
SELECT FROM credit_pools.open_pool(customer_id => 'skips', resource_id => 'late', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'skips', resource_id => 'late', credit_type_id => 'credits', amount => 100);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'skips', resource_id => 'late', credit_type_id => 'credits', amount => 1);
SELECT * FROM news_of('skips', 'late');
-- Low when the policy is set: first the policy, then what it asks for. Low when the pool opens with its plan's credits: behind these.
SELECT FROM credit_pools.define_plan(plan_id => 'small');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'small', credit_type_id => 'credits', amount => 50, cadence => NULL);
SELECT FROM credit_pools.open_pool(customer_id => 'low', resource_id => 'ws', credit_type_id => 'credits');
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'low', credit_type_id => 'credits', threshold => 100, target_balance => 200);
SELECT FROM credit_pools.provision_subscription(customer_id => 'low', plan_id => 'small', resource_id => 'new', subscription_id => 'sub-1');
SELECT * FROM news_of('low') WHERE event NOT LIKE 'subscription.%';
-- Immediately: the usage, that it made the pool low (and empty), and only then the recharge that lifts it in the same call. So the alert is armed again.
SELECT FROM credit_pools.open_pool(customer_id => 'now', resource_id => 'ws', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'now', resource_id => 'ws', credit_type_id => 'credits', amount => 150);
SELECT pools_covered FROM credit_pools.set_balance_alerts(customer_id => 'now', credit_type_id => 'credits', thresholds => '{100,20}');
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'now', credit_type_id => 'credits', threshold => 100, target_balance => 200, settlement => 'immediate', price_per_credit => 0.01, price_currency => 'EUR');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'now', resource_id => 'ws', credit_type_id => 'credits', amount => 60);
SELECT * FROM news_of('now');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'now', resource_id => 'ws', credit_type_id => 'credits', amount => 200);
SELECT * FROM news_of('now');
-- By the clock: what ended, at its instant; the recharge, when it is asked for. What is due when a recharge is paid comes first, and may ask for the next one.
SELECT FROM credit_pools.open_pool(customer_id => 'clock', resource_id => 'due', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'clock', resource_id => 'due', credit_type_id => 'credits', amount => 150, expires_at => '2026-03-05 00:00+00');
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'clock', credit_type_id => 'credits', threshold => 100, target_balance => 200);
SET credit_pools.test_clock = '2026-03-06 00:00+00';
SELECT credits_consumed FROM credit_pools.consume_credits(customer_id => 'clock', resource_id => 'due', credit_type_id => 'credits', amount => 1, on_insufficient => 'cap');
SELECT * FROM news_of('clock', 'due');
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.open_pool(customer_id => 'both', resource_id => 'ws', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'both', resource_id => 'ws', credit_type_id => 'credits', amount => 90, expires_at => '2026-03-05 00:00+00');
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'both', credit_type_id => 'credits', threshold => 100, recharge_amount => 10);
SET credit_pools.test_clock = '2026-03-06 00:00+00';
SELECT status, balance FROM credit_pools.complete_recharge(customer_id => 'both', recharge_id => recharge_id('both', 'ws'));
SELECT * FROM news_of('both');
-- Spending: 100 EUR a month, one a credit, for six pools of 100. Each mark when it is reached, once: 79 none, 81, 90 exactly, 93 none, 100 (cut to what is left). Then nothing is left, and nothing is reached.
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM generate_series(1, 6) r, LATERAL credit_pools.open_pool(customer_id => 'spend', resource_id => 'p' || r, credit_type_id => 'credits');
SELECT FROM generate_series(1, 6) r, LATERAL credit_pools.grant_credits(customer_id => 'spend', resource_id => 'p' || r, credit_type_id => 'credits', amount => 100);
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'spend', credit_type_id => 'credits', threshold => 99, target_balance => 100, price_per_credit => 1, price_currency => 'EUR', max_spend => 100);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'spend', resource_id => 'p1', credit_type_id => 'credits', amount => 79);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'spend', resource_id => 'p2', credit_type_id => 'credits', amount => 2);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'spend', resource_id => 'p3', credit_type_id => 'credits', amount => 9);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'spend', resource_id => 'p4', credit_type_id => 'credits', amount => 3);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'spend', resource_id => 'p5', credit_type_id => 'credits', amount => 50);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'spend', resource_id => 'p6', credit_type_id => 'credits', amount => 5);
SELECT * FROM news_of('spend') WHERE event LIKE 'recharge.%' AND event <> 'recharge.policy_changed';
-- Several marks at once: 95 reaches two; 100 three. A new month counts from zero.
SELECT FROM generate_series(1, 3) r, LATERAL credit_pools.open_pool(customer_id => 'jump', resource_id => 'p' || r, credit_type_id => 'credits');
SELECT FROM generate_series(1, 3) r, LATERAL credit_pools.grant_credits(customer_id => 'jump', resource_id => 'p' || r, credit_type_id => 'credits', amount => 100);
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'jump', credit_type_id => 'credits', threshold => 99, target_balance => 100, price_per_credit => 1, price_currency => 'EUR', max_spend => 100);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'jump', resource_id => 'p1', credit_type_id => 'credits', amount => 95);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'jump', resource_id => 'p2', credit_type_id => 'credits', amount => 20);
SELECT * FROM news_of('jump') WHERE event LIKE 'recharge.%' AND event <> 'recharge.policy_changed';
SET credit_pools.test_clock = '2026-04-01 00:00+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'jump', resource_id => 'p3', credit_type_id => 'credits', amount => 100);
SELECT * FROM news_of('jump') WHERE event LIKE 'recharge.%' AND event <> 'recharge.policy_changed';
-- A payment that failed gives the money back: what is reached again is said again. An attempt that is only put off gives nothing back.
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM generate_series(1, 4) r, LATERAL credit_pools.open_pool(customer_id => 'again', resource_id => 'p' || r, credit_type_id => 'credits');
SELECT FROM generate_series(1, 4) r, LATERAL credit_pools.grant_credits(customer_id => 'again', resource_id => 'p' || r, credit_type_id => 'credits', amount => 100);
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'again', credit_type_id => 'credits', threshold => 99, target_balance => 100, price_per_credit => 1, price_currency => 'EUR', max_spend => 100);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'again', resource_id => 'p1', credit_type_id => 'credits', amount => 85);
SELECT status, attempts FROM credit_pools.fail_recharge(customer_id => 'again', recharge_id => recharge_id('again', 'p1'), reason => 'card declined');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'again', resource_id => 'p2', credit_type_id => 'credits', amount => 6);
SELECT status, attempts FROM credit_pools.fail_recharge(customer_id => 'again', recharge_id => recharge_id('again', 'p1'), reason => 'card declined', permanent => true);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'again', resource_id => 'p3', credit_type_id => 'credits', amount => 75);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'again', resource_id => 'p4', credit_type_id => 'credits', amount => 20);
SELECT * FROM news_of('again') WHERE event LIKE 'recharge.%' AND event <> 'recharge.policy_changed';
-- Of a pool's own policy.
SELECT FROM generate_series(1, 2) r, LATERAL credit_pools.open_pool(customer_id => 'own', resource_id => 'p' || r, credit_type_id => 'credits');
SELECT FROM generate_series(1, 2) r, LATERAL credit_pools.grant_credits(customer_id => 'own', resource_id => 'p' || r, credit_type_id => 'credits', amount => 100);
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'own', credit_type_id => 'credits', threshold => 99, target_balance => 100);
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'own', credit_type_id => 'credits', resource_id => 'p2', threshold => 99, target_balance => 100, price_per_credit => 1, price_currency => 'EUR', max_spend => 100);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'own', resource_id => 'p1', credit_type_id => 'credits', amount => 90);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'own', resource_id => 'p2', credit_type_id => 'credits', amount => 90);
SELECT * FROM news_of('own') WHERE event LIKE 'recharge.%' AND event <> 'recharge.policy_changed';
-- Count: three a month. 1 and 2 are 33 and 67 percent, the third is all marks at once. Settled at once: behind its request, before its grant, which the next usage uses up.
SELECT FROM credit_pools.open_pool(customer_id => 'count', resource_id => 'ws', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'count', resource_id => 'ws', credit_type_id => 'credits', amount => 100);
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'count', credit_type_id => 'credits', threshold => 100, recharge_amount => 1, settlement => 'immediate', max_count => 3, spend_period => '1 day');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'count', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'count', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'count', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'count', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT * FROM news_of('count');
-- Ten a month, settled at once: 8, 9 and 10.
SELECT FROM credit_pools.open_pool(customer_id => 'ten', resource_id => 'ws', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'ten', resource_id => 'ws', credit_type_id => 'credits', amount => 100);
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'ten', credit_type_id => 'credits', threshold => 100, recharge_amount => 1, settlement => 'immediate', max_count => 10);
SELECT n, balance FROM generate_series(1, 11) n, LATERAL credit_pools.consume_credits(customer_id => 'ten', resource_id => 'ws', credit_type_id => 'credits', amount => 1, metadata => jsonb_build_object('n', n)) ORDER BY n;
SELECT * FROM news_of('ten') WHERE event = 'recharge.limit_reached';
SELECT * FROM event_problems();
SELECT * FROM ledger_problems();
