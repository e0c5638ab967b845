//! Tenants are kept out of the server's own databases, and whoever was there before is in nobody's way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use db::lock::{self, Lock};
use db::maintenance::{self, Right};
use db::migrate::{self, Check, JoinOptions, Outcome, RunName, RunOptions, Target, TenantReport};
use db::migration::MigrationSet;
use db::tenant::{self, Outcome as Made, Verdict};
use db::{ConnectOptions, Error, Kind, Login, connect, role};
use stack::{Event, Events, Secret};
use tests::{LIMIT, seen, within};
use tokio::sync::watch;

use super::{EVIL, EVIL_ROLE, login_to};
use crate::db::{Database, file, spec};

const GROUNDS: &str = "server's own databases closed to PUBLIC";
/// The locks that sessions hold in a database, as every role may see them.
const KEYS: &str = "
    SELECT ((classid::int8 << 32) | objid::int8)::text FROM pg_catalog.pg_locks
    WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Collects warnings and notes.
fn told() -> (Events, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let events = Events::new(move |event| {
        if let Event::Warning { text } | Event::Note { text } = event {
            sink.lock().unwrap().push(text);
        }
    });
    (events, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_that_a_tenant_holds_where_the_master_works_are_taken_from_it() {
    let db = Database::start_upgraded().await;
    // It looks which locks the master takes, and takes them when they are free.
    let watcher = db.evil("postgres").await;
    let master = db.master().await;
    let ours = [lock::TENANTS, lock::RELEASE, lock::RUNS, Lock::role("new_app"), Lock::database("new")];
    for one in ours {
        lock::acquire(&master, one, "test", Duration::ZERO, &Events::none()).await.unwrap();
    }
    let keys: Vec<String> =
        watcher.client().query(KEYS, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(keys.len(), ours.len(), "{keys:?}");
    for one in ours {
        lock::release(&master, one).await.unwrap();
    }
    for key in &keys {
        let sql = format!("SELECT pg_advisory_lock({key})");
        watcher.client().batch_execute(&sql).await.unwrap();
    }
    // Another has the one that is shared, as those who create have.
    let sharing = db.evil("postgres").await;

    let (events, said) = told();
    let created = tenant::create(&db.server, &db.admin, &[spec("new")], &events).await.unwrap();
    assert!(matches!(created[0].outcome, Made::Created), "{created:?}");
    let said = said.lock().unwrap().clone();
    assert!(said.iter().any(|text| text.contains(EVIL_ROLE) && text.contains("was ended")), "{said:?}");
    assert!(watcher.client().batch_execute("SELECT 1").await.is_err(), "it is still there");

    let shared = format!("SELECT pg_advisory_lock_shared({})", keys[0]);
    sharing.client().batch_execute(&shared).await.unwrap();
    let events = Events::none();
    for one in ours {
        lock::acquire(&master, one, "test", LIMIT, &events).await.unwrap();
    }
    // And it does not come back.
    let back = connect(&db.server, &login_to("postgres"), &ConnectOptions::default()).await.unwrap_err();
    assert_eq!(back.sqlstate(), Some("42501"), "{back}");
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_a_tenant_that_the_master_may_not_end_is_told_at_once() {
    let db = Database::start_upgraded().await;
    // A master without that right, as on a server of one's own.
    db.as_master("CREATE ROLE plain LOGIN CREATEDB CREATEROLE PASSWORD 'of plain'; GRANT CONNECT ON DATABASE postgres TO plain")
        .await;
    let plain = Login { user: "plain".to_owned(), password: Secret::new("of plain"), ..db.admin.clone() };
    let plain = connect(&db.server, &plain, &ConnectOptions::default()).await.unwrap();
    let evil = db.evil("postgres").await;
    lock::acquire(&evil, lock::RELEASE, "test", Duration::ZERO, &Events::none()).await.unwrap();
    // Longer than anybody waits.
    let limit = Duration::from_secs(3600);
    let refused = lock::acquire(&plain, lock::RELEASE, "test", limit, &Events::none()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Locked);
    let text = refused.to_string();
    assert!(text.contains(EVIL_ROLE) && text.contains("SELECT pg_terminate_backend("), "{text}");
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_databases_are_closed_to_tenants_and_stay_so() {
    let db = Database::start().await;
    let template = Login { database: "template1".to_owned(), ..db.admin.clone() };
    let seen_at_first = maintenance::survey(&db.server, &db.admin).await.unwrap();
    assert_eq!(seen_at_first.roles, 0);
    let rights: Vec<Right> = seen_at_first.openings.iter().map(|one| one.right).collect();
    assert_eq!(rights, [Right::Connect, Right::Connect]);

    db.create(&[spec("shop"), spec(EVIL)]).await;
    for database in ["postgres", "template1"] {
        let refused = connect(&db.server, &login_to(database), &ConnectOptions::default()).await.unwrap_err();
        assert_eq!(refused.sqlstate(), Some("42501"), "{database}: {refused}");
    }
    assert_eq!(maintenance::survey(&db.server, &db.admin).await.unwrap().openings, []);
    assert_eq!(db.verify_one("shop").await.verdict(), Verdict::Pass);

    // Whatever is opened again is told with the command that closes it.
    let opened = "GRANT CREATE ON SCHEMA public TO PUBLIC; GRANT CONNECT, CREATE ON DATABASE";
    db.as_master(&format!("{opened} postgres TO PUBLIC")).await;
    let session = db.connect(&template).await;
    session.client().batch_execute(&format!("{opened} template1 TO PUBLIC")).await.unwrap();
    session.close().await;
    let verified = db.verify_one("shop").await;
    let check = verified.checks.iter().find(|check| check.name == GROUNDS).unwrap();
    assert_eq!(check.verdict, Verdict::Fail);
    for database in ["postgres", "template1"] {
        for may in ["connect to", "create schemas in", "create in the schema `public` of"] {
            let told = format!("every role may {may} `{database}`; run `cargo xtask tenant create`");
            assert!(check.evidence.contains(&told), "{told}: {check:?}");
        }
    }
    let (events, said) = told();
    let created = tenant::create(&db.server, &db.admin, &[spec("shop")], &events).await.unwrap();
    assert!(matches!(created[0].outcome, Made::Unchanged), "{created:?}");
    assert_eq!(said.lock().unwrap().len(), 6, "{said:?}");
    assert_eq!(db.verify_one("shop").await.verdict(), Verdict::Pass);

    // What is another's is told with whose it is, and stops nobody.
    db.as_master(
        "CREATE ROLE other; GRANT other TO CURRENT_USER WITH SET TRUE, INHERIT FALSE;
         ALTER DATABASE template1 OWNER TO other; SET ROLE other;
         GRANT CONNECT ON DATABASE template1 TO PUBLIC; RESET ROLE; REVOKE other FROM CURRENT_USER",
    )
    .await;
    let (events, said) = told();
    tenant::create(&db.server, &db.admin, &[spec("shop")], &events).await.unwrap();
    let mend =
        "run `REVOKE CONNECT ON DATABASE \"template1\" FROM PUBLIC` in `template1` as its owner `other`";
    assert!(said.lock().unwrap().iter().any(|text| text.contains(mend)), "{said:?}");
    let verified = db.verify_one("shop").await;
    let check = verified.checks.iter().find(|check| check.name == GROUNDS).unwrap();
    assert!(check.verdict == Verdict::Fail && check.evidence.contains(mend), "{check:?}");
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_at_once_close_the_same_databases() {
    let db = Database::start().await;
    let (events, said) = told();
    let create = |name: &'static str| {
        let (db, events) = (&db, &events);
        async move { tenant::create(&db.server, &db.admin, &[spec(name)], events).await.unwrap().remove(0) }
    };
    let created = tokio::join!(create("a"), create("b"), create("c"), create("d"), create("e"), create("f"));
    assert!(matches!(created.0.outcome, Made::Created), "{created:?}");
    assert!(said.lock().unwrap().iter().all(|text| !text.contains("is not known")), "{said:?}");
    assert_eq!(maintenance::survey(&db.server, &db.admin).await.unwrap().openings, []);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_runs_that_somebody_else_has_made_is_not_used() {
    let db = Database::start_upgraded().await;
    db.as_master("GRANT CREATE ON DATABASE postgres TO evil_app").await;
    db.as_evil("postgres", "CREATE SCHEMA drawbridge; GRANT ALL ON SCHEMA drawbridge TO PUBLIC").await;
    let targets = Target::all(&[spec("shop").login()], MigrationSet::flat(crate::db::shipped()));
    let run = RunName::parse("r").unwrap();
    let (options, events) = (JoinOptions::default(), Events::none());
    let joined = migrate::join(&db.server, &db.admin, &run, &targets, &options, &events).await;
    let refused = joined.unwrap_err().to_string();
    assert!(refused.contains("belongs to `evil_app`"), "{refused}");
    db.stop().await;
}

/// Waits until somebody's migration has come to its end, while the hostile tenant's has not.
async fn until_first(mut ended: watch::Receiver<Vec<String>>, honest: &[&str]) {
    let wanted = |ended: &Vec<String>| honest.iter().all(|name| ended.contains(&format!("tenant {name}")));
    let all = tokio::time::timeout(LIMIT, ended.wait_for(wanted)).await;
    let all = all.expect("the honest tenants are migrated").unwrap().clone();
    assert!(!all.contains(&format!("tenant {EVIL}")), "{all:?}");
}

/// Migrates one tenant at a time, the hostile one first, which waits until `release` is over; returns the reports.
async fn behind_evil(
    db: &Database,
    options: RunOptions,
    release: impl Future<Output = ()>,
) -> Vec<TenantReport> {
    let (tell, ended) = watch::channel(Vec::new());
    let events = Events::new(move |event| {
        if let Event::StepFinished { subject, .. } | Event::StepFailed { subject, .. } = event {
            tell.send_modify(|ended| ended.push(subject));
        }
    });
    let logins = [EVIL, "shop", "new"].map(|name| spec(name).login());
    let files = [file("V1__a.sql", "CREATE TABLE a (id int);\n")];
    let options = RunOptions { jobs: 1, ..options };
    let run = migrate::run(&db.server, &logins, &files, &options, &events);
    let watch = async {
        until_first(ended, &["shop", "new"]).await;
        release.await;
    };
    tokio::join!(run, watch).0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_holds_its_own_lock_delays_itself() {
    let db = Database::start_upgraded().await;
    db.create(&[spec("new")]).await;
    let evil = db.evil(EVIL).await;
    lock::acquire(&evil, lock::MIGRATIONS, "test", Duration::ZERO, &Events::none()).await.unwrap();
    // Nobody gives up: the others come through while it is waited for.
    let options = RunOptions { lock_limit: LIMIT * 2, ..RunOptions::default() };
    let reports = behind_evil(&db, options, async { evil.close().await }).await;
    for report in &reports {
        assert!(matches!(report.outcome, Outcome::Applied { .. }), "{report:?}");
    }
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_does_not_answer_fails_alone() {
    let db = Database::start_upgraded().await;
    db.create(&[spec("new")]).await;
    // It cannot be cancelled either.
    db.as_evil(
        EVIL,
        "CREATE FUNCTION stay() RETURNS int LANGUAGE plpgsql AS $f$ BEGIN
             LOOP BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $f$;
         CREATE VIEW refinery_schema_history AS
             SELECT stay() AS version, 'a'::text AS name, ''::text AS applied_on, '1'::text AS checksum",
    )
    .await;
    let options = RunOptions { lock_limit: Duration::from_secs(1), ..RunOptions::default() };
    let reports = behind_evil(&db, options, async {}).await;
    let slow = |outcome: &Outcome| matches!(outcome, Outcome::Failed { error: Error::Slow { .. }, .. });
    assert!(slow(&reports[0].outcome), "{reports:?}");
    let check_first = RunOptions { check: Check::AllFirst, ..RunOptions::default() };
    let files = [file("V1__a.sql", "CREATE TABLE a (id int);\n")];
    let logins = [spec(EVIL).login(), spec("shop").login()];
    let reports = migrate::run(&db.server, &logins, &files, &check_first, &Events::none()).await;
    assert!(slow(&reports[0].outcome), "{reports:?}");

    // What could not be seen is not in order, and the others are.
    let specs = [spec(EVIL), spec("shop")];
    let verified = tenant::verify(&db.server, &db.admin, &specs).await.unwrap();
    let check = verified[0].checks.iter().find(|check| check.name == "history in one place").unwrap();
    assert_eq!(check.verdict, Verdict::Unknown, "{check:?}");
    let others = verified[1].checks.iter().filter(|check| check.verdict != Verdict::Pass);
    assert!(others.clone().all(|check| check.name == GROUNDS), "{:?}", others.collect::<Vec<_>>());
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_a_tenant_keeps_locked_fails_alone() {
    let db = Database::start_upgraded().await;
    let (mut tenants, evil) = ([spec("shop"), spec(EVIL)], db.evil(EVIL).await);
    evil.client().batch_execute("BEGIN; ALTER ROLE evil_app PASSWORD 'mine'").await.unwrap();
    for tenant in &mut tenants {
        tenant.password = Secret::new("rotated");
    }
    // In the order in which one session does both.
    let master = db.master().await;
    let refused = role::set_password(&master, EVIL_ROLE, &tenants[1].password).await.unwrap_err();
    assert_eq!(refused.sqlstate(), Some("55P03"), "{refused}");
    role::set_password(&master, "shop_app", &tenants[0].password).await.unwrap();
    let created = db.create(&tenants).await;
    assert!(matches!(created[0].outcome, Made::Unchanged), "{created:?}");
    let Made::Failed(error) = &created[1].outcome else { panic!("{created:?}") };
    assert_eq!(error.sqlstate(), Some("55P03"), "{error}");
    evil.close().await;
    // Once it is gone, it is as any other.
    within(LIMIT, "its role is put right", || async {
        let created = db.create(&tenants[1..]).await;
        seen(matches!(created[0].outcome, Made::Repaired(_)), format!("{created:?}"))
    })
    .await;
    db.stop().await;
}
