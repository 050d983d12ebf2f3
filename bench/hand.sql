-- The hand-written contestant: what somebody who knows PostgreSQL well would write in PL/pgSQL for the core of the same
-- rules. It has burn order, expiry and later validity, a ledger row per grant with the balance before and after, keys,
-- and a recharge trigger. What it does not have: feature-limited grants, holds, overdraft, limits, formulas, other scopes,
-- tenants, rate versions, corrections, alerts, events; the hash chain is an argument.
-- Made for speed: few statements, all with cached plans; what usage changes is in no index (HOT); no CHECK and no
-- foreign key; the grant that can pay it all, as nearly always, is found and charged by one statement.
\set ON_ERROR_STOP on
CREATE TABLE hand_rate (
    plan_id text NOT NULL,
    feature_id text NOT NULL,
    credit_type_id text NOT NULL,
    credits_per_unit numeric NOT NULL,
    PRIMARY KEY (plan_id, feature_id)
);
CREATE TABLE hand_subscription (
    subscription_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id text NOT NULL,
    resource_id text NOT NULL,
    plan_id text NOT NULL,
    status text NOT NULL
);
CREATE UNIQUE INDEX hand_subscription_active ON hand_subscription (customer_id, resource_id) WHERE status = 'active';
CREATE TABLE hand_pool (
    pool_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id text NOT NULL,
    resource_id text NOT NULL,
    credit_type_id text NOT NULL,
    seq bigint NOT NULL,
    balance numeric NOT NULL,
    consumed numeric NOT NULL,
    expired numeric NOT NULL,
    recharge_threshold numeric,
    next_transition_at timestamptz NOT NULL,
    last_hash bytea,
    UNIQUE (customer_id, resource_id, credit_type_id)
) WITH (fillfactor = 60);
CREATE TABLE hand_grant (
    grant_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pool_id bigint NOT NULL,
    status text NOT NULL,
    category smallint NOT NULL, -- 0 promotional, 1 paid
    priority smallint NOT NULL,
    amount numeric NOT NULL,
    consumed numeric NOT NULL DEFAULT 0,
    effective_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX hand_grant_burn_order ON hand_grant (pool_id, priority, expires_at, category, effective_at, created_at, grant_id)
    WHERE status = 'active';
CREATE INDEX hand_grant_open ON hand_grant (pool_id) WHERE status IN ('active', 'scheduled');
CREATE TABLE hand_ledger (
    pool_id bigint NOT NULL,
    seq bigint NOT NULL,
    entry_type text NOT NULL,
    amount numeric NOT NULL,
    balance_before numeric NOT NULL,
    balance_after numeric NOT NULL,
    grant_id bigint,
    feature_id text,
    value numeric,
    credits numeric, -- of the whole usage, on its first row, which has the key, too
    customer_id text NOT NULL,
    idempotency_key text,
    recorded_at timestamptz NOT NULL,
    entry_hash bytea,
    PRIMARY KEY (pool_id, seq)
);
CREATE UNIQUE INDEX hand_ledger_key ON hand_ledger (customer_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE TABLE hand_recharge (
    recharge_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pool_id bigint NOT NULL,
    status text NOT NULL,
    balance numeric NOT NULL
);
CREATE UNIQUE INDEX hand_recharge_in_flight ON hand_recharge (pool_id) WHERE status = 'pending';

CREATE FUNCTION hand_evaluate_recharge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO hand_recharge (pool_id, status, balance) VALUES (NEW.pool_id, 'pending', NEW.balance) ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER hand_pool_recharge AFTER UPDATE ON hand_pool
    FOR EACH ROW WHEN (NEW.balance < NEW.recharge_threshold) EXECUTE FUNCTION hand_evaluate_recharge();

-- Books what is due in a locked pool: grants that have ended, and those that have begun.
CREATE PROCEDURE hand_transitions(_pool bigint, _now timestamptz) LANGUAGE plpgsql AS $$
DECLARE
    g record;
    _seq bigint;
    _balance numeric;
    _customer text;
    _expired numeric := 0;
BEGIN
    SELECT p.seq, p.balance, p.customer_id INTO _seq, _balance, _customer FROM hand_pool p WHERE p.pool_id = _pool;
    FOR g IN
        SELECT h.grant_id, h.status, h.amount - h.consumed AS rest, ends, CASE WHEN ends THEN h.expires_at ELSE h.effective_at END AS at
        FROM hand_grant h, LATERAL (VALUES (false), (true)) e (ends)
        WHERE h.pool_id = _pool AND h.status IN ('active', 'scheduled')
          AND CASE WHEN ends THEN h.expires_at <= _now ELSE h.status = 'scheduled' AND h.effective_at <= _now END
        ORDER BY at, ends DESC, h.grant_id
    LOOP
        UPDATE hand_grant SET status = CASE WHEN g.ends THEN 'expired' ELSE 'active' END WHERE grant_id = g.grant_id;
        _seq := _seq + 1;
        INSERT INTO hand_ledger (pool_id, seq, entry_type, amount, balance_before, balance_after, grant_id, customer_id, recorded_at)
        VALUES (_pool, _seq, CASE WHEN g.ends THEN 'expire' ELSE 'grant' END, CASE WHEN g.ends THEN -g.rest ELSE g.rest END,
                _balance, CASE WHEN g.ends THEN _balance - g.rest ELSE _balance + g.rest END, g.grant_id, _customer, _now);
        _balance := CASE WHEN g.ends THEN _balance - g.rest ELSE _balance + g.rest END;
        _expired := _expired + CASE WHEN g.ends THEN g.rest ELSE 0 END;
    END LOOP;
    UPDATE hand_pool SET seq = _seq, balance = _balance, expired = expired + _expired,
        next_transition_at = (SELECT COALESCE(min(CASE WHEN h.status = 'scheduled' THEN h.effective_at ELSE h.expires_at END), 'infinity')
                              FROM hand_grant h WHERE h.pool_id = _pool AND h.status IN ('active', 'scheduled'))
    WHERE pool_id = _pool;
END
$$;

CREATE FUNCTION hand_report_usage(_customer text, _resource text, _feature text, _value numeric, _key text DEFAULT NULL,
    _hash boolean DEFAULT false, OUT pool_id bigint, OUT seq bigint, OUT credits numeric, OUT balance numeric, OUT is_duplicate boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    _pool bigint;
    _seq bigint;
    _before numeric;
    _after numeric;
    _due timestamptz;
    _last bytea;
    _rate numeric;
    _credits numeric;
    _left numeric;
    _part numeric;
    _now timestamptz;
    _grant bigint;
    _first bigint;
    _feature_then text;
    _value_then numeric;
    g record;
BEGIN
    SELECT p.pool_id, p.seq, p.balance, p.next_transition_at, p.last_hash, r.credits_per_unit
    INTO _pool, _seq, _before, _due, _last, _rate
    FROM hand_subscription s
    JOIN hand_rate r ON r.plan_id = s.plan_id AND r.feature_id = _feature
    JOIN hand_pool p ON p.customer_id = s.customer_id AND p.resource_id = s.resource_id AND p.credit_type_id = r.credit_type_id
    WHERE s.customer_id = _customer AND s.resource_id = _resource AND s.status = 'active'
    FOR NO KEY UPDATE OF p;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no subscription, rate or pool for resource % and feature %', _resource, _feature;
    END IF;

    -- The statement begins after the lock was got, so it sees what whoever had the lock before has written.
    IF _key IS NOT NULL THEN
        SELECT l.pool_id, l.seq, l.credits, l.balance_before - l.credits, l.feature_id, l.value
        INTO pool_id, seq, credits, balance, _feature_then, _value_then
        FROM hand_ledger l WHERE l.customer_id = _customer AND l.idempotency_key = _key;
        IF FOUND THEN
            IF (pool_id, _feature_then, _value_then) IS DISTINCT FROM (_pool, _feature, _value) THEN
                RAISE EXCEPTION 'key % was used for another usage', _key;
            END IF;
            is_duplicate := true;
            RETURN;
        END IF;
    END IF;

    _now := clock_timestamp();
    IF _due <= _now THEN
        CALL hand_transitions(_pool, _now);
        SELECT p.seq, p.balance INTO _seq, _before FROM hand_pool p WHERE p.pool_id = _pool;
    END IF;

    _credits := trim_scale(round(_value * _rate, 6));
    _after := _before - _credits;
    IF _after < 0 THEN
        RAISE EXCEPTION 'insufficient credits: % required, % available', _credits, _before USING ERRCODE = 'PC001';
    END IF;

    UPDATE hand_grant h SET consumed = h.consumed + _credits
    WHERE h.grant_id = (SELECT o.grant_id FROM hand_grant o WHERE o.pool_id = _pool AND o.status = 'active'
                        ORDER BY o.priority, o.expires_at, o.category, o.effective_at, o.created_at, o.grant_id LIMIT 1)
      AND h.amount - h.consumed > _credits
    RETURNING h.grant_id INTO _grant;
    _seq := _seq + 1; -- leaves FOUND as it is
    _first := _seq;
    IF FOUND THEN
        IF _hash THEN
            _last := sha256(_last || convert_to(concat_ws('|', _customer, _pool, _seq, 'consume', -_credits, _before, _after, _grant,
                                                          _feature, _value, _key, _now), 'UTF8'));
        END IF;
        INSERT INTO hand_ledger (pool_id, seq, entry_type, amount, balance_before, balance_after, grant_id, feature_id, value,
                                 credits, customer_id, idempotency_key, recorded_at, entry_hash)
        VALUES (_pool, _seq, 'consume', -_credits, _before, _after, _grant, _feature, _value, _credits, _customer, _key, _now,
                CASE WHEN _hash THEN _last END);
    ELSE
        _left := _credits;
        FOR g IN
            SELECT o.grant_id, o.amount - o.consumed AS rest FROM hand_grant o WHERE o.pool_id = _pool AND o.status = 'active'
            ORDER BY o.priority, o.expires_at, o.category, o.effective_at, o.created_at, o.grant_id
        LOOP
            _part := LEAST(g.rest, _left);
            _left := _left - _part;
            UPDATE hand_grant h SET consumed = h.consumed + _part, status = CASE WHEN g.rest = _part THEN 'depleted' ELSE h.status END
            WHERE h.grant_id = g.grant_id;
            IF _hash THEN
                _last := sha256(_last || convert_to(concat_ws('|', _customer, _pool, _seq, 'consume', -_part, _before, _before - _part,
                                                              g.grant_id, _feature, _value, _key, _now), 'UTF8'));
            END IF;
            INSERT INTO hand_ledger (pool_id, seq, entry_type, amount, balance_before, balance_after, grant_id, feature_id, value,
                                     credits, customer_id, idempotency_key, recorded_at, entry_hash)
            VALUES (_pool, _seq, 'consume', -_part, _before, _before - _part, g.grant_id, _feature, CASE WHEN _seq = _first THEN _value END,
                    CASE WHEN _seq = _first THEN _credits END, _customer, CASE WHEN _seq = _first THEN _key END, _now,
                    CASE WHEN _hash THEN _last END);
            EXIT WHEN _left = 0;
            _before := _before - _part;
            _seq := _seq + 1;
        END LOOP;
    END IF;
    UPDATE hand_pool p SET seq = _seq, balance = _after, consumed = p.consumed + _credits, last_hash = _last WHERE p.pool_id = _pool;

    pool_id := _pool;
    seq := _first;
    credits := _credits;
    balance := _after;
    is_duplicate := false;
END
$$;

INSERT INTO hand_rate VALUES ('plan-basic', 'feature-ai-tokens', 'ai-tokens', 1);
-- Pools of the customers FIRST and on, 100 each.
CREATE PROCEDURE fill_hand(first bigint, customers bigint, grants bigint) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO hand_subscription (customer_id, resource_id, plan_id, status)
    SELECT (first + c)::text, w::text, 'plan-basic', 'active'
    FROM generate_series(0, customers - 1) c, generate_series(2000000001, 2000000100) w;
    INSERT INTO hand_pool (customer_id, resource_id, credit_type_id, seq, balance, consumed, expired, next_transition_at, last_hash)
    SELECT (first + c)::text, w::text, 'ai-tokens', 1, 1000000000 * grants, 0, 0, 'infinity', sha256('')
    FROM generate_series(0, customers - 1) c, generate_series(2000000001, 2000000100) w;
    INSERT INTO hand_grant (pool_id, status, category, priority, amount, effective_at, expires_at, created_at)
    SELECT p.pool_id, 'active', 1, 50, 1000000000, now(), 'infinity', now() + g * interval '1 microsecond'
    FROM hand_pool p, generate_series(1, grants) g
    WHERE p.customer_id BETWEEN first::text AND (first + customers - 1)::text;
    INSERT INTO hand_ledger (pool_id, seq, entry_type, amount, balance_before, balance_after, customer_id, recorded_at)
    SELECT p.pool_id, 1, 'grant', p.balance, 0, p.balance, p.customer_id, now()
    FROM hand_pool p WHERE p.customer_id BETWEEN first::text AND (first + customers - 1)::text;
END
$$;
