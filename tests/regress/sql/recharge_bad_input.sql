-- Auto-recharge refuses bad input clearly (contract sections 1, 6 and 10): the SQLSTATE says what, DETAIL names the argument, and nothing changes. recharge_on_payment.sql has the plain cases.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'whole', scale => 0);
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'other', scale => 2);
-- Recharges in every state: 'paid' succeeded, 'broken' failed and skipped since, 'open' pending; 'instant' was granted at once, without a payment.
SELECT FROM (VALUES ('acme', 'broken'), ('acme', 'open'), ('acme', 'paid'), ('globex', 'foreign'), ('instant', 'ws'), ('poor', 'ws')) v (c, r), LATERAL credit_pools.open_pool(customer_id => c, resource_id => r, credit_type_id => 'credits');
SELECT c, recharges_requested FROM (VALUES ('acme', 'on_payment'), ('globex', 'on_payment'), ('instant', 'immediate')) v (c, s), LATERAL credit_pools.set_auto_recharge(customer_id => c, credit_type_id => 'credits', threshold => 100, target_balance => 200, settlement => s,
    price_per_credit => 0.01, price_currency => 'EUR') ORDER BY c;
SELECT status FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'paid'), payment_reference => 'pay-1');
SELECT status FROM credit_pools.fail_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'broken'), reason => 'declined', permanent => true);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'broken', credit_type_id => 'credits', amount => 1);
SELECT resource, status, reason FROM recharges_of('acme') ORDER BY resource, status;
SELECT world() AS before \gset
-- Amounts. Which argument DETAIL names where there are two is not fixed: named says whether it is one of them.
SELECT n, e.sqlstate, e.figures ->> 'argument' = ANY (string_to_array(may_name, ' ')) AS named, e.world FROM (VALUES
    (1, 'threshold', $$target_balance => 100$$),
    (2, 'threshold', $$threshold => -0.01, target_balance => 100$$),
    (3, 'threshold', $$threshold => 'NaN', recharge_amount => 100$$),
    (4, 'threshold', $$threshold => 'Infinity', recharge_amount => 100$$),
    (5, 'threshold', $$threshold => '-Infinity', target_balance => 100$$),
    (6, 'threshold', $$threshold => 0.001, target_balance => 100$$),
    (7, 'threshold', $$threshold => 0.00000000000000000000001, target_balance => 100$$),
    (8, 'threshold', $$threshold => 1000000000000000000, recharge_amount => 100$$),
    (9, 'threshold', $$threshold => 1e400, recharge_amount => 100$$),
    (10, 'target_balance', $$threshold => 100, target_balance => 99.99$$),
    (11, 'target_balance', $$threshold => 0, target_balance => 0$$),
    (12, 'target_balance', $$threshold => 0, target_balance => -1$$),
    (13, 'target_balance', $$threshold => 0, target_balance => 'NaN'$$),
    (14, 'target_balance', $$threshold => 0, target_balance => 'Infinity'$$),
    (15, 'target_balance', $$threshold => 0, target_balance => '-Infinity'$$),
    (16, 'target_balance', $$threshold => 0, target_balance => 0.005$$),
    (17, 'target_balance', $$threshold => 0, target_balance => 1000000000000000000$$),
    (18, 'recharge_amount', $$threshold => 100, recharge_amount => -1$$),
    (19, 'recharge_amount', $$threshold => 100, recharge_amount => 'NaN'$$),
    (20, 'recharge_amount', $$threshold => 100, recharge_amount => 'Infinity'$$),
    (21, 'recharge_amount', $$threshold => 100, recharge_amount => 0.001$$),
    (22, 'recharge_amount', $$threshold => 100, recharge_amount => 1000000000000000000$$),
    (23, 'target_balance recharge_amount', $$threshold => 100, target_balance => 200, recharge_amount => 100$$),
    (24, 'target_balance recharge_amount', $$threshold => 100, target_balance => NULL, recharge_amount => NULL$$),
    (25, NULL, $$threshold => 0, target_balance => 0.01$$),
    (26, NULL, $$threshold => 100.000000, recharge_amount => 0.010000000000000000000$$),
    (27, NULL, $$threshold => 999999999999999998.99, target_balance => 999999999999999999.99$$)
  ) v (n, may_name, arguments), LATERAL refused('SELECT * FROM credit_pools.set_auto_recharge(customer_id => ''acme'', credit_type_id => ''credits'', ' || arguments || ')') e ORDER BY n;
-- Money: a price and its currency belong together, and the currency looks like a code of ISO 4217.
SELECT n, e.sqlstate, e.figures ->> 'argument' = ANY (string_to_array(may_name, ' ')) AS named, e.world FROM (VALUES
    (1, 'price_per_credit', $$threshold => 100, recharge_amount => 1, price_currency => 'EUR', price_per_credit => -0.01$$),
    (2, 'price_per_credit', $$threshold => 100, recharge_amount => 1, price_currency => 'EUR', price_per_credit => 'NaN'$$),
    (3, 'price_per_credit', $$threshold => 100, recharge_amount => 1, price_currency => 'EUR', price_per_credit => 'Infinity'$$),
    (4, 'price_per_credit', $$threshold => 100, recharge_amount => 1, price_currency => 'EUR', price_per_credit => '-Infinity'$$),
    (5, 'price_per_credit', $$threshold => 100, recharge_amount => 1, price_currency => 'EUR', price_per_credit => 1000000000000000000$$),
    (6, 'price_per_credit', $$threshold => 100, recharge_amount => 1, price_currency => 'EUR', price_per_credit => 1.0000000000000000001$$),
    (7, 'price_currency price_per_credit', $$threshold => 100, recharge_amount => 1, price_per_credit => 1$$),
    (8, 'price_currency price_per_credit', $$threshold => 100, recharge_amount => 1, price_currency => 'EUR'$$),
    (9, 'price_currency', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'eur'$$),
    (10, 'price_currency', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'Eur'$$),
    (11, 'price_currency', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'EU'$$),
    (12, 'price_currency', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'EURO'$$),
    (13, 'price_currency', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'E1R'$$),
    (14, 'price_currency', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => '978'$$),
    (15, 'price_currency', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => ''$$),
    (16, 'price_currency', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => ' EUR'$$),
    (17, 'price_currency', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'EUR '$$),
    (18, 'price_currency', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'ÄÖÜ'$$),
    (19, 'price_currency', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => '€'$$)
  ) v (n, may_name, arguments), LATERAL refused('SELECT * FROM credit_pools.set_auto_recharge(customer_id => ''acme'', credit_type_id => ''credits'', ' || arguments || ')') e ORDER BY n;
-- A recharge costs at least the smallest coin: a recharge_amount, or the least gap there can be, whose price above 0 rounds to nothing would be credits for nothing. Who wants to give them away says 0, or no price.
SELECT n, e.sqlstate, e.figures ->> 'argument' = ANY (string_to_array(may_name, ' ')) AS named, e.world FROM (VALUES
    (1, 'price_per_credit', $$threshold => 100, recharge_amount => 1, price_per_credit => 0.004999, price_currency => 'EUR'$$),
    (2, 'price_per_credit', $$threshold => 100, recharge_amount => 1, price_per_credit => 0.004999, price_currency => 'EUR', settlement => 'immediate'$$),
    (3, 'price_per_credit', $$threshold => 100, recharge_amount => 0.01, price_per_credit => 0.49, price_currency => 'EUR'$$),
    (4, 'price_per_credit', $$threshold => 100, target_balance => 100.01, price_per_credit => 0.49, price_currency => 'EUR'$$),
    (5, 'price_per_credit', $$threshold => 100, target_balance => 101, price_per_credit => 0.49, price_currency => 'JPY'$$),
    (6, 'price_per_credit', $$threshold => 100, target_balance => 101, price_per_credit => 0.000499, price_currency => 'KWD'$$),
    (7, 'price_per_credit', $$threshold => 100, target_balance => 101, price_per_credit => 0.000000000000000001, price_currency => 'EUR'$$),
    (8, 'price_per_credit', $$threshold => 100, target_balance => 101, price_per_credit => 0.001, price_currency => 'EUR', max_spend => 5$$),
    (9, NULL, $$threshold => 100, recharge_amount => 1, price_per_credit => 0.005, price_currency => 'EUR'$$),
    (10, NULL, $$threshold => 100, target_balance => 100.01, price_per_credit => 0.5, price_currency => 'EUR'$$),
    (11, NULL, $$threshold => 100, target_balance => 101, price_per_credit => 0.5, price_currency => 'JPY'$$),
    (12, NULL, $$threshold => 100, target_balance => 101, price_per_credit => 0.0005, price_currency => 'KWD'$$),
    (13, NULL, $$threshold => 100, recharge_amount => 1, price_per_credit => 0, price_currency => 'EUR'$$),
    (14, NULL, $$threshold => 100, recharge_amount => 1$$)
  ) v (n, may_name, arguments), LATERAL refused('SELECT * FROM credit_pools.set_auto_recharge(customer_id => ''acme'', credit_type_id => ''credits'', ' || arguments || ')') e ORDER BY n;
-- A price beyond all numbers: whether it is refused now or the recharge is skipped later, no credits come without their price. (The last one has no price, and so one recharge without.)
CREATE FUNCTION unpaid(arguments text) RETURNS bigint LANGUAGE plpgsql AS $f$
DECLARE
    found bigint := 0;
BEGIN
    EXECUTE format('SELECT FROM credit_pools.set_auto_recharge(customer_id => ''poor'', credit_type_id => ''credits'', %s)', arguments);
    found := (SELECT count(*) FROM credit_pools.recharges WHERE customer_id = 'poor' AND amount IS NOT NULL AND price IS NULL);
    RAISE EXCEPTION 'undone';
EXCEPTION WHEN OTHERS THEN
    RETURN found;
END $f$;
SELECT n, unpaid(arguments) FROM (VALUES
    (1, $$price_per_credit => 999999999999999999, price_currency => 'EUR', threshold => 100, recharge_amount => 999999999999999999.99$$),
    (2, $$price_per_credit => 999999999999999999, price_currency => 'EUR', threshold => 100, recharge_amount => 999999999999999999.99, settlement => 'immediate'$$),
    (3, $$price_per_credit => 999999999999999999, price_currency => 'EUR', threshold => 0.01, target_balance => 999999999999999999.99, settlement => 'immediate', max_spend => 5$$),
    (4, $$price_per_credit => 999999999999999999, price_currency => 'EUR', threshold => 0.01, target_balance => 999999999999999999.99, max_count => 1$$),
    (5, $$threshold => 0.01, target_balance => 999999999999999999.99, max_count => 1$$)
  ) v (n, arguments) ORDER BY n;
-- Limits: max_spend is money and needs a price; periods are of one unit of the calendar.
SELECT n, e.sqlstate, e.figures ->> 'argument' = ANY (string_to_array(may_name, ' ')) AS named, e.world FROM (VALUES
    (1, 'max_spend price_per_credit', $$threshold => 100, recharge_amount => 1, max_spend => 5$$),
    (2, 'max_spend price_per_credit price_currency', $$threshold => 100, recharge_amount => 1, max_spend => 5, price_currency => 'EUR'$$),
    (3, 'max_spend price_per_credit', $$threshold => 100, recharge_amount => 1, max_spend => 5, price_per_credit => 0, price_currency => 'EUR'$$),
    (4, 'max_spend', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'EUR', max_spend => -0.01$$),
    (5, 'max_spend', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'EUR', max_spend => 'NaN'$$),
    (6, 'max_spend', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'EUR', max_spend => 'Infinity'$$),
    (7, 'max_spend', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'EUR', max_spend => 1000000000000000000$$),
    (8, 'max_spend', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'EUR', max_spend => 5.001$$),
    (9, 'max_spend', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'JPY', max_spend => 5.5$$),
    (10, 'max_spend', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'KWD', max_spend => 5.0001$$),
    (11, 'spend_period', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'EUR', max_spend => 5, spend_period => '0'$$),
    (12, 'spend_period', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'EUR', max_spend => 5, spend_period => '-1 month'$$),
    (13, 'spend_period', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'EUR', max_spend => 5, spend_period => '1 month -1 day'$$),
    (14, 'spend_period', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'EUR', max_spend => 5, spend_period => '1 month 1 day'$$),
    (15, 'spend_period', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'EUR', max_spend => 5, spend_period => '1 day 12:00'$$),
    (16, 'spend_period', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'EUR', max_spend => 5, spend_period => '1 month -30 days'$$),
    (17, 'spend_period', $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'EUR', max_spend => 5, spend_period => '500000 years'$$),
    (18, 'spend_period', $$threshold => 100, recharge_amount => 1, max_count => 1, spend_period => '-1 day'$$),
    (19, 'spend_period', $$threshold => 100, recharge_amount => 1, max_count => 1, spend_period => '1 year 1 hour'$$),
    (20, 'spend_period', $$threshold => 100, recharge_amount => 1, max_count => 1, spend_period => '2000000000 days'$$),
    (21, 'max_count', $$threshold => 100, recharge_amount => 1, max_count => -1$$),
    (22, 'max_count', $$threshold => 100, recharge_amount => 1, max_count => -2147483648$$),
    (23, NULL, $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'EUR', max_spend => 5.01$$),
    (24, NULL, $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'JPY', max_spend => 5.000$$),
    (25, NULL, $$threshold => 100, recharge_amount => 1, price_per_credit => 1, price_currency => 'KWD', max_spend => 5.001$$),
    (26, NULL, $$threshold => 100, recharge_amount => 1, max_count => 2147483647, spend_period => '90 days'$$)
  ) v (n, may_name, arguments), LATERAL refused('SELECT * FROM credit_pools.set_auto_recharge(customer_id => ''acme'', credit_type_id => ''credits'', ' || arguments || ')') e ORDER BY n;
-- Pauses, lives, and the rest.
SELECT n, e.sqlstate, e.figures ->> 'argument' = ANY (string_to_array(may_name, ' ')) AS named, e.world FROM (VALUES
    (1, 'cooldown', $$threshold => 100, recharge_amount => 1, cooldown => '-1 second'$$),
    (2, 'cooldown', $$threshold => 100, recharge_amount => 1, cooldown => '1 day -1 hour'$$),
    (3, 'cooldown', $$threshold => 100, recharge_amount => 1, cooldown => '500000 years'$$),
    (4, 'max_failures', $$threshold => 100, recharge_amount => 1, max_failures => 0$$),
    (5, 'max_failures', $$threshold => 100, recharge_amount => 1, max_failures => -2147483648$$),
    (6, 'settlement', $$threshold => 100, recharge_amount => 1, settlement => ''$$),
    (7, 'settlement', $$threshold => 100, recharge_amount => 1, settlement => 'Immediate'$$),
    (8, 'settlement', $$threshold => 100, recharge_amount => 1, settlement => 'on payment'$$),
    (9, 'backoff', $$threshold => 100, recharge_amount => 1, backoff => '0'$$),
    (10, 'backoff', $$threshold => 100, recharge_amount => 1, backoff => '-1 minute'$$),
    (11, 'backoff', $$threshold => 100, recharge_amount => 1, backoff => '1 day -1 minute'$$),
    (12, 'grant_expires_after', $$threshold => 100, recharge_amount => 1, grant_expires_after => '0'$$),
    (13, 'grant_expires_after', $$threshold => 100, recharge_amount => 1, grant_expires_after => '-1 day'$$),
    (14, 'grant_expires_after', $$threshold => 100, recharge_amount => 1, grant_expires_after => '1 month -40 days'$$),
    (15, 'grant_expires_after', $$threshold => 100, recharge_amount => 1, grant_expires_after => '500000 years'$$),
    (16, 'resource_id', $$threshold => 100, recharge_amount => 1, resource_id => ''$$),
    (17, 'resource_id', $$threshold => 100, recharge_amount => 1, resource_id => repeat('x', 256)$$),
    (18, 'resource_id', $$threshold => 100, recharge_amount => 1, resource_id => E'a\nb'$$),
    (19, NULL, $$threshold => 100, recharge_amount => 1, cooldown => NULL, max_failures => NULL, settlement => NULL, backoff => NULL, grant_expires_after => NULL, spend_period => NULL, max_count => NULL, enabled => NULL$$)
  ) v (n, may_name, arguments), LATERAL refused('SELECT * FROM credit_pools.set_auto_recharge(customer_id => ''acme'', credit_type_id => ''credits'', ' || arguments || ')') e ORDER BY n;
-- Ids.
SELECT n, e.sqlstate, e.figures ->> 'argument' = ANY (string_to_array(may_name, ' ')) AS named, e.world FROM (VALUES
    (1, 'customer_id', $$credit_type_id => 'credits'$$),
    (2, 'customer_id', $$customer_id => '', credit_type_id => 'credits'$$),
    (3, 'customer_id', $$customer_id => repeat('x', 256), credit_type_id => 'credits'$$),
    (4, 'customer_id', $$customer_id => E'a\tb', credit_type_id => 'credits'$$),
    (5, 'credit_type_id', $$customer_id => 'acme'$$),
    (6, 'credit_type_id', $$customer_id => 'acme', credit_type_id => ''$$),
    (7, 'credit_type_id', $$customer_id => 'acme', credit_type_id => repeat('x', 256)$$),
    (8, 'credit_type_id', $$customer_id => 'acme', credit_type_id => E'\x01'$$)
  ) v (n, may_name, arguments), LATERAL refused('SELECT * FROM credit_pools.set_auto_recharge(threshold => 100, recharge_amount => 1, ' || arguments || ')') e ORDER BY n;
SELECT n, e.sqlstate, e.figures ->> 'argument' = ANY (string_to_array(may_name, ' ')) AS named, e.world FROM (VALUES
    (1, 'customer_id', $$credit_type_id => 'credits'$$),
    (2, 'customer_id', $$customer_id => '', credit_type_id => 'credits'$$),
    (3, 'credit_type_id', $$customer_id => 'acme'$$),
    (4, 'credit_type_id', $$customer_id => 'acme', credit_type_id => ''$$),
    (5, 'resource_id', $$customer_id => 'acme', credit_type_id => 'credits', resource_id => ''$$),
    (6, 'resource_id', $$customer_id => 'acme', credit_type_id => 'credits', resource_id => E'a\nb'$$)
  ) v (n, may_name, arguments), LATERAL refused('SELECT * FROM credit_pools.reset_auto_recharge(' || arguments || ')') e ORDER BY n;
-- What does not exist. A resource of another customer does not exist for this one.
SELECT n, e.sqlstate, e.figures ->> 'kind' AS kind, e.figures ->> 'id' AS id, e.world FROM (VALUES
    (1, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'nobody', credit_type_id => 'credits', threshold => 100, recharge_amount => 1)$$),
    (2, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'nobody', credit_type_id => 'credits', resource_id => 'open', threshold => 100, recharge_amount => 1)$$),
    (3, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'foreign', threshold => 100, recharge_amount => 1)$$),
    (4, $$SELECT * FROM credit_pools.set_auto_recharge(customer_id => 'acme', credit_type_id => 'Credits', threshold => 100, recharge_amount => 1)$$),
    (5, $$SELECT * FROM credit_pools.reset_auto_recharge(customer_id => 'nobody', credit_type_id => 'credits')$$),
    (6, $$SELECT * FROM credit_pools.reset_auto_recharge(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'foreign')$$),
    (7, $$SELECT * FROM credit_pools.reset_auto_recharge(customer_id => 'acme', credit_type_id => 'nothing')$$)
  ) v (n, statement), LATERAL refused(statement) e ORDER BY n;
-- A credit type without a policy has nothing to reset.
SELECT sqlstate, world FROM refused($$SELECT * FROM credit_pools.reset_auto_recharge(customer_id => 'acme', credit_type_id => 'other')$$);
SELECT sqlstate, world FROM refused($$SELECT * FROM credit_pools.reset_auto_recharge(customer_id => 'acme', credit_type_id => 'other', resource_id => 'open')$$);
-- Payments: of recharges that do not exist, that are another customer's, that are over; with another reference than the one that completed it.
SELECT n, e.sqlstate, e.figures ->> 'kind' AS kind, e.figures ->> 'status' AS status, e.world FROM (VALUES
    (1, $$SELECT * FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => 0, payment_reference => 'x')$$),
    (2, $$SELECT * FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => 9223372036854775807, payment_reference => 'x')$$),
    (3, $$SELECT * FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => -9223372036854775808, payment_reference => 'x')$$),
    (4, $$SELECT * FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => recharge_id('globex', 'foreign'), payment_reference => 'x')$$),
    (5, $$SELECT * FROM credit_pools.complete_recharge(customer_id => 'globex', recharge_id => recharge_id('acme', 'paid'), payment_reference => 'pay-1')$$),
    (6, $$SELECT * FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'broken'), payment_reference => 'x')$$),
    (7, $$SELECT * FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'broken'))$$),
    (8, $$SELECT * FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => (SELECT recharge_id FROM credit_pools.recharges WHERE customer_id = 'acme' AND status = 'skipped'), payment_reference => 'x')$$),
    (9, $$SELECT * FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'paid'), payment_reference => 'pay-2')$$),
    (10, $$SELECT * FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'paid'), payment_reference => 'PAY-1')$$),
    (11, $$SELECT * FROM credit_pools.complete_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'paid'))$$),
    (12, $$SELECT * FROM credit_pools.complete_recharge(customer_id => 'instant', recharge_id => recharge_id('instant', 'ws'), payment_reference => 'pay-1')$$),
    (13, $$SELECT * FROM credit_pools.fail_recharge(customer_id => 'acme', recharge_id => 0)$$),
    (14, $$SELECT * FROM credit_pools.fail_recharge(customer_id => 'acme', recharge_id => recharge_id('globex', 'foreign'))$$),
    (15, $$SELECT * FROM credit_pools.fail_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'paid'))$$),
    (16, $$SELECT * FROM credit_pools.fail_recharge(customer_id => 'instant', recharge_id => recharge_id('instant', 'ws'), permanent => true)$$),
    (17, $$SELECT * FROM credit_pools.fail_recharge(customer_id => 'acme', recharge_id => recharge_id('acme', 'broken'), permanent => true)$$),
    (18, $$SELECT * FROM credit_pools.fail_recharge(customer_id => 'acme', recharge_id => (SELECT recharge_id FROM credit_pools.recharges WHERE customer_id = 'acme' AND status = 'skipped'))$$),
    (19, $$SELECT * FROM credit_pools.fail_recharge(customer_id => 'acme', recharge_id => (SELECT recharge_id FROM credit_pools.recharges WHERE customer_id = 'acme' AND status = 'skipped'), permanent => true)$$)
  ) v (n, statement), LATERAL refused(statement) e ORDER BY n;
SELECT n, e.sqlstate, e.figures ->> 'argument' = ANY (string_to_array(may_name, ' ')) AS named, e.world FROM (VALUES
    (1, 'customer_id', $$recharge_id => recharge_id('acme', 'open'), payment_reference => 'x'$$),
    (2, 'customer_id', $$customer_id => '', recharge_id => recharge_id('acme', 'open'), payment_reference => 'x'$$),
    (3, 'recharge_id', $$customer_id => 'acme', recharge_id => NULL, payment_reference => 'x'$$),
    (4, 'payment_reference', $$customer_id => 'acme', recharge_id => recharge_id('acme', 'open'), payment_reference => ''$$),
    (5, 'payment_reference', $$customer_id => 'acme', recharge_id => recharge_id('acme', 'open'), payment_reference => repeat('x', 256)$$),
    (6, 'payment_reference', $$customer_id => 'acme', recharge_id => recharge_id('acme', 'open'), payment_reference => E'pay\n1'$$),
    (7, NULL, $$customer_id => 'acme', recharge_id => recharge_id('acme', 'open'), payment_reference => repeat('ü', 255)$$)
  ) v (n, may_name, arguments), LATERAL refused('SELECT * FROM credit_pools.complete_recharge(' || arguments || ')') e ORDER BY n;
SELECT n, e.sqlstate, e.figures ->> 'argument' = ANY (string_to_array(may_name, ' ')) AS named, e.world FROM (VALUES
    (1, 'customer_id', $$recharge_id => recharge_id('acme', 'open')$$),
    (2, 'customer_id', $$customer_id => E'a\nb', recharge_id => recharge_id('acme', 'open')$$),
    (3, 'recharge_id', $$customer_id => 'acme'$$),
    (4, 'reason', $$customer_id => 'acme', recharge_id => recharge_id('acme', 'open'), reason => repeat('x', 10001)$$),
    (5, NULL, $$customer_id => 'acme', recharge_id => recharge_id('acme', 'open'), reason => repeat('x', 10000)$$),
    (6, NULL, $$customer_id => 'acme', recharge_id => recharge_id('acme', 'open'), reason => NULL, permanent => NULL$$)
  ) v (n, may_name, arguments), LATERAL refused('SELECT * FROM credit_pools.fail_recharge(' || arguments || ')') e ORDER BY n;
-- Claims.
SELECT n, e.sqlstate, e.figures ->> 'argument' = ANY (string_to_array(may_name, ' ')) AS named, e.world FROM (VALUES
    (1, 'worker', $$max_count => 1$$),
    (2, 'worker', $$worker => NULL, max_count => 1$$),
    (3, 'worker', $$worker => repeat('x', 256)$$),
    (4, 'worker', $$worker => E'a\nb'$$),
    (5, 'max_count', $$worker => 'w', max_count => -1$$),
    (6, 'max_count', $$worker => 'w', max_count => -2147483648$$),
    (7, 'lease', $$worker => 'w', lease => '0'$$),
    (8, 'lease', $$worker => 'w', lease => '-1 microsecond'$$),
    (9, 'lease', $$worker => 'w', lease => '1 hour -1 day'$$),
    (10, 'lease', $$worker => 'w', lease => '1 month -1 microsecond'$$),
    (11, 'lease', $$worker => 'w', lease => '500000 years'$$),
    (12, NULL, $$worker => 'w', max_count => 2147483647, lease => '1 microsecond'$$)
  ) v (n, may_name, arguments), LATERAL refused('SELECT * FROM credit_pools.claim_recharges(' || arguments || ')') e ORDER BY n;
-- Nothing at all has come of it.
SELECT world() = :'before' AS unchanged;
SELECT customer_id, threshold, target_balance, price_per_credit FROM credit_pools.auto_recharge_policies ORDER BY 1;
SELECT * FROM ledger_problems();
