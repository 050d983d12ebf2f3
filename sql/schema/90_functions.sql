-- What psql's \df+ says, and who may call: nobody until the owner grants it. The first word is the chapter that a function
-- belongs to (sql/psql/contents.psql and docs/reference.md go by it).
COMMENT ON FUNCTION credit_pools.clock IS 'Reading: The instant that reads take for now: the start of the statement, or credit_pools.test_clock';

COMMENT ON FUNCTION credit_pools.define_credit_type IS 'Catalogue: Makes or changes a credit type. scale: decimal places, 0 to 18, default 6, fixed once a pool exists. NULL keeps a value. Errors 22023, PC005.';
COMMENT ON FUNCTION credit_pools.archive_credit_type IS 'Catalogue: No new grants of the type from now on (PC005); its pools stay usable';
COMMENT ON FUNCTION credit_pools.define_feature IS 'Catalogue: Makes or changes a feature. NULL keeps a value.';
COMMENT ON FUNCTION credit_pools.define_plan IS 'Catalogue: Makes or changes a plan. NULL keeps a value.';
COMMENT ON FUNCTION credit_pools.define_plan_credits IS 'Catalogue: What a plan grants of a credit type per cadence (NULL = once). Replaces the entry. Grants that were made stay. Errors 22023, PC002.';
COMMENT ON FUNCTION credit_pools.define_rate IS 'Catalogue: A version of a feature''s price: credits_per_unit, or a formula over value and the usage''s numeric dimensions (docs/rates.md has the grammar); plan_id NULL = for every plan. Without effective_at the first version counts always, later ones from now. Errors 22023, PC002.';
COMMENT ON FUNCTION credit_pools.apply_catalog IS 'Catalogue: The whole catalogue from one document with arrays credit_types, features, plans, plan_credits, rates, whose objects have the arguments of the define functions. Unknown keys: 22023.';

COMMENT ON FUNCTION credit_pools.provision_subscription IS 'Subscriptions: Subscribes a scope (resource_id NULL = the global one) to a plan: makes customer, resource and pools, grants the current period''s credits. Another plan on the scope changes its plan. Locks the scope, then its pools by id. Errors PC002, PC004, PC005, 22023.';
COMMENT ON FUNCTION credit_pools.cancel_subscription IS 'Subscriptions: Ends a subscription at an instant, by default now. credits keep: what its plan granted stays until it expires; expire: it ends then, too. Manual grants always stay. Locks the scope, then its pools by id. Errors PC002, PC004, PC005, 22023.';
COMMENT ON FUNCTION credit_pools.transfer_subscription IS 'Subscriptions: Moves a subscription to another resource of the customer (NULL = the global scope), which is made if it is new. credits move: the unheld rest of what its plan granted goes along; keep: it stays where it is until it expires. Locks both scopes, then their pools by id. Errors PC002, PC004, PC005, 22023.';
COMMENT ON FUNCTION credit_pools.set_quantity IS 'Subscriptions: Sets a subscription''s quantity of a feature, such as seats. What exceeds the most granted for the period that runs is granted at once; fewer take nothing back. Locks the scope, then its pools by id. Errors PC002, PC004, PC005, 22023.';
COMMENT ON FUNCTION credit_pools.grant_credits IS 'Grants: Adds credits to exactly one pool. category paid, promotional or recurring; priority 0 (first) to 100; payment_state paid or pending. Locks that pool only. Errors PC002, PC004, PC005, 22023.';
COMMENT ON FUNCTION credit_pools.confirm_grant_payment IS 'Grants: A grant made with payment_state pending counts from now on; twice = the same success. Errors PC002, PC005.';
COMMENT ON FUNCTION credit_pools.report_usage IS 'Usage: Charges value x rate of a feature to exactly one pool, in this transaction: ROLLBACK is the refund. on_insufficient reject or cap. Locks that pool only. Errors PC001 to PC006, 22023.';
COMMENT ON FUNCTION credit_pools.reverse_usage IS 'Usage: Gives credits of a usage back (NULL = all that is left) to the grants that they came from, last drawn first; what was a grant''s that is over expires at once; its debt shrinks the pool''s. Locks that pool only. Errors PC002, PC004, 22023.';
COMMENT ON FUNCTION credit_pools.report_usage_batch IS 'Usage: Many usages, of any customers, as calls of report_usage in that order would be: an array of 1 to 100,000 objects with its arguments; a row per event. atomic: one that fails fails all, DETAIL has its index (0 = first); otherwise its row has the error. Locks every pool first, by customer and id. Errors as report_usage.';
COMMENT ON FUNCTION credit_pools.check_credits IS 'Usage: Whether a usage, of credits or of a feature''s value, would be accepted now; otherwise denial_reason is the name of its error. balance: what it may touch; required: what it costs. Reads only, takes no lock. Errors PC002, 22023.';
COMMENT ON FUNCTION credit_pools.estimate_usage IS 'Usage: What report_usage with these arguments would do: makes the call and undoes it, in this transaction. Takes the pool''s lock for that long, and ids; not on a standby. Rejections (PC001, PC005, PC007) are told by would_be_rejected and error_code, other errors are raised.';
COMMENT ON FUNCTION credit_pools.explain_usage IS 'Usage: Why a usage cost what it did (the rate version, its inputs), and the grants that it was drawn from with the rule that chose each. Errors PC002, 22023.';
COMMENT ON FUNCTION credit_pools.consume_credits IS 'Usage: Charges plain credits to exactly one pool; needs no subscription. Otherwise as report_usage. Errors PC001, PC002, PC004, PC005, 22023.';
COMMENT ON FUNCTION credit_pools.update_grant IS 'Grants: Changes priority, expires_at (infinity = none), display_name or metadata of a grant; NULL leaves a value. One ledger row of 0, whose metadata has what changed, each as {from, to}; no change, no row. A grant that is over keeps priority and end (PC005). Errors PC002, PC004, PC005, 22023.';
COMMENT ON FUNCTION credit_pools.transfer_credits IS 'Grants: Moves credits between two pools of a customer (resource_id NULL = the global one), in the order of consumption; the moved part keeps category, priority and expiry. Feature-limited credits do not move, nor does overdraft. Locks both pools by id. Errors PC001, PC002, PC004, PC005, 22023.';
COMMENT ON FUNCTION credit_pools.reserve_credits IS 'Holds: Puts credits aside for a job, plain ones or those of a feature''s value; out of the balance at once, back by themselves after ttl (24 hours at most). The same reservation_id and arguments = the first result. Locks that pool only. Errors PC001 to PC007, 22023.';
COMMENT ON FUNCTION credit_pools.settle_reservation IS 'Holds: Charges a hold by amount, by value at the hold''s price, or all of it: up to what is held from the grants that back it, an excess as usage. final => false keeps the rest held, otherwise it returns. Errors PC001, PC002, PC004, PC005, PC007, 22023.';
COMMENT ON FUNCTION credit_pools.release_reservation IS 'Holds: Gives all of a hold back; again = the same success. Errors PC002, PC005.';
COMMENT ON FUNCTION credit_pools.extend_reservation IS 'Holds: Lets a hold end ttl from now, 24 hours at most. Errors PC002, PC005, 22023.';
COMMENT ON FUNCTION credit_pools.set_limit IS 'Limits: Caps what a pool, or with all_resources the customer over all its pools, may use per calendar window (customer''s time zone); Infinity lifts the cap. Usage beyond is PC007, with on_insufficient cap it is cut. Locks the pools that it covers, by id; usage under a customer''s cap locks the cap. Errors PC002, 22023.';
COMMENT ON FUNCTION credit_pools.limit_window IS 'Internal, for the view limits: the calendar window of this instant';
COMMENT ON FUNCTION credit_pools.void_grant IS 'Grants: Takes back what is neither consumed nor held of a grant, or an amount of it; nothing left = success. Errors PC002, PC004, 22023.';

COMMENT ON FUNCTION credit_pools.meter_table IS 'Metering: From now on each row that is inserted into the table is a usage of the feature, charged in the same transaction (a trigger for each statement); value_column NULL = 1 per row, resource_column NULL = the global pool; key_column: its idempotency key. Needs the right to make triggers on the table. Errors PC002, 22023; the inserts have those of report_usage_batch.';
COMMENT ON FUNCTION credit_pools.unmeter_table IS 'Metering: Undoes meter_table for a feature, or (NULL) for all; a row per trigger that was removed';

COMMENT ON FUNCTION credit_pools.open_pool IS 'Pools: Opens a pool without a subscription, and customer and resource with it; one that is there stays. Errors PC002, PC005, 22023.';
COMMENT ON FUNCTION credit_pools.set_pool IS 'Pools: Changes overdraft_limit (Infinity = none), status (active, frozen) or metadata of a pool; NULL leaves a value. Errors PC002, 22023.';
COMMENT ON FUNCTION credit_pools.run_maintenance IS 'Maintenance: Books what is due by now in at most max_pools pools, oldest first: starts and ends of grants, renewals, rollover; marks subscriptions that have ended, and deletes events beyond credit_pools.event_retention that every consumer has acknowledged; adds usage up for charts (rolled_up: ledger rows; at most about 100000 where max_pools is given; docs/charts.md). Passes over pools that others have locked, so that several sessions may run it, and over those that fail (a WARNING each). remaining: pools still due, counted up to 100000. Locks are held to the end of the transaction; CALL maintain() commits between batches. Error 22023.';
COMMENT ON PROCEDURE credit_pools.maintain IS 'Maintenance: run_maintenance(batch_size) and COMMIT until nothing is left, or max_batches times; a NOTICE per batch. For pg_cron and the like; not inside a transaction block.';
COMMENT ON FUNCTION credit_pools.archive_ledger IS 'Maintenance: Moves ledger rows and usages that were recorded earlier than before out of the table that usage writes to, into the archive; a pool''s last row stays. Views, functions and keys go on as if nothing had moved. At most max_rows rows of max_pools pools, behind after_customer_id and after_pool_id, in the order of customer and pool; the first pool is waited for, others that are locked are passed over. is_complete: the last pool was reached. Locks the pools to the end of the transaction; CALL archive() commits between batches. Error 22023.';
COMMENT ON PROCEDURE credit_pools.archive IS 'Maintenance: archive_ledger(before, customer_id, batch_rows) and COMMIT until nothing is left, or max_batches times; a NOTICE per batch. For pg_cron and the like; not inside a transaction block.';

COMMENT ON FUNCTION credit_pools.set_auto_recharge IS 'Recharge: Sets the auto-recharge policy of all pools of a customer and credit type, or of one resource''s pool, and evaluates them. Locks those pools by id. Errors PC002, 22023.';
COMMENT ON FUNCTION credit_pools.reset_auto_recharge IS 'Recharge: Closes the breakers of the pools that a policy covers and evaluates them. Errors PC002, 22023.';
COMMENT ON FUNCTION credit_pools.claim_recharges IS 'Recharge: Hands pending recharges to one payment worker each, for the time of the lease (SKIP LOCKED). The one call over customers besides run_maintenance.';
COMMENT ON FUNCTION credit_pools.complete_recharge IS 'Recharge: The payment succeeded: makes the grant, once, also after the lease. Errors PC002, PC004, PC005.';
COMMENT ON FUNCTION credit_pools.fail_recharge IS 'Recharge: The payment failed: tried again after a pause that doubles; after max_failures, or at once when permanent, the pool''s breaker opens. attempt: the number of the one that failed (claimed attempts + 1); told again, the same result. Errors PC002, PC005, 22023.';

COMMENT ON FUNCTION credit_pools.explain_recharge IS 'Recharge: Whether a pool would recharge now, by how much and for what price; if not, why: no_policy, frozen, enough, disabled, breaker, pending, cooldown, count_limit or spend_limit. Reads only, takes no lock. Errors PC002, 22023.';

COMMENT ON FUNCTION credit_pools.set_balance_alerts IS 'Events: Below which balances an event balance.low is written: levels in credits, and in percent of what is granted. customer_id NULL = the credit type''s default, otherwise the customer''s own in its place, for all of its pools of the type; both arrays NULL removes them. Locks those pools by id. Errors PC002, 22023.';
COMMENT ON FUNCTION credit_pools.fetch_events IS 'Events: The oldest max events (1 to 10000) that a consumer has not acknowledged, in order of event_id. The first call makes the consumer. Error 22023.';
COMMENT ON FUNCTION credit_pools.ack_events IS 'Events: A consumer has worked on all events up to event_id; fetch_events goes on behind it. Backwards or beyond the newest event: 22023.';
COMMENT ON FUNCTION credit_pools.drop_event_consumer IS 'Events: Forgets a consumer, for which events are kept no longer';

COMMENT ON FUNCTION credit_pools.balance_at IS 'Reading: The sums of a pool at an instant (default now; past or future, without further usage): of what was recorded by known_at (default now) and counts by then, and of what the clock alone does by then. Reads only. Errors PC002, 22023.';

COMMENT ON FUNCTION credit_pools.usage_chart IS 'Reading: Usage from from_time (default: 30 days before) up to to_time (default: now) in buckets on the calendar of the customer''s time zone: credits less what was taken back, units, usages, each at the instant of the usage; every bucket has a row, also one without usage. group_by: feature, resource (with resource_id NULL: of all pools of the customer, otherwise NULL is the global pool) and up to three names of dimensions (dimension:feature for one that is called feature). credit_type_id may be left out where there is one only. Reads only. Errors PC002, 22023.';
COMMENT ON FUNCTION credit_pools.usage_overview IS 'Reading: A pool from from_time (default: 30 days before) up to to_time (default: now), in one row: consumed, units and events as usage_chart has them, what was granted, expired and voided, balance at both ends, the feature that cost most, credits used per day; and as of now balance, held, debt, what expires within 30 days, and when the balance is used up if usage goes on so. Reads only. Errors PC002, 22023.';
COMMENT ON FUNCTION credit_pools.credits_page IS 'Reading: A customer''s credits as one HTML document that needs nothing else: balance, usage of 30 days, recharges, subscription, grants and last ledger rows of each pool, one pool at a time, resource_id''s first (NULL: the global one). credit_type_id NULL = all types. At most 1 MB: what is left out, it says. The domain is PostgREST''s sign of a web page. Reads only. Errors PC002, 22023.';

COMMENT ON FUNCTION credit_pools.report IS 'Reading: A scope''s pools as lines of text for psql: balance, usage of the last days (1 to 3660) as a bar chart, grants in order of consumption and the latest ledger rows (up to rows, 0 to 1000, of each), auto-recharge. width: columns of the terminal, 40 to 1000. Times in the customer''s time zone. Without block characters where client_encoding is not UTF8. Reads only. Errors PC002, 22023.';

COMMENT ON FUNCTION credit_pools.verify_ledger IS 'Proof: A row per problem in the books, none where they are sound: the hash chain, gaps, running balance and order of each ledger, and grants, holds, usages, recharges and pools against it. NULL = not restricted. heads: rows of ledger_head that were kept elsewhere, as a JSON array; each must still be in its chain. after_customer_id and after_pool_id: goes on behind that pool, in the order of customer and pool, as the NOTICEs of a long call name it (credit_pools.progress_interval). Reads only, one snapshot, no lock. Errors PC002, 22023.';
COMMENT ON FUNCTION credit_pools.ledger_head IS 'Proof: The last row of each ledger, its hash before all: kept elsewhere, verify_ledger(heads => …) shows whether anything up to it was changed since. NULL = not restricted. Errors PC002, 22023.';

COMMENT ON FUNCTION credit_pools.grant_access IS 'Access: Gives a role the privileges of a level: meter (report, reserve, check), reader (views and questions), app (meter, reader, provision, grant, payments, events), admin (all), or tenant (views and questions, the rows of customer_id alone, or of one resource_id). Levels add up, but a tenant has no other (PC005). changed: false where the role had it. Locks the table role_access. Errors PC002, PC005, 22023.';
COMMENT ON FUNCTION credit_pools.revoke_access IS 'Access: Takes a level (NULL = all), or one customer or resource of a tenant, from a role, and with it every privilege on the extension''s objects that its other levels do not give. Errors PC002, 22023.';
COMMENT ON FUNCTION credit_pools.objects_of_level IS 'Internal, for grant_access: the functions, views and tables of a level';
COMMENT ON FUNCTION credit_pools.apply_access IS 'Internal, for grant_access and revoke_access: privileges as role_access says';
COMMENT ON FUNCTION credit_pools.reads_all_customers IS 'Internal, for row-level security: the privilege to execute it is the right to see the rows of all customers';
COMMENT ON FUNCTION credit_pools.reads_own_customers IS 'Internal, for the views: the privilege to execute it makes a role a tenant';
COMMENT ON FUNCTION credit_pools.own_rows IS 'Internal, for the views: the rows of a view that the tenant who calls may see';
COMMENT ON FUNCTION credit_pools.access_support IS 'Internal: what the planner may know of reads_all_customers and reads_own_customers';

COMMENT ON FUNCTION credit_pools.subscription_period IS 'Internal, for the view subscription_pools: the period that a subscription is in at this instant';
COMMENT ON FUNCTION credit_pools.pool_now IS 'Internal, for the view pools: the figures of a pool as of this instant';
COMMENT ON FUNCTION credit_pools.grants_now IS 'Internal, for the view grants: the grants of a pool as of this instant';
COMMENT ON FUNCTION credit_pools.evaluate_recharge IS 'Internal: trigger on pool';
COMMENT ON FUNCTION credit_pools.next_transaction_id IS 'Internal, for the view events: the transaction id that will be given next';
COMMENT ON FUNCTION credit_pools.set_event_horizon IS 'Internal: trigger on event';
COMMENT ON FUNCTION credit_pools.set_role_id IS 'Internal: trigger on role_access';
COMMENT ON FUNCTION credit_pools.catalogue_changed IS 'Internal: trigger on rate and credit_type';
COMMENT ON FUNCTION credit_pools.refuse_ledger_change IS 'Internal: trigger on ledger_entry and on the tables of its archive';
COMMENT ON FUNCTION credit_pools.check_metering IS 'Internal, for meter_table: checks its arguments and names the trigger';
COMMENT ON FUNCTION credit_pools.metering_trigger IS 'Internal, for unmeter_table: the name of the trigger that meters a feature';
COMMENT ON FUNCTION credit_pools.charge_inserted IS 'Internal: trigger on the tables that meter_table has metered';
ALTER FUNCTION credit_pools.charge_inserted() SECURITY DEFINER SET search_path TO pg_catalog, pg_temp;
ALTER FUNCTION credit_pools.evaluate_recharge() SET search_path TO pg_catalog, pg_temp;
ALTER FUNCTION credit_pools.set_event_horizon() SET search_path TO pg_catalog, pg_temp;

-- EXECUTE on a new function belongs to PUBLIC until it is revoked.
REVOKE ALL ON SCHEMA credit_pools FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA credit_pools FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA credit_pools FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA credit_pools FROM PUBLIC;
REVOKE ALL ON TYPE credit_pools.usage_result, credit_pools.check_result, credit_pools."text/html" FROM PUBLIC;
