//! A private PostgreSQL behind TLS, as RDS has it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic anywhere, and tells what it makes"
)]

#[path = "support/client.rs"]
mod client;
#[path = "support/cluster.rs"]
mod cluster;
mod support;

use client::{chain, config, connect, dial};
use cluster::{ENDPOINT, MASTER, PASSWORD};
use sandbox::gateway::Password;
use sandbox::{Authority, Front, KeyKind};
use support::folder;
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

#[tokio::test]
async fn the_master_user_is_what_rds_gives_and_no_superuser() {
    let dir = folder();
    let cluster = client::start(dir.path(), 16).await;
    let authority = Authority::new(KeyKind::Ecc384).unwrap();
    let front = Front::new(&authority, ENDPOINT, &cluster).unwrap();
    let client =
        connect(dial(&front), &config(MASTER, PASSWORD, "first"), &authority, ENDPOINT).await.unwrap();

    let row = client
        .query_one(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, current_setting('server_version_num')::int / 10000,
                    pg_has_role('rds_superuser', 'member')
             FROM pg_roles WHERE rolname = current_user",
            &[],
        )
        .await
        .unwrap();
    let rights: (bool, bool, bool, i32, bool) = (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
    assert_eq!(rights, (false, true, true, 16, true));

    client.batch_execute("CREATE ROLE app LOGIN").await.unwrap();
    let refused = client.batch_execute("CREATE DATABASE app OWNER app").await.unwrap_err();
    assert!(chain(&refused).contains("must be able to SET ROLE"), "{}", chain(&refused));
    client.batch_execute("GRANT app TO CURRENT_USER WITH SET TRUE, INHERIT FALSE").await.unwrap();
    client
        .batch_execute("CREATE DATABASE app OWNER app ENCODING UTF8 LOCALE 'en_US.UTF-8' TEMPLATE template0")
        .await
        .unwrap();

    let mut databases: Vec<(String, String)> = Vec::new();
    let query = "SELECT datname, pg_get_userbyid(datdba)::text FROM pg_database WHERE NOT datistemplate";
    for row in client.query(query, &[]).await.unwrap() {
        databases.push((row.get(0), row.get(1)));
    }
    databases.sort();
    let expected = [("app", "app"), ("first", MASTER), ("postgres", MASTER), ("rdsadmin", "rdsadmin")];
    assert_eq!(databases, expected.map(|(name, owner)| (name.to_owned(), owner.to_owned())));
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn the_server_sorts_as_english_readers_do() {
    let dir = folder();
    let cluster = client::start(dir.path(), 16).await;
    let authority = Authority::new(KeyKind::Ecc384).unwrap();
    let front = Front::new(&authority, ENDPOINT, &cluster).unwrap();
    let client =
        connect(dial(&front), &config(MASTER, PASSWORD, "first"), &authority, ENDPOINT).await.unwrap();
    let row = client
        .query_one("SELECT datcollate, 'apple' < 'Banana' FROM pg_database WHERE datname = 'first'", &[])
        .await
        .unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, bool>(1)), ("en_US.UTF-8", true));
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn only_tls_under_the_right_name_and_a_password_lead_in() {
    let dir = folder();
    let cluster = client::start(dir.path(), 16).await;
    for kind in [KeyKind::Rsa, KeyKind::Ecc384] {
        let authority = Authority::new(kind).unwrap();
        let front = Front::new(&authority, ENDPOINT, &cluster).unwrap();
        let master = config(MASTER, PASSWORD, "postgres");
        connect(dial(&front), &master, &authority, ENDPOINT).await.unwrap();

        let wrong_name = connect(dial(&front), &master, &authority, "other.example.com").await.unwrap_err();
        assert!(chain(&wrong_name).contains("not valid for name"), "{}", chain(&wrong_name));
        let stranger = Authority::new(kind).unwrap();
        let wrong_authority = connect(dial(&front), &master, &stranger, ENDPOINT).await.unwrap_err();
        assert!(chain(&wrong_authority).contains("invalid peer certificate"), "{}", chain(&wrong_authority));

        let wrong = config(MASTER, "wrong", "postgres");
        let wrong = connect(dial(&front), &wrong, &authority, ENDPOINT).await.unwrap_err();
        assert_eq!(wrong.code(), Some(&SqlState::INVALID_PASSWORD));

        for database in ["postgres", "rdsadmin"] {
            let admin = config("rdsadmin", "", database);
            let admin = connect(dial(&front), &admin, &authority, ENDPOINT).await.unwrap_err();
            assert_eq!(admin.code(), Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION));
        }
        let its_database = config(MASTER, PASSWORD, "rdsadmin");
        let its_database = connect(dial(&front), &its_database, &authority, ENDPOINT).await.unwrap_err();
        assert_eq!(its_database.code(), Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION));

        let mut plain = master.clone();
        plain.ssl_mode(tokio_postgres::config::SslMode::Disable);
        let plain = plain.connect_raw(dial(&front), NoTls).await.err().unwrap();
        assert_eq!(plain.code(), Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION));
        assert!(chain(&plain).contains("no encryption"), "{}", chain(&plain));
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_query_can_be_cancelled_through_the_front() {
    let dir = folder();
    let cluster = client::start(dir.path(), 16).await;
    let authority = Authority::new(KeyKind::Ecc384).unwrap();
    let front = Front::new(&authority, ENDPOINT, &cluster).unwrap();
    let client =
        connect(dial(&front), &config(MASTER, PASSWORD, "first"), &authority, ENDPOINT).await.unwrap();
    let token = client.cancel_token();
    let query = client.batch_execute("SELECT pg_sleep(600)");
    let cancel = async {
        let master = config(MASTER, PASSWORD, "first");
        let watcher = connect(dial(&front), &master, &authority, ENDPOINT).await.unwrap();
        let running = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND state = 'active'
                       AND pid <> pg_backend_pid()";
        let asleep = async { while watcher.query_opt(running, &[]).await.unwrap().is_none() {} };
        tokio::time::timeout(support::LIMIT, asleep).await.expect("the query runs");
        token.cancel_query_raw(dial(&front), client::tls(&authority, ENDPOINT)).await.unwrap();
    };
    let (ended, ()) = tokio::join!(query, cancel);
    assert_eq!(ended.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_new_password_replaces_the_old_one_and_no_log_holds_either() {
    let dir = folder();
    let cluster = client::start(dir.path(), 18).await;
    let authority = Authority::new(KeyKind::Ecc384).unwrap();
    let front = Front::new(&authority, ENDPOINT, &cluster).unwrap();
    let new = "tr0ub4dor&3 'quoted'";
    cluster.set_password(MASTER, &Password::new(new)).await.unwrap();
    let old =
        connect(dial(&front), &config(MASTER, PASSWORD, "first"), &authority, ENDPOINT).await.unwrap_err();
    assert_eq!(old.code(), Some(&SqlState::INVALID_PASSWORD));
    let client = connect(dial(&front), &config(MASTER, new, "first"), &authority, ENDPOINT).await.unwrap();
    client.batch_execute("SELECT 'this is logged'").await.unwrap();
    cluster.stop().await.unwrap();

    let log = std::fs::read_to_string(dir.path().join("postgres.log")).unwrap();
    assert!(log.contains("this is logged") && log.contains("CREATE ROLE"), "{log}");
    assert!(!log.contains(PASSWORD) && !log.contains("tr0ub4dor"), "{log}");
}

#[tokio::test]
async fn the_server_has_no_privileges_and_leaves_nothing() {
    let dir = folder();
    let cluster = client::start(dir.path(), 16).await;
    let pid_file = dir.path().join("cluster/data/postmaster.pid");
    let pid: i32 = std::fs::read_to_string(pid_file).unwrap().lines().next().unwrap().parse().unwrap();
    // Not its user's number: in a folder that only root may enter it is root's own, in a namespace without its powers.
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    assert!(capabilities.bytes().all(|digit| digit == b'0'), "{capabilities}");
    cluster.stop().await.unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["postgres.log"]);
}

#[tokio::test]
async fn a_folder_that_only_root_may_enter_and_a_long_path_do_no_harm() {
    use std::os::unix::fs::PermissionsExt;
    let dir = folder();
    let closed = dir.path().join("a_name_that_alone_takes_up_all_of_the_room".repeat(3));
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    let cluster = client::start(&closed, 16).await;
    let authority = Authority::new(KeyKind::Ecc384).unwrap();
    let front = Front::new(&authority, ENDPOINT, &cluster).unwrap();
    let client =
        connect(dial(&front), &config(MASTER, PASSWORD, "first"), &authority, ENDPOINT).await.unwrap();
    client.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    cluster.stop().await.unwrap();
}
