\set ECHO none
-- Helpers shared by the regress cases. A case begins with
--
--   \getenv abs_srcdir PG_ABS_SRCDIR
--   \set helpers :abs_srcdir '/include/helpers.sql'
--   \i :helpers
--
-- They print no id that a sequence made and no instant of the wall clock, so that the expected files say the contract and nothing else.
--
--   expect_error(sql)     runs a statement that must fail: SQLSTATE, message, the keys of DETAIL, HINT, and whether any row of the schema changed.
--                         A statement that does not fail is undone and shown as 00000. Ids that a sequence made are shown as #.
--   error_figures(sql)    the same statement's SQLSTATE and DETAIL without the ids that a sequence made.
--   world()               a digest of every row of every table of credit_pools: equal digests = nothing changed.
--   pools_of(customer)    the view pools, one line per pool.
--   grants_of(customer, resource)     the view grants; a grant is called by its reason, or by its source where it has none.
--   ledger_of(customer, resource)     the view ledger, in order of seq.
--   recharges_of(customer)            the view recharges, in order of their making.
--   usage_of(customer)                the view usage_events, in order of their making.
--   periods_of(customer, resource)    the view grants in order of time: what counts from when to when, whether the clock's work has been booked or not.
--   history_of(customer, resource)    the view ledger, in order of seq; a grant is called by its source and the instant from which it counts.
--   grant_id(customer, reason), recharge_id(customer, resource)   the id of a grant, of a pool's latest recharge that is no skip.
--   refused(sql)          a statement that must fail: SQLSTATE, the figures of DETAIL that the contract fixes for it (without ids that a sequence made), and
--                         whether any row changed. What else DETAIL and the message say is not looked at.
--   holds_of(customer)                the view reservations, in order of resource and id.
--   held_of(customer, resource)       the view grants, with what is held.
--   rows_of(customer, resource, after_seq)   the view ledger, in order of seq, with the reservation (but for what a hold's end brings about)
--                                     and the usage; usages are called u1, u2, … in the order of their making.
--   usage_id(customer, n), usage_no(customer, usage_id)   the customer's nth usage, and which one it is.
--   limits_of(customer)               the view limits.
--   ledger_problems()     a row per broken promise of the views; none when all is well. Every case ends with it.
--
-- A pool is called by its resource; the customer's global pool is '(global)'.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';

CREATE FUNCTION public.world() RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
    t regclass;
    one text;
    digest text := '';
BEGIN
    FOR t IN SELECT c.oid::regclass FROM pg_class c
              WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind IN ('r', 'p')
              ORDER BY c.relname COLLATE "C"
    LOOP
        -- A pool that is written as it was gets another grants_revision, which says nothing of its grants.
        EXECUTE format('SELECT md5(coalesce(string_agg(x.text, E''\n'' ORDER BY x.text COLLATE "C"), ''''))
                        FROM (SELECT (to_jsonb(r) - ''grants_revision'')::text FROM %s r) x (text)', t) INTO one;
        digest := md5(digest || t::text || one);
    END LOOP;
    RETURN digest;
END $f$;

CREATE FUNCTION public.detail_keys(detail text) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $f$
BEGIN
    IF coalesce(detail, '') = '' THEN
        RETURN '';
    END IF;
    RETURN (SELECT string_agg(k, ', ' ORDER BY k COLLATE "C") FROM jsonb_object_keys(detail::jsonb) k);
EXCEPTION WHEN invalid_text_representation OR invalid_parameter_value THEN
    RETURN 'NOT A JSON OBJECT: ' || detail;
END $f$;

CREATE FUNCTION public.expect_error(statement text)
    RETURNS TABLE (sqlstate text, message text, detail_keys text, hint text, world text)
LANGUAGE plpgsql AS $f$
#variable_conflict use_column
DECLARE
    before text := public.world();
    v_state text; v_message text; v_detail text; v_hint text;
BEGIN
    BEGIN
        EXECUTE statement;
        RAISE EXCEPTION USING ERRCODE = 'ZZ000', MESSAGE = 'no error';
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS v_state = RETURNED_SQLSTATE, v_message = MESSAGE_TEXT,
                                v_detail = PG_EXCEPTION_DETAIL, v_hint = PG_EXCEPTION_HINT;
    END;
    RETURN QUERY SELECT CASE v_state WHEN 'ZZ000' THEN '00000' ELSE v_state END,
                        regexp_replace(v_message, '\m(grant|recharge|pool|usage) \d+', '\1 #', 'g'),
                        public.detail_keys(v_detail), v_hint,
                        CASE WHEN before = public.world() THEN 'unchanged' ELSE 'CHANGED' END;
END $f$;

CREATE FUNCTION public.error_figures(statement text) RETURNS TABLE (sqlstate text, figures jsonb)
LANGUAGE plpgsql AS $f$
#variable_conflict use_column
DECLARE
    v_state text; v_detail text;
BEGIN
    BEGIN
        EXECUTE statement;
        RAISE EXCEPTION USING ERRCODE = 'ZZ000', MESSAGE = 'no error';
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS v_state = RETURNED_SQLSTATE, v_detail = PG_EXCEPTION_DETAIL;
    END;
    RETURN QUERY SELECT CASE v_state WHEN 'ZZ000' THEN '00000' ELSE v_state END,
                        nullif(v_detail, '')::jsonb - '{pool_id,grant_id,usage_id,recharge_id}'::text[];
END $f$;

-- An instant, to the minute unless it has seconds.
CREATE FUNCTION public.at(t timestamptz) RETURNS text LANGUAGE sql STABLE AS $f$
    SELECT CASE WHEN t = 'infinity' THEN 'infinity' WHEN t = '-infinity' THEN '-infinity'
                WHEN t = date_trunc('minute', t) THEN to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')
                WHEN t = date_trunc('second', t) THEN to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
                ELSE to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') END
$f$;

CREATE FUNCTION public.pools_of(customer text)
    RETURNS TABLE (resource text, type text, balance numeric, granted numeric, consumed numeric, expired numeric, voided numeric,
                   held numeric, debt numeric, restricted numeric, overdraft numeric, status text)
LANGUAGE sql STABLE AS $f$
    SELECT coalesce(resource_id, '(global)'), credit_type_id, balance, granted, consumed, expired, voided, held, debt, restricted, overdraft_limit, status::text
      FROM credit_pools.pools WHERE customer_id = customer
     ORDER BY resource_id COLLATE "C" NULLS FIRST, credit_type_id COLLATE "C"
$f$;

CREATE FUNCTION public.grants_of(customer text, resource text DEFAULT '*')
    RETURNS TABLE (resource text, type text, "grant" text, category text, priority int, amount numeric, remaining numeric, available numeric,
                   consumed numeric, expired numeric, voided numeric, status text, effective_at text, expires_at text)
LANGUAGE sql STABLE AS $f$
    SELECT coalesce(resource_id, '(global)'), credit_type_id, coalesce(reason, source), category::text, priority::int, amount, remaining, available,
           consumed, expired, voided, status::text, public.at(effective_at), public.at(expires_at)
      FROM credit_pools.grants WHERE customer_id = customer AND $2 IN ('*', coalesce(resource_id, '(global)'))
     ORDER BY resource_id COLLATE "C" NULLS FIRST, credit_type_id COLLATE "C", grant_id, effective_at, expires_at, amount
$f$;

CREATE FUNCTION public.periods_of(customer text, resource text DEFAULT '*')
    RETURNS TABLE (resource text, type text, source text, amount numeric, available numeric, consumed numeric, expired numeric, voided numeric,
                   status text, effective_at text, expires_at text, booked boolean)
LANGUAGE sql STABLE AS $f$
    SELECT coalesce(resource_id, '(global)'), credit_type_id, source, amount, available, consumed, expired, voided,
           status::text, public.at(effective_at), public.at(expires_at), grant_id IS NOT NULL
      FROM credit_pools.grants WHERE customer_id = customer AND $2 IN ('*', coalesce(resource_id, '(global)'))
     ORDER BY resource_id COLLATE "C" NULLS FIRST, credit_type_id COLLATE "C", effective_at, grants.expires_at NULLS LAST, source COLLATE "C", amount
$f$;

CREATE FUNCTION public.ledger_of(customer text, resource text DEFAULT '*')
    RETURNS TABLE (resource text, type text, seq bigint, entry_type text, amount numeric, before numeric, after numeric,
                   "grant" text, feature text, value numeric, effective_at text, recorded_at text)
LANGUAGE sql STABLE AS $f$
    SELECT coalesce(l.resource_id, '(global)'), l.credit_type_id, l.seq, l.entry_type::text, l.amount, l.balance_before, l.balance_after,
           coalesce(g.reason, g.source), l.feature_id, l.value, public.at(l.effective_at), public.at(l.recorded_at)
      FROM credit_pools.ledger l LEFT JOIN credit_pools.grants g ON g.customer_id = l.customer_id AND g.grant_id = l.grant_id
     WHERE l.customer_id = customer AND $2 IN ('*', coalesce(l.resource_id, '(global)'))
     ORDER BY l.resource_id COLLATE "C" NULLS FIRST, l.credit_type_id COLLATE "C", l.seq
$f$;

CREATE FUNCTION public.history_of(customer text, resource text DEFAULT '*')
    RETURNS TABLE (resource text, type text, seq bigint, entry_type text, amount numeric, after numeric, "grant" text, effective_at text, recorded_at text)
LANGUAGE sql STABLE AS $f$
    SELECT coalesce(l.resource_id, '(global)'), l.credit_type_id, l.seq, l.entry_type::text, l.amount, l.balance_after,
           g.source || ' ' || public.at(g.effective_at), public.at(l.effective_at), public.at(l.recorded_at)
      FROM credit_pools.ledger l LEFT JOIN credit_pools.grants g ON g.customer_id = l.customer_id AND g.grant_id = l.grant_id
     WHERE l.customer_id = customer AND $2 IN ('*', coalesce(l.resource_id, '(global)'))
     ORDER BY l.resource_id COLLATE "C" NULLS FIRST, l.credit_type_id COLLATE "C", l.seq
$f$;

CREATE FUNCTION public.recharges_of(customer text)
    RETURNS TABLE (resource text, type text, status text, reason text, amount numeric, price numeric, currency text, attempts int,
                   evaluations bigint, granted boolean, created_at text)
LANGUAGE sql STABLE AS $f$
    SELECT coalesce(resource_id, '(global)'), credit_type_id, status::text, reason, amount, price, price_currency::text, attempts::int,
           evaluations::bigint, grant_id IS NOT NULL, public.at(created_at)
      FROM credit_pools.recharges WHERE customer_id = customer ORDER BY recharge_id
$f$;

CREATE FUNCTION public.usage_of(customer text)
    RETURNS TABLE (resource text, type text, feature text, value numeric, credits numeric, rate text, occurred_at text, recorded_at text)
LANGUAGE sql STABLE AS $f$
    SELECT coalesce(resource_id, '(global)'), credit_type_id, feature_id, value, credits, rate::text, public.at(occurred_at), public.at(recorded_at)
      FROM credit_pools.usage_events WHERE customer_id = customer ORDER BY usage_id
$f$;

CREATE FUNCTION public.grant_id(customer text, reason text) RETURNS bigint LANGUAGE sql STABLE AS $f$
    SELECT g.grant_id FROM credit_pools.grants g WHERE g.customer_id = customer AND coalesce(g.reason, g.source) = $2 ORDER BY 1 DESC LIMIT 1
$f$;

CREATE FUNCTION public.recharge_id(customer text, resource text DEFAULT NULL) RETURNS bigint LANGUAGE sql STABLE AS $f$
    SELECT r.recharge_id FROM credit_pools.recharges r
     WHERE r.customer_id = customer AND r.resource_id IS NOT DISTINCT FROM $2 AND r.status::text <> 'skipped' ORDER BY 1 DESC LIMIT 1
$f$;

CREATE FUNCTION public.refused(statement text) RETURNS TABLE (sqlstate text, figures jsonb, world text)
LANGUAGE plpgsql AS $f$
#variable_conflict use_column
DECLARE
    before text := public.world();
    v_state text; v_detail text; v_figures jsonb;
BEGIN
    BEGIN
        EXECUTE statement;
        RAISE EXCEPTION USING ERRCODE = 'ZZ000', MESSAGE = 'no error';
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS v_state = RETURNED_SQLSTATE, v_detail = PG_EXCEPTION_DETAIL;
    END;
    IF left(v_state, 2) = 'PC' OR v_state = '22023' THEN
        v_figures := public.fixed_figures(v_state, nullif(v_detail, '')::jsonb);
    END IF;
    RETURN QUERY SELECT CASE v_state WHEN 'ZZ000' THEN '00000' ELSE v_state END, v_figures,
                        CASE WHEN before = public.world() THEN 'unchanged' ELSE 'CHANGED' END;
END $f$;

-- What the contract fixes of the DETAIL of an error: instants and intervals in one way of writing, nothing that a sequence made.
CREATE FUNCTION public.fixed_figures(state text, detail jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $f$
    SELECT coalesce(jsonb_object_agg(k, CASE k WHEN 'window_end' THEN to_jsonb(public.at((v #>> '{}')::timestamptz)) WHEN 'per' THEN to_jsonb((v #>> '{}')::interval::text) ELSE v END), '{}')
      FROM jsonb_each(detail) e (k, v)
     WHERE k = ANY (ARRAY['index', 'row'] || CASE state
        WHEN 'PC001' THEN '{balance,required,shortfall,floor}'::text[]
        WHEN 'PC002' THEN '{kind,id}'::text[]
        WHEN 'PC005' THEN '{status}'::text[]
        WHEN 'PC007' THEN '{limit,used,required,window_end,per,scope}'::text[]
        WHEN '22023' THEN '{argument,left}'::text[]
        ELSE '{}'::text[] END)
$f$;

CREATE FUNCTION public.holds_of(customer text)
    RETURNS TABLE (resource text, reservation text, status text, amount numeric, held numeric, charged numeric, feature text, value numeric, expires_at text, closed_at text)
LANGUAGE plpgsql STABLE AS $f$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT coalesce(resource_id, '(global)'), reservation_id, r.status::text, r.amount, r.held, r.charged, feature_id, r.value, public.at(r.expires_at), public.at(r.closed_at)
      FROM credit_pools.reservations r WHERE customer_id = customer ORDER BY resource_id COLLATE "C" NULLS FIRST, reservation_id COLLATE "C";
END $f$;

CREATE FUNCTION public.held_of(customer text, resource text DEFAULT '*')
    RETURNS TABLE ("grant" text, amount numeric, remaining numeric, available numeric, held numeric, consumed numeric, expired numeric, voided numeric, status text)
LANGUAGE sql STABLE AS $f$
    SELECT coalesce(reason, source), amount, remaining, available, held, consumed, expired, voided, status::text
      FROM credit_pools.grants WHERE customer_id = customer AND $2 IN ('*', coalesce(resource_id, '(global)'))
     ORDER BY resource_id COLLATE "C" NULLS FIRST, credit_type_id COLLATE "C", grant_id
$f$;

CREATE FUNCTION public.usage_id(customer text, n int) RETURNS bigint LANGUAGE sql STABLE AS $f$
    SELECT u.usage_id FROM credit_pools.usage_events u WHERE u.customer_id = customer ORDER BY 1 OFFSET n - 1 LIMIT 1
$f$;

CREATE FUNCTION public.usage_no(customer text, usage_id bigint) RETURNS text LANGUAGE sql STABLE AS $f$
    SELECT 'u' || count(*) FROM credit_pools.usage_events u WHERE u.customer_id = customer AND u.usage_id <= $2 HAVING max(u.usage_id) = $2
$f$;

CREATE FUNCTION public.rows_of(customer text, resource text DEFAULT '*', after_seq bigint DEFAULT 0)
    RETURNS TABLE (seq bigint, entry_type text, amount numeric, after numeric, "grant" text, reservation text, usage text, effective_at text)
LANGUAGE sql STABLE AS $f$
    SELECT l.seq, l.entry_type::text, l.amount, l.balance_after, coalesce(g.reason, g.source), CASE WHEN l.entry_type::text NOT IN ('expire', 'void', 'debt_settle') THEN l.reservation_id END, public.usage_no(l.customer_id, l.usage_id), public.at(l.effective_at)
      FROM credit_pools.ledger l LEFT JOIN credit_pools.grants g ON g.customer_id = l.customer_id AND g.grant_id = l.grant_id
     WHERE l.customer_id = customer AND $2 IN ('*', coalesce(l.resource_id, '(global)')) AND l.seq > $3
     ORDER BY l.resource_id COLLATE "C" NULLS FIRST, l.credit_type_id COLLATE "C", l.seq
$f$;

CREATE FUNCTION public.limits_of(customer text)
    RETURNS TABLE (resource text, type text, everywhere boolean, amount numeric, per text, used numeric, remaining numeric, window_start text, window_end text)
LANGUAGE plpgsql STABLE AS $f$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT coalesce(resource_id, CASE WHEN NOT all_resources THEN '(global)' END), credit_type_id, all_resources, l.amount, l.per::text, l.used, l.remaining, public.at(l.window_start), public.at(l.window_end)
      FROM credit_pools.limits l WHERE customer_id = customer ORDER BY all_resources, resource_id COLLATE "C" NULLS FIRST, credit_type_id COLLATE "C", l.per;
END $f$;

CREATE FUNCTION public.hold_problems() RETURNS TABLE (problem text, customer text, resource text, type text, seq bigint)
LANGUAGE plpgsql STABLE AS $f$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 'pool: held is not what its holds hold', customer_id, resource_id, credit_type_id, NULL::bigint FROM credit_pools.pools p
               WHERE held <> (SELECT coalesce(sum(r.held), 0) FROM credit_pools.reservations r WHERE r.customer_id = p.customer_id AND r.pool_id = p.pool_id)
    UNION ALL SELECT 'a closed hold holds', customer_id, resource_id, credit_type_id, NULL FROM credit_pools.reservations r
               WHERE (r.status::text <> 'active') <> (closed_at IS NOT NULL) OR (r.status::text <> 'active' AND r.held <> 0) OR r.held < 0 OR r.charged < 0
    UNION ALL SELECT 'grant: held is not what the ledger holds of it', customer_id, resource_id, credit_type_id, grant_id FROM credit_pools.grants g
               WHERE held < 0 OR held <> (SELECT coalesce(-sum(x.amount), 0) FROM credit_pools.ledger x JOIN credit_pools.reservations r ON r.customer_id = x.customer_id AND r.reservation_id = x.reservation_id
                                           WHERE x.customer_id = g.customer_id AND x.grant_id = g.grant_id AND r.status::text = 'active' AND x.entry_type::text IN ('reserve', 'release', 'reservation_expire'));
END $f$;

CREATE FUNCTION public.ledger_problems() RETURNS TABLE (problem text, customer text, resource text, type text, seq bigint)
LANGUAGE sql STABLE AS $f$
    WITH l AS (
        SELECT customer_id, resource_id, credit_type_id, pool_id, seq, entry_type::text AS entry_type, amount, balance_before, balance_after, recorded_at, entry_hash,
               row_number() OVER w AS n, lag(balance_after, 1, 0::numeric) OVER w AS previous, lag(recorded_at) OVER w AS previous_at,
               sum(amount) OVER w AS running
          FROM credit_pools.ledger WINDOW w AS (PARTITION BY pool_id ORDER BY seq)
    )
    SELECT 'gap in seq', customer_id, resource_id, credit_type_id, seq FROM l WHERE seq <> n
    UNION ALL SELECT 'a pool starts with an opening row', customer_id, resource_id, credit_type_id, seq FROM l WHERE (n = 1) <> (entry_type = 'open')
    UNION ALL SELECT 'balance_before is not the balance_after of the row before', customer_id, resource_id, credit_type_id, seq FROM l WHERE balance_before <> previous
    UNION ALL SELECT 'balance_after is not balance_before + amount', customer_id, resource_id, credit_type_id, seq FROM l WHERE balance_after <> balance_before + amount
    UNION ALL SELECT 'balance_after is not the sum of amounts', customer_id, resource_id, credit_type_id, seq FROM l WHERE balance_after <> running
    UNION ALL SELECT 'recorded_at runs backwards', customer_id, resource_id, credit_type_id, seq FROM l WHERE recorded_at < previous_at
    UNION ALL SELECT 'no hash', customer_id, resource_id, credit_type_id, seq FROM l WHERE entry_hash IS NULL
    UNION ALL SELECT 'pool without ledger', customer_id, resource_id, credit_type_id, NULL FROM credit_pools.pools p
               WHERE NOT EXISTS (SELECT FROM l WHERE l.pool_id = p.pool_id)
    UNION ALL SELECT 'pool balance is not what its grants hold less its debt', customer_id, resource_id, credit_type_id, NULL FROM credit_pools.pools p
               WHERE balance <> (SELECT coalesce(sum(available), 0) + coalesce(sum(held), 0) FROM credit_pools.grants g WHERE g.customer_id = p.customer_id AND g.pool_id = p.pool_id) - held - debt
    UNION ALL SELECT * FROM public.hold_problems()
    UNION ALL SELECT 'usage: credits or reversed are not what the ledger took and returned', u.customer_id, u.resource_id, u.credit_type_id, u.usage_id FROM credit_pools.usage_events u
                LEFT JOIN (SELECT customer_id, usage_id, -sum(amount) FILTER (WHERE entry_type::text IN ('consume', 'debt')) AS took, sum(amount) FILTER (WHERE entry_type::text = 'reverse') AS returned
                             FROM credit_pools.ledger WHERE usage_id IS NOT NULL GROUP BY 1, 2) x ON x.customer_id = u.customer_id AND x.usage_id = u.usage_id
               WHERE u.credits <> coalesce(x.took, 0) OR u.reversed <> coalesce(x.returned, 0) OR u.reversed NOT BETWEEN 0 AND u.credits
    UNION ALL SELECT 'verify_ledger: ' || v.problem || ' ' || v.detail, v.customer_id, v.resource_id, v.credit_type_id, v.seq FROM credit_pools.verify_ledger() v
$f$;
\set ECHO all
