-- Due work is booked by whichever call comes first, and the rows of the clock are the same whichever it was (contract section 2): each at its own effective_at, in the order expiry, rollover,
-- new grants, settlement of debt. Six pools of one customer had the same calls until 2 March; then each is touched by another one.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.define_plan(plan_id => 'carry');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'carry', credit_type_id => 'credits', amount => 100, rollover_max => 30, overdraft_limit => 200);
CREATE VIEW six AS SELECT unnest(ARRAY['by-each', 'by-grant', 'by-maintenance', 'by-set-pool', 'by-steps', 'by-usage']) AS r;
SELECT r, status FROM six, LATERAL credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'carry', resource_id => r) ORDER BY r;
SELECT r, balance FROM six, LATERAL credit_pools.grant_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 7, effective_at => '2026-04-01 00:00+00', expires_at => '2026-05-01 00:00+00', reason => 'gift') ORDER BY r;
SET credit_pools.test_clock = '2026-03-02 00:00+00';
SELECT r, balance FROM six, LATERAL credit_pools.consume_credits(customer_id => 'acme', resource_id => r, credit_type_id => 'credits', amount => 110) ORDER BY r;

-- One of them is looked after at each boundary, one at boundaries by different calls, the others on 15 June for the first time.
SET credit_pools.test_clock = '2026-04-01 00:00+00';
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'by-steps', credit_type_id => 'credits', status => 'active');
SET credit_pools.test_clock = '2026-04-20 00:00+00';
SELECT plan_id, is_duplicate FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'carry', resource_id => 'by-each');
SET credit_pools.test_clock = '2026-05-01 00:00+00';
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'by-steps', credit_type_id => 'credits', status => 'active');
SET credit_pools.test_clock = '2026-06-01 00:00+00';
SELECT FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'by-steps', credit_type_id => 'credits', status => 'active');
SET credit_pools.test_clock = '2026-06-15 00:00+00';
SELECT balance FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'by-usage', credit_type_id => 'credits', amount => 1);
SELECT balance FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'by-grant', credit_type_id => 'credits', amount => 1, reason => 'new');
SELECT overdraft_limit, balance FROM credit_pools.set_pool(customer_id => 'acme', resource_id => 'by-set-pool', credit_type_id => 'credits', overdraft_limit => 100);
SELECT FROM credit_pools.run_maintenance();
-- What the clock wrote, once (debt is settled from each grant by a pair of rows, in burn order: the gift first, since it was made before):
SELECT seq, entry_type, amount, after, "grant", effective_at, recorded_at FROM history_of('acme', 'by-maintenance');
-- … and the same in every pool.
SELECT h.resource, count(*) AS rows_of_the_clock, md5(string_agg(row(h.seq, h.entry_type, h.amount, h.after, h."grant", h.effective_at, l.reason, l.actor)::text, E'\n' ORDER BY h.seq)) = (
           SELECT md5(string_agg(row(m.seq, m.entry_type, m.amount, m.after, m."grant", m.effective_at, k.reason, k.actor)::text, E'\n' ORDER BY m.seq))
             FROM history_of('acme', 'by-maintenance') m JOIN credit_pools.ledger k ON k.customer_id = 'acme' AND k.resource_id = m.resource AND k.seq = m.seq) AS the_same
  FROM history_of('acme') h JOIN credit_pools.ledger l ON l.customer_id = 'acme' AND l.resource_id = h.resource AND l.seq = h.seq WHERE h.effective_at < '2026-06-15' GROUP BY 1 ORDER BY 1;
SELECT * FROM pools_of('acme');
-- A call that fails books nothing, not even what was due; the views say the same.
SET credit_pools.test_clock = '2026-07-01 00:00+00';
SELECT sqlstate, world FROM expect_error($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', resource_id => 'by-usage', credit_type_id => 'credits', amount => 10000)$$);
SELECT balance FROM pools_of('acme') WHERE resource = 'by-usage';
SELECT * FROM ledger_problems();
