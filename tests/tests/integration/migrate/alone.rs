//! What is wrong with one tenant ends nobody else's work, and is told with the command that mends it.

use serde_json::{Value, json};
use tests::{Fixture, Ran, Want};

use super::program::{Files, kinds};

const BROKEN: &str = "healthtech_experiment";

struct Stage {
    fixture: Fixture,
    files: Files,
    secret: String,
}

impl Stage {
    async fn start() -> Stage {
        let fixture = Fixture::start(Want::Databases).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        fixture.run(&["tenant", "create"]).await.expect(0);
        let files = Files::flat(&fixture);
        let secret = fixture.context.stack.role_secret_name(BROKEN);
        Stage { fixture, files, secret }
    }

    async fn run(&self, task: &[&str], code: i32) -> Ran {
        let ran = self.fixture.run(task).await.expect(code);
        assert!(!format!("{ran:?}").contains("hunter2"), "a secret is told: {ran:?}");
        ran
    }

    /// One tenant fails, with a command that mends it, and the others are done; then that command is typed.
    async fn expect_alone(&self, n: usize, says: &str, mend: &[&str]) {
        self.files.write(&format!("V{n}__n{n}.sql"), &format!("CREATE TABLE n{n} (id int);\n"));
        let command = format!("`cargo xtask --stack {} {}", tests::STACK_FILE, mend.join(" "));
        let args = self.files.args(&[]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ran = self.run(&args, 7).await;
        let answer = ran.json();
        assert_eq!(kinds(&answer), ["applied", "failed", "applied"], "{says}: {ran:?}");
        let told = format!("{}{}", answer["tenants"][1], ran.stderr);
        assert!(told.contains(says) && told.contains(&command), "{says}: {told}");
        // The others are up to date by now.
        let joined = self.files.args(&["--join", &format!("run-{n}")]);
        let ran = self.run(&joined.iter().map(String::as_str).collect::<Vec<_>>(), 7).await;
        assert_eq!(kinds(&ran.json()), ["up-to-date", "failed", "up-to-date"], "{says}: {ran:?}");

        let status = self.files.status();
        let ran = self.run(&status.iter().map(String::as_str).collect::<Vec<_>>(), 0).await;
        let answer = ran.json();
        let states: Vec<&Value> =
            answer["tenants"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
        assert_eq!(states, ["up-to-date", "failed", "up-to-date"], "{says}: {answer}");
        let ran = self.run(&["tenant", "verify", "--json"], 7).await;
        let answer = ran.json();
        for (one, fails) in answer["tenants"].as_array().unwrap().iter().zip([false, true, false]) {
            let checks = one["checks"].as_array().unwrap();
            let is_bad =
                |name: &str| checks.iter().any(|one| one["name"] == name && one["verdict"] != "pass");
            assert_eq!(checks.iter().any(|one| one["verdict"] == "fail"), fails, "{says}: {one}");
            assert!(fails || !is_bad("login over verified TLS"), "{says}: {one}");
        }
        self.run(&["tenant", "list"], 0).await;

        // A rotation asks before it writes.
        let yes: &[&str] = if mend[0] == "secret" { &["--yes"] } else { &[] };
        self.run(&[mend, yes].concat(), 0).await;
        let ran = self.run(&args, 0).await;
        assert_eq!(kinds(&ran.json()), ["up-to-date", "applied", "up-to-date"], "{says}: {ran:?}");
        self.run(&["tenant", "verify"], 0).await;
    }

    async fn sql(&self, sql: &str) {
        self.run(&["psql", "--", "-Xqc", sql], 0).await;
    }

    /// Writes over the secret's current version, as people do by hand.
    async fn overwrite(&self, value: &str) {
        let (raw, id) = (self.fixture.raw(), &self.secret);
        let current = raw.secrets("GetSecretValue", &json!({ "SecretId": id })).await;
        let current: Value = serde_json::from_str(&current).unwrap();
        let token = format!("c0ffee{:02}-0000-4000-8000-000000000000", value.len());
        // The sandbox's service knows no second way after a rotation.
        let put = json!({ "SecretId": id, "SecretString": value, "ClientRequestToken": token,
            "VersionStages": ["BY_HAND"] });
        raw.secrets("PutSecretValue", &put).await;
        let promote = json!({ "SecretId": id, "VersionStage": "AWSCURRENT", "MoveToVersionId": token,
            "RemoveFromVersionId": current["VersionId"] });
        raw.secrets("UpdateSecretVersionStage", &promote).await;
    }
}

#[test]
fn one_tenant_that_nobody_can_log_in_to_fails_alone_and_the_command_that_is_named_mends_it() {
    tests::block_on(async {
        let stage = Stage::start().await;
        let rotate: &[&str] = &["secret", "rotate", BROKEN];
        let create: &[&str] = &["tenant", "create", BROKEN];
        stage.overwrite("hunter2 by hand").await;
        stage.create_fails_alone().await;
        stage.expect_alone(1, "holds no JSON object with a `password`", rotate).await;
        stage.overwrite(r#"{"username":"healthtech_experiment","password":""}"#).await;
        stage.expect_alone(2, "holds a `password` that is empty", rotate).await;

        // Away for good, and in a month.
        for (n, forced) in [(3, true), (4, false)] {
            let mut delete = json!({ "SecretId": stage.secret });
            if forced {
                delete["ForceDeleteWithoutRecovery"] = json!(true);
            }
            stage.fixture.raw().secrets("DeleteSecret", &delete).await;
            stage.expect_alone(n, "secret `", create).await;
        }
        // The server knows another password, no such role that may log in, no such database.
        stage.sql(&format!("ALTER ROLE {BROKEN} PASSWORD 'hunter2'")).await;
        stage.expect_alone(5, "password authentication failed", create).await;
        stage.sql(&format!("ALTER ROLE {BROKEN} NOLOGIN")).await;
        stage.expect_alone(6, "not permitted to log in", create).await;
        let (grant, drop, revoke) = (
            format!("GRANT {BROKEN} TO CURRENT_USER"),
            format!("DROP DATABASE {BROKEN} WITH (FORCE)"),
            format!("REVOKE {BROKEN} FROM CURRENT_USER"),
        );
        stage.run(&["psql", "--", "-Xqc", &grant, "-c", &drop, "-c", &revoke], 0).await;
        stage.expect_gone(7, create).await;

        stage.release().await;
        stage.fixture.stop().await;
    });
}

impl Stage {
    /// `tenant create` does what it can for the others too.
    async fn create_fails_alone(&self) {
        let ran = self.run(&["tenant", "create", "--json"], 7).await;
        let answer = ran.json();
        let kinds: Vec<&Value> =
            answer["tenants"].as_array().unwrap().iter().map(|one| &one["outcome"]["kind"]).collect();
        assert_eq!(kinds, ["unchanged", "failed", "unchanged"], "{answer}");
    }

    /// A database that is not there has no table of its own: the others are done.
    async fn expect_gone(&self, n: usize, mend: &[&str]) {
        self.files.write(&format!("V{n}__n{n}.sql"), &format!("CREATE TABLE n{n} (id int);\n"));
        let args = self.files.args(&[]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ran = self.run(&args, 7).await;
        assert_eq!(kinds(&ran.json()), ["applied", "failed", "applied"], "{ran:?}");
        let command = format!("`cargo xtask --stack {} {}", tests::STACK_FILE, mend.join(" "));
        assert!(ran.stderr.contains(&command), "{ran:?}");
        self.run(&["tenant", "verify"], 7).await;
        self.run(mend, 0).await;
        self.run(&args, 0).await;
    }

    /// A release does for the others what it is for, and says who was left out.
    async fn release(&self) {
        self.overwrite("hunter2 again, of another length").await;
        let args = self.files.release();
        let ran = self.run(&args.iter().map(String::as_str).collect::<Vec<_>>(), 7).await;
        let answer = ran.json();
        let told = answer.to_string();
        assert!(told.contains("holds no JSON object"), "{told}");
        assert_eq!((&answer["exit"], &answer["verified"]), (&json!(7), &json!(2)), "{told}");
    }
}
