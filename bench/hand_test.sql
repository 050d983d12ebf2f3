-- That the hand-written contestant does what it says. Leaves nothing behind.
\set ON_ERROR_STOP on
BEGIN;
INSERT INTO hand_subscription (customer_id, resource_id, plan_id, status) VALUES ('test', 'r', 'plan-basic', 'active');
INSERT INTO hand_pool (customer_id, resource_id, credit_type_id, seq, balance, consumed, expired, recharge_threshold, next_transition_at, last_hash)
VALUES ('test', 'r', 'ai-tokens', 0, 60, 0, 0, 5, now() - interval '1 hour', '');
INSERT INTO hand_grant (pool_id, status, category, priority, amount, effective_at, expires_at, created_at)
SELECT pool_id, status, category, priority, amount, now() - interval '1 day', now() + ends, now()
FROM hand_pool, (VALUES ('active', 1, 50, 20, interval '9 days'), ('active', 0, 50, 10, '9 days'), ('active', 1, 10, 5, '99 days'),
                        ('active', 1, 50, 25, '-1 hour'), ('scheduled', 1, 50, 7, '10 days')) g (status, category, priority, amount, ends)
WHERE customer_id = 'test';
DO $$
DECLARE
    r record;
    rows text;
BEGIN
    -- Expiry of 25, start of 7; then priority 10, then promotional 10, then 3 of the 20.
    SELECT * INTO r FROM hand_report_usage('test', 'r', 'feature-ai-tokens', 18, 'key-1');
    SELECT string_agg(concat_ws(':', seq, entry_type, amount, balance_before, balance_after, credits, idempotency_key), ' ' ORDER BY seq)
    INTO rows FROM hand_ledger WHERE customer_id = 'test';
    ASSERT r.balance = 24 AND r.credits = 18 AND NOT r.is_duplicate, r;
    ASSERT rows = '1:grant:7:60:67 2:expire:-25:67:42 3:consume:-5:42:37:18:key-1 4:consume:-10:37:27 5:consume:-3:27:24', rows;
    ASSERT r.seq = 3, r;
    SELECT * INTO r FROM hand_report_usage('test', 'r', 'feature-ai-tokens', 18, 'key-1');
    ASSERT r.is_duplicate AND r.seq = 3 AND r.credits = 18 AND r.balance = 24, r;
    BEGIN
        PERFORM hand_report_usage('test', 'r', 'feature-ai-tokens', 19, 'key-1');
        ASSERT false;
    EXCEPTION WHEN raise_exception THEN
    END;
    BEGIN
        PERFORM hand_report_usage('test', 'r', 'feature-ai-tokens', 25);
        ASSERT false;
    EXCEPTION WHEN SQLSTATE 'PC001' THEN
    END;
    ASSERT NOT EXISTS (SELECT FROM hand_recharge);
    SELECT * INTO r FROM hand_report_usage('test', 'r', 'feature-ai-tokens', 20, 'key-2', true);
    ASSERT r.balance = 4 AND r.seq = 6, r;
    ASSERT (SELECT count(*) FROM hand_recharge) = 1;
    SELECT * INTO r FROM hand_report_usage('test', 'r', 'feature-ai-tokens', 1, 'key-3', true);
    ASSERT (SELECT count(*) FROM hand_recharge) = 1;
    ASSERT (SELECT array_agg(octet_length(entry_hash) ORDER BY seq) FROM hand_ledger WHERE customer_id = 'test' AND seq > 5) = '{32,32,32}';
    ASSERT (SELECT balance = 3 AND seq = 8 AND consumed = 39 AND expired = 25 FROM hand_pool WHERE customer_id = 'test');
    ASSERT (SELECT sum(amount - consumed) FILTER (WHERE status = 'active') FROM hand_grant
            WHERE pool_id = (SELECT pool_id FROM hand_pool WHERE customer_id = 'test')) = 3;
END
$$;
ROLLBACK;
