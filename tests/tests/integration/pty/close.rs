//! A session that cannot be ended says nothing of the work: the result comes first, with its own exit code, then a warning.

use tests::{Fixture, Ran, Want};

use super::{CTRL_C, Tty, show};

const TENANT: &str = "startupwebapp_prod";
const WARNING: &str = "could not be ended";

/// Runs a task whose sessions cannot be ended.
async fn run(fixture: &Fixture, args: &[&str], code: i32, wanted: &str) -> Ran {
    let ran = fixture.run(args).await.expect(code);
    assert!(ran.stdout.contains(wanted), "{args:?}: no `{wanted}` in {}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr.contains("warning: session ") && ran.stderr.contains(WARNING),
        "{args:?}: {}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("TerminateSession") && !ran.stderr.contains("error: "),
        "{args:?}: {}",
        ran.stderr
    );
    ran
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_cannot_be_ended_hides_no_result() {
    let fixture = Fixture::start(Want::Databases).await;
    let gateway = fixture.cloud.gateway();
    gateway.deny("ssm", "TerminateSession");
    // A step of `up` opens a session as a proof.
    run(&fixture, &["up", "--yes"], 0, "steps done").await;
    run(&fixture, &["tenant", "create"], 0, "created").await;
    run(&fixture, &["migrate", "status", "--check"], 8, "3 pending").await;
    run(&fixture, &["migrate"], 0, "applied V1__create_accounts").await;
    run(&fixture, &["migrate", "status", "--check"], 0, "3 up to date").await;
    run(&fixture, &["migrate", "--plan"], 0, "up to date").await;
    run(&fixture, &["tenant", "list"], 0, TENANT).await;
    run(&fixture, &["tenant", "verify"], 0, TENANT).await;
    run(&fixture, &["release", "--yes"], 0, "").await;
    run(&fixture, &["secret", "rotate", TENANT, "--yes"], 0, "rotated").await;
    run(&fixture, &["psql", TENANT, "--", "-Xc", "SELECT 6 * 7"], 0, "42").await;
    run(&fixture, &["exec", "--", "sh", "-c", "echo out; exit 3"], 3, "out").await;
    run(&fixture, &["migrate", "--join", "one-run"], 0, TENANT).await;
    // What fails fails for its own reason.
    let dir = fixture.cloud.dir().join("files");
    std::fs::create_dir_all(&dir).expect("a folder");
    std::fs::write(dir.join("V1__a.sql"), "SELECT 1 / 0;\n").expect("a file");
    let dir = dir.display().to_string();
    run(&fixture, &["migrate", "--dir", &dir], 6, "failed").await;
    run(&fixture, &["tenant", "drop", TENANT, "--no-dump", "--name", TENANT], 0, "dropped").await;
    let mut tunnel = Tty::open(&fixture, &["tunnel", "--port", "0"]);
    tunnel.until("ready: ", 1).await;
    tunnel.type_in(CTRL_C).await;
    tunnel.end().await.expect(0, &["ready: ", WARNING, "tunnel closed"]);
    // As a person sees it.
    show(&fixture, &["migrate", "status"]).await.expect(0, &["up to date", "1 failed", WARNING]);
    gateway.allow_all();
    let ran = fixture.run(&["doctor"]).await.expect(0);
    assert!(!ran.stderr.contains(WARNING), "{}", ran.stderr);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_ended_at_the_second_try_without_a_word() {
    use sandbox::gateway::{Fault, FaultKind};
    let fixture = Fixture::start(Want::Databases).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    let operation = Some("TerminateSession".to_owned());
    let kind = FaultKind::refusal();
    fixture.cloud.gateway().inject(Fault { service: Some("ssm".to_owned()), operation, nth: 1, kind });
    let ran = fixture.run(&["exec", "--", "sh", "-c", "exit 3"]).await.expect(3);
    assert!(!ran.stderr.contains(WARNING), "{}", ran.stderr);
    assert_eq!(fixture.cloud.gateway().live_sessions(), 0);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_cannot_be_written_hides_no_result() {
    let fixture = Fixture::start(Want::Databases).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    fixture.run(&["tenant", "create"]).await.expect(0);
    let nowhere = ["--junit", "/nowhere/report.xml"];
    let ran = fixture.run(&[&["migrate"], &nowhere[..]].concat()).await.expect(1);
    assert!(ran.stdout.contains("applied V1__create_accounts"), "{}", ran.stdout);
    assert!(ran.stderr.contains("error: cannot write `/nowhere/report.xml`"), "{}", ran.stderr);
    let dir = fixture.cloud.dir().join("files");
    std::fs::create_dir_all(&dir).expect("a folder");
    std::fs::write(dir.join("V1__a.sql"), "SELECT 1 / 0;\n").expect("a file");
    let dir = dir.display().to_string();
    let ran = fixture.run(&[&["migrate", "--dir", &dir], &nowhere[..]].concat()).await.expect(6);
    assert!(
        ran.stdout.contains("failed") && ran.stderr.contains("warning: cannot write `/nowhere/report.xml`"),
        "{ran:?}"
    );
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_is_told_whatever_fails_after_it() {
    let fixture = Fixture::start(Want::Databases).await;
    let gateway = fixture.cloud.gateway();
    // The lock cannot be given back.
    gateway.deny("ssm", "DeleteParameters");
    let ran = fixture.run(&["up", "--yes"]).await.expect(0);
    assert!(ran.stdout.contains("steps done"), "{}", ran.stdout);
    assert!(ran.stderr.contains("warning: the lock could not be given back"), "{}", ran.stderr);
    gateway.allow_all();
    fixture.run(&["tenant", "create"]).await.expect(0);
    // The database is dropped, and then its secret is not deleted.
    gateway.deny("secretsmanager", "DeleteSecret");
    let drop = ["tenant", "drop", TENANT, "--no-dump", "--name", TENANT];
    let ran = fixture.run(&drop).await.expect(3);
    assert!(ran.stdout.contains("database `startupwebapp_prod`: dropped"), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("its secret: left as it is"), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("hint: run `cargo xtask tenant drop startupwebapp_prod` again"),
        "{}",
        ran.stderr
    );
    gateway.allow_all();
    let ran = fixture.run(&drop).await.expect(0);
    assert!(ran.stdout.contains("its secret: deleted"), "{}", ran.stdout);
    // It is stopped, and then its tag is not removed.
    fixture.run(&["bastion", "keep"]).await.expect(0);
    gateway.deny("ec2", "DeleteTags");
    let ran = fixture.run(&["bastion", "stop", "--yes"]).await.expect(0);
    assert!(ran.stdout.contains("stopped: bastion i-") && ran.stderr.contains("warning: "), "{ran:?}");
    fixture.stop().await;
}
