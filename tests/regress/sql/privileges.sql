-- Who may do what (contract section 9): nothing is granted to PUBLIC; what writes is SECURITY DEFINER with a fixed search_path.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\i :helpers
-- No function of the schema can be executed by PUBLIC.
SELECT p.oid::regprocedure AS executable_by_public FROM pg_proc p
 WHERE p.pronamespace = 'credit_pools'::regnamespace AND (p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0)) ORDER BY 1;
-- No table, view or sequence has a privilege for PUBLIC, and neither has the schema.
SELECT c.relname AS open_to_public FROM pg_class c WHERE c.relnamespace = 'credit_pools'::regnamespace AND EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = 0) ORDER BY 1;
SELECT nspname AS open_to_public FROM pg_namespace n WHERE nspname = 'credit_pools' AND EXISTS (SELECT FROM aclexplode(n.nspacl) a WHERE a.grantee = 0);
SELECT t.typname AS open_to_public FROM pg_type t WHERE t.typnamespace = 'credit_pools'::regnamespace AND t.typtype IN ('e', 'd') AND EXISTS (SELECT FROM aclexplode(t.typacl) a WHERE a.grantee = 0) ORDER BY 1;
-- Every function that does SQL has the search_path pg_catalog, pg_temp, and nothing else in it. (clock reads a setting, refuse_ledger_change raises an error, catalogue_changed sends a signal, the reads_… are constants, access_support looks at privileges: none of them looks up a name. A procedure that commits may have no setting of its own: maintain and archive write every name and operator with its schema.)
SELECT p.oid::regprocedure AS function, p.proconfig FROM pg_proc p
 WHERE p.pronamespace = 'credit_pools'::regnamespace AND NOT coalesce(p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)
   AND p.proname NOT IN ('clock', 'refuse_ledger_change', 'catalogue_changed', 'maintain', 'archive', 'reads_all_customers', 'reads_own_customers', 'access_support') ORDER BY 1;
-- Every function that an application calls is SECURITY DEFINER, but for those that only read: they change to the owner after they have asked whose rows the caller may see.
SELECT p.oid::regprocedure AS not_security_definer FROM pg_proc p
 WHERE p.pronamespace = 'credit_pools'::regnamespace AND NOT p.prosecdef AND p.prorettype <> 'trigger'::regtype
   AND p.proname IN ('define_credit_type', 'archive_credit_type', 'define_feature', 'define_plan', 'define_plan_credits', 'define_rate', 'apply_catalog', 'provision_subscription', 'grant_credits',
     'confirm_grant_payment', 'report_usage', 'open_pool', 'set_pool', 'consume_credits', 'void_grant', 'cancel_subscription', 'transfer_subscription', 'set_quantity', 'run_maintenance', 'set_auto_recharge', 'claim_recharges', 'complete_recharge', 'fail_recharge', 'reset_auto_recharge',
     'transfer_credits', 'update_grant', 'reserve_credits', 'settle_reservation', 'release_reservation', 'extend_reservation', 'reverse_usage', 'report_usage_batch', 'estimate_usage', 'set_limit', 'grant_access', 'revoke_access') ORDER BY 1;
-- They exist, each once.
SELECT count(*) AS functions, count(DISTINCT p.proname) AS names FROM pg_proc p
 WHERE p.pronamespace = 'credit_pools'::regnamespace
   AND p.proname IN ('clock', 'define_credit_type', 'archive_credit_type', 'define_feature', 'define_plan', 'define_plan_credits', 'define_rate', 'apply_catalog', 'provision_subscription', 'grant_credits',
     'confirm_grant_payment', 'report_usage', 'open_pool', 'set_pool', 'consume_credits', 'void_grant', 'cancel_subscription', 'transfer_subscription', 'set_quantity', 'balance_at', 'run_maintenance', 'set_auto_recharge', 'claim_recharges', 'complete_recharge', 'fail_recharge', 'reset_auto_recharge',
     'transfer_credits', 'update_grant', 'reserve_credits', 'settle_reservation', 'release_reservation', 'extend_reservation', 'reverse_usage', 'report_usage_batch', 'check_credits', 'estimate_usage', 'explain_usage', 'set_limit', 'meter_table', 'unmeter_table');
-- … so that nobody changes what it does by putting operators or functions of his own in front of pg_catalog.
CREATE SCHEMA in_front;
CREATE FUNCTION in_front.never(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'in front'; END $$;
CREATE OPERATOR in_front.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = in_front.never);
CREATE OPERATOR in_front.> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = in_front.never);
CREATE FUNCTION in_front.never(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'in front'; END $$;
CREATE OPERATOR in_front.= (LEFTARG = text, RIGHTARG = text, FUNCTION = in_front.never);
CREATE FUNCTION in_front.sum(bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'in front'; END $$;
SET search_path = in_front, pg_catalog, public;
CALL credit_pools.maintain(batch_size => 1, max_batches => 1);
RESET search_path;
DROP SCHEMA in_front CASCADE;
-- A function that is strict would answer a NULL argument with silence instead of an error. (access_support is the planner's.)
SELECT p.oid::regprocedure AS strict FROM pg_proc p WHERE p.pronamespace = 'credit_pools'::regnamespace AND p.proisstrict AND p.pronargs > 0 AND p.proname <> 'access_support' ORDER BY 1;

-- A plain role, even one that may use the schema, can do nothing.
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'credits', scale => 0);
SELECT FROM credit_pools.open_pool(customer_id => 'acme', credit_type_id => 'credits');
CREATE ROLE regress_credit_pools_plain;
GRANT USAGE ON SCHEMA public TO regress_credit_pools_plain;
SET ROLE regress_credit_pools_plain;
SELECT sqlstate, message, world FROM expect_error($$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 1)$$);
SELECT sqlstate, message, world FROM expect_error($$SELECT * FROM credit_pools.pools$$);
RESET ROLE;
GRANT USAGE ON SCHEMA credit_pools TO regress_credit_pools_plain;
SET ROLE regress_credit_pools_plain;
SELECT n, e.sqlstate, e.message, e.world FROM (VALUES
    (1, $$SELECT * FROM credit_pools.consume_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 1)$$),
    (2, $$SELECT * FROM credit_pools.grant_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 1)$$),
    (3, $$SELECT * FROM credit_pools.define_plan(plan_id => 'mine')$$),
    (4, $$SELECT * FROM credit_pools.run_maintenance()$$),
    (5, $$SELECT * FROM credit_pools.pools$$),
    (6, $$SELECT * FROM credit_pools.ledger$$),
    (7, $$SELECT * FROM credit_pools.pool$$),
    (8, $$UPDATE credit_pools.pool SET balance = 0$$),
    (9, $$INSERT INTO credit_pools.ledger_entry DEFAULT VALUES$$),
    (10, $$SELECT credit_pools.clock()$$),
    (11, $$SELECT * FROM credit_pools.cancel_subscription(customer_id => 'acme', subscription_id => 's')$$),
    (12, $$SELECT * FROM credit_pools.transfer_subscription(customer_id => 'acme', subscription_id => 's', to_resource_id => 'r')$$),
    (13, $$SELECT * FROM credit_pools.set_quantity(customer_id => 'acme', subscription_id => 's', feature_id => 'f', quantity => 1)$$),
    (14, $$SELECT * FROM credit_pools.balance_at(customer_id => 'acme', credit_type_id => 'credits')$$),
    (15, $$CALL credit_pools.maintain()$$),
    (16, $$SELECT * FROM credit_pools.reserve_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 1)$$),
    (17, $$SELECT * FROM credit_pools.report_usage_batch(events => '[]')$$),
    (18, $$SELECT * FROM credit_pools.estimate_usage(customer_id => 'acme', feature_id => 'f', value => 1)$$),
    (19, $$SELECT * FROM credit_pools.set_limit(customer_id => 'acme', credit_type_id => 'credits', amount => 1, per => '1 day')$$),
    (20, $$SELECT * FROM credit_pools.reverse_usage(customer_id => 'acme', usage_id => 1)$$),
    (21, $$SELECT * FROM credit_pools.reservations$$),
    (22, $$SELECT * FROM credit_pools.limits$$)
  ) s (n, statement), LATERAL expect_error(statement) e ORDER BY n;
-- The test clock is for superusers.
SET credit_pools.test_clock = '2026-03-01 00:00+00';
RESET ROLE;
-- All relations of the schema, asked directly: no privilege of any kind.
SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind IN ('r', 'v')
   AND has_table_privilege('regress_credit_pools_plain', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') ORDER BY 1;
SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'credit_pools'::regnamespace AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege('regress_credit_pools_plain', c.oid, 'USAGE, SELECT, UPDATE') END ORDER BY 1;
SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'credit_pools'::regnamespace AND has_function_privilege('regress_credit_pools_plain', p.oid, 'EXECUTE') ORDER BY 1;

-- A role that may execute one function gets that work done without any right on a table; and objects of its own that are named like those of the
-- extension or of the system change nothing.
GRANT EXECUTE ON FUNCTION credit_pools.consume_credits, credit_pools.grant_credits TO regress_credit_pools_plain;
CREATE SCHEMA trap AUTHORIZATION regress_credit_pools_plain;
SET ROLE regress_credit_pools_plain;
CREATE TABLE trap.pool (customer_id text);
CREATE FUNCTION trap.now() RETURNS timestamptz LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE FUNCTION trap.lower(text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE FUNCTION trap.minus(numeric, numeric) RETURNS numeric LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE OPERATOR trap.- (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = trap.minus);
CREATE FUNCTION trap.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.eq);
SET search_path = trap, pg_catalog, public;
SELECT amount OPERATOR(pg_catalog.=) 10 AS granted, balance FROM credit_pools.grant_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 10);
SELECT credits_consumed, balance FROM credit_pools.consume_credits(customer_id => 'acme', credit_type_id => 'credits', amount => 3);
RESET search_path;
RESET ROLE;
-- The ledger tells who did it: the session's user, not the owner whose rights the function has.
SELECT seq, entry_type, amount, actor = session_user AS by_the_session_user FROM credit_pools.ledger WHERE customer_id = 'acme' ORDER BY seq;

DROP SCHEMA trap CASCADE;
DROP OWNED BY regress_credit_pools_plain;
DROP ROLE regress_credit_pools_plain;
SELECT * FROM ledger_problems();
