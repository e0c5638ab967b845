//! What a tenant makes in its own database must not be what a check of it looks at.

use db::migrate::{self, RunOptions, Target};
use db::migration::MigrationSet;
use db::tenant::{Check, Verdict, read_catalogs};

use super::EVIL;
use crate::db::{Database, file, spec};

/// Views and functions of the names that our checks use, with nothing in them, and a path on which they come first.
pub(super) const FORGED: &str = "
    CREATE SCHEMA forged;
    CREATE VIEW forged.pg_namespace AS SELECT * FROM pg_catalog.pg_namespace WHERE false;
    CREATE VIEW forged.pg_class AS SELECT * FROM pg_catalog.pg_class WHERE false;
    CREATE VIEW forged.pg_proc AS SELECT * FROM pg_catalog.pg_proc WHERE false;
    CREATE VIEW forged.pg_database AS SELECT * FROM pg_catalog.pg_database WHERE false;
    CREATE VIEW forged.pg_extension AS SELECT * FROM pg_catalog.pg_extension WHERE false;
    CREATE VIEW forged.pg_index AS SELECT * FROM pg_catalog.pg_index WHERE false;
    CREATE FUNCTION forged.aclexplode(aclitem[], OUT grantor oid, OUT grantee oid, OUT privilege_type text,
        OUT is_grantable bool) RETURNS SETOF record LANGUAGE sql AS 'SELECT NULL::oid, 1::oid, NULL, false WHERE false';
    CREATE FUNCTION forged.none(json, text) RETURNS json LANGUAGE sql AS 'SELECT NULL::json';
    CREATE AGGREGATE forged.json_agg(text) (SFUNC = forged.none, STYPE = json);
    CREATE FUNCTION forged.is_never(name, name) RETURNS bool LANGUAGE sql AS 'SELECT false';
    CREATE OPERATOR forged.= (FUNCTION = forged.is_never, LEFTARG = name, RIGHTARG = name);
    CREATE OPERATOR forged.<> (FUNCTION = forged.is_never, LEFTARG = name, RIGHTARG = name);
    CREATE FUNCTION forged.is_not_oid(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR forged.= (FUNCTION = forged.is_not_oid, LEFTARG = oid, RIGHTARG = oid);
    CREATE FUNCTION forged.is_not_char(\"char\", \"char\") RETURNS bool LANGUAGE sql AS 'SELECT false';
    CREATE OPERATOR forged.= (FUNCTION = forged.is_not_char, LEFTARG = \"char\", RIGHTARG = \"char\")";

/// By role, by database, and for the role in the database.
const PATHS: [&str; 3] = [
    "ALTER ROLE evil_app SET search_path = forged, public, pg_catalog",
    "ALTER ROLE evil_app RESET ALL; ALTER DATABASE evil SET search_path = forged, public, pg_catalog",
    "ALTER DATABASE evil RESET ALL; ALTER ROLE evil_app IN DATABASE evil SET search_path = forged, public, pg_catalog",
];

fn found<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no `{name}` in {checks:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_of_the_tenants_own_makes_no_check_pass() {
    let db = Database::start_upgraded().await;
    let files = [file("V1__a.sql", "CREATE TABLE a (id int);\n")];
    db.migrate(&[spec(EVIL)], &files).await;
    // What is wrong: others may create in it, and have; there is a second history.
    db.as_evil(
        EVIL,
        "GRANT CREATE ON SCHEMA public TO PUBLIC; GRANT CONNECT ON DATABASE evil TO shop_app;
         CREATE SCHEMA other; CREATE TABLE other.refinery_schema_history (LIKE refinery_schema_history)",
    )
    .await;
    let shop = db::Login { database: EVIL.to_owned(), ..spec("shop").login() };
    let session = db.connect(&shop).await;
    session.client().batch_execute("CREATE TABLE public.intruder ()").await.unwrap();
    session.close().await;
    let wrong = ["schema public closed to PUBLIC", "objects belong to the owner", "history in one place"];
    let honest = db.verify_one(EVIL).await.checks;
    for name in wrong {
        assert_eq!(found(&honest, name).verdict, Verdict::Fail, "{name}: {honest:#?}");
    }

    db.as_evil(EVIL, FORGED).await;
    let targets = Target::all(&[spec(EVIL).login()], MigrationSet::flat(files.to_vec()));
    for path in PATHS {
        db.as_evil(EVIL, path).await;
        let checks = db.verify_one(EVIL).await.checks;
        for name in wrong {
            let (now, before) = (found(&checks, name), found(&honest, name));
            assert_eq!((now.verdict, &now.evidence), (before.verdict, &before.evidence), "{path}");
        }
        let inside = read_catalogs(&db.server, &[spec(EVIL).login()], 1).await.remove(0).unwrap();
        assert!(inside.public_can_create && inside.foreign.len() == 1, "{path}: {inside:?}");
        assert!(!inside.extensions.is_empty(), "{path}: {inside:?}");
        let plan = migrate::plan_all(&db.server, &targets, &RunOptions::default()).await.remove(0);
        assert!(plan.unwrap_err().chain().contains("is not in one place"), "{path}");
    }
    db.stop().await;
}

/// Its history is a view that changes the session's path once it is read: what is asked afterwards is asked the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_changes_the_sessions_path_forges_nothing_that_comes_after() {
    let db = Database::start_upgraded().await;
    db.as_evil(EVIL, FORGED).await;
    db.as_evil(
        EVIL,
        "CREATE FUNCTION forged.turn() RETURNS int LANGUAGE plpgsql AS $f$ BEGIN
             PERFORM set_config('search_path', 'forged, public, pg_catalog', false);
             CREATE TEMP TABLE IF NOT EXISTS pg_index AS SELECT * FROM pg_catalog.pg_index WHERE false;
             RETURN 1; END $f$;
         CREATE VIEW public.refinery_schema_history AS
             SELECT forged.turn() AS version, 'a'::text AS name, '2026-01-01T00:00:00Z'::text AS applied_on, '1'::text AS checksum;
         CREATE TABLE public.t (n int); INSERT INTO public.t VALUES (1), (1)",
    )
    .await;
    db.as_evil(EVIL, "GRANT CREATE ON SCHEMA public TO PUBLIC").await;
    let checks = db.verify_one(EVIL).await.checks;
    assert_eq!(found(&checks, "schema public closed to PUBLIC").verdict, Verdict::Fail, "{checks:#?}");

    // An index that is left invalid is seen, though a table of the session's own is called as the catalog.
    db.as_evil(EVIL, "DROP VIEW public.refinery_schema_history").await;
    let index = "-- drawbridge: no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY once ON public.t (n);\n";
    let bad = file("V1__index.sql", index);
    db.as_evil(EVIL, "ALTER ROLE evil_app SET search_path = forged, public, pg_catalog").await;
    let report = db.migrate(&[spec(EVIL)], &[bad]).await.remove(0);
    assert!(format!("{report:?}").contains("DROP INDEX CONCURRENTLY"), "{report:?}");
    db.stop().await;
}
