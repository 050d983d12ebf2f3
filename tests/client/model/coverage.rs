//! How often each function of the contract worked and was refused, and that none is left out.

use std::collections::BTreeMap;
use support::Database;

#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub worked: usize,
    pub refused: usize,
    /// The same key once more.
    pub repeated: usize,
}

/// By function; a word after a comma tells apart how it was called.
#[derive(Clone, Debug, Default)]
pub struct Counts(BTreeMap<&'static str, Count>);

impl Counts {
    pub fn worked(&mut self, name: &'static str) {
        self.0.entry(name).or_default().worked += 1;
    }

    pub fn refused(&mut self, name: &'static str) {
        self.0.entry(name).or_default().refused += 1;
    }

    pub fn repeated(&mut self, name: &'static str) {
        self.0.entry(name).or_default().repeated += 1;
    }

    pub fn add(&mut self, other: &Counts) {
        for (name, count) in &other.0 {
            let sum = self.0.entry(name).or_default();
            sum.worked += count.worked;
            sum.refused += count.refused;
            sum.repeated += count.repeated;
        }
    }

    pub fn calls(&self) -> usize {
        self.0.values().map(|count| count.worked + count.refused + count.repeated).sum()
    }

    pub fn print(&self, what: &str) {
        eprintln!("{what}: {} calls", self.calls());
        eprintln!("  {:>8} {:>8} {:>8}", "worked", "refused", "repeated");
        for (name, Count { worked, refused, repeated }) in &self.0 {
            eprintln!("  {worked:>8} {refused:>8} {repeated:>8}  {name}");
        }
    }

    /// Each of them worked so often at least, and those with `true` were refused, too. Else the sequences say little.
    pub fn check(&self, names: &[(&'static str, bool)], least: usize) {
        let rare: Vec<&str> = names
            .iter()
            .filter(|(name, refusable)| {
                let count = self.0.get(name).copied().unwrap_or_default();
                count.worked < least || (*refusable && count.refused < least.min(5))
            })
            .map(|(name, _)| *name)
            .collect();
        assert!(rare.is_empty(), "worked less than {least} times, or was hardly ever refused: {rare:?} of {self:?}");
    }
}

/// The functions that the sequences of the pool rules call, and whether they are refused now and then.
pub const POOL_RULES: &[(&str, bool)] = &[
    ("ack_events", true),
    ("apply_catalog", false),
    ("archive_ledger", false),
    ("balance_at", false),
    ("check_credits", false),
    ("confirm_grant_payment", true),
    ("consume_credits", true),
    ("define_credit_type", false),
    ("define_feature", false),
    ("define_plan", false),
    ("define_plan_credits", false),
    ("define_rate", false),
    ("estimate_usage", false),
    ("explain_usage", false),
    ("extend_reservation", true),
    ("fetch_events", false),
    ("grant_credits", false),
    ("meter_table", false),
    ("meter_table, an INSERT", true),
    ("open_pool", false),
    ("provision_subscription", false),
    ("release_reservation", true),
    ("report_usage", true),
    ("report_usage, a total", true),
    ("report_usage_batch", true),
    ("reserve_credits", true),
    ("reverse_usage", true),
    ("run_maintenance", false),
    ("set_limit", false),
    ("set_pool", false),
    ("settle_reservation", true),
    ("transfer_credits", true),
    ("unmeter_table", false),
    ("update_grant", true),
    ("void_grant", true),
];

/// Those that the sequences of auto-recharge call.
pub const RECHARGES: &[(&str, bool)] = &[
    ("claim_recharges", false),
    ("complete_recharge", true),
    ("consume_credits", true),
    ("explain_recharge", false),
    ("fail_recharge", true),
    ("grant_credits", false),
    ("reset_auto_recharge", true),
    ("run_maintenance", false),
    ("set_auto_recharge", false),
    ("set_pool", false),
    ("void_grant", false),
];

/// Those with a model of their own (`renewals`), which checks that each of them worked.
const RENEWALS: &[&str] = &["archive_credit_type", "cancel_subscription", "set_quantity", "transfer_subscription"];

/// Those that no model has: administration, whose tests are elsewhere.
const ELSEWHERE: &[&str] = &[
    "apply_access",
    "archive",
    "drop_event_consumer",
    "grant_access",
    "maintain",
    "revoke_access",
    "set_balance_alerts",
];

/// A function that comes to be and changes something is in a model, or here by name.
#[test]
fn every_function_that_changes_something_is_in_a_model() {
    let database = Database::new();
    let rows = database.session().rows(
        "SELECT DISTINCT proname FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
         WHERE pronamespace = 'credit_pools'::regnamespace AND provolatile = 'v' AND prokind <> 'a'
           AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype, 'internal'::regtype) ORDER BY 1",
    );
    let modelled = |name: &str| {
        POOL_RULES.iter().chain(RECHARGES).any(|(known, _)| *known == name)
            || RENEWALS.contains(&name)
            || ELSEWHERE.contains(&name)
    };
    let missing: Vec<&str> = rows.iter().map(|row| row.get("proname")).filter(|name| !modelled(name)).collect();
    assert!(rows.len() > 30, "the extension has functions: {rows:?}");
    assert!(missing.is_empty(), "in no model: {missing:?}");
}
