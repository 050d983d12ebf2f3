SELECT * FROM credit_pools.pools WHERE customer_id = :c AND resource_id = :w AND credit_type_id = 'ai-tokens';
