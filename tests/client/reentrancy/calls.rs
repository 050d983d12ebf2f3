/// A call that changes something, and the tables in which it inserts or updates rows (in the world of `world`).
pub struct Call {
    pub call: &'static str,
    pub writes: &'static [&'static str],
}

/// The first call of that function.
pub fn fitting(function: &str) -> &'static Call {
    let named = |call: &&Call| call.call.split('(').next() == Some(function);
    CALLS.iter().find(named).unwrap_or_else(|| panic!("no call of {function}"))
}

/// Every kind of call that writes under the lock of a pool, and some ways through it.
pub const CALLS: &[Call] = &[
    Call {
        call: "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 10)",
        writes: &["ledger_entry", "pool", "pool_grant"],
    },
    Call {
        call: "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 40, idempotency_key => 'k40')",
        writes: &["ledger_entry", "pool", "pool_grant"],
    },
    Call {
        call: "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-free', value => 1, idempotency_key => 'free')",
        writes: &["ledger_entry"],
    },
    Call {
        call: "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1, update_behavior => 'set')",
        writes: &["ledger_entry", "pool", "pool_grant", "usage_total"],
    },
    Call {
        call: "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 10)",
        writes: &["ledger_entry", "pool", "pool_grant"],
    },
    Call {
        call: "consume_credits(customer_id => 'c2', credit_type_id => 'ai-tokens', amount => 10, idempotency_key => 'plain')",
        writes: &["ledger_entry", "pool", "pool_grant"],
    },
    Call {
        call: r#"report_usage_batch(events => '[{"customer_id": "c1", "resource_id": "ws-a", "feature_id": "feature-ai-tokens", "value": 2}, {"customer_id": "c1", "resource_id": "ws-a", "feature_id": "feature-search", "value": 25, "idempotency_key": "b"}]')"#,
        writes: &["ledger_entry", "pool", "pool_grant"],
    },
    Call {
        call: r#"report_usage_batch(events => '[{"customer_id": "c1", "resource_id": "ws-a", "feature_id": "feature-ai-tokens", "value": 2}, {"customer_id": "c1", "resource_id": "ws-a", "feature_id": "nope", "value": 25}]', atomic => false)"#,
        writes: &["ledger_entry", "pool", "pool_grant"],
    },
    Call {
        call: "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 100, idempotency_key => 'g')",
        writes: &["event", "idempotency_key", "ledger_entry", "pool", "pool_grant"],
    },
    Call {
        call: "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'images', amount => 1)",
        writes: &["event", "ledger_entry", "pool", "pool_grant"],
    },
    Call {
        call: "void_grant(customer_id => 'c1', grant_id => (SELECT min(grant_id) FROM credit_pools.grants WHERE resource_id = 'ws-a' AND amount = 995))",
        writes: &["event", "ledger_entry", "pool", "pool_grant"],
    },
    Call {
        call: "update_grant(customer_id => 'c1', grant_id => (SELECT min(grant_id) FROM credit_pools.grants WHERE resource_id = 'ws-a' AND amount = 995), priority => 30)",
        writes: &["ledger_entry", "pool", "pool_grant"],
    },
    Call {
        call: "reverse_usage(customer_id => 'c1', usage_id => (SELECT min(usage_id) FROM credit_pools.usage_events WHERE resource_id = 'ws-b'))",
        writes: &["ledger_entry", "pool", "pool_grant", "usage_reversal"],
    },
    Call {
        call: "transfer_credits(customer_id => 'c1', credit_type_id => 'ai-tokens', amount => 25, from_resource_id => 'ws-a', to_resource_id => 'ws-b')",
        writes: &["event", "ledger_entry", "pool", "pool_grant"],
    },
    Call {
        call: "reserve_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 7, reservation_id => 'r2')",
        writes: &["ledger_entry", "pool", "pool_grant", "reservation"],
    },
    Call {
        call: "settle_reservation(customer_id => 'c1', reservation_id => 'r1', amount => 20)",
        writes: &["event", "ledger_entry", "pool", "pool_grant", "reservation"],
    },
    Call {
        call: "settle_reservation(customer_id => 'c1', reservation_id => 'r1', amount => 2, final => false)",
        writes: &["ledger_entry", "pool", "pool_grant", "reservation"],
    },
    Call {
        call: "release_reservation(customer_id => 'c1', reservation_id => 'r1')",
        writes: &["ledger_entry", "pool", "pool_grant", "reservation"],
    },
    Call {
        call: "extend_reservation(customer_id => 'c1', reservation_id => 'r1', ttl => '2 hours')",
        writes: &["ledger_entry", "pool", "reservation"],
    },
    Call {
        call: "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 2000, target_balance => 3000, settlement => 'immediate')",
        writes: &["customer", "event", "ledger_entry", "pool", "pool_grant", "recharge", "recharge_policy"],
    },
    Call {
        call: "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 2000, target_balance => 3000, price_per_credit => 0.01, price_currency => 'EUR', max_spend => 1000)",
        writes: &["customer", "event", "pool", "recharge", "recharge_policy", "recharge_spend"],
    },
    Call {
        call: "set_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', overdraft_limit => 50)",
        writes: &["pool"],
    },
    Call {
        call: "set_limit(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 100, per => '1 day')",
        writes: &["pool", "spending_limit"],
    },
    Call {
        call: "set_balance_alerts(customer_id => 'c1', credit_type_id => 'ai-tokens', thresholds => '{10, 1500}')",
        writes: &["balance_alert", "customer", "pool"],
    },
    Call {
        call: "open_pool(customer_id => 'c3', resource_id => 'ws-n', credit_type_id => 'ai-tokens')",
        writes: &["customer", "event", "ledger_entry", "pool", "resource"],
    },
    Call {
        call: "provision_subscription(customer_id => 'c1', plan_id => 'plan-pro', resource_id => 'ws-a')",
        writes: &["event", "pool", "schedule", "subscription", "subscription_version"],
    },
    Call {
        call: "provision_subscription(customer_id => 'c9', plan_id => 'plan-basic', resource_id => 'ws-a', idempotency_key => 'p9')",
        writes: &[
            "customer",
            "event",
            "idempotency_key",
            "ledger_entry",
            "pool",
            "pool_grant",
            "resource",
            "schedule",
            "subscription",
            "subscription_version",
        ],
    },
    Call {
        call: "cancel_subscription(customer_id => 'c1', subscription_id => 's1', credits => 'expire')",
        writes: &["event", "ledger_entry", "pool", "pool_grant", "subscription", "subscription_version"],
    },
    Call {
        call: "transfer_subscription(customer_id => 'c1', subscription_id => 's1', to_resource_id => 'ws-b')",
        writes: &["event", "ledger_entry", "pool", "pool_grant", "schedule", "subscription", "subscription_version"],
    },
];
