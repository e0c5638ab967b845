//! The same job on every PostgreSQL that there is, with a master that is no superuser.

use db::migrate::{Outcome, RunOptions};
use db::{Server, connect};
use sandbox::KeyKind;

use super::{HISTORY, applied, failure, tables};
use crate::db::{Database, Origin, file, spec};

const SERVERS: [(Origin, u16); 4] =
    [(Origin::Wheel, 16), (Origin::Wheel, 18), (Origin::Machine, 15), (Origin::Machine, 17)];

async fn on(origin: Origin, major: u16, kind: KeyKind) {
    let Some(db) = Database::start_on(origin, major, kind).await else {
        return tests::skip(
            "this machine has no PostgreSQL of its own (Debian: `apt-get install postgresql`)",
        );
    };
    let session = db.connect(&db.admin).await;
    assert!(origin == Origin::Machine || session.version() == u32::from(major), "{}", session.version());
    session.close().await;
    let superuser = "SELECT rolsuper::text FROM pg_roles WHERE rolname = current_user";
    assert_eq!(db.names(&db.admin, superuser).await, ["false"]);

    db.create(&[spec("shop"), spec("games")]).await;
    let mut files = tables(3);
    let alone = "-- drawbridge: no-transaction\nCREATE INDEX CONCURRENTLY i ON t1 (id);\n";
    files.push(file("V4__index.sql", alone));
    let reports = db.migrate_with(&["shop", "games"], &files, &RunOptions::default()).await;
    for report in &reports {
        assert_eq!(applied(report), ["V1__t1", "V2__t2", "V3__t3", "V4__index"], "{origin:?} {major}");
    }
    let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
    assert!(matches!(reports[0].outcome, Outcome::UpToDate), "{reports:?}");
    files.push(file("V5__t5.sql", "CREATE TABLE t5 (id int);\n"));
    files.push(file("V6__wrong.sql", "SELECT 1;\nSELECT no_such_column;\n"));
    let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
    let (applied, migration, error) = failure(&reports[0]);
    assert!(applied.is_empty() && migration == Some("V6__wrong"), "{reports:?}");
    assert!(error.to_string().contains("line 2"), "{origin:?} {major}: {error}");
    assert_eq!(db.names(&spec("shop").login(), HISTORY).await.len(), 4);

    // Whoever is not the server that the certificate is for is not talked to.
    let elsewhere = Server { host: "other.example".to_owned(), ..db.server.clone() };
    let refused = connect(&elsewhere, &db.admin, &db::ConnectOptions::default()).await;
    assert!(matches!(refused, Err(db::Error::Tls { .. })), "{refused:?}");
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_migrates_the_same_with_an_rsa_certificate() {
    for (origin, major) in SERVERS {
        on(origin, major, KeyKind::Rsa).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_migrates_the_same_with_an_ecc384_certificate() {
    for (origin, major) in SERVERS {
        on(origin, major, KeyKind::Ecc384).await;
    }
}
