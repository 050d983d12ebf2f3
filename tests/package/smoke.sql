-- What the README begins with, in a database of the package's server.
\set ON_ERROR_STOP on
\pset tuples_only on
\pset format unaligned
CREATE EXTENSION credit_pools;
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'ai-tokens', display_name => 'AI tokens', scale => 2);
SELECT FROM credit_pools.define_feature(feature_id => 'feature-ai-tokens', unit => 'token');
SELECT FROM credit_pools.define_plan(plan_id => 'plan-basic', display_name => 'Basic');
SELECT FROM credit_pools.define_rate(feature_id => 'feature-ai-tokens', credit_type_id => 'ai-tokens', credits_per_unit => 1, plan_id => 'plan-basic');
SELECT FROM credit_pools.provision_subscription(customer_id => 'customer-demo-01', plan_id => 'plan-basic', resource_id => 'workspace-example-com');
SELECT FROM credit_pools.grant_credits(customer_id => 'customer-demo-01', resource_id => 'workspace-example-com', credit_type_id => 'ai-tokens', amount => 5000);
SELECT FROM credit_pools.report_usage(customer_id => 'customer-demo-01', resource_id => 'workspace-example-com', feature_id => 'feature-ai-tokens', value => 150);
SELECT 'version ' || extversion FROM pg_extension WHERE extname = 'credit_pools';
SELECT 'pool ' || resource_id, balance, granted, consumed FROM credit_pools.pools ORDER BY resource_id;
SELECT 'problems ' || count(*) FROM credit_pools.verify_ledger();
DROP EXTENSION credit_pools CASCADE;
-- The schema stays, empty: PostgreSQL makes it for an extension, but not a part of it.
SELECT 'objects ' || (SELECT count(*) FROM pg_class WHERE relnamespace = s.oid) + (SELECT count(*) FROM pg_proc WHERE pronamespace = s.oid)
	+ (SELECT count(*) FROM pg_type WHERE typnamespace = s.oid) FROM pg_namespace s WHERE nspname = 'credit_pools';
