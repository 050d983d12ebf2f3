//! A database that archives now and then beside one that never does: the same random calls, key by key and instant by
//! instant, must get the same answers, and all that there is to read must be the same in the end.
//! `CREDIT_POOLS_ARCHIVE_RUNS` (6) lives of `CREDIT_POOLS_ARCHIVE_STEPS` (400) calls.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use support::{Database, Session, at_once, check_invariants, seeded};

const RESOURCES: [&str; 3] = ["NULL", "'ws-a'", "'ws-b'"];
const CUSTOMERS: [&str; 2] = ["c1", "c2"];

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.trim().parse().expect("a number"))
}

fn instant(minute: i64) -> String {
    format!("(timestamptz '2026-01-01 00:00+00' + interval '{minute} minutes')")
}

/// What both databases are asked, and what they must answer alike.
struct Twins {
    archiving: Session,
    keeping: Session,
    trail: Vec<String>,
}

impl Twins {
    fn begin() -> (Database, Database, Twins) {
        let (one, other) = (Database::new(), Database::new());
        let twins = Twins { archiving: one.session(), keeping: other.session(), trail: Vec::new() };
        (one, other, twins)
    }

    /// The rows, or the error, of one of them, a line each.
    fn answer(session: &mut Session, sql: &str) -> Vec<String> {
        match session.try_rows(sql) {
            Ok(rows) => rows.iter().map(|row| format!("{row:?}")).collect(),
            Err(fault) => vec![format!("{} {fault}", fault.code)],
        }
    }

    fn ask(&mut self, sql: &str) -> Vec<String> {
        self.trail.push(sql.to_owned());
        let (found, expected) = (Self::answer(&mut self.archiving, sql), Self::answer(&mut self.keeping, sql));
        if found != expected {
            let only = |one: &[String], other: &[String]| -> String {
                one.iter().filter(|line| !other.contains(line)).map(|line| format!("\n  {line}")).collect()
            };
            let (more, less) = (only(&found, &expected), only(&expected, &found));
            panic!("{sql}\nwith an archive:{more}\nwithout:{less}\n\n{};", self.trail.join(";\n"));
        }
        found
    }

    fn call(&mut self, call: &str) -> Vec<String> {
        self.ask(&format!("SELECT * FROM credit_pools.{call}"))
    }

    /// In the one database only. How many rows have moved.
    fn archive(&mut self, call: &str) -> i64 {
        let sql = format!("SELECT * FROM credit_pools.archive_ledger({call})");
        self.trail.push(format!("{sql} -- in the one only"));
        let row = self.archiving.row(&sql);
        row.int("ledger_rows") + row.int("usage_events")
    }

    fn set_clock(&mut self, minute: i64) {
        self.ask(&format!("SELECT set_config('credit_pools.test_clock', {}::text, false)", instant(minute)));
    }

    fn compare(&mut self, now: i64, random: &mut StdRng) {
        for (view, order) in [
            ("pools", "pool_id"),
            ("grants", "pool_id, grants::text COLLATE \"C\""),
            ("ledger", "pool_id, seq"),
            ("usage_events", "usage_id"),
            ("reservations", "customer_id, reservation_id"),
            ("limits", "customer_id, credit_type_id, all_resources, resource_id, per"),
            ("recharges", "recharge_id"),
            ("usage_reversal", "customer_id, usage_id"),
            ("usage_total", "customer_id, pool_id, feature_id, period_start"),
        ] {
            self.ask(&format!("SELECT * FROM credit_pools.{view} ORDER BY {order}"));
        }
        self.ask("SELECT * FROM credit_pools.ledger_head() ORDER BY pool_id");
        let problems = self.ask("SELECT * FROM credit_pools.verify_ledger()");
        assert!(problems.is_empty(), "{problems:?}\n\n{}", self.trail.join(";\n"));
        for _ in 0..8 {
            let (at, known_at) = (random.random_range(-100..now + 20_000), random.random_range(-100..now + 100));
            self.call(&format!(
                "balance_at(customer_id => '{}', resource_id => {}, credit_type_id => 't', at => {}, known_at => {})",
                CUSTOMERS.choose(random).expect("one"),
                RESOURCES.choose(random).expect("one"),
                instant(at),
                instant(known_at)
            ));
        }
        self.ask(
            "SELECT x.* FROM credit_pools.usage_events u, LATERAL credit_pools.explain_usage(customer_id => u.customer_id, usage_id => u.usage_id) x
             ORDER BY u.usage_id",
        );
        // As a page of the ledger is read, and one usage.
        self.ask("SELECT * FROM credit_pools.ledger WHERE customer_id = 'c1' AND pool_id = (SELECT min(pool_id) FROM credit_pools.pools) ORDER BY seq DESC LIMIT 20");
    }
}

fn catalogue(twins: &mut Twins) {
    twins.set_clock(0);
    for call in [
        "define_credit_type(credit_type_id => 't', scale => 2)",
        "define_feature(feature_id => 'run')",
        "define_feature(feature_id => 'free')",
        "define_plan(plan_id => 'p')",
        "define_plan_credits(plan_id => 'p', credit_type_id => 't', amount => 100, cadence => '10 days', rollover_max => 30, rollover_periods => 2)",
        "define_rate(feature_id => 'run', credit_type_id => 't', plan_id => 'p', credits_per_unit => 0.5)",
        "define_rate(feature_id => 'free', credit_type_id => 't', plan_id => 'p', credits_per_unit => 0)",
    ] {
        twins.call(call);
    }
    for customer in CUSTOMERS {
        for resource in RESOURCES {
            twins.call(&format!(
                "provision_subscription(customer_id => '{customer}', resource_id => {resource}, plan_id => 'p')"
            ));
        }
    }
    // One that recharges at once, so that what a key repeats is the balance with it.
    twins.call("set_auto_recharge(customer_id => 'c1', credit_type_id => 't', resource_id => 'ws-a', threshold => 20, recharge_amount => 50, settlement => 'immediate')");
    twins.call("set_pool(customer_id => 'c2', credit_type_id => 't', overdraft_limit => 200)");
}

/// What has been made so far, for what comes later to refer to.
#[derive(Default)]
struct Made {
    keyed: Vec<String>,
    keys: usize,
    holds: usize,
}

fn id_of(view: &str, id: &str, customer: &str, nth: usize) -> String {
    format!(
        "(SELECT {id} FROM credit_pools.{view} WHERE customer_id = '{customer}' AND {id} IS NOT NULL ORDER BY {id} DESC OFFSET {nth} LIMIT 1)"
    )
}

fn draw(random: &mut StdRng, now: i64, made: &mut Made) -> String {
    let customer = *CUSTOMERS.choose(random).expect("one");
    let resource = *RESOURCES.choose(random).expect("one");
    let scope = format!("customer_id => '{customer}', resource_id => {resource}");
    let amount = random.random_range(1..4000) as f64 / 100.0;
    // Old ones as well as the newest.
    let nth = [0, 1, 2, 5, 20, 60][random.random_range(0..6)];
    let key = if random.random_bool(0.5) {
        made.keys += 1;
        format!(", idempotency_key => 'k{}'", made.keys)
    } else {
        String::new()
    };
    let usage = |random: &mut StdRng| {
        let feature = ["run", "run", "run", "free"].choose(random).expect("one");
        let cap = if random.random_bool(0.3) { ", on_insufficient => 'cap'" } else { "" };
        let total = if random.random_bool(0.15) { ", update_behavior => 'set'" } else { "" };
        let late = if random.random_bool(0.2) {
            format!(", occurred_at => {}", instant(now - random.random_range(0..5000)))
        } else {
            String::new()
        };
        format!("report_usage({scope}, feature_id => '{feature}', value => {amount}{cap}{total}{late}{key})")
    };
    let call = match random.random_range(0..100) {
        0..=34 => usage(random),
        35..=44 => format!("consume_credits({scope}, credit_type_id => 't', amount => {amount}{key})"),
        45..=54 => {
            let until = if random.random_bool(0.5) {
                format!(", expires_at => {}", instant(now + random.random_range(10..20_000)))
            } else {
                String::new()
            };
            format!("grant_credits({scope}, credit_type_id => 't', amount => {amount}, priority => {}{until})", nth)
        }
        55..=62 => {
            made.holds += 1;
            format!("reserve_credits({scope}, reservation_id => 'h{}', credit_type_id => 't', amount => {amount})", made.holds)
        }
        63..=69 => format!(
            "settle_reservation(customer_id => '{customer}', reservation_id => 'h{}', amount => {amount}, final => {})",
            made.holds.saturating_sub(nth),
            random.random_bool(0.5)
        ),
        70..=79 => {
            let part = if random.random_bool(0.4) { format!(", credits => {amount}") } else { String::new() };
            format!(
                "reverse_usage(customer_id => '{customer}', usage_id => {}{part})",
                id_of("usage_events", "usage_id", customer, nth)
            )
        }
        80..=82 => {
            format!("void_grant(customer_id => '{customer}', grant_id => {})", id_of("grants", "grant_id", customer, nth))
        }
        83..=84 => format!(
            "update_grant(customer_id => '{customer}', grant_id => {}, priority => {})",
            id_of("grants", "grant_id", customer, nth),
            random.random_range(0..100)
        ),
        85..=86 => format!(
            "transfer_credits(customer_id => '{customer}', credit_type_id => 't', amount => {amount}, from_resource_id => {resource}, to_resource_id => {})",
            RESOURCES.choose(random).expect("one")
        ),
        87..=88 => format!(
            "set_limit({scope}, credit_type_id => 't', amount => {}, per => '1 day')",
            if random.random_bool(0.5) { "'Infinity'" } else { "100" }
        ),
        89..=90 => "run_maintenance()".to_owned(),
        // One that had a key, once more; or its key with something else.
        91..=95 if !made.keyed.is_empty() => made.keyed.choose(random).expect("one").clone(),
        96..=97 if !made.keyed.is_empty() => {
            let old = made.keyed.choose(random).expect("one");
            let key = old.split("idempotency_key => ").nth(1).expect("a key").trim_end_matches(')');
            return format!("consume_credits({scope}, credit_type_id => 't', amount => {amount}, idempotency_key => {key})");
        }
        _ => format!(
            "report_usage_batch(atomic => false, events => jsonb_build_array({}))",
            (0..random.random_range(1..6))
                .map(|_| {
                    let key = random.random_range(1..made.keys + 3);
                    format!(
                        "jsonb_build_object('customer_id', '{customer}', 'resource_id', {resource}, 'feature_id', 'run', 'value', {}, 'idempotency_key', 'k{key}')",
                        random.random_range(1..30)
                    )
                })
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    if call.contains("idempotency_key => '") {
        made.keyed.push(call.clone());
    }
    call
}

#[test]
fn nobody_can_tell_that_history_was_archived() {
    let (_, mut seeds) = seeded("archive");
    let steps = number("CREDIT_POOLS_ARCHIVE_STEPS", 400);
    for _ in 0..number("CREDIT_POOLS_ARCHIVE_RUNS", 6) {
        let mut random = StdRng::seed_from_u64(seeds.random());
        let (_one, _other, mut twins) = Twins::begin();
        catalogue(&mut twins);
        let (mut now, mut made, mut moved, mut repeated) = (0, Made::default(), 0, 0);
        for step in 0..steps {
            if random.random_bool(0.3) {
                now += [1, 30, 600, 5000][random.random_range(0..4)];
                twins.set_clock(now);
            }
            if random.random_bool(0.06) {
                let bound = match random.random_range(0..3) {
                    0 => String::new(),
                    1 => format!(", max_rows => {}", random.random_range(1..40)),
                    _ => format!(", customer_id => '{}'", CUSTOMERS.choose(&mut random).expect("one")),
                };
                let ago = [0, 0, 100, 3000][random.random_range(0..4)];
                moved += twins.archive(&format!("before => {}{bound}", instant(now - ago)));
            }
            let call = draw(&mut random, now, &mut made);
            let answer = twins.call(&call);
            repeated += usize::from(answer.iter().any(|row| row.contains("\"is_duplicate\", Some(\"t\")")));
            if step % 80 == 79 {
                twins.compare(now, &mut random);
            }
        }
        let total = twins.archiving.value("SELECT count(*) FROM credit_pools.ledger").parse::<i64>().expect("a number");
        eprintln!("{steps} calls, {total} ledger rows, {moved} rows moved, {repeated} answers with a duplicate");
        assert!(steps < 400 || moved * 3 > total, "hardly anything was archived: {moved} of {total}");
        twins.archive(&format!("before => {}", instant(now)));
        twins.compare(now, &mut random);
        // Every key that was ever used, once more.
        for call in made.keyed {
            twins.call(&call);
        }
        twins.compare(now, &mut random);
        check_invariants(&mut twins.archiving);
    }
}

/// Usage, replays and archivers at once: every key counts once, and nothing is lost on the way.
#[test]
fn a_key_counts_once_while_it_is_archived() {
    let database = Database::new();
    let mut session = database.session();
    session.call("define_credit_type(credit_type_id => 't', scale => 0)");
    for resource in ["a", "b", "c"] {
        session.call(&format!("open_pool(customer_id => 'c', credit_type_id => 't', resource_id => '{resource}')"));
        session.call(&format!(
            "grant_credits(customer_id => 'c', credit_type_id => 't', resource_id => '{resource}', amount => 1000000)"
        ));
    }
    let (_, mut seeds) = seeded("archive at once");
    let seeds: Vec<u64> = (0..6).map(|_| seeds.random()).collect();
    let counts = at_once(&database, 6, |thread, session| {
        let mut random = StdRng::seed_from_u64(seeds[thread]);
        let (mut first, mut again, mut conflicts, mut retries) = (0, 0, 0, 0);
        for _ in 0..400 {
            if thread < 2 && random.random_bool(0.25) {
                if random.random_bool(0.5) {
                    session.exec("CALL credit_pools.archive(before => clock_timestamp(), batch_rows => 7)");
                } else {
                    session
                        .rows("SELECT * FROM credit_pools.archive_ledger(before => clock_timestamp(), max_rows => 20)");
                }
                continue;
            }
            // The amount goes by the key, the pool by the key or not.
            let key = random.random_range(0..300);
            let home = ["a", "b", "c"][key % 3];
            let resource = if random.random_bool(0.8) { home } else { ["a", "b", "c"][random.random_range(0..3)] };
            let call = format!(
                "consume_credits(customer_id => 'c', credit_type_id => 't', resource_id => '{resource}', amount => {}, idempotency_key => 'k{key}')",
                1 + key % 7
            );
            loop {
                match session.try_call(&call) {
                    Ok(row) if row.flag("is_duplicate") => again += 1,
                    Ok(_) => first += 1,
                    Err(fault) if fault.code == "PC004" => conflicts += 1,
                    // A key that moved on another pool between two looks: to be run again.
                    Err(fault) if fault.code == "40001" => {
                        retries += 1;
                        continue;
                    }
                    Err(fault) => panic!("{fault}"),
                }
                break;
            }
        }
        [first, again, conflicts, retries]
    });
    let sum = |place: usize| counts.iter().map(|count| count[place]).sum::<i64>();
    eprintln!("{} usages, {} duplicates, {} conflicts, {} run again", sum(0), sum(1), sum(2), sum(3));
    let keys =
        session.value("SELECT count(DISTINCT idempotency_key) || ' ' || count(*) FROM credit_pools.usage_events");
    assert_eq!(keys, format!("{} {}", sum(0), sum(0)), "each key once");
    let both = session.value(
        "SELECT count(*) FROM credit_pools.ledger_entry e JOIN credit_pools.archived_usage u USING (customer_id, idempotency_key) WHERE e.credits IS NOT NULL",
    );
    assert_eq!(both, "0", "no key both here and there");
    assert!(session.value("SELECT count(*) FROM credit_pools.archived_usage").parse::<i64>().expect("a number") > 50);
    assert!(session.rows("SELECT * FROM credit_pools.verify_ledger()").is_empty());
    check_invariants(&mut session);
}
