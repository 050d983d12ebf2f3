-- Reading the outbox: fetch_events and ack_events by consumer, event_consumers, retention, the settings events and event_source, the envelope.
-- Events are called by the resource whose pool they open: r1, r2, … in the order in which they were written.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
\set events :abs_srcdir '/include/events.sql'
\i :events
RESET credit_pools.event_retention;
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
CREATE FUNCTION fetched(consumer text, max int DEFAULT 100) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM settled();
    RETURN (SELECT string_agg(resource_id, ' ') FROM credit_pools.fetch_events(consumer => $1, max => $2));
END $$;
CREATE FUNCTION id_of(resource text) RETURNS bigint LANGUAGE sql AS $$ SELECT event_id FROM credit_pools.event WHERE data -> 'data' ->> 'resource_id' = $1 $$;
CREATE FUNCTION consumers_now() RETURNS TABLE (consumer text, up_to text, oldest_pending_at text, created_at text, acknowledged_at text) LANGUAGE sql AS $$
    SELECT c.consumer, CASE c.event_id WHEN 0 THEN '-' ELSE coalesce((SELECT e.data -> 'data' ->> 'resource_id' FROM credit_pools.event e WHERE e.event_id = c.event_id), 'gone') END,
           at(c.oldest_pending_at), at(c.created_at), at(c.acknowledged_at) FROM credit_pools.event_consumers c ORDER BY c.consumer COLLATE "C" $$;
-- Nobody reads yet.
SELECT FROM generate_series(1, 3) n, LATERAL credit_pools.open_pool(customer_id => 'acme', resource_id => 'r' || n, credit_type_id => 'credits');
SET credit_pools.test_clock = '2026-03-02 00:00+00';
SELECT FROM generate_series(4, 6) n, LATERAL credit_pools.open_pool(customer_id => 'globex', resource_id => 'r' || n, credit_type_id => 'credits');
SELECT * FROM consumers_now();
-- The envelope has the fields of CloudEvents 1.0 and no others; the id is the event's, as text.
SELECT (data || jsonb_build_object('id', data ->> 'id' = event_id::text, 'data', (data -> 'data') - 'pool_id', 'pool', data -> 'data' -> 'pool_id' = to_jsonb(pool_id)))::text AS data FROM credit_pools.events WHERE resource_id = 'r4';
-- Columns of the view.
SELECT column_name FROM information_schema.columns WHERE table_schema = 'credit_pools' AND table_name = 'events' ORDER BY ordinal_position;
-- A consumer's first call makes it; it starts at the oldest event. In order of event_id, of all customers, at most max; without an acknowledgement the same again.
SELECT fetched('mailer', 2);
SELECT fetched('mailer', 2);
SELECT fetched('mailer');
SELECT * FROM consumers_now();
-- Acknowledged up to r2: it goes on behind it. The same id again is success. Another consumer has its own position.
SELECT consumer, event_id = id_of('r2') AS same_id, at(acknowledged_at) AS acknowledged_at FROM credit_pools.ack_events(consumer => 'mailer', event_id => id_of('r2'));
SELECT consumer, event_id = id_of('r2') AS same_id, at(acknowledged_at) AS acknowledged_at FROM credit_pools.ack_events(consumer => 'mailer', event_id => id_of('r2'));
SELECT fetched('mailer', 2);
SELECT fetched('billing');
SELECT consumer, event_id = id_of('r4') AS same_id, at(acknowledged_at) AS acknowledged_at FROM credit_pools.ack_events(consumer => 'billing', event_id => id_of('r4'));
SET credit_pools.test_clock = '2026-03-03 00:00+00';
SELECT consumer, event_id = id_of('r5') AS same_id, at(acknowledged_at) AS acknowledged_at FROM credit_pools.ack_events(consumer => 'billing', event_id => id_of('r5'));
SELECT * FROM consumers_now();
-- What was not fetched may be acknowledged; an unknown consumer is made by it. All acknowledged: nothing pending, and nothing to fetch.
SELECT consumer, event_id = id_of('r6') AS same_id, at(acknowledged_at) AS acknowledged_at FROM credit_pools.ack_events(consumer => 'archive', event_id => id_of('r6'));
SELECT fetched('archive');
SELECT * FROM consumers_now();
-- New events come behind.
SELECT FROM generate_series(7, 7) n, LATERAL credit_pools.open_pool(customer_id => 'acme', resource_id => 'r' || n, credit_type_id => 'credits');
SELECT fetched('archive');
SELECT fetched('billing');
-- A transaction does not see its own events, nor fetch or acknowledge them; when it has committed, it does.
BEGIN;
SELECT FROM generate_series(8, 8) n, LATERAL credit_pools.open_pool(customer_id => 'acme', resource_id => 'r' || n, credit_type_id => 'credits');
SELECT count(*) FROM credit_pools.events WHERE resource_id = 'r8';
SELECT string_agg(resource_id, ' ') AS fetched FROM credit_pools.fetch_events(consumer => 'archive');
SELECT sqlstate, figures FROM refused($$SELECT * FROM credit_pools.ack_events(consumer => 'archive', event_id => id_of('r8'))$$);
COMMIT;
SELECT fetched('archive');
-- A rolled-back event leaves no trace; reading goes on.
BEGIN;
SELECT FROM generate_series(9, 9) n, LATERAL credit_pools.open_pool(customer_id => 'acme', resource_id => 'r' || n, credit_type_id => 'credits');
ROLLBACK;
SELECT FROM generate_series(10, 10) n, LATERAL credit_pools.open_pool(customer_id => 'acme', resource_id => 'r' || n, credit_type_id => 'credits');
SELECT fetched('archive');
-- Refused, and nothing changes: backwards, beyond the newest, bad names and numbers.
SELECT n, e.* FROM (VALUES
    (1, $$SELECT * FROM credit_pools.ack_events(consumer => 'billing', event_id => id_of('r4'))$$),
    (2, $$SELECT * FROM credit_pools.ack_events(consumer => 'billing', event_id => 0)$$),
    (3, $$SELECT * FROM credit_pools.ack_events(consumer => 'billing', event_id => -1)$$),
    (4, $$SELECT * FROM credit_pools.ack_events(consumer => 'billing', event_id => id_of('r10') + 1)$$),
    (5, $$SELECT * FROM credit_pools.ack_events(consumer => 'stranger', event_id => id_of('r10') + 1)$$),
    (6, $$SELECT * FROM credit_pools.ack_events(consumer => 'billing', event_id => 9223372036854775807)$$),
    (7, $$SELECT * FROM credit_pools.ack_events(consumer => 'billing', event_id => NULL)$$),
    (8, $$SELECT * FROM credit_pools.ack_events(consumer => NULL, event_id => id_of('r10'))$$),
    (9, $$SELECT * FROM credit_pools.ack_events(consumer => '', event_id => id_of('r10'))$$),
    (10, $$SELECT * FROM credit_pools.fetch_events(consumer => NULL)$$),
    (11, $$SELECT * FROM credit_pools.fetch_events(consumer => '')$$),
    (12, $$SELECT * FROM credit_pools.fetch_events(consumer => E'a\nb')$$),
    (13, $$SELECT * FROM credit_pools.fetch_events(consumer => repeat('x', 256))$$),
    (14, $$SELECT * FROM credit_pools.fetch_events(consumer => 'billing', max => 0)$$),
    (15, $$SELECT * FROM credit_pools.fetch_events(consumer => 'billing', max => -1)$$),
    (16, $$SELECT * FROM credit_pools.fetch_events(consumer => 'billing', max => 10001)$$),
    (17, $$SELECT * FROM credit_pools.fetch_events(consumer => 'stranger', max => 0)$$),
    (18, $$SELECT * FROM credit_pools.drop_event_consumer(consumer => NULL)$$),
    (19, $$SELECT * FROM credit_pools.drop_event_consumer(consumer => '')$$)
  ) s (n, statement), LATERAL refused(statement) e ORDER BY n;
SELECT fetched('billing', 10000);
-- Dropped: its position is forgotten; the next fetch starts at the oldest event. One that is unknown: false.
SELECT * FROM credit_pools.drop_event_consumer(consumer => 'archive');
SELECT * FROM credit_pools.drop_event_consumer(consumer => 'archive');
SELECT consumer FROM credit_pools.event_consumers ORDER BY consumer;
SELECT fetched('archive', 3);
SELECT * FROM credit_pools.drop_event_consumer(consumer => 'archive');
SELECT * FROM event_problems();
-- Retention, 30 days by default: what is older goes when every known consumer has acknowledged it. mailer is at r2, billing at r5; r1 to r3 are of 1 March, r4 to r6 of the 2nd, the others of the 3rd.
SET credit_pools.test_clock = '2026-03-20 00:00+00';
SELECT processed FROM credit_pools.run_maintenance() WHERE task = 'events';
SET credit_pools.test_clock = '2026-03-31 12:00+00';
SELECT processed FROM credit_pools.run_maintenance() WHERE task = 'events';
SELECT string_agg(resource_id, ' ' ORDER BY event_id) AS kept FROM credit_pools.events;
SELECT processed FROM credit_pools.run_maintenance() WHERE task = 'events';
SELECT consumer, event_id = id_of('r5') AS same_id, at(acknowledged_at) AS acknowledged_at FROM credit_pools.ack_events(consumer => 'mailer', event_id => id_of('r5'));
SELECT processed FROM credit_pools.run_maintenance() WHERE task = 'events';
SELECT string_agg(resource_id, ' ' ORDER BY event_id) AS kept FROM credit_pools.events;
SET credit_pools.test_clock = '2026-04-01 12:00+00';
SELECT processed FROM credit_pools.run_maintenance() WHERE task = 'events';
SELECT string_agg(resource_id, ' ' ORDER BY event_id) AS kept FROM credit_pools.events;
SELECT * FROM consumers_now();
-- A new consumer starts at the oldest that is kept, and keeps it. Without any consumer all go that are old enough; -1 keeps them for ever; another time counts at once.
SELECT fetched('late');
SET credit_pools.test_clock = '2026-05-01 00:00+00';
SELECT consumer, event_id = id_of('r10') AS same_id, at(acknowledged_at) AS acknowledged_at FROM credit_pools.ack_events(consumer => 'billing', event_id => id_of('r10'));
SELECT consumer, event_id = id_of('r10') AS same_id, at(acknowledged_at) AS acknowledged_at FROM credit_pools.ack_events(consumer => 'mailer', event_id => id_of('r10'));
SELECT processed FROM credit_pools.run_maintenance() WHERE task = 'events';
SELECT * FROM credit_pools.drop_event_consumer(consumer => 'late');
SET credit_pools.event_retention = -1;
SELECT processed FROM credit_pools.run_maintenance() WHERE task = 'events';
SELECT FROM generate_series(11, 11) n, LATERAL credit_pools.open_pool(customer_id => 'acme', resource_id => 'r' || n, credit_type_id => 'credits');
SELECT dropped FROM credit_pools.drop_event_consumer(consumer => 'billing');
SELECT dropped FROM credit_pools.drop_event_consumer(consumer => 'mailer');
RESET credit_pools.event_retention;
SHOW credit_pools.event_retention;
SELECT processed FROM credit_pools.run_maintenance() WHERE task = 'events';
SELECT string_agg(resource_id, ' ' ORDER BY event_id) AS kept FROM credit_pools.events;
SET credit_pools.test_clock = '2026-05-02 00:00+00';
SET credit_pools.event_retention = '1h';
SELECT processed FROM credit_pools.run_maintenance() WHERE task = 'events';
SELECT string_agg(resource_id, ' ' ORDER BY event_id) AS kept FROM credit_pools.events;
RESET credit_pools.event_retention;
-- Numbers go on behind what was deleted.
SELECT FROM generate_series(12, 12) n, LATERAL credit_pools.open_pool(customer_id => 'acme', resource_id => 'r' || n, credit_type_id => 'credits');
SELECT fetched('late');
SELECT consumer, event_id = id_of('r12') AS same_id, at(acknowledged_at) AS acknowledged_at FROM credit_pools.ack_events(consumer => 'late', event_id => id_of('r12'));
-- Events switched off: calls go on as ever and write none. What happened meanwhile is no event later.
SELECT FROM credit_pools.set_balance_alerts(credit_type_id => 'credits', thresholds => '{100}');
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'r12', credit_type_id => 'credits', amount => 150);
SET credit_pools.events = off;
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'r12', credit_type_id => 'credits', amount => 60);
SELECT FROM generate_series(13, 13) n, LATERAL credit_pools.open_pool(customer_id => 'acme', resource_id => 'r' || n, credit_type_id => 'credits');
RESET credit_pools.events;
SHOW credit_pools.events;
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'r12', credit_type_id => 'credits', amount => 10);
SELECT event, data FROM news_of('acme');
SELECT * FROM credit_pools.fetch_events(consumer => 'late') WHERE type <> 'credits.granted';
-- Another source.
SET credit_pools.event_source = 'https://shop.example/wallet';
SELECT FROM generate_series(14, 14) n, LATERAL credit_pools.open_pool(customer_id => 'acme', resource_id => 'r' || n, credit_type_id => 'credits');
RESET credit_pools.event_source;
SELECT FROM generate_series(15, 15) n, LATERAL credit_pools.open_pool(customer_id => 'acme', resource_id => 'r' || n, credit_type_id => 'credits');
SELECT FROM settled();
SELECT resource_id, data ->> 'source' AS source FROM credit_pools.events WHERE resource_id IN ('r14', 'r15') ORDER BY event_id;
-- Settings that only a superuser may change.
CREATE ROLE regress_events;
SET ROLE regress_events;
\set VERBOSITY sqlstate
SET credit_pools.events = off;
SET credit_pools.event_retention = '1d';
SET credit_pools.event_source = 'x';
\set VERBOSITY default
RESET ROLE;
DROP ROLE regress_events;
SELECT * FROM event_problems(complete => false);
SELECT * FROM ledger_problems();
