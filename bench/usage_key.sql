\set c random(1, 100)
\set w random(1, 100)
\set key random(1, 9223372036854775806)
SELECT * FROM credit_pools.report_usage(customer_id => 'customer-' || :c::text, resource_id => 'workspace-' || :w::text, feature_id => 'feature-ai-tokens', value => 1, idempotency_key => :client_id::text || '-' || :key::text);
