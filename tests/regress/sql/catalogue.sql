-- The catalogue (contract section 3): idempotent upserts; calling again with the same values changes nothing.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';

-- The first call makes it, the second finds it as it is, the third changes something. Each gives one row that says so.
SELECT credit_type_id, changed FROM credit_pools.define_credit_type(credit_type_id => 'credits', display_name => 'Credits', scale => 2, symbol => 'cr',
    unit_singular => 'credit', unit_plural => 'credits', metadata => '{"colour": "blue"}');
SELECT world() AS before \gset
SELECT credit_type_id, changed FROM credit_pools.define_credit_type(credit_type_id => 'credits', display_name => 'Credits', scale => 2, symbol => 'cr',
    unit_singular => 'credit', unit_plural => 'credits', metadata => '{"colour": "blue"}');
SELECT world() = :'before' AS unchanged;
SELECT credit_type_id, changed FROM credit_pools.define_credit_type(credit_type_id => 'credits', display_name => 'Credit points');
SELECT world() = :'before' AS unchanged;
-- What a redefinition leaves out stays: the scale is still 2 (see below), and this changes nothing.
SELECT credit_type_id, changed FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);

SELECT feature_id, changed FROM credit_pools.define_feature(feature_id => 'run', display_name => 'Run', unit => 'run', metadata => '{}');
SELECT feature_id, changed FROM credit_pools.define_feature(feature_id => 'run', display_name => 'Run', unit => 'run', metadata => '{}');
SELECT feature_id, changed FROM credit_pools.define_feature(feature_id => 'run', unit => 'job');

SELECT plan_id, changed FROM credit_pools.define_plan(plan_id => 'basic', display_name => 'Basic', metadata => '{"tier": 1}');
SELECT plan_id, changed FROM credit_pools.define_plan(plan_id => 'basic', display_name => 'Basic', metadata => '{"tier": 1}');
SELECT plan_id, changed FROM credit_pools.define_plan(plan_id => 'basic', metadata => '{"tier": 2}');

-- A plan may hold several entries for one credit type, told apart by entry_id.
SELECT plan_id, credit_type_id, entry_id, changed FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 100);
SELECT plan_id, credit_type_id, entry_id, changed FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', entry_id => 'default', amount => 100,
    cadence => '1 month', rollover_max => 0, rollover_percent => 100, rollover_periods => 1, overdraft_limit => 0);
SELECT plan_id, credit_type_id, entry_id, changed FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', entry_id => 'welcome', amount => 25.50,
    cadence => NULL, priority => 10, category => 'promotional', expires_after => '90 days');
SELECT plan_id, credit_type_id, entry_id, changed FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 120);

SELECT feature_id, credit_type_id, changed FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'basic');
SELECT world() AS before \gset
SELECT feature_id, credit_type_id, changed FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1.00, plan_id => 'basic');
SELECT world() = :'before' AS unchanged;
SELECT feature_id, credit_type_id, changed FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 2, plan_id => 'basic', effective_at => '2026-04-01 00:00+00');
SELECT feature_id, credit_type_id, changed FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 2, plan_id => 'basic', effective_at => '2026-04-01 00:00+00');

-- The plan as one subscribes to it: both entries grant, the repeated one at its latest amount; the one without a cadence has its own end.
SELECT status, period_start, period_end FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws');
SELECT category, priority, amount, expires_at FROM grants_of('acme') ORDER BY priority;

-- Scale rules. The default is 6 decimal places; 0 to 18 are allowed.
SELECT credit_type_id, changed FROM credit_pools.define_credit_type(credit_type_id => 'fine');
SELECT credit_type_id, changed FROM credit_pools.define_credit_type(credit_type_id => 'finest', scale => 18);
SELECT credit_type_id, changed FROM credit_pools.define_credit_type(credit_type_id => 'whole', scale => 0);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.define_credit_type(credit_type_id => 'x', scale => 19)$$);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.define_credit_type(credit_type_id => 'x', scale => -1)$$);
-- An amount has at most the scale's decimals; zeros at the end are none.
SELECT amount, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'fine', amount => 0.000001);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'fine', amount => 0.0000001)$$);
SELECT amount, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'finest', amount => 0.000000000000000001);
SELECT amount, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'finest', amount => 123456789012345678.123456789012345678);
SELECT amount, balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'whole', amount => 7.000);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'whole', amount => 7.5)$$);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1.005)$$);
SELECT * FROM expect_error($$SELECT * FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'whole', amount => 0.5)$$);

-- An archived credit type takes no new grants; its pools stay usable.
SELECT credit_type_id, changed FROM credit_pools.archive_credit_type(credit_type_id => 'whole');
SELECT credit_type_id, changed FROM credit_pools.archive_credit_type(credit_type_id => 'whole');
SELECT * FROM expect_error($$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'whole', amount => 1)$$);
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'whole', amount => 3);

-- What the catalogue refuses.
SELECT n, e.* FROM (VALUES
    (1, $$SELECT * FROM credit_pools.archive_credit_type(credit_type_id => 'nowhere')$$),
    (2, $$SELECT * FROM credit_pools.define_plan_credits(plan_id => 'nowhere', credit_type_id => 'credits', amount => 1)$$),
    (3, $$SELECT * FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'nowhere', amount => 1)$$),
    (4, $$SELECT * FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', entry_id => 'new')$$),
    (5, $$SELECT * FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 0)$$),
    (6, $$SELECT * FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => -1)$$),
    (7, $$SELECT * FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 1, priority => 101)$$),
    (8, $$SELECT * FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 1, category => 'gift')$$),
    (9, $$SELECT * FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 1, cadence => '-1 month')$$),
    (10, $$SELECT * FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 1, cadence => '0')$$),
    (11, $$SELECT * FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 1, expires_after => '0')$$),
    (12, $$SELECT * FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 1, rollover_max => -1)$$),
    (13, $$SELECT * FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 1, rollover_percent => 101)$$),
    (14, $$SELECT * FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 1, rollover_periods => -1)$$),
    (15, $$SELECT * FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 1, overdraft_limit => -1)$$),
    (16, $$SELECT * FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 1, quantity_feature_id => 'nowhere')$$),
    (17, $$SELECT * FROM credit_pools.define_rate(feature_id => 'nowhere', credit_type_id => 'credits', credits_per_unit => 1)$$),
    (18, $$SELECT * FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'nowhere', credits_per_unit => 1)$$),
    (19, $$SELECT * FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, plan_id => 'nowhere')$$),
    (20, $$SELECT * FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => -1)$$),
    (21, $$SELECT * FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 'NaN')$$),
    (22, $$SELECT * FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 'Infinity')$$),
    (23, $$SELECT * FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits')$$),
    (24, $$SELECT * FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1, formula => 'value * 2')$$),
    (25, $$SELECT * FROM credit_pools.define_feature(feature_id => 'run', metadata => '[1]')$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;

-- apply_catalog does all of the above from one document, in one transaction, and may be applied again.
SELECT kind, id, changed FROM credit_pools.apply_catalog(catalog => '{
    "credit_types": [{"credit_type_id": "coins", "display_name": "Coins", "scale": 0}],
    "features":     [{"feature_id": "render", "unit": "frame"}],
    "plans":        [{"plan_id": "studio", "display_name": "Studio"}],
    "plan_credits": [{"plan_id": "studio", "credit_type_id": "coins", "amount": 500, "cadence": "1 month"}],
    "rates":        [{"plan_id": "studio", "feature_id": "render", "credit_type_id": "coins", "credits_per_unit": 3}]}') ORDER BY kind, id;
SELECT world() AS before \gset
SELECT kind, id, changed FROM credit_pools.apply_catalog(catalog => '{
    "credit_types": [{"credit_type_id": "coins", "display_name": "Coins", "scale": 0}],
    "features":     [{"feature_id": "render", "unit": "frame"}],
    "plans":        [{"plan_id": "studio", "display_name": "Studio"}],
    "plan_credits": [{"plan_id": "studio", "credit_type_id": "coins", "amount": 500, "cadence": "1 month"}],
    "rates":        [{"plan_id": "studio", "feature_id": "render", "credit_type_id": "coins", "credits_per_unit": 3}]}') ORDER BY kind, id;
SELECT world() = :'before' AS unchanged;
SELECT status FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'studio', resource_id => 'studio-1');
SELECT credit_type_id, credits_consumed, balance FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'studio-1', feature_id => 'render', value => 10);

-- Numbers of a document are exact, like any amount: no digit is lost on the way.
SELECT FROM credit_pools.apply_catalog('{"plans": [{"plan_id": "exact"}], "plan_credits": [{"plan_id": "exact", "credit_type_id": "finest", "amount": 123456789012345678.123456789012345678}]}');
SELECT FROM credit_pools.provision_subscription(customer_id => 'exact', plan_id => 'exact');
SELECT FROM credit_pools.provision_subscription(customer_id => 'exact', plan_id => 'exact', resource_id => 'ws', overrides => '{"amounts": {"finest": 0.123456789012345678}}');
SELECT resource_id, amount FROM credit_pools.grants WHERE customer_id = 'exact' ORDER BY resource_id;

-- Unknown keys are errors, at both levels; one bad entry leaves nothing of the document behind; and DETAIL names the argument.
SELECT n, e.sqlstate, f.figures ?| '{argument,kind}' AS named, e.world FROM (VALUES
    (1, $$SELECT * FROM credit_pools.apply_catalog('{"credit_typos": []}')$$),
    (2, $$SELECT * FROM credit_pools.apply_catalog('{"plans": [{"plan_id": "p", "colour": "red"}]}')$$),
    (3, $$SELECT * FROM credit_pools.apply_catalog('{"plans": [{"plan_id": "p"}], "plan_credits": [{"plan_id": "p", "credit_type_id": "nowhere", "amount": 1}]}')$$),
    (4, $$SELECT * FROM credit_pools.apply_catalog('{"plans": [{"display_name": "no id"}]}')$$),
    (5, $$SELECT * FROM credit_pools.apply_catalog('{"plans": {"plan_id": "p"}}')$$),
    (6, $$SELECT * FROM credit_pools.apply_catalog('{"plans": [7]}')$$),
    (7, $$SELECT * FROM credit_pools.apply_catalog('{"credit_types": [{"credit_type_id": "t", "scale": "two"}]}')$$),
    (8, $$SELECT * FROM credit_pools.apply_catalog('{"credit_types": [{"credit_type_id": "t", "scale": 2.5}]}')$$),
    (9, $$SELECT * FROM credit_pools.apply_catalog('[]')$$),
    (10, $$SELECT * FROM credit_pools.apply_catalog('"text"')$$),
    (11, $$SELECT * FROM credit_pools.apply_catalog('null')$$),
    (12, $$SELECT * FROM credit_pools.apply_catalog(NULL)$$),
    (13, $$SELECT * FROM credit_pools.apply_catalog('{"plans": [["p", null, null]]}')$$),
    (14, $$SELECT * FROM credit_pools.apply_catalog('{"plans": [{"plan_id": "p"}], "plan_credits": [{"plan_id": "p", "credit_type_id": "credits", "amount": 1, "cadence": "soon"}]}')$$),
    (15, $$SELECT * FROM credit_pools.apply_catalog('{"rates": [{"feature_id": "run", "credit_type_id": "credits", "credits_per_unit": 1, "effective_at": "soon"}]}')$$),
    (16, $$SELECT * FROM credit_pools.apply_catalog('{"plan_credits": [{"plan_id": "basic", "credit_type_id": "credits", "amount": "plenty"}]}')$$),
    (17, $$SELECT * FROM credit_pools.apply_catalog('{"plan_credits": [{"plan_id": "basic", "credit_type_id": "credits", "amount": 1e400}]}')$$),
    (18, $$SELECT * FROM credit_pools.apply_catalog('{"credit_types": [{"credit_type_id": "t", "scale": 1e30}]}')$$)
  ) s (n, statement), LATERAL expect_error(statement) e, LATERAL error_figures(statement) f ORDER BY n;
SELECT * FROM ledger_problems();
