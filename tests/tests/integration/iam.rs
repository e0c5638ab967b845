//! The policies that `iam print` shows, held against what the tasks really call.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself has failed")]

mod calls;
mod damage;

use std::collections::BTreeSet;

use sandbox::{Challenge, Encryption, Pacing};
use serde_json::{Value, json};
use stack::policy::Task;
use tests::{Fixture, Want};

use calls::Recording;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_printed_with_and_without_an_account() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    let printed = fixture.run(&["iam", "print", "up"]).await.expect(0);
    assert!(printed.stderr.contains("of the 6144 characters"), "{}", printed.stderr);
    assert!(printed.stdout.contains("arn:aws:ec2:us-east-1:123456789012:*/*"), "{}", printed.stdout);
    let as_json = fixture.run(&["iam", "print", "up", "--json"]).await.expect(0);
    assert_eq!(printed.stdout, as_json.stdout);
    assert!(fixture.raw().iam("ListRoles", &[]).await.contains("<Roles/>"), "nothing is made");

    let named = ["iam", "print", "connect", "--account", "210987654321"];
    let before = fixture.cloud.gateway().journal().len();
    let printed = fixture.run(&named).await.expect(0).json();
    assert_eq!(fixture.cloud.gateway().journal().len(), before, "an account that is named is not asked for");
    let secrets =
        "arn:aws:secretsmanager:us-east-1:210987654321:secret:rds/startupwebapp/multi-tenant-prod/*";
    let has_secrets = |one: &&Value| one["Resource"] == json!([secrets]);
    assert!(printed["Statement"].as_array().unwrap().iter().any(|one| has_secrets(&one)), "{printed}");

    let mut nobody = tests::program(&["iam", "print", "status"]);
    nobody.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    let printed = tests::run(nobody).expect(0);
    assert!(printed.stderr.contains("`--account ID`"), "{}", printed.stderr);
    assert!(printed.json()["Statement"].to_string().contains("arn:aws:rds:us-east-1:*:db:"));
    let refused = fixture.run(&["iam", "print", "up", "--account", "12345"]).await.expect(2);
    assert!(refused.stderr.contains("twelve digits"), "{}", refused.stderr);
    fixture.stop().await;
}

/// Every call that the code can make is in the table, and every line of the table is a call of the code.
#[test]
fn the_table_knows_every_call_that_the_code_names() {
    let mut named = BTreeSet::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/aws/src");
    let mut text = String::new();
    crate::flow::read_all(std::path::Path::new(folder), &mut text);
    for call in text.split("failed(").skip(1) {
        let Some((service, operation)) = call.split_once(')').and_then(|(args, _)| args.split_once(", "))
        else {
            continue;
        };
        let service = if service == "SERVICE" { "secretsmanager" } else { service.trim_matches('"') };
        if operation.starts_with('"') {
            named.insert(format!("{service}:{}", operation.trim_matches('"')));
        }
    }
    assert!(named.len() > 60, "the calls are written in another way now: {named:?}");
    // The tunnel's own, which no client of the SDK makes.
    named.insert("ssmmessages:OpenDataChannel".to_owned());
    let implied = stack::policy::implied_by(named.iter().map(String::as_str));
    let implied = implied.unwrap_or_else(|unknown| panic!("add to policy/table.rs: {unknown:?}"));
    let granted: BTreeSet<&str> = Task::ALL.into_iter().flat_map(Task::actions).collect();
    assert_eq!(implied, granted);
}

#[test]
fn up_is_allowed_what_it_calls_whatever_it_finds() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        damage::before_the_first(&fixture).await;
        let mut up = Recording::of(&fixture, Task::Up);
        up.run(&["up", "--yes"], 0).await;
        damage::what_is_up(&fixture).await;
        up.run(&["up", "--yes", "--remove-unknown-rules"], 0).await;
        damage::what_is_left(&fixture).await;
        up.run(&["up", "--yes"], 0).await;
        fixture.run(&["plan", "--check"]).await.expect(0);
        // Watched, with mail to one and then to another, and not watched any more.
        let watched = tests::watched_stack_file(fixture.cloud.dir(), "ops@example.com");
        up.run(&["--stack", &watched, "up", "--yes"], 0).await;
        damage::confirmed_mail(&fixture, "ops@example.com").await;
        let watched = tests::watched_stack_file(fixture.cloud.dir(), "night@example.com");
        up.run(&["--stack", &watched, "up", "--yes"], 0).await;
        up.run(&["up", "--yes"], 0).await;
        fixture.run(&["plan", "--check"]).await.expect(0);
        // In an account that is empty again.
        fixture.cloud.gateway().reset().await.unwrap();
        up.run(&["up", "network", "--yes"], 0).await;
        damage::short_subnet_group(&fixture).await;
        // moto loses a group that is modified, and refuses the database then.
        up.run(&["up", "--yes"], 4).await;
        let asleep = crate::doctor::with_an_agent_asleep().await;
        up.on(&asleep);
        up.run(&["up", "--yes"], 0).await;
        up.expect_exactly_the_policy();
        asleep.stop().await;
        fixture.stop().await;
    });
}

#[test]
fn the_bastions_hours_and_doctor_are_allowed_what_they_call() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::Databases).await;
        let watched = tests::watched_stack_file(fixture.cloud.dir(), "ops@example.com");
        let own = ["--stack", &watched, "up", "--yes", "--ephemeral", "--ttl", "30m"];
        fixture.run(&own).await.expect(0);
        let mut bastion = Recording::of(&fixture, Task::Bastion);
        damage::time_is_over(&fixture).await;
        bastion.run(&["sweep", "--expired", "--yes"], 0).await;
        fixture.run(&["--stack", &watched, "up", "--yes"]).await.expect(0);
        let mut doctor = Recording::of(&fixture, Task::Doctor);
        doctor.run(&["doctor"], 0).await;
        // A secret that is not where the stack file looks for it is found by its tag.
        let text = std::fs::read_to_string(&watched).unwrap();
        let file = fixture.cloud.dir().join("moved.toml");
        std::fs::write(
            &file,
            text.replace("[database]\n", "[database]\nsecret_prefix = \"rds/elsewhere\"\n"),
        )
        .unwrap();
        doctor.run(&["--stack", file.to_str().unwrap(), "doctor"], 8).await;
        doctor.expect_exactly_the_policy();
        for task in ["keep", "stop", "start", "reboot"] {
            bastion.run(&["bastion", task, "--yes"], 0).await;
        }
        bastion.expect_exactly_the_policy();
        fixture.stop().await;
    });
}

#[test]
fn down_is_allowed_what_it_calls_whatever_it_finds() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        let watched = tests::watched_stack_file(fixture.cloud.dir(), "ops@example.com");
        fixture.run(&["--stack", &watched, "up", "--yes"]).await.expect(0);
        damage::what_makes_down_hard(&fixture).await;
        damage::other_alarm(&fixture).await;
        let mut down = Recording::of(&fixture, Task::Down);
        let snapshot = format!("{}-final-last", fixture.context.stack.database.identifier);
        down.run(&["down", "--yes", "--unprotect", "--snapshot", &snapshot], 0).await;
        down.expect_exactly_the_policy();
        fixture.stop().await;
    });
}

#[test]
fn adopt_is_allowed_what_it_calls() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        let watched = tests::watched_stack_file(fixture.cloud.dir(), "ops@example.com");
        fixture.run(&["--stack", &watched, "up", "--yes"]).await.expect(0);
        let file = fixture.cloud.dir().join("aws-resources.env");
        fixture.run(&["env", file.to_str().unwrap()]).await.expect(0);
        crate::adopt::untag(&fixture).await;
        let mut adopt = Recording::of(&fixture, Task::Adopt);
        adopt.run(&["adopt", "--from", file.to_str().unwrap(), "--yes"], 0).await;
        adopt.expect_exactly_the_policy();
        fixture.stop().await;
    });
}

#[test]
fn whoever_looks_or_connects_is_allowed_what_that_calls() {
    tests::block_on(async {
        let fixture = Fixture::start_agent(Want::Databases, |agent| {
            let key_id = "alias/sessions".to_owned();
            agent.encryption = Some(Encryption { key_id, challenge: Challenge::Asked });
        })
        .await;
        let watched = tests::watched_stack_file(fixture.cloud.dir(), "ops@example.com");
        fixture.run(&["--stack", &watched, "up", "--yes"]).await.expect(0);
        damage::other_alarm(&fixture).await;
        let mut status = Recording::of(&fixture, Task::Status);
        status.run(&["plan"], 0).await;
        status.run(&["status"], 0).await;
        status.run(&["resources"], 0).await;
        status.run(&["audit"], 9).await;
        status.run(&["cost"], 0).await;
        status.expect_exactly_the_policy();

        let key: Value = serde_json::from_str(&fixture.raw().kms("CreateKey", &json!({})).await).unwrap();
        let alias = json!({ "AliasName": "alias/sessions", "TargetKeyId": key["KeyMetadata"]["KeyId"] });
        fixture.raw().kms("CreateAlias", &alias).await;
        let mut connect = Recording::of(&fixture, Task::Connect);
        fixture.run(&["bastion", "stop", "--yes"]).await.expect(0);
        connect.run_on_a_line_that_breaks(&["exec", "--", "true"], 0).await;
        connect.run(&["bastion", "shell", "--", "true"], 0).await;
        connect.expect_exactly_the_policy();
        fixture.stop().await;
    });
}

#[test]
fn tenants_migrations_and_rotations_are_allowed_what_they_call() {
    tests::block_on(async {
        let fixture = Fixture::start_agent(Want::Databases, |agent| agent.pacing = Pacing::Unlimited).await;
        let watched = tests::watched_stack_file(fixture.cloud.dir(), "ops@example.com");
        fixture.run(&["--stack", &watched, "up", "--yes"]).await.expect(0);
        let scheduled = fixture.context.stack.role_secret_name("fintech_experiment");
        damage::scheduled_secret(&fixture, &scheduled, None).await;
        let mut tenant = Recording::of(&fixture, Task::Tenant);
        fixture.run(&["bastion", "stop", "--yes"]).await.expect(0);
        tenant.run_on_a_line_that_breaks(&["tenant", "create"], 0).await;
        tenant.run(&["tenant", "list"], 0).await;
        tenant.run(&["tenant", "verify"], 0).await;
        let drop = ["tenant", "drop", "fintech_experiment", "--name", "fintech_experiment", "--no-dump"];
        tenant.run(&drop, 0).await;
        tenant.expect_exactly_the_policy();

        // So many that their passwords are read together.
        let more: String = (1..=18).map(|n| format!("[[tenant]]\nname = \"more_{n}\"\n")).collect();
        let shipped = std::fs::read_to_string(tests::STACK_FILE).unwrap();
        let file = fixture.cloud.dir().join("stack.toml");
        std::fs::write(&file, format!("{shipped}\n{more}")).unwrap();
        let many = ["--stack", file.to_str().unwrap()];
        fixture.run(&[&many[..], &["tenant", "create"]].concat()).await.expect(0);
        let mut migrate = Recording::of(&fixture, Task::Migrate);
        fixture.run(&["bastion", "stop", "--yes"]).await.expect(0);
        migrate.run_on_a_line_that_breaks(&["migrate"], 0).await;
        migrate.run(&[&many[..], &["migrate", "--plan"]].concat(), 0).await;
        migrate.run(&["migrate", "status"], 0).await;
        migrate.expect_exactly_the_policy();

        let mut rotate = Recording::of(&fixture, Task::Rotate);
        fixture.run(&["bastion", "stop", "--yes"]).await.expect(0);
        rotate.run_on_a_line_that_breaks(&["secret", "rotate", "--all", "--yes"], 0).await;
        rotate.expect_exactly_the_policy();
        fixture.stop().await;
    });
}
