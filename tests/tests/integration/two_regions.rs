//! Two regions of one account: IAM is one for both, and nothing that is done in one touches what the other has.

use std::collections::BTreeSet;

use serde_json::json;
use tests::{Fixture, Want, element};

const EAST: &str = "us-east-1";
const WEST: &str = "us-west-2";
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const POLICY: &str = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";
/// The name and the path that earlier versions gave role and profile.
const EARLIER: &str = "startupwebapp-prod-bastion";
const ROOT: &str = "/drawbridge/startupwebapp/prod/";
/// Also where the stack file protects the data.
const DOWN: [&str; 4] = ["down", "--yes", "--unprotect", "--no-snapshot"];

/// Writes the same stack file for the other region, and returns its path.
fn in_the_west(fixture: &Fixture) -> String {
    let shipped = std::fs::read_to_string(tests::STACK_FILE).expect("the stack file is there");
    let file = fixture.cloud.dir().join("west.toml");
    std::fs::write(&file, shipped.replace(EAST, WEST)).expect("the folder can be written to");
    file.to_str().expect("the folder's name is UTF-8").to_owned()
}

async fn run(fixture: &Fixture, stack: &str, args: &[&str], code: i32) -> tests::Ran {
    fixture.run(&[&["--stack", stack], args].concat()).await.expect(code)
}

fn is_write(operation: &str) -> bool {
    let looks = ["Describe", "List", "Get", "BatchGet", "Simulate"];
    !looks.iter().any(|start| operation.starts_with(start))
}

/// Returns the calls since then that changed something in the east. IAM's are signed for one region, whichever the stack's.
fn writes_in_the_east(fixture: &Fixture, since: usize) -> Vec<String> {
    let journal = fixture.cloud.gateway().journal();
    let calls = journal[since..].iter().filter(|call| call.region == EAST && call.service != "iam");
    let writes = calls.filter(|call| is_write(&call.operation));
    writes.map(|call| format!("{}:{}", call.service, call.operation)).collect()
}

/// Returns all that IAM shows of a role and a profile of that name.
async fn in_iam(fixture: &Fixture, name: &str) -> [String; 3] {
    let raw = fixture.raw();
    let body = |answer: String| {
        let (_, body) = answer.split_once("\r\n\r\n").expect("it is HTTP");
        // Each answer has an id of its own.
        body.split("<ResponseMetadata>").next().unwrap_or_default().to_owned()
    };
    let role = [("RoleName", name)];
    [
        body(raw.iam("GetRole", &role).await),
        body(raw.iam("ListAttachedRolePolicies", &role).await),
        body(raw.iam("GetInstanceProfile", &[("InstanceProfileName", name)]).await),
    ]
}

async fn roles(fixture: &Fixture) -> BTreeSet<String> {
    let listed = fixture.raw().iam("ListRoles", &[]).await;
    listed.split("<RoleName>").skip(1).filter_map(|rest| Some(rest.split_once('<')?.0.to_owned())).collect()
}

#[test]
fn whatever_is_done_in_one_region_leaves_the_other_alone() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::Databases).await;
        let west = in_the_west(&fixture);
        fixture.run(&["up", "--yes"]).await.expect(0);
        fixture.run(&["tenant", "create"]).await.expect(0);
        let role = roles(&fixture).await.pop_first().expect("the bastion has a role");
        let (before, since) = (in_iam(&fixture, &role).await, fixture.cloud.gateway().journal().len());
        let drop = ["tenant", "drop", "fintech_experiment", "--name", "fintech_experiment", "--no-dump"];
        let tasks: [(&[&str], i32); 9] = [
            (&["up", "--yes"], 0),
            (&["tenant", "create"], 0),
            (&["secret", "rotate", "--all", "--yes"], 0),
            (&drop, 0),
            (&["release", "--yes"], 0),
            (&["audit"], 9),
            (&["bastion", "stop", "--yes"], 0),
            (&DOWN, 0),
            (&["audit"], 0),
        ];
        for (task, code) in tasks {
            run(&fixture, &west, task, code).await;
            assert_eq!(writes_in_the_east(&fixture, since), [] as [String; 0], "{task:?}");
            assert_eq!(in_iam(&fixture, &role).await, before, "{task:?}");
        }
        assert_eq!(roles(&fixture).await, BTreeSet::from([role]), "the west's is left");
        fixture.run(&["doctor"]).await.expect(0);
        fixture.run(&["plan", "--check"]).await.expect(0);
        fixture.run(&["tenant", "verify"]).await.expect(0);
        fixture.run(&DOWN).await.expect(0);
        fixture.run(&["audit"]).await.expect(0);
        assert_eq!(roles(&fixture).await, BTreeSet::new());
        fixture.stop().await;
    });
}

/// Makes role and profile as earlier versions did: no region in name, path or tags.
async fn earlier_iam(fixture: &Fixture) {
    let raw = fixture.raw();
    let tags = [("Tags.member.1.Key", "drawbridge:stack"), ("Tags.member.1.Value", "startupwebapp-prod")];
    let role = [("RoleName", EARLIER), ("Path", ROOT), ("AssumeRolePolicyDocument", TRUST)];
    raw.iam("CreateRole", &[&role[..], &tags].concat()).await;
    raw.iam("AttachRolePolicy", &[("RoleName", EARLIER), ("PolicyArn", POLICY)]).await;
    let profile = [("InstanceProfileName", EARLIER), ("Path", ROOT)];
    raw.iam("CreateInstanceProfile", &[&profile[..], &tags].concat()).await;
    raw.iam("AddRoleToInstanceProfile", &[("InstanceProfileName", EARLIER), ("RoleName", EARLIER)]).await;
}

async fn tag_region(fixture: &Fixture, region: &str) {
    let raw = fixture.raw();
    let tag = [("Tags.member.1.Key", "drawbridge:region"), ("Tags.member.1.Value", region)];
    raw.iam("TagRole", &[&[("RoleName", EARLIER)][..], &tag].concat()).await;
    raw.iam("TagInstanceProfile", &[&[("InstanceProfileName", EARLIER)][..], &tag].concat()).await;
}

async fn untag_region(fixture: &Fixture) {
    let raw = fixture.raw();
    let key = ("TagKeys.member.1", "drawbridge:region");
    raw.iam("UntagRole", &[("RoleName", EARLIER), key]).await;
    raw.iam("UntagInstanceProfile", &[("InstanceProfileName", EARLIER), key]).await;
}

/// Brings up a stack in the east as an earlier version left it, and returns its bastion.
async fn earlier_stack(fixture: &Fixture) -> String {
    earlier_iam(fixture).await;
    tag_region(fixture, EAST).await;
    // With the region's tag they are the stack's, so the bastion is launched with them.
    fixture.run(&["up", "--yes"]).await.expect(0);
    untag_region(fixture).await;
    assert_eq!(roles(fixture).await, BTreeSet::from([EARLIER.to_owned()]));
    fixture.context.observe().await.expect("it can be seen").1.bastion().expect("a bastion").id.clone()
}

#[test]
fn what_an_earlier_version_made_is_used_where_the_bastion_uses_it_and_nowhere_else() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        let west = in_the_west(&fixture);
        let bastion = earlier_stack(&fixture).await;
        let before = in_iam(&fixture, EARLIER).await;

        // The other region neither takes it nor deletes it, and says so.
        let plan = run(&fixture, &west, &["plan"], 0).await;
        assert!(plan.stdout.contains("startupwebapp-prod-us-west-2-bastion"), "{}", plan.stdout);
        run(&fixture, &west, &["up", "--yes"], 0).await;
        assert_eq!(in_iam(&fixture, EARLIER).await, before);
        let down = run(&fixture, &west, &[&DOWN[..], &["--json"]].concat(), 9).await.json();
        assert_eq!(in_iam(&fixture, EARLIER).await, before);
        let left = down["left"].as_array().expect("it is a list");
        assert_eq!(left.len(), 2, "{down}");
        for one in left {
            assert_eq!(one["id"], EARLIER);
            assert!(one["why"].as_str().is_some_and(|why| why.contains("region is not known")), "{one}");
            let command = one["command"].as_str().expect("it is said what to type");
            assert!(command.starts_with("aws iam tag-") && command.contains("us-west-2"), "{command}");
        }

        // Here its bastion proves whose it is: it is tagged, and nothing is made or launched.
        let plan = fixture.run(&["plan"]).await.expect(0).stdout;
        assert_eq!(plan.matches("drawbridge:region us-east-1").count(), 2, "{plan}");
        fixture.run(&["up", "--yes"]).await.expect(0);
        fixture.run(&["plan", "--check"]).await.expect(0);
        assert_eq!(roles(&fixture).await, BTreeSet::from([EARLIER.to_owned()]));
        let now = fixture.context.observe().await.expect("it can be seen").1;
        assert_eq!(now.bastion().map(|bastion| bastion.id.as_str()), Some(bastion.as_str()));
        assert!(now.role.is_some_and(|role| role.has_region));
        fixture.run(&["status", "--check"]).await.expect(0);
        run(&fixture, &west, &["audit"], 0).await;

        // `down` takes it along, even if it was never tagged by `up`.
        untag_region(&fixture).await;
        fixture.run(&DOWN).await.expect(0);
        fixture.run(&["audit"]).await.expect(0);
        assert_eq!(roles(&fixture).await, BTreeSet::new());
        fixture.stop().await;
    });
}

#[test]
fn what_nothing_proves_is_left_until_somebody_says_whose_it_is() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        earlier_iam(&fixture).await;
        for task in [&["audit"][..], &DOWN] {
            let told = fixture.run(task).await.expect(9).stdout;
            let command = format!("aws iam tag-role --role-name {EARLIER}");
            assert!(told.contains("region is not known") && told.contains(&command), "{task:?}: {told}");
        }
        assert_eq!(roles(&fixture).await, BTreeSet::from([EARLIER.to_owned()]));
        // As the command says.
        tag_region(&fixture, EAST).await;
        fixture.run(&DOWN).await.expect(0);
        fixture.run(&["audit"]).await.expect(0);
        assert_eq!(roles(&fixture).await, BTreeSet::new());
        // A database whose role says no region shows by using it whose it is.
        let watched = tests::watched_stack_file(fixture.cloud.dir(), "ops@example.com");
        run(&fixture, &watched, &["up", "--yes"], 0).await;
        let monitoring = fixture.context.stack.monitoring_role_name();
        let key = ("TagKeys.member.1", "drawbridge:region");
        fixture.raw().iam("UntagRole", &[("RoleName", &monitoring), key]).await;
        run(&fixture, &watched, &["up", "--yes"], 0).await;
        let tags = fixture.raw().iam("ListRoleTags", &[("RoleName", &monitoring)]).await;
        assert!(tags.contains("<Key>drawbridge:region</Key>"), "{tags}");
        fixture.stop().await;
    });
}

/// A name written in the stack file lies under no path that says a region: there the tag alone decides.
#[test]
fn a_written_role_of_another_region_is_refused_before_anything_is_made() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        let raw = fixture.raw();
        let tags = [
            ("Tags.member.1.Key", "drawbridge:stack"),
            ("Tags.member.1.Value", "startupwebapp-prod"),
            ("Tags.member.2.Key", "drawbridge:region"),
            ("Tags.member.2.Value", WEST),
        ];
        let role = [("RoleName", "old-role"), ("AssumeRolePolicyDocument", TRUST)];
        raw.iam("CreateRole", &[&role[..], &tags].concat()).await;
        let shipped = std::fs::read_to_string(tests::STACK_FILE).expect("the stack file is there");
        let file = fixture.cloud.dir().join("written.toml");
        let text = shipped.replace("[bastion]\n", "[bastion]\nrole = \"old-role\"\n");
        std::fs::write(&file, text).expect("the folder can be written to");
        let since = fixture.cloud.gateway().journal().len();
        let refused = run(&fixture, file.to_str().expect("UTF-8"), &["up", "--yes"], 2).await;
        assert!(refused.stderr.contains("belongs to the stack in `us-west-2`"), "{}", refused.stderr);
        assert_eq!(writes_in_the_east(&fixture, since), [] as [String; 0]);
        run(&fixture, file.to_str().expect("UTF-8"), &DOWN, 0).await;
        assert!(roles(&fixture).await.contains("old-role"));
        fixture.stop().await;
    });
}

/// The sandbox itself: one gateway, two regions, and the same names in both.
#[test]
fn a_sandbox_keeps_two_regions_apart() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::Databases).await;
        let (east, west) = (fixture.raw(), fixture.raw().in_region(WEST));
        let database = |password| {
            [
                ("DBInstanceIdentifier", "same"),
                ("Engine", "postgres"),
                ("EngineVersion", "16"),
                ("DBInstanceClass", "db.t4g.small"),
                ("AllocatedStorage", "20"),
                ("MasterUsername", "dbadmin"),
                ("MasterUserPassword", password),
            ]
        };
        east.rds("CreateDBInstance", &database("correct-horse")).await;
        west.rds("CreateDBInstance", &database("battery-staple")).await;
        let identifier = [("DBInstanceIdentifier", "same")];
        let available = async |raw: &tests::Raw| {
            let waiting = async {
                loop {
                    let seen = raw.rds("DescribeDBInstances", &identifier).await;
                    if element(&seen, "DBInstanceStatus").as_deref() == Some("available") {
                        return seen;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            };
            let limit = std::time::Duration::from_secs(120);
            tokio::time::timeout(limit, waiting).await.expect("it becomes available")
        };
        let (in_east, _) = tokio::join!(available(&east), available(&west));
        assert!(in_east.contains(".us-east-1.rds.amazonaws.com<"), "{in_east}");
        west.rds("DeleteDBInstance", &[identifier[0], ("SkipFinalSnapshot", "true")]).await;
        let still = east.rds("DescribeDBInstances", &identifier).await;
        assert_eq!(element(&still, "DBInstanceStatus").as_deref(), Some("available"), "{still}");

        for (name, path) in [("one", "/a/"), ("two", "/b/")] {
            east.iam("CreateInstanceProfile", &[("InstanceProfileName", name), ("Path", path)]).await;
        }
        let listed = east.iam("ListInstanceProfiles", &[("PathPrefix", "/a/")]).await;
        assert!(listed.contains(">one<") && !listed.contains(">two<"), "{listed}");
        let secret = json!({ "Name": "same", "SecretString": "x", "ClientRequestToken": "0".repeat(32) });
        east.secrets("CreateSecret", &secret).await;
        assert!(!west.secrets("ListSecrets", &json!({})).await.contains("\"same\""));
        fixture.stop().await;
    });
}
