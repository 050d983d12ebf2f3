-- Reads are right to the instant though no maintenance ever runs (contract section 2): expired credit is never shown, a renewal that is due is counted, a rollover too.
-- At each instant the views are compared with what they say once the work is booked (which is then undone), and the figures are looked at by themselves.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_plan(plan_id => 'mixed');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'mixed', credit_type_id => 'credits', amount => 100, rollover_max => 30);
SELECT FROM credit_pools.define_plan_credits(plan_id => 'mixed', credit_type_id => 'credits', entry_id => 'weekly', amount => 10, cadence => '1 week');
SELECT FROM credit_pools.define_plan(plan_id => 'lend');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'lend', credit_type_id => 'credits', amount => 100, overdraft_limit => 500);
SELECT r, status FROM (VALUES ('lend', 'lend'), ('mixed', 'mixed')) v (r, p), LATERAL credit_pools.provision_subscription(customer_id => 'acme', plan_id => p, resource_id => r) ORDER BY r;
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'mixed', credit_type_id => 'credits', amount => 5, expires_at => '2026-04-15 00:00+00', reason => 'ends');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'mixed', credit_type_id => 'credits', amount => 8, effective_at => '2026-04-20 00:00+00', reason => 'starts');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'mixed', credit_type_id => 'credits', amount => 60);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'lend', credit_type_id => 'credits', amount => 350);

-- seen(): all that the views say about the customer, without ids and the time of writing. look(t): the two balances at an instant, whether they are the same once booked, and how many rows that books.
CREATE FUNCTION seen(OUT pools text, OUT credits text) LANGUAGE sql AS $f$
    SELECT (SELECT string_agg((to_jsonb(p) - 'pool_id')::text, E'\n' ORDER BY p.resource_id) FROM credit_pools.pools p WHERE customer_id = 'acme'),
           (SELECT string_agg((to_jsonb(g) - '{grant_id,pool_id,created_at,source_grant_id}'::text[])::text, E'\n' ORDER BY g.resource_id, g.effective_at, g.expires_at, g.source, g.amount)
              FROM credit_pools.grants g WHERE customer_id = 'acme')
$f$;
CREATE FUNCTION look(t timestamptz, OUT "at" text, OUT mixed numeric, OUT lend numeric, OUT unbooked bigint, OUT same_pools boolean, OUT same_grants boolean, OUT booked bigint) LANGUAGE plpgsql AS $f$
DECLARE
    before record; after record; rows bigint;
BEGIN
    PERFORM set_config('credit_pools.test_clock', t::text, false);
    "at" := public.at(t);
    SELECT balance INTO mixed FROM credit_pools.pools WHERE customer_id = 'acme' AND resource_id = 'mixed';
    SELECT balance INTO lend FROM credit_pools.pools WHERE customer_id = 'acme' AND resource_id = 'lend';
    SELECT count(*) INTO unbooked FROM credit_pools.grants WHERE customer_id = 'acme' AND grant_id IS NULL;
    SELECT count(*) INTO rows FROM credit_pools.ledger WHERE customer_id = 'acme';
    SELECT * INTO before FROM seen();
    BEGIN
        PERFORM credit_pools.run_maintenance();
        SELECT * INTO after FROM seen();
        same_pools := before.pools = after.pools;
        same_grants := before.credits = after.credits;
        SELECT count(*) - rows INTO booked FROM credit_pools.ledger WHERE customer_id = 'acme';
        RAISE EXCEPTION USING ERRCODE = 'ZZ000', MESSAGE = 'undo';
    EXCEPTION WHEN SQLSTATE 'ZZ000' THEN NULL;
    END;
END $f$;
-- mixed: weekly 10 on 8 and 15 March …; on 1 April 50 of the 100 are left: 20 expire, 30 are carried, 100 are new; 5 end on 15 April, 8 begin on 20 April; on 1 May and later the carried 30 are 30 again.
-- lend: a debt of 250 is paid on 1 April, 1 May and 1 June.
SELECT l."at", l.mixed, l.lend, l.same_pools, l.same_grants FROM (VALUES ('2026-03-02 00:00+00'), ('2026-03-07 23:59:59.999999+00'), ('2026-03-08 00:00+00'), ('2026-03-15 12:00+00'), ('2026-03-31 23:59:59.999999+00'), ('2026-04-01 00:00+00'),
    ('2026-04-14 23:59:59.999999+00'), ('2026-04-15 00:00+00'), ('2026-04-20 00:00+00'), ('2026-05-01 00:00+00'), ('2026-06-01 00:00+00'), ('2026-07-10 00:00+00'), ('2027-07-10 00:00+00')) v (t), LATERAL look(t::timestamptz) l;
-- How many grants are shown that are not booked, and how many ledger rows booking them writes: on 8 March a weekly one and no end (the first week's were used up); on 1 April
-- expire, the pair and two new grants (1 April's and the week's from 29 March), and three rows of the debt.
SELECT l."at", l.unbooked, l.booked FROM (VALUES ('2026-03-02 00:00+00'), ('2026-03-08 00:00+00'), ('2026-04-01 00:00+00')) v (t), LATERAL look(t::timestamptz) l;
-- On 1 April, in full. Nothing has been written; what is due but not booked has no grant_id.
SET credit_pools.test_clock = '2026-04-01 00:00+00';
SELECT * FROM pools_of('acme');
SELECT * FROM periods_of('acme');
SELECT next_expiry_at, next_expiry_amount FROM credit_pools.pools WHERE customer_id = 'acme' AND resource_id = 'mixed';
SELECT resource, max(seq) AS rows FROM history_of('acme') GROUP BY 1 ORDER BY 1;
-- Reads write nothing, also where much is due.
BEGIN READ ONLY;
SET LOCAL credit_pools.test_clock = '2027-07-10 00:00+00';
SELECT balance FROM credit_pools.pools WHERE customer_id = 'acme' ORDER BY resource_id;
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
COMMIT;
SELECT * FROM ledger_problems();
