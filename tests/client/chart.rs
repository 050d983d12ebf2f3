//! Charts against a naive sum over the view usage_events: random usage in random zones (late, capped, free, taken back, as
//! totals, through holds, in batches), added up by maintenance at random and in random pieces, and looked at through random
//! charts. `CREDIT_POOLS_CHART_ROUNDS` (6) worlds of 220 steps.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use support::{Database, Session, check_invariants, seeded};

const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "Asia/Kathmandu",
    "Australia/Adelaide",
    "Australia/Lord_Howe",
    "America/New_York",
    "America/St_Johns",
];
const RESOURCES: [Option<&str>; 3] = [None, Some("ws-a"), Some("ws-b")];
const FEATURES: [&str; 3] = ["chat", "image", "gift"];
/// PostgreSQL's unit of the same kind, where it has one.
const BUCKETS: [(&str, Option<&str>); 9] = [
    ("1 hour", Some("hour")),
    ("1 day", Some("day")),
    ("7 days", Some("week")),
    ("1 month", Some("month")),
    ("1 year", Some("year")),
    ("15 minutes", None),
    ("6 hours", None),
    ("17 minutes", None),
    ("5 hours", None),
];

fn rounds() -> u64 {
    std::env::var("CREDIT_POOLS_CHART_ROUNDS").map_or(6, |text| text.trim().parse().expect("a number of rounds"))
}

fn quoted(text: Option<&str>) -> String {
    text.map_or("NULL".to_owned(), |text| format!("'{text}'"))
}

struct World<'a> {
    session: &'a mut Session,
    random: StdRng,
    /// Seconds since the beginning of March.
    now: i64,
    usages: i64,
}

fn instant(second: i64) -> String {
    format!("(timestamptz '2026-03-01 00:00+00' + interval '{second} seconds')")
}

impl World<'_> {
    fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        of.choose(&mut self.random).expect("not empty")
    }

    fn set_clock(&mut self) {
        let at = instant(self.now);
        self.session.exec(&format!("SELECT set_config('credit_pools.test_clock', {at}::text, false)"));
    }

    fn make(&mut self) {
        let zone = *self.pick(&ZONES);
        self.set_clock();
        for call in [
            "define_credit_type(credit_type_id => 't', scale => 2)".to_owned(),
            "define_feature(feature_id => 'chat')".to_owned(),
            "define_feature(feature_id => 'image')".to_owned(),
            "define_feature(feature_id => 'gift')".to_owned(),
            "define_plan(plan_id => 'p')".to_owned(),
            "define_rate(feature_id => 'chat', credit_type_id => 't', plan_id => 'p', credits_per_unit => 1.25)"
                .to_owned(),
            "define_rate(feature_id => 'image', credit_type_id => 't', plan_id => 'p', credits_per_unit => 0.33)"
                .to_owned(),
            "define_rate(feature_id => 'gift', credit_type_id => 't', plan_id => 'p', credits_per_unit => 0)"
                .to_owned(),
        ] {
            self.session.call(&call);
        }
        for resource in RESOURCES {
            let resource = quoted(resource);
            self.session.call(&format!(
                "provision_subscription(customer_id => 'c', resource_id => {resource}, plan_id => 'p', time_zone => '{zone}')"
            ));
            for amount in [40, 300] {
                self.session.call(&format!(
                    "grant_credits(customer_id => 'c', resource_id => {resource}, credit_type_id => 't', amount => {amount})"
                ));
            }
        }
        self.session
            .call("set_pool(customer_id => 'c', resource_id => 'ws-b', credit_type_id => 't', overdraft_limit => 50)");
    }

    /// A step that changes something; a refusal is none.
    fn step(&mut self) {
        // Often within a quarter of an hour, sometimes over days.
        self.now += *self.pick(&[0, 1, 60, 400, 900, 4_000, 40_000, 300_000]);
        self.set_clock();
        let resource = quoted(*self.pick(&RESOURCES));
        let feature = *self.pick(&FEATURES);
        let value = self.random.random_range(1..2_000);
        let back = *self.pick(&[0, 0, 0, 30, 900, 100_000, 900_000]);
        let at =
            if back == 0 { "NULL".to_owned() } else { instant((self.now - self.random.random_range(0..back)).max(0)) };
        let dimensions = *self.pick(&[
            "NULL",
            r#"'{"model": "small", "region": "eu"}'"#,
            r#"'{"model": "large"}'"#,
            r#"'{"model": null, "tokens": 1.50}'"#,
            r#"'{"region": ["eu", 1], "tokens": 1.5}'"#,
        ]);
        let usage = format!(
            "customer_id => 'c', resource_id => {resource}, feature_id => '{feature}', value => {value}::numeric / 100"
        );
        let call = match self.random.random_range(0..12) {
            0..=4 => format!("report_usage({usage}, dimensions => {dimensions}, occurred_at => {at}, on_insufficient => 'cap')"),
            5 => format!("report_usage({usage}, update_behavior => 'set')"),
            6 => format!("consume_credits(customer_id => 'c', resource_id => {resource}, credit_type_id => 't', amount => {value}::numeric / 100, dimensions => {dimensions}, occurred_at => {at})"),
            7 | 8 => {
                let part = if self.random.random_bool(0.5) { "NULL" } else { "0.5" };
                format!("reverse_usage(customer_id => 'c', usage_id => (SELECT usage_id FROM credit_pools.usage_events ORDER BY md5(usage_id::text || '{value}') LIMIT 1), credits => {part})")
            }
            9 => {
                let id = self.usages;
                let _ = self.session.try_call(&format!("reserve_credits(reservation_id => 'r-{id}', {usage})"));
                format!("settle_reservation(customer_id => 'c', reservation_id => 'r-{id}', value => {value}::numeric / 150)")
            }
            10 => format!(
                "report_usage_batch(events => (SELECT jsonb_agg(jsonb_build_object('customer_id', 'c', 'resource_id', {resource}::text, 'feature_id', '{feature}', 'value', n,
                    'occurred_at', GREATEST({}, timestamptz '2026-03-01 00:00+00'), 'dimensions', '{{\"model\": \"small\"}}'::jsonb)) FROM generate_series(1, {}) n), atomic => false)",
                instant(self.now - back),
                value % 7 + 1
            ),
            _ => format!("grant_credits(customer_id => 'c', resource_id => {resource}, credit_type_id => 't', amount => {value})"),
        };
        self.usages += 1;
        if let Err(fault) = self.session.try_rows(&format!("SELECT * FROM credit_pools.{call}")) {
            assert!(fault.is_contract_code(), "{call}: {fault:?}");
        }
    }

    fn add_up(&mut self) {
        let rows = self.random.random_range(0..30);
        let pools = *self.pick(&["", "max_pools => 1", "max_pools => 2"]);
        self.session.exec(&format!("SET credit_pools.rollup_rows = {rows}"));
        self.session.rows(&format!("SELECT * FROM credit_pools.run_maintenance({pools})"));
    }

    fn look(&mut self) {
        let (bucket, unit) = *self.pick(&BUCKETS);
        let longest = match bucket {
            "15 minutes" | "17 minutes" | "1 hour" => 8_000_000,
            _ => 40_000_000,
        };
        let to = self.random.random_range(1..self.now + 200_000);
        // Also so that nothing but a part of a quarter is left.
        let width = *self.pick(&[1, 200, 2_000, 90_000, longest]);
        let round = *self.pick(&[1, 900, 3_600]);
        let (from, to) = ((to - self.random.random_range(1..=width)) / round * round, to / round * round + round);
        let (from, to) = (instant(from), instant(to));
        let resource = *self.pick(&RESOURCES);
        let by: Vec<&str> = ["feature", "resource", "model", "region", "tokens"]
            .into_iter()
            .filter(|_| self.random.random_bool(0.25))
            .collect();
        let names: Vec<String> = by[by.iter().take_while(|name| ["feature", "resource"].contains(name)).count()..]
            .iter()
            .map(|name| format!("'{name}', u.dimensions -> '{name}'"))
            .collect();
        let all = by.contains(&"resource") && resource.is_none();
        let chart = format!(
            "credit_pools.usage_chart(customer_id => 'c', resource_id => {}, credit_type_id => 't', from_time => {from}, to_time => {to}, bucket => '{bucket}', group_by => '{{{}}}')",
            quoted(resource),
            by.join(",")
        );
        let grouped =
            |name: &str, column: &str| if by.contains(&name) { column.to_owned() } else { "NULL::text".to_owned() };
        let wrong = self.session.rows(&format!(
            "WITH chart AS MATERIALIZED (SELECT * FROM {chart}),
             buckets AS (SELECT DISTINCT bucket_start, bucket_end FROM chart),
             naive AS (
                 SELECT b.bucket_start, {} AS feature_id, {} AS resource_id, {} AS dimensions, sum(u.credits - u.reversed) AS credits,
                        COALESCE(sum(u.value), 0) AS units, count(*) AS events
                 FROM buckets b JOIN credit_pools.usage_events u
                   ON u.customer_id = 'c' AND u.occurred_at >= GREATEST(b.bucket_start, {from}) AND u.occurred_at < LEAST(b.bucket_end, {to})
                  AND ({all} OR u.resource_id IS NOT DISTINCT FROM {})
                 GROUP BY 1, 2, 3, 4),
             seen AS (SELECT bucket_start, feature_id, resource_id, dimensions, credits, units, events FROM chart WHERE (credits, units, events) <> (0, 0, 0))
             SELECT 'naive' AS what, x::text FROM (TABLE naive EXCEPT ALL TABLE seen) x
             UNION ALL SELECT 'chart', x::text FROM (TABLE seen EXCEPT ALL TABLE naive) x
             UNION ALL SELECT 'sum', (c, n)::text FROM (SELECT COALESCE(sum(credits), 0) AS credits, COALESCE(sum(units), 0) AS units, COALESCE(sum(events), 0) AS events FROM chart) c,
                 (SELECT COALESCE(sum(credits - reversed), 0) AS credits, COALESCE(sum(value), 0) AS units, count(*) AS events FROM credit_pools.usage_events u
                  WHERE u.customer_id = 'c' AND occurred_at >= {from} AND occurred_at < {to} AND ({all} OR resource_id IS NOT DISTINCT FROM {})) n
                 WHERE (c.credits, c.units, c.events) <> (n.credits, n.units, n.events)
             UNION ALL SELECT 'gap', b::text FROM (SELECT *, lead(bucket_start) OVER (ORDER BY bucket_start) AS next FROM buckets) b
                 WHERE bucket_end <> COALESCE(next, bucket_end) OR bucket_end <= bucket_start OR bucket_end <= {from} OR bucket_start >= {to}
             UNION ALL SELECT 'ends', (min(bucket_start), max(bucket_end))::text FROM buckets HAVING min(bucket_start) > {from} OR max(bucket_end) < {to}
             UNION ALL SELECT 'a group without all buckets', x::text FROM (SELECT feature_id, resource_id, dimensions FROM chart GROUP BY 1, 2, 3
                 HAVING count(*) <> (SELECT count(*) FROM buckets)) x
             LIMIT 8",
            grouped("feature", "u.feature_id"),
            grouped("resource", "u.resource_id"),
            if names.is_empty() { "NULL::jsonb".to_owned() } else { format!("jsonb_build_object({})", names.join(", ")) },
            quoted(resource),
            quoted(resource),
        ));
        assert!(wrong.is_empty(), "{chart}\n{wrong:#?}");
        let Some(unit) = unit else { return };
        let off = self.session.rows(&format!(
            "SELECT c.bucket_start, c.bucket_end FROM {chart} c, credit_pools.customer m
             -- Where the clock moves by half an hour, one hour is longer.
             WHERE m.customer_id = 'c' AND ('{unit}' <> 'hour' OR c.bucket_end - c.bucket_start = interval '1 hour') AND (date_trunc('{unit}', c.bucket_start, m.time_zone) <> c.bucket_start
                OR date_trunc('{unit}', c.bucket_end - interval '1 microsecond', m.time_zone) <> c.bucket_start) LIMIT 3"
        ));
        assert!(off.is_empty(), "not as PostgreSQL has it: {chart}\n{off:#?}");
    }
}

#[test]
fn a_chart_is_what_the_usage_events_add_up_to() {
    let (seed, _) = seeded("charts");
    for round in 0..rounds() {
        let database = Database::new();
        let mut session = database.session();
        let random = StdRng::seed_from_u64(seed.wrapping_add(round));
        let mut world = World { session: &mut session, random, now: 10, usages: 0 };
        world.make();
        for step in 0..220 {
            world.step();
            if world.random.random_bool(0.08) {
                world.add_up();
            }
            if step % 3 == 0 {
                world.look();
            }
        }
        world.session.exec("SET credit_pools.rollup_rows = 1");
        world.session.rows("SELECT * FROM credit_pools.run_maintenance()");
        (0..40).for_each(|_| world.look());
        // Sums that are there already make no difference to where they are made anew.
        let sums = "SELECT quarter, pool_id, feature_id, credits, units, events FROM credit_pools.usage_rollup ORDER BY 1, 2, 3";
        let before = session.rows(sums);
        assert!(before.len() > 20, "hardly anything was added up: {before:?}");
        for table in ["usage_rollup", "usage_rollup_place", "usage_rollup_progress"] {
            session.exec(&format!("DELETE FROM credit_pools.{table}"));
        }
        session.rows("SELECT * FROM credit_pools.run_maintenance()");
        assert_eq!(before, session.rows(sums), "added up by bits and at once");
        check_invariants(&mut session);
    }
}

/// Sessions that add up at the same time, and usage meanwhile: nothing is there twice, and nobody waits for the others.
#[test]
fn adding_up_meets_usage_and_itself() {
    let database = Database::with_catalogue();
    let mut session = database.session();
    for resource in ["a", "b"] {
        session.call(&format!(
            "open_pool(customer_id => 'c', resource_id => '{resource}', credit_type_id => 'ai-tokens')"
        ));
        session.call(&format!("grant_credits(customer_id => 'c', resource_id => '{resource}', credit_type_id => 'ai-tokens', amount => 1000000)"));
    }
    support::at_once(&database, 6, |number, session| {
        session.exec("SET credit_pools.rollup_rows = 1");
        for _ in 0..60 {
            if number < 3 {
                session.rows("SELECT * FROM credit_pools.run_maintenance()");
            } else {
                let resource = if number == 3 { "a" } else { "b" };
                let usage = session.call(&format!(
                    "consume_credits(customer_id => 'c', resource_id => '{resource}', credit_type_id => 'ai-tokens', amount => 2)"
                ));
                if number == 4 {
                    session.call(&format!(
                        "reverse_usage(customer_id => 'c', usage_id => {}, credits => 1)",
                        usage.int("usage_id")
                    ));
                }
            }
        }
    });
    session.exec("SET credit_pools.rollup_rows = 1");
    session.rows("SELECT * FROM credit_pools.run_maintenance()");
    let sums =
        session.row("SELECT sum(credits)::text AS credits, sum(events)::text AS events FROM credit_pools.usage_rollup");
    assert_eq!((sums.get("credits"), sums.get("events")), ("300", "180"));
}
