//! The dump before a drop: of the right database, whole, and readable, or nothing is dropped.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use sandbox::PostgresSource;
use tests::{Fixture, Want, block_on, postgres_program};

use super::run;

const TENANT: &str = "healthtech_experiment";
/// A database that the tenant's role may connect to, as roles may that were made without more care.
const DECOY: &str = "CREATE DATABASE decoy";

async fn stage(source: PostgresSource) -> Fixture {
    let fixture = Fixture::start_custom(Want::Databases, |options| options.postgres = source).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    fixture.run(&["tenant", "create", TENANT]).await.expect(0);
    fixture.run(&["migrate", TENANT]).await.expect(0);
    fixture.run(&["psql", "--", "-Xqc", DECOY]).await.expect(0);
    fixture
}

/// Returns the table of contents of a dump, as pg_restore reads it.
fn contents(pg_restore: &Path, dump: &str) -> String {
    let read = Command::new(pg_restore).args(["--list", dump]).output().expect("pg_restore can be run");
    assert!(read.status.success(), "{read:?}");
    String::from_utf8(read.stdout).expect("names are UTF-8")
}

#[test]
fn a_service_that_the_shell_names_does_not_lead_the_dump_to_another_database() {
    block_on(async {
        let fixture = stage(PostgresSource::Wheel).await;
        let dir = fixture.cloud.dir();
        let (services, dump) = (dir.join("services"), dir.join("copy.dump"));
        fs::write(&services, "[decoy]\ndbname=decoy\n").unwrap();
        let dump = dump.to_str().unwrap();
        let inherited = [
            ("PGSERVICEFILE", services.to_str().unwrap()),
            ("PGSERVICE", "decoy"),
            ("PGOPTIONS", "-c search_path=elsewhere"),
        ];
        let seen = ["psql", TENANT, "--", "-XAtc", "SELECT current_database()"];
        let ran = run(&fixture, &seen, &inherited).await.expect(0);
        assert_eq!(ran.stdout.trim(), TENANT);

        let drop = ["tenant", "drop", TENANT, "--name", TENANT, "--dump", dump, "--json"];
        let receipt = run(&fixture, &drop, &inherited).await.expect(0).json();
        let psql = sandbox::Programs::psql(&tests::sandboxes()).expect("the wheel brought it");
        let contents = contents(&psql.with_file_name("pg_restore"), dump);
        assert!(contents.contains(&format!("dbname: {TENANT}\n")), "{contents}");
        assert!(contents.contains(" TABLE DATA public product "), "{contents}");
        let tables = contents.lines().filter(|line| line.contains(" TABLE DATA ")).count();
        assert_eq!(receipt["dump"]["tables"], tables, "{receipt}");
        let digest = Command::new("sha256sum").arg(dump).output().unwrap();
        let digest = String::from_utf8(digest.stdout).unwrap();
        assert_eq!(receipt["dump"]["sha256"].as_str(), digest.split(' ').next(), "{receipt}");
        fixture.stop().await;
    });
}

#[test]
fn nothing_is_dropped_on_a_dump_that_does_not_hold_the_tenants_tables() {
    // The server's own: what is on PATH may be a script that picks one.
    let server = postgres_program("postgres").and_then(|server| fs::canonicalize(server).ok());
    let pg_dump = server.map(|server| server.with_file_name("pg_dump")).filter(|path| path.is_file());
    let Some(pg_dump) = pg_dump.filter(|_| postgres_program("pg_restore").is_some()) else {
        return tests::skip("PostgreSQL is not on this machine (Debian: `apt-get install postgresql`)");
    };
    block_on(async move {
        let fixture = stage(PostgresSource::Host).await;
        let (dir, pg_dump) = (fixture.cloud.dir().to_owned(), pg_dump.display().to_string());
        let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
        for (script, said) in [
            (format!("exec {pg_dump} \"$@\" --dbname=dbname=decoy"), "the dump is of database `decoy`"),
            (format!("exec {pg_dump} \"$@\" --exclude-table=product"), "the dump lacks 1 of its"),
            (format!("exec {pg_dump} \"$@\" --schema-only"), "the dump lacks "),
            (
                "for last; do :; done; echo PGDMP > \"$last\"; exit 0".to_owned(),
                "pg_restore cannot read the dump",
            ),
        ] {
            let lies = dir.join("pg_dump");
            let version = format!("#!/bin/sh\n[ \"$1\" = --version ] && exec {pg_dump} --version\n");
            fs::write(&lies, format!("{version}{script}\n")).unwrap();
            fs::set_permissions(&lies, fs::Permissions::from_mode(0o755)).unwrap();
            let dump = dir.join("copy.dump");
            let drop =
                ["tenant", "drop", TENANT, "--name", TENANT, "--dump", dump.to_str().unwrap(), "--json"];
            let ran = run(&fixture, &drop, &[("PATH", &path)]).await.expect(1);
            assert!(
                ran.stderr.contains(said) && ran.stderr.contains("nothing was dropped"),
                "{}",
                ran.stderr
            );
            assert!(!dump.exists(), "a dump that proves nothing is left: {script}");
            let there = ["psql", TENANT, "--", "-XAtc", "SELECT count(*) FROM product"];
            fixture.run(&there).await.expect(0);
        }
        fixture.stop().await;
    });
}
