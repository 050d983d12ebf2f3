WITH p AS (
    UPDATE floor_pool SET seq = seq + 1, balance = balance - 1 WHERE pool_id = :n RETURNING pool_id, seq, balance
)
INSERT INTO floor_ledger (pool_id, seq, amount, balance_after, recorded_at) SELECT pool_id, seq, -1, balance, now() FROM p;
