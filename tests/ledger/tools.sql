-- What the tests tamper with, and look with.
\set ON_ERROR_STOP on

-- The canonical form once more, in SQL: a row's hash over the hash before it.
CREATE FUNCTION public.sealed(e credit_pools.ledger_entry, previous bytea) RETURNS bytea LANGUAGE sql STABLE AS $f$
    SELECT sha256(previous || convert_to('[' || string_agg(coalesce(to_json(f.text)::text, 'null'), ',' ORDER BY f.n) || ']', 'UTF8'))
    FROM unnest(ARRAY[e.customer_id, e.pool_id::text, e.seq::text, e.entry_type, e.amount::text, e.balance_after::text, e.grant_id::text,
        e.usage_id::text, e.feature_id, e.value::text, e.reservation_id, e.recharge_id::text, e.idempotency_key, e.actor, e.reason,
        e.dimensions::text, e.metadata::text, ((extract(epoch FROM e.effective_at) - 946684800) * 1000000)::bigint::text,
        ((extract(epoch FROM e.recorded_at) - 946684800) * 1000000)::bigint::text, e.credits::text, e.shortfall::text, e.rate::text,
        e.payload_digest::text]) WITH ORDINALITY f (text, n)
$f$;

-- Whoever knows the form recomputes a pool's chain from a row on, and sets the pool's head.
CREATE FUNCTION public.reseal(pool bigint, first bigint) RETURNS void LANGUAGE plpgsql AS $f$
DECLARE
    row credit_pools.ledger_entry;
    previous bytea := coalesce((SELECT entry_hash FROM credit_pools.ledger_entry WHERE pool_id = pool AND seq = first - 1), '');
BEGIN
    FOR row IN SELECT * FROM credit_pools.ledger_entry WHERE pool_id = pool AND seq >= first ORDER BY seq LOOP
        previous := public.sealed(row, previous);
        UPDATE credit_pools.ledger_entry SET entry_hash = previous WHERE pool_id = pool AND seq = row.seq;
    END LOOP;
    PERFORM public.set_head(pool);
END $f$;

-- A pool's head as its last row has it.
CREATE FUNCTION public.set_head(pool bigint) RETURNS void LANGUAGE sql AS $f$
    UPDATE credit_pools.pool p SET seq = e.seq, last_hash = e.entry_hash, last_recorded_at = e.recorded_at, balance = e.balance_after
    FROM (SELECT * FROM credit_pools.ledger_entry WHERE pool_id = pool ORDER BY seq DESC LIMIT 1) e
    WHERE p.pool_id = pool AND p.customer_id = e.customer_id
$f$;

-- What verify_ledger says, each as problem@seq@pool.
CREATE FUNCTION public.problems(heads jsonb DEFAULT NULL) RETURNS SETOF text LANGUAGE sql STABLE AS $f$
    SELECT DISTINCT concat_ws('@', problem, coalesce(seq::text, '-'), pool_id) FROM credit_pools.verify_ledger(heads => $1) ORDER BY 1
$f$;

-- Other values of a type that a column may have; each is a way to write on a row. NULL is one for a column that may be.
CREATE FUNCTION public.forgeries(type regtype, nullable boolean, value text) RETURNS SETOF text LANGUAGE plpgsql IMMUTABLE AS $f$
BEGIN
    IF type = 'text'::regtype THEN
        RETURN NEXT coalesce(value, '') || 'x';
        IF value IS DISTINCT FROM '' THEN RETURN NEXT ''; END IF;
    ELSIF type = 'bigint'::regtype THEN
        RETURN NEXT coalesce(value::bigint + 1000000, 0)::text;
    ELSIF type = 'numeric'::regtype THEN
        RETURN NEXT coalesce(value::numeric + 0.000000000000000001, 0)::text;
        IF value::numeric <> 0 THEN RETURN NEXT (- value::numeric)::text; END IF;
        IF value IS NOT NULL THEN RETURN NEXT value || CASE WHEN value LIKE '%.%' THEN '0' ELSE '.0' END; END IF;
        RETURN NEXT 'NaN';
        RETURN NEXT '1e60';
    ELSIF type = 'jsonb'::regtype THEN
        RETURN NEXT coalesce(jsonb_build_object('x', value::jsonb)::text, '{}');
        IF value IS DISTINCT FROM 'null' THEN RETURN NEXT 'null'; END IF;
    ELSIF type = 'timestamptz'::regtype THEN
        IF value <> 'infinity' THEN
            RETURN NEXT (value::timestamptz + interval '1 microsecond')::text;
            RETURN NEXT (value::timestamptz - interval '1 day')::text;
            RETURN NEXT 'infinity';
        ELSE
            RETURN NEXT '2030-01-01';
        END IF;
    ELSIF type = 'bytea'::regtype THEN
        RETURN NEXT (set_bit(coalesce(value, '\x00')::bytea, 0, 1 - get_bit(coalesce(value, '\x00')::bytea, 0)))::text;
        IF value IS NOT NULL THEN RETURN NEXT left(value, -2); END IF;
        IF value IS NOT NULL THEN RETURN NEXT '\x'; END IF;
    ELSIF type = 'boolean'::regtype THEN
        RETURN NEXT (NOT value::boolean)::text;
    ELSIF type IN ('bigint[]'::regtype, 'numeric[]'::regtype, 'text[]'::regtype) THEN
        RETURN NEXT CASE WHEN coalesce(value, '{}') = '{}' THEN '{7}' ELSE replace(value, '{', '{7,') END;
        IF value IS DISTINCT FROM '{}' THEN RETURN NEXT '{}'; END IF;
    ELSIF type IN ('smallint'::regtype, 'integer'::regtype) THEN
        RETURN NEXT (value::int + 1)::text;
    ELSE
        RAISE EXCEPTION 'no forgery is known of type %', type;
    END IF;
    IF nullable AND value IS NOT NULL THEN RETURN NEXT NULL; END IF;
END $f$;

CREATE FUNCTION public.columns(of regclass) RETURNS TABLE (name text, type regtype, nullable boolean) LANGUAGE sql STABLE AS $f$
    SELECT attname::text, atttypid::regtype, NOT attnotnull FROM pg_attribute WHERE attrelid = of AND attnum > 0 AND NOT attisdropped ORDER BY attnum
$f$;

-- Every column of every ledger row written on in every way; the row's own figures only, since what else is told does not excuse
-- that this is not. A line for each way that verify_ledger does not find at this row.
CREATE FUNCTION public.forge_rows(INOUT tried int DEFAULT 0, OUT missed text[]) LANGUAGE plpgsql AS $f$
DECLARE
    c record; r record; v text; told text[]; found boolean;
BEGIN
    missed := '{}';
    FOR c IN SELECT * FROM public.columns('credit_pools.ledger_entry') LOOP
        FOR r IN EXECUTE format('SELECT ctid, customer_id, pool_id, seq, %I::text AS value FROM credit_pools.ledger_entry ORDER BY 2, 3, 4', c.name) LOOP
            FOR v IN SELECT * FROM public.forgeries(c.type, c.nullable, r.value) LOOP
                tried := tried + 1;
                BEGIN
                    EXECUTE format('UPDATE credit_pools.ledger_entry SET %I = $1::%s WHERE ctid = $2', c.name, c.type) USING v, r.ctid;
                    SELECT array_agg(p) INTO told FROM public.problems() p;
                    -- A row that is not in its place is missing there.
                    found := CASE WHEN c.name IN ('customer_id', 'pool_id', 'seq') THEN told IS NOT NULL
                        ELSE ARRAY[concat_ws('@', CASE WHEN r.seq > 0 THEN 'hash' ELSE 'unsealed' END, r.seq, r.pool_id)] <@ told END;
                    RAISE SQLSTATE 'ZZ000';
                EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
                    NULL;
                END;
                IF found IS NOT TRUE THEN
                    missed := missed || format('%s of pool %s seq %s: %s for %s, told: %s', c.name, r.pool_id, r.seq, v, r.value, told);
                END IF;
            END LOOP;
        END LOOP;
    END LOOP;
END $f$;

-- The same for the tables of what is now: every row, every column but those named. A status becomes each of the others. What the
-- table itself refuses is no forgery, nor is another way of writing a number. unless: which
-- $value of a $column of row t is not tried.
CREATE FUNCTION public.forge_state(of regclass, pool_of text, but text[], states text[], unless text, INOUT tried int DEFAULT 0, OUT missed text[])
LANGUAGE plpgsql AS $f$
DECLARE
    c record; r record; v text; told text[]; excused boolean;
BEGIN
    missed := '{}';
    FOR c IN SELECT * FROM public.columns(of) WHERE name <> ALL (but) LOOP
        FOR r IN EXECUTE format('SELECT ctid, (%s) AS pool_id, %I::text AS value, to_jsonb(t) AS row FROM %s t', pool_of, c.name, of) LOOP
            FOR v IN SELECT s FROM unnest(states) s WHERE c.name = 'status' AND s <> r.value
                     UNION ALL SELECT f FROM public.forgeries(c.type, c.nullable, r.value) f WHERE c.name <> 'status' LOOP
                CONTINUE WHEN c.type = 'numeric'::regtype AND v::numeric = r.value::numeric;
                EXECUTE format('SELECT %s FROM %s t WHERE ctid = $1', replace(replace(unless, '$column', quote_literal(c.name)), '$value', quote_nullable(v)), of)
                    INTO excused USING r.ctid;
                CONTINUE WHEN excused;
                BEGIN
                    EXECUTE format('UPDATE %s SET %I = $1::%s WHERE ctid = $2', of, c.name, c.type) USING v, r.ctid;
                    SELECT array_agg(p) INTO told FROM public.problems() p
                    WHERE p LIKE '%@' || r.pool_id OR c.name = 'pool_id' AND p = 'orphan@-@' || v;
                    tried := tried + 1;
                    IF told IS NULL THEN
                        missed := missed || format('%s.%s: %s for %s of %s', of, c.name, v, r.value,
                            (SELECT jsonb_object_agg(k, x) FROM jsonb_each(r.row) e (k, x)
                             WHERE k IN ('pool_id', 'grant_id', 'reservation_id', 'usage_id', 'recharge_id', 'status') AND x <> 'null'));
                    END IF;
                    RAISE SQLSTATE 'ZZ000';
                EXCEPTION WHEN SQLSTATE 'ZZ000' OR integrity_constraint_violation THEN
                    NULL;
                END;
            END LOOP;
        END LOOP;
    END LOOP;
END $f$;

CREATE FUNCTION public.some(most int) RETURNS numeric LANGUAGE sql VOLATILE AS 'SELECT round((random() * most)::numeric, 2) + 0.01';

-- A random life: one call of any kind, on a few pools. What is refused is no matter. The instant of the test clock moves with it, unless NULL.
CREATE FUNCTION public.live(seed double precision, steps int, start timestamptz DEFAULT NULL) RETURNS TABLE (calls int, refused int) LANGUAGE plpgsql AS $f$
#variable_conflict use_column
DECLARE
    c text; r text; other text; g bigint; u bigint; h text; dice int; fast interval;
BEGIN
    PERFORM setseed(seed);
    calls := 0;
    refused := 0;
    FOR step IN 1 .. steps LOOP
        IF start IS NOT NULL THEN
            start := start + random() * random() * random() * interval '3 days';
            PERFORM set_config('credit_pools.test_clock', start::text, false);
        END IF;
        -- Without a clock of its own a life is short: what ends by the clock ends in seconds.
        fast := CASE WHEN start IS NULL THEN interval '2 seconds' ELSE interval '3 days' END;
        c := 'customer ' || ceil(random() * 3);
        r := NULLIF('resource ' || floor(random() * 3), 'resource 0');
        other := NULLIF('resource ' || floor(random() * 3), 'resource 0');
        dice := floor(random() * 100);
        SELECT grant_id INTO g FROM credit_pools.pool_grant WHERE customer_id = c ORDER BY random() LIMIT 1;
        SELECT usage_id INTO u FROM credit_pools.ledger_entry WHERE customer_id = c AND credits IS NOT NULL ORDER BY random() LIMIT 1;
        SELECT reservation_id INTO h FROM credit_pools.reservation WHERE customer_id = c ORDER BY status, random() LIMIT 1;
        calls := calls + 1;
        BEGIN
            IF dice < 4 THEN
                PERFORM credit_pools.provision_subscription(customer_id => c, resource_id => r, plan_id => CASE WHEN random() < 0.5 THEN 'p' ELSE 'q' END);
            ELSIF dice < 5 THEN
                PERFORM credit_pools.cancel_subscription(customer_id => c, subscription_id => (SELECT subscription_id FROM credit_pools.subscriptions
                    WHERE customer_id = c AND status = 'active' ORDER BY random() LIMIT 1), credits => CASE WHEN random() < 0.5 THEN 'keep' ELSE 'expire' END);
            ELSIF dice < 6 THEN
                PERFORM credit_pools.transfer_subscription(customer_id => c, subscription_id => (SELECT subscription_id FROM credit_pools.subscriptions
                    WHERE customer_id = c AND status = 'active' ORDER BY random() LIMIT 1), to_resource_id => other,
                    credits => CASE WHEN random() < 0.5 THEN 'keep' ELSE 'move' END);
            ELSIF dice < 12 THEN
                PERFORM credit_pools.grant_credits(customer_id => c, resource_id => r, credit_type_id => 't', amount => public.some(300),
                    priority => (random() * 3)::int, category => (ARRAY['paid', 'promotional', 'recurring'])[ceil(random() * 3)],
                    expires_at => CASE WHEN random() < 0.7 THEN credit_pools.clock() + fast * (0.1 + random()) END,
                    feature_ids => CASE WHEN random() < 0.3 THEN '{f}'::text[] END,
                    payment_state => CASE WHEN random() < 0.2 THEN 'pending' ELSE 'paid' END, reason => repeat('é"', dice));
            ELSIF dice < 16 THEN
                PERFORM credit_pools.grant_credits(customer_id => c, resource_id => r, credit_type_id => 't', amount => public.some(300),
                    effective_at => credit_pools.clock() + fast * (random() - 0.3), expires_at => credit_pools.clock() + fast * (1 + random()));
            ELSIF dice < 18 THEN
                PERFORM credit_pools.confirm_grant_payment(customer_id => c, grant_id => g);
            ELSIF dice < 21 THEN
                PERFORM credit_pools.void_grant(customer_id => c, grant_id => g, amount => CASE WHEN random() < 0.5 THEN public.some(20) END);
            ELSIF dice < 24 THEN
                PERFORM credit_pools.update_grant(customer_id => c, grant_id => g, priority => (random() * 3)::int,
                    expires_at => CASE WHEN random() < 0.5 THEN credit_pools.clock() + fast * (0.1 + random()) END);
            ELSIF dice < 44 THEN
                PERFORM credit_pools.report_usage(customer_id => c, resource_id => r, feature_id => CASE WHEN random() < 0.8 THEN 'f' ELSE 'free' END,
                    value => public.some(60), on_insufficient => CASE WHEN random() < 0.7 THEN 'cap' ELSE 'reject' END,
                    update_behavior => CASE WHEN random() < 0.1 THEN 'set' ELSE 'delta' END,
                    idempotency_key => CASE WHEN random() < 0.5 THEN 'k' || floor(random() * 1000) END,
                    dimensions => jsonb_build_object('b', random(), 'a', random()::numeric));
            ELSIF dice < 50 THEN
                PERFORM credit_pools.report_usage_batch((SELECT jsonb_agg(jsonb_build_object('customer_id', 'customer ' || ceil(random() * 3),
                    'resource_id', NULLIF('resource ' || floor(random() * 3), 'resource 0'), 'feature_id', 'f', 'value', ceil(random() * 9),
                    'dimensions', '{"z": 1.0, "a": [1e3, null, "\u00e9"]}'::jsonb)) FROM generate_series(1, dice)), atomic => false);
            ELSIF dice < 56 THEN
                PERFORM credit_pools.consume_credits(customer_id => c, resource_id => r, credit_type_id => 't', amount => public.some(200),
                    on_insufficient => 'cap', occurred_at => CASE WHEN random() < 0.3 THEN credit_pools.clock() - fast * random() END);
            ELSIF dice < 66 THEN
                PERFORM credit_pools.reserve_credits(customer_id => c, resource_id => r, credit_type_id => 't', amount => public.some(60),
                    reservation_id => 'h' || step, ttl => LEAST(fast * (0.05 + random()), '24 hours'));
            ELSIF dice < 73 THEN
                PERFORM credit_pools.settle_reservation(customer_id => c, reservation_id => h, amount => public.some(70), final => random() < 0.6);
            ELSIF dice < 76 THEN
                PERFORM credit_pools.release_reservation(customer_id => c, reservation_id => h);
            ELSIF dice < 78 THEN
                PERFORM credit_pools.extend_reservation(customer_id => c, reservation_id => h, ttl => LEAST(fast * random(), '24 hours'));
            ELSIF dice < 85 THEN
                PERFORM credit_pools.reverse_usage(customer_id => c, usage_id => u, credits => CASE WHEN random() < 0.7 THEN public.some(10) END);
            ELSIF dice < 89 THEN
                PERFORM credit_pools.transfer_credits(customer_id => c, credit_type_id => 't', amount => public.some(50), from_resource_id => r,
                    to_resource_id => other);
            ELSIF dice < 91 THEN
                PERFORM credit_pools.set_pool(customer_id => c, resource_id => r, credit_type_id => 't', overdraft_limit => (random() * 4)::int * 100,
                    status => CASE WHEN random() < 0.1 THEN 'frozen' ELSE 'active' END);
            ELSIF dice < 94 THEN
                PERFORM credit_pools.set_auto_recharge(customer_id => c, resource_id => r, credit_type_id => 't', threshold => 10,
                    target_balance => 100 + public.some(100), settlement => CASE WHEN random() < 0.5 THEN 'immediate' ELSE 'on_payment' END,
                    grant_expires_after => fast);
            ELSIF dice < 96 THEN
                PERFORM credit_pools.complete_recharge(customer_id => x.customer_id, recharge_id => x.recharge_id, payment_reference => 'r')
                    FROM credit_pools.claim_recharges(worker => 'w', max_count => 3) x;
            ELSIF dice < 97 THEN
                PERFORM credit_pools.fail_recharge(customer_id => x.customer_id, recharge_id => x.recharge_id, reason => 'no')
                    FROM credit_pools.claim_recharges(worker => 'w', max_count => 1) x;
            ELSE
                PERFORM credit_pools.run_maintenance(max_pools => ceil(random() * 5)::int);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            refused := refused + 1;
            -- A statement of this function that is wrong would be refused as well, and for ever.
            IF SQLSTATE !~ '^(PC|22023|40|55P03)' THEN RAISE; END IF;
        END;
    END LOOP;
    RETURN NEXT;
END $f$;

CREATE PROCEDURE public.prepare_life() LANGUAGE plpgsql AS $f$
BEGIN
    PERFORM credit_pools.define_credit_type(credit_type_id => 't', scale => 4);
    PERFORM credit_pools.define_feature(feature_id => 'f'), credit_pools.define_feature(feature_id => 'free');
    PERFORM credit_pools.define_plan(plan_id => p) FROM unnest(ARRAY['p', 'q']) p;
    PERFORM credit_pools.define_plan_credits(plan_id => 'p', credit_type_id => 't', amount => 120, cadence => '1 day', rollover_max => 50, rollover_periods => 2);
    PERFORM credit_pools.define_plan_credits(plan_id => 'q', credit_type_id => 't', amount => 40, cadence => '10 days', rollover_percent => 50,
        rollover_max => 30, overdraft_limit => 25);
    PERFORM credit_pools.define_rate(feature_id => 'f', credit_type_id => 't', credits_per_unit => 0.333, plan_id => p),
            credit_pools.define_rate(feature_id => 'free', credit_type_id => 't', credits_per_unit => 0, plan_id => p) FROM unnest(ARRAY['p', 'q']) p;
    PERFORM credit_pools.open_pool(customer_id => 'customer ' || c, resource_id => r, credit_type_id => 't', overdraft_limit => 50)
        FROM generate_series(1, 3) c, unnest(ARRAY[NULL, 'resource 1', 'resource 2']) r;
END $f$;
