-- explain_recharge: whether a pool would recharge right now, by how much and at what price, and if not, why. It reads only, is right to the instant, and agrees with what the next evaluation does.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
-- What it says, in three parts.
CREATE FUNCTION explained(customer text, resource text DEFAULT NULL, type text DEFAULT 'credits')
    RETURNS TABLE (fires boolean, reason text, balance numeric, pending numeric, threshold numeric, amount numeric, price numeric, policy text) LANGUAGE sql AS $f$
    SELECT would_fire, reason, balance, pending, threshold, amount, price, policy FROM credit_pools.explain_recharge(customer_id => $1, credit_type_id => $3, resource_id => $2)
$f$;
CREATE FUNCTION counted(customer text, resource text DEFAULT NULL) RETURNS TABLE (reason text, spent numeric, max_spend numeric, recharges bigint, max_count bigint, period_end text) LANGUAGE sql AS $f$
    SELECT reason, spent, max_spend, recharges, max_count, at(period_end) FROM credit_pools.explain_recharge(customer_id => $1, credit_type_id => 'credits', resource_id => $2)
$f$;
CREATE FUNCTION waiting(customer text, resource text DEFAULT 'ws') RETURNS TABLE (reason text, pending numeric, cooldown_until text, breaker_opened_at text, next_attempt_at text) LANGUAGE sql AS $f$
    SELECT reason, pending, at(cooldown_until), at(breaker_opened_at), at(next_attempt_at) FROM credit_pools.explain_recharge(customer_id => $1, credit_type_id => 'credits', resource_id => $2)
$f$;
-- Predicted and then done: the evaluation by reset_auto_recharge, or by a usage of 0.01. What happened is read from the recharges: a new row, or one more evaluation of the same skip; '-' is none of them.
CREATE FUNCTION latest(customer text, resource text, type text) RETURNS text LANGUAGE sql AS $f$
    SELECT coalesce((SELECT format('%s/%s/%s', recharge_id, evaluations, CASE WHEN status = 'skipped' THEN reason ELSE amount || coalesce(' for ' || price || ' ' || price_currency, '') END)
      FROM credit_pools.recharges WHERE customer_id = $1 AND resource_id IS NOT DISTINCT FROM $2 AND credit_type_id = $3 ORDER BY recharge_id DESC LIMIT 1), '')
$f$;
CREATE FUNCTION agrees(customer text, resource text, by_what text DEFAULT 'reset', type text DEFAULT 'credits') RETURNS TABLE (predicted text, happened text, agrees boolean) LANGUAGE plpgsql AS $f$
DECLARE
    e record;
    before text := latest(customer, resource, type);
    after text;
BEGIN
    SELECT * INTO e FROM credit_pools.explain_recharge(customer_id => customer, credit_type_id => type, resource_id => resource);
    predicted := CASE WHEN e.would_fire THEN e.amount || coalesce(' for ' || e.price || ' ' || e.price_currency, '') ELSE e.reason END;
    IF by_what = 'usage' THEN
        PERFORM FROM credit_pools.consume_credits(customer_id => customer, credit_type_id => type, resource_id => resource, amount => 0.01);
    ELSE
        PERFORM FROM credit_pools.reset_auto_recharge(customer_id => customer, credit_type_id => type, resource_id => resource);
    END IF;
    after := latest(customer, resource, type);
    happened := CASE WHEN after = before THEN '-' ELSE split_part(after, '/', 3) END;
    agrees := CASE WHEN happened <> '-' THEN happened = predicted ELSE predicted IN ('no_policy', 'enough', 'frozen') OR (predicted = 'pending' AND e.balance + e.pending > e.threshold) END;
    RETURN NEXT;
END $f$;
CREATE FUNCTION pool(customer text, resource text, amount numeric, expires timestamptz DEFAULT NULL) RETURNS numeric LANGUAGE sql AS $f$
    SELECT FROM credit_pools.open_pool(customer_id => $1, resource_id => $2, credit_type_id => 'credits');
    SELECT balance FROM credit_pools.grant_credits(customer_id => $1, resource_id => $2, credit_type_id => 'credits', amount => $3, expires_at => $4)
$f$;
CREATE FUNCTION policy(customer text, arguments text) RETURNS bigint LANGUAGE plpgsql AS $f$
DECLARE
    requested bigint;
BEGIN
    EXECUTE format('SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => %L, credit_type_id => ''credits'', threshold => 100, %s)', customer, arguments) INTO requested;
    RETURN requested;
END $f$;
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'old', scale => 2);
SELECT FROM credit_pools.define_plan(plan_id => 'zone');
SELECT pool('none', 'ws', 50);
SELECT * FROM credit_pools.explain_recharge(customer_id => 'none', credit_type_id => 'credits', resource_id => 'ws') LIMIT 0;

-- no_policy: all of the policy's columns are empty.
SELECT e.customer_id, e.resource_id, e.credit_type_id, e.pool_id = p.pool_id AS pool, e.last_recharge_id FROM credit_pools.pools p, LATERAL credit_pools.explain_recharge(p.customer_id, p.credit_type_id, p.resource_id) e;
SELECT * FROM explained('none', 'ws');
SELECT * FROM counted('none', 'ws');
SELECT * FROM waiting('none');
SELECT * FROM agrees('none', 'ws', 'usage');

-- enough: at the threshold, too.
SELECT pool('enough', 'ws', 100), policy('enough', 'target_balance => 500');
SELECT * FROM explained('enough', 'ws');
SELECT * FROM counted('enough', 'ws');
SELECT * FROM agrees('enough', 'ws');

-- frozen: before anything that the balance or the policy says.
SELECT pool('frozen', 'ws', 50);
SELECT status FROM credit_pools.set_pool(customer_id => 'frozen', resource_id => 'ws', credit_type_id => 'credits', status => 'frozen');
SELECT policy('frozen', 'target_balance => 500');
SELECT * FROM explained('frozen', 'ws');
SELECT * FROM agrees('frozen', 'ws');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'frozen', resource_id => 'ws', credit_type_id => 'credits', amount => 100);
SELECT reason, balance FROM explained('frozen', 'ws');

-- disabled: switched off, …
SELECT pool('disabled', 'ws', 50), policy('disabled', 'target_balance => 500, enabled => false');
SELECT * FROM explained('disabled', 'ws');
SELECT * FROM agrees('disabled', 'ws', 'usage');
-- … or the credit type is archived, whatever the policy says. Without a policy there is none, archived or not.
SELECT FROM unnest(ARRAY['archived', 'archived-none']) c, LATERAL credit_pools.open_pool(customer_id => c, credit_type_id => 'old', resource_id => 'ws');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'archived', credit_type_id => 'old', resource_id => 'ws', amount => 100);
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'archived', credit_type_id => 'old', threshold => 100, target_balance => 500);
SELECT FROM credit_pools.archive_credit_type(credit_type_id => 'old');
SELECT reason FROM explained('archived', 'ws', 'old');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'archived', credit_type_id => 'old', resource_id => 'ws', amount => 40);
SELECT * FROM explained('archived', 'ws', 'old');
SELECT * FROM agrees('archived', 'ws', 'usage', 'old');
SELECT reason FROM explained('archived-none', 'ws', 'old');

-- breaker: since when it is open. Reset, the pool asks at once; that is then pending.
SELECT pool('breaker', 'ws', 50), policy('breaker', 'target_balance => 500');
SET credit_pools.test_clock = '2026-03-01 00:10+00';
SELECT status FROM credit_pools.fail_recharge(customer_id => 'breaker', recharge_id => recharge_id('breaker', 'ws'), reason => 'declined', permanent => true);
SET credit_pools.test_clock = '2026-03-01 00:20+00';
SELECT * FROM explained('breaker', 'ws');
SELECT * FROM waiting('breaker');
SELECT * FROM agrees('breaker', 'ws', 'usage');
SELECT recharges_requested FROM credit_pools.reset_auto_recharge(customer_id => 'breaker', credit_type_id => 'credits');
SELECT reason, pending, breaker_opened_at FROM waiting('breaker');
-- Failed again: open from then on.
SELECT status FROM credit_pools.fail_recharge(customer_id => 'breaker', recharge_id => recharge_id('breaker', 'ws'), reason => 'declined', permanent => true);
SELECT reason, breaker_opened_at FROM waiting('breaker');

-- pending: what is in flight does not lift the pool over the threshold, so that the next evaluation is a skip; …
SELECT pool('pending', 'ws', 50), policy('pending', 'recharge_amount => 10');
SELECT * FROM explained('pending', 'ws');
SELECT * FROM agrees('pending', 'ws', 'usage');
-- … or it does: then the next evaluation finds enough, and no row tells of it.
SELECT pool('lifted', 'ws', 50), policy('lifted', 'target_balance => 500');
SELECT * FROM explained('lifted', 'ws');
SELECT * FROM agrees('lifted', 'ws', 'usage');
-- While a worker has it, and while it waits for its next attempt; then it is paid.
SELECT count(*) AS claimed FROM credit_pools.claim_recharges(worker => 'w', max_count => 10);
SELECT reason, pending FROM explained('lifted', 'ws');
SELECT status FROM credit_pools.fail_recharge(customer_id => 'lifted', recharge_id => recharge_id('lifted', 'ws'), reason => 'declined');
SELECT * FROM waiting('lifted');
SELECT balance FROM credit_pools.complete_recharge(customer_id => 'lifted', recharge_id => recharge_id('lifted', 'ws'), payment_reference => 'pay-1');
SELECT * FROM waiting('lifted');
SELECT e.last_recharge_id = recharge_id('lifted', 'ws') AS the_last FROM credit_pools.explain_recharge(customer_id => 'lifted', credit_type_id => 'credits', resource_id => 'ws') e;
-- Still low after a recharge that did not bring enough: the next one would be asked for.
SELECT balance FROM credit_pools.complete_recharge(customer_id => 'pending', recharge_id => recharge_id('pending', 'ws'), payment_reference => 'pay-2');
SELECT * FROM explained('pending', 'ws');
SELECT * FROM agrees('pending', 'ws', 'usage');

-- cooldown: until when. It is over at that very instant.
SELECT pool('cooldown', 'ws', 50), policy('cooldown', $$recharge_amount => 10, settlement => 'immediate', cooldown => '1 hour'$$);
SELECT * FROM explained('cooldown', 'ws');
SELECT * FROM waiting('cooldown');
SELECT * FROM agrees('cooldown', 'ws');
SET credit_pools.test_clock = '2026-03-01 01:19:59.999999+00';
SELECT * FROM agrees('cooldown', 'ws', 'usage');
SET credit_pools.test_clock = '2026-03-01 01:20+00';
SELECT * FROM explained('cooldown', 'ws');
SELECT cooldown_until FROM waiting('cooldown');
SELECT * FROM agrees('cooldown', 'ws', 'usage');
-- It runs also while there is enough.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'cooldown', resource_id => 'ws', credit_type_id => 'credits', amount => 100);
SELECT reason, cooldown_until FROM waiting('cooldown');
-- The gap from a debt, after the cooldown.
SELECT overdraft_limit FROM credit_pools.open_pool(customer_id => 'debt', resource_id => 'ws', credit_type_id => 'credits', overdraft_limit => 500);
SELECT policy('debt', $$target_balance => 200, settlement => 'immediate', cooldown => '1 hour'$$);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'debt', resource_id => 'ws', credit_type_id => 'credits', amount => 225.5);
SELECT reason, pending, cooldown_until FROM waiting('debt');
SET credit_pools.test_clock = '2026-03-01 02:20+00';
SELECT * FROM explained('debt', 'ws');
SELECT * FROM agrees('debt', 'ws');

-- count_limit: what counts in the period, and when it ends. Without a price nothing is spent.
SELECT pool('count', 'ws', 50), policy('count', $$recharge_amount => 10, settlement => 'immediate', max_count => 1$$);
SELECT reason, balance FROM explained('count', 'ws');
SELECT * FROM counted('count', 'ws');
SELECT * FROM agrees('count', 'ws', 'usage');

-- spend_limit: nothing is left.
SELECT pool('spend', 'ws', 50), policy('spend', $$recharge_amount => 10, settlement => 'immediate', price_per_credit => 0.33, price_currency => 'EUR', max_spend => 3.30$$);
SELECT * FROM explained('spend', 'ws');
SELECT * FROM counted('spend', 'ws');
SELECT * FROM agrees('spend', 'ws', 'usage');
-- Here 4.00 - 3.30 = 0.70 are left, which buy 2.12 credits (for 0.6996); a cooldown keeps that from being asked for at once.
SELECT pool('cut', 'ws', 50), policy('cut', $$recharge_amount => 10, settlement => 'immediate', price_per_credit => 0.33, price_currency => 'EUR', max_spend => 4, cooldown => '1 hour'$$);
SET credit_pools.test_clock = '2026-03-01 03:20+00';
SELECT * FROM explained('cut', 'ws');
SELECT * FROM counted('cut', 'ws');
SELECT * FROM agrees('cut', 'ws', 'usage');
SELECT * FROM counted('cut', 'ws');
-- Both limits: the count is looked at first.
SELECT pool('both', 'ws', 50), policy('both', $$recharge_amount => 10, settlement => 'immediate', price_per_credit => 1, price_currency => 'EUR', max_spend => 10, max_count => 1$$);
SELECT * FROM counted('both', 'ws');
SELECT * FROM agrees('both', 'ws', 'usage');
-- What failed for good is not counted.
SELECT pool('failed', 'ws', 50), policy('failed', $$recharge_amount => 10, price_per_credit => 1, price_currency => 'EUR', max_spend => 25$$);
SELECT * FROM counted('failed', 'ws');
SELECT status FROM credit_pools.fail_recharge(customer_id => 'failed', recharge_id => recharge_id('failed', 'ws'), reason => 'declined', permanent => true);
SELECT * FROM counted('failed', 'ws');

-- The clock alone, without maintenance. Of 349 credits 300 end on 5 March: from that instant on the pool would ask for 451, at 6.77 (6.765, rounded half away from zero).
SELECT pool('expiry', 'ws', 49), pool('expiry', 'ws', 300, '2026-03-05 00:00+00'), policy('expiry', $$target_balance => 500, price_per_credit => 0.015, price_currency => 'EUR'$$);
-- A scheduled grant begins on 5 March: from then on there is enough.
SELECT pool('start', 'ws', 50), policy('start', 'target_balance => 500, enabled => false');
SELECT status FROM credit_pools.grant_credits(customer_id => 'start', resource_id => 'ws', credit_type_id => 'credits', amount => 100, effective_at => '2026-03-05 00:00+00');
-- A hold keeps 60 of 170 credits for an hour; of the other 110, 90 end after half an hour. What the hold gives back has ended as well by then.
SELECT pool('hold', 'ws', 150, '2026-03-01 03:50+00'), pool('hold', 'ws', 20);
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'hold', reservation_id => 'h', resource_id => 'ws', credit_type_id => 'credits', amount => 60, ttl => '1 hour');
SELECT policy('hold', 'target_balance => 500');
-- A hold of 60 of 150 asks for 410; when its time is over there is enough, though the recharge is still in flight.
SELECT pool('back', 'ws', 150), policy('back', 'target_balance => 500');
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'back', reservation_id => 'h', resource_id => 'ws', credit_type_id => 'credits', amount => 60, ttl => '1 hour');
SELECT fires, reason, balance, pending FROM explained('back', 'ws');
SET credit_pools.test_clock = '2026-03-01 03:49:59.999999+00';
SELECT * FROM explained('hold', 'ws');
SET credit_pools.test_clock = '2026-03-01 03:50+00';
SELECT * FROM explained('hold', 'ws');
SET credit_pools.test_clock = '2026-03-01 04:19:59.999999+00';
SELECT fires, reason, balance, pending FROM explained('back', 'ws');
SET credit_pools.test_clock = '2026-03-01 04:20+00';
SELECT fires, reason, balance, pending FROM explained('back', 'ws');
SELECT * FROM explained('hold', 'ws');
SELECT a.* FROM unnest(ARRAY['back', 'hold']) c, LATERAL agrees(c, 'ws') a;

-- A policy of its own before the customer's, also where it is switched off. The global pool (resource_id NULL) is under the customer's.
SELECT r, pool('two', r, 40), pool('two', r, 110, '2026-03-05 00:00+00') FROM unnest(ARRAY[NULL, 'ws-a', 'ws-b']) r;
SELECT pool('two', 'ws-c', 60), pool('two', 'ws-d', 40);
SELECT r, recharges_requested FROM (VALUES ('ws-b', true), ('ws-c', true), ('ws-d', false)) v (r, e), LATERAL credit_pools.set_auto_recharge(customer_id => 'two', credit_type_id => 'credits', resource_id => r, threshold => 50, recharge_amount => 30,
    price_per_credit => 0.1, price_currency => 'USD', enabled => e) ORDER BY r;
SELECT policy('two', 'target_balance => 200');
SET credit_pools.test_clock = '2026-03-04 23:59:59.999999+00';
SELECT c, e.* FROM unnest(ARRAY['expiry', 'start']) c, LATERAL explained(c, 'ws') e;
SELECT r, e.* FROM unnest(ARRAY[NULL, 'ws-a', 'ws-b', 'ws-c', 'ws-d']) r, LATERAL explained('two', r) e;
SET credit_pools.test_clock = '2026-03-05 00:00+00';
SELECT c, e.* FROM unnest(ARRAY['expiry', 'start']) c, LATERAL explained(c, 'ws') e;
SELECT r, e.* FROM unnest(ARRAY[NULL, 'ws-a', 'ws-b', 'ws-c', 'ws-d']) r, LATERAL explained('two', r) e;
SELECT e.customer_id, e.resource_id, e.pool_id = p.pool_id AS pool FROM credit_pools.pools p, LATERAL credit_pools.explain_recharge(p.customer_id, p.credit_type_id, p.resource_id) e WHERE p.customer_id = 'two' ORDER BY e.resource_id NULLS FIRST;
SELECT c, a.* FROM unnest(ARRAY['expiry', 'start']) c, LATERAL agrees(c, 'ws') a;
SELECT r, a.* FROM (VALUES (1, 'ws-a', 'reset'), (2, 'ws-b', 'reset'), (3, 'ws-c', 'reset'), (4, 'ws-d', 'usage'), (5, NULL, 'reset')) v (n, r, how), LATERAL agrees('two', r, how) a ORDER BY n;

-- What is spent is counted by policy. 'b' spent 10 under the customer's, and 10 under its own since.
SELECT pool('budget', 'a', 50), pool('budget', 'b', 50), policy('budget', $$recharge_amount => 10, settlement => 'immediate', price_per_credit => 1, price_currency => 'EUR', max_spend => 25$$);
SELECT policy('budget', $$recharge_amount => 10, settlement => 'immediate', price_per_credit => 1, price_currency => 'EUR', max_spend => 30, resource_id => 'b'$$);
SELECT r, c.* FROM unnest(ARRAY['a', 'b']) r, LATERAL counted('budget', r) c;
SELECT r, a.* FROM unnest(ARRAY['a', 'b']) r, LATERAL agrees('budget', r, 'usage') a;

-- The month of a customer in New York ends on 1 April at 04:00 UTC: until then nothing is left, then all of it, though nobody has written anything.
SELECT status FROM credit_pools.provision_subscription(customer_id => 'york', plan_id => 'zone', time_zone => 'America/New_York');
SELECT pool('york', 'ws', 50), policy('york', $$recharge_amount => 10, settlement => 'immediate', price_per_credit => 1, price_currency => 'USD', max_spend => 25, max_count => 5$$);
SELECT * FROM agrees('york', 'ws', 'usage');
SELECT * FROM agrees('york', 'ws', 'usage');
SELECT * FROM agrees('york', 'ws', 'usage');
SET credit_pools.test_clock = '2026-04-01 03:59:59.999999+00';
SELECT * FROM counted('york', 'ws');
SELECT * FROM agrees('york', 'ws', 'usage');
SET credit_pools.test_clock = '2026-04-01 04:00+00';
SELECT * FROM explained('york', 'ws');
SELECT * FROM counted('york', 'ws');
SELECT * FROM agrees('york', 'ws', 'usage');
SELECT * FROM counted('york', 'ws');
-- And so it is for the others, in UTC.
SELECT c, k.* FROM unnest(ARRAY['both', 'count', 'spend']) c, LATERAL counted(c, 'ws') k;
SELECT c, a.* FROM unnest(ARRAY['both', 'count', 'spend']) c, LATERAL agrees(c, 'ws', 'usage') a;

-- It reads only: in a read-only transaction, without a transaction id, also where something is due; and nothing has changed.
SELECT world() AS before \gset
BEGIN READ ONLY;
SELECT count(*) = (SELECT count(*) FROM credit_pools.pools) AS all_explained, count(*) FILTER (WHERE e.would_fire <> (e.reason IS NULL) OR e.would_fire <> (e.amount IS NOT NULL) OR e.balance <> p.balance) AS contradictions
  FROM credit_pools.pools p, LATERAL credit_pools.explain_recharge(customer_id => p.customer_id, credit_type_id => p.credit_type_id, resource_id => p.resource_id) e;
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
COMMIT;
SELECT world() = :'before' AS unchanged;

-- What it refuses.
SELECT n, e.sqlstate, e.figures ->> 'kind' AS kind, e.figures ->> 'argument' AS argument FROM (VALUES
    (1, $$customer_id => 'nobody', credit_type_id => 'credits'$$),
    (2, $$customer_id => 'nobody', credit_type_id => 'credits', resource_id => 'ws'$$),
    (3, $$customer_id => 'enough', credit_type_id => 'credits', resource_id => 'nowhere'$$),
    (4, $$customer_id => 'enough', credit_type_id => 'credits', resource_id => 'ws-a'$$),
    (5, $$customer_id => 'enough', credit_type_id => 'nothing', resource_id => 'ws'$$),
    (6, $$customer_id => 'enough', credit_type_id => 'old', resource_id => 'ws'$$),
    (7, $$customer_id => 'enough', credit_type_id => 'credits'$$),
    (8, $$credit_type_id => 'credits', resource_id => 'ws'$$),
    (9, $$customer_id => '', credit_type_id => 'credits', resource_id => 'ws'$$),
    (10, $$customer_id => repeat('x', 256), credit_type_id => 'credits', resource_id => 'ws'$$),
    (11, $$customer_id => E'a\nb', credit_type_id => 'credits', resource_id => 'ws'$$),
    (12, $$customer_id => 'enough', resource_id => 'ws'$$),
    (13, $$customer_id => 'enough', credit_type_id => '', resource_id => 'ws'$$),
    (14, $$customer_id => 'enough', credit_type_id => repeat('x', 256), resource_id => 'ws'$$),
    (15, $$customer_id => 'enough', credit_type_id => 'credits', resource_id => ''$$),
    (16, $$customer_id => 'enough', credit_type_id => 'credits', resource_id => repeat('x', 256)$$),
    (17, $$customer_id => 'enough', credit_type_id => 'credits', resource_id => E'a\tb'$$)
  ) v (n, arguments), LATERAL refused(format('SELECT * FROM credit_pools.explain_recharge(%s)', arguments)) e ORDER BY n;
SELECT * FROM ledger_problems();
