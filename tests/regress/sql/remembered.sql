-- A session remembers where a pool is and which grant is its first: what others, a ROLLBACK, a vacuum or another row at that place change is seen all the same.
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws');
CREATE FUNCTION give(name text, amount numeric, priority int) RETURNS void LANGUAGE sql AS $f$
    SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => amount, priority => priority, display_name => name) $f$;
CREATE FUNCTION end_it(called text) RETURNS void LANGUAGE sql AS $f$
    SELECT FROM credit_pools.grants g, LATERAL credit_pools.void_grant(customer_id => 'acme', grant_id => g.grant_id) WHERE g.customer_id = 'acme' AND g.display_name = called $f$;
-- Uses one by one, and says which grants paid.
CREATE FUNCTION drawn(amount numeric, single boolean DEFAULT true) RETURNS text LANGUAGE plpgsql AS $f$
DECLARE was bigint;
BEGIN
    SELECT p.seq INTO was FROM credit_pools.pool p WHERE customer_id = 'acme';
    IF single THEN
        PERFORM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => drawn.amount);
    ELSE
        PERFORM credit_pools.report_usage_batch(jsonb_build_array(jsonb_build_object('customer_id', 'acme', 'resource_id', 'ws', 'feature_id', 'run', 'value', drawn.amount)));
    END IF;
    RETURN (SELECT string_agg(g.display_name || ' ' || -l.amount, ', ' ORDER BY l.seq) FROM credit_pools.ledger l JOIN credit_pools.grants g USING (customer_id, grant_id) WHERE l.customer_id = 'acme' AND l.seq > was);
END $f$;

-- Grants that come before it, and go again.
SELECT give('base', 1000, 50);
SELECT drawn(1) AS base, drawn(1) AS again;
SELECT give('sooner', 10, 10);
SELECT drawn(1) AS sooner, drawn(2) AS again;
SELECT give('later', 10, 90);
SELECT drawn(2) AS sooner, drawn(6) AS both, drawn(1) AS base;
SELECT give('voided', 10, 10);
SELECT drawn(1) AS voided;
SELECT end_it('voided');
SELECT drawn(1) AS base;
-- One that is used up, and opened again by taking a usage back.
SELECT give('back', 5, 10);
SELECT drawn(1) AS back, drawn(4) AS back_to_its_end, drawn(1) AS base;
SELECT credits_returned FROM credit_pools.usage_events e, LATERAL credit_pools.reverse_usage(customer_id => 'acme', usage_id => e.usage_id) WHERE e.customer_id = 'acme' AND e.credits = 4;
SELECT drawn(1) AS back, drawn(3) AS back;
-- One that begins, and one that ends.
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 10, priority => 5, display_name => 'for a day', effective_at => '2026-03-11Z', expires_at => '2026-03-12Z');
SELECT drawn(1) AS base;
SET credit_pools.test_clock = '2026-03-11 00:00+00';
SELECT drawn(1) AS for_a_day, drawn(1) AS again;
SET credit_pools.test_clock = '2026-03-12 00:00+00';
SELECT drawn(1) AS expired_and_base;
SELECT drawn(1) AS base;
-- What is held of it, and given back.
SELECT give('held', 10, 10);
SELECT drawn(1) AS held;
SELECT FROM credit_pools.reserve_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 8, reservation_id => 'job');
SELECT drawn(2) AS held_and_base;
SELECT FROM credit_pools.release_reservation(customer_id => 'acme', reservation_id => 'job');
SELECT drawn(8) AS held, drawn(1) AS base;

-- Remembered, and rolled back. The number by which a session knows the grants is never used twice: with one that counted,
-- the last of these would be taken from the grant that was first in what was rolled back.
BEGIN;
SAVEPOINT s;
SELECT give('never', 10, 10);
SELECT drawn(1) AS never;
ROLLBACK TO s;
SELECT drawn(1) AS base;
COMMIT;
SELECT give('first', 10, 20), give('second', 10, 30);
SELECT drawn(1) AS first;
BEGIN;
SELECT end_it('first');
SELECT drawn(1) AS second;
ROLLBACK;
SELECT drawn(1) AS first;
BEGIN;
SELECT end_it('first');
SELECT drawn(1) AS second;
ROLLBACK;
SELECT give('third', 10, 40); -- as many changes as what was rolled back
SELECT drawn(1) AS first;
SELECT end_it('first'), end_it('second'), end_it('third');

-- By batches.
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'free');
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 1);
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'free', resource_id => 'ws');
SELECT end_it('later');
SELECT drawn(1, false) AS base, drawn(1, false) AS again;
SELECT give('sooner too', 3, 10);
SELECT drawn(1, false) AS sooner, drawn(1, false) AS sooner, drawn(2, false) AS both, drawn(1, false) AS base, drawn(1) AS base;

-- The tables are written anew, and emptied of what was there.
VACUUM FULL credit_pools.pool;
VACUUM FULL credit_pools.pool_grant;
SELECT drawn(1) AS base, drawn(1, false) AS base;
SELECT FROM generate_series(1, 300) n, LATERAL credit_pools.open_pool(customer_id => 'many', credit_type_id => 'credits', resource_id => n::text);
SELECT FROM generate_series(1, 300) n, LATERAL credit_pools.grant_credits(customer_id => 'many', credit_type_id => 'credits', resource_id => n::text, amount => 10);
SELECT count(*) FROM generate_series(1, 300) n, LATERAL credit_pools.consume_credits(customer_id => 'many', credit_type_id => 'credits', resource_id => n::text, amount => 1);
SET session_replication_role = replica; -- no guard
DELETE FROM credit_pools.pool WHERE customer_id = 'many';
DELETE FROM credit_pools.pool_grant WHERE customer_id = 'many';
RESET session_replication_role;
VACUUM (TRUNCATE) credit_pools.pool, credit_pools.pool_grant;
SELECT pg_relation_size('credit_pools.pool') / current_setting('block_size')::int < 10 AS cut_off;
SELECT count(*) AS refused FROM (VALUES (1), (150), (300)) v (n) WHERE NOT EXISTS (SELECT FROM credit_pools.pools WHERE customer_id = 'many' AND resource_id = n::text);
DO $$ BEGIN
    PERFORM credit_pools.consume_credits(customer_id => 'many', credit_type_id => 'credits', resource_id => '300', amount => 1);
EXCEPTION WHEN SQLSTATE 'PC001' THEN RAISE NOTICE '%', SQLERRM;
END $$;
-- Other pools in their places.
SELECT FROM generate_series(1, 300) n, LATERAL credit_pools.open_pool(customer_id => 'other', credit_type_id => 'credits', resource_id => n::text);
SELECT FROM generate_series(1, 300) n, LATERAL credit_pools.grant_credits(customer_id => 'other', credit_type_id => 'credits', resource_id => n::text, amount => n);
DO $$ BEGIN
    PERFORM credit_pools.consume_credits(customer_id => 'many', credit_type_id => 'credits', resource_id => '1', amount => 1);
EXCEPTION WHEN SQLSTATE 'PC001' THEN RAISE NOTICE '%', SQLERRM;
END $$;
SELECT count(*), bool_and(u.balance = n - 1) AS right FROM generate_series(1, 300) n, LATERAL credit_pools.consume_credits(customer_id => 'other', credit_type_id => 'credits', resource_id => n::text, amount => 1) u;
SELECT count(*), bool_and(u.balance = n - 2) AS right FROM generate_series(2, 300) n, LATERAL credit_pools.consume_credits(customer_id => 'other', credit_type_id => 'credits', resource_id => n::text, amount => 1) u;
SELECT drawn(1) AS base;
SELECT count(*) FROM credit_pools.verify_ledger(customer_id => 'acme');
SELECT count(*) FROM credit_pools.verify_ledger(customer_id => 'other');
