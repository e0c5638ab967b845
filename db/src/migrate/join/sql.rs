//! What the table of runs is, and every statement on it.

/// A schema of its own: before PostgreSQL 15 any tenant's role could have put a table of that name into `public`, with
/// triggers that run as the master.
pub(super) const CREATE: &str = "
    CREATE SCHEMA IF NOT EXISTS drawbridge;
    CREATE TABLE IF NOT EXISTS drawbridge.run (
        run text PRIMARY KEY,
        created_at timestamptz NOT NULL DEFAULT now(),
        begun_by text NOT NULL,
        fingerprint text NOT NULL,
        error_budget int8 NOT NULL,
        on_error text NOT NULL,
        out_of_order bool NOT NULL);
    CREATE TABLE IF NOT EXISTS drawbridge.run_tenant (
        run text NOT NULL REFERENCES drawbridge.run ON DELETE CASCADE,
        tenant text NOT NULL,
        place int4 NOT NULL,
        wave int4 NOT NULL,
        migrations text NOT NULL,
        state text NOT NULL CHECK (state IN ('todo', 'taken', 'done', 'failed', 'held')),
        runner text,
        lease_until timestamptz,
        attempts int4 NOT NULL DEFAULT 0,
        finished_at timestamptz,
        report jsonb,
        PRIMARY KEY (run, tenant))";
/// And to whom it belongs, or its schema, if not to this role: somebody who could create schemas in the database may have
/// been there first.
pub(super) const IS_THERE: &str = "
    SELECT to_regclass('drawbridge.run_tenant') IS NOT NULL,
           (SELECT r.rolname::text
            FROM (SELECT nspowner AS owner FROM pg_namespace WHERE nspname = 'drawbridge'
                  UNION ALL
                  SELECT c.relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE n.nspname = 'drawbridge') o JOIN pg_roles r ON r.oid = o.owner
            WHERE NOT r.rolsuper AND NOT pg_has_role(o.owner, 'USAGE') LIMIT 1)";
/// Nobody asks for the report of a run that old, and the tables stay small.
pub(super) const FORGET: &str = "DELETE FROM drawbridge.run WHERE created_at < now() - interval '30 days'";

pub(super) const BEGIN: &str = "
    WITH begun AS (
        INSERT INTO drawbridge.run (run, begun_by, fingerprint, error_budget, on_error, out_of_order)
        VALUES ($1, $2, encode(sha256(convert_to($3, 'UTF8')), 'hex'), $4, $5, $6)
        ON CONFLICT DO NOTHING RETURNING run)
    INSERT INTO drawbridge.run_tenant (run, tenant, place, wave, migrations, state, report)
    SELECT begun.run, d.* FROM begun, jsonb_to_recordset($7::jsonb)
        AS d(tenant text, place int4, wave int4, migrations text, state text, report jsonb)";
pub(super) const COMPARE: &str = "
    SELECT begun_by, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
           fingerprint = encode(sha256(convert_to($2, 'UTF8')), 'hex'),
           (error_budget, on_error, out_of_order) = ($3, $4, $5)
    FROM drawbridge.run WHERE run = $1";
pub(super) const TENANTS: &str =
    "SELECT tenant, migrations FROM drawbridge.run_tenant WHERE run = $1 ORDER BY place";

/// Which wave's turn it is, and whether it may begin. Once it has begun, only `stop` ends it before its end.
const FACTS: &str = "
    facts AS MATERIALIZED (
        SELECT now.wave, r.on_error,
               (SELECT count(*) FROM drawbridge.run_tenant t WHERE t.run = $1 AND t.state = 'failed')
                   <= r.error_budget AS is_within,
               EXISTS (SELECT FROM drawbridge.run_tenant t
                       WHERE t.run = $1 AND t.wave = now.wave AND t.attempts > 0) AS is_begun
        FROM drawbridge.run r,
             (SELECT min(t.wave) AS wave FROM drawbridge.run_tenant t
              WHERE t.run = $1 AND t.state IN ('todo', 'taken')) now
        WHERE r.run = $1)";

/// Whether a lease is over is seen again under the row's lock. What is this runner's and not in flight was given to it in
/// an answer that was lost. A tenant that was begun comes to its end even if others may not begin.
pub(super) fn take() -> String {
    format!(
        "WITH {FACTS},
         picked AS MATERIALIZED (
             SELECT t.tenant FROM drawbridge.run_tenant t, facts
             WHERE t.run = $1 AND t.wave = facts.wave
               AND t.tenant <> ALL ($5) AND t.attempts < $6
               AND (t.state = 'todo' OR t.state = 'taken' AND (t.lease_until < now() OR t.runner = $2))
               AND (facts.is_within OR t.attempts > 0 OR facts.on_error = 'continue' AND facts.is_begun)
             ORDER BY t.place LIMIT $4 FOR UPDATE OF t SKIP LOCKED)
         UPDATE drawbridge.run_tenant t
         SET state = 'taken', runner = $2, lease_until = now() + make_interval(secs => $3), attempts = attempts + 1
         FROM picked WHERE t.run = $1 AND t.tenant = picked.tenant
         RETURNING t.tenant, t.attempts, t.wave"
    )
}

/// A tenant that nobody brings to its end fails with the last reason that there is.
pub(super) const GIVE_UP: &str = "
    WITH last AS (
        SELECT tenant, CASE state
            WHEN 'taken' THEN 'runner `' || runner || '` had it last and was not heard of again; what it had sent may be '
                || 'committed, which `migrate status` shows'
            ELSE 'runner `' || runner || '` gave it back: ' || coalesce(
                report->'outcome'->>'state', report->'outcome'->>'reason', 'it did not say why') END AS why
        FROM drawbridge.run_tenant
        WHERE run = $1 AND attempts >= $2 AND (state = 'todo' OR state = 'taken' AND lease_until < now())
        FOR UPDATE SKIP LOCKED)
    UPDATE drawbridge.run_tenant t
    SET state = 'failed', lease_until = NULL, finished_at = now(),
        report = jsonb_build_object('elapsed_ms', coalesce(t.report->'elapsed_ms', '0'), 'outcome', jsonb_build_object(
            'kind', 'failed', 'applied', coalesce(t.report->'outcome'->'applied', '[]'), 'migration', NULL,
            'error', jsonb_build_array('given up after ' || t.attempts || ' tries in this run', last.why)))
    FROM last WHERE t.run = $1 AND t.tenant = last.tenant
    RETURNING t.tenant, last.why";

pub(super) fn hold() -> String {
    format!(
        "WITH {FACTS}
         UPDATE drawbridge.run_tenant t SET state = 'held', report = $2::jsonb, finished_at = now()
         FROM facts WHERE t.run = $1 AND t.state = 'todo' AND t.attempts = 0
           AND NOT facts.is_within AND (facts.on_error = 'stop' OR NOT facts.is_begun)"
    )
}

pub(super) const RENEW: &str = "
    UPDATE drawbridge.run_tenant SET lease_until = now() + make_interval(secs => $3)
    WHERE run = $1 AND runner = $2 AND state = 'taken' AND tenant = ANY ($4) RETURNING tenant";
pub(super) const RECORD: &str = "
    UPDATE drawbridge.run_tenant t
    SET state = d.state, report = d.report, lease_until = NULL,
        finished_at = CASE WHEN d.state <> 'todo' THEN now() END
    FROM jsonb_to_recordset($3::jsonb) AS d(tenant text, attempts int4, state text, report jsonb)
    WHERE t.run = $1 AND t.runner = $2 AND t.tenant = d.tenant AND t.attempts = d.attempts
      AND t.state IN ('taken', d.state)
    RETURNING t.tenant";
pub(super) const COUNT: &str = "
    SELECT count(*) FILTER (WHERE state = 'todo'), count(*) FILTER (WHERE state = 'taken'),
           count(*) FILTER (WHERE state = 'failed'), count(*)
    FROM drawbridge.run_tenant WHERE run = $1";
pub(super) const REPORT: &str = "
    SELECT t.tenant, t.state, t.runner, t.report::text,
           extract(epoch FROM max(t.finished_at) OVER () - r.created_at)::float8
    FROM drawbridge.run_tenant t JOIN drawbridge.run r USING (run) WHERE run = $1 ORDER BY t.place";
