-- The ledger is append-only, also for its owner and for replication roles (ALWAYS).
CREATE TRIGGER ledger_entry_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_pools.ledger_entry
    FOR EACH STATEMENT EXECUTE FUNCTION credit_pools.refuse_ledger_change();
ALTER TABLE credit_pools.ledger_entry ENABLE ALWAYS TRIGGER ledger_entry_append_only;

-- Level, not edge: every change of a pool that is below its threshold is looked at, but for the recharge's
-- own grant and the opening of the breaker. Above the threshold only the comparison is paid. An INSERT,
-- as in a restore, fires nothing.
CREATE TRIGGER pool_evaluate_recharge
    AFTER UPDATE ON credit_pools.pool
    FOR EACH ROW
    WHEN (NEW.balance < NEW.recharge_threshold AND NEW.status = 'active'
          AND NEW.last_recharge_id IS NOT DISTINCT FROM OLD.last_recharge_id
          AND NOT (OLD.breaker_opened_at IS NULL AND NEW.breaker_opened_at IS NOT NULL))
    EXECUTE FUNCTION credit_pools.evaluate_recharge();
