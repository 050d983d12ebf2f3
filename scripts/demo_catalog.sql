SELECT * FROM credit_pools.define_credit_type(credit_type_id => 'ai-tokens', display_name => 'AI tokens', scale => 2);
SELECT * FROM credit_pools.define_feature(feature_id => 'feature-ai-tokens', display_name => 'AI answers', unit => 'token');
SELECT * FROM credit_pools.define_plan(plan_id => 'plan-basic', display_name => 'Basic');
SELECT * FROM credit_pools.define_rate(plan_id => 'plan-basic', feature_id => 'feature-ai-tokens',
                                       credit_type_id => 'ai-tokens', credits_per_unit => 1);
