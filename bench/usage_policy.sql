\set c random(1, 100)
\set w random(1, 100)
SELECT * FROM credit_pools.report_usage(customer_id => 'guarded-' || :c::text, resource_id => 'workspace-' || :w::text, feature_id => 'feature-ai-tokens', value => 1);
