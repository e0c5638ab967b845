//! Tenants that are created at the same time.

use std::time::Duration;

use db::lock::{self, Lock};
use db::migrate::Stop;
use db::tenant::{self, Created, Outcome};
use db::{ConnectOptions, TenantSpec, connect};
use stack::{Events, Secret};
use tokio::task::JoinSet;

use crate::db::{Database, MEMBERSHIPS, spec, until_count};

fn count(created: &[Created], is: fn(&Outcome) -> bool) -> usize {
    created.iter().filter(|one| is(&one.outcome)).count()
}

pub(super) fn of_both(name: &str) -> TenantSpec {
    TenantSpec::new(name, "both", Secret::new("of both"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenant_that_waits_and_one_that_fails_hold_up_nobody() {
    let db = Database::start().await;
    let mut tenants: Vec<TenantSpec> = (0..20).map(|n| spec(&format!("t{n:02}"))).collect();
    tenants.extend(["a", "b", "c"].map(of_both));
    tenants[5].locale = "nonsense".to_owned();

    // Somebody else is at work on the first one's role.
    let holder = db.connect(&db.admin).await;
    let role = Lock::role("t00_app");
    lock::acquire(&holder, role, "test", Duration::ZERO, &Events::none()).await.unwrap();
    let others = async {
        let sql = "SELECT count(*) FROM pg_database WHERE datname ~ '^(t[0-9][0-9]|[abc])$'";
        until_count(&holder, sql, |count| count == 21).await;
        let sql = "SELECT count(*) FROM pg_database WHERE datname = 't00'";
        assert_eq!(holder.client().query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0);
        lock::release(&holder, role).await.unwrap();
    };
    let (created, ()) = tokio::join!(db.create(&tenants), others);
    holder.close().await;
    let names: Vec<&str> = created.iter().map(|one| one.tenant.as_str()).collect();
    assert!(names.iter().copied().eq(tenants.iter().map(|tenant| tenant.name.as_str())), "{names:?}");
    let Outcome::Failed(error) = &created[5].outcome else { panic!("{:?}", created[5]) };
    assert!(error.chain().contains("nonsense"), "{error}");
    assert_eq!(count(&created, |outcome| matches!(outcome, Outcome::Created)), 22, "{created:?}");
    assert!(db.names(&db.admin, MEMBERSHIPS).await.is_empty());

    tenants.remove(5);
    let again = db.create(&tenants).await;
    assert_eq!(count(&again, |outcome| matches!(outcome, Outcome::Unchanged)), 22, "{again:?}");
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_at_once_for_tenants_of_one_role_do_not_take_it_from_each_other() {
    let db = Database::start().await;
    let mut runs = JoinSet::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        let (server, admin) = (db.server.clone(), db.admin.clone());
        runs.spawn(async move {
            let tenants = [of_both(name), spec(&format!("own_{name}"))];
            tenant::create(&server, &admin, &tenants, &Events::none()).await.unwrap()
        });
    }
    let created: Vec<Created> = runs.join_all().await.into_iter().flatten().collect();
    assert_eq!(count(&created, |outcome| matches!(outcome, Outcome::Created)), 12, "{created:?}");
    assert!(db.names(&db.admin, MEMBERSHIPS).await.is_empty());
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_must_be_alone_is_waited_for_and_a_run_that_is_stopped_begins_with_no_other() {
    let db = Database::start().await;
    let alone = db.connect(&db.admin).await;
    lock::acquire(&alone, lock::TENANTS, "test", Duration::ZERO, &Events::none()).await.unwrap();
    let shared = connect(&db.server, &db.admin, &ConnectOptions::default()).await.unwrap();
    let refused = lock::acquire_shared(&shared, lock::TENANTS, "test", Duration::ZERO, &Events::none()).await;
    assert!(refused.unwrap_err().to_string().contains("is held by `drawbridge` as `master`"));
    lock::release(&alone, lock::TENANTS).await.unwrap();
    alone.close().await;
    shared.close().await;

    let stop = Stop::new();
    stop.raise();
    let tenants = [spec("shop"), spec("health")];
    let created =
        tenant::create_until(&db.server, &db.admin, &tenants, &stop, &Events::none()).await.unwrap();
    assert_eq!(count(&created, |outcome| matches!(outcome, Outcome::NotStarted)), 2, "{created:?}");
    assert!(tenant::list(&db.server, &db.admin).await.unwrap().is_empty());
    db.stop().await;
}
