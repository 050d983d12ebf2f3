use support::{Database, Session, TYPE, broken_invariants};

/// c1: ws-a with plan-basic and two grants of 1000 in all, ws-b with 500 and an overdraft; c2: 500 in its global pool. `hook`
/// calls what app.call says, app.depth times in all; how often it ran, also where that was undone, says hook_count.
pub fn world() -> (Database, Session) {
    let database = Database::with_catalogue();
    let mut session = database.session();
    fill(&mut session);
    session.exec(
        "CREATE SEQUENCE hook_count;
         CREATE FUNCTION hook() RETURNS trigger LANGUAGE plpgsql AS $$
         DECLARE depth int := current_setting('app.depth')::int;
         BEGIN
           IF depth > 0 THEN
             PERFORM nextval('public.hook_count'), set_config('app.depth', (depth - 1)::text, true);
             IF current_setting('app.caught')::boolean THEN
               BEGIN
                 EXECUTE 'SELECT FROM credit_pools.' || current_setting('app.call');
                 PERFORM set_config('app.answer', 'done', true);
               EXCEPTION WHEN OTHERS THEN
                 PERFORM set_config('app.answer', SQLSTATE || ' ' || SQLERRM, true);
               END;
             ELSE
               EXECUTE 'SELECT FROM credit_pools.' || current_setting('app.call');
               PERFORM set_config('app.answer', 'done', true);
             END IF;
           END IF;
           RETURN NEW;
         END $$",
    );
    (database, session)
}

pub fn fill(session: &mut Session) {
    for call in [
        "define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'images', amount => 30, rollover_max => 10)",
        "provision_subscription(customer_id => 'c1', plan_id => 'plan-basic', resource_id => 'ws-a', subscription_id => 's1')",
        "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 995)",
        "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 20, priority => 10)",
        "open_pool(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', overdraft_limit => 100)",
        "grant_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', amount => 500)",
        "open_pool(customer_id => 'c2', credit_type_id => 'ai-tokens')",
        "grant_credits(customer_id => 'c2', credit_type_id => 'ai-tokens', amount => 500)",
        "reserve_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 15, reservation_id => 'r1')",
        "consume_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', amount => 5)",
        "grant_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', amount => 5)",
    ] {
        session.call(call);
    }
}

pub const USE_10: &str =
    "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 10)";

pub fn left(session: &mut Session) -> String {
    session.balance("c1", Some("ws-a"), TYPE)
}

/// What a pool remembers of others' rows, for which the views have no rule: its policy, its limits, its subscription.
const REMEMBERED: &str = "
    SELECT p.pool_id, p.recharge_threshold, p.limited, p.scope_revision FROM credit_pools.pool p
    LEFT JOIN credit_pools.recharge_policy own ON own.customer_id = p.customer_id AND own.credit_type_id = p.credit_type_id AND own.resource_id = p.scope_id
    LEFT JOIN credit_pools.recharge_policy all_of_them ON all_of_them.customer_id = p.customer_id AND all_of_them.credit_type_id = p.credit_type_id AND all_of_them.resource_id = ''
    LEFT JOIN credit_pools.subscription s ON s.customer_id = p.customer_id AND s.resource_id = p.scope_id AND s.status = 'active'
    WHERE p.recharge_threshold IS DISTINCT FROM coalesce(own.threshold, all_of_them.threshold)
       OR s.revision > p.scope_revision
       OR p.limited <> EXISTS (SELECT FROM credit_pools.spending_limit l
                               WHERE l.customer_id = p.customer_id AND l.credit_type_id = p.credit_type_id AND (l.all_resources OR l.scope_id = p.scope_id))";

/// The broken rules of the books, and of what pools remember.
pub fn broken(session: &mut Session) -> Vec<String> {
    let mut broken = broken_invariants(session, true);
    let forgotten = session.rows(REMEMBERED);
    if !forgotten.is_empty() {
        broken.push(format!("pools remember their policy, limits and subscription: {forgotten:?}"));
    }
    if session.value("SELECT count(*) FROM pg_proc WHERE proname = 'verify_ledger'") != "0" {
        let problems = session.rows("SELECT * FROM credit_pools.verify_ledger()");
        if !problems.is_empty() {
            broken.push(format!("verify_ledger: {problems:?}"));
        }
    }
    broken
}
