//! What tenants write, links that lead out of a repository, and reports that cannot be written.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself has failed")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use db::Error;
use db::migrate::{self, Outcome, Retry, RunOptions, Target};
use db::migration::MigrationSet;
use stack::Events;
use tests::{Fixture, Ran, STACK_FILE, Want, program, run};

use crate::db::{Database, file, spec};

const TENANT: &str = "startupwebapp_prod";

fn once() -> RunOptions {
    RunOptions { retry: Retry { attempts: 1, ..Retry::default() }, ..RunOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_of_any_size_fails_its_own_tenant_in_a_sentence() {
    let db = Database::start().await;
    let tenants = [spec("shop"), spec("health"), spec("games")];
    db.create(&tenants).await;
    let files = [file("V1__a.sql", "SELECT 1;\n")];
    db.migrate(&tenants, &files).await;
    for (tenant, sql) in [
        (
            &tenants[0],
            "ALTER TABLE refinery_schema_history ALTER name TYPE text;
             UPDATE refinery_schema_history SET name = repeat('x', 20000000)",
        ),
        (
            &tenants[1],
            "INSERT INTO refinery_schema_history
             SELECT n, 'a', applied_on, checksum FROM refinery_schema_history, generate_series(2, 10002) n",
        ),
    ] {
        let session = db.connect(&tenant.login()).await;
        session.client().batch_execute(sql).await.unwrap();
        session.close().await;
    }
    let reasons = ["a name has more than 255 characters", "it has more than 10000 rows"];
    let logins: Vec<_> = tenants.iter().map(|tenant| tenant.login()).collect();
    let targets = Target::all(&logins, MigrationSet::flat(files.to_vec()));
    let plans = migrate::plan_all(&db.server, &targets, &RunOptions::default()).await;
    for (plan, reason) in plans.iter().zip(reasons) {
        let text = plan.as_ref().unwrap_err().chain();
        assert!(text.contains(reason) && text.len() < 300, "{} bytes: {text:.300}", text.len());
    }
    assert!(plans[2].as_ref().unwrap().is_up_to_date());
    let reports = db.migrate(&tenants, &files).await;
    for (report, reason) in reports.iter().zip(reasons) {
        let Outcome::Failed { error, .. } = &report.outcome else { panic!("{:.300}", format!("{report:?}")) };
        assert!(error.chain().contains(reason), "{:.300}", error.chain());
    }
    assert!(matches!(reports[2].outcome, Outcome::UpToDate), "{:?}", reports[2]);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tenants_function_says_or_returns_is_taken_in_as_far_as_anybody_reads_it() {
    let db = Database::start().await;
    let tenants = [spec("shop"), spec("health"), spec("games")];
    db.create(&tenants).await;
    for (tenant, body) in [
        (
            "shop",
            "RAISE EXCEPTION '%', repeat('é', 20000000) USING DETAIL = repeat('d', 20000000), HINT = 'short'",
        ),
        ("health", "RETURN repeat('x', 40 << 20)"),
        ("games", "RETURN 'fine'"),
    ] {
        let session = db.connect(&spec(tenant).login()).await;
        let sql = format!("CREATE FUNCTION own() RETURNS text LANGUAGE plpgsql AS $$ BEGIN {body}; END $$");
        session.client().batch_execute(&sql).await.unwrap();
        session.close().await;
    }
    let logins: Vec<_> = tenants.iter().map(|tenant| tenant.login()).collect();
    let files = [file("V1__a.sql", "SELECT 1;\nSELECT own();\n")];
    let reports = migrate::run(&db.server, &logins, &files, &once(), &Events::none()).await;
    let Outcome::Failed { error, .. } = &reports[0].outcome else {
        panic!("{:.300}", format!("{:?}", reports[0]))
    };
    let refusal = error.refusal().unwrap();
    assert_eq!((refusal.sqlstate.as_str(), refusal.hint.as_deref()), ("P0001", Some("short")));
    assert!(error.chain().len() < 20_000, "{} bytes", error.chain().len());
    assert!(refusal.message.ends_with(" more bytes"), "{:.300}", refusal.message);
    let Outcome::Failed { error, .. } = &reports[1].outcome else {
        panic!("{:.300}", format!("{:?}", reports[1]))
    };
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    assert!(matches!(reports[2].outcome, Outcome::Applied { .. }), "{:?}", reports[2]);
    db.stop().await;
}

/// Text that acts, as a terminal and a CI see it.
fn acts(ran: &Ran) -> Vec<String> {
    let text = format!("{}\n{}", ran.stdout, ran.stderr);
    let acts = |line: &&str| {
        line.chars().any(|c| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
            || line.trim_start().starts_with("::")
            || line.contains("##[")
            || ["hint: forged", "error: forged"].iter().any(|forged| line.starts_with(forged))
    };
    text.lines().filter(acts).map(|line| line.chars().take(200).collect()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_tenant_wrote_does_nothing_at_a_terminal_or_in_a_ci() {
    let fixture = Fixture::start(Want::Databases).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    fixture.run(&["tenant", "create"]).await.expect(0);
    fixture.run(&["migrate"]).await.expect(0);
    let sql = "INSERT INTO refinery_schema_history VALUES (98, E'\\x1b]52;c;eA==\\x07\\nhint: forged\\n::error::forged', \
               '2026-01-01T00:00:00Z', '1'), (99, E'\\u009b2J\\u202e##[error]forged', '2026-01-01T00:00:00Z', '2')";
    fixture.run(&["psql", TENANT, "--", "-v", "ON_ERROR_STOP=1", "-c", sql]).await.expect(0);
    let folder = fixture.cloud.dir().join("files");
    fs::create_dir_all(&folder).unwrap();
    let raise = "DO $$ BEGIN RAISE EXCEPTION E'\\x1b[2Jone\\nhint: forged\\r\\n::error::forged' USING DETAIL = E'a\\nerror: forged'; \
                 END $$;\n";
    fs::write(folder.join("V1__a.sql"), raise).unwrap();
    let folder = folder.to_str().unwrap();
    let (page, xml) = (fixture.cloud.dir().join("page.html"), fixture.cloud.dir().join("junit.xml"));
    for (args, codes) in [
        (vec!["migrate", "--plan"], [6, 7]),
        (vec!["migrate", "--plan", "--json"], [6, 7]),
        (vec!["migrate", "--plan", "--verbose"], [6, 7]),
        (vec!["migrate"], [6, 7]),
        (vec!["migrate", "status"], [0, 0]),
        (vec!["migrate", "status", "--html", page.to_str().unwrap(), "--json"], [0, 0]),
        (vec!["migrate", "--repair", "--yes"], [6, 7]),
        (vec!["migrate", "--junit", xml.to_str().unwrap()], [6, 7]),
        (vec!["release", "--yes"], [6, 7]),
        (vec!["release", "--yes", "--json"], [6, 7]),
    ] {
        let ran = fixture.run(&args).await;
        assert!(codes.contains(&ran.code), "{args:?}: {ran:?}");
        assert!(acts(&ran).is_empty(), "{args:?}: {:?}", acts(&ran));
    }
    let page = fs::read_to_string(page).unwrap() + &fs::read_to_string(xml).unwrap();
    assert!(!page.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{page}");
    // What PostgreSQL has to say in several lines stays readable.
    fixture.run(&["psql", "healthtech_experiment", "--", "-c", "DROP TABLE refinery_schema_history"]).await;
    for json in [&[][..], &["--json"]] {
        let ran = fixture.run(&[&["migrate", "--dir", folder][..], json].concat()).await;
        assert!([6, 7].contains(&ran.code) && acts(&ran).is_empty(), "{ran:?}");
    }
    // A name that is longer than a formatter can pad.
    let sql = "ALTER TABLE refinery_schema_history ALTER name TYPE text;
               UPDATE refinery_schema_history SET name = repeat('x', 200000) WHERE version = 99";
    fixture.run(&["psql", TENANT, "--", "-v", "ON_ERROR_STOP=1", "-c", sql]).await.expect(0);
    for args in [&["migrate", "--plan"][..], &["migrate", "status"], &["release", "--yes"]] {
        let ran = fixture.run(args).await;
        assert!([0, 6, 7].contains(&ran.code), "{args:?}: {}", ran.code);
        assert!(ran.stdout.len() + ran.stderr.len() < 100_000, "{args:?}: {} bytes", ran.stdout.len());
    }
    // PostgreSQL's own log has every statement, with the verifiers of passwords in it.
    let logs: Vec<_> = fs::read_dir(fixture.cloud.dir())
        .unwrap()
        .map(|one| one.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .collect();
    assert!(logs.iter().any(|log| fs::read_to_string(log).is_ok_and(|text| text.contains("SCRAM-SHA-256$"))));
    for log in logs {
        assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600, "{}", log.display());
    }
    fixture.stop().await;
}

/// What nobody but the owner of the machine reads.
const KEY: &str = "root:$6$verysecret:19000:0:99999:7:::";

/// A repository that somebody else has prepared, and a file outside of it.
fn prepare(dir: &Path) {
    fs::create_dir_all(dir.join("repo/.git")).unwrap();
    fs::create_dir_all(dir.join("repo/files")).unwrap();
    fs::write(dir.join("shadow"), format!("{KEY}\n")).unwrap();
    fs::write(dir.join("key.sql"), format!("SELECT '{KEY}';\n")).unwrap();
    fs::create_dir_all(dir.join("folder")).unwrap();
    fs::write(dir.join("folder/V1__a.sql"), format!("SELECT '{KEY}';\n")).unwrap();
    symlink(dir.join("shadow"), dir.join("repo/stack.toml")).unwrap();
    symlink(dir.join("shadow"), dir.join("repo/tenants.csv")).unwrap();
    symlink(dir.join("key.sql"), dir.join("repo/files/V1__a.sql")).unwrap();
    symlink(dir.join("folder"), dir.join("repo/set")).unwrap();
    symlink(dir.join("shadow"), dir.join("repo/report.json")).unwrap();
    let shipped = fs::read_to_string(STACK_FILE).unwrap();
    fs::write(dir.join("repo/own.toml"), &shipped).unwrap();
    fs::write(dir.join("repo/linked.toml"), format!("{shipped}\n[tenants]\nfile = \"tenants.csv\"\n"))
        .unwrap();
    let outside = dir.join("shadow");
    let named = format!("{shipped}\n[tenants]\nfile = \"{}\"\n", outside.display());
    fs::write(dir.join("repo/named.toml"), named).unwrap();
    fs::write(dir.join("repo/upwards.toml"), format!("{shipped}\n[tenants]\nfile = \"../shadow\"\n"))
        .unwrap();
}

#[test]
fn no_link_of_a_repository_leads_to_what_is_the_machines() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let repo = dir.path().join("repo");
    let path = |name: &str| repo.join(name).to_str().unwrap().to_owned();
    for args in [
        vec!["plan", "--stack", &path("stack.toml")],
        vec!["plan", "--stack", &path("linked.toml")],
        vec!["plan", "--stack", &path("named.toml")],
        vec!["plan", "--stack", &path("upwards.toml")],
        vec!["migrate", "--plan", "--dir", &path("files")],
        vec!["migrate", "--lint", "--dir", &path("files")],
        vec!["migrate", "--lint", "--dir", &path("set")],
        vec!["release", "--stack", &path("own.toml"), "--report", &path("report.json")],
        vec!["status", "--stack", &path("own.toml"), "--html", &path("report.json")],
        vec!["adopt", "--stack", &path("own.toml"), "--from", &path("tenants.csv")],
    ] {
        let mut command = program(&args);
        command.current_dir(&repo);
        let ran = run(command);
        assert_eq!(ran.code, 2, "{args:?}: {ran:?}");
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("verysecret"), "{args:?}: {}", ran.stderr);
        let says = ["leads out of its repository, to `", "lies outside of the repository"];
        assert!(says.iter().any(|words| ran.stderr.contains(words)), "{args:?}: {}", ran.stderr);
    }
    assert_eq!(fs::read_to_string(dir.path().join("shadow")).unwrap(), format!("{KEY}\n"), "it is untouched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_hides_neither_the_result_nor_the_report() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    for (task, says) in [("status", "bastion"), ("resources", "resources")] {
        let ran = fixture.run(&[task, "--html", "/dev/full"]).await.expect(1);
        assert!(ran.stdout.contains(says), "{task}: {ran:?}");
        assert!(ran.stderr.contains("error: cannot write `/dev/full`"), "{}", ran.stderr);
        let ran = fixture.run(&[task, "--html", "/dev/full", "--json"]).await.expect(1);
        assert_eq!(ran.json()["stack"], fixture.context.stack.name, "{task}");
    }
    // It cannot connect here, and that comes first.
    let ran = fixture.run(&["release", "--yes", "--report", "/dev/full"]).await.expect(1);
    assert!(
        ran.stdout.contains("release of `") && ran.stderr.contains("warning: cannot write `/dev/full`"),
        "{ran:?}"
    );
    // The other way round: nobody takes what is printed.
    let report = fixture.cloud.dir().join("report.json");
    let mut command = fixture.program(&["release", "--yes", "--report", report.to_str().unwrap()]);
    command.stdout(Stdio::from(fs::File::options().append(true).open("/dev/full").unwrap()));
    let ran = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .stderr(Stdio::piped())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success() && fs::read_to_string(&report).unwrap().contains("\"stack\""), "{said}");
    fixture.stop().await;
}
