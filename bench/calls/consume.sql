SELECT * FROM credit_pools.consume_credits(customer_id => :c, credit_type_id => 'ai-tokens', amount => 1, resource_id => :w);
