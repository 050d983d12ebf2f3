-- Payment workers that are late (contract sections 6 and 10): a lease runs out and another worker claims; whoever reports the payment first completes the recharge, once. What failed is tried
-- again after a pause that doubles, a day at most. Leases and pauses end exactly at their instant.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
CREATE FUNCTION complete(resource text, reference text) RETURNS TABLE (status text, amount numeric, balance numeric, is_duplicate boolean) LANGUAGE sql AS $f$
    SELECT status, amount, balance, is_duplicate FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', $1), payment_reference => $2)
$f$;
CREATE FUNCTION fail(resource text, permanent boolean DEFAULT false) RETURNS TABLE (status text, attempts bigint, next_attempt_at text) LANGUAGE sql AS $f$
    SELECT status, attempts, at(next_attempt_at) FROM credit_pools.fail_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', $1), reason => 'declined', permanent => $2)
$f$;
CREATE FUNCTION claim(worker text, lease interval DEFAULT '5 minutes') RETURNS TABLE (resource text, amount numeric, price numeric, attempts bigint, lease_expires_at text) LANGUAGE sql AS $f$
    SELECT resource_id, amount, price, attempts, at(lease_expires_at) FROM credit_pools.claim_recharges(worker => $1, max_count => 100, lease => $2) ORDER BY resource_id
$f$;
CREATE FUNCTION recharge(resource text) RETURNS TABLE (status text, attempts int, worker text, payment_reference text, grants bigint) LANGUAGE sql AS $f$
    SELECT status, attempts, CASE WHEN status = 'processing' THEN worker END, payment_reference, (SELECT count(*) FROM credit_pools.grants g WHERE g.recharge_id = r.recharge_id)
      FROM credit_pools.recharges r WHERE r.recharge_id = recharge_id('acme', $1)
$f$;
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
-- A pool of the customer's that opens is empty, and so asks for 200 credits at once.
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'one');
SELECT recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 100, target_balance => 200, price_per_credit => 0.01, price_currency => 'EUR');
-- A lease holds until just before its end. Then a second worker may claim it.
SELECT * FROM claim('w1');
SET credit_pools.test_clock = '2026-03-01 00:04:59.999999+00';
SELECT * FROM claim('w2');
SELECT * FROM claim('w1');
SELECT * FROM recharge('one');
SET credit_pools.test_clock = '2026-03-01 00:05+00';
SELECT * FROM claim('w2');
SELECT * FROM recharge('one');
-- The first worker's payment went through after all: granted, though the lease is another's by now. The second worker reports the same payment: the same success. Another payment: a conflict, as is one without a reference.
SELECT * FROM complete('one', 'pay-1');
SELECT * FROM complete('one', 'pay-1');
SELECT sqlstate, world FROM refused($$SELECT * FROM complete('one', 'pay-2')$$);
SELECT sqlstate, world FROM refused($$SELECT * FROM complete('one', NULL)$$);
SELECT sqlstate, figures, world FROM refused($$SELECT * FROM fail('one')$$);
SELECT * FROM recharge('one');
-- Nobody gets it again when the second lease is over, and its credits can be used up without another grant.
SET credit_pools.test_clock = '2026-03-01 00:10+00';
SELECT * FROM claim('w3');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'one', credit_type_id => 'credits', amount => 50);
SELECT * FROM complete('one', 'pay-1');

-- The lease is over, and nobody else has claimed it: completed all the same, from the instant of the completion.
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'two');
SELECT * FROM claim('w1', lease => '1 second');
SET credit_pools.test_clock = '2026-03-01 01:00+00';
SELECT * FROM complete('two', 'pay-3');
SELECT amount, status, effective_at, expires_at FROM grants_of('acme', 'two');

-- Failed, and waiting for the next attempt; then the payment turns out to have gone through: granted, and nothing is left to try.
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'three');
SELECT * FROM claim('w1');
SELECT * FROM fail('three');
SELECT * FROM recharge('three');
SELECT * FROM complete('three', 'pay-4');
SELECT * FROM recharge('three');
SET credit_pools.test_clock = '2026-03-01 01:10+00';
SELECT * FROM claim('w2');

-- The first worker reports its failure after the second one has claimed: an attempt has failed, and the next may begin after the pause, by any worker. The second one's payment still completes it.
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'four');
SELECT * FROM claim('w1');
SET credit_pools.test_clock = '2026-03-01 01:15+00';
SELECT * FROM claim('w2', lease => '1 hour');
SELECT * FROM fail('four');
SET credit_pools.test_clock = '2026-03-01 01:15:59.999999+00';
SELECT * FROM claim('w3');
SET credit_pools.test_clock = '2026-03-01 01:16+00';
SELECT * FROM claim('w3');
SELECT * FROM complete('four', 'pay-5');
SELECT * FROM recharge('four');

-- The first worker says for good, after the second one has claimed: it is over, and a payment that comes later completes nothing.
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'five');
SELECT * FROM claim('w1');
SET credit_pools.test_clock = '2026-03-01 01:21+00';
SELECT * FROM claim('w2');
SELECT * FROM fail('five', permanent => true);
SELECT sqlstate, figures, world FROM refused($$SELECT * FROM complete('five', 'pay-6')$$);
SELECT sqlstate, figures, world FROM refused($$SELECT * FROM fail('five')$$);
SET credit_pools.test_clock = '2026-03-01 01:26+00';
SELECT * FROM claim('w3');

-- A lease that runs out is no failed attempt: three of them leave the recharge as it was, and max_failures (3) is counted over all workers.
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'six');
SELECT * FROM claim('w1', lease => '1 microsecond');
SELECT * FROM claim('w2', lease => '1 microsecond');
SET credit_pools.test_clock = '2026-03-01 01:26:00.000001+00';
SELECT * FROM claim('w2', lease => '1 microsecond');
SET credit_pools.test_clock = '2026-03-01 01:26:00.000002+00';
SELECT * FROM claim('w3', lease => '1 microsecond');
SET credit_pools.test_clock = '2026-03-01 01:30+00';
SELECT * FROM fail('six');
SET credit_pools.test_clock = '2026-03-01 01:31+00';
SELECT * FROM claim('w2');
SELECT * FROM fail('six');
SET credit_pools.test_clock = '2026-03-01 01:33+00';
SELECT * FROM claim('w1');
SELECT * FROM fail('six');
SELECT credit_pools.clock() = updated_at AS now, status, reason, attempts FROM credit_pools.recharges WHERE resource_id = 'six';

-- Two leases at once: each ends at its own instant.
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'seven');
SELECT * FROM claim('w1', lease => '10 minutes');
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'eight');
SELECT * FROM claim('w2', lease => '20 minutes');
SET credit_pools.test_clock = '2026-03-01 01:43+00';
SELECT * FROM claim('w3', lease => '10 minutes');
SET credit_pools.test_clock = '2026-03-01 01:53+00';
SELECT * FROM claim('w4', lease => '1 month');
-- What was asked for is granted when it is paid, also when the policy has been switched off and the pool frozen meanwhile; then nothing new is asked for.
SELECT enabled, recharges_requested FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', threshold => 100, target_balance => 200, enabled => false);
SELECT status FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'eight', status => 'frozen');
SELECT r, c.* FROM unnest(ARRAY['seven', 'eight']) r, LATERAL complete(r, 'pay-7') c;

-- The pause doubles with each failure, and is a day at most. The worker fails each time at the instant at which it claims; a microsecond earlier nobody can claim.
CREATE FUNCTION pauses(resource text, backoff interval, times int) RETURNS TABLE (attempt int, early bigint, claimed bigint, status text, pause interval) LANGUAGE plpgsql AS $f$
DECLARE
    t timestamptz := credit_pools.clock();
    failed record;
BEGIN
    PERFORM FROM credit_pools.open_pool(customer_id => 'slow', credit_type_id => 'credits', resource_id => pauses.resource);
    PERFORM FROM credit_pools.set_auto_recharge(customer_id => 'slow', credit_type_id => 'credits', resource_id => pauses.resource, threshold => 100, target_balance => 200, max_failures => pauses.times, backoff => pauses.backoff);
    FOR i IN 1 .. times LOOP
        attempt := i;
        IF i > 1 THEN
            PERFORM set_config('credit_pools.test_clock', (t - interval '1 microsecond')::text, false);
            early := (SELECT count(*) FROM claim('early'));
            PERFORM set_config('credit_pools.test_clock', t::text, false);
        END IF;
        claimed := (SELECT count(*) FROM claim('worker'));
        SELECT * INTO failed FROM credit_pools.fail_recharge(customer_id => 'slow', recharge_id => recharge_id('slow', pauses.resource), reason => 'declined');
        status := failed.status;
        pause := failed.next_attempt_at - t;
        t := failed.next_attempt_at;
        RETURN NEXT;
    END LOOP;
END $f$;
SELECT * FROM pauses('minute', '1 minute', 15);
SELECT attempt, status, pause FROM pauses('hours', '7 hours', 5);
SELECT attempt, status, pause FROM pauses('day', '1 day', 3);
SELECT attempt, status, pause FROM pauses('month', '1 month', 3);
SELECT attempt, status, pause FROM pauses('short', '1.5 seconds', 4);
SELECT attempt, status, pause FROM pauses('once', '1 minute', 1);
SELECT * FROM ledger_problems();
