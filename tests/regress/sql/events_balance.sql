-- Balance alerts: balance.low when the balance falls strictly below a level, once per crossing; again only after it was at or above the level. What one call does counts by its end, what the
-- clock does by its instants, also when that is booked later. balance.depleted when it falls from above 0 to 0 or below, with or without alerts.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
\set events :abs_srcdir '/include/events.sql'
\i :events
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
-- The default of a credit type, for every customer that has no own. Before there is any pool.
SELECT customer_id, credit_type_id, coalesce(thresholds, '{}') AS thresholds, coalesce(percents, '{}') AS percents, pools_covered FROM credit_pools.set_balance_alerts(credit_type_id => 'credits', thresholds => '{100}');
-- A pool that opens and is filled from 0 has crossed nothing. At the level nothing happens; below it, one event; further down none; back exactly at the level it is armed again.
SELECT FROM credit_pools.open_pool(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 150);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 50);
SELECT * FROM news_of('acme');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT * FROM news_of('acme');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 9);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 40);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 49);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 9);
SELECT * FROM news_of('acme');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT * FROM news_of('acme');
-- A pool that opens low has crossed nothing either, until it was up once.
SELECT FROM credit_pools.define_plan(plan_id => 'small');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'small', credit_type_id => 'credits', amount => 50, cadence => NULL);
SELECT FROM credit_pools.provision_subscription(customer_id => 'small', plan_id => 'small', resource_id => 'ws', subscription_id => 'sub-1');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'small', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'small', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT * FROM news_of('small') WHERE event NOT LIKE 'subscription.%';
SELECT balance FROM credit_pools.grant_credits(customer_id => 'small', resource_id => 'ws', credit_type_id => 'credits', amount => 70);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'small', resource_id => 'ws', credit_type_id => 'credits', amount => 5);
SELECT * FROM news_of('small');
-- A customer's own levels stand in place of the default, for all of its pools of the type, each by itself. Setting them fires nothing, though 'b' is low already. Levels are kept in descending order, each once.
SELECT FROM credit_pools.open_pool(customer_id => 'globex', resource_id => 'a', credit_type_id => 'credits');
SELECT FROM credit_pools.open_pool(customer_id => 'globex', resource_id => 'b', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'globex', resource_id => 'a', credit_type_id => 'credits', amount => 150);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'globex', resource_id => 'b', credit_type_id => 'credits', amount => 60);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'globex', credit_type_id => 'credits', amount => 30);
SELECT customer_id, credit_type_id, coalesce(thresholds, '{}') AS thresholds, coalesce(percents, '{}') AS percents, pools_covered FROM credit_pools.set_balance_alerts(customer_id => 'globex', credit_type_id => 'credits', thresholds => '{20,80,50,80.0}');
SELECT * FROM news_of('globex');
-- a: 150 to 90 crosses the default only, which does not count here. 90 to 30 crosses two levels: one event each, the higher first. b: 60 to 40 crosses 50. The global pool: 30 to 20 none, then 20.
SELECT balance FROM credit_pools.consume_credits(customer_id => 'globex', resource_id => 'a', credit_type_id => 'credits', amount => 60);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'globex', resource_id => 'a', credit_type_id => 'credits', amount => 60);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'globex', resource_id => 'b', credit_type_id => 'credits', amount => 20);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'globex', credit_type_id => 'credits', amount => 10);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'globex', credit_type_id => 'credits', amount => 1);
SELECT * FROM news_of('globex');
-- Each level by itself: back at 60, the level of 50 is armed again, that of 80 is not.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'globex', resource_id => 'a', credit_type_id => 'credits', amount => 30);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'globex', resource_id => 'a', credit_type_id => 'credits', amount => 20);
SELECT * FROM news_of('globex');
-- Other levels: raised above the balance they fire nothing, and the next use is no crossing either; lowered below it they fire when they are crossed.
SELECT customer_id, credit_type_id, coalesce(thresholds, '{}') AS thresholds, coalesce(percents, '{}') AS percents, pools_covered FROM credit_pools.set_balance_alerts(customer_id => 'globex', credit_type_id => 'credits', thresholds => '{90}');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'globex', resource_id => 'a', credit_type_id => 'credits', amount => 5);
SELECT customer_id, credit_type_id, coalesce(thresholds, '{}') AS thresholds, coalesce(percents, '{}') AS percents, pools_covered FROM credit_pools.set_balance_alerts(customer_id => 'globex', credit_type_id => 'credits', thresholds => '{30}');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'globex', resource_id => 'a', credit_type_id => 'credits', amount => 5);
SELECT * FROM news_of('globex');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'globex', resource_id => 'a', credit_type_id => 'credits', amount => 5);
SELECT * FROM news_of('globex');
-- Empty arrays: no alert at all for this customer. Removed: the default again, for which 25 is no news.
SELECT customer_id, credit_type_id, coalesce(thresholds, '{}') AS thresholds, coalesce(percents, '{}') AS percents, pools_covered FROM credit_pools.set_balance_alerts(customer_id => 'globex', credit_type_id => 'credits', thresholds => '{}', percents => '{}');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'globex', resource_id => 'a', credit_type_id => 'credits', amount => 100);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'globex', resource_id => 'a', credit_type_id => 'credits', amount => 100);
SELECT * FROM news_of('globex');
SELECT customer_id, credit_type_id, coalesce(thresholds, '{}') AS thresholds, coalesce(percents, '{}') AS percents, pools_covered FROM credit_pools.set_balance_alerts(customer_id => 'globex', credit_type_id => 'credits');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'globex', resource_id => 'a', credit_type_id => 'credits', amount => 5);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'globex', resource_id => 'a', credit_type_id => 'credits', amount => 100);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'globex', resource_id => 'a', credit_type_id => 'credits', amount => 30);
SELECT * FROM news_of('globex');
-- The view has the default and the customers' own. Removing the default leaves the latter.
SET credit_pools.test_clock = '2026-03-02 00:00+00';
SELECT FROM credit_pools.open_pool(customer_id => 'initech', resource_id => 'ws', credit_type_id => 'credits');
SELECT customer_id, credit_type_id, coalesce(thresholds, '{}') AS thresholds, coalesce(percents, '{}') AS percents, pools_covered FROM credit_pools.set_balance_alerts(customer_id => 'initech', credit_type_id => 'credits', thresholds => '{7}', percents => '{10,12.5}');
SELECT customer_id, resource_id, credit_type_id, thresholds, coalesce(percents, '{}') AS percents, at(updated_at) AS updated_at FROM credit_pools.balance_alerts ORDER BY customer_id NULLS FIRST;
SELECT customer_id, credit_type_id FROM credit_pools.set_balance_alerts(credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 50);
SELECT * FROM news_of('acme');
SELECT customer_id, resource_id, credit_type_id, thresholds, coalesce(percents, '{}') AS percents, at(updated_at) AS updated_at FROM credit_pools.balance_alerts ORDER BY customer_id NULLS FIRST;
-- The default covers the pools of customers without their own: five, initech's not among them.
SELECT pools_covered FROM credit_pools.set_balance_alerts(credit_type_id => 'credits', thresholds => '{100}');
SET credit_pools.test_clock = '2026-03-01 00:00+00';
-- Several calls in one transaction are several calls. Another credit type has no alerts by this one's.
SELECT FROM credit_pools.open_pool(customer_id => 'several', resource_id => 'ws', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'several', resource_id => 'ws', credit_type_id => 'credits', amount => 150);
BEGIN;
SELECT balance FROM credit_pools.consume_credits(customer_id => 'several', resource_id => 'ws', credit_type_id => 'credits', amount => 60);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'several', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'several', resource_id => 'ws', credit_type_id => 'credits', amount => 30);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'several', resource_id => 'ws', credit_type_id => 'credits', amount => 20);
COMMIT;
SELECT * FROM news_of('several');
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'gold', scale => 0);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'several', resource_id => 'ws', credit_type_id => 'gold', amount => 150);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'several', resource_id => 'ws', credit_type_id => 'gold', amount => 60);
SELECT * FROM news_of('several');
-- Percents are of what was granted: amounts less what was voided of grants that have begun and not ended, used-up ones included. A level is exact, not rounded to the type's scale.
SELECT FROM credit_pools.open_pool(customer_id => 'percent', resource_id => 'ws', credit_type_id => 'credits');
SELECT customer_id, credit_type_id, coalesce(thresholds, '{}') AS thresholds, coalesce(percents, '{}') AS percents, pools_covered FROM credit_pools.set_balance_alerts(customer_id => 'percent', credit_type_id => 'credits', percents => '{50,12.5}');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'percent', resource_id => 'ws', credit_type_id => 'credits', amount => 100);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'percent', resource_id => 'ws', credit_type_id => 'credits', amount => 50);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'percent', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'percent', resource_id => 'ws', credit_type_id => 'credits', amount => 36);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'percent', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT * FROM news_of('percent');
-- Another 100: of 200 it is 100 and 25. At 112 both are armed again; one call crosses both.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'percent', resource_id => 'ws', credit_type_id => 'credits', amount => 100);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'percent', resource_id => 'ws', credit_type_id => 'credits', amount => 12);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'percent', resource_id => 'ws', credit_type_id => 'credits', amount => 76);
SELECT * FROM news_of('percent');
-- Scheduled and unpaid grants do not count before they begin: still of 200. 100 percent: any use.
SELECT balance FROM credit_pools.grant_credits(customer_id => 'percent', resource_id => 'ws', credit_type_id => 'credits', amount => 1000, effective_at => '2026-04-01 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'percent', resource_id => 'ws', credit_type_id => 'credits', amount => 1000, payment_state => 'pending');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'percent', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'percent', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT * FROM news_of('percent');
SELECT FROM credit_pools.open_pool(customer_id => 'all', resource_id => 'ws', credit_type_id => 'credits');
SELECT customer_id, credit_type_id, coalesce(thresholds, '{}') AS thresholds, coalesce(percents, '{}') AS percents, pools_covered FROM credit_pools.set_balance_alerts(customer_id => 'all', credit_type_id => 'credits', percents => '{100}');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'all', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'all', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT * FROM news_of('all');
-- Absolute levels and percents together: by their levels, the highest first.
SELECT FROM credit_pools.open_pool(customer_id => 'both', resource_id => 'ws', credit_type_id => 'credits');
SELECT customer_id, credit_type_id, coalesce(thresholds, '{}') AS thresholds, coalesce(percents, '{}') AS percents, pools_covered FROM credit_pools.set_balance_alerts(customer_id => 'both', credit_type_id => 'credits', thresholds => '{30}', percents => '{10,50}');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'both', resource_id => 'ws', credit_type_id => 'credits', amount => 100);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'both', resource_id => 'ws', credit_type_id => 'credits', amount => 95);
SELECT * FROM news_of('both');
-- Voided credits leave the base: 1000 less 400, of which 60 percent are 360.
SELECT FROM credit_pools.open_pool(customer_id => 'void', resource_id => 'ws', credit_type_id => 'credits');
SELECT customer_id, credit_type_id, coalesce(thresholds, '{}') AS thresholds, coalesce(percents, '{}') AS percents, pools_covered FROM credit_pools.set_balance_alerts(customer_id => 'void', credit_type_id => 'credits', percents => '{60}');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'void', resource_id => 'ws', credit_type_id => 'credits', amount => 1000, reason => 'A');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'void', resource_id => 'ws', credit_type_id => 'credits', amount => 300);
SELECT voided, balance FROM credit_pools.void_grant(customer_id => 'void', grant_id => grant_id('void', 'A'), amount => 400);
SELECT * FROM news_of('void');
-- A used-up grant counts until its end, which no row tells: 70 of 200 is below 40 percent; from 10 March on it is 70 of 100, and armed again; 35 of 100 is below.
SELECT FROM credit_pools.open_pool(customer_id => 'base', resource_id => 'ws', credit_type_id => 'credits');
SELECT customer_id, credit_type_id, coalesce(thresholds, '{}') AS thresholds, coalesce(percents, '{}') AS percents, pools_covered FROM credit_pools.set_balance_alerts(customer_id => 'base', credit_type_id => 'credits', percents => '{40}');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'base', resource_id => 'ws', credit_type_id => 'credits', amount => 100, priority => 1, expires_at => '2026-03-10 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'base', resource_id => 'ws', credit_type_id => 'credits', amount => 100, priority => 2);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'base', resource_id => 'ws', credit_type_id => 'credits', amount => 130);
SELECT * FROM news_of('base');
SET credit_pools.test_clock = '2026-03-12 00:00+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'base', resource_id => 'ws', credit_type_id => 'credits', amount => 35);
SELECT * FROM news_of('base');
SET credit_pools.test_clock = '2026-03-01 00:00+00';
-- By the clock, each instant with the base that it had. 'whole': on 5 March 100 of 200 end, and 70 are left of 100: not low, half is 50. 'falls': on 5 March 30 are left of 100: low; on the 7th 230 of 300: armed; 150 is half.
-- 'rises': 9 of 10 are below 100 percent, and so are 19 of 20 from the 5th on.
SELECT FROM credit_pools.open_pool(customer_id => 'share', resource_id => 'whole', credit_type_id => 'credits');
SELECT FROM credit_pools.open_pool(customer_id => 'share', resource_id => 'falls', credit_type_id => 'credits');
SELECT customer_id, credit_type_id, coalesce(thresholds, '{}') AS thresholds, coalesce(percents, '{}') AS percents, pools_covered FROM credit_pools.set_balance_alerts(customer_id => 'share', credit_type_id => 'credits', percents => '{50}');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'share', resource_id => 'whole', credit_type_id => 'credits', amount => 100, priority => 1);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'share', resource_id => 'whole', credit_type_id => 'credits', amount => 100, priority => 2, expires_at => '2026-03-05 00:00+00');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'share', resource_id => 'whole', credit_type_id => 'credits', amount => 30);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'share', resource_id => 'falls', credit_type_id => 'credits', amount => 100, priority => 1);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'share', resource_id => 'falls', credit_type_id => 'credits', amount => 100, priority => 2, expires_at => '2026-03-05 00:00+00');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'share', resource_id => 'falls', credit_type_id => 'credits', amount => 70);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'share', resource_id => 'falls', credit_type_id => 'credits', amount => 200, effective_at => '2026-03-07 00:00+00');
SELECT FROM credit_pools.open_pool(customer_id => 'rises', resource_id => 'ws', credit_type_id => 'credits');
SELECT customer_id, credit_type_id, coalesce(thresholds, '{}') AS thresholds, coalesce(percents, '{}') AS percents, pools_covered FROM credit_pools.set_balance_alerts(customer_id => 'rises', credit_type_id => 'credits', percents => '{100}');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'rises', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'rises', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'rises', resource_id => 'ws', credit_type_id => 'credits', amount => 10, effective_at => '2026-03-05 00:00+00');
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'share', resource_id => 'whole', credit_type_id => 'credits', amount => 20);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'share', resource_id => 'whole', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'share', resource_id => 'falls', credit_type_id => 'credits', amount => 80);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'share', resource_id => 'falls', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'rises', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT * FROM news_of('share', 'whole');
SELECT * FROM news_of('share', 'falls');
SELECT * FROM news_of('rises');
SET credit_pools.test_clock = '2026-03-01 00:00+00';
-- Every way down fires, every way up arms (the default: 100). A hold lowers the balance; its settlement, of as much, does not; its release raises it.
SELECT FROM credit_pools.open_pool(customer_id => 'ways', resource_id => 'hold', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'ways', resource_id => 'hold', credit_type_id => 'credits', amount => 150);
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'ways', reservation_id => 'h1', resource_id => 'hold', credit_type_id => 'credits', amount => 60);
SELECT * FROM news_of('ways', 'hold');
SELECT status, balance FROM credit_pools.release_reservation(customer_id => 'ways', reservation_id => 'h1');
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'ways', reservation_id => 'h2', resource_id => 'hold', credit_type_id => 'credits', amount => 60);
SELECT credits_consumed, balance FROM credit_pools.settle_reservation(customer_id => 'ways', reservation_id => 'h2');
SELECT * FROM news_of('ways', 'hold');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'ways', resource_id => 'hold', credit_type_id => 'credits', amount => 60);
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'ways', reservation_id => 'h3', resource_id => 'hold', credit_type_id => 'credits', amount => 60);
SELECT credits_consumed, balance FROM credit_pools.settle_reservation(customer_id => 'ways', reservation_id => 'h3', amount => 10);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'ways', resource_id => 'hold', credit_type_id => 'credits', amount => 41);
SELECT * FROM news_of('ways', 'hold');
-- A hold that timed out an hour ago had raised it; the call that books this lowers it again.
SELECT FROM credit_pools.open_pool(customer_id => 'ways', resource_id => 'timeout', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'ways', resource_id => 'timeout', credit_type_id => 'credits', amount => 150);
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'ways', reservation_id => 'h4', resource_id => 'timeout', credit_type_id => 'credits', amount => 60);
SET credit_pools.test_clock = '2026-03-01 02:00+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'ways', resource_id => 'timeout', credit_type_id => 'credits', amount => 60);
SELECT * FROM news_of('ways', 'timeout');
-- Reversal and void. What is reversed to a grant that is over, and expires in the same call, has not raised the balance.
SELECT FROM credit_pools.open_pool(customer_id => 'ways', resource_id => 'back', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'ways', resource_id => 'back', credit_type_id => 'credits', amount => 150, reason => 'A');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'ways', resource_id => 'back', credit_type_id => 'credits', amount => 60);
SELECT credits_returned, balance FROM credit_pools.reverse_usage(customer_id => 'ways', usage_id => (SELECT max(usage_id) FROM credit_pools.usage_events WHERE customer_id = 'ways'), credits => 50);
SELECT voided, balance FROM credit_pools.void_grant(customer_id => 'ways', grant_id => grant_id('ways', 'A'), amount => 41);
SELECT * FROM news_of('ways', 'back');
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.open_pool(customer_id => 'ways', resource_id => 'dip', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'ways', resource_id => 'dip', credit_type_id => 'credits', amount => 30, priority => 1, expires_at => '2026-03-02 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'ways', resource_id => 'dip', credit_type_id => 'credits', amount => 90, priority => 2);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'ways', resource_id => 'dip', credit_type_id => 'credits', amount => 30);
SET credit_pools.test_clock = '2026-03-03 00:00+00';
SELECT credits_returned, balance FROM credit_pools.reverse_usage(customer_id => 'ways', usage_id => (SELECT max(usage_id) FROM credit_pools.usage_events WHERE customer_id = 'ways'));
SELECT balance FROM credit_pools.consume_credits(customer_id => 'ways', resource_id => 'dip', credit_type_id => 'credits', amount => 1);
SELECT * FROM news_of('ways', 'dip');
-- Transferred away and back. The pool where they arrive opens low.
SELECT FROM credit_pools.open_pool(customer_id => 'ways', resource_id => 'from', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'ways', resource_id => 'from', credit_type_id => 'credits', amount => 150);
SELECT FROM credit_pools.open_pool(customer_id => 'ways', resource_id => 'to', credit_type_id => 'credits');
SELECT from_balance, to_balance FROM credit_pools.transfer_credits(customer_id => 'ways', credit_type_id => 'credits', amount => 60, from_resource_id => 'from', to_resource_id => 'to');
SELECT from_balance, to_balance FROM credit_pools.transfer_credits(customer_id => 'ways', credit_type_id => 'credits', amount => 60, from_resource_id => 'to', to_resource_id => 'from');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'ways', resource_id => 'from', credit_type_id => 'credits', amount => 60);
SELECT * FROM news_of('ways', 'from');
SELECT * FROM news_of('ways', 'to');
-- Debt. A level of 0 is crossed below 0; balance.depleted at 0, once. From above 0 into debt in one call: first the levels, then that the pool is empty.
SELECT FROM credit_pools.open_pool(customer_id => 'debt', resource_id => 'ws', credit_type_id => 'credits', overdraft_limit => 100);
SELECT customer_id, credit_type_id, coalesce(thresholds, '{}') AS thresholds, coalesce(percents, '{}') AS percents, pools_covered FROM credit_pools.set_balance_alerts(customer_id => 'debt', credit_type_id => 'credits', thresholds => '{0}');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'debt', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'debt', resource_id => 'ws', credit_type_id => 'credits', amount => 10);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'debt', resource_id => 'ws', credit_type_id => 'credits', amount => 5);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'debt', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT * FROM news_of('debt');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'debt', resource_id => 'ws', credit_type_id => 'credits', amount => 6);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'debt', resource_id => 'ws', credit_type_id => 'credits', amount => 1);
SELECT * FROM news_of('debt');
SELECT customer_id, credit_type_id, coalesce(thresholds, '{}') AS thresholds, coalesce(percents, '{}') AS percents, pools_covered FROM credit_pools.set_balance_alerts(customer_id => 'debt', credit_type_id => 'credits', thresholds => '{5,0}');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'debt', resource_id => 'ws', credit_type_id => 'credits', amount => 11);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'debt', resource_id => 'ws', credit_type_id => 'credits', amount => 30);
SELECT * FROM news_of('debt');
-- Held credits can be all there were: the balance is 0, and there is no debt.
SELECT FROM credit_pools.open_pool(customer_id => 'debt', resource_id => 'held', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'debt', resource_id => 'held', credit_type_id => 'credits', amount => 10);
SELECT held, balance FROM credit_pools.reserve_credits(customer_id => 'debt', reservation_id => 'h1', resource_id => 'held', credit_type_id => 'credits', amount => 10);
SELECT * FROM news_of('debt', 'held');
SET credit_pools.test_clock = '2026-03-01 00:00+00';
-- By the clock, at its own instants. 'late': low on 5 March, up again on the 7th; booked on the 10th by a usage that crosses nothing. 'same': what ends and what begins at one instant counts together.
-- 'twice': low, up, and low again. 'empty': the last grant ends. 'then': so it does, without any debt then; the usage that books it makes some.
SELECT FROM credit_pools.open_pool(customer_id => 'clock', resource_id => 'late', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'clock', resource_id => 'late', credit_type_id => 'credits', amount => 100, expires_at => '2026-03-05 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'clock', resource_id => 'late', credit_type_id => 'credits', amount => 60);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'clock', resource_id => 'late', credit_type_id => 'credits', amount => 100, effective_at => '2026-03-07 00:00+00');
SELECT FROM credit_pools.open_pool(customer_id => 'clock', resource_id => 'same', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'clock', resource_id => 'same', credit_type_id => 'credits', amount => 150, expires_at => '2026-03-05 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'clock', resource_id => 'same', credit_type_id => 'credits', amount => 150, effective_at => '2026-03-05 00:00+00');
SELECT FROM credit_pools.open_pool(customer_id => 'clock', resource_id => 'twice', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'clock', resource_id => 'twice', credit_type_id => 'credits', amount => 40);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'clock', resource_id => 'twice', credit_type_id => 'credits', amount => 110, expires_at => '2026-03-05 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'clock', resource_id => 'twice', credit_type_id => 'credits', amount => 50, expires_at => '2026-03-08 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'clock', resource_id => 'twice', credit_type_id => 'credits', amount => 50, effective_at => '2026-03-07 00:00+00');
SELECT FROM credit_pools.open_pool(customer_id => 'clock', resource_id => 'empty', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'clock', resource_id => 'empty', credit_type_id => 'credits', amount => 20, expires_at => '2026-03-05 00:00+00');
SELECT FROM credit_pools.open_pool(customer_id => 'clock', resource_id => 'then', credit_type_id => 'credits', overdraft_limit => 100);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'clock', resource_id => 'then', credit_type_id => 'credits', amount => 20, expires_at => '2026-03-05 00:00+00');
SET credit_pools.test_clock = '2026-03-10 00:00+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'clock', resource_id => 'late', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'clock', resource_id => 'then', credit_type_id => 'credits', amount => 10);
SELECT count(*) > 0 AS ran FROM credit_pools.run_maintenance();
SELECT * FROM news_of('clock', 'late');
SELECT * FROM news_of('clock', 'same');
SELECT * FROM news_of('clock', 'twice');
SELECT * FROM news_of('clock', 'empty');
SELECT * FROM news_of('clock', 'then');
-- Due and called at the same instant: first the clock's part by itself, then the call's.
SELECT FROM credit_pools.open_pool(customer_id => 'clock', resource_id => 'now', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'clock', resource_id => 'now', credit_type_id => 'credits', amount => 80, expires_at => '2026-03-12 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'clock', resource_id => 'now', credit_type_id => 'credits', amount => 50);
SET credit_pools.test_clock = '2026-03-12 00:00+00';
SELECT balance FROM credit_pools.grant_credits(customer_id => 'clock', resource_id => 'now', credit_type_id => 'credits', amount => 100);
SELECT balance FROM credit_pools.consume_credits(customer_id => 'clock', resource_id => 'now', credit_type_id => 'credits', amount => 60);
SELECT * FROM news_of('clock', 'now');
-- A renewal is no fall: what was left ends and the new period's credits begin at one instant. A frozen pool's balance falls as any.
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_plan(plan_id => 'monthly');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'monthly', credit_type_id => 'credits', amount => 120);
SELECT FROM credit_pools.provision_subscription(customer_id => 'renewed', plan_id => 'monthly', resource_id => 'full', subscription_id => 'sub-full');
SELECT FROM credit_pools.provision_subscription(customer_id => 'renewed', plan_id => 'monthly', resource_id => 'low', subscription_id => 'sub-low');
SELECT balance FROM credit_pools.consume_credits(customer_id => 'renewed', resource_id => 'low', credit_type_id => 'credits', amount => 50);
SELECT FROM credit_pools.open_pool(customer_id => 'frozen', resource_id => 'ws', credit_type_id => 'credits');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'frozen', resource_id => 'ws', credit_type_id => 'credits', amount => 30, expires_at => '2026-03-20 00:00+00');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'frozen', resource_id => 'ws', credit_type_id => 'credits', amount => 90);
SELECT status FROM credit_pools.set_pool(customer_id => 'frozen', credit_type_id => 'credits', resource_id => 'ws', status => 'frozen');
SET credit_pools.test_clock = '2026-04-01 00:00+00';
SELECT count(*) > 0 AS ran FROM credit_pools.run_maintenance();
SELECT balance FROM credit_pools.consume_credits(customer_id => 'renewed', resource_id => 'low', credit_type_id => 'credits', amount => 30);
SELECT * FROM news_of('renewed', 'full') WHERE event NOT LIKE 'subscription.%';
SELECT * FROM news_of('renewed', 'low') WHERE event NOT LIKE 'subscription.%';
SELECT * FROM news_of('frozen');
SELECT * FROM event_problems();
SELECT * FROM ledger_problems();
