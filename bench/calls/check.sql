SELECT * FROM credit_pools.check_credits(customer_id => :c, feature_id => 'feature-ai-tokens', resource_id => :w, value => 1);
