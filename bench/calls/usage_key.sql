SELECT * FROM credit_pools.report_usage(customer_id => :c, resource_id => :w, feature_id => 'feature-ai-tokens', value => 1, idempotency_key => :key);
