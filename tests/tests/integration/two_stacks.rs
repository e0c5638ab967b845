//! Two stacks in one account, copies of one file: what is done to one is never done to the other, and names that were copied
//! or changed are refused before anything is written.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself has failed")]

use std::collections::BTreeSet;

use aws::{ApplyOptions, Error, Stop, secret};
use sandbox::gateway::Call;
use serde_json::{Value, json};
use stack::{Component, Events, Stack};
use tests::{Fixture, Ran, Want};

/// A file beside the shipped one, and what it describes.
struct Copy {
    file: String,
    stack: Stack,
}

impl Copy {
    /// The shipped file in which these texts are replaced.
    fn new(fixture: &Fixture, name: &str, changes: &[(&str, &str)]) -> Copy {
        let mut text = std::fs::read_to_string(tests::STACK_FILE).unwrap();
        for (old, new) in changes {
            assert!(text.contains(old), "the shipped file has no {old}");
            text = text.replacen(old, new, 1);
        }
        let file = fixture.cloud.dir().join(format!("{name}.toml"));
        std::fs::write(&file, &text).unwrap();
        let stack = stack::config::parse(&text, name).unwrap();
        Copy { file: file.to_str().unwrap().to_owned(), stack }
    }

    async fn run(&self, fixture: &Fixture, args: &[&str], code: i32) -> Ran {
        let ran = fixture.run(&[&["--stack", &self.file], args].concat()).await;
        assert_eq!(ran.code, code, "{args:?} of {}: {}\n{}", self.stack.name, ran.stdout, ran.stderr);
        ran
    }
}

const STAGING: (&str, &str) = ("environment = \"prod\"", "environment = \"staging\"");

/// Puts these lines under `[database]`.
fn in_database(lines: &str) -> String {
    format!("[database]\n{lines}\n")
}

fn writes(call: &Call) -> bool {
    let reads = ["Describe", "List", "Get", "BatchGet", "Simulate"];
    !reads.iter().any(|start| call.operation.starts_with(start))
}

/// Returns the calls since then that change something.
fn written(fixture: &Fixture, since: usize) -> Vec<Call> {
    fixture.cloud.gateway().journal().drain(since..).filter(writes).collect()
}

fn calls(fixture: &Fixture) -> usize {
    fixture.cloud.gateway().journal().len()
}

/// Returns what AWS tells of a secret, with the versions that it has.
async fn secret_of(fixture: &Fixture, name: &str) -> Value {
    let answer = fixture.raw().secrets("DescribeSecret", &json!({ "SecretId": name })).await;
    let mut answer: Value = serde_json::from_str(&answer).unwrap();
    // Whoever reads it changes that.
    answer.as_object_mut().unwrap().remove("LastAccessedDate");
    answer
}

/// All that a stack has, as its own tasks and the services tell it.
async fn state(fixture: &Fixture, copy: &Copy) -> (Value, Vec<Value>) {
    let mut inventory = copy.run(fixture, &["status", "--json"], 0).await.json()["inventory"].take();
    let mut secrets = Vec::new();
    for one in inventory["secrets"].as_array().unwrap() {
        secrets.push(secret_of(fixture, one["name"].as_str().unwrap()).await);
    }
    // The region's, not the stack's.
    inventory["image"].take();
    (inventory, secrets)
}

/// Returns what no call that is meant for another stack names: ids, ARNs, and the environment, which is in every name.
fn words(inventory: &Value) -> Vec<String> {
    let kinds = ["vpcs", "subnets", "gateways", "route_tables", "groups", "instances", "volumes"];
    let ids = kinds.iter().flat_map(|kind| inventory[kind].as_array().unwrap());
    let mut words: Vec<String> = ids.map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    assert!(words.len() > 10, "{words:?}");
    words.push("staging".to_owned());
    words
}

#[test]
fn what_is_done_to_one_environment_leaves_the_other_as_it_is() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::Databases).await;
        let prod = Copy::new(&fixture, "prod", &[]);
        let staging = Copy::new(&fixture, "staging", &[STAGING]);
        for stack in [&prod, &staging] {
            stack.run(&fixture, &["up", "--yes"], 0).await;
            stack.run(&fixture, &["tenant", "create"], 0).await;
        }
        let before = state(&fixture, &staging).await;
        assert_eq!(before.1.len(), 4, "the master's and one for each tenant");
        fixture.cloud.gateway().watch_for(words(&before.0));
        let tenant = "fintech_experiment";
        for task in [
            &["up", "--yes"][..],
            &["tenant", "create"],
            &["secret", "rotate", "--all", "--yes"],
            &["release", "--yes"],
            &["tenant", "drop", tenant, "--name", tenant, "--no-dump"],
            &["down", "--yes", "--unprotect"],
            &["audit"],
        ] {
            let since = calls(&fixture);
            prod.run(&fixture, task, 0).await;
            let touching: Vec<Call> =
                written(&fixture, since).into_iter().filter(|call| !call.mentions.is_empty()).collect();
            assert!(touching.is_empty(), "{task:?} writes to the other: {touching:?}");
            assert_eq!(state(&fixture, &staging).await, before, "{task:?} changes the other");
        }
        staging.run(&fixture, &["doctor"], 0).await;
        staging.run(&fixture, &["plan", "--check"], 0).await;
        staging.run(&fixture, &["tenant", "verify"], 0).await;
        // A journal that noticed nothing would show the same.
        let since = calls(&fixture);
        staging.run(&fixture, &["secret", "rotate", tenant, "--yes"], 0).await;
        assert!(written(&fixture, since).iter().any(|call| !call.mentions.is_empty()), "nothing is noticed");
        staging.run(&fixture, &["down", "--yes", "--unprotect"], 0).await;
        staging.run(&fixture, &["audit"], 0).await;
        fixture.stop().await;
    });
}

#[test]
fn a_copy_that_names_the_others_secrets_is_refused_before_anything_is_written() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::Databases).await;
        let prod = Copy::new(&fixture, "prod", &[]);
        prod.run(&fixture, &["up", "--yes"], 0).await;
        prod.run(&fixture, &["tenant", "create"], 0).await;
        let before = state(&fixture, &prod).await;
        let prefix = &prod.stack.database.secret_prefix;
        let staging = Copy::new(&fixture, "staging", &[STAGING]);
        let own = staging.stack.master_secret_name();
        let lines = in_database(&format!("secret_prefix = \"{prefix}\""));
        let copied = Copy::new(&fixture, "copied", &[STAGING, ("[database]\n", &lines)]);
        let refused = async |copy: &Copy, task: &[&str]| {
            let since = calls(&fixture);
            // What only reads tells of each tenant by itself.
            let is_of_each = copy.stack.master_secret_name() == own && task == ["tenant", "verify"];
            let ran = copy.run(&fixture, task, if is_of_each { 6 } else { 2 }).await;
            let said = format!("{}{}", ran.stdout, ran.stderr);
            let secret = format!("secret `{prefix}/");
            assert!(said.contains(&secret) && said.contains("does not belong to this stack"), "{ran:?}");
            let written = written(&fixture, since);
            // A lookup may open a session to one's own database; nothing else is done.
            let is_session =
                |call: &Call| call.operation.ends_with("Session") || call.operation == "OpenDataChannel";
            let written: Vec<&Call> = written.iter().filter(|call| !is_session(call)).collect();
            assert!(written.is_empty(), "{task:?} writes: {written:?}");
        };
        for task in [&["plan"][..], &["up", "--yes"], &["up", "secrets", "--yes"]] {
            refused(&copied, task).await;
        }
        // A stack of its own, whose file is then given the other's prefix: all of it, or for the tenants alone.
        staging.run(&fixture, &["up", "--yes"], 0).await;
        let lines = in_database(&format!("secret_prefix = \"{prefix}\"\nmaster_secret = \"{own}\""));
        let roles = Copy::new(&fixture, "roles", &[STAGING, ("[database]\n", &lines)]);
        let tenant = "fintech_experiment";
        for copy in [&copied, &roles] {
            for task in [
                &["up", "--yes"][..],
                &["tenant", "create"],
                &["tenant", "verify"],
                &["tenant", "drop", tenant, "--name", tenant, "--yes"],
                &["secret", "rotate", "--all", "--yes"],
                &["secret", "rotate", tenant, "--yes"],
                &["psql", tenant, "--", "-X", "-c", "SELECT 1"],
                &["exec", "--tenant", tenant, "--", "true"],
            ] {
                refused(copy, task).await;
            }
        }
        let ran = copied.run(&fixture, &["up", "--yes"], 2).await;
        assert!(ran.stderr.contains("it carries the tag of stack `startupwebapp-prod`"), "{}", ran.stderr);
        assert!(ran.stderr.contains("leave `secret_prefix` and `master_secret` out"), "{}", ran.stderr);
        let told = copied.run(&fixture, &["doctor"], 8).await;
        assert!(told.stdout.contains("is not this stack's"), "{}", told.stdout);
        assert_eq!(state(&fixture, &prod).await, before);
        prod.run(&fixture, &["doctor"], 0).await;
        prod.run(&fixture, &["tenant", "verify"], 0).await;

        // What the copy takes down is its own, whatever the file names.
        copied.run(&fixture, &["down", "--yes", "--unprotect"], 0).await;
        staging.run(&fixture, &["audit"], 0).await;
        assert_eq!(state(&fixture, &prod).await, before);
        fixture.stop().await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_writes_a_secret_looks_whose_it_is_first() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    let (cloud, inventory) = fixture.context.observe().await.unwrap();
    let stack = &*fixture.context.stack;
    let events = Events::none();
    let is_foreign = |error: &Error| matches!(error, Error::Foreign { what: "secret", .. });

    // Of three roles the last has somebody else's secret, which is scheduled for deletion.
    let roles: BTreeSet<String> = ["one", "two", "zed"].map(str::to_owned).into();
    let name = stack.role_secret_name("zed");
    let value = json!({ "username": "zed", "password": "theirs" }).to_string();
    let tags = json!([{ "Key": "drawbridge:stack", "Value": "startupwebapp-production" }]);
    let theirs =
        json!({ "Name": name, "SecretString": value, "Tags": tags, "ClientRequestToken": "0".repeat(32) });
    fixture.raw().secrets("CreateSecret", &theirs).await;
    for is_scheduled in [false, true] {
        if is_scheduled {
            let schedule = json!({ "SecretId": name, "RecoveryWindowInDays": 7 });
            fixture.raw().secrets("DeleteSecret", &schedule).await;
        }
        let since = calls(&fixture);
        // Whoever makes secrets for several roles asks this before the first.
        let all = roles.iter().map(|role| stack.role_secret_name(role)).collect();
        assert!(secret::check_all(&cloud, stack, &all).await.is_err_and(|error| is_foreign(&error)));
        let zed = BTreeSet::from(["zed".to_owned()]);
        let made = secret::ensure_all(&cloud, stack, &zed, &Stop::new(), &events).await;
        assert!(made["zed"].as_ref().is_err_and(is_foreign), "{made:?}");
        let one = secret::ensure_role_secret(&cloud, stack, "zed").await;
        assert!(one.as_ref().is_err_and(is_foreign), "{one:?}");
        let names = BTreeSet::from([name.clone()]);
        let found = secret::find_all(&cloud, stack, &names, &events).await;
        assert!(found[&name].as_ref().is_err_and(is_foreign), "{found:?}");
        assert!(secret::get(&cloud, stack, &name).await.is_err_and(|error| is_foreign(&error)));
        assert!(secret::rotate::get(&cloud, stack, &name).await.is_err_and(|error| is_foreign(&error)));
        assert!(!secret::destroy_role_secret(&cloud, stack, "zed").await.unwrap());
        assert_eq!(written(&fixture, since), []);
    }
    let read = |call: &Call| call.operation == "GetSecretValue" || call.operation == "BatchGetSecretValue";
    assert!(!fixture.cloud.gateway().journal().iter().any(read), "another's password is read");

    // The master's, taken over by somebody while the database is there: RDS is told no password.
    let master = stack.master_secret_name();
    let retag = json!({ "SecretId": master, "Tags": [{ "Key": "drawbridge:stack", "Value": "other-prod" }] });
    fixture.raw().secrets("TagResource", &retag).await;
    let mut seen = inventory;
    seen.secrets.clear();
    let since = calls(&fixture);
    let plan = stack::plan::up(stack, &seen, &[Component::Secrets]);
    assert_eq!(plan.steps.len(), 1, "{:?}", plan.steps);
    let options = ApplyOptions::default();
    let failed = Box::pin(aws::apply(&cloud, stack, &plan, seen, &options, &events, &Stop::new())).await;
    assert!(failed.as_ref().is_err_and(|error| is_foreign(&error.source)), "{failed:?}");
    assert_eq!(written(&fixture, since), []);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_prefix_is_refused_with_the_line_to_write_and_hides_nothing() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    let stack = Copy::new(&fixture, "stack", &[]);
    stack.run(&fixture, &["up", "--yes"], 0).await;
    let master = stack.stack.master_secret_name();
    let prefix = &stack.stack.database.secret_prefix;
    let before = secret_of(&fixture, &master).await;
    let since = calls(&fixture);
    for (line, mend) in [
        ("secret_prefix = \"rds/elsewhere\"", format!("`secret_prefix = \"{prefix}\"`")),
        ("master_secret = \"rds/elsewhere/master\"", format!("`master_secret = \"{master}\"`")),
        ("master_user = \"somebody\"", "`master_user = \"dbadmin\"`".to_owned()),
    ] {
        let own = (
            "master_user = \"dbadmin\"\n",
            if line.starts_with("master_user") { "" } else { "master_user = \"dbadmin\"\n" },
        );
        let lines = in_database(line);
        let changed = Copy::new(&fixture, "changed", &[own, ("[database]\n", &lines)]);
        for task in [
            &["plan"][..],
            &["up", "--yes"],
            &["tenant", "create"],
            &["secret", "rotate", "--all", "--yes"],
            &["migrate"],
            &["release", "--yes"],
            &["exec", "--", "true"],
        ] {
            let ran = changed.run(&fixture, task, 2).await;
            assert!(ran.stderr.contains(&mend), "{line}, {task:?}: no {mend} in {}", ran.stderr);
        }
        let shown = changed.run(&fixture, &["status", "--check"], 8).await;
        assert!(shown.stdout.contains(&mend), "{line}: {}", shown.stdout);
    }
    assert_eq!(written(&fixture, since), []);
    assert_eq!(secret_of(&fixture, &master).await, before);

    let lines = in_database("secret_prefix = \"rds/elsewhere\"");
    let changed = Copy::new(&fixture, "changed", &[("[database]\n", &lines)]);
    let told = changed.run(&fixture, &["doctor"], 8).await;
    assert!(told.stdout.contains(&format!("write `secret_prefix = \"{prefix}\"`")), "{}", told.stdout);
    let left = changed.run(&fixture, &["audit"], 9).await;
    assert!(left.stdout.contains(&master), "{}", left.stdout);
    changed.run(&fixture, &["down", "--yes", "--unprotect"], 0).await;
    changed.run(&fixture, &["audit"], 0).await;
    stack.run(&fixture, &["audit"], 0).await;
    let listed = fixture.raw().secrets("ListSecrets", &json!({ "IncludePlannedDeletion": true })).await;
    assert!(!listed.contains(&master), "{listed}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_that_is_the_beginning_of_anothers_takes_nothing_of_it() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    let prod = Copy::new(&fixture, "prod", &[]);
    let lines = in_database("secret_prefix = \"rds/startupwebapp\"");
    let outer = Copy::new(&fixture, "outer", &[STAGING, ("[database]\n", &lines)]);
    prod.run(&fixture, &["up", "--yes"], 0).await;
    outer.run(&fixture, &["up", "--yes"], 0).await;
    let master = prod.stack.master_secret_name();
    assert!(master.starts_with("rds/startupwebapp/"), "{master}");
    let before = state(&fixture, &prod).await;
    for task in ["resources", "status"] {
        let shown = outer.run(&fixture, &[task, "--json"], 0).await.stdout;
        assert!(!shown.contains(&master), "{task}: {shown}");
    }
    outer.run(&fixture, &["down", "--yes", "--unprotect"], 0).await;
    outer.run(&fixture, &["audit"], 0).await;
    assert_eq!(state(&fixture, &prod).await, before);
    prod.run(&fixture, &["plan", "--check"], 0).await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stack_whose_project_and_environment_make_up_the_same_name_is_another_one() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    let named = |project: &str, environment: &str| {
        let project = format!("project = \"{project}\"");
        let environment = format!("environment = \"{environment}\"");
        let old = ("project = \"startupwebapp\"", "environment = \"prod\"");
        Copy::new(&fixture, &environment.replace('"', ""), &[(old.0, &project), (old.1, &environment)])
    };
    let (one, twin) = (named("shop-web", "prod"), named("shop", "web-prod"));
    assert_eq!(one.stack.name, twin.stack.name);
    one.run(&fixture, &["up", "--yes"], 0).await;
    let before = state(&fixture, &one).await;
    let since = calls(&fixture);
    // Their names are taken, so that it cannot be built beside the other; and nothing of the other is its own.
    twin.run(&fixture, &["up", "--yes"], 2).await;
    fixture.run(&["--stack", &twin.file, "down", "--yes", "--unprotect"]).await;
    fixture.run(&["--stack", &twin.file, "release", "--yes"]).await;
    // Both have one lock, so that they wait for each other.
    let is_lock = |call: &Call| call.service == "ssm" && call.operation.contains("Parameter");
    let written: Vec<Call> = written(&fixture, since).into_iter().filter(|call| !is_lock(call)).collect();
    assert!(written.is_empty(), "{written:?}");
    assert_eq!(state(&fixture, &one).await, before);
    one.run(&fixture, &["plan", "--check"], 0).await;
    fixture.stop().await;
}

#[test]
fn a_changed_port_is_said_and_worked_around() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::Databases).await;
        let stack = Copy::new(&fixture, "stack", &[]);
        stack.run(&fixture, &["up", "--yes"], 0).await;
        let lines = in_database("port = 5433");
        let changed = Copy::new(&fixture, "changed", &[("[database]\n", &lines)]);
        changed.run(&fixture, &["plan", "--check"], 0).await;
        let since = calls(&fixture);
        let ran = changed.run(&fixture, &["up", "--yes"], 0).await;
        assert!(ran.stdout.contains("unchanged"), "{}", ran.stdout);
        assert_eq!(written(&fixture, since), []);
        for part in ["listens on port 5432", "`port = 5432`", "--db-port-number 5433"] {
            assert!(ran.stderr.contains(part), "no {part}: {}", ran.stderr);
        }
        let told = changed.run(&fixture, &["status", "--check"], 8).await;
        assert!(told.stdout.contains("`port = 5432`"), "{}", told.stdout);
        changed.run(&fixture, &["doctor"], 0).await;
        changed.run(&fixture, &["tenant", "create", "startupwebapp_prod"], 0).await;
        // What is made says where the database is, not where the file has it.
        let name = stack.stack.role_secret_name("startupwebapp_prod");
        let value = fixture.raw().secrets("GetSecretValue", &json!({ "SecretId": name })).await;
        let value: Value = serde_json::from_str(&value).unwrap();
        let value: Value = serde_json::from_str(value["SecretString"].as_str().unwrap()).unwrap();
        assert_eq!(value["port"], 5432);
        fixture.stop().await;
    });
}
