-- The periods of max_spend and max_count (contract sections 2, 6 and 10): months, days, weeks and quarters of the calendar in the customer's time zone; what failed gives
-- its money back to the period in which it was asked for; the cut to the cent; what a change of the policy leaves counted.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
-- A pool of 1000 credits and a policy that recharges 10 credits below 1000, so that each usage of 10 asks for 10. 'use' makes such usages and says what each brought about:
-- the recharge's amount and price, the reason of a skip, or '-' for nothing at all.
CREATE FUNCTION use(customer text, resource text, times int DEFAULT 1, type text DEFAULT 'credits') RETURNS text LANGUAGE plpgsql AS $f$
DECLARE
    said text[];
    before text; after text;
BEGIN
    FOR i IN 1 .. times LOOP
        before := latest(customer, resource, type);
        PERFORM FROM credit_pools.consume_credits(customer_id => customer, resource_id => resource, credit_type_id => type, amount => 10);
        after := latest(customer, resource, type);
        said := said || CASE WHEN after = before THEN '-' ELSE split_part(after, '/', 3) END;
    END LOOP;
    RETURN array_to_string(said, ', ');
END $f$;
CREATE FUNCTION latest(customer text, resource text, type text) RETURNS text LANGUAGE sql AS $f$
    SELECT coalesce((SELECT format('%s/%s/%s', recharge_id, evaluations, CASE WHEN status = 'skipped' THEN reason ELSE amount || coalesce(' for ' || price || ' ' || price_currency, '') END)
      FROM credit_pools.recharges WHERE customer_id = $1 AND resource_id IS NOT DISTINCT FROM $2 AND credit_type_id = $3 ORDER BY recharge_id DESC LIMIT 1), '')
$f$;
CREATE FUNCTION pool(customer text, resource text, type text DEFAULT 'credits') RETURNS numeric LANGUAGE sql AS $f$
    SELECT FROM credit_pools.open_pool(customer_id => $1, resource_id => $2, credit_type_id => $3);
    SELECT balance FROM credit_pools.grant_credits(customer_id => $1, resource_id => $2, credit_type_id => $3, amount => 1000)
$f$;
CREATE FUNCTION fail(customer text, resource text, permanent boolean DEFAULT true) RETURNS text LANGUAGE sql AS $f$
    SELECT status || ' ' || attempts FROM credit_pools.fail_recharge(customer_id => $1, recharge_id => recharge_id($1, $2), reason => 'declined', permanent => $3)
$f$;
SET credit_pools.test_clock = '2026-01-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'fine', scale => 2);
-- A plan without credits, to make customers with a time zone.
SELECT FROM credit_pools.define_plan(plan_id => 'zone');
SELECT c, status FROM (VALUES ('berlin', 'Europe/Berlin'), ('days', 'Europe/Berlin'), ('quarters', 'Asia/Kolkata'), ('weeks', 'America/New_York'), ('york', 'America/New_York')) v (c, z),
    LATERAL credit_pools.provision_subscription(customer_id => c, plan_id => 'zone', time_zone => z) ORDER BY c;
SELECT c, pool(c, 'ws') FROM unnest(ARRAY['berlin', 'days', 'quarters', 'utc', 'weeks', 'york']) c;

-- Months: 25 EUR in each. February begins in Berlin at 23:00 UTC, in New York at 05:00 UTC.
SELECT c, recharges_requested FROM unnest(ARRAY['berlin', 'utc', 'york']) c, LATERAL credit_pools.set_auto_recharge(customer_id => c, credit_type_id => 'credits', threshold => 1000, recharge_amount => 10,
    settlement => 'immediate', price_per_credit => 1, price_currency => 'EUR', max_spend => 25);
SET credit_pools.test_clock = '2026-01-31 22:59:59.999999+00';
SELECT c, use(c, 'ws', 4) FROM unnest(ARRAY['berlin', 'utc', 'york']) c;
SET credit_pools.test_clock = '2026-01-31 23:00+00';
SELECT c, use(c, 'ws') FROM unnest(ARRAY['berlin', 'utc', 'york']) c;
SET credit_pools.test_clock = '2026-01-31 23:59:59.999999+00';
SELECT c, use(c, 'ws') FROM unnest(ARRAY['berlin', 'utc', 'york']) c;
SET credit_pools.test_clock = '2026-02-01 00:00+00';
SELECT c, use(c, 'ws') FROM unnest(ARRAY['berlin', 'utc', 'york']) c;
SET credit_pools.test_clock = '2026-02-01 04:59:59.999999+00';
SELECT use('york', 'ws');
SET credit_pools.test_clock = '2026-02-01 05:00+00';
SELECT use('york', 'ws');

-- The end of a short month; the last day of it belongs to it.
SET credit_pools.test_clock = '2026-02-28 22:59:59.999999+00';
SELECT c, use(c, 'ws', 3) FROM unnest(ARRAY['berlin', 'utc', 'york']) c;
SET credit_pools.test_clock = '2026-02-28 23:00+00';
SELECT c, use(c, 'ws') FROM unnest(ARRAY['berlin', 'utc', 'york']) c;
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT c, use(c, 'ws') FROM unnest(ARRAY['utc', 'york']) c;
SET credit_pools.test_clock = '2026-03-01 05:00+00';
SELECT use('york', 'ws');

-- Summer time begins within March, on the 8th in New York, on the 29th in Berlin: April begins an hour earlier than March did.
SET credit_pools.test_clock = '2026-03-31 21:59:59.999999+00';
SELECT c, use(c, 'ws', 3) FROM unnest(ARRAY['berlin', 'utc', 'york']) c;
SET credit_pools.test_clock = '2026-03-31 22:00+00';
SELECT c, use(c, 'ws') FROM unnest(ARRAY['berlin', 'utc', 'york']) c;
SET credit_pools.test_clock = '2026-04-01 03:59:59.999999+00';
SELECT c, use(c, 'ws') FROM unnest(ARRAY['utc', 'york']) c;
SET credit_pools.test_clock = '2026-04-01 04:00+00';
SELECT use('york', 'ws');

-- Days in Berlin, one recharge in each: 29 March has 23 hours, 25 October has 25.
SET credit_pools.test_clock = '2026-03-28 22:59:59.999999+00';
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'days', credit_type_id => 'credits', threshold => 1000, recharge_amount => 10, settlement => 'immediate', spend_period => '1 day', max_count => 1);
SELECT use('days', 'ws', 2);
SET credit_pools.test_clock = '2026-03-28 23:00+00';
SELECT use('days', 'ws', 2);
SET credit_pools.test_clock = '2026-03-29 21:59:59.999999+00';
SELECT use('days', 'ws');
SET credit_pools.test_clock = '2026-03-29 22:00+00';
SELECT use('days', 'ws', 2);
SET credit_pools.test_clock = '2026-10-24 22:00+00';
SELECT use('days', 'ws', 2);
SET credit_pools.test_clock = '2026-10-25 22:00+00';
SELECT use('days', 'ws');
SET credit_pools.test_clock = '2026-10-25 22:59:59.999999+00';
SELECT use('days', 'ws');
SET credit_pools.test_clock = '2026-10-25 23:00+00';
SELECT use('days', 'ws', 2);

-- Weeks in New York, from Monday: the one of 2 March begins at 05:00 UTC and, with summer time, ends on the 9th at 04:00 UTC. A new year ends no week.
SET credit_pools.test_clock = '2026-03-02 04:59:59.999999+00';
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'weeks', credit_type_id => 'credits', threshold => 1000, recharge_amount => 10, settlement => 'immediate',
    price_per_credit => 1, price_currency => 'USD', max_spend => 25, spend_period => '7 days');
SELECT use('weeks', 'ws', 4);
SET credit_pools.test_clock = '2026-03-02 05:00+00';
SELECT use('weeks', 'ws', 4);
SET credit_pools.test_clock = '2026-03-09 03:59:59.999999+00';
SELECT use('weeks', 'ws');
SET credit_pools.test_clock = '2026-03-09 04:00+00';
SELECT use('weeks', 'ws');
SET credit_pools.test_clock = '2026-12-28 05:00+00';
SELECT use('weeks', 'ws', 4);
SET credit_pools.test_clock = '2027-01-01 05:00+00';
SELECT use('weeks', 'ws');
SET credit_pools.test_clock = '2027-01-04 05:00+00';
SELECT use('weeks', 'ws');

-- Quarters in Calcutta, from January, April, July and October, not from the day on which the policy was set: they end at 18:30 UTC.
SET credit_pools.test_clock = '2026-02-14 12:00+00';
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'quarters', credit_type_id => 'credits', threshold => 1000, recharge_amount => 10, settlement => 'immediate',
    price_per_credit => 1, price_currency => 'INR', max_spend => 25, spend_period => '3 months');
SELECT use('quarters', 'ws', 2);
SET credit_pools.test_clock = '2026-03-31 18:29:59.999999+00';
SELECT use('quarters', 'ws', 2);
SET credit_pools.test_clock = '2026-03-31 18:30+00';
SELECT use('quarters', 'ws', 3);
SET credit_pools.test_clock = '2026-06-30 18:29:59.999999+00';
SELECT use('quarters', 'ws');
SET credit_pools.test_clock = '2026-06-30 18:30+00';
SELECT use('quarters', 'ws');

-- The cut to the smallest coin: what is left is spent to the last cent where so little of a credit can be bought; a price is rounded, half away from zero.
SET credit_pools.test_clock = '2026-03-10 00:00+00';
CREATE VIEW coins AS SELECT * FROM (VALUES ('coin-eur', 'fine', 0.03, 'EUR', 0.95), ('coin-half', 'fine', 0.1225, 'EUR', 5), ('coin-jpy', 'credits', 0.7, 'JPY', 10), ('coin-kwd', 'credits', 0.0125, 'KWD', 0.3),
    ('coin-none', 'credits', 1, 'EUR', 20.5), ('coin-up', 'fine', 0.333, 'EUR', 10)) v (c, type, price, currency, most);
SELECT c, pool(c, 'ws', type) FROM coins ORDER BY c;
SELECT c, recharges_requested FROM coins, LATERAL credit_pools.set_auto_recharge(customer_id => c, credit_type_id => type, threshold => 1000, recharge_amount => 10, settlement => 'immediate',
    price_per_credit => price, price_currency => currency, max_spend => most) ORDER BY c;
SELECT c, use(c, 'ws', 6, type) FROM coins ORDER BY c;

-- Shared by all pools of the policy, the global one included. 'own' belongs to it until it has a policy of its own: what it spent before stays counted with the others', and its own begins with nothing.
SELECT count(pool('shared', r)) FROM unnest(ARRAY['a', 'b', 'own', NULL]) r;
SELECT pools_covered, recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'shared', credit_type_id => 'credits', threshold => 1000, recharge_amount => 10, settlement => 'immediate', price_per_credit => 1, price_currency => 'EUR', max_spend => 25);
SELECT r, use('shared', r) FROM unnest(ARRAY['a', 'own']) r;
SELECT pools_covered, recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'shared', resource_id => 'own', credit_type_id => 'credits', threshold => 1000, recharge_amount => 10, settlement => 'immediate', price_per_credit => 1, price_currency => 'EUR', max_spend => 25);
SELECT use('shared', 'own', 4);
SELECT r, use('shared', r) FROM unnest(ARRAY[NULL, 'b']) r;
-- One EUR more for the others: 'b', which is older than the global pool, gets it; 'own' is not looked at.
SELECT pools_covered, recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'shared', credit_type_id => 'credits', threshold => 1000, recharge_amount => 10, settlement => 'immediate', price_per_credit => 1, price_currency => 'EUR', max_spend => 26);
SELECT resource, status, reason, price, evaluations FROM recharges_of('shared');

-- A change of the policy within a period: what was spent before counts, also what was spent while there was no limit.
SELECT pool('changed', 'a');
CREATE FUNCTION policy(customer text, more text) RETURNS bigint LANGUAGE plpgsql AS $f$
DECLARE
    requested bigint;
BEGIN
    EXECUTE format('SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => %L, credit_type_id => ''credits'', threshold => 1000, recharge_amount => 10, price_per_credit => 1, price_currency => ''EUR'' %s)', customer, more) INTO requested;
    RETURN requested;
END $f$;
SELECT policy('changed', $$, settlement => 'immediate'$$), use('changed', 'a', 2);
SELECT policy('changed', $$, settlement => 'immediate', max_spend => 25$$), use('changed', 'a', 2);
-- 15 more: 10 at once, since the pool is low, then 5.
SELECT policy('changed', $$, settlement => 'immediate', max_spend => 40$$), use('changed', 'a', 2);
-- Less than has been spent: nothing more, and nothing back.
SELECT policy('changed', $$, settlement => 'immediate', max_spend => 30$$), use('changed', 'a');
-- Five recharges so far this month.
SELECT policy('changed', $$, settlement => 'immediate', max_count => 6$$), use('changed', 'a');
-- By the day, on the next day: yesterday's 50 do not count. By the month again: 80 have been spent.
SET credit_pools.test_clock = '2026-03-11 00:00+00';
SELECT policy('changed', $$, settlement => 'immediate', max_spend => 30, spend_period => '1 day'$$), use('changed', 'a', 3);
SELECT policy('changed', $$, settlement => 'immediate', max_spend => 85$$), use('changed', 'a');
SELECT created_at, status, reason, price, evaluations FROM recharges_of('changed');

-- What fails for good gives back its money and its place in the count. While it is tried again it keeps them.
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT count(pool('failing', 'p' || i)) FROM generate_series(1, 9) i;
SELECT policy('failing', ', max_spend => 25, max_failures => 2');
SELECT p, use('failing', p) FROM unnest(ARRAY['p1', 'p2', 'p3', 'p4']) p;
SELECT fail('failing', 'p1', permanent => false), use('failing', 'p4');
SELECT fail('failing', 'p1', permanent => false), use('failing', 'p4');
SELECT fail('failing', 'p3'), use('failing', 'p5'), use('failing', 'p6');
SELECT sum(price) FROM credit_pools.recharges WHERE customer_id = 'failing' AND status IN ('pending', 'processing', 'succeeded');
-- March's money comes back to March: there are 25 EUR in April, not 35.
SET credit_pools.test_clock = '2026-04-02 00:00+00';
SELECT fail('failing', 'p2');
SELECT p, use('failing', p) FROM unnest(ARRAY['p6', 'p7', 'p8', 'p9']) p;
SELECT count(pool('counting', 'p' || i)) FROM generate_series(1, 3) i;
SELECT policy('counting', ', max_count => 2');
SELECT p, use('counting', p) FROM unnest(ARRAY['p1', 'p2', 'p3']) p;
SELECT fail('counting', 'p2'), use('counting', 'p3'), use('counting', 'p2');

-- Also what was asked for before there was a limit, or under a limit of another period, gives it back when it fails: only what is pending or paid was spent.
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT c, count(pool(c, p)) FROM unnest(ARRAY['no-count', 'no-limit', 'other-period']) c, unnest(ARRAY['a', 'b', 'c', 'd']) p GROUP BY c ORDER BY c;
SELECT policy('no-limit', ''), use('no-limit', 'a'), policy('no-limit', ', max_spend => 25');
SELECT p, use('no-limit', p) FROM unnest(ARRAY['b', 'c']) p;
SELECT fail('no-limit', 'a'), use('no-limit', 'd');
SELECT policy('other-period', ', max_spend => 25'), use('other-period', 'a'), policy('other-period', $$, max_spend => 25, spend_period => '1 day'$$);
SELECT p, use('other-period', p) FROM unnest(ARRAY['b', 'c']) p;
SELECT fail('other-period', 'a'), use('other-period', 'd');
SELECT policy('no-count', ''), use('no-count', 'a'), policy('no-count', ', max_count => 2');
SELECT p, use('no-count', p) FROM unnest(ARRAY['b', 'c']) p;
SELECT fail('no-count', 'a'), use('no-count', 'd');

-- Asked for in March and paid in April: it counts in March. And so does what is asked for in March and fails in April.
SELECT count(pool('late', p)) FROM unnest(ARRAY['a', 'b', 'c', 'd']) p;
SELECT policy('late', ', max_spend => 15');
SET credit_pools.test_clock = '2026-03-31 23:59:59.999999+00';
SELECT p, use('late', p) FROM unnest(ARRAY['a', 'b']) p;
SET credit_pools.test_clock = '2026-04-02 00:00+00';
SELECT status, amount, balance FROM credit_pools.complete_recharge(customer_id => 'late', recharge_id => recharge_id('late', 'a'), payment_reference => 'pay-1');
SELECT p, use('late', p) FROM unnest(ARRAY['c', 'a', 'd']) p;
SELECT fail('late', 'b'), use('late', 'd');
SELECT resource, created_at, status, price FROM recharges_of('late') WHERE status <> 'skipped';
SELECT * FROM ledger_problems();
