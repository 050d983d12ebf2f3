//! What is one thing in two guises gives one answer: a batch and the same events as single calls, an estimate and the
//! usage that follows it, a check and what it checks. Random worlds and events; `CREDIT_POOLS_EQUIVALENCE_ROUNDS` (15).

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use support::{Database, Fault, Row, Session, check_invariants, digest, seeded, text};

const RESOURCES: [Option<&str>; 4] = [None, Some("ws-a"), Some("ws-b"), Some("ws-c")];

fn rounds() -> u64 {
    std::env::var("CREDIT_POOLS_EQUIVALENCE_ROUNDS").map_or(15, |text| text.trim().parse().expect("a number of rounds"))
}

fn set_clock(session: &mut Session, minute: i64) {
    session.exec(&format!("SELECT set_config('credit_pools.test_clock', {}::text, false)", instant(minute)));
}

fn instant(minute: i64) -> String {
    format!("(timestamptz '2026-03-01 00:00+00' + interval '{minute} minutes')")
}

fn iso(minute: i64) -> String {
    // Minutes of March, which is long enough.
    let (day, hour) = (1 + minute.div_euclid(1440), minute.rem_euclid(1440) / 60);
    match day {
        1.. => format!("2026-03-{day:02}T{hour:02}:{:02}:00Z", minute.rem_euclid(60)),
        _ => format!("2026-02-{:02}T{hour:02}:{:02}:00+00:00", 28 + day, minute.rem_euclid(60)),
    }
}

/// | feature | costs |
/// |---|---|
/// | `plain` | 1 `t` |
/// | `third` | 0.333 `t`, from minute 500 on 2 |
/// | `formula` | a formula over `value` and the dimension `k`, in `t` |
/// | `whole` | 1.5 of `u`, which has no decimals |
/// | `free` | 0 `t` |
/// | `stray` | 1 of `v`, by a rate of every plan: no pool opens for it |
/// | `unpriced` | no rate |
fn catalogue(session: &mut Session) {
    set_clock(session, 0);
    for call in [
        "define_credit_type(credit_type_id => 't', scale => 2)",
        "define_credit_type(credit_type_id => 'u', scale => 0)",
        "define_credit_type(credit_type_id => 'v', scale => 2)",
        "define_plan(plan_id => 'p')",
        "define_plan_credits(plan_id => 'p', credit_type_id => 't', amount => 100, cadence => '10 days')",
        "define_feature(feature_id => 'plain')",
        "define_feature(feature_id => 'third')",
        "define_feature(feature_id => 'formula')",
        "define_feature(feature_id => 'whole')",
        "define_feature(feature_id => 'free')",
        "define_feature(feature_id => 'stray')",
        "define_feature(feature_id => 'unpriced')",
        "define_rate(feature_id => 'plain', credit_type_id => 't', plan_id => 'p', credits_per_unit => 1)",
        "define_rate(feature_id => 'third', credit_type_id => 't', plan_id => 'p', credits_per_unit => 0.333)",
        "define_rate(feature_id => 'formula', credit_type_id => 't', plan_id => 'p', formula => 'value * (2 - k) / (k - 3)')",
        "define_rate(feature_id => 'whole', credit_type_id => 'u', plan_id => 'p', credits_per_unit => 1.5)",
        "define_rate(feature_id => 'free', credit_type_id => 't', plan_id => 'p', credits_per_unit => 0)",
        "define_rate(feature_id => 'stray', credit_type_id => 'v', credits_per_unit => 1)",
    ] {
        session.call(call);
    }
    session.call(&format!(
        "define_rate(feature_id => 'third', credit_type_id => 't', plan_id => 'p', credits_per_unit => 2, effective_at => {})",
        instant(500)
    ));
}

/// Customers `<side>-0` and `<side>-1` with pools in random states. The same generator gives the same pools.
fn fill(session: &mut Session, side: &str, random: &mut StdRng) {
    for customer in 0..2 {
        let customer = format!("{side}-{customer}");
        for resource in RESOURCES {
            let resource = resource.map_or("NULL".to_owned(), text);
            let scope = format!("customer_id => '{customer}', resource_id => {resource}");
            if resource == "'ws-c'" {
                session.call(&format!("open_pool({scope}, credit_type_id => 't')"));
                continue;
            }
            session.call(&format!("provision_subscription({scope}, plan_id => 'p')"));
            for _ in 0..random.random_range(0..4) {
                let credit_type = ["t", "t", "u"][random.random_range(0..3)];
                let features = ["", "", ", feature_ids => '{plain}'", ", feature_ids => '{third,formula}'"]
                    [random.random_range(0..4)];
                let end = match random.random_range(0..3) {
                    0 => String::new(),
                    _ => format!(", expires_at => {}", instant(random.random_range(1..2000))),
                };
                session.call(&format!(
                    "grant_credits({scope}, credit_type_id => '{credit_type}', amount => {}, priority => {}{features}{end})",
                    random.random_range(1..300),
                    [50, 50, 10][random.random_range(0..3)]
                ));
            }
            if random.random_bool(0.3) {
                session.call(&format!(
                    "set_pool({scope}, credit_type_id => 't', overdraft_limit => {})",
                    random.random_range(0..100)
                ));
            }
            if random.random_bool(0.4) {
                session.try_call(&format!("reserve_credits({scope}, credit_type_id => 't', amount => {}, reservation_id => 'h-{}', ttl => '3 hours')", random.random_range(1..60), resource.trim_matches('\''))).ok();
            }
            if random.random_bool(0.12) {
                session.call(&format!("set_pool({scope}, credit_type_id => 't', status => 'frozen')"));
            }
            if random.random_bool(0.3) {
                session.call(&format!(
                    "set_limit({scope}, credit_type_id => 't', amount => {}, per => '1 day')",
                    random.random_range(20..300)
                ));
            }
            if random.random_bool(0.15) {
                session.call(&format!(
                    "set_auto_recharge({scope}, credit_type_id => 't', threshold => {}, recharge_amount => 40, settlement => 'immediate', cooldown => '{} minutes')",
                    random.random_range(0..60),
                    random.random_range(0..2) * 200
                ));
            }
        }
        if random.random_bool(0.4) {
            session.call(&format!(
                "set_auto_recharge(customer_id => '{customer}', credit_type_id => 't', threshold => {}, target_balance => 120, price_per_credit => 0.1, price_currency => 'EUR', max_spend => 25, settlement => '{}')",
                random.random_range(0..60),
                ["immediate", "on_payment"][random.random_range(0..2)]
            ));
        }
        if random.random_bool(0.4) {
            session.call(&format!(
                "set_limit(customer_id => '{customer}', credit_type_id => 't', all_resources => true, amount => {}, per => '1 hour')",
                random.random_range(50..600)
            ));
        }
    }
}

/// A usage event, as JSON says it. Its customer lacks the side.
fn draw(random: &mut StdRng, now: i64) -> Map<String, Value> {
    let mut event = Map::new();
    let customer = if random.random_bool(0.03) { "nobody" } else { ["0", "1"][random.random_range(0..2)] };
    event.insert("customer_id".into(), json!(customer));
    match random.random_range(0..20) {
        0 => _ = event.insert("resource_id".into(), json!("nowhere")),
        1 => _ = event.insert("resource_id".into(), json!("ws-c")),
        2..=5 => {}
        6 => _ = event.insert("resource_id".into(), Value::Null),
        other => _ = event.insert("resource_id".into(), json!(["ws-a", "ws-b"][other % 2])),
    }
    let features =
        ["plain", "plain", "plain", "third", "third", "formula", "whole", "free", "stray", "unpriced", "no-feature"];
    let rare = random.random_bool(0.12);
    let feature = features[if rare { random.random_range(7..11) } else { random.random_range(0..7) }];
    event.insert("feature_id".into(), json!(feature));
    let value = match random.random_range(0..20) {
        0 => json!(0),
        1 => json!(-1),
        2 => json!(random.random_range(500..5000)),
        3..=8 => json!(f64::from(random.random_range(1..4000)) / 4.0 / 16.0),
        _ => json!(random.random_range(1..30)),
    };
    event.insert("value".into(), value);
    if feature == "formula" || random.random_bool(0.1) {
        // 2: free. 3: divides by zero. 0 and 1: negative. None: missing.
        let dimensions = match random.random_range(0..10) {
            0 => json!({}),
            1 => json!({"k": 3}),
            2 => json!({"k": 1}),
            3 => json!({"k": 2, "model": "large"}),
            4 => json!({"k": "2.5"}),
            _ => json!({"k": 2.5, "model": "small"}),
        };
        event.insert("dimensions".into(), dimensions);
    }
    match random.random_range(0..14) {
        0 => _ = event.insert("occurred_at".into(), json!(iso(now + 1))),
        1 => _ = event.insert("occurred_at".into(), json!(iso(-5))),
        2 | 3 => _ = event.insert("occurred_at".into(), json!(iso(random.random_range(0..=now)))),
        4 => _ = event.insert("occurred_at".into(), Value::Null),
        _ => {}
    }
    if random.random_bool(0.3) {
        event.insert("idempotency_key".into(), json!(format!("k{}", random.random_range(0..12))));
    }
    match random.random_range(0..8) {
        0..=2 => _ = event.insert("on_insufficient".into(), json!("cap")),
        3 => _ = event.insert("on_insufficient".into(), json!("reject")),
        4 if random.random_bool(0.2) => {
            // One wrong argument alone: which of two is named is nobody's promise.
            event.insert("on_insufficient".into(), json!("nonsense"));
            event.insert("value".into(), json!(1));
        }
        _ => {}
    }
    match random.random_range(0..10) {
        0 => _ = event.insert("update_behavior".into(), json!("delta")),
        1 => _ = event.insert("update_behavior".into(), json!("set")),
        _ => {}
    }
    if random.random_bool(0.2) {
        event.insert("metadata".into(), json!({"n": random.random_range(0..3)}));
    }
    event
}

fn with_side(event: &Map<String, Value>, side: &str) -> Map<String, Value> {
    let mut event = event.clone();
    let customer = format!("{side}-{}", event["customer_id"].as_str().unwrap_or_default());
    event.insert("customer_id".into(), json!(customer));
    event
}

/// The arguments of report_usage, or of estimate_usage.
fn arguments(event: &Map<String, Value>) -> String {
    let list: Vec<String> = event
        .iter()
        .map(|(name, value)| {
            let value = match (name.as_str(), value) {
                (_, Value::Null) => "NULL".to_owned(),
                ("occurred_at", Value::String(at)) => format!("timestamptz {}", text(at)),
                (_, Value::String(word)) => text(word),
                (_, Value::Number(number)) => number.to_string(),
                (_, other) => format!("jsonb {}", text(&other.to_string())),
            };
            format!("{name} => {value}")
        })
        .collect();
    list.join(", ")
}

/// An answer in words that do not depend on the side.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Row(Vec<String>),
    Error { code: String, message: String, detail: Value },
}

/// Ids that the sides have in common, by the order in which they first appear.
#[derive(Default)]
struct Names {
    usages: HashMap<String, usize>,
    pools: HashMap<String, String>,
}

impl Names {
    fn of(session: &mut Session, side: &str) -> Names {
        let rows = session.rows(&format!(
            "SELECT pool_id, customer_id, resource_id, credit_type_id FROM credit_pools.pools WHERE customer_id LIKE '{side}-%'"
        ));
        let pools = rows
            .iter()
            .map(|row| {
                let resource = row.opt("resource_id").unwrap_or("-");
                let name =
                    format!("{} {resource} {}", &row.get("customer_id")[side.len()..], row.get("credit_type_id"));
                (row.get("pool_id").to_owned(), name)
            })
            .collect();
        Names { pools, usages: HashMap::new() }
    }

    fn row(&mut self, row: &Row) -> Answer {
        let known = self.usages.len();
        let usage = *self.usages.entry(row.get("usage_id").to_owned()).or_insert(known);
        let pool = row.opt("pool_id").map(|id| self.pools.get(id).cloned().unwrap_or_else(|| format!("no pool {id}")));
        let columns = ["credit_type_id", "credits_consumed", "shortfall", "balance", "is_duplicate"];
        let rest = columns.map(|column| format!("{column} {}", row.opt(column).unwrap_or("NULL")));
        Answer::Row([vec![format!("usage {usage}"), format!("pool {pool:?}")], rest.into()].concat())
    }

    fn error(&self, side: &str, code: &str, message: &str, detail: Option<&str>) -> Answer {
        let neutral = |text: &str| text.replace(&format!("{side}-"), "");
        let mut detail: Value = serde_json::from_str(&neutral(detail.unwrap_or("null"))).expect("DETAIL is JSON");
        if let Some(figures) = detail.as_object_mut() {
            figures.remove("index");
            if let Some(pool) = figures.get("pool_id").map(ToString::to_string) {
                figures.insert("pool_id".into(), json!(self.pools.get(&pool)));
            }
        }
        Answer::Error { code: code.to_owned(), message: neutral(message), detail }
    }

    fn fault(&self, side: &str, fault: &Fault) -> Answer {
        self.error(side, &fault.code, &fault.message, fault.detail.as_deref())
    }
}

/// All that the side's pools are by now, without its own names and ids.
fn state(session: &mut Session, side: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for sql in [
        "SELECT 'pool', substr(customer_id, $n), resource_id, credit_type_id, balance, granted, consumed, expired, voided, held, debt, restricted, status, next_expiry_at, next_expiry_amount
         FROM credit_pools.pools WHERE customer_id LIKE $side ORDER BY 2, 3 NULLS FIRST, 4",
        "SELECT 'grant', substr(customer_id, $n), resource_id, credit_type_id, amount, remaining, available, held, consumed, expired, voided, status, expires_at, source
         FROM credit_pools.grants WHERE customer_id LIKE $side ORDER BY customer_id, resource_id NULLS FIRST, credit_type_id, grant_id",
        "SELECT 'row', substr(customer_id, $n), resource_id, credit_type_id, seq, entry_type, amount, balance_before, balance_after, feature_id, value, idempotency_key, dimensions, metadata, effective_at, recorded_at, reason
         FROM credit_pools.ledger WHERE customer_id LIKE $side ORDER BY customer_id, resource_id NULLS FIRST, credit_type_id, seq",
        "SELECT 'usage', substr(customer_id, $n), resource_id, credit_type_id, feature_id, value, credits, reversed, rate, dimensions, occurred_at, recorded_at
         FROM credit_pools.usage_events WHERE customer_id LIKE $side ORDER BY customer_id, resource_id NULLS FIRST, credit_type_id, usage_id",
        "SELECT 'recharge', substr(customer_id, $n), resource_id, credit_type_id, status, reason, amount, price
         FROM credit_pools.recharges WHERE customer_id LIKE $side ORDER BY customer_id, resource_id NULLS FIRST, credit_type_id, recharge_id",
    ] {
        let sql = sql.replace("$side", &format!("'{side}-%'")).replace("$n", &(side.len() + 1).to_string());
        lines.extend(session.rows(&sql).iter().map(|row| format!("{row:?}").replace(&format!("{side}-"), "")));
    }
    lines
}

fn differences(left: &[String], right: &[String]) -> String {
    let only = |a: &[String], b: &[String]| {
        a.iter().filter(|line| !b.contains(line)).take(4).cloned().collect::<Vec<_>>().join("\n  ")
    };
    format!("only by single calls:\n  {}\nonly by the batch:\n  {}", only(left, right), only(right, left))
}

fn batch_sql(events: &[Map<String, Value>], atomic: bool) -> String {
    let events = Value::Array(events.iter().cloned().map(Value::Object).collect());
    format!(
        "SELECT * FROM credit_pools.report_usage_batch(events => jsonb {}, atomic => {atomic})",
        text(&events.to_string())
    )
}

#[test]
fn a_batch_gives_what_single_calls_give() {
    let (seed, _) = seeded("batch against single calls");
    let database = Database::new();
    let mut session = database.session();
    session.exec("SET synchronous_commit = off");
    catalogue(&mut session);
    for round in 0..rounds() {
        let mut random = StdRng::seed_from_u64(seed + round);
        let sides = [format!("single{round}"), format!("batch{round}")];
        set_clock(&mut session, 0);
        for side in &sides {
            fill(&mut session, side, &mut random.clone());
        }
        let mut names = [Names::of(&mut session, &sides[0]), Names::of(&mut session, &sides[1])];
        let mut now = 0;
        for call in 0..4 {
            now += random.random_range(0..900);
            set_clock(&mut session, now);
            // What is due may be booked by a call that fails for another reason, or not.
            session.rows("SELECT * FROM credit_pools.run_maintenance()");
            let atomic = random.random_bool(0.4);
            // An atomic batch of many random events would hardly ever be without a bad one.
            let count = if atomic { random.random_range(1..5) } else { random.random_range(1..40) };
            let events: Vec<Map<String, Value>> = (0..count).map(|_| draw(&mut random, now)).collect();
            let about = format!("round {round}, call {call}, seed {seed}, atomic {atomic}, minute {now}");

            let mut singles = Vec::new();
            let known = names[0].usages.clone();
            session.exec("BEGIN");
            for event in &events {
                session.exec("SAVEPOINT event");
                let sql =
                    format!("SELECT * FROM credit_pools.report_usage({})", arguments(&with_side(event, &sides[0])));
                match session.try_row(&sql) {
                    Ok(row) => singles.push(names[0].row(&row)),
                    Err(fault) => {
                        assert!(fault.is_contract_code(), "{about}: {fault}");
                        session.exec("ROLLBACK TO event");
                        singles.push(names[0].fault(&sides[0], &fault));
                        if atomic {
                            break;
                        }
                    }
                }
            }
            let failed = atomic && matches!(singles.last(), Some(Answer::Error { .. }));
            session.exec(if failed { "ROLLBACK" } else { "COMMIT" });
            if failed {
                names[0].usages = known;
            }

            let own: Vec<Map<String, Value>> = events.iter().map(|event| with_side(event, &sides[1])).collect();
            let sql = batch_sql(&own, atomic);
            match session.try_rows(&sql) {
                Ok(rows) => {
                    assert!(!failed, "{about}: should fail with {:?}\n{sql}", singles.last());
                    assert_eq!(rows.len(), events.len(), "{about}: a row per event\n{sql}");
                    for (number, (row, single)) in rows.iter().zip(&singles).enumerate() {
                        assert_eq!(row.int("event_index"), number as i64, "{about}\n{sql}");
                        let answer = match row.opt("error_code") {
                            None => names[1].row(row),
                            Some(code) => {
                                names[1].error(&sides[1], code, row.get("error_message"), row.opt("error_detail"))
                            }
                        };
                        assert_eq!(
                            &answer, single,
                            "{about}: event {number} (left: the batch, right: the single call) {:?}\n{sql}",
                            own[number]
                        );
                    }
                }
                Err(fault) => {
                    assert!(failed, "{about}: singles give {singles:?}\n{fault}");
                    let index = fault.figure("index").and_then(|index| index.parse::<usize>().ok());
                    assert_eq!(index, Some(singles.len() - 1), "{about}: {fault}");
                    let (Answer::Error { code, detail, .. }, Some(Answer::Error { code: wanted, detail: figures, .. })) =
                        (names[1].fault(&sides[1], &fault), singles.last())
                    else {
                        panic!("both failed")
                    };
                    assert_eq!((&code, &detail), (wanted, figures), "{about}: {fault}");
                }
            }
            let (left, right) = (state(&mut session, &sides[0]), state(&mut session, &sides[1]));
            assert!(left == right, "{about}\n{}\n{sql}", differences(&left, &right));
        }
    }
    check_invariants(&mut session);
}

/// Contract 5: estimate_usage is the real code, undone. An estimate, then the usage in the same transaction.
#[test]
fn an_estimate_is_what_the_usage_then_does() {
    let (seed, _) = seeded("estimate against usage");
    let database = Database::new();
    let mut session = database.session();
    session.exec("SET synchronous_commit = off");
    catalogue(&mut session);
    let (mut rejected, mut done) = (0, 0);
    for round in 0..rounds() {
        let mut random = StdRng::seed_from_u64(seed + round);
        let side = format!("est{round}");
        set_clock(&mut session, 0);
        fill(&mut session, &side, &mut random);
        let mut now = 0;
        for call in 0..40 {
            now += random.random_range(0..60);
            set_clock(&mut session, now);
            let event = with_side(&draw(&mut random, now), &side);
            let arguments = arguments(&event);
            let about = format!("round {round}, call {call}, seed {seed}, minute {now}: {arguments}");
            session.exec("BEGIN");
            let before = (call % 10 == 0).then(|| digest(&mut session));
            session.exec("SAVEPOINT estimate");
            let estimate = session.try_call(&format!("estimate_usage({arguments})"));
            if estimate.is_err() {
                session.exec("ROLLBACK TO estimate");
            }
            if let Some(before) = before {
                assert_eq!(digest(&mut session), before, "an estimate changes nothing. {about}");
            }
            let usage = session.try_call(&format!("report_usage({arguments})"));
            match (&estimate, &usage) {
                (Ok(estimate), Ok(usage)) => {
                    done += 1;
                    let found =
                        ["credits", "shortfall", "balance_after", "would_be_rejected", "pool_id", "is_duplicate"]
                            .map(|column| estimate.opt(column));
                    let wanted = [
                        usage.opt("credits_consumed"),
                        usage.opt("shortfall"),
                        usage.opt("balance"),
                        Some("f"),
                        usage.opt("pool_id"),
                        usage.opt("is_duplicate"),
                    ];
                    assert_eq!(found, wanted, "{about}\n {estimate:?}\n {usage:?}");
                    if !usage.flag("is_duplicate") {
                        let drawn = session.rows(&format!(
                            "SELECT grant_id::text || ' ' || sum(-amount)::text AS line FROM credit_pools.ledger
                             WHERE usage_id = {} AND entry_type = 'consume' GROUP BY grant_id ORDER BY min(seq)",
                            usage.get("usage_id")
                        ));
                        let said = session.rows(&format!(
                            "SELECT grant_id || ' ' || trim_scale(credits::numeric)::text AS line FROM jsonb_to_recordset({}) AS x(grant_id text, credits text)",
                            text(estimate.opt("grants").unwrap_or("[]"))
                        ));
                        assert_eq!(said, drawn, "the grants that are drawn. {about}\n {estimate:?}");
                    }
                }
                (Ok(estimate), Err(fault)) => {
                    rejected += 1;
                    assert!(estimate.flag("would_be_rejected"), "{about}\n {estimate:?}\n {fault}");
                    assert_eq!(
                        estimate.opt("error_code"),
                        Some(fault.code.as_str()),
                        "{about}\n {estimate:?}\n {fault}"
                    );
                    if let Some(required) = fault.figure("required") {
                        assert_eq!(
                            estimate.opt("credits"),
                            Some(required.as_str()),
                            "{about}\n {estimate:?}\n {fault}"
                        );
                    }
                    assert_eq!(estimate.opt("balance"), estimate.opt("balance_after"), "{about}\n {estimate:?}");
                }
                (Err(estimate), Err(fault)) => {
                    assert_eq!((&estimate.code, &estimate.detail), (&fault.code, &fault.detail), "{about}");
                    assert!(
                        !matches!(fault.code.as_str(), "PC001" | "PC005" | "PC007"),
                        "what would be rejected is no error of the estimate. {about}\n {estimate}"
                    );
                }
                (Err(estimate), Ok(usage)) => panic!("{about}\n {estimate}\n {usage:?}"),
            }
            session.exec(if usage.is_ok() && random.random_bool(0.7) { "COMMIT" } else { "ROLLBACK" });
        }
    }
    assert!(rejected > rounds() as usize && done > rounds() as usize, "{rejected} rejected, {done} done");
    check_invariants(&mut session);
}

/// A check says what a plain usage of now would do; by feature and value, and by credit type and amount.
#[test]
fn a_check_is_what_the_usage_then_does() {
    let (seed, _) = seeded("check against usage");
    let database = Database::new();
    let mut session = database.session();
    session.exec("SET synchronous_commit = off");
    catalogue(&mut session);
    let (mut denied, mut granted) = (0, 0);
    for round in 0..rounds() {
        let mut random = StdRng::seed_from_u64(seed + round);
        let side = format!("check{round}");
        set_clock(&mut session, 0);
        fill(&mut session, &side, &mut random);
        let mut now = 0;
        for call in 0..40 {
            now += random.random_range(0..60);
            set_clock(&mut session, now);
            let mut event = with_side(&draw(&mut random, now), &side);
            event.retain(|name, _| {
                matches!(name.as_str(), "customer_id" | "resource_id" | "feature_id" | "value" | "dimensions")
            });
            let by_type = random.random_bool(0.3);
            let (arguments, use_it) = if by_type {
                let scope = event.get("resource_id").and_then(Value::as_str).map_or("NULL".to_owned(), text);
                let arguments = format!(
                    "customer_id => {}, resource_id => {scope}, credit_type_id => '{}', amount => {}",
                    text(event["customer_id"].as_str().unwrap_or_default()),
                    ["t", "t", "u", "v"].choose(&mut random).expect("four"),
                    random.random_range(1..200)
                );
                let call = format!("consume_credits({arguments})");
                (arguments, call)
            } else {
                let arguments = arguments(&event);
                let call = format!("report_usage({arguments})");
                (arguments, call)
            };
            let about = format!("round {round}, call {call}, seed {seed}, minute {now}: {arguments}");
            session.exec("BEGIN READ ONLY");
            let check = session.try_call(&format!("check_credits({arguments})"));
            session.exec("ROLLBACK");
            session.exec("BEGIN");
            let usage = session.try_call(&use_it);
            match (&check, &usage) {
                (Ok(check), Ok(usage)) => {
                    granted += 1;
                    assert!(
                        check.flag("is_granted") && check.opt("denial_reason").is_none(),
                        "{about}\n {check:?}\n {usage:?}"
                    );
                    assert_eq!(check.opt("required"), usage.opt("credits_consumed"), "{about}\n {check:?}");
                    assert_eq!(check.opt("pool_id"), usage.opt("pool_id"), "{about}\n {check:?}");
                }
                (Ok(check), Err(fault)) => {
                    denied += 1;
                    let reason = match fault.code.as_str() {
                        "PC001" => "insufficient_credits",
                        "PC003" => "no_active_subscription",
                        "PC005" => "invalid_state",
                        "PC006" => "no_rate",
                        "PC007" => "limit_exceeded",
                        _ => panic!("should have been raised: {about}\n {check:?}\n {fault}"),
                    };
                    assert!(!check.flag("is_granted"), "{about}\n {check:?}\n {fault}");
                    assert_eq!(check.opt("denial_reason"), Some(reason), "{about}\n {check:?}\n {fault}");
                    if fault.code == "PC001" {
                        assert_eq!(
                            check.opt("balance").map(str::to_owned),
                            fault.figure("balance"),
                            "{about}\n {check:?}\n {fault}"
                        );
                        assert_eq!(
                            check.opt("required").map(str::to_owned),
                            fault.figure("required"),
                            "{about}\n {check:?}\n {fault}"
                        );
                    }
                }
                (Err(check), Err(fault)) => {
                    assert_eq!((&check.code, &check.detail), (&fault.code, &fault.detail), "{about}");
                    assert!(matches!(fault.code.as_str(), "PC002" | "22023"), "{about}\n {check}");
                }
                (Err(check), Ok(usage)) => panic!("{about}\n {check}\n {usage:?}"),
            }
            session.exec(if usage.is_ok() && random.random_bool(0.7) { "COMMIT" } else { "ROLLBACK" });
        }
    }
    assert!(denied > rounds() as usize && granted > rounds() as usize, "{denied} denied, {granted} granted");
    check_invariants(&mut session);
}
