//! The end of a tenant.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use db::tenant::{self, DropSpec, Dropped, RoleEnd, survey};
use db::{ConnectOptions, Error, Login, connect};
use stack::{Event, Events};
use tests::{Fixture, Want};

use super::create::of_both;
use crate::db::{Database, MEMBERSHIPS, spec};

fn drop_spec(tenant: &str, owner: &str) -> DropSpec {
    DropSpec { tenant: tenant.to_owned(), owner: owner.to_owned(), shared_with: Vec::new(), force: false }
}

impl Database {
    async fn end(&self, what: &DropSpec) -> Result<Dropped, Error> {
        tenant::drop(&self.server, &self.admin, what, &Events::none()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_goes_with_the_last_database_that_needs_it() {
    let db = Database::start().await;
    db.create(&[of_both("a"), of_both("b"), spec("shop"), spec("health")]).await;
    let kept = |dropped: Dropped| match dropped.role {
        RoleEnd::Kept { reason } => reason,
        RoleEnd::Dropped | RoleEnd::Absent => panic!("{dropped:?}"),
    };
    assert_eq!(kept(db.end(&drop_spec("a", "both")).await.unwrap()), "it owns b as well");
    let shared = DropSpec { shared_with: vec!["planned".to_owned()], ..drop_spec("b", "both") };
    assert_eq!(kept(db.end(&shared).await.unwrap()), "it owns planned as well");
    // Again, as after a run that was cut off.
    let ended = db.end(&drop_spec("b", "both")).await.unwrap();
    assert_eq!(ended, Dropped { database: false, role: RoleEnd::Dropped });
    let ended = db.end(&drop_spec("b", "both")).await.unwrap();
    assert_eq!(ended, Dropped { database: false, role: RoleEnd::Absent });

    let wrong = db.end(&drop_spec("shop", "health_app")).await.unwrap_err();
    assert!(wrong.is_usage(), "{wrong}");
    assert_eq!(wrong.to_string(), "tenant `shop`: its database belongs to `shop_app`, not to `health_app`");

    // What the role may do elsewhere is not ours to take away.
    let health = db.connect(&spec("health").login()).await;
    health.client().batch_execute("CREATE SCHEMA s; GRANT USAGE ON SCHEMA s TO shop_app").await.unwrap();
    health.close().await;
    let reason = kept(db.end(&drop_spec("shop", "shop_app")).await.unwrap());
    assert!(reason.starts_with("other databases know it: ") && reason.contains("health"), "{reason}");
    assert!(db.names(&db.admin, MEMBERSHIPS).await.is_empty());
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_somebody_uses_stays_unless_they_are_to_lose_it() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let options = ConnectOptions { application_name: "a shop".to_owned(), ..ConnectOptions::default() };
    let user = connect(&db.server, &spec("shop").login(), &options).await.unwrap();
    let seen = survey(&db.server, &db.admin, "shop").await.unwrap();
    let refused = seen.check_unused("shop").unwrap_err().to_string();
    assert!(refused.contains("`a shop` as `shop_app` (pid "), "{refused}");
    let refused = db.end(&drop_spec("shop", "shop_app")).await.unwrap_err();
    assert!(refused.to_string().contains("; nothing was dropped"), "{refused}");
    assert!(user.client().batch_execute("SELECT 1").await.is_ok());

    let forced = DropSpec { force: true, ..drop_spec("shop", "shop_app") };
    assert_eq!(db.end(&forced).await.unwrap(), Dropped { database: true, role: RoleEnd::Dropped });
    assert!(user.client().batch_execute("SELECT 1").await.is_err());
    let none = survey(&db.server, &db.admin, "shop").await.unwrap();
    assert!(none.database.is_none() && none.check_unused("shop").is_ok());
    db.stop().await;
}

/// Returns where notes are told.
fn notes() -> (Events, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&told);
    let events = Events::new(move |event| {
        if let Event::Note { text } = event {
            notes.lock().expect("no other holder panics").push(text);
        }
    });
    (events, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_drop_left_of_its_dump_is_ended_and_what_others_dump_is_not() {
    let db = Database::start().await;
    db.create(&[spec("shop"), spec("health")]).await;
    let options =
        ConnectOptions { application_name: tenant::DUMP_NAME.to_owned(), ..ConnectOptions::default() };
    // As pg_dump does, so that the server never ends it.
    let sql = "SET idle_session_timeout = 0; SET idle_in_transaction_session_timeout = 0;
               BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SELECT 1";
    let dead = db.killed(&spec("shop").login(), &options, sql).await;
    let other = connect(&db.server, &spec("health").login(), &options).await.unwrap();

    let seen = survey(&db.server, &db.admin, "shop").await.unwrap();
    assert!(seen.check_unused("shop").is_ok(), "it is looked at once the locks are ours: {seen:?}");
    let (events, told) = notes();
    let what = drop_spec("shop", "shop_app");
    let claim = tenant::claim(&db.server, &db.admin, &what, &events).await.unwrap();
    let seen = claim.survey().await.unwrap();
    assert!(seen.sessions.is_empty() && seen.own_sessions.is_empty(), "{seen:?}");
    assert_eq!(claim.carry_out().await.unwrap(), Dropped { database: true, role: RoleEnd::Dropped });
    claim.close().await;
    let told = told.lock().unwrap().join("\n");
    assert!(told.contains("ends `drawbridge dump` as `shop_app` (pid "), "{told}");
    assert!(other.client().batch_execute("SELECT 1").await.is_ok());
    assert!(db.names(&db.admin, MEMBERSHIPS).await.is_empty());
    drop(dead);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_killed_programs_of_ours_are_waited_for_and_living_ones_are_named() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let brief = ConnectOptions { silence_limit: Some(Duration::from_secs(3)), ..ConnectOptions::default() };
    let dead = db.killed(&spec("shop").login(), &brief, "SELECT 1").await;
    let (events, told) = notes();
    let what = drop_spec("shop", "shop_app");
    let claim = tenant::claim(&db.server, &db.admin, &what, &events).await.unwrap();
    let seen = claim.survey().await.unwrap();
    assert!(seen.own_sessions.is_empty() && seen.check_unused("shop").is_ok(), "{seen:?}");
    let told = told.lock().unwrap().join("\n");
    assert!(told.contains("waiting for `drawbridge` as `shop_app` (pid "), "{told}");
    assert!(told.contains("if its program is gone, the server ends it within 30 s"), "{told}");
    // Somebody else's is not waited for, and with `--force` nobody's is.
    let living = db.connect(&spec("shop").login()).await;
    living.client().batch_execute("SET application_name = 'a shop'").await.unwrap();
    assert!(claim.survey().await.unwrap().check_unused("shop").is_err());
    claim.close().await;
    drop(dead);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_the_server_has_half_dropped_is_dropped_and_not_dumped() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    // As `DROP DATABASE` does first, so that nobody connects to what has lost some of its files.
    let server = Login { user: "rdsadmin".to_owned(), ..db.admin.clone() };
    let half = "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'shop'";
    db.plain(&server).await.batch_execute(half).await.unwrap();
    let seen = survey(&db.server, &db.admin, "shop").await.unwrap();
    assert!(seen.database.as_ref().is_some_and(|info| info.is_half_dropped), "{seen:?}");
    let created = db.create(&[spec("shop")]).await;
    let tenant::Outcome::Failed(error) = &created[0].outcome else { panic!("{created:?}") };
    assert!(error.to_string().contains("`cargo xtask tenant drop shop`"), "{error}");
    let ended = db.end(&drop_spec("shop", "shop_app")).await.unwrap();
    assert_eq!(ended, Dropped { database: true, role: RoleEnd::Dropped });
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_dropped_once_its_name_was_given_and_its_data_is_in_a_file() {
    const TENANT: &str = "healthtech_experiment";
    let fixture = Fixture::start(Want::Databases).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    fixture.run(&["tenant", "create"]).await.expect(0);
    fixture.run(&["migrate", TENANT]).await.expect(0);
    let secret = fixture.context.stack.role_secret_name(&fixture.context.stack.tenant(TENANT).unwrap().owner);
    let (cloud, _) = fixture.context.observe().await.unwrap();
    let password = aws::secret::get(&cloud, &fixture.context.stack, &secret).await.unwrap();

    let file = fixture.cloud.dir().join("copy.dump");
    let dump = file.to_str().unwrap();
    let asked = fixture.run(&["tenant", "drop", TENANT, "--yes", "--dump", dump]).await.expect(2);
    assert!(asked.stderr.contains(&format!("--name {TENANT}")), "{}", asked.stderr);
    let other = ["tenant", "drop", TENANT, "--name", "fintech_experiment", "--yes", "--dump", dump];
    fixture.run(&other).await.expect(130);
    assert!(!file.exists());
    std::fs::write(&file, "precious").unwrap();
    let drop = ["tenant", "drop", TENANT, "--name", TENANT, "--dump", dump, "--json"];
    let taken = fixture.run(&drop).await.expect(2);
    assert!(taken.stderr.contains("nothing was dropped"), "{}", taken.stderr);
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    std::fs::remove_file(&file).unwrap();

    let dropped = fixture.run(&drop).await.expect(0);
    let receipt = dropped.json();
    assert_eq!(receipt["database"]["dropped"], true, "{receipt}");
    assert_eq!(receipt["role"]["outcome"]["kind"], "dropped", "{receipt}");
    assert_eq!(receipt["secret"]["deleted"], true, "{receipt}");
    let copy = std::fs::read(&file).unwrap();
    assert_eq!(receipt["dump"]["bytes"], copy.len(), "{receipt}");
    assert!(copy.starts_with(b"PGDMP") && copy.windows(7).any(|part| part == b"product"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(aws::secret::find(&cloud, &fixture.context.stack, &secret).await.unwrap().is_none());
    let list = fixture.run(&["tenant", "list"]).await.expect(0);
    assert!(list.stdout.lines().any(|line| line.starts_with(TENANT) && line.contains("missing")));
    for text in [&dropped.stdout, &dropped.stderr, &String::from_utf8_lossy(&copy).into_owned()] {
        assert!(!text.contains(password.expose()), "a secret is shown");
    }

    // What is gone is no failure, and can be made anew.
    let again = fixture.run(&["tenant", "drop", TENANT, "--name", TENANT, "--json"]).await.expect(0).json();
    assert_eq!((&again["database"]["dropped"], &again["dump"]), (&false.into(), &serde_json::Value::Null));
    fixture.run(&["tenant", "create", TENANT]).await.expect(0);
    fixture.stop().await;
}
