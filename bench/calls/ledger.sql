SELECT * FROM credit_pools.ledger WHERE customer_id = :c AND resource_id = :w AND credit_type_id = 'ai-tokens' ORDER BY seq DESC LIMIT 20;
