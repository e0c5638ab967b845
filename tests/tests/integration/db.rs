//! Tenants on a real PostgreSQL 16 behind TLS, with a master that is no superuser, as on RDS.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself has failed")]

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use db::migrate::{self, RunOptions, TenantReport};
use db::tenant::{Created, Outcome};
use db::verify::{Verdict, Verification};
use db::{
    BoxStream, ConnectOptions, Dial, Login, Migration, SearchPath, Server, Session, TenantSpec, connect,
    migration, quote, tenant,
};
use sandbox::gateway::Password;
use sandbox::{Authority, Cluster, ClusterServer, ClusterSpec, Front, KeyKind, Programs, Runtime};
use stack::{Events, Secret};
use tests::{Fixture, LIMIT, Watch, seen, within};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

const HOST: &str = "main.c0ffee.us-east-1.rds.amazonaws.com";

/// A cluster of one's own, and the master's way to it.
pub(crate) struct Database {
    cluster: Cluster,
    pub(crate) server: Server,
    pub(crate) admin: Login,
    dir: PathBuf,
    _watch: Watch,
}

/// Where a server's programs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The sandbox's: 16 and 18.
    Wheel,
    /// This machine's own; another version stands in for one that is not there.
    Machine,
}

impl Database {
    pub(crate) async fn start() -> Database {
        Database::start_on(Origin::Wheel, 16, KeyKind::Ecc384).await.unwrap()
    }

    /// Starts a server of that version; none where this machine has none of its own at all.
    pub(crate) async fn start_on(origin: Origin, major: u16, kind: KeyKind) -> Option<Database> {
        let (dir, cache) = (tests::fresh_dir(), tests::sandboxes());
        let programs = match origin {
            Origin::Wheel => {
                let runtime = Runtime::ensure(&cache, &|_| ()).unwrap();
                Programs::wheel(&runtime, major, &cache, &dir, &|_| ()).unwrap()
            }
            Origin::Machine => match Programs::host(major, &cache, &dir, &|_| ()) {
                Err(sandbox::Error::NoPostgres { .. }) => return None,
                programs => programs.unwrap(),
            },
        };
        let spec = ClusterSpec {
            dir: dir.join("cluster"),
            log: dir.join("postgres.log"),
            master_user: "master".to_owned(),
            master_password: Password::new("of the master"),
            database: None,
        };
        let cluster = Cluster::start(&ClusterServer::Programs { programs, cache }, spec).await.unwrap();
        let authority = Authority::new(kind).unwrap();
        let front = Front::new(&authority, HOST, &cluster).unwrap();
        let server = Server {
            host: HOST.to_owned(),
            port: 5432,
            roots: Arc::new(Server::roots_from_pem(authority.pem().as_bytes()).unwrap()),
            dial: Arc::new(InMemory(front)),
        };
        let admin = Login {
            user: "master".to_owned(),
            password: Secret::new("of the master"),
            database: "postgres".to_owned(),
        };
        Some(Database { cluster, server, admin, dir, _watch: Watch::start() })
    }

    pub(crate) async fn connect(&self, login: &Login) -> Session {
        // As other programs do.
        let options = ConnectOptions { search_path: SearchPath::Own, ..ConnectOptions::default() };
        connect(&self.server, login, &options).await.unwrap()
    }

    /// Connects as programs do that are not ours, past TLS and all that a session of ours does by itself.
    pub(crate) async fn plain(&self, login: &Login) -> tokio_postgres::Client {
        let stream = UnixStream::connect(self.socket().join(".s.PGSQL.5432")).await.unwrap();
        let mut config = tokio_postgres::Config::new();
        config.user(&login.user).password(login.password.expose()).dbname(&login.database);
        let (client, connection) = config.connect_raw(stream, tokio_postgres::NoTls).await.unwrap();
        // It ends with its client.
        tokio::spawn(connection);
        client
    }

    /// Connects as a program that is killed once it has done that: its connection stays, as at a tunnel's far end, and nobody
    /// says anything on it any more.
    pub(crate) async fn killed(&self, login: &Login, options: &ConnectOptions, sql: &str) -> Killed {
        let (server, login, options, sql) =
            (self.server.clone(), login.clone(), options.clone(), sql.to_owned());
        let die = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let session = runtime.block_on(async {
                let session = connect(&server, &login, &options).await.unwrap();
                session.client().batch_execute(&sql).await.unwrap();
                session
            });
            Killed { _session: session, runtime: Some(runtime) }
        };
        tokio::task::spawn_blocking(die).await.unwrap()
    }

    pub(crate) async fn as_master(&self, sql: &str) {
        let session = self.connect(&self.admin).await;
        session.client().batch_execute(sql).await.unwrap();
        session.close().await;
    }

    pub(crate) async fn names(&self, login: &Login, sql: &str) -> Vec<String> {
        let session = self.connect(login).await;
        let rows = session.client().query(sql, &[]).await.unwrap();
        session.close().await;
        rows.iter().map(|row| row.get(0)).collect()
    }

    pub(crate) async fn create(&self, tenants: &[TenantSpec]) -> Vec<Created> {
        tenant::create(&self.server, &self.admin, tenants, &Events::none()).await.unwrap()
    }

    async fn verify(&self, tenants: &[TenantSpec]) -> Vec<Verification> {
        tenant::verify(&self.server, &self.admin, tenants).await.unwrap()
    }

    pub(crate) async fn migrate(
        &self,
        tenants: &[TenantSpec],
        migrations: &[Migration],
    ) -> Vec<TenantReport> {
        let logins: Vec<Login> = tenants.iter().map(TenantSpec::login).collect();
        migrate::run(&self.server, &logins, migrations, &RunOptions::default(), &Events::none()).await
    }

    /// Returns the folder of the server's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("cluster/socket")
    }

    pub(crate) async fn stop(self) {
        self.cluster.stop().await.unwrap();
        std::fs::remove_dir_all(self.dir).unwrap();
    }
}

/// What is left of a program that was killed: a connection that nobody drives.
pub(crate) struct Killed {
    _session: Session,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Killed {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Asks until the server counts as many as wanted.
pub(crate) async fn until_count(session: &Session, sql: &str, is_wanted: impl Fn(i64) -> bool) {
    within(LIMIT, &format!("`{sql}` answers what is wanted"), || async {
        let count = session.client().query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
        seen(is_wanted(count), count)
    })
    .await;
}

/// As [`until_count`], as the stack's master through the program.
pub(crate) async fn until_told(fixture: &Fixture, sql: &str, wanted: &str) {
    within(LIMIT, &format!("`{sql}` answers {wanted}"), || async {
        let said = fixture.run(&["psql", "--", "-XAtc", sql]).await.expect(0).stdout;
        seen(said.trim() == wanted, said)
    })
    .await;
}

struct InMemory(Front);

impl Dial for InMemory {
    fn dial(&self) -> Pin<Box<dyn Future<Output = io::Result<BoxStream>> + Send + '_>> {
        let (near, far) = tokio::io::duplex(64 << 10);
        let front = self.0.clone();
        tokio::spawn(async move { front.serve(far).await });
        Box::pin(async { Ok(BoxStream::new(near)) })
    }
}

pub(crate) fn spec(name: &str) -> TenantSpec {
    TenantSpec::new(name, format!("{name}_app"), Secret::new(format!("of {name}")))
}

pub(crate) fn shipped() -> Vec<Migration> {
    migration::load(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../db/migrations")).unwrap()
}

pub(crate) fn file(name: &str, sql: &str) -> Migration {
    migration::parse(name, sql.as_bytes()).unwrap()
}

fn repaired(created: &[Created]) -> String {
    let Outcome::Repaired(what) = &created[0].outcome else { panic!("not repaired: {created:?}") };
    what.join(", ")
}

fn verdict_of(verification: &Verification, name: &str) -> Verdict {
    let found: Vec<Verdict> =
        verification.checks.iter().filter(|check| check.name == name).map(|check| check.verdict).collect();
    found.into_iter().max().unwrap_or_else(|| panic!("no check `{name}` in {verification:?}"))
}

fn all_pass(verifications: &[Verification]) {
    for verification in verifications {
        assert_eq!(verification.verdict(), Verdict::Pass, "{verification:#?}");
    }
}

/// The roles that the master made itself a member of, and should have left.
pub(crate) const MEMBERSHIPS: &str = "
    SELECT r.rolname::text FROM pg_auth_members m
    JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles me ON me.oid = m.member AND me.oid = m.grantor
    WHERE me.rolname = current_user";

#[tokio::test(flavor = "multi_thread")]
async fn tenants_are_created_once_verified_and_then_left_alone() {
    let db = Database::start().await;
    let hostile = TenantSpec {
        purpose: "it's \\ a test".to_owned(),
        ..TenantSpec::new("we\"ird; DROP", "o'wn\"er \\x", Secret::new("p'w\\"))
    };
    let tenants = [spec("shop"), spec("health"), hostile];
    for created in db.create(&tenants).await {
        assert!(matches!(created.outcome, Outcome::Created) && created.findings.is_empty(), "{created:?}");
    }
    // A row's xmin changes when the row is written.
    let stored = "SELECT datname || ' ' || xmin FROM pg_database
                  UNION ALL SELECT oid || ' ' || xmin FROM pg_auth_members ORDER BY 1";
    let before = db.names(&db.admin, stored).await;
    for created in db.create(&tenants).await {
        assert!(matches!(created.outcome, Outcome::Unchanged), "{created:?}");
    }
    assert_eq!(db.names(&db.admin, stored).await, before);
    assert!(db.names(&db.admin, MEMBERSHIPS).await.is_empty());

    let verifications = db.verify(&tenants).await;
    all_pass(&verifications);
    let login = verifications[0].checks.iter().find(|check| check.name.starts_with("login")).unwrap();
    assert_eq!(login.evidence, format!("`shop_app` over TLSv1.3 to `{HOST}`, SCRAM-SHA-256"));

    let list = tenant::list(&db.server, &db.admin).await.unwrap();
    let names: Vec<&str> = list.iter().map(|info| info.name.as_str()).collect();
    assert_eq!(names, ["health", "shop", "we\"ird; DROP"]);
    assert_eq!(list[2].purpose.as_deref(), Some("it's \\ a test"));
    assert!(list.iter().all(|info| !info.public_can_connect && info.collation == "en_US.UTF-8"));
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_damaged_is_repaired_and_named() {
    let db = Database::start().await;
    let mut tenant = spec("shop");
    db.create(&[tenant.clone()]).await;

    tenant.password = Secret::new("rotated");
    assert_eq!(repaired(&db.create(&[tenant.clone()]).await), "password of role `shop_app` set");

    db.as_master("ALTER ROLE shop_app NOLOGIN CREATEDB VALID UNTIL '2001-01-01'").await;
    let what = repaired(&db.create(&[tenant.clone()]).await);
    for part in ["may log in", "no longer create databases", "no longer expired"] {
        assert!(what.contains(part), "{what}");
    }

    let owner = db.connect(&tenant.login()).await;
    owner.client().batch_execute("GRANT CONNECT ON DATABASE shop TO PUBLIC").await.unwrap();
    owner.close().await;
    let open = db.verify(&[tenant.clone()]).await;
    assert_eq!(verdict_of(&open[0], "closed to PUBLIC"), Verdict::Fail);
    assert_eq!(verdict_of(&open[0], "stranger refused"), Verdict::Fail);
    let what = repaired(&db.create(&[tenant.clone()]).await);
    assert_eq!(what, "CONNECT and TEMPORARY revoked from PUBLIC");
    all_pass(&db.verify(&[tenant]).await);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_was_cut_off_is_finished() {
    let db = Database::start().await;
    // As far as it gets before the membership is taken back and PUBLIC is locked out.
    db.as_master("CREATE ROLE shop_app LOGIN").await;
    db.as_master("GRANT shop_app TO CURRENT_USER WITH SET TRUE, INHERIT FALSE").await;
    db.as_master(
        "CREATE DATABASE shop OWNER shop_app TEMPLATE template0
         LC_COLLATE 'en_US.UTF-8' LC_CTYPE 'en_US.UTF-8'",
    )
    .await;
    let what = repaired(&db.create(&[spec("shop")]).await);
    for part in ["password", "revoked from PUBLIC", "master no longer member"] {
        assert!(what.contains(part), "{what}");
    }
    assert!(db.names(&db.admin, MEMBERSHIPS).await.is_empty());
    all_pass(&db.verify(&[spec("shop")]).await);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_owner_is_found_and_left_alone() {
    let db = Database::start().await;
    db.create(&[spec("shop"), spec("health")]).await;
    let owner = "health_app".to_owned();
    let wrong = TenantSpec { user: owner.clone(), owner, ..spec("shop") };
    let wrong = TenantSpec { password: spec("health").password, locale: "C".to_owned(), ..wrong };
    let created = db.create(std::slice::from_ref(&wrong)).await;
    assert!(matches!(created[0].outcome, Outcome::Unchanged), "{created:?}");
    assert_eq!(created[0].findings[0], "the owner is `shop_app`, not `health_app`");
    assert_eq!(created[0].findings.len(), 3, "{created:?}");
    let verifications = db.verify(&[wrong]).await;
    for name in ["owner", "collation", "login over verified TLS"] {
        assert_eq!(verdict_of(&verifications[0], name), Verdict::Fail, "{name}");
    }
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_creators_at_once_one_creates() {
    let db = Database::start().await;
    let mut creators = JoinSet::new();
    for _ in 0..6 {
        let (server, admin) = (db.server.clone(), db.admin.clone());
        creators.spawn(async move {
            tenant::create(&server, &admin, &[spec("shop")], &Events::none()).await.unwrap().remove(0)
        });
    }
    let created = creators.join_all().await;
    let new = created.iter().filter(|created| matches!(created.outcome, Outcome::Created)).count();
    let same = created.iter().filter(|created| matches!(created.outcome, Outcome::Unchanged)).count();
    assert_eq!((new, same), (1, 5), "{created:?}");
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_made_for_one_tenant_is_refused_and_gone_afterwards() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let left_over = "drawbridge_stranger_left_over";
    db.as_master(&format!("CREATE ROLE {} VALID UNTIL '2001-01-01'", quote::ident(left_over))).await;
    let verifications = db.verify(&[spec("shop")]).await;
    all_pass(&verifications);
    let check = verifications[0].checks.iter().find(|check| check.name == "stranger refused").unwrap();
    assert!(check.evidence.contains("permission denied for database"), "{check:?}");
    let strangers = "SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'drawbridge%'";
    assert!(db.names(&db.admin, strangers).await.is_empty());
    db.stop().await;
}
