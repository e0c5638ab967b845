//! Rotation with two users: whoever does not read the secret again logs in until the next one.

use deploy::task::secret::rotate::Target;
use futures_util::future::join_all;
use stack::spec::Rotation;
use tests::STACK_FILE;

use super::{Stage, rotate};

const TENANT: &str = "startupwebapp_prod";
const CLONE: &str = "startupwebapp_prod_clone";

impl Stage {
    /// Returns the first so many roles, each with two users.
    fn with_two_users(&self, count: usize) -> Vec<Target> {
        let two = |target| match target {
            Target::Role { role, database, .. } => {
                Target::Role { role, database, rotation: Rotation::TwoUsers }
            }
            Target::Master => Target::Master,
        };
        self.targets().into_iter().take(count).map(two).collect()
    }

    async fn sql(&self, stack: &str, sql: &str) -> String {
        // One at a time: some may not be in a transaction.
        let mut args = vec!["psql", TENANT, "--stack", stack, "--", "-XAtq"];
        args.extend(sql.split("; ").flat_map(|sql| ["-c", sql]));
        self.fixture.run(&args).await.expect(0).stdout.trim().to_owned()
    }
}

#[test]
fn the_users_take_turns_and_act_as_one() {
    tests::block_on(async {
        let stage = Stage::start().await;
        let fixture = &stage.fixture;
        let target = stage.with_two_users(1).remove(0);
        let shipped = std::fs::read_to_string(STACK_FILE).unwrap();
        let file = fixture.cloud.dir().join("two.toml");
        let name = format!("name = \"{TENANT}\"");
        std::fs::write(&file, shipped.replace(&name, &format!("{name}\nrotation = \"two-users\""))).unwrap();
        let stack = file.to_str().unwrap();
        let rotate = ["secret", "rotate", TENANT, "--yes", "--stack", stack];

        let first = stage.versions(&target).await.current;
        fixture.run(&rotate).await.expect(0);
        let second = stage.versions(&target).await.current;
        assert_eq!(second.user.as_deref(), Some(CLONE));
        assert!(stage.logs_in(&target, &first).await && stage.logs_in(&target, &second).await);

        // Everything that reads the secret is the owner, whoever it logs in as.
        let who = "SELECT session_user || ' as ' || current_user";
        assert_eq!(stage.sql(stack, who).await, format!("{CLONE} as {TENANT}"));
        for reset in ["RESET ALL", "RESET ROLE", "DISCARD ALL"] {
            let said = stage.sql(stack, &format!("{reset}; {who}")).await;
            assert!(said.ends_with(&format!("{CLONE} as {TENANT}")), "{reset}: {said}");
        }
        fixture.run(&["migrate", "--stack", stack]).await.expect(0);
        fixture.run(&["migrate", "--stack", stack, "--join", "once-more"]).await.expect(0);
        let others = format!(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tableowner <> '{TENANT}'"
        );
        assert_eq!(stage.sql(stack, &others).await, "0");
        let verified = fixture.run(&["tenant", "verify", "--stack", stack]).await.expect(0);
        assert!(verified.stdout.contains(&format!("`{CLONE}` over TLS")), "{}", verified.stdout);
        let created = fixture.run(&["tenant", "create", "--stack", stack]).await.expect(0);
        assert!(!created.stdout.contains("repaired"), "{}", created.stdout);

        fixture.run(&rotate).await.expect(0);
        let third = stage.versions(&target).await.current;
        assert_eq!(third.user.as_deref(), Some(TENANT));
        assert!(!stage.logs_in(&target, &first).await, "the password before the last is still good");
        assert!(stage.logs_in(&target, &second).await && stage.logs_in(&target, &third).await);

        // A second user that the secret names and the server has lost is made again.
        fixture.run(&rotate).await.expect(0);
        let drop = format!("DROP ROLE {CLONE}");
        fixture.run(&["psql", "--stack", stack, "--", "-Xqc", &drop]).await.expect(0);
        fixture.run(&["tenant", "verify", TENANT, "--stack", stack]).await.expect(6);
        let mended = fixture.run(&["tenant", "create", TENANT, "--stack", stack]).await.expect(0);
        assert!(mended.stdout.contains(&format!("password of role `{CLONE}` set")), "{}", mended.stdout);
        assert_eq!(stage.sql(stack, who).await, format!("{CLONE} as {TENANT}"));

        // Back to one user: the second one logs in until the rotation after that.
        let one = ["secret", "rotate", TENANT, "--yes"];
        let fourth = stage.versions(&target).await.current;
        fixture.run(&one).await.expect(0);
        let fifth = stage.versions(&target).await.current;
        assert_eq!(fifth.user.as_deref(), Some(TENANT));
        assert!(stage.logs_in(&target, &fourth).await && stage.logs_in(&target, &fifth).await);
        fixture.run(&one).await.expect(0);
        assert!(!stage.logs_in(&target, &fourth).await && !stage.logs_in(&target, &fifth).await);
        stage.expect_settled(&target).await;

        fixture.run(&rotate).await.expect(0);
        let dropped = ["tenant", "drop", TENANT, "--name", TENANT, "--no-dump", "--stack", stack];
        fixture.run(&dropped).await.expect(0);
        let left = format!("SELECT count(*) FROM pg_roles WHERE rolname LIKE '{TENANT}%'");
        let left = fixture.run(&["psql", "--", "-XAtc", &left]).await.expect(0);
        assert_eq!(left.stdout.trim(), "0");
        stage.expect_no_password("");
        stage.stop().await;
    });
}

#[test]
fn a_role_that_is_nobodys_second_user_is_left_alone() {
    tests::block_on(async {
        let stage = Stage::start().await;
        let target = stage.with_two_users(1);
        let make = format!("CREATE ROLE {CLONE} LOGIN");
        stage.fixture.run(&["psql", "--", "-Xqc", &make]).await.expect(0);
        let rotated = rotate(stage.on(&stage.server), &target).await.unwrap();
        let deploy::task::secret::rotate::Outcome::Failed { failure, .. } = &rotated[0].outcome else {
            panic!("{rotated:?}")
        };
        let chain = failure.chain();
        assert!(
            chain.contains(&format!("there is a role `{CLONE}`, and it is not its second user")),
            "{chain}"
        );
        assert!(stage.logs_in(&target[0], &stage.versions(&target[0]).await.current).await);
        stage.stop().await;
    });
}

#[test]
fn wherever_a_rotation_with_two_users_is_killed_the_current_one_logs_in() {
    tests::block_on(async {
        let stage = Stage::start().await;
        let targets = stage.with_two_users(1);
        let step = if tests::sweeps_fully() { 1 } else { 4 };
        let points = stage.points(&targets).await;
        let mut kills = 0;
        for (round, point) in points.iter().enumerate().step_by(step) {
            let place = format!("round {round}, {point:?}");
            let before = stage.versions(&targets[0]).await.current;
            kills += usize::from(stage.kill(&targets, point).await);
            // At no moment is there a secret that does not log in, nor is the user before shut out.
            let now = stage.versions(&targets[0]).await.current;
            assert!(stage.logs_in(&targets[0], &now).await, "{place}: locked out");
            assert!(stage.logs_in(&targets[0], &before).await, "{place}: the user before is locked out");
            stage.rotate(&targets).await;
            join_all(targets.iter().map(|target| stage.expect_settled(target))).await;
        }
        assert!(2 * kills > points.len() / step, "only {kills} of {} were killed", points.len() / step);
        stage.expect_no_password("");
        stage.stop().await;
    });
}
