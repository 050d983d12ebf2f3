-- What the three applications of this folder sell, and their own table. Loaded once, by whoever sets the database up.
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'ai-tokens', display_name => 'AI tokens', scale => 18);
SELECT FROM credit_pools.define_feature(feature_id => 'feature-ai-tokens', unit => 'token');
SELECT FROM credit_pools.define_plan(plan_id => 'plan-basic', display_name => 'Basic');
SELECT FROM credit_pools.define_rate(feature_id => 'feature-ai-tokens', credit_type_id => 'ai-tokens', plan_id => 'plan-basic', credits_per_unit => 0.1);

CREATE TABLE answer (answer_id text PRIMARY KEY, tokens bigint NOT NULL);
