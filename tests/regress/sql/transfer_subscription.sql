-- transfer_subscription (contract section 5): a subscription goes to another resource of its customer, with its unused credits ('move') or without ('keep'). From then on the new pool is paid;
-- there is no second grant for a period that has been granted. Manual grants always stay.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'coins', scale => 0);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'carry');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'carry', credit_type_id => 'credits', amount => 100, rollover_max => 40);
SELECT FROM credit_pools.define_plan_credits(plan_id => 'carry', credit_type_id => 'coins', amount => 5, cadence => NULL, category => 'promotional', priority => 20);
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'carry');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 100);
SELECT r, status FROM (VALUES ('a', 'carry'), ('c', 'basic'), ('g', 'basic'), ('k', 'carry'), ('taken', 'basic')) v (r, p), LATERAL credit_pools.provision_subscription(customer_id => 'acme', plan_id => p, resource_id => r, subscription_id => 'sub-' || r) ORDER BY r;
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 10);

-- 'move', to a resource that is new: on 10 April a holds 10 bought, 25 of the 40 carried, 100 of the period and 5 coins. All but the 10 go over, with source, category, priority, start and end.
SET credit_pools.test_clock = '2026-04-10 00:00+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 15);
SELECT subscription_id, customer_id, resource_id, plan_id, status, starts_at, ends_at, is_duplicate FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'sub-a', to_resource_id => 'b', idempotency_key => 't-1');
SELECT * FROM pools_of('acme') WHERE resource IN ('a', 'b');
SELECT * FROM history_of('acme') WHERE resource = 'a' AND recorded_at = '2026-04-10 00:00' AND effective_at > '2026-04-02' OR resource = 'b';
SELECT n.credit_type_id, n.source, n.category, n.priority, n.amount, n.effective_at, n.expires_at, n.subscription_id, s.source AS from_source, s.resource_id AS from_resource, s.voided AS gone_over
  FROM credit_pools.grants n JOIN credit_pools.grants s ON s.customer_id = n.customer_id AND s.grant_id = n.source_grant_id WHERE n.customer_id = 'acme' AND n.resource_id = 'b' ORDER BY n.credit_type_id, n.amount;
-- Usage by feature goes with it; what stayed in a can still be used by credit type.
SELECT sqlstate, world FROM expect_error($$SELECT * FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'a', feature_id => 'run', value => 1)$$);
SELECT credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'b', feature_id => 'run', value => 1);
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'a', credit_type_id => 'credits', amount => 1);
-- The same key again.
SELECT world() AS before \gset
SELECT resource_id, is_duplicate FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'sub-a', to_resource_id => 'b', idempotency_key => 't-1');
SELECT world() = :'before' AS unchanged;

-- 'keep': the credits stay where they are until they expire; the new pool is first paid at the next boundary.
SELECT resource_id, status FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'sub-c', to_resource_id => 'd', credits => 'keep');
SELECT resource, balance FROM pools_of('acme') WHERE resource IN ('c', 'd');
SELECT resource_id, status FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'sub-k', to_resource_id => 'l', credits => 'keep');
SELECT resource, balance FROM pools_of('acme') WHERE resource IN ('k', 'l') AND type = 'credits';
-- To the global scope: to_resource_id NULL. A subscription that has used up its credits takes none along.
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'g', credit_type_id => 'credits', amount => 100);
SELECT subscription_id, resource_id, status FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'sub-g', to_resource_id => NULL);
SELECT resource, balance, granted FROM pools_of('acme') WHERE resource IN ('g', '(global)');

-- The next renewals pay the new pools and only them.
SET credit_pools.test_clock = '2026-05-01 00:00+00';
SELECT resource, type, balance FROM pools_of('acme') WHERE resource IN ('c', 'd', 'g', '(global)') OR resource IN ('a', 'b') AND type = 'coins';
SELECT balance FROM pools_of('acme') WHERE resource = 'a' AND type = 'credits';
SELECT FROM credit_pools.run_maintenance();
SELECT resource, seq, entry_type, amount, after, "grant", effective_at FROM history_of('acme') WHERE resource IN ('c', 'd', 'g', '(global)') AND seq > 1;

-- What was moved rolls over in the new pool as it would have in the old one (24 of the 25 carried are over, 40 of the 100 go on); what was kept behind does not.
SELECT resource, seq, entry_type, amount, after, "grant", effective_at FROM history_of('acme') WHERE resource = 'b' AND type = 'credits' AND seq > 3 OR resource IN ('k', 'l') AND type = 'credits' AND effective_at > '2026-04-02';
-- Back again: to a scope that the subscription has left. Its pools are still the same ones.
SELECT resource_id, status FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'sub-c', to_resource_id => 'c');
SELECT resource, balance FROM pools_of('acme') WHERE resource IN ('c', 'd');
SET credit_pools.test_clock = '2026-06-01 00:00+00';
SELECT resource, balance FROM pools_of('acme') WHERE resource IN ('c', 'd');

-- Before its start: only the subscription goes, and pays where it is then.
SELECT status FROM credit_pools.provision_subscription(customer_id => 'early', plan_id => 'basic', resource_id => 'x', subscription_id => 'early', starts_at => '2026-07-01 00:00+00');
SELECT resource_id, status FROM credit_pools.transfer_subscription(customer_id => 'early', subscription_id => 'early', to_resource_id => 'y');
SET credit_pools.test_clock = '2026-07-01 00:00+00';
SELECT resource, balance FROM pools_of('early');

-- The credits of earlier plans of the subscription go over, too; those of the plan that it has roll over there, those of the earlier one do not.
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT status FROM credit_pools.provision_subscription(customer_id => 'mix', plan_id => 'basic', resource_id => 'p', subscription_id => 'mix');
SET credit_pools.test_clock = '2026-03-11 00:00+00';
SELECT plan_id FROM credit_pools.provision_subscription(customer_id => 'mix', plan_id => 'carry', resource_id => 'p');
SET credit_pools.test_clock = '2026-03-12 00:00+00';
SELECT resource_id FROM credit_pools.transfer_subscription(customer_id => 'mix', subscription_id => 'mix', to_resource_id => 'q');
SET credit_pools.test_clock = '2026-04-01 00:00+00';
SELECT FROM credit_pools.run_maintenance();
SELECT resource, seq, entry_type, amount, after, "grant", effective_at FROM history_of('mix') WHERE type = 'credits' AND seq > 1;

-- Into a pool that owes: what comes in pays the debt first.
SELECT FROM credit_pools.open_pool(customer_id => 'mix', credit_type_id => 'credits', resource_id => 'owes', overdraft_limit => 70);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'mix', credit_type_id => 'credits', resource_id => 'owes', amount => 60);
SELECT resource_id FROM credit_pools.transfer_subscription(customer_id => 'mix', subscription_id => 'mix', to_resource_id => 'owes');
SELECT seq, entry_type, amount, after, "grant" FROM history_of('mix', 'owes') WHERE type = 'credits';
-- Out of a frozen pool nothing is transferred (PC005); without its credits the subscription may go.
SELECT status FROM credit_pools.set_pool(customer_id => 'mix', credit_type_id => 'credits', resource_id => 'owes', status => 'frozen');
SELECT sqlstate, world FROM expect_error($$SELECT * FROM credit_pools.transfer_subscription(customer_id => 'mix', subscription_id => 'mix', to_resource_id => 'q')$$);
SELECT resource_id FROM credit_pools.transfer_subscription(customer_id => 'mix', subscription_id => 'mix', to_resource_id => 'q', credits => 'keep');
SELECT resource, balance FROM pools_of('mix') WHERE type = 'credits';

SET credit_pools.test_clock = '2026-07-01 00:00+00';
-- What is refused: the same scope, one with a subscription, a subscription that has ended, one that is not known, another word for credits.
SELECT FROM credit_pools.cancel_subscription(customer_id => 'early', subscription_id => 'early');
SELECT n, sqlstate, figures ->> 'argument' AS argument, figures ->> 'kind' AS kind, world FROM (VALUES
    (1, $$SELECT * FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'sub-a', to_resource_id => 'b')$$),
    (2, $$SELECT * FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'sub-g', to_resource_id => NULL)$$),
    (3, $$SELECT * FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'sub-a', to_resource_id => 'taken')$$),
    (4, $$SELECT * FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'sub-a', to_resource_id => NULL)$$),
    (5, $$SELECT * FROM credit_pools.transfer_subscription(customer_id => 'early', subscription_id => 'early', to_resource_id => 'z')$$),
    (6, $$SELECT * FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'nowhere', to_resource_id => 'z')$$),
    (7, $$SELECT * FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'sub-a', to_resource_id => 'z', credits => 'burn')$$),
    (8, $$SELECT * FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'sub-a', to_resource_id => '')$$),
    (9, $$SELECT * FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'sub-a', to_resource_id => 'c', idempotency_key => 't-1')$$)
  ) s (n, statement), LATERAL expect_error(statement), LATERAL (SELECT f.figures FROM error_figures(statement) f) f ORDER BY n;
SELECT * FROM ledger_problems();
