-- The ledger is append-only, also for its owner and for replication roles (ALWAYS). The one DELETE that passes is that of
-- archive_ledger, which moves the rows.
CREATE TRIGGER ledger_entry_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_pools.ledger_entry
    FOR EACH STATEMENT EXECUTE FUNCTION credit_pools.refuse_ledger_change();
ALTER TABLE credit_pools.ledger_entry ENABLE ALWAYS TRIGGER ledger_entry_append_only;
CREATE TRIGGER ledger_archive_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_pools.ledger_archive
    FOR EACH STATEMENT EXECUTE FUNCTION credit_pools.refuse_ledger_change();
ALTER TABLE credit_pools.ledger_archive ENABLE ALWAYS TRIGGER ledger_archive_append_only;
CREATE TRIGGER archived_usage_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_pools.archived_usage
    FOR EACH STATEMENT EXECUTE FUNCTION credit_pools.refuse_ledger_change();
ALTER TABLE credit_pools.archived_usage ENABLE ALWAYS TRIGGER archived_usage_append_only;
CREATE TRIGGER ledger_archive_head_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_pools.ledger_archive_head
    FOR EACH STATEMENT EXECUTE FUNCTION credit_pools.refuse_ledger_change();
ALTER TABLE credit_pools.ledger_archive_head ENABLE ALWAYS TRIGGER ledger_archive_head_append_only;

-- Level, not edge: every change of a pool is looked at. The function compares the balance with the pool's
-- threshold before it does anything else; a WHEN clause would be parsed anew for every statement, which costs
-- more than the call. An INSERT, as in a restore, fires nothing.
CREATE TRIGGER pool_evaluate_recharge
    AFTER UPDATE ON credit_pools.pool
    FOR EACH ROW EXECUTE FUNCTION credit_pools.evaluate_recharge();

-- Sessions keep rates and credit types in memory; this tells them all, at commit, that these have changed. For each row:
-- on a subscriber no others fire.
CREATE TRIGGER rate_changed
    AFTER INSERT OR UPDATE OR DELETE ON credit_pools.rate
    FOR EACH ROW EXECUTE FUNCTION credit_pools.catalogue_changed();
CREATE TRIGGER credit_type_changed
    AFTER INSERT OR UPDATE OR DELETE ON credit_pools.credit_type
    FOR EACH ROW EXECUTE FUNCTION credit_pools.catalogue_changed();
ALTER TABLE credit_pools.rate ENABLE ALWAYS TRIGGER rate_changed;
ALTER TABLE credit_pools.credit_type ENABLE ALWAYS TRIGGER credit_type_changed;

-- Transaction ids mean nothing in another cluster: what a restore or a subscription inserts gets the horizon of here (ALWAYS).
CREATE TRIGGER event_horizon
    BEFORE INSERT ON credit_pools.event
    FOR EACH ROW EXECUTE FUNCTION credit_pools.set_event_horizon();
ALTER TABLE credit_pools.event ENABLE ALWAYS TRIGGER event_horizon;
