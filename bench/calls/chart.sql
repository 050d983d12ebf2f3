SELECT * FROM credit_pools.usage_chart(customer_id => 'chart', resource_id => 'chart', credit_type_id => 'ai-tokens', from_time => '2025-03-01Z', to_time => '2025-04-01Z', bucket => '1 day');
