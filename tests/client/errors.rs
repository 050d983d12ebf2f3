//! Every error of the contract's section 8 that can be reached, by table: the SQLSTATE, the keys of DETAIL (a JSON
//! object), a HINT, nothing changed, and a connection that works on. Holds, limits, reversals and batches: errors/charging.rs.

#[path = "errors/charging.rs"]
mod charging;

use support::{Database, Fault, Session, check_invariants, digest, text};

/// What a call has to answer.
#[derive(Clone, Debug)]
enum Answer {
    /// 22023; DETAIL's `argument` is one of these (or a path inside it).
    Invalid(&'static [&'static str]),
    /// PC002 with this kind and id.
    Unknown(&'static str, &'static str),
    /// Another code, with these keys in DETAIL.
    Code(&'static str, &'static [&'static str]),
}

use Answer::{Code, Invalid, Unknown};

const INSUFFICIENT: Answer = Code("PC001", &["pool_id", "balance", "required", "shortfall", "floor"]);

/// Why a fault is not what the contract says, or nothing.
fn complaint(fault: &Fault, answer: &Answer) -> Option<String> {
    let code = match answer {
        Invalid(_) => "22023",
        Unknown(..) => "PC002",
        Code(code, _) => code,
    };
    if fault.code != code {
        return Some(format!("SQLSTATE should be {code}"));
    }
    if fault.message.trim().is_empty() {
        return Some("the message is empty".to_owned());
    }
    let figures = match fault.figures() {
        Ok(figures) => figures,
        Err(problem) => return Some(problem),
    };
    let wanted: &[&str] = match answer {
        Invalid(_) => &["argument"],
        Unknown(..) => &["kind", "id"],
        Code(_, keys) => keys,
    };
    for key in wanted {
        if !figures.contains_key(*key) {
            return Some(format!("DETAIL lacks {key}"));
        }
    }
    match answer {
        Invalid(arguments) => {
            let named = fault.figure("argument").unwrap_or_default();
            let stem = named.split(['.', '[', ':']).next().unwrap_or_default();
            if !arguments.contains(&stem) {
                return Some(format!("DETAIL names {named}, not {arguments:?}"));
            }
        }
        Unknown(kind, id) => {
            let found = (fault.figure("kind"), fault.figure("id"));
            if found != (Some((*kind).to_owned()), Some((*id).to_owned())) {
                return Some(format!("DETAIL should say kind {kind}, id {id}"));
            }
        }
        Code(..) => {}
    }
    if fault.hint.as_deref().unwrap_or_default().trim().is_empty() {
        return Some("HINT is empty".to_owned());
    }
    None
}

/// Runs each call, collects what is not as it should be, so that one run shows all.
fn check_table(session: &mut Session, table: &[(String, Answer)]) -> Vec<String> {
    let mut complaints = Vec::new();
    let before = digest(session);
    for (call, answer) in table {
        match session.try_rows(&format!("SELECT * FROM credit_pools.{call}")) {
            Ok(rows) => {
                complaints.push(format!("should have failed with {answer:?}: {call}\n  returned {rows:?}"));
                return complaints;
            }
            Err(fault) => {
                if let Some(complaint) = complaint(&fault, answer) {
                    complaints.push(format!("{complaint}; got {fault}"));
                }
                if fault.code == "closed" {
                    return complaints;
                }
            }
        }
        if digest(session) != before {
            complaints.push(format!("the failed call changed something: {call}"));
            return complaints;
        }
    }
    complaints
}

fn assert_table(session: &mut Session, table: &[(&str, Answer)]) {
    let table: Vec<(String, Answer)> =
        table.iter().map(|(call, answer)| ((*call).to_owned(), answer.clone())).collect();
    let complaints = check_table(session, &table);
    assert!(complaints.is_empty(), "{} of {}:\n{}", complaints.len(), table.len(), complaints.join("\n"));
}

/// customer c1: ws-a with plan-basic and 100 credits; ws-b is known and has a pool, but no subscription.
fn world() -> (Database, Session) {
    let database = Database::with_catalogue();
    let mut session = database.session();
    session.call("provision_subscription(customer_id => 'c1', plan_id => 'plan-basic', resource_id => 'ws-a', subscription_id => 's1')");
    session.call(
        "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 100)",
    );
    session.call("open_pool(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens')");
    (database, session)
}

// ------------------------------------------------------------------------------------------------ arguments

/// What an argument takes, hence what it must refuse.
#[derive(Clone, Copy)]
enum Takes {
    /// An id that must be there.
    Id,
    /// An id or key that may be NULL.
    OptionalId,
    /// A positive amount within the scale of ai-tokens.
    Amount,
    /// A positive number of any scale.
    Value,
    /// A number of at least 0.
    Price,
    /// 0 to 100.
    Priority,
    /// A JSON object or NULL.
    Object,
    /// One of some words.
    Word,
    /// A positive interval.
    Duration,
    /// A positive whole number.
    Count,
    /// A point in time, not before and not after all others.
    Instant,
}

impl Takes {
    fn refuses(self) -> Vec<String> {
        let id = || {
            vec![
                "''".to_owned(),
                text(&"x".repeat(256)),
                "'a' || chr(1)".to_owned(),
                "'a' || chr(10) || 'b'".to_owned(),
                "chr(127)".to_owned(),
            ]
        };
        let numbers = |more: &[&str]| -> Vec<String> {
            let mut list = vec![
                "'NaN'".to_owned(),
                "'Infinity'".to_owned(),
                "'-Infinity'".to_owned(),
                "-1".to_owned(),
                "-0.5".to_owned(),
                "1e200".to_owned(),
                "9".repeat(200),
            ];
            list.extend(more.iter().map(|text| (*text).to_owned()));
            list
        };
        match self {
            Takes::Id => [vec!["NULL".to_owned()], id()].concat(),
            Takes::OptionalId => id(),
            Takes::Amount => numbers(&["0", "NULL", "0.0000001", "1.1234567"]),
            Takes::Value => numbers(&["0", "NULL"]),
            Takes::Price => numbers(&[]),
            Takes::Priority => vec!["-1".into(), "101".into()],
            Takes::Object => ["'[]'", "'[1]'", "'1'", "'\"text\"'", "'true'"].map(str::to_owned).into(),
            Takes::Word => vec!["'no-such-word'".into(), "''".into()],
            Takes::Duration => vec!["'0'".into(), "'-1 day'".into()],
            Takes::Count => vec!["0".into(), "-1".into()],
            Takes::Instant => vec!["'infinity'".into(), "'-infinity'".into()],
        }
    }
}

/// A call that works, each argument with what it takes (None: no bad value is known from the contract alone).
type Good = (&'static str, &'static [(&'static str, &'static str, Option<Takes>)]);

const GOOD: &[Good] = &[
    (
        "define_credit_type",
        &[
            ("credit_type_id", "'new-type'", Some(Takes::Id)),
            ("display_name", "'New'", None),
            ("metadata", "'{}'", Some(Takes::Object)),
        ],
    ),
    ("archive_credit_type", &[("credit_type_id", "'images'", Some(Takes::Id))]),
    ("define_feature", &[("feature_id", "'new-feature'", Some(Takes::Id)), ("metadata", "'{}'", Some(Takes::Object))]),
    ("define_plan", &[("plan_id", "'new-plan'", Some(Takes::Id)), ("metadata", "'{}'", Some(Takes::Object))]),
    (
        "define_plan_credits",
        &[
            ("plan_id", "'plan-basic'", Some(Takes::Id)),
            ("credit_type_id", "'ai-tokens'", Some(Takes::Id)),
            ("entry_id", "'extra'", Some(Takes::OptionalId)),
            ("amount", "10", Some(Takes::Amount)),
            ("cadence", "'1 month'", Some(Takes::Duration)),
            ("priority", "50", Some(Takes::Priority)),
            ("category", "'recurring'", Some(Takes::Word)),
            ("expires_after", "'10 days'", Some(Takes::Duration)),
            ("quantity_feature_id", "'feature-search'", Some(Takes::OptionalId)),
        ],
    ),
    (
        "define_rate",
        &[
            ("feature_id", "'feature-ai-tokens'", Some(Takes::Id)),
            ("credit_type_id", "'ai-tokens'", Some(Takes::Id)),
            ("credits_per_unit", "3", Some(Takes::Price)),
            ("plan_id", "'plan-basic'", Some(Takes::OptionalId)),
        ],
    ),
    ("apply_catalog", &[("catalog", "'{}'", Some(Takes::Object))]),
    (
        "provision_subscription",
        &[
            ("customer_id", "'c2'", Some(Takes::Id)),
            ("plan_id", "'plan-basic'", Some(Takes::Id)),
            ("resource_id", "'ws-a'", Some(Takes::OptionalId)),
            ("subscription_id", "'s2'", Some(Takes::OptionalId)),
            ("time_zone", "'Europe/Berlin'", Some(Takes::Word)),
            ("quantities", "'{}'", Some(Takes::Object)),
            ("overrides", "'{}'", Some(Takes::Object)),
            ("idempotency_key", "'k1'", Some(Takes::OptionalId)),
            ("metadata", "'{}'", Some(Takes::Object)),
        ],
    ),
    (
        "grant_credits",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("resource_id", "'ws-a'", Some(Takes::OptionalId)),
            ("credit_type_id", "'ai-tokens'", Some(Takes::Id)),
            ("amount", "10.123456", Some(Takes::Amount)),
            ("category", "'promotional'", Some(Takes::Word)),
            ("priority", "100", Some(Takes::Priority)),
            ("price", "9.99", Some(Takes::Price)),
            ("price_currency", "'EUR'", Some(Takes::Word)),
            ("payment_state", "'pending'", Some(Takes::Word)),
            ("idempotency_key", "'k1'", Some(Takes::OptionalId)),
            ("metadata", "'{}'", Some(Takes::Object)),
        ],
    ),
    (
        "confirm_grant_payment",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("grant_id", "(SELECT max(grant_id) FROM credit_pools.grants)", None),
        ],
    ),
    (
        "report_usage",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("resource_id", "'ws-a'", Some(Takes::OptionalId)),
            ("feature_id", "'feature-ai-tokens'", Some(Takes::Id)),
            ("value", "1.5", Some(Takes::Value)),
            ("dimensions", "'{}'", Some(Takes::Object)),
            ("idempotency_key", "'k1'", Some(Takes::OptionalId)),
            ("on_insufficient", "'cap'", Some(Takes::Word)),
            ("update_behavior", "'delta'", Some(Takes::Word)),
            ("metadata", "'{}'", Some(Takes::Object)),
        ],
    ),
    (
        "open_pool",
        &[
            ("customer_id", "'c3'", Some(Takes::Id)),
            ("credit_type_id", "'ai-tokens'", Some(Takes::Id)),
            ("resource_id", "'ws-a'", Some(Takes::OptionalId)),
            ("metadata", "'{}'", Some(Takes::Object)),
        ],
    ),
    (
        "set_pool",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("credit_type_id", "'ai-tokens'", Some(Takes::Id)),
            ("resource_id", "'ws-a'", Some(Takes::OptionalId)),
            ("status", "'frozen'", Some(Takes::Word)),
            ("metadata", "'{}'", Some(Takes::Object)),
        ],
    ),
    (
        "consume_credits",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("credit_type_id", "'ai-tokens'", Some(Takes::Id)),
            ("amount", "1.5", Some(Takes::Amount)),
            ("resource_id", "'ws-a'", Some(Takes::OptionalId)),
            ("idempotency_key", "'k1'", Some(Takes::OptionalId)),
            ("on_insufficient", "'reject'", Some(Takes::Word)),
            ("dimensions", "'{}'", Some(Takes::Object)),
            ("metadata", "'{}'", Some(Takes::Object)),
        ],
    ),
    (
        "void_grant",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("grant_id", "(SELECT min(grant_id) FROM credit_pools.grants)", None),
            ("idempotency_key", "'k1'", Some(Takes::OptionalId)),
        ],
    ),
    (
        "set_auto_recharge",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("credit_type_id", "'ai-tokens'", Some(Takes::Id)),
            ("threshold", "10", Some(Takes::Price)),
            ("recharge_amount", "100", Some(Takes::Amount)),
            ("price_per_credit", "0.01", Some(Takes::Price)),
            ("price_currency", "'USD'", Some(Takes::Word)),
            ("max_spend", "100", Some(Takes::Price)),
            ("spend_period", "'1 month'", Some(Takes::Duration)),
            ("settlement", "'immediate'", Some(Takes::Word)),
            ("max_failures", "3", Some(Takes::Count)),
            ("resource_id", "'ws-a'", Some(Takes::OptionalId)),
        ],
    ),
    (
        "claim_recharges",
        &[
            ("worker", "'worker-1'", Some(Takes::Id)),
            ("max_count", "5", Some(Takes::Count)),
            ("lease", "'5 minutes'", Some(Takes::Duration)),
        ],
    ),
    (
        "cancel_subscription",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("subscription_id", "'s1'", Some(Takes::Id)),
            ("at", "'2999-01-01 00:00+00'", Some(Takes::Instant)),
            ("credits", "'expire'", Some(Takes::Word)),
            ("idempotency_key", "'k1'", Some(Takes::OptionalId)),
        ],
    ),
    (
        "transfer_subscription",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("subscription_id", "'s1'", Some(Takes::Id)),
            ("to_resource_id", "'ws-b'", Some(Takes::OptionalId)),
            ("credits", "'keep'", Some(Takes::Word)),
            ("idempotency_key", "'k1'", Some(Takes::OptionalId)),
        ],
    ),
    (
        "set_quantity",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("subscription_id", "'s1'", Some(Takes::Id)),
            ("feature_id", "'feature-search'", Some(Takes::Id)),
            ("quantity", "2.5", Some(Takes::Price)),
            ("idempotency_key", "'k1'", Some(Takes::OptionalId)),
        ],
    ),
    (
        "balance_at",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("credit_type_id", "'ai-tokens'", Some(Takes::Id)),
            ("resource_id", "'ws-a'", Some(Takes::OptionalId)),
            ("at", "'2026-01-01 00:00+00'", Some(Takes::Instant)),
            ("known_at", "'2026-01-01 00:00+00'", Some(Takes::Instant)),
        ],
    ),
    (
        "reserve_credits",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("reservation_id", "'r9'", Some(Takes::OptionalId)),
            ("credit_type_id", "'ai-tokens'", Some(Takes::Id)),
            ("amount", "3", Some(Takes::Amount)),
            ("resource_id", "'ws-a'", Some(Takes::OptionalId)),
            ("ttl", "'1 hour'", Some(Takes::Duration)),
            ("metadata", "'{}'", Some(Takes::Object)),
        ],
    ),
    (
        "settle_reservation",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("reservation_id", "'r1'", Some(Takes::Id)),
            ("amount", "3", Some(Takes::Price)),
            ("dimensions", "'{}'", Some(Takes::Object)),
            ("idempotency_key", "'k1'", Some(Takes::OptionalId)),
            ("metadata", "'{}'", Some(Takes::Object)),
        ],
    ),
    ("release_reservation", &[("customer_id", "'c1'", Some(Takes::Id)), ("reservation_id", "'r1'", Some(Takes::Id))]),
    (
        "extend_reservation",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("reservation_id", "'r1'", Some(Takes::Id)),
            ("ttl", "'2 hours'", Some(Takes::Duration)),
        ],
    ),
    (
        "reverse_usage",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("usage_id", "(SELECT min(usage_id) FROM credit_pools.usage_events)", None),
            ("credits", "1", Some(Takes::Price)),
            ("idempotency_key", "'k1'", Some(Takes::OptionalId)),
        ],
    ),
    (
        "transfer_credits",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("credit_type_id", "'ai-tokens'", Some(Takes::Id)),
            ("amount", "3", Some(Takes::Amount)),
            ("from_resource_id", "'ws-a'", Some(Takes::OptionalId)),
            ("to_resource_id", "'ws-b'", Some(Takes::OptionalId)),
            ("idempotency_key", "'k1'", Some(Takes::OptionalId)),
        ],
    ),
    (
        "update_grant",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("grant_id", "(SELECT min(grant_id) FROM credit_pools.grants)", None),
            ("priority", "7", Some(Takes::Priority)),
            ("metadata", "'{}'", Some(Takes::Object)),
            ("idempotency_key", "'k1'", Some(Takes::OptionalId)),
        ],
    ),
    (
        "set_limit",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("resource_id", "'ws-a'", Some(Takes::OptionalId)),
            ("credit_type_id", "'ai-tokens'", Some(Takes::Id)),
            ("amount", "30", None),
            ("per", "'1 day'", Some(Takes::Duration)),
        ],
    ),
    (
        "estimate_usage",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("resource_id", "'ws-a'", Some(Takes::OptionalId)),
            ("feature_id", "'feature-ai-tokens'", Some(Takes::Id)),
            ("value", "1.5", Some(Takes::Value)),
            ("dimensions", "'{}'", Some(Takes::Object)),
            ("idempotency_key", "'k1'", Some(Takes::OptionalId)),
            ("on_insufficient", "'cap'", Some(Takes::Word)),
            ("update_behavior", "'delta'", Some(Takes::Word)),
            ("metadata", "'{}'", Some(Takes::Object)),
        ],
    ),
    (
        "check_credits",
        &[
            ("customer_id", "'c1'", Some(Takes::Id)),
            ("feature_id", "'feature-ai-tokens'", Some(Takes::Id)),
            ("resource_id", "'ws-a'", Some(Takes::OptionalId)),
            ("value", "1.5", Some(Takes::Value)),
            ("dimensions", "'{}'", Some(Takes::Object)),
        ],
    ),
];

/// What the calls of [`GOOD`] work on.
fn prepare(session: &mut Session) {
    session.call("grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 5, payment_state => 'pending')");
    session.call(
        "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 10)",
    );
    session.call("reserve_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 10, reservation_id => 'r1')");
}

fn named(function: &str, arguments: &[(&str, String)]) -> String {
    let list: Vec<String> = arguments.iter().map(|(name, value)| format!("{name} => {value}")).collect();
    format!("{function}({})", list.join(", "))
}

#[test]
fn each_argument_refuses_what_the_contract_refuses() {
    let (_database, mut session) = world();
    prepare(&mut session);
    let mut complaints = Vec::new();
    for (function, arguments) in GOOD {
        let good: Vec<(&str, String)> = arguments.iter().map(|(name, value, _)| (*name, (*value).to_owned())).collect();
        // The good call works: only the bad argument can be to blame afterwards.
        session.exec("BEGIN");
        session.rows(&format!("SELECT * FROM credit_pools.{}", named(function, &good)));
        session.exec("ROLLBACK");
        let mut table = Vec::new();
        for (at, (name, _, takes)) in arguments.iter().enumerate() {
            let Some(takes) = takes else { continue };
            let names: &'static [&'static str] = std::slice::from_ref(name);
            for bad in takes.refuses() {
                // The recharge amount is optional beside target_balance: then it is target_balance that is missing.
                let names = if *name == "recharge_amount" { &["recharge_amount", "target_balance"] } else { names };
                let mut call = good.clone();
                call[at].1 = bad;
                table.push((named(function, &call), Invalid(names)));
            }
        }
        complaints.extend(check_table(&mut session, &table));
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
    check_invariants(&mut session);
}

#[test]
fn ids_may_have_255_characters_of_any_script() {
    let (_database, mut session) = world();
    let long = "é".repeat(255);
    let customer = text(&format!("{}'\\ \"", "ß".repeat(251)));
    session.call(&format!(
        "provision_subscription(customer_id => {customer}, plan_id => 'plan-basic', resource_id => '{long}', idempotency_key => '{long}')"
    ));
    let row = session.call(&format!(
        "grant_credits(customer_id => {customer}, resource_id => '{long}', credit_type_id => 'ai-tokens', amount => 5, idempotency_key => '{long}')"
    ));
    assert_eq!(row.get("balance"), "5");
    let row = session.call(&format!(
        "report_usage(customer_id => {customer}, resource_id => '{long}', feature_id => 'feature-ai-tokens', value => 2, idempotency_key => '{long}')"
    ));
    assert_eq!(row.get("balance"), "3");
    // Byte by byte: another case, a trailing blank or a composed form is another id.
    for other in ["C1", "c1 ", "ç1"] {
        let fault = session.call_fault(&format!(
            "grant_credits(customer_id => '{other}', credit_type_id => 'ai-tokens', amount => 5)"
        ));
        assert_eq!(fault.code, "PC002", "{fault}");
    }
    check_invariants(&mut session);
}

// ------------------------------------------------------------------------------------------------ the codes

#[test]
fn pc001_insufficient_credits() {
    let (_database, mut session) = world();
    assert_table(
        &mut session,
        &[
            (
                "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 100.000001)",
                INSUFFICIENT,
            ),
            (
                "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 100.000001)",
                INSUFFICIENT,
            ),
            (
                "consume_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', amount => 0.000001)",
                INSUFFICIENT,
            ),
        ],
    );
    let fault = session.call_fault(
        "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 150)",
    );
    let pool = session.value("SELECT pool_id FROM credit_pools.pools WHERE resource_id = 'ws-a'");
    for (key, wanted) in
        [("pool_id", pool.as_str()), ("balance", "100"), ("required", "150"), ("shortfall", "50"), ("floor", "0")]
    {
        assert_eq!(fault.figure(key).as_deref(), Some(wanted), "{key} of {fault}");
    }
    // An overdraft moves the floor.
    session.call(
        "set_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', overdraft_limit => 20)",
    );
    let fault = session.call_fault(
        "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 150)",
    );
    assert_eq!(fault.figure("floor").as_deref(), Some("-20"), "{fault}");
    assert_eq!(fault.figure("shortfall").as_deref(), Some("30"), "{fault}");
    // A credit type without a pool there: balance 0.
    let fault = session.call_fault(
        "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'images', amount => 1)",
    );
    assert_eq!(fault.code, "PC001", "{fault}");
    assert_eq!(fault.figure("balance").as_deref(), Some("0"), "{fault}");
    // A feature-limited grant is not there for another feature: DETAIL says what the usage may touch.
    session.call("grant_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', amount => 7, feature_ids => ARRAY['feature-search'])");
    let fault = session.call_fault(
        "consume_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', amount => 3)",
    );
    assert_eq!(fault.code, "PC001", "{fault}");
    assert_eq!(fault.figure("balance").as_deref(), Some("0"), "{fault}");
    check_invariants(&mut session);
}

#[test]
fn pc002_unknown_entity() {
    let (_database, mut session) = world();
    assert_table(
        &mut session,
        &[
            ("archive_credit_type(credit_type_id => 'nope')", Unknown("credit_type", "nope")),
            (
                "define_plan_credits(plan_id => 'nope', credit_type_id => 'ai-tokens', amount => 1)",
                Unknown("plan", "nope"),
            ),
            (
                "define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'nope', amount => 1)",
                Unknown("credit_type", "nope"),
            ),
            (
                "define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens', amount => 1, quantity_feature_id => 'nope')",
                Unknown("feature", "nope"),
            ),
            (
                "define_rate(feature_id => 'nope', credit_type_id => 'ai-tokens', credits_per_unit => 1)",
                Unknown("feature", "nope"),
            ),
            (
                "define_rate(feature_id => 'feature-search', credit_type_id => 'nope', credits_per_unit => 1)",
                Unknown("credit_type", "nope"),
            ),
            (
                "define_rate(feature_id => 'feature-search', credit_type_id => 'ai-tokens', credits_per_unit => 1, plan_id => 'nope')",
                Unknown("plan", "nope"),
            ),
            (
                "provision_subscription(customer_id => 'c1', plan_id => 'nope', resource_id => 'ws-c')",
                Unknown("plan", "nope"),
            ),
            ("provision_subscription(customer_id => 'new', plan_id => 'nope')", Unknown("plan", "nope")),
            (
                "grant_credits(customer_id => 'nope', credit_type_id => 'ai-tokens', amount => 1)",
                Unknown("customer", "nope"),
            ),
            (
                "grant_credits(customer_id => 'nope', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1)",
                Unknown("customer", "nope"),
            ),
            (
                "grant_credits(customer_id => 'c1', resource_id => 'nope', credit_type_id => 'ai-tokens', amount => 1)",
                Unknown("resource", "nope"),
            ),
            (
                "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'nope', amount => 1)",
                Unknown("credit_type", "nope"),
            ),
            (
                "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1, feature_ids => ARRAY['feature-search', 'nope'])",
                Unknown("feature", "nope"),
            ),
            ("confirm_grant_payment(customer_id => 'c1', grant_id => 4711)", Unknown("grant", "4711")),
            ("void_grant(customer_id => 'c1', grant_id => 4711)", Unknown("grant", "4711")),
            (
                "report_usage(customer_id => 'nope', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1)",
                Unknown("customer", "nope"),
            ),
            (
                "report_usage(customer_id => 'c1', resource_id => 'nope', feature_id => 'feature-ai-tokens', value => 1)",
                Unknown("resource", "nope"),
            ),
            (
                "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'nope', value => 1)",
                Unknown("feature", "nope"),
            ),
            (
                "consume_credits(customer_id => 'nope', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1)",
                Unknown("customer", "nope"),
            ),
            (
                "consume_credits(customer_id => 'c1', resource_id => 'nope', credit_type_id => 'ai-tokens', amount => 1)",
                Unknown("resource", "nope"),
            ),
            (
                "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'nope', amount => 1)",
                Unknown("credit_type", "nope"),
            ),
            (
                "open_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'nope')",
                Unknown("credit_type", "nope"),
            ),
            ("set_pool(customer_id => 'nope', credit_type_id => 'ai-tokens')", Unknown("customer", "nope")),
            (
                "set_pool(customer_id => 'c1', resource_id => 'nope', credit_type_id => 'ai-tokens')",
                Unknown("resource", "nope"),
            ),
            (
                "set_auto_recharge(customer_id => 'nope', credit_type_id => 'ai-tokens', threshold => 1, recharge_amount => 5)",
                Unknown("customer", "nope"),
            ),
            (
                "set_auto_recharge(customer_id => 'c1', credit_type_id => 'nope', threshold => 1, recharge_amount => 5)",
                Unknown("credit_type", "nope"),
            ),
            (
                "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 1, recharge_amount => 5, resource_id => 'nope')",
                Unknown("resource", "nope"),
            ),
            (
                "complete_recharge(customer_id => 'c1', recharge_id => 4711, payment_reference => 'p')",
                Unknown("recharge", "4711"),
            ),
            (
                "fail_recharge(customer_id => 'c1', recharge_id => 4711, reason => 'declined')",
                Unknown("recharge", "4711"),
            ),
            ("reset_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens')", Code("PC002", &["kind", "id"])),
        ],
    );
    // A grant or a recharge of another customer is unknown, too.
    session.call("open_pool(customer_id => 'c2', credit_type_id => 'ai-tokens')");
    let grant = session.value("SELECT grant_id FROM credit_pools.grants WHERE customer_id = 'c1'");
    for call in ["void_grant", "confirm_grant_payment"] {
        let fault = session.call_fault(&format!("{call}(customer_id => 'c2', grant_id => {grant})"));
        assert_eq!((fault.code.as_str(), fault.figure("kind").as_deref()), ("PC002", Some("grant")), "{fault}");
    }
    session.call("set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 200, recharge_amount => 500)");
    let recharge = session.value("SELECT min(recharge_id) FROM credit_pools.recharges WHERE status = 'pending'");
    for call in [
        format!("complete_recharge(customer_id => 'c2', recharge_id => {recharge}, payment_reference => 'p')"),
        format!("fail_recharge(customer_id => 'c2', recharge_id => {recharge}, reason => 'declined')"),
    ] {
        let fault = session.call_fault(&call);
        assert_eq!((fault.code.as_str(), fault.figure("kind").as_deref()), ("PC002", Some("recharge")), "{fault}");
    }
    check_invariants(&mut session);
}

#[test]
fn pc003_no_active_subscription() {
    let (_database, mut session) = world();
    session.call("open_pool(customer_id => 'c1', credit_type_id => 'ai-tokens')");
    session.call("open_pool(customer_id => 'c2', credit_type_id => 'ai-tokens')");
    assert_table(
        &mut session,
        &[
            (
                "report_usage(customer_id => 'c1', resource_id => 'ws-b', feature_id => 'feature-ai-tokens', value => 1)",
                Code("PC003", &[]),
            ),
            ("report_usage(customer_id => 'c1', feature_id => 'feature-ai-tokens', value => 1)", Code("PC003", &[])),
            ("report_usage(customer_id => 'c2', feature_id => 'feature-ai-tokens', value => 1)", Code("PC003", &[])),
            // Before the subscription began.
            (
                "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1, occurred_at => '2020-01-01 00:00+00')",
                Code("PC003", &[]),
            ),
        ],
    );
    for resource in ["'ws-b'", "NULL"] {
        let fault = session.call_fault(&format!(
            "report_usage(customer_id => 'c1', resource_id => {resource}, feature_id => 'feature-ai-tokens', value => 1)"
        ));
        assert!(
            fault.hint.as_deref().unwrap_or_default().contains("ws-a"),
            "HINT names the scope that has one: {fault}"
        );
    }
    // The other way round: the customer's global scope has one, the resource has not.
    session.call("provision_subscription(customer_id => 'c2', plan_id => 'plan-basic')");
    session.call("open_pool(customer_id => 'c2', resource_id => 'ws-z', credit_type_id => 'ai-tokens')");
    let fault = session.call_fault(
        "report_usage(customer_id => 'c2', resource_id => 'ws-z', feature_id => 'feature-ai-tokens', value => 1)",
    );
    assert_eq!(fault.code, "PC003", "{fault}");
    assert!(!fault.hint.as_deref().unwrap_or_default().contains("ws-a"), "not another customer's scope: {fault}");
    check_invariants(&mut session);
}

#[test]
fn pc004_idempotency_conflict() {
    let (_database, mut session) = world();
    session.call("grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 5, idempotency_key => 'k')");
    session.call("report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1, idempotency_key => 'k')");
    session.call("provision_subscription(customer_id => 'c1', plan_id => 'plan-basic', resource_id => 'ws-k', subscription_id => 'sk', idempotency_key => 'k')");
    let grant = session.value("SELECT min(grant_id) FROM credit_pools.grants");
    session.call(&format!("void_grant(customer_id => 'c1', grant_id => {grant}, amount => 1, idempotency_key => 'k')"));
    let conflict = Code("PC004", &[]);
    let void = format!("void_grant(customer_id => 'c1', grant_id => {grant}, amount => 2, idempotency_key => 'k')");
    assert_table(
        &mut session,
        &[
            (
                "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 6, idempotency_key => 'k')",
                conflict.clone(),
            ),
            (
                "grant_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', amount => 5, idempotency_key => 'k')",
                conflict.clone(),
            ),
            (
                "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 5, priority => 10, idempotency_key => 'k')",
                conflict.clone(),
            ),
            (
                "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 5, metadata => '{\"a\": 1}', idempotency_key => 'k')",
                conflict.clone(),
            ),
            (
                "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 2, idempotency_key => 'k')",
                conflict.clone(),
            ),
            (
                "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-search', value => 1, idempotency_key => 'k')",
                conflict.clone(),
            ),
            (
                "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1, on_insufficient => 'cap', idempotency_key => 'k')",
                conflict.clone(),
            ),
            // The replay check comes before every other: also where the payload would fail for another reason.
            (
                "report_usage(customer_id => 'c1', resource_id => 'nope', feature_id => 'nope', value => 1, idempotency_key => 'k')",
                conflict.clone(),
            ),
            (
                "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1000000, idempotency_key => 'k')",
                conflict.clone(),
            ),
            (
                "grant_credits(customer_id => 'c1', resource_id => 'nope', credit_type_id => 'nope', amount => 5, idempotency_key => 'k')",
                conflict.clone(),
            ),
            // report_usage and consume_credits are one kind of call.
            (
                "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1, idempotency_key => 'k')",
                conflict.clone(),
            ),
            (
                "provision_subscription(customer_id => 'c1', plan_id => 'plan-pro', resource_id => 'ws-k', subscription_id => 'sk', idempotency_key => 'k')",
                conflict.clone(),
            ),
            // The subscription's own id: another scope, or other values.
            (
                "provision_subscription(customer_id => 'c1', plan_id => 'plan-basic', resource_id => 'ws-b', subscription_id => 's1')",
                conflict.clone(),
            ),
            (
                "provision_subscription(customer_id => 'c1', plan_id => 'plan-basic', resource_id => 'ws-a', subscription_id => 's1', time_zone => 'Europe/Paris')",
                conflict.clone(),
            ),
            (void.as_str(), conflict.clone()),
        ],
    );
    // Equal payloads: the first result, numerically equal amounts included.
    for call in [
        "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 5.00, idempotency_key => 'k')",
        "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1.0, idempotency_key => 'k')",
        "provision_subscription(customer_id => 'c1', plan_id => 'plan-basic', resource_id => 'ws-k', subscription_id => 'sk', idempotency_key => 'k')",
    ] {
        let before = digest(&mut session);
        let row = session.call(call);
        assert!(row.flag("is_duplicate"), "{row:?}");
        assert_eq!(digest(&mut session), before, "a replay changes nothing: {call}");
    }
    // Another customer may use the same key; a failed call leaves its key free.
    session.call("open_pool(customer_id => 'c2', credit_type_id => 'ai-tokens')");
    let row = session
        .call("grant_credits(customer_id => 'c2', credit_type_id => 'ai-tokens', amount => 1, idempotency_key => 'k')");
    assert!(!row.flag("is_duplicate"));
    let over =
        "consume_credits(customer_id => 'c2', credit_type_id => 'ai-tokens', amount => 2, idempotency_key => 'free')";
    assert_eq!(session.call_fault(over).code, "PC001");
    let row = session.call(
        "consume_credits(customer_id => 'c2', credit_type_id => 'ai-tokens', amount => 1, idempotency_key => 'free')",
    );
    assert!(!row.flag("is_duplicate"));
    check_invariants(&mut session);
}

#[test]
fn pc005_invalid_state() {
    let (_database, mut session) = world();
    session.call("open_pool(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'images')");
    session.call("grant_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'images', amount => 3)");
    session.call("archive_credit_type(credit_type_id => 'images')");
    session.call(
        "set_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', status => 'frozen')",
    );
    let grant = session.call("grant_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', amount => 3, payment_state => 'pending')");
    let grant = grant.get("grant_id").to_owned();
    session.call(&format!("void_grant(customer_id => 'c1', grant_id => {grant})"));
    session.call("set_auto_recharge(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', threshold => 5, recharge_amount => 10)");
    let recharge = session.value("SELECT recharge_id FROM credit_pools.recharges WHERE status = 'pending'");
    session
        .call(&format!("complete_recharge(customer_id => 'c1', recharge_id => {recharge}, payment_reference => 'p1')"));
    let state = Code("PC005", &[]);
    let confirm = format!("confirm_grant_payment(customer_id => 'c1', grant_id => {grant}, payment_reference => 'p')");
    let fail = format!("fail_recharge(customer_id => 'c1', recharge_id => {recharge}, reason => 'declined')");
    assert_table(
        &mut session,
        &[
            (
                "grant_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'images', amount => 3)",
                state.clone(),
            ),
            (
                "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1)",
                state.clone(),
            ),
            (
                "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1, on_insufficient => 'cap')",
                state.clone(),
            ),
            (
                "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1)",
                state.clone(),
            ),
            (
                "provision_subscription(customer_id => 'c1', plan_id => 'plan-pro', resource_id => 'ws-a', subscription_id => 'another')",
                state.clone(),
            ),
            (confirm.as_str(), state.clone()),
            (fail.as_str(), state.clone()),
        ],
    );
    // A pool of an archived type stays usable; a frozen one still takes grants.
    let row = session
        .call("consume_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'images', amount => 2)");
    assert_eq!(row.get("balance"), "1");
    let row = session
        .call("grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1)");
    assert_eq!(row.get("balance"), "101");
    // A recharge completes once; the second time is the same success.
    let first = session.balance("c1", Some("ws-b"), "ai-tokens");
    let row = session
        .call(&format!("complete_recharge(customer_id => 'c1', recharge_id => {recharge}, payment_reference => 'p1')"));
    assert!(row.flag("is_duplicate"), "{row:?}");
    assert_eq!(session.balance("c1", Some("ws-b"), "ai-tokens"), first);
    check_invariants(&mut session);
}

/// cancel_subscription, transfer_subscription, set_quantity and balance_at: what they refuse beyond bad arguments.
#[test]
fn what_becomes_of_a_subscription() {
    let (_database, mut session) = world();
    session.exec("SET credit_pools.test_clock = '2030-01-01 00:00+00'");
    for (resource, subscription) in [("ws-b", "s-b"), ("ws-gone", "s-gone"), ("ws-end", "s-end"), ("ws-soon", "s-soon")]
    {
        let ends = if subscription == "s-end" { ", ends_at => '2030-01-02 00:00+00'" } else { "" };
        session.call(&format!(
            "provision_subscription(customer_id => 'c1', plan_id => 'plan-basic', resource_id => '{resource}', subscription_id => '{subscription}'{ends})"
        ));
    }
    session.call("open_pool(customer_id => 'c2', credit_type_id => 'ai-tokens')");
    session.exec("SET credit_pools.test_clock = '2030-01-03 00:00+00'");
    session.call("cancel_subscription(customer_id => 'c1', subscription_id => 's-gone', idempotency_key => 'k')");
    session.call("cancel_subscription(customer_id => 'c1', subscription_id => 's-soon', at => '2030-02-01 00:00+00')");
    session.call("set_quantity(customer_id => 'c1', subscription_id => 's1', feature_id => 'feature-search', quantity => 3, idempotency_key => 'k')");
    session.call("transfer_subscription(customer_id => 'c1', subscription_id => 's1', to_resource_id => 'ws-moved', idempotency_key => 'k')");
    let (state, conflict) = (Code("PC005", &["subscription_id"]), Code("PC004", &[]));
    let cancel = |rest: &str| format!("cancel_subscription(customer_id => 'c1', {rest})");
    let transfer = |rest: &str| format!("transfer_subscription(customer_id => 'c1', {rest})");
    let quantity = |rest: &str| format!("set_quantity(customer_id => 'c1', {rest})");
    let table = [
        (cancel("subscription_id => 'nope'"), Unknown("subscription", "nope")),
        (transfer("subscription_id => 'nope', to_resource_id => 'ws-x'"), Unknown("subscription", "nope")),
        (quantity("subscription_id => 'nope', feature_id => 'feature-search', quantity => 1"), Unknown("subscription", "nope")),
        // Another customer's subscription is no better known.
        ("cancel_subscription(customer_id => 'c2', subscription_id => 's1')".to_owned(), Unknown("subscription", "s1")),
        (quantity("subscription_id => 's1', feature_id => 'nope', quantity => 1"), Unknown("feature", "nope")),
        ("balance_at(customer_id => 'nope', credit_type_id => 'ai-tokens')".to_owned(), Unknown("customer", "nope")),
        (
            "balance_at(customer_id => 'c1', credit_type_id => 'ai-tokens', resource_id => 'nope')".to_owned(),
            Unknown("resource", "nope"),
        ),
        (
            "balance_at(customer_id => 'c1', credit_type_id => 'cents', resource_id => 'ws-a')".to_owned(),
            Unknown("pool", "cents"),
        ),
        // Over: cancelled, or its end has come.
        (cancel("subscription_id => 's-gone'"), state.clone()),
        (transfer("subscription_id => 's-gone', to_resource_id => 'ws-x'"), state.clone()),
        (quantity("subscription_id => 's-gone', feature_id => 'feature-search', quantity => 1"), state.clone()),
        (cancel("subscription_id => 's-end'"), state.clone()),
        (transfer("subscription_id => 's-end', to_resource_id => 'ws-x'"), state.clone()),
        (quantity("subscription_id => 's-end', feature_id => 'feature-search', quantity => 1"), state.clone()),
        // Its end lies ahead: it can come earlier, not again and not later.
        (cancel("subscription_id => 's-soon', at => '2030-02-01 00:00+00'"), state.clone()),
        (cancel("subscription_id => 's-soon', at => '2030-03-01 00:00+00'"), state.clone()),
        (transfer("subscription_id => 's1', to_resource_id => 'ws-b'"), state.clone()),
        // Keys: of each kind of call by itself.
        (cancel("subscription_id => 's-gone', credits => 'expire', idempotency_key => 'k'"), conflict.clone()),
        (cancel("subscription_id => 's-b', idempotency_key => 'k'"), conflict.clone()),
        (cancel("subscription_id => 'nope', credits => 'nope', idempotency_key => 'k'"), conflict.clone()),
        (transfer("subscription_id => 's1', to_resource_id => 'ws-x', idempotency_key => 'k'"), conflict.clone()),
        (transfer("subscription_id => 's1', idempotency_key => 'k'"), conflict.clone()),
        (quantity("subscription_id => 's1', feature_id => 'feature-search', quantity => 4, idempotency_key => 'k'"), conflict.clone()),
        (quantity("subscription_id => 's1', feature_id => 'feature-free', quantity => 3, idempotency_key => 'k'"), conflict),
        (
            "report_usage(customer_id => 'c1', resource_id => 'ws-gone', feature_id => 'feature-ai-tokens', value => 1)".to_owned(),
            Code("PC003", &[]),
        ),
        (
            "report_usage(customer_id => 'c1', resource_id => 'ws-end', feature_id => 'feature-ai-tokens', value => 1)".to_owned(),
            Code("PC003", &[]),
        ),
        // Moved away.
        (
            "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1)".to_owned(),
            Code("PC003", &[]),
        ),
    ];
    let complaints = check_table(&mut session, &table);
    assert!(complaints.is_empty(), "{} of {}:\n{}", complaints.len(), table.len(), complaints.join("\n"));
    // A replay is the first result, though the subscription is another one by now; the credits are not moved again.
    for call in [
        cancel("subscription_id => 's-gone', idempotency_key => 'k'"),
        transfer("subscription_id => 's1', to_resource_id => 'ws-moved', idempotency_key => 'k'"),
        quantity("subscription_id => 's1', feature_id => 'feature-search', quantity => 3.0, idempotency_key => 'k'"),
    ] {
        let before = digest(&mut session);
        let row = session.call(&call);
        assert!(row.flag("is_duplicate"), "{row:?}");
        assert_eq!(digest(&mut session), before, "a replay changes nothing: {call}");
    }
    // An id that was used is not free again.
    let fault = session.call_fault(
        "provision_subscription(customer_id => 'c1', plan_id => 'plan-basic', resource_id => 'ws-gone', subscription_id => 's-gone')",
    );
    assert_eq!(fault.code, "PC005", "{fault}");
    session.call(&cancel("subscription_id => 's-soon', at => '2030-01-20 00:00+00'"));
    check_invariants(&mut session);
}

#[test]
fn pc006_no_rate() {
    let (_database, mut session) = world();
    session.call("define_rate(feature_id => 'feature-unpriced', credit_type_id => 'ai-tokens', credits_per_unit => 1, plan_id => 'plan-pro')");
    session.call("define_feature(feature_id => 'feature-later')");
    session.call("define_rate(feature_id => 'feature-later', credit_type_id => 'ai-tokens', credits_per_unit => 1, effective_at => '2999-01-01 00:00+00')");
    assert_table(
        &mut session,
        &[
            (
                "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-unpriced', value => 1)",
                Code("PC006", &[]),
            ),
            (
                "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-later', value => 1)",
                Code("PC006", &[]),
            ),
        ],
    );
    check_invariants(&mut session);
}

/// Bad input that no single argument's type shows.
#[test]
fn invalid_parameter_value() {
    let (_database, mut session) = world();
    session.call("provision_subscription(customer_id => 'c1', plan_id => 'plan-basic', resource_id => 'ws-free')");
    let too_many = "x".repeat(256);
    let grant = session.value("SELECT min(grant_id) FROM credit_pools.grants");
    let void = |amount: &str| format!("void_grant(customer_id => 'c1', grant_id => {grant}, amount => {amount})");
    let mut table: Vec<(String, Answer)> = ["100.000001", "0", "-1", "'NaN'", "'Infinity'", "0.0000001", "1e200"]
        .iter()
        .map(|amount| (void(amount), Invalid(&["amount"])))
        .collect();
    for (call, argument) in [
        ("void_grant(customer_id => 'c1', grant_id => NULL)", "grant_id"),
        ("confirm_grant_payment(customer_id => 'c1', grant_id => NULL)", "grant_id"),
        ("complete_recharge(customer_id => 'c1', recharge_id => NULL, payment_reference => 'p')", "recharge_id"),
        ("fail_recharge(customer_id => 'c1', recharge_id => NULL, reason => 'r')", "recharge_id"),
    ] {
        table.push((call.to_owned(), Invalid(if argument == "grant_id" { &["grant_id"] } else { &["recharge_id"] })));
    }
    let grant_with = |rest: &str| {
        format!(
            "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 5, {rest})"
        )
    };
    for (rest, argument) in [
        ("expires_at => '2000-01-01 00:00+00'", "expires_at"),
        ("expires_at => '2999-01-01 00:00+00', effective_at => '2999-01-01 00:00+00'", "expires_at"),
        ("expires_at => '2998-01-01 00:00+00', effective_at => '2999-01-01 00:00+00'", "expires_at"),
        ("expires_at => '-infinity'", "expires_at"),
        ("feature_ids => ARRAY['feature-search', NULL]", "feature_ids"),
        ("feature_ids => ARRAY['feature-search', '']", "feature_ids"),
        ("price_currency => 'EURO'", "price_currency"),
        ("price_currency => 'eur', price => 1", "price_currency"),
    ] {
        table.push((
            grant_with(rest),
            Invalid(match argument {
                "expires_at" => &["expires_at"],
                "feature_ids" => &["feature_ids"],
                _ => &["price_currency"],
            }),
        ));
    }
    table.push((format!("grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 5, feature_ids => ARRAY['{too_many}'])"), Invalid(&["feature_ids"])));
    let more: &[(&str, Answer)] = &[
        ("define_credit_type(credit_type_id => 't', scale => -1)", Invalid(&["scale"])),
        ("define_credit_type(credit_type_id => 't', scale => 19)", Invalid(&["scale"])),
        (
            "define_rate(feature_id => 'feature-search', credit_type_id => 'ai-tokens')",
            Invalid(&["credits_per_unit", "formula"]),
        ),
        ("define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens')", Invalid(&["amount"])),
        (
            "define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'images', amount => 1.5)",
            Invalid(&["amount"]),
        ),
        (
            "define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens', amount => 1, overdraft_limit => -1)",
            Invalid(&["overdraft_limit"]),
        ),
        (
            "define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens', amount => 1, overdraft_limit => 'NaN')",
            Invalid(&["overdraft_limit"]),
        ),
        ("apply_catalog(catalog => NULL)", Invalid(&["catalog"])),
        ("apply_catalog(catalog => 'null')", Invalid(&["catalog"])),
        ("apply_catalog(catalog => '{\"no-such-key\": []}')", Invalid(&["catalog"])),
        (
            "provision_subscription(customer_id => 'c9', plan_id => 'plan-basic', starts_at => '2026-02-01 00:00+00', ends_at => '2026-02-01 00:00+00')",
            Invalid(&["ends_at"]),
        ),
        (
            "provision_subscription(customer_id => 'c9', plan_id => 'plan-basic', starts_at => '2026-02-01 00:00+00', ends_at => '2026-01-01 00:00+00')",
            Invalid(&["ends_at"]),
        ),
        (
            "provision_subscription(customer_id => 'c9', plan_id => 'plan-basic', time_zone => 'Mars/Olympus')",
            Invalid(&["time_zone"]),
        ),
        (
            "provision_subscription(customer_id => 'c9', plan_id => 'plan-basic', overrides => '{\"no-such-key\": {}}')",
            Invalid(&["overrides"]),
        ),
        (
            "provision_subscription(customer_id => 'c9', plan_id => 'plan-basic', overrides => '{\"rates\": []}')",
            Invalid(&["overrides"]),
        ),
        (
            "provision_subscription(customer_id => 'c9', plan_id => 'plan-basic', overrides => '{\"rates\": {\"feature-search\": -1}}')",
            Invalid(&["overrides"]),
        ),
        (
            "provision_subscription(customer_id => 'c9', plan_id => 'plan-basic', overrides => '{\"rates\": {\"feature-search\": \"many\"}}')",
            Invalid(&["overrides"]),
        ),
        (
            "provision_subscription(customer_id => 'c9', plan_id => 'plan-basic', quantities => '{\"feature-search\": \"many\"}')",
            Invalid(&["quantities"]),
        ),
        (
            "provision_subscription(customer_id => 'c9', plan_id => 'plan-basic', quantities => '{\"feature-search\": -1}')",
            Invalid(&["quantities"]),
        ),
        (
            "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1, occurred_at => '2999-01-01 00:00+00')",
            Invalid(&["occurred_at"]),
        ),
        (
            "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1, occurred_at => 'infinity')",
            Invalid(&["occurred_at"]),
        ),
        (
            "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1, occurred_at => '2999-01-01 00:00+00')",
            Invalid(&["occurred_at"]),
        ),
        (
            "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'images', amount => 1.5)",
            Invalid(&["amount"]),
        ),
        (
            "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'images', amount => 1.5)",
            Invalid(&["amount"]),
        ),
        (
            "open_pool(customer_id => 'c9', credit_type_id => 'ai-tokens', overdraft_limit => -1)",
            Invalid(&["overdraft_limit"]),
        ),
        (
            "open_pool(customer_id => 'c9', credit_type_id => 'ai-tokens', overdraft_limit => 'NaN')",
            Invalid(&["overdraft_limit"]),
        ),
        (
            "open_pool(customer_id => 'c9', credit_type_id => 'ai-tokens', overdraft_limit => 0.0000001)",
            Invalid(&["overdraft_limit"]),
        ),
        (
            "set_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', overdraft_limit => -1)",
            Invalid(&["overdraft_limit"]),
        ),
        (
            "set_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', overdraft_limit => '-Infinity')",
            Invalid(&["overdraft_limit"]),
        ),
        (
            "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', recharge_amount => 5)",
            Invalid(&["threshold"]),
        ),
        (
            "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 5)",
            Invalid(&["target_balance", "recharge_amount"]),
        ),
        (
            "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 5, target_balance => 10, recharge_amount => 10)",
            Invalid(&["target_balance", "recharge_amount"]),
        ),
        (
            "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 5, target_balance => 5)",
            Invalid(&["target_balance"]),
        ),
        (
            "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 5, target_balance => 'NaN')",
            Invalid(&["target_balance"]),
        ),
        (
            "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 5, recharge_amount => 10, max_spend => 10)",
            Invalid(&["max_spend", "price_per_credit"]),
        ),
        (
            "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 5, recharge_amount => 10, cooldown => '-1 hour')",
            Invalid(&["cooldown"]),
        ),
        (
            "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 5, recharge_amount => 10, max_count => -1)",
            Invalid(&["max_count"]),
        ),
        ("run_maintenance(max_pools => -1)", Invalid(&["max_pools"])),
        ("run_maintenance(max_pools => 0)", Invalid(&["max_pools"])),
        (
            "define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens', amount => 1, cadence => '59 minutes')",
            Invalid(&["cadence"]),
        ),
        (
            "define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens', amount => 1, cadence => '1 month -31 days')",
            Invalid(&["cadence"]),
        ),
        (
            "define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens', amount => 1, expires_after => '1 day -1 hour')",
            Invalid(&["expires_after"]),
        ),
        (
            "define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens', amount => 1, cadence => NULL, rollover_max => 1)",
            Invalid(&["rollover_max", "cadence"]),
        ),
        (
            "define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens', amount => 1, rollover_max => -1)",
            Invalid(&["rollover_max"]),
        ),
        (
            "define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens', amount => 1, rollover_max => 1, rollover_percent => 101)",
            Invalid(&["rollover_percent"]),
        ),
        (
            "define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens', amount => 1, rollover_max => 1, rollover_percent => -1)",
            Invalid(&["rollover_percent"]),
        ),
        (
            "define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens', amount => 1, rollover_max => 1, rollover_periods => 0)",
            Invalid(&["rollover_periods"]),
        ),
        // In the past: credits may have been used since.
        (
            "cancel_subscription(customer_id => 'c1', subscription_id => 's1', at => now() - interval '1 minute')",
            Invalid(&["at"]),
        ),
        (
            "transfer_subscription(customer_id => 'c1', subscription_id => 's1', to_resource_id => 'ws-a')",
            Invalid(&["to_resource_id"]),
        ),
        (
            "set_quantity(customer_id => 'c1', subscription_id => 's1', feature_id => 'feature-search', quantity => NULL)",
            Invalid(&["quantity"]),
        ),
        (
            "balance_at(customer_id => 'c1', credit_type_id => 'ai-tokens', resource_id => 'ws-a', at => now() + interval '101 years')",
            Invalid(&["at"]),
        ),
    ];
    table.extend(more.iter().map(|(call, answer)| ((*call).to_owned(), answer.clone())));
    let complaints = check_table(&mut session, &table);
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
    // The end that a subscription has is no time to cancel it at, nor is a later one.
    session.call("provision_subscription(customer_id => 'c1', plan_id => 'plan-basic', resource_id => 'ws-end', subscription_id => 's-end', ends_at => '2998-01-01 00:00+00')");
    for at in ["2998-01-01 00:00+00", "2999-01-01 00:00+00"] {
        let fault = session
            .call_fault(&format!("cancel_subscription(customer_id => 'c1', subscription_id => 's-end', at => '{at}')"));
        assert_eq!(complaint(&fault, &Invalid(&["at"])), None, "{fault}");
    }
    for (arguments, named) in [
        ("batch_size => 0", "batch_size"),
        ("batch_size => -1", "batch_size"),
        ("max_batches => 0", "max_batches"),
        ("max_batches => -1", "max_batches"),
    ] {
        let fault = session.fault(&format!("CALL credit_pools.maintain({arguments})"));
        assert_eq!(fault.code, "22023", "{named}: {fault}");
    }
    // An overdraft without end is allowed, and so are all the limits of the ranges.
    session.call("open_pool(customer_id => 'c9', credit_type_id => 'ai-tokens', overdraft_limit => 'Infinity')");
    let row =
        session.call("consume_credits(customer_id => 'c9', credit_type_id => 'ai-tokens', amount => 123456789.000001)");
    assert_eq!(row.get("balance"), "-123456789.000001");
    for scale in [0, 18] {
        session.call(&format!("define_credit_type(credit_type_id => 'scale-{scale}', scale => {scale})"));
    }
    for priority in [0, 100] {
        session.call(&format!("grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 0.000001, priority => {priority})"));
    }
    check_invariants(&mut session);
}

// ------------------------------------------------------------------------------------------------ the codes of Postgres

#[test]
fn read_only_transactions_refuse_every_write() {
    let (_database, mut session) = world();
    session.call("set_auto_recharge(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', threshold => 5, recharge_amount => 10)");
    let recharge = session.value("SELECT recharge_id FROM credit_pools.recharges WHERE status = 'pending'");
    prepare(&mut session);
    let before = digest(&mut session);
    let mut calls: Vec<String> = GOOD
        .iter()
        // Writes nothing: an empty catalogue; a question.
        .filter(|(function, _)| {
            !matches!(*function, "apply_catalog" | "balance_at" | "check_credits" | "estimate_usage")
        })
        .map(|(function, arguments)| {
            let good: Vec<(&str, String)> =
                arguments.iter().map(|(name, value, _)| (*name, (*value).to_owned())).collect();
            named(function, &good)
        })
        .collect();
    calls.push(format!("complete_recharge(customer_id => 'c1', recharge_id => {recharge}, payment_reference => 'p')"));
    calls.push(format!("fail_recharge(customer_id => 'c1', recharge_id => {recharge}, reason => 'declined')"));
    let mut complaints = Vec::new();
    for call in calls {
        session.exec("BEGIN READ ONLY");
        match session.try_rows(&format!("SELECT * FROM credit_pools.{call}")) {
            Ok(rows) => complaints.push(format!("should have failed: {call} gave {rows:?}")),
            Err(fault) if fault.code != "25006" => complaints.push(fault.to_string()),
            Err(_) => {}
        }
        session.exec("ROLLBACK");
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert_eq!(digest(&mut session), before);
    // Reading works there.
    session.exec("BEGIN READ ONLY");
    assert_eq!(session.balance("c1", Some("ws-a"), "ai-tokens"), "80");
    let row = session.call("balance_at(customer_id => 'c1', credit_type_id => 'ai-tokens', resource_id => 'ws-a')");
    assert_eq!(row.get("balance"), "80");
    let row = session
        .call("check_credits(customer_id => 'c1', credit_type_id => 'ai-tokens', resource_id => 'ws-a', amount => 81)");
    assert_eq!((row.get("is_granted"), row.get("denial_reason")), ("f", "insufficient_credits"));
    session.exec("COMMIT");
}

#[test]
fn repeatable_read_that_meets_a_change_fails_with_40001() {
    let (database, mut session) = world();
    let mut other = database.session();
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        session.exec(&format!("BEGIN ISOLATION LEVEL {level}"));
        let seen = session.balance("c1", Some("ws-a"), "ai-tokens");
        other.call(
            "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1)",
        );
        let after = digest(&mut other);
        for call in [
            "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1)",
            "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1)",
            "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1)",
            "void_grant(customer_id => 'c1', grant_id => (SELECT min(grant_id) FROM credit_pools.grants))",
            "set_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', overdraft_limit => 5)",
        ] {
            session.exec("SAVEPOINT s");
            let fault = session.call_fault(call);
            assert_eq!(fault.code, "40001", "{level}: {fault}");
            session.exec("ROLLBACK TO s");
        }
        assert_eq!(session.balance("c1", Some("ws-a"), "ai-tokens"), seen, "the snapshot stays");
        session.exec("ROLLBACK");
        assert_eq!(digest(&mut session), after);
    }
    assert_eq!(session.balance("c1", Some("ws-a"), "ai-tokens"), "98");
    check_invariants(&mut session);
}

#[test]
fn nothing_is_granted_to_public() {
    let (database, mut session) = world();
    let role = database.role("nobody");
    let functions = session.rows(
        "SELECT p.oid::regprocedure::text AS call, p.proname,
                (SELECT string_agg('NULL::' || format_type(t, NULL), ', ' ORDER BY n) FROM unnest(p.proargtypes) WITH ORDINALITY a(t, n)) AS nulls
         FROM pg_proc p WHERE p.pronamespace = 'credit_pools'::regnamespace AND p.prokind = 'f'
           AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) AND NOT 'internal'::regtype = ANY (p.proargtypes::oid[])",
    );
    assert!(functions.len() >= 20, "the functions of the contract are there");
    let before = digest(&mut session);
    let open = session.rows(
        "SELECT p.oid::regprocedure::text AS call FROM pg_proc p
         WHERE p.pronamespace = 'credit_pools'::regnamespace AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)",
    );
    assert!(open.is_empty(), "PUBLIC may execute {open:?}");
    // Also with USAGE on the schema, no function and no relation is open.
    session.exec(&format!("GRANT USAGE ON SCHEMA credit_pools TO {role}"));
    session.exec(&format!("SET SESSION AUTHORIZATION {role}"));
    for function in &functions {
        let name = function.get("proname");
        if name == "reads_own_customers" {
            // The planner answers in its place, to who is no tenant.
            assert_eq!(session.value("SELECT credit_pools.reads_own_customers()"), "f");
            continue;
        }
        // Its columns are the query's to name.
        let columns = if name == "own_rows" { " AS own (customer_id text)" } else { "" };
        let arguments = function.opt("nulls").unwrap_or_default();
        let call = format!("SELECT * FROM credit_pools.{name}({arguments}){columns}");
        let fault = session.fault(&call);
        assert_eq!(fault.code, "42501", "{fault}");
    }
    let relations = session.rows("SELECT relname FROM pg_class WHERE relnamespace = 'credit_pools'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')");
    for relation in &relations {
        let fault = session.fault(&format!("SELECT * FROM credit_pools.{}", relation.get("relname")));
        assert_eq!(fault.code, "42501", "{fault}");
    }
    session.exec("RESET SESSION AUTHORIZATION");
    assert_eq!(digest(&mut session), before);
}

#[test]
fn functions_are_definer_with_a_fixed_path_and_never_strict() {
    let (_database, mut session) = world();
    // A STRICT function would silently do nothing for a NULL argument.
    let strict = session.rows(
        "SELECT oid::regprocedure::text AS call FROM pg_proc WHERE pronamespace = 'credit_pools'::regnamespace AND proisstrict AND pronargs > 0
           AND prosecdef",
    );
    assert!(strict.is_empty(), "STRICT: {strict:?}");
    // A procedure that commits can have no such clause: it writes every schema out, which the hostile search_path tries.
    let loose = session.rows(
        "SELECT oid::regprocedure::text AS call, proconfig FROM pg_proc WHERE pronamespace = 'credit_pools'::regnamespace AND prokind <> 'p'
           AND (prosecdef OR prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c'))
           AND NOT EXISTS (SELECT FROM unnest(proconfig) c WHERE c LIKE 'search_path=pg_catalog%pg_temp')",
    );
    assert!(loose.is_empty(), "without a fixed search_path: {loose:?}");
}

#[test]
fn the_ledger_refuses_changes_from_everyone() {
    let (_database, mut session) = world();
    let before = digest(&mut session);
    for statement in [
        "UPDATE credit_pools.ledger_entry SET amount = amount + 1",
        "DELETE FROM credit_pools.ledger_entry",
        "TRUNCATE credit_pools.ledger_entry",
        "TRUNCATE credit_pools.ledger_entry CASCADE",
        "UPDATE credit_pools.ledger_entry SET amount = amount WHERE false",
        "DELETE FROM ONLY credit_pools.ledger_entry WHERE seq > 1000",
    ] {
        let fault = session.fault(statement);
        assert_eq!(fault.code, "42501", "{fault}");
        assert!(fault.hint.is_some(), "HINT: {fault}");
        assert_eq!(digest(&mut session), before, "{statement}");
    }
    // Also where other triggers are off.
    session.exec("SET session_replication_role = replica");
    assert_eq!(session.fault("UPDATE credit_pools.ledger_entry SET amount = 1").code, "42501");
    session.exec("RESET session_replication_role");
    session.call(
        "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1)",
    );
    check_invariants(&mut session);
}
