-- cancel_subscription (contract section 5): at once or at a later instant; the plan's credits stay until they expire ('keep') or end with the subscription ('expire'). Manual grants always stay.
-- Nothing vanishes without a ledger row that says why.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'carry');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'carry', credit_type_id => 'credits', amount => 100, rollover_max => 40);
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'carry');
SELECT FROM credit_pools.define_plan(plan_id => 'lend');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'lend', credit_type_id => 'credits', amount => 100, overdraft_limit => 50);
SELECT r, status FROM (VALUES ('expire-later'), ('expire-now'), ('keep-later'), ('keep-now')) v (r), LATERAL credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'carry', resource_id => r, subscription_id => r) ORDER BY r;
SELECT r, balance FROM (VALUES ('expire-later'), ('expire-now'), ('keep-later'), ('keep-now')) v (r), LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 10) ORDER BY r;

-- On 10 April each pool holds 10 bought, 40 carried and 100 of the period. Two subscriptions end at once, two on 15 May.
SET credit_pools.test_clock = '2026-04-10 00:00+00';
SELECT resource, balance FROM pools_of('acme');
SELECT subscription_id, customer_id, resource_id, plan_id, status, starts_at, ends_at, is_duplicate FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'keep-now');
SELECT status, ends_at FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'expire-now', credits => 'expire');
SELECT status, ends_at FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'keep-later', at => '2026-05-15 00:00+00');
SELECT status, ends_at FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'expire-later', at => '2026-05-15 00:00+00', credits => 'expire');
SELECT subscription_id, status, ends_at, cancelled_at, end_credits FROM credit_pools.subscriptions WHERE customer_id = 'acme' ORDER BY subscription_id;
SELECT resource, balance FROM pools_of('acme');
-- No usage by feature where it has ended; what is left can be used by credit type.
SELECT r, sqlstate, world FROM (VALUES ('expire-now'), ('keep-now')) v (r), LATERAL expect_error(format($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => %L, feature_id => 'run', value => 1)$$, r)) ORDER BY r;
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'keep-now', credit_type_id => 'credits', amount => 1);
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'keep-later', feature_id => 'run', value => 1);
-- 'expire' at once: each of the plan's grants is cut with a row of amount 0 that says why, and expires.
SELECT l.seq, l.entry_type, l.amount, l.balance_after, g.source, g.effective_at AS "grant", l.reason = 'subscription cancelled' AS says_why, l.effective_at, l.recorded_at
  FROM credit_pools.ledger l LEFT JOIN credit_pools.grants g ON g.customer_id = l.customer_id AND g.grant_id = l.grant_id WHERE l.customer_id = 'acme' AND l.resource_id = 'expire-now' AND l.entry_type IN ('update', 'expire') AND l.effective_at > '2026-04-02' ORDER BY l.seq;

-- Until the end that was announced the subscription goes on: on 1 May it renews and carries. With 'expire' what it grants until then ends with it.
SET credit_pools.test_clock = '2026-05-01 00:00+00';
SELECT resource, balance FROM pools_of('acme');
SELECT resource, source, amount, available, effective_at, expires_at FROM periods_of('acme') WHERE status = 'active' AND source <> 'manual' AND resource ~ 'later' AND expires_at IS NOT NULL;
SET credit_pools.test_clock = '2026-05-15 00:00+00';
SELECT resource, balance FROM pools_of('acme');
SELECT sqlstate, world FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'keep-later', feature_id => 'run', value => 1)$$);
-- On 1 June what was kept is over, and neither renewed nor carried.
SET credit_pools.test_clock = '2026-06-01 00:00+00';
SELECT resource, balance FROM pools_of('acme');
SELECT FROM credit_pools.run_maintenance();
SELECT resource, seq, entry_type, amount, after, "grant", effective_at FROM history_of('acme') WHERE seq > 3 AND resource <> 'expire-now';

-- The scope is free for a new subscription, with periods of its own.
SELECT subscription_id, status, period_start, period_end, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'carry', resource_id => 'keep-now', subscription_id => 'again');
SELECT balance FROM pools_of('acme') WHERE resource = 'keep-now';

-- 'expire' with a later end, while grants go beyond it: they are cut at once, with a row of amount 0, and expire at the end.
SELECT status, ends_at FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'again', at => '2026-06-20 00:00+00', credits => 'expire', idempotency_key => 'cancel-1');
SELECT source, amount, available, expires_at FROM periods_of('acme', 'keep-now') WHERE status = 'active';
SELECT entry_type, amount, after, "grant", effective_at FROM history_of('acme', 'keep-now') WHERE seq > 11;
-- The same key again: the first result. Another end under the same key: PC004.
SELECT world() AS before \gset
SELECT status, ends_at, is_duplicate FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'again', at => '2026-06-20 00:00+00', credits => 'expire', idempotency_key => 'cancel-1');
SELECT world() = :'before' AS unchanged;
SELECT sqlstate, world FROM expect_error($$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'again', at => '2026-06-21 00:00+00', credits => 'expire', idempotency_key => 'cancel-1')$$);
-- Cancelling what is to end already: PC005, whether at the same instant, later or by default. An earlier end is accepted.
SELECT n, sqlstate, world FROM (VALUES
    (1, $$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'again', at => '2026-06-20 00:00+00', credits => 'expire')$$),
    (2, $$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'again', at => '2026-06-25 00:00+00')$$),
    (3, $$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'expire-now')$$),
    (4, $$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'keep-later')$$)
  ) s (n, statement), LATERAL expect_error(statement) ORDER BY n;
SELECT status, ends_at FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'again', at => '2026-06-10 00:00+00', credits => 'expire');
SET credit_pools.test_clock = '2026-06-10 00:00+00';
SELECT balance FROM pools_of('acme') WHERE resource = 'keep-now';

-- Before the start: nothing was granted, and nothing ever will be. The scope is free.
SELECT status FROM credit_pools.provision_subscription(customer_id => 'early', plan_id => 'carry', resource_id => 'ws', subscription_id => 'early', starts_at => '2026-07-01 00:00+00');
SELECT status FROM credit_pools.cancel_subscription(customer_id => 'early', subscription_id => 'early');
SET credit_pools.test_clock = '2026-07-10 00:00+00';
SELECT balance, granted FROM pools_of('early');
SELECT FROM credit_pools.run_maintenance();
SELECT seq, entry_type, amount FROM history_of('early');
SELECT status, period_start, period_end FROM credit_pools.provision_subscription(customer_id => 'early', plan_id => 'carry', resource_id => 'ws', subscription_id => 'second');

-- The plan's overdraft limit ends with the subscription, also where nobody comes by; the debt stays. A limit set by hand stays.
SELECT r, status FROM (VALUES ('by-hand'), ('later'), ('now')) v (r), LATERAL credit_pools.provision_subscription(customer_id => 'lend', plan_id => 'lend', resource_id => r, subscription_id => r) ORDER BY r;
SELECT r, balance FROM (VALUES ('by-hand'), ('later'), ('now')) v (r), LATERAL credit_pools.consume_credits(customer_id => 'lend', resource_id => r, credit_type_id => 'credits', amount => 120) ORDER BY r;
SELECT overdraft_limit FROM credit_pools.set_pool(customer_id => 'lend', resource_id => 'by-hand', credit_type_id => 'credits', overdraft_limit => 60);
SELECT r, status FROM (VALUES ('by-hand', NULL), ('later', '2026-07-20 00:00+00'::timestamptz), ('now', NULL)) v (r, t), LATERAL credit_pools.cancel_subscription(customer_id => 'lend', subscription_id => r, at => t) ORDER BY r;
SELECT resource, balance, debt, overdraft FROM pools_of('lend');
SET credit_pools.test_clock = '2026-07-20 00:00+00';
SELECT sqlstate, figures FROM error_figures($$SELECT * FROM credit_pools.consume_credits(customer_id => 'lend', resource_id => 'later', credit_type_id => 'credits', amount => 1)$$);
SELECT resource, balance, debt, overdraft FROM pools_of('lend');

-- 'expire' ends all of the subscription's credits: those of a plan that it had before, and those that stayed behind when it moved. It needs no clock that never steps back.
SELECT status FROM credit_pools.provision_subscription(customer_id => 'left', plan_id => 'carry', resource_id => 'one', subscription_id => 'left');
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'left', plan_id => 'lend', resource_id => 'one');
SELECT resource_id FROM credit_pools.transfer_subscription(customer_id => 'left', subscription_id => 'left', to_resource_id => 'two', credits => 'keep');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'left', resource_id => 'one', credit_type_id => 'credits', amount => 3);
SET credit_pools.test_clock = '2026-07-19 23:59:58+00';
SELECT status FROM credit_pools.cancel_subscription(customer_id => 'left', subscription_id => 'left', credits => 'expire');
SELECT resource, balance FROM pools_of('left');
SET credit_pools.test_clock = '2026-07-20 00:00+00';

-- Bad input.
SELECT n, sqlstate, figures ->> 'argument' AS argument, figures ->> 'kind' AS kind, world FROM (VALUES
    (1, $$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'early', subscription_id => 'second', at => '2026-07-19 00:00+00')$$),
    (2, $$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'early', subscription_id => 'second', credits => 'burn')$$),
    (3, $$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'early', subscription_id => 'nowhere')$$),
    (4, $$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'nobody', subscription_id => 'second')$$),
    (5, $$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'second')$$),
    (6, $$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'early', subscription_id => 'second', at => 'infinity')$$),
    (7, $$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'early', subscription_id => NULL)$$)
  ) s (n, statement), LATERAL expect_error(statement), LATERAL (SELECT f.figures FROM error_figures(statement) f) f ORDER BY n;
-- An end that is not before the one agreed on.
SELECT status FROM credit_pools.provision_subscription(customer_id => 'early', plan_id => 'carry', resource_id => 'ends', subscription_id => 'ends', ends_at => '2026-08-01 00:00+00');
SELECT sqlstate, figures ->> 'argument' AS argument FROM error_figures($$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'early', subscription_id => 'ends', at => '2026-08-01 00:00+00')$$);
SELECT * FROM ledger_problems();
