-- The database of which those of the parts are copies: the catalogue, the template customers (100 pools each, really
-- provisioned), what copies them, and the floor. hand.sql adds the hand-written contestant.
\set ON_ERROR_STOP on
CREATE EXTENSION credit_pools;
SELECT FROM credit_pools.define_credit_type(credit_type_id => 'ai-tokens', display_name => 'AI tokens');
SELECT FROM credit_pools.define_feature(feature_id => 'feature-ai-tokens', display_name => 'AI tokens');
SELECT FROM credit_pools.define_plan(plan_id => 'plan-basic', display_name => 'Basic');
SELECT FROM credit_pools.define_rate(plan_id => 'plan-basic', feature_id => 'feature-ai-tokens',
                                     credit_type_id => 'ai-tokens', credits_per_unit => 1);

-- Ids are numbers of ten digits, as text: pgbench then sends them as parameters as they are, and no contestant has to
-- put strings together. The resources are 2000000001 to 2000000100, each with more credits than any run uses up.
CREATE PROCEDURE make_template(customer text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM generate_series(2000000001, 2000000100) w,
        LATERAL credit_pools.provision_subscription(customer_id => customer, plan_id => 'plan-basic', resource_id => w::text) s;
    PERFORM FROM generate_series(2000000001, 2000000100) w,
        LATERAL credit_pools.grant_credits(customer_id => customer, resource_id => w::text, credit_type_id => 'ai-tokens',
                                           amount => 1000000000) g;
END
$$;

-- The indexes of a table, dropped: what makes them again. To load many rows into a table without them is faster.
CREATE FUNCTION drop_indexes(relation regclass, OUT again text[]) LANGUAGE plpgsql AS $$
DECLARE
    i record;
BEGIN
    again := '{}';
    FOR i IN
        SELECT x.indexrelid::regclass AS name, pg_get_indexdef(x.indexrelid) AS definition, k.conname,
               pg_get_constraintdef(k.oid) AS constraint_definition
        FROM pg_index x LEFT JOIN pg_constraint k ON k.conindid = x.indexrelid AND k.contype IN ('p', 'u')
        WHERE x.indrelid = relation
    LOOP
        IF i.conname IS NULL THEN
            EXECUTE format('DROP INDEX %s', i.name);
            again := again || i.definition;
        ELSE
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', relation, i.conname);
            again := again || format('ALTER TABLE %s ADD CONSTRAINT %I %s', relation, i.conname, i.constraint_definition);
        END IF;
    END LOOP;
END
$$;

CREATE PROCEDURE execute_all(statements text[]) LANGUAGE plpgsql AS $$
DECLARE
    statement text;
BEGIN
    FOREACH statement IN ARRAY statements LOOP
        EXECUTE statement;
    END LOOP;
END
$$;

CREATE PROCEDURE set_sequences() LANGUAGE sql AS $$
    SELECT setval('credit_pools.pool_id_seq', (SELECT max(pool_id) FROM credit_pools.pool)),
           setval('credit_pools.grant_id_seq', (SELECT max(grant_id) FROM credit_pools.pool_grant)),
           setval('credit_pools.usage_id_seq', (SELECT COALESCE(max(usage_id), 1) FROM credit_pools.ledger_entry));
$$;

-- COPIES more customers, number template + 1 and on, each with a copy of all that the template has: rows, sums, seqs and
-- keys fit together; the hashes alone are the template's. Written row by row of the template, so that the ledger lies
-- in the order of time, not of the customers.
CREATE PROCEDURE copy_customer(template bigint, copies bigint) LANGUAGE plpgsql AS $$
DECLARE
    t record;
    again text[];
    has_rows boolean;
BEGIN
    FOR t IN
        SELECT c.oid::regclass AS name, bool_or(a.attname = 'seq') AS has_seq,
               string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns,
               string_agg(CASE WHEN a.attname = 'customer_id' THEN format('(%s + c)::text', template)
                               WHEN a.attname LIKE '%\_id' AND a.atttypid = 'bigint'::regtype
                                   THEN format('1000000000 + t.%I * %s + c', a.attname, copies + 1)
                               ELSE 't.' || quote_ident(a.attname) END, ', ' ORDER BY a.attnum) AS copied
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
        WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND c.relname NOT IN ('event', 'role_access')
        GROUP BY c.oid
        HAVING bool_or(a.attname = 'customer_id')
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE customer_id = %L)', t.name, template) INTO has_rows;
        CONTINUE WHEN NOT has_rows;
        again := CASE WHEN copies > 1000 THEN drop_indexes(t.name) ELSE '{}' END;
        EXECUTE format('INSERT INTO %1$s (%2$s) OVERRIDING SYSTEM VALUE SELECT %3$s
                        FROM (SELECT * FROM %1$s WHERE customer_id = %4$L ORDER BY %5$s OFFSET 0) t,
                             LATERAL generate_series(1, %6$s + 0 * length(t.customer_id)) c',
                       t.name, t.columns, t.copied, template, CASE WHEN t.has_seq THEN 'seq' ELSE 'ctid' END, copies);
        CALL execute_all(again);
    END LOOP;
    CALL set_sequences();
END
$$;

-- MORE grants in each pool of a customer who has one grant in each: copies that end one after the other, before the one.
CREATE PROCEDURE more_grants(customer text, more bigint) LANGUAGE plpgsql AS $$
DECLARE
    columns text;
    copied text;
BEGIN
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum),
           string_agg(CASE a.attname WHEN 'grant_id' THEN format('1000000000 + t.grant_id * %s + n', more)
                                     WHEN 'expires_at' THEN $s$'2090-01-01Z'::timestamptz + n * interval '1 day'$s$
                                     ELSE 't.' || quote_ident(a.attname) END, ', ' ORDER BY a.attnum)
    INTO columns, copied
    FROM pg_attribute a
    WHERE a.attrelid = 'credit_pools.pool_grant'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '';
    EXECUTE format('INSERT INTO credit_pools.pool_grant (%s) SELECT %s
                    FROM credit_pools.pool_grant t, generate_series(1, %s) n WHERE t.customer_id = %L', columns, copied, more, customer);
    UPDATE credit_pools.pool SET balance = balance * (more + 1), granted = granted * (more + 1), next_transition_at = '2090-01-02Z'
    WHERE customer_id = customer;
    CALL set_sequences();
END
$$;

-- More usages of the only pool of a customer: EVENTS[n] spread evenly from TIMES[n] to TIMES[n + 1], copies of the last one
-- that it really had, with two features and five regions in turn.
CREATE PROCEDURE more_usage(customer text, events bigint[], times timestamptz[]) LANGUAGE plpgsql AS $$
DECLARE
    again text[];
    columns text;
    copied text;
    done bigint := 0;
BEGIN
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum),
           string_agg(CASE WHEN a.attname IN ('seq', 'usage_id') THEN format('t.%I + n', a.attname)
                           WHEN a.attname = 'balance_after' THEN 't.balance_after + n * t.amount'
                           WHEN a.attname IN ('effective_at', 'recorded_at') THEN '$4 + (n - $2) * (($5 - $4) / $3)'
                           WHEN a.attname = 'feature_id' THEN $s$CASE n % 3 WHEN 0 THEN 'feature-images' ELSE t.feature_id END$s$
                           WHEN a.attname = 'dimensions' THEN $s$('{"region": "region-' || n % 5 || '"}')::jsonb$s$
                           WHEN a.attname = 'idempotency_key' THEN $s$(1000000000000000000 + n * 7919)::text$s$
                           ELSE 't.' || quote_ident(a.attname) END, ', ' ORDER BY a.attnum)
    INTO columns, copied
    FROM pg_attribute a
    WHERE a.attrelid = 'credit_pools.ledger_entry'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '';
    again := drop_indexes('credit_pools.ledger_entry');
    CREATE TEMP TABLE last_usage AS SELECT * FROM credit_pools.ledger_entry WHERE customer_id = customer ORDER BY seq DESC LIMIT 1;
    FOR i IN 1..cardinality(events) LOOP
        EXECUTE format('INSERT INTO credit_pools.ledger_entry (%s) SELECT %s FROM last_usage t, generate_series($1 + $2, $2 + $3) n', columns, copied)
        USING 1, done, events[i], times[i], times[i + 1];
        done := done + events[i];
    END LOOP;
    CALL execute_all(again);
    UPDATE credit_pools.pool SET seq = seq + done, balance = balance - done, consumed = consumed + done, last_recorded_at = times[cardinality(times)]
    WHERE customer_id = customer;
    UPDATE credit_pools.pool_grant SET consumed = consumed + done WHERE customer_id = customer;
    CALL set_sequences();
END
$$;

CALL make_template('1000000001');

-- The floor: what any wallet has to write, without a rule in it.
CREATE TABLE floor_pool (
    pool_id bigint PRIMARY KEY,
    seq bigint NOT NULL,
    balance numeric NOT NULL
) WITH (fillfactor = 60);
CREATE TABLE floor_ledger (
    entry_id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    pool_id bigint NOT NULL,
    seq bigint NOT NULL,
    amount numeric NOT NULL,
    balance_after numeric NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (pool_id, seq)
);
CREATE PROCEDURE fill_floor(pools bigint, rows_each bigint) LANGUAGE sql AS $$
    ALTER TABLE floor_ledger DROP CONSTRAINT floor_ledger_pkey, DROP CONSTRAINT floor_ledger_entry_id_key;
    INSERT INTO floor_pool SELECT n, rows_each, 1000000000 FROM generate_series(1, pools) n;
    INSERT INTO floor_ledger (pool_id, seq, amount, balance_after, recorded_at)
    SELECT n, s, -1, 1000000000, now() FROM generate_series(1, rows_each) s, LATERAL generate_series(1, pools + 0 * s) n;
    ALTER TABLE floor_ledger ADD PRIMARY KEY (pool_id, seq), ADD UNIQUE (entry_id);
$$;

-- TIMES usages of each pool of the customer.
CREATE PROCEDURE use_template(customer text, times bigint) LANGUAGE sql AS $$
    SELECT FROM generate_series(1, times) n, generate_series(2000000001, 2000000100) w,
        LATERAL credit_pools.report_usage(customer_id => customer, resource_id => w::text, feature_id => 'feature-ai-tokens', value => 1,
            idempotency_key => (1000000000000000000 + n + (random() * 8e18)::bigint)::text) u;
$$;
