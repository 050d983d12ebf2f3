use std::collections::BTreeMap;

use credit_pools_domain::{Amount, Instant, Limit, Zone};
use serde_json::Value;

use crate::escape;
use crate::fit::{MAX_BYTES, render, render_within};
use crate::model::*;
use crate::words::{beginning, span_in_words};

fn amount(text: &str) -> Amount {
    Amount::parse(text).unwrap()
}

fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

fn grant(id: i64, name: &str) -> GrantLine {
    GrantLine {
        grant_id: Some(id),
        status: "active",
        category: "paid",
        source: "manual",
        priority: 50,
        amount: amount("5000"),
        remaining: amount("4850.5"),
        available: amount("4800"),
        held: amount("50.5"),
        effective_at: at("2026-03-01T00:00:00Z"),
        expires_at: None,
        price: Some(amount("9.9")),
        price_currency: Some("EUR".to_owned()),
        display_name: Some(name.to_owned()),
        reason: Some(name.to_owned()),
        feature_ids: Some(vec![name.to_owned()]),
        metadata: Some(format!("{{\"note\": {}}}", Value::String(name.to_owned()))),
    }
}

fn entry(name: &str) -> LedgerLine {
    LedgerLine {
        entry_type: "consume".to_owned(),
        amount: amount("-0.000000000000000001"),
        balance_after: amount("99999999999999999999.999999999999999999"),
        recorded_at: at("2026-03-31T12:00:00Z"),
        effective_at: at("2026-03-30T12:00:00Z"),
        feature_id: Some(name.to_owned()),
        value: Some(amount("1")),
        grant_id: Some(i64::MAX),
        usage_id: Some(7),
        recharge_id: None,
        reservation_id: Some(name.to_owned()),
        idempotency_key: Some(name.to_owned()),
        actor: name.to_owned(),
        reason: Some(name.to_owned()),
        dimensions: None,
        metadata: None,
    }
}

fn pool(resource_id: Option<&str>, name: &str, rows: usize) -> Pool {
    Pool {
        pool_id: i64::MAX,
        resource_id: resource_id.map(str::to_owned),
        credit_type_id: name.to_owned(),
        frozen: false,
        due: false,
        created_at: at("2026-03-01T00:00:00Z"),
        figures: Figures {
            balance: amount("4850.5"),
            granted: amount("5000"),
            consumed: amount("149.5"),
            expired: Amount::ZERO,
            voided: Amount::ZERO,
            held: amount("50.5"),
            debt: Amount::ZERO,
            restricted: Amount::ZERO,
            overdraft: Limit::Unlimited,
            used: amount("149.5"),
            per_day: amount("4.983333"),
            expiring: Amount::ZERO,
            next_expiry_amount: None,
            utilization: Some(amount("0.0299")),
        },
        next_expiry_at: None,
        depletion_at: Some(at("2028-01-01T00:00:00Z")),
        usage: (0..rows.min(9)).map(|n| (Some(format!("{name}{n}")), vec![amount("1.25"); 30])).collect(),
        grants: (0..rows).map(|n| grant(n as i64 + 1, name)).collect(),
        grant_count: rows as i64,
        ledger: (0..rows).map(|_| entry(name)).collect(),
        ledger_count: rows as i64,
        recharges: vec![RechargeLine {
            recharge_id: 1,
            status: "failed".to_owned(),
            reason: Some(name.to_owned()),
            amount: Some(amount("10")),
            price: None,
            price_currency: None,
            attempts: 3,
            payment_reference: Some(name.to_owned()),
            created_at: at("2026-03-30T00:00:00Z"),
            next_attempt_at: None,
        }],
        breaker_opened_at: None,
        policy: Some(0),
        subscription: Some(0),
        history: vec![History {
            at: at("2026-03-01T00:00:00Z"),
            kind: HistoryKind::Started,
            plan_id: Some(name.to_owned()),
        }],
        in_full: resource_id.is_none(),
    }
}

fn page(name: &str, pools: Vec<Pool>) -> Page {
    let day = |n: i64| at("2026-03-02T00:00:00Z").plus_micros(n * 86_400_000_000);
    Page {
        customer_id: name.to_owned(),
        zone: Zone::find("Europe/Berlin").unwrap(),
        zone_name: "Europe/Berlin".to_owned(),
        now: at("2026-03-31T12:00:00Z"),
        days: (0..30).map(day).collect(),
        asked: 0,
        without_pool: None,
        part: false,
        credit_types: BTreeMap::from([(
            name.to_owned(),
            CreditType { display_name: Some(name.to_owned()), ..CreditType::default() },
        )]),
        features: BTreeMap::from([(name.to_owned(), Feature { display_name: Some(name.to_owned()), unit: None })]),
        plans: BTreeMap::from([(name.to_owned(), Some(name.to_owned()))]),
        policies: vec![Policy {
            own: false,
            enabled: true,
            threshold: amount("5"),
            target_balance: None,
            recharge_amount: Some(amount("10")),
            price_per_credit: None,
            price_currency: None,
            max_spend: None,
            spent: None,
            max_count: None,
            spend_period: "1 month".to_owned(),
            cooldown: None,
            grant_expires_after: None,
            immediate: false,
            max_failures: 3,
        }],
        subscriptions: vec![Subscription {
            subscription_id: name.to_owned(),
            plan_id: name.to_owned(),
            status: "active",
            starts_at: at("2026-03-01T00:00:00Z"),
            ends_at: None,
            cancelled_at: None,
            period_start: None,
            period_end: None,
            quantities: Some(format!("{{{}: 1}}", Value::String(name.to_owned()))),
        }],
        pools,
        left_out: 0,
    }
}

/// What stands in the block of data, and the document without it.
fn split(document: &str) -> (Value, String) {
    let (before, rest) = document.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    let (data, after) = rest.split_once("</script>").unwrap();
    (serde_json::from_str(data).unwrap(), format!("{before}{after}"))
}

const NASTY: [&str; 9] = [
    "<script>window.broken=1</script>",
    "</script><script>window.broken=1</script>",
    "<!--<script>",
    "\"'><img src=x onerror=window.broken=1>",
    "&lt;b&gt; &amp; &#x3c;",
    "\u{202e}txet detrever\u{2066}",
    "line\u{2028}and\u{2029}paragraph",
    "\u{1f9d1}\u{200d}\u{1f680} \\u003c ${1} {{x}} @@ @@",
    "</noscript></style></title>",
];

#[test]
fn no_name_gets_out_of_its_place() {
    let plain = render(&page("plain", vec![pool(None, "plain", 3), pool(Some("plain"), "plain", 3)]));
    let tags = |document: &str| split(document).1.matches(['<', '>']).count();
    for name in NASTY {
        let made = render(&page(name, vec![pool(None, name, 3), pool(Some(name), name, 3)]));
        let (data, around) = split(&made);
        assert_eq!(tags(&made), tags(&plain), "{name}");
        assert!(!around.contains("window.broken=1>"), "{name}");
        assert!(!around.contains('\u{2028}') || name.contains('\u{2028}'));
        // As it is, in the data.
        assert_eq!(data["customer"], name);
        assert_eq!(data["pools"][1]["r"], name);
        assert_eq!(data["pools"][0]["g"][0][14], name);
        assert_eq!(data["pools"][0]["l"][0][9]["key"], name);
        assert!(data["texts"].as_array().unwrap().iter().any(|text| text == name));
    }
}

#[test]
fn data_has_nothing_that_html_looks_at() {
    for name in NASTY {
        let made = render(&page(name, vec![pool(None, name, 2)]));
        let (_, rest) = made.split_once("id=\"data\">").unwrap();
        let (data, _) = rest.split_once("</script>").unwrap();
        assert!(!data.contains(['<', '>', '&', '\u{2028}', '\u{2029}']), "{name}");
    }
    assert_eq!(escape::json("\"<a>&\u{2028}\u{2029}\u{7f}\""), "\"\\u003ca\\u003e\\u0026\\u2028\\u2029\\u007f\"");
}

#[test]
fn html_is_escaped() {
    assert_eq!(escape::html("<a href=\"x\" b='y'>&amp;"), "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;amp;");
    // A browser would read these as something else, or not at all.
    assert_eq!(escape::html("a\u{0}b\u{1b}\u{85}c"), "a\u{fffd}b\u{fffd}\u{fffd}c");
}

#[test]
fn the_policy_is_of_the_script_and_the_style_that_are_there() {
    let made = render(&page("plain", vec![pool(None, "plain", 1)]));
    for (open, close, directive) in [("<style>", "</style>", "style-src"), ("<script>", "</script>", "script-src")] {
        let (_, rest) = made.split_once(open).unwrap();
        let (text, _) = rest.split_once(close).unwrap();
        let hash = escape::base64(&<sha2::Sha256 as sha2::Digest>::digest(text.as_bytes()));
        assert!(made.contains(&format!("{directive} &#39;sha256-{hash}&#39;")), "{directive}");
    }
    let scripts: Vec<&str> = made.matches("<script").collect();
    assert_eq!(scripts.len(), 2);
    for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http-equiv=\"refresh\""] {
        assert!(!made.contains(word), "{word}");
    }
    // Nothing is fetched: the only addresses are names of XML.
    assert!(made.replace("http://www.w3.org/2000/svg", "").split("://").count() == 1);
}

#[test]
fn base64_is_as_everywhere() {
    let known = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
    for (text, encoded) in known {
        assert_eq!(escape::base64(text.as_bytes()), encoded);
    }
}

#[test]
fn amounts_keep_every_digit() {
    let (data, _) = split(&render(&page("plain", vec![pool(None, "plain", 1)])));
    let row = &data["pools"][0]["l"][0];
    assert_eq!(row[1], "-0.000000000000000001");
    assert_eq!(row[2], "99999999999999999999.999999999999999999");
    assert_eq!(row[5], "9223372036854775807");
    assert_eq!(data["pools"][0]["i"], "9223372036854775807");
    assert!(data["pools"][0]["f"].as_str().unwrap().starts_with("4850.5 5000 149.5 0 0 50.5 0 0 Infinity "));
}

#[test]
fn instants_are_the_customers_wall_clock() {
    let (data, _) = split(&render(&page("plain", vec![pool(None, "plain", 1)])));
    // 14:00 in Berlin, by then in summer time; the pool was opened at 01:00 by the clock of winter.
    assert_eq!(data["now"], 1_774_965_600);
    assert_eq!(data["pools"][0]["w"][2], 30 * 86_400 + 13 * 3_600);
    assert_eq!(data["day0"], 20_514);
}

#[test]
fn a_thousand_pools_fit() {
    let pools = |rows: usize, name: &str| {
        let other = |n: usize| pool(Some(&format!("workspace-{n:04}")), name, rows);
        std::iter::once(pool(None, name, 100)).chain((0..1_000).map(other)).collect::<Vec<Pool>>()
    };
    for rows in [0, 2] {
        let made = render(&page("plain", pools(rows, "plain")));
        assert!(made.len() <= MAX_BYTES, "{}", made.len());
        let (data, _) = split(&made);
        assert_eq!(data["pools"].as_array().unwrap().len(), 1_001);
        // The pool that was asked for is whole.
        assert_eq!(data["pools"][0]["l"].as_array().unwrap().len(), 100);
        assert_eq!(data["left"], 0);
    }
}

#[test]
fn long_names_fit() {
    // Every text as long as it may be, and of what is escaped at its longest.
    let name = "<".repeat(255);
    let other = |n: usize| pool(Some(&format!("{n:03}{}", "<".repeat(252))), &name, 3);
    let page = page("plain", std::iter::once(pool(None, &name, 9)).chain((0..200).map(other)).collect());
    let made = render_within(&page, 250_000);
    assert!(made.len() <= 250_000, "{}", made.len());
}

#[test]
fn what_is_left_out_is_counted() {
    let other = |n: usize| pool(Some(&format!("{}{n:04}", "<".repeat(250))), "plain", 3);
    let pools: Vec<Pool> = std::iter::once(pool(None, "plain", 3)).chain((0..400).map(other)).collect();
    let mut page = page("plain", pools);
    page.left_out = 5;
    // One of the last was asked for.
    page.asked = 390;
    page.pools[0].in_full = false;
    page.pools[390].in_full = true;
    let asked = page.pools[390].resource_id.clone();
    let made = render_within(&page, 150_000);
    assert!(made.len() <= 150_000, "{}", made.len());
    let (data, around) = split(&made);
    let shown = data["pools"].as_array().unwrap();
    assert_eq!(data["left"].as_i64().unwrap() + shown.len() as i64, 406);
    assert!(around.contains(" more pools are not on this page."));
    assert_eq!(shown[data["asked"].as_u64().unwrap() as usize]["r"].as_str().map(str::to_owned), asked);
}

#[test]
fn features_beyond_a_few_are_added_up() {
    let other = |n: usize| pool(Some(&format!("w{n:03}")), "plain", 9);
    let page = page("plain", std::iter::once(pool(None, "plain", 9)).chain((0..60).map(other)).collect());
    let (data, _) = split(&render_within(&page, 160_000));
    let usage = data["pools"][5]["u"].as_array().unwrap();
    assert!(usage.len() < 9);
    let rest = usage.last().unwrap();
    assert_eq!(rest[0], -1);
    let left = amount("1.25").raw() * (9 - (usage.len() as i128 - 1));
    assert_eq!(rest[1].as_str().unwrap().split(' ').next().unwrap(), Amount::from_raw(left).to_string());
}

#[test]
fn without_pools_there_is_a_page() {
    let (data, around) = split(&render(&page("plain", Vec::new())));
    assert_eq!(data["asked"], Value::Null);
    assert!(around.contains("There is no pool to show."));
}

#[test]
fn words() {
    let span = |months, days, micros| span_in_words(credit_pools_domain::Span { months, days, micros });
    assert_eq!(span(1, 0, 0), "1 month");
    assert_eq!(span(14, 2, 3_661_000_000), "1 year 2 months 2 days 1 hour 1 minute 1 second");
    assert_eq!(span(0, 0, 0), "0 seconds");
    assert_eq!(beginning("\u{1f680}\u{1f680}\u{1f680}", 2), "\u{1f680}\u{1f680}\u{2026}");
    assert_eq!(beginning("ab", 2), "ab");
}
