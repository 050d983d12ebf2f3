//! What is known of a customer, for the page.

use std::collections::BTreeMap;

use credit_pools_domain::{Amount, Instant, Limit, Zone};

pub struct Page {
    pub customer_id: String,
    pub zone: Zone,
    /// As the customer's row has it.
    pub zone_name: String,
    pub now: Instant,
    /// Where the days of the chart begin.
    pub days: Vec<Instant>,
    /// Which of `pools` is shown first.
    pub asked: usize,
    /// A resource that was asked for and has no pool.
    pub without_pool: Option<String>,
    /// Whether there may be more of the customer than the reader may see.
    pub part: bool,
    pub credit_types: BTreeMap<String, CreditType>,
    pub features: BTreeMap<String, Feature>,
    /// Display names.
    pub plans: BTreeMap<String, Option<String>>,
    pub policies: Vec<Policy>,
    pub subscriptions: Vec<Subscription>,
    pub pools: Vec<Pool>,
    /// How many pools there are besides.
    pub left_out: i64,
}

#[derive(Default)]
pub struct CreditType {
    pub display_name: Option<String>,
    pub symbol: Option<String>,
    pub unit_plural: Option<String>,
}

#[derive(Default)]
pub struct Feature {
    pub display_name: Option<String>,
    pub unit: Option<String>,
}

pub struct Pool {
    pub pool_id: i64,
    /// `None`: the global pool.
    pub resource_id: Option<String>,
    pub credit_type_id: String,
    pub frozen: bool,
    /// Something is due by the clock that is not in the ledger yet.
    pub due: bool,
    pub created_at: Instant,
    pub figures: Figures,
    pub next_expiry_at: Option<Instant>,
    pub depletion_at: Option<Instant>,
    /// Credits by feature (`None`: plain credits) and day; the most used feature first.
    pub usage: Vec<(Option<String>, Vec<Amount>)>,
    /// The grants that are shown, and how many there are.
    pub grants: Vec<GrantLine>,
    pub grant_count: i64,
    /// The last ledger rows, the newest first, and how many there are.
    pub ledger: Vec<LedgerLine>,
    pub ledger_count: i64,
    /// The last recharges, the newest first.
    pub recharges: Vec<RechargeLine>,
    pub breaker_opened_at: Option<Instant>,
    /// Index into `Page::policies`.
    pub policy: Option<usize>,
    /// Index into `Page::subscriptions`.
    pub subscription: Option<usize>,
    /// The newest first.
    pub history: Vec<History>,
    /// All that there is to show is shown of this one, as far as it goes.
    pub in_full: bool,
}

pub struct Figures {
    pub balance: Amount,
    pub granted: Amount,
    pub consumed: Amount,
    pub expired: Amount,
    pub voided: Amount,
    pub held: Amount,
    pub debt: Amount,
    pub restricted: Amount,
    pub overdraft: Limit,
    /// Within the time of the chart.
    pub used: Amount,
    pub per_day: Amount,
    /// What ends within 30 days.
    pub expiring: Amount,
    pub next_expiry_amount: Option<Amount>,
    pub utilization: Option<Amount>,
}

pub struct GrantLine {
    /// `None`: due, but not booked yet.
    pub grant_id: Option<i64>,
    pub status: &'static str,
    pub category: &'static str,
    pub source: &'static str,
    pub priority: i16,
    pub amount: Amount,
    pub remaining: Amount,
    pub available: Amount,
    pub held: Amount,
    pub effective_at: Instant,
    /// `None`: never.
    pub expires_at: Option<Instant>,
    pub price: Option<Amount>,
    pub price_currency: Option<String>,
    pub display_name: Option<String>,
    pub reason: Option<String>,
    pub feature_ids: Option<Vec<String>>,
    pub metadata: Option<String>,
}

pub struct LedgerLine {
    pub entry_type: String,
    pub amount: Amount,
    pub balance_after: Amount,
    pub recorded_at: Instant,
    pub effective_at: Instant,
    pub feature_id: Option<String>,
    pub value: Option<Amount>,
    pub grant_id: Option<i64>,
    pub usage_id: Option<i64>,
    pub recharge_id: Option<i64>,
    pub reservation_id: Option<String>,
    pub idempotency_key: Option<String>,
    pub actor: String,
    pub reason: Option<String>,
    pub dimensions: Option<String>,
    pub metadata: Option<String>,
}

pub struct RechargeLine {
    pub recharge_id: i64,
    pub status: String,
    pub reason: Option<String>,
    pub amount: Option<Amount>,
    pub price: Option<Amount>,
    pub price_currency: Option<String>,
    pub attempts: i64,
    pub payment_reference: Option<String>,
    pub created_at: Instant,
    pub next_attempt_at: Option<Instant>,
}

pub struct Policy {
    /// Of one resource, not of all pools of the customer.
    pub own: bool,
    pub enabled: bool,
    pub threshold: Amount,
    pub target_balance: Option<Amount>,
    pub recharge_amount: Option<Amount>,
    pub price_per_credit: Option<Amount>,
    pub price_currency: Option<String>,
    pub max_spend: Option<Amount>,
    pub spent: Option<Amount>,
    pub max_count: Option<i64>,
    /// In words, as are the next two.
    pub spend_period: String,
    pub cooldown: Option<String>,
    pub grant_expires_after: Option<String>,
    pub immediate: bool,
    pub max_failures: i64,
}

pub struct Subscription {
    pub subscription_id: String,
    pub plan_id: String,
    pub status: &'static str,
    pub starts_at: Instant,
    pub ends_at: Option<Instant>,
    pub cancelled_at: Option<Instant>,
    pub period_start: Option<Instant>,
    pub period_end: Option<Instant>,
    pub quantities: Option<String>,
}

#[derive(Clone)]
pub struct History {
    pub at: Instant,
    pub kind: HistoryKind,
    pub plan_id: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum HistoryKind {
    Opened,
    Started,
    PlanChanged,
    MovedHere,
    Cancelled,
    Ended,
}
