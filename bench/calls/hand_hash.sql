SELECT * FROM hand_report_usage(:c, :w, 'feature-ai-tokens', 1, :key, true);
