-- The views one reads (contract section 7): stable columns, each with customer_id, resource_id, credit_type_id first.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
SET credit_pools.test_clock = '2026-03-01 00:00+00';
-- Every column of the contract is there, by its name.
SELECT customer_id, resource_id, credit_type_id, pool_id, balance, granted, consumed, expired, voided, held, debt, restricted, overdraft_limit, status,
       next_expiry_at, next_expiry_amount, utilization, created_at FROM credit_pools.pools LIMIT 0;
SELECT customer_id, resource_id, credit_type_id, grant_id, pool_id, category, priority, amount, remaining, available, held, consumed, expired, voided, status,
       effective_at, expires_at, price, price_currency, source, source_grant_id, subscription_id, plan_id, entry_id, period_start, recharge_id, reason, metadata, created_at FROM credit_pools.grants LIMIT 0;
SELECT customer_id, resource_id, credit_type_id, pool_id, seq, entry_type, amount, balance_before, balance_after, grant_id, usage_id, feature_id, value, reservation_id,
       recharge_id, idempotency_key, actor, reason, dimensions, metadata, effective_at, recorded_at, entry_hash FROM credit_pools.ledger LIMIT 0;
SELECT customer_id, resource_id, credit_type_id, usage_id, pool_id, feature_id, value, credits, reversed, rate, dimensions, occurred_at, recorded_at FROM credit_pools.usage_events LIMIT 0;
SELECT recharge_id, pool_id, customer_id, resource_id, credit_type_id, status, reason, amount, price, price_currency, grant_id, attempts, payment_reference,
       created_at, updated_at, next_attempt_at, evaluations FROM credit_pools.recharges LIMIT 0;
SELECT customer_id, resource_id, credit_type_id, subscription_id, plan_id, status, starts_at, ends_at, cancelled_at, end_credits, time_zone, quantities FROM credit_pools.subscriptions LIMIT 0;
SELECT customer_id, resource_id, credit_type_id, threshold, target_balance, recharge_amount, price_per_credit, price_currency, max_spend, spend_period, max_count, cooldown, grant_expires_after,
       settlement, max_failures, enabled FROM credit_pools.auto_recharge_policies LIMIT 0;
SELECT customer_id, resource_id, credit_type_id, reservation_id, pool_id, status, amount, held, charged, feature_id, value, rate, formula, dimensions, expires_at, created_at, closed_at, metadata FROM credit_pools.reservations LIMIT 0;
SELECT customer_id, resource_id, credit_type_id, all_resources, amount, per, used, remaining, window_start, window_end, created_at, updated_at FROM credit_pools.limits LIMIT 0;
-- The first three columns, and exact types of amounts and times.
SELECT c.relname, string_agg(a.attname, ', ' ORDER BY a.attnum) AS first_columns
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum BETWEEN 1 AND 3
 WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind = 'v' AND c.relname IN ('pools', 'grants', 'ledger', 'usage_events', 'recharges', 'subscriptions', 'auto_recharge_policies', 'reservations', 'limits')
 GROUP BY 1 ORDER BY 1;
-- No amount is a floating point number, and no instant is without its time zone.
SELECT c.relname, a.attname, format_type(a.atttypid, NULL) AS type FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind IN ('v', 'r') AND a.atttypid IN ('float4'::regtype, 'float8'::regtype, 'money'::regtype, 'timestamp'::regtype) ORDER BY 1, 2;
SELECT a.attrelid::regclass AS view, a.attname, format_type(a.atttypid, NULL) AS type FROM pg_attribute a
 WHERE a.attrelid IN ('credit_pools.pools'::regclass, 'credit_pools.grants'::regclass, 'credit_pools.ledger'::regclass, 'credit_pools.usage_events'::regclass, 'credit_pools.recharges'::regclass, 'credit_pools.subscriptions'::regclass, 'credit_pools.reservations'::regclass, 'credit_pools.limits'::regclass)
   AND (a.attname ~ '^(balance|amount|remaining|available|granted|consumed|expired|voided|held|charged|used|debt|restricted|credits|overdraft_limit|price|value|next_expiry_amount|balance_before|balance_after)$' AND a.atttypid <> 'numeric'::regtype
     OR a.attname ~ '_at$|^period_|^window_' AND a.atttypid <> 'timestamptz'::regtype
     OR a.attname ~ '^(grant|source_grant|usage|pool|recharge)_id$' AND a.atttypid <> 'bigint'::regtype
     OR a.attname ~ '^(customer|resource|credit_type|feature|subscription|reservation)_id$' AND a.atttypid <> 'text'::regtype) ORDER BY 1, 2;
-- Every function that touches a customer's data takes customer_id first.
SELECT p.proname, p.proargnames[1] AS first_argument FROM pg_proc p WHERE p.pronamespace = 'credit_pools'::regnamespace AND 'customer_id' = ANY (p.proargnames[1:p.pronargs]) AND p.proargnames[1] <> 'customer_id' AND p.proname NOT IN ('grant_access', 'revoke_access', 'archive_ledger', 'archive') ORDER BY 1;
-- Ids are compared byte by byte: the columns that hold them have the collation "C".
SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind = 'r' AND a.atttypid = 'text'::regtype AND a.attname ~ '^(customer|resource|credit_type|feature|plan|subscription|entry)_id$|^idempotency_key$'
   AND a.attcollation <> 'pg_catalog."C"'::regcollation ORDER BY 1, 2;

-- What they say, on a pool that has seen a little of everything.
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 2);
SELECT FROM credit_pools.define_feature(feature_id => 'run');
SELECT FROM credit_pools.define_plan(plan_id => 'basic');
SELECT FROM credit_pools.define_plan_credits(plan_id => 'basic', credit_type_id => 'credits', amount => 100);
SELECT FROM credit_pools.define_rate(feature_id => 'run', credit_type_id => 'credits', credits_per_unit => 0.5, plan_id => 'basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'acme', plan_id => 'basic', resource_id => 'ws', subscription_id => 'sub-1');
SELECT FROM credit_pools.set_pool(customer_id => 'acme', credit_type_id => 'credits', resource_id => 'ws', overdraft_limit => 20);
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 10, expires_at => '2026-03-05 00:00+00', reason => 'gift', category => 'promotional', price => 0, price_currency => 'EUR');
SET credit_pools.actor = 'alice';
SELECT FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 12, dimensions => '{"model": "large", "tokens": 7}', metadata => '{"job": 1}', idempotency_key => 'k-1');
RESET credit_pools.actor;
SET credit_pools.test_clock = '2026-03-06 00:00+00';
SELECT FROM credit_pools.report_usage(customer_id => 'acme', resource_id => 'ws', feature_id => 'run', value => 220, occurred_at => '2026-03-04 00:00+00');
SELECT FROM credit_pools.grant_credits(customer_id => 'acme', resource_id => 'ws', credit_type_id => 'credits', amount => 25, reason => 'bought', price => 2.5, price_currency => 'EUR');
SELECT FROM credit_pools.void_grant(customer_id => 'acme', grant_id => grant_id('acme', 'bought'), amount => 5, reason => 'mistake');

SELECT resource_id, credit_type_id, balance, granted, consumed, expired, voided, held, debt, restricted, overdraft_limit, status, next_expiry_at, next_expiry_amount, created_at FROM credit_pools.pools WHERE customer_id = 'acme';
SELECT category, priority, amount, remaining, available, held, consumed, expired, voided, status, effective_at, expires_at, price, price_currency, source, subscription_id, recharge_id, reason, created_at
  FROM credit_pools.grants WHERE customer_id = 'acme' ORDER BY grant_id;
SELECT seq, entry_type, amount, balance_before, balance_after, feature_id, value, reservation_id, idempotency_key, reason, dimensions, metadata, effective_at, recorded_at FROM credit_pools.ledger WHERE customer_id = 'acme' ORDER BY seq;
-- The actor is the session's user, or what the application says.
SELECT seq, CASE actor WHEN session_user THEN '(session user)' ELSE actor END AS actor FROM credit_pools.ledger WHERE customer_id = 'acme' AND seq > 3 ORDER BY seq;
SELECT feature_id, value, credits, reversed, rate, dimensions, occurred_at, recorded_at FROM credit_pools.usage_events WHERE customer_id = 'acme' ORDER BY usage_id;
SELECT resource_id, subscription_id, plan_id, status, starts_at, ends_at FROM credit_pools.subscriptions WHERE customer_id = 'acme';

-- The sum of amount over a pool's rows is its balance; seq has no gaps; balance_before is the row before's balance_after; every row has its own hash.
SELECT sum(l.amount) = p.balance AS sum_is_balance, max(l.seq) = count(*) AS no_gaps, count(DISTINCT l.entry_hash) = count(*) AS own_hashes
  FROM credit_pools.ledger l JOIN credit_pools.pools p USING (customer_id, pool_id) GROUP BY p.balance;
SELECT bool_and(balance_before = coalesce(previous, 0)) AS chained FROM (SELECT balance_before, lag(balance_after) OVER (PARTITION BY pool_id ORDER BY seq) AS previous FROM credit_pools.ledger) l;
-- Views are read without writing: also in a read-only transaction, and without a transaction id.
BEGIN READ ONLY;
SELECT balance FROM credit_pools.pools WHERE customer_id = 'acme';
SELECT count(*) FROM credit_pools.grants, credit_pools.usage_events;
SELECT credit_pools.clock();
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
COMMIT;
SELECT * FROM ledger_problems();
