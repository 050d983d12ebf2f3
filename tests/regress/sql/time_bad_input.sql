-- Bad input about time: each call is refused with the right SQLSTATE and names what is wrong, and nothing has changed.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_feature(feature_id => 'seat');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.define_plan(plan_id => 'seats');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'seats', credit_type_id => 'credits', amount => 10, quantity_feature_id => 'seat');
SELECT r, status FROM (VALUES ('gone'), ('taken'), ('ws')) v (r), LATERAL credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => r, subscription_id => r) ORDER BY r;
SELECT status FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'gone');

-- define_plan_credits: intervals of zero, negative, of mixed sign, a cadence under an hour; rollover of once-only credits, and out of range.
SELECT a, e.sqlstate, e.message, e.detail_keys, f.figures ->> 'argument' AS argument, e.world FROM (VALUES
    (1, $$cadence => '0'$$), (2, $$cadence => '-1 month'$$), (3, $$cadence => '1 month -1 day'$$), (4, $$cadence => '59 minutes 59 seconds'$$), (5, $$cadence => '1 day -1 hour'$$), (6, $$cadence => '-1 day 25 hours'$$),
    (7, $$expires_after => '0'$$), (8, $$expires_after => '-1 day'$$), (9, $$expires_after => '1 month -1 day'$$),
    (10, $$cadence => NULL, rollover_max => 1$$), (11, $$rollover_max => -1$$), (12, $$rollover_percent => -1$$), (13, $$rollover_percent => 101$$), (14, $$rollover_periods => 0$$), (15, $$rollover_periods => -1$$),
    (16, $$overdraft_limit => -1$$), (17, $$rollover_max => 'NaN'$$), (18, $$quantity_feature_id => 'nowhere'$$)
  ) v (n, a), LATERAL (SELECT format($q$SELECT * FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', entry_id => 'new', amount => 1, %s)$q$, a)) s (statement),
    LATERAL expect_error(statement) e, LATERAL error_figures(statement) f ORDER BY n;
-- An hour is enough. (Undone.)
BEGIN;
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', entry_id => 'new', amount => 1, cadence => '1 hour', rollover_max => 5);
ROLLBACK;

-- provision_subscription: unknown time zones, an end that is not after the start, an end that has passed, instants without end, quantities below zero, a second subscription.
SELECT a, e.sqlstate, e.message, e.detail_keys, f.figures ->> 'argument' AS argument, e.world FROM (VALUES
    (1, $$time_zone => 'Mars/Olympus'$$), (2, $$time_zone => ''$$), (3, $$starts_at => '2026-04-02 00:00+00', ends_at => '2026-04-01 00:00+00'$$), (4, $$starts_at => '2026-04-02 00:00+00', ends_at => '2026-04-02 00:00+00'$$),
    (5, $$starts_at => '2026-01-02 00:00+00', ends_at => '2026-02-02 00:00+00'$$), (6, $$ends_at => '2026-03-01 00:00+00'$$), (7, $$starts_at => 'infinity'$$), (8, $$starts_at => '-infinity'$$), (9, $$ends_at => '-infinity'$$),
    (10, $$quantities => '{"seat": -1}'$$), (11, $$quantities => '{"seat": null}'$$), (12, $$resource_id => 'ws', subscription_id => 'other'$$)
  ) v (n, a), LATERAL (SELECT format($q$SELECT * FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'seats', %s%s)$q$, CASE WHEN a ~ 'resource_id' THEN '' ELSE 'resource_id => ''new'', ' END, a)) s (statement),
    LATERAL expect_error(statement) e, LATERAL error_figures(statement) f ORDER BY n;

-- cancel_subscription, transfer_subscription, set_quantity: what has ended, is unknown or taken; with the whole message.
SELECT n, e.sqlstate, e.message, e.detail_keys, e.hint, e.world FROM (VALUES
    (1, $$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'gone')$$),
    (2, $$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'ws', at => '2026-02-28 00:00+00')$$),
    (3, $$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'nowhere')$$),
    (4, $$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'ws', credits => 'burn')$$),
    (5, $$SELECT * FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'ws', to_resource_id => 'taken')$$),
    (6, $$SELECT * FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'ws', to_resource_id => 'ws')$$),
    (7, $$SELECT * FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'gone', to_resource_id => 'new')$$),
    (8, $$SELECT * FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'ws', to_resource_id => 'new', credits => 'burn')$$),
    (9, $$SELECT * FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'ws', feature_id => 'seat', quantity => -1)$$),
    (10, $$SELECT * FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'ws', feature_id => 'nowhere', quantity => 1)$$),
    (11, $$SELECT * FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'gone', feature_id => 'seat', quantity => 1)$$),
    (12, $$SELECT * FROM credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'nowhere')$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
-- A read-only transaction: 25006 from each of the new calls that writes.
BEGIN READ ONLY;
SELECT n, e.sqlstate, e.world FROM (VALUES
    (1, $$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 'ws')$$),
    (2, $$SELECT * FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 'ws', to_resource_id => 'new')$$),
    (3, $$SELECT * FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 'ws', feature_id => 'seat', quantity => 1)$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
COMMIT;
SELECT * FROM pools_of('acme');
SELECT * FROM ledger_problems();
