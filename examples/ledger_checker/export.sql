-- The ledger as check_ledger.py reads it: psql -XqAt -v ON_ERROR_STOP=1 -d app -f export.sql >ledger.csv
-- Instants are microseconds since 2000-01-01 00:00 UTC, exactly; whatever the session's time zone and date style.
SET client_encoding = 'UTF8';
COPY (
    SELECT customer_id, pool_id, seq, entry_type, amount, balance_after, grant_id, usage_id, feature_id, value,
           reservation_id, recharge_id, idempotency_key, actor, reason, dimensions, metadata,
           CASE WHEN isfinite(effective_at) THEN (extract(epoch FROM effective_at) * 1000000)::bigint - 946684800000000
                ELSE 9223372036854775807 END AS effective_at,
           CASE WHEN isfinite(recorded_at) THEN (extract(epoch FROM recorded_at) * 1000000)::bigint - 946684800000000
                ELSE 9223372036854775807 END AS recorded_at,
           credits, shortfall, rate, payload_digest, encode(entry_hash, 'hex') AS entry_hash
    FROM (SELECT * FROM credit_pools.ledger_entry UNION ALL SELECT * FROM credit_pools.ledger_archive) e
    ORDER BY customer_id, pool_id, seq
) TO STDOUT (FORMAT csv, HEADER);
