//! What is the stack's and what is not: a database under another name keeps what it needs, what carries the stack's tag is
//! found whatever its name, and what is somebody else's outlives every task.

use std::path::Path;

use serde_json::{Value, json};
use tests::{Fixture, Ran, Want};

const DOWN: [&str; 5] = ["down", "--yes", "--unprotect", "--no-snapshot", "--json"];
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const STACK: &str = "startupwebapp-prod";

/// Writes the shipped stack file with another identifier, and returns its path.
fn renamed(dir: &Path, identifier: &str) -> String {
    let shipped = std::fs::read_to_string(tests::STACK_FILE).expect("the stack file is there");
    let is_other = |line: &&str| !line.starts_with("identifier = ");
    let others: Vec<&str> = shipped.lines().filter(is_other).collect();
    let line = format!("[database]\nidentifier = \"{identifier}\"\n");
    let file = dir.join(format!("{identifier}.toml"));
    std::fs::write(&file, others.join("\n").replace("[database]\n", &line)).expect("it can be written");
    file.to_str().expect("the folder's name is UTF-8").to_owned()
}

fn is_write(operation: &str) -> bool {
    !["Describe", "List", "Get", "BatchGet"].iter().any(|start| operation.starts_with(start))
}

fn writes(fixture: &Fixture) -> usize {
    fixture.cloud.gateway().journal().iter().filter(|call| is_write(&call.operation)).count()
}

/// Runs a task that is refused before it changes anything.
async fn refused(fixture: &Fixture, args: &[&str]) -> Ran {
    let before = writes(fixture);
    let ran = fixture.run(args).await.expect(2);
    assert_eq!(writes(fixture), before, "{args:?} changed something: {}", ran.stderr);
    ran
}

#[test]
fn a_changed_identifier_makes_no_second_database_and_takes_nothing_from_the_first() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        let old = fixture.context.stack.database.identifier.clone();
        let file = renamed(fixture.cloud.dir(), "another-name");
        let with = |args: &[&'static str]| -> Vec<String> {
            ["--stack", &file].iter().chain(args).map(|arg| (*arg).to_owned()).collect()
        };
        let tasks: [&[&str]; 7] = [
            &["plan"],
            &["down", "--dry-run"],
            &["up", "--yes"],
            &["up", "--dry-run"],
            &["down", "--yes"],
            &["down", "--yes", "--unprotect", "--no-snapshot"],
            &["down", "secrets", "--yes"],
        ];
        for task in tasks {
            let args = with(task);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let told = refused(&fixture, &args).await.stderr;
            assert!(told.contains(&old) && told.contains("another-name"), "{task:?}: {told}");
            assert!(told.contains(&format!("write `identifier = \"{old}\"`")), "{task:?}: {told}");
            assert!(told.contains("aws rds remove-tags-from-resource"), "{task:?}: {told}");
        }
        let audit = fixture.run(&["--stack", &file, "audit", "--json"]).await.expect(9).json();
        assert!(audit["left"].to_string().contains(&format!("\"{old}\"")), "{audit}");
        // What is not the database's may go, and comes again.
        fixture.run(&["--stack", &file, "down", "bastion", "--yes"]).await.expect(0);
        fixture.run(&["--stack", &file, "up", "bastion", "--yes"]).await.expect(0);
        fixture.run(&["plan", "--check"]).await.expect(0);
        fixture.run(&DOWN).await.expect(0);
        fixture.run(&["audit"]).await.expect(0);
        fixture.stop().await;
    });
}

#[test]
fn a_database_that_has_lost_its_tag_keeps_its_secrets_until_somebody_says_whose_it_is() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        let (_, inventory) = fixture.context.observe().await.expect("it can be seen");
        let arn = inventory.database.expect("a database").arn;
        let tag = ("TagKeys.member.1", "drawbridge:stack");
        fixture.raw().rds("RemoveTagsFromResource", &[("ResourceName", &arn), tag]).await;
        let told = refused(&fixture, &DOWN).await;
        assert!(told.stderr.contains(&format!("aws rds add-tags-to-resource --resource-name {arn}")));
        let left = told.json()["left"].to_string();
        assert!(left.contains(&fixture.context.stack.master_secret_name()), "{left}");
        refused(&fixture, &["up", "--yes"]).await;
        let audit = fixture.run(&["audit", "--json"]).await.expect(9).json();
        assert!(audit["left"].to_string().contains("not the tag of stack"), "{audit}");

        let tags = [("Tags.Tag.1.Key", "drawbridge:stack"), ("Tags.Tag.1.Value", STACK)];
        fixture
            .raw()
            .rds("AddTagsToResource", &[&[("ResourceName", arn.as_str())][..], &tags].concat())
            .await;
        fixture.run(&DOWN).await.expect(0);
        fixture.run(&["audit"]).await.expect(0);
        fixture.stop().await;
    });
}

/// One thing of each kind that a name leads to, with those tags, named after `name`.
struct Things {
    name: &'static str,
    tags: Vec<(&'static str, &'static str)>,
}

impl Things {
    fn tagged(&self, prefix: &str) -> Vec<(String, String)> {
        let number = (1..).zip(&self.tags);
        number
            .flat_map(|(n, (key, value))| {
                let start = format!("{prefix}.{n}");
                [(format!("{start}.Key"), (*key).to_owned()), (format!("{start}.Value"), (*value).to_owned())]
            })
            .collect()
    }

    async fn make(&self, fixture: &Fixture) {
        let raw = fixture.raw();
        let with = |parameters: &[(&str, &str)], prefix: &str| -> Vec<(String, String)> {
            let own = parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            own.chain(self.tagged(prefix)).collect()
        };
        fn lent(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
            pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
        }
        let name = self.name;
        let vpc = raw.ec2("CreateVpc", &[("CidrBlock", "10.77.0.0/16")]).await;
        let vpc = tests::element(&vpc, "vpcId").expect("it has an id");
        let mut subnets = Vec::new();
        for (cidr, zone) in [("10.77.0.0/24", "us-east-1a"), ("10.77.1.0/24", "us-east-1b")] {
            let subnet = [("VpcId", vpc.as_str()), ("CidrBlock", cidr), ("AvailabilityZone", zone)];
            let subnet = raw.ec2("CreateSubnet", &subnet).await;
            subnets.push(tests::element(&subnet, "subnetId").expect("it has an id"));
        }
        let group = [
            ("DBSubnetGroupName", name),
            ("DBSubnetGroupDescription", "by hand"),
            ("SubnetIds.SubnetIdentifier.1", &subnets[0]),
            ("SubnetIds.SubnetIdentifier.2", &subnets[1]),
        ];
        raw.rds("CreateDBSubnetGroup", &lent(&with(&group, "Tags.Tag"))).await;
        let database = [
            ("DBInstanceIdentifier", name),
            ("DBSubnetGroupName", name),
            ("Engine", "postgres"),
            ("DBInstanceClass", "db.t4g.small"),
            ("AllocatedStorage", "20"),
            ("MasterUsername", "master"),
            ("MasterUserPassword", "correct-horse"),
        ];
        raw.rds("CreateDBInstance", &lent(&with(&database, "Tags.Tag"))).await;
        let role = [("RoleName", name), ("AssumeRolePolicyDocument", TRUST)];
        raw.iam("CreateRole", &lent(&with(&role, "Tags.member"))).await;
        let profile = [("InstanceProfileName", name)];
        raw.iam("CreateInstanceProfile", &lent(&with(&profile, "Tags.member"))).await;
        raw.iam("AddRoleToInstanceProfile", &[profile[0], role[0]]).await;
        raw.sns("CreateTopic", &lent(&with(&[("Name", name)], "Tags.member"))).await;
        let tags: Vec<Value> =
            self.tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
        let alarm = json!({
            "AlarmName": alarm_of(name), "Namespace": "AWS/RDS", "MetricName": "CPUUtilization", "Tags": tags,
            "Dimensions": [{ "Name": "DBInstanceIdentifier", "Value": name }], "Statistic": "Average",
            "ComparisonOperator": "GreaterThanThreshold", "Threshold": 1.0, "Period": 60,
            "EvaluationPeriods": 1,
        });
        raw.cloudwatch("PutMetricAlarm", &alarm).await;
        let log = format!("/aws/rds/instance/{name}/postgresql");
        raw.logs("CreateLogGroup", &json!({ "logGroupName": log })).await;
    }
}

#[test]
fn what_carries_the_stacks_tag_is_found_under_whatever_name() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        let tags = vec![("drawbridge:stack", STACK), ("drawbridge:region", "us-east-1")];
        Things { name: "other-name", tags }.make(&fixture).await;
        let audit = fixture.run(&["audit", "--json"]).await.expect(9).json();
        let left = audit["left"].as_array().expect("it is a list");
        let kinds: Vec<&str> = left.iter().map(|one| one["kind"].as_str().unwrap_or_default()).collect();
        let expected =
            ["alarm", "alarm topic", "database", "database subnet group", "instance profile", "role"];
        assert_eq!(kinds, expected, "{audit}");
        assert!(left.iter().all(|one| one["id"].as_str().is_some_and(|id| id.ends_with("other-name"))));
        assert!(left.iter().all(|one| one["command"].is_string()), "{audit}");
        let quoted = "aws cloudwatch delete-alarms --alarm-names \"CPU; it's other-name\" --region us-east-1";
        assert_eq!(left[0]["command"], quoted);
        let receipt = fixture.run(&DOWN).await.expect(9).json();
        assert_eq!(receipt["verdict"], "left");
        assert_eq!(receipt["left"].as_array().map(Vec::len), Some(6), "{receipt}");
        // A list that fails is never an empty one.
        for (service, operation) in [
            ("rds", "DescribeDBInstances"),
            ("rds", "DescribeDBSubnetGroups"),
            ("rds", "ListTagsForResource"),
            ("sns", "ListTagsForResource"),
            ("monitoring", "ListTagsForResource"),
            ("iam", "ListRoles"),
            ("iam", "GetRole"),
            ("iam", "ListInstanceProfiles"),
            ("iam", "GetInstanceProfile"),
        ] {
            fixture.cloud.gateway().deny(service, operation);
            let audit = fixture.run(&["audit", "--json"]).await.expect(9).json();
            assert!(audit["unseen"].to_string().contains(operation), "{operation}: {audit}");
            fixture.cloud.gateway().allow_all();
        }
        fixture.stop().await;
    });
}

/// Returns an alarm's name as a person may give it: a shell would run the half of it.
fn alarm_of(name: &str) -> String {
    format!("CPU; it's {name}")
}

/// Returns what the services show of all that has that name.
async fn shown(fixture: &Fixture, name: &str) -> Vec<String> {
    let raw = fixture.raw();
    let topic = format!("arn:aws:sns:us-east-1:123456789012:{name}");
    let answers = [
        raw.rds("DescribeDBInstances", &[("DBInstanceIdentifier", name)]).await,
        raw.rds("DescribeDBSubnetGroups", &[("DBSubnetGroupName", name)]).await,
        raw.iam("GetRole", &[("RoleName", name)]).await,
        raw.iam("GetInstanceProfile", &[("InstanceProfileName", name)]).await,
        raw.sns("ListTagsForResource", &[("ResourceArn", &topic)]).await,
        raw.cloudwatch("DescribeAlarms", &json!({ "AlarmNames": [alarm_of(name)] })).await,
        raw.logs("DescribeLogGroups", &json!({ "logGroupNamePrefix": format!("/aws/rds/instance/{name}/") }))
            .await,
    ];
    let body = |answer: String| {
        let body = answer.split_once("\r\n\r\n").map_or(answer.as_str(), |(_, body)| body).to_owned();
        // Each answer has an id of its own, and a database's restorable time goes on.
        let body = body.split("<ResponseMetadata>").next().unwrap_or_default().to_owned();
        match body.split_once("<LatestRestorableTime>") {
            Some((start, rest)) => {
                start.to_owned() + rest.split_once("</LatestRestorableTime>").map_or("", |(_, end)| end)
            }
            None => body,
        }
    };
    answers.into_iter().map(body).collect()
}

#[test]
fn what_is_somebody_elses_outlives_every_task() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        let others = [
            Things { name: "startupwebapp-prod-2", tags: vec![] },
            Things { name: "of-another-stack", tags: vec![("drawbridge:stack", "startupwebapp-prod-2")] },
        ];
        let mut before = Vec::new();
        for things in &others {
            things.make(&fixture).await;
        }
        // Of this stack, in another region.
        let tags = [
            ("Tags.member.1.Key", "drawbridge:stack"),
            ("Tags.member.1.Value", STACK),
            ("Tags.member.2.Key", "drawbridge:region"),
            ("Tags.member.2.Value", "us-west-2"),
        ];
        let name = "startupwebapp-prod-bastion";
        let role = [("RoleName", name), ("AssumeRolePolicyDocument", TRUST)];
        fixture.raw().iam("CreateRole", &[&role[..], &tags].concat()).await;
        let elsewhere = fixture.raw().iam("ListRoleTags", &[role[0]]).await;
        fixture.cloud.gateway().wait_until_fired().await;
        for things in &others {
            wait_until_available(&fixture, things.name).await;
            before.push(shown(&fixture, things.name).await);
        }
        let watched = tests::watched_stack_file(fixture.cloud.dir(), "ops@example.com");
        let tasks: [(&[&str], i32); 12] = [
            (&["plan"], 0),
            (&["up", "--yes"], 0),
            (&["--stack", &watched, "up", "--yes"], 0),
            (&["status"], 0),
            (&["resources"], 0),
            (&["cost"], 0),
            (&["audit"], 9),
            (&["bastion", "stop", "--yes"], 0),
            (&["bastion", "start", "--yes"], 0),
            (&["up", "--yes"], 0),
            (&DOWN, 0),
            (&["audit"], 0),
        ];
        for (task, code) in tasks {
            fixture.run(task).await.expect(code);
            for (things, before) in others.iter().zip(&before) {
                assert_eq!(&shown(&fixture, things.name).await, before, "{task:?}");
            }
        }
        let body = |answer: &str| answer.split("<ResponseMetadata>").next().map(|body| body.contains(name));
        let now = fixture.raw().iam("ListRoleTags", &[role[0]]).await;
        assert_eq!(body(&now), body(&elsewhere));
        fixture.stop().await;
    });
}

async fn wait_until_available(fixture: &Fixture, identifier: &str) {
    let waiting = async {
        loop {
            let asked = [("DBInstanceIdentifier", identifier)];
            let seen = fixture.raw().rds("DescribeDBInstances", &asked).await;
            if tests::element(&seen, "DBInstanceStatus").as_deref() == Some("available") {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let limit = std::time::Duration::from_secs(60);
    tokio::time::timeout(limit, waiting).await.expect("it becomes available");
}
