-- set_limit refuses bad input, names the argument, and changes nothing.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-10 12:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits');
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'gold', scale => 0);
SELECT n, r.* FROM (VALUES
    (1, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 0, per => '1 day'$$),
    (2, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => -1, per => '1 day'$$),
    (3, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 'NaN', per => '1 day'$$),
    (4, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => '-Infinity', per => '1 day'$$),
    (5, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => NULL, per => '1 day'$$),
    (6, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 0.001, per => '1 day'$$),
    (7, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => repeat('9', 200)::numeric, per => '1 day'$$),
    (8, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, per => '0'$$),
    (9, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, per => '-1 day'$$),
    (10, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, per => NULL$$),
    (11, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, per => '1 month 1 day'$$),
    (12, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, per => '1 day 1 hour'$$),
    (13, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, per => '178000000 years'$$),
    (14, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1, per => '1 day', all_resources => true$$),
    (15, $$customer_id => 'acme', resource_id => 'nowhere', credit_type_id => 'credits', amount => 1, per => '1 day'$$),
    (16, $$customer_id => 'nobody', resource_id => 'ws', credit_type_id => 'credits', amount => 1, per => '1 day'$$),
    (17, $$customer_id => 'nobody', credit_type_id => 'credits', amount => 1, per => '1 day', all_resources => true$$),
    (18, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => 'silver', amount => 1, per => '1 day'$$),
    (19, $$customer_id => NULL, credit_type_id => 'credits', amount => 1, per => '1 day'$$),
    (20, $$customer_id => 'acme', resource_id => 'ws', credit_type_id => NULL, amount => 1, per => '1 day'$$),
    (21, $$customer_id => 'acme', resource_id => '', credit_type_id => 'credits', amount => 1, per => '1 day'$$)
  ) v (n, arguments), LATERAL refused(format('SELECT * FROM credit_pools.set_limit(%s)', arguments)) r ORDER BY n;
-- A scope that is known but has no pool of that type yet: its pool is covered as soon as it opens.
SELECT used FROM credit_pools.set_limit(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'gold', amount => 10, per => '1 day');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'gold', amount => 100);
SELECT sqlstate, figures - 'window_end' AS figures FROM refused($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'gold', amount => 11)$$);
SELECT credits_consumed FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'gold', amount => 10);
SELECT * FROM ledger_problems();
