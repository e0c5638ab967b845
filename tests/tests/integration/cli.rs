//! The command line: bad input changes nothing and says what would be right.

use tests::{Fixture, STACK_FILE, Want, program, run};

const HOSTILE: [&str; 6] =
    ["a\"; DROP DATABASE x; --", "postgres", "x' OR '1'='1", "line\nbreak", "../../etc/passwd", "$(reboot)"];

#[test]
fn a_tenant_that_the_stack_file_does_not_know_is_refused_before_anything_is_contacted() {
    for name in HOSTILE {
        for task in [
            ["migrate", "--plan"].as_slice(),
            &["tenant", "create"],
            &["tenant", "verify"],
            &["tenant", "drop"],
            &["psql"],
        ] {
            let mut args = task.to_vec();
            args.push(name);
            let ran = run(program(&args)).expect(2);
            assert!(ran.stderr.starts_with("error: there is no tenant `"), "{}", ran.stderr);
            assert!(ran.stdout.is_empty(), "{}", ran.stdout);
        }
    }
}

#[test]
fn a_stack_file_with_a_hostile_tenant_is_refused_with_its_place() {
    let shipped = std::fs::read_to_string(STACK_FILE).unwrap();
    for name in HOSTILE {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("stack.toml");
        let quoted = serde_json::to_string(name).unwrap();
        std::fs::write(&file, format!("{shipped}\n[[tenant]]\nname = {quoted}\n")).unwrap();
        let place = format!("{}:{}:8: ", file.display(), shipped.lines().count() + 3);
        for task in ["plan", "up", "down", "status", "resources", "migrate"] {
            let ran = run(program(&[task, "--stack", file.to_str().unwrap()])).expect(2);
            assert!(ran.stderr.contains(&place), "wanted {place} in {}", ran.stderr);
            assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
            assert!(ran.stdout.is_empty(), "{}", ran.stdout);
        }
    }
}

#[test]
fn a_stack_file_that_is_not_there_is_named() {
    let ran = run(program(&["plan", "--stack", "/nowhere/stack.toml"])).expect(2);
    assert!(ran.stderr.contains("/nowhere/stack.toml") && ran.stderr.contains("--stack"), "{}", ran.stderr);
}

#[test]
fn migrations_that_refinery_would_skip_are_refused_before_anything_is_contacted() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("V1__first.sql"), "SELECT 1;\n").unwrap();
    std::fs::write(dir.path().join("V2-second.sql"), "SELECT 1;\n").unwrap();
    let ran = run(program(&["migrate", "--dir", dir.path().to_str().unwrap()])).expect(2);
    assert!(ran.stderr.contains("V2-second.sql"), "{}", ran.stderr);
}

#[test]
fn the_lint_needs_no_cloud_and_no_stack_file() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    std::fs::write(dir.path().join("V1__first.sql"), "CREATE TABLE t (a int);\n").unwrap();
    std::fs::write(dir.path().join("V2__second.sql"), "CREATE INDEX ON t (a);\nDROP INDEX i;\n").unwrap();
    let lint = |more: &[&str]| {
        let mut command = program(&["migrate", "--stack", "/nowhere", "--dir", folder]);
        // No squawk, whoever has installed one.
        command.args(more).env("PATH", "/nowhere");
        run(command)
    };
    let ran = lint(&["--lint"]).expect(1);
    for part in [
        "V2__second.sql:1",
        "create-index",
        "keeps all writers out",
        "CONCURRENTLY",
        "errors: 1, warnings: 1",
    ] {
        assert!(ran.stdout.contains(part), "{}", ran.stdout);
    }
    assert!(ran.stderr.trim().is_empty(), "{}", ran.stderr);
    let document = lint(&["--lint=2", "--json"]).expect(1).json();
    assert_eq!((&document["files"], &document["errors"]), (&1.into(), &1.into()), "{document}");
    assert_eq!(document["findings"][0]["rule"], "create-index");
    // As one set: the index is on a table that nobody uses yet.
    let ran = lint(&["--lint=1"]).expect(0);
    assert!(ran.stdout.contains("drop-index") && !ran.stdout.contains("create-index"), "{}", ran.stdout);
    assert_eq!(run(program(&["migrate", "--lint", "--dir", "/nowhere"])).expect(2).stdout, "");
}

#[test]
fn what_squawk_finds_is_shown_among_the_findings() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (files, bin) = (dir.path().join("files"), dir.path().join("bin"));
    for folder in [&files, &bin] {
        std::fs::create_dir(folder).unwrap();
    }
    std::fs::write(files.join("V1__a.sql"), "DROP TABLE t;\n").unwrap();
    let squawk = bin.join("squawk");
    let lint = |script: &str| {
        std::fs::write(&squawk, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&squawk, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = program(&["migrate", "--lint", "--json", "--dir", files.to_str().unwrap()]);
        command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        run(command).expect(1)
    };
    // It shows its arguments and how much of the environment it was given.
    let ran = lint(
        r#"printf '[{"file":"V1__a.sql","line":0,"level":"Warning","message":"%s","help":null,"rule_name":"x"}]' \
           "$* ${AWS_ACCESS_KEY_ID:-nothing}"; exit 1"#,
    );
    let found = &ran.json()["findings"][1];
    assert_eq!(found["rule"], "squawk/x");
    assert_eq!(found["effect"], "--reporter json --assume-in-transaction V1__a.sql nothing");
    let ran = lint("echo broken >&2; exit 3");
    assert_eq!(ran.json()["findings"].as_array().unwrap().len(), 1);
    assert!(ran.stderr.contains("was not heard") && ran.stderr.contains("broken"), "{}", ran.stderr);
}

#[test]
fn a_share_or_a_pair_of_wishes_that_cannot_be_meant_is_refused_before_anything_is_contacted() {
    for (args, part) in [
        (["--partition", "9/8"].as_slice(), "partitions count from 1"),
        (&["--partition", "half"], "write it as `3/8`"),
        (&["--baseline", "1", "--repair"], "cannot be used with"),
        (&["--plan", "--repair"], "cannot be used with"),
        (&["--jobs", "0"], "--jobs"),
        (&["--join", "r", "--partition", "1/2"], "cannot be used with"),
        (&["--join", "r", "--check-first"], "cannot be used with"),
        (&["--join", "a b"], "a name holds letters, digits, `.`, `_` and `-` only"),
    ] {
        let ran = run(program(&[&["migrate"], args].concat())).expect(2);
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    let mut alone = program(&["migrate"]);
    alone.env("JOB_COMPLETION_INDEX", "0");
    let ran = run(alone).expect(2);
    assert!(ran.stderr.contains("give `--partition`"), "{}", ran.stderr);
}

#[test]
fn an_endpoint_that_does_not_answer_is_an_error_of_aws() {
    let ran = run(program(&["status"])).expect(4);
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_terminal_nothing_is_changed_unless_yes_is_said() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    let ran = fixture.run(&["up"]).await.expect(2);
    assert!(ran.stderr.contains("--yes"), "{}", ran.stderr);
    fixture.run(&["up", "--dry-run"]).await.expect(0);
    fixture.run(&["down", "--dry-run"]).await.expect(0);
    let changes: Vec<_> = fixture
        .cloud
        .gateway()
        .journal()
        .into_iter()
        .filter(|call| !["Describe", "Get", "List"].iter().any(|read| call.operation.starts_with(read)))
        .collect();
    assert!(changes.is_empty(), "{changes:?}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_protected_database_is_not_taken_down_by_accident() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    let identifier = fixture.context.stack.database.identifier.clone();
    let protect = [("DBInstanceIdentifier", identifier.as_str()), ("DeletionProtection", "true")];
    fixture.raw().rds("ModifyDBInstance", &protect).await;
    let ran = fixture.run(&["down", "--yes"]).await.expect(9);
    assert!(ran.stderr.contains("--unprotect") && ran.stderr.contains(&identifier), "{}", ran.stderr);
    let (_, inventory) = fixture.context.observe().await.unwrap();
    assert_eq!(inventory.instances.len(), 1, "nothing else was deleted first");
    fixture.run(&["down", "--yes", "--unprotect"]).await.expect(0);
    fixture.stop().await;
}

#[test]
fn help_usage_and_completions_need_no_cloud() {
    let help = run(program(&["--help"])).expect(0).stdout;
    for task in ["demo", "up", "down", "tunnel", "migrate", "sandbox"] {
        assert!(help.contains(&format!("\n  {task} ")), "{help}");
    }
    run(program(&["upp"])).expect(2);
    run(program(&["up", "networks"])).expect(2);
    assert!(run(program(&["completions", "bash"])).expect(0).stdout.contains("complete"));
}

#[test]
fn a_target_that_is_none_is_refused_before_anything_is_contacted() {
    for to in ["db", "db:0", "db:65536", ":5432", "a b:5432", "x:db:5432", "70000:db:5432", "1:2:3:4"] {
        let ran = run(program(&["tunnel", "--to", to])).expect(2);
        assert!(ran.stderr.contains(&format!("`--to {to}` does not fit")), "{}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = program(&["completions", "bash"]);
    command.stdout(writer).stderr(std::process::Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
