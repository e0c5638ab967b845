//! `adopt`: what the scripts made becomes the stack's, with its faults shown, and `up` mends them.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself has failed")]

use std::path::PathBuf;
use std::process::Stdio;

use sandbox::gateway::{Fault, FaultKind};
use serde_json::{Value, json};
use tests::{Fixture, Want, element};

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const KEYS: [&str; 6] =
    ["drawbridge:stack", "drawbridge:resource", "drawbridge:region", "Name", "Project", "Environment"];

async fn ec2(fixture: &Fixture, action: &str, parameters: &[(&str, &str)], wanted: &str) -> String {
    let answer = fixture.raw().ec2(action, parameters).await;
    element(&answer, wanted).unwrap_or_else(|| panic!("{action}: no {wanted} in {answer}"))
}

fn write(fixture: &Fixture, name: &str, text: &str) -> PathBuf {
    let file = fixture.cloud.dir().join(name);
    std::fs::write(&file, text).unwrap();
    file
}

/// Returns how many calls that change something were made.
fn changes(fixture: &Fixture) -> usize {
    let changes =
        |operation: &str| !["Describe", "List", "Get"].iter().any(|start| operation.starts_with(start));
    fixture.cloud.gateway().journal().iter().filter(|call| changes(&call.operation)).count()
}

/// What the scripts left: nothing is tagged, 22/tcp is open, the role has no policy and is not in its profile, the bastion
/// is terminated. Returns the file that they kept.
async fn the_scripts(fixture: &Fixture) -> String {
    let raw = fixture.raw();
    let vpc = ec2(fixture, "CreateVpc", &[("CidrBlock", "10.42.0.0/16")], "vpcId").await;
    let vpc = vpc.as_str();
    let subnet = async |cidr, zone| {
        let parameters = [("VpcId", vpc), ("CidrBlock", cidr), ("AvailabilityZone", zone)];
        ec2(fixture, "CreateSubnet", &parameters, "subnetId").await
    };
    let public = subnet("10.42.0.0/24", "us-east-1a").await;
    let a = subnet("10.42.1.0/24", "us-east-1a").await;
    let b = subnet("10.42.2.0/24", "us-east-1b").await;
    let gateway = ec2(fixture, "CreateInternetGateway", &[], "internetGatewayId").await;
    raw.ec2("AttachInternetGateway", &[("InternetGatewayId", &gateway), ("VpcId", vpc)]).await;
    let table = ec2(fixture, "CreateRouteTable", &[("VpcId", vpc)], "routeTableId").await;
    raw.ec2("AssociateRouteTable", &[("RouteTableId", &table), ("SubnetId", &public)]).await;
    let route =
        [("RouteTableId", table.as_str()), ("DestinationCidrBlock", "0.0.0.0/0"), ("GatewayId", &gateway)];
    raw.ec2("CreateRoute", &route).await;
    let group = async |name| {
        let parameters = [("GroupName", name), ("GroupDescription", "by hand"), ("VpcId", vpc)];
        ec2(fixture, "CreateSecurityGroup", &parameters, "groupId").await
    };
    let (bastion_group, rds_group) = (group("bastion-sg").await, group("rds-sg").await);
    let ssh = [
        ("GroupId", bastion_group.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "22"),
        ("IpPermissions.1.ToPort", "22"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
    ];
    raw.ec2("AuthorizeSecurityGroupIngress", &ssh).await;
    let postgres = [
        ("GroupId", rds_group.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "5432"),
        ("IpPermissions.1.ToPort", "5432"),
        ("IpPermissions.1.Groups.1.GroupId", &bastion_group),
    ];
    raw.ec2("AuthorizeSecurityGroupIngress", &postgres).await;
    let subnets = [
        ("DBSubnetGroupName", "old-db-subnets"),
        ("DBSubnetGroupDescription", "by hand"),
        ("SubnetIds.SubnetIdentifier.1", a.as_str()),
        ("SubnetIds.SubnetIdentifier.2", b.as_str()),
    ];
    raw.rds("CreateDBSubnetGroup", &subnets).await;
    let name = "rds/startupwebapp/multi-tenant/master";
    let value = json!({ "username": "dbadmin", "password": "correct-horse" }).to_string();
    let secret = json!({ "Name": name, "SecretString": value, "ClientRequestToken": "0".repeat(32) });
    let secret: Value = serde_json::from_str(&raw.secrets("CreateSecret", &secret).await).unwrap();
    let database = [
        ("DBInstanceIdentifier", "startupwebapp-multi-tenant-prod"),
        ("DBSubnetGroupName", "old-db-subnets"),
        ("VpcSecurityGroupIds.VpcSecurityGroupId.1", rds_group.as_str()),
        ("Engine", "postgres"),
        ("EngineVersion", "16"),
        ("DBInstanceClass", "db.t3.medium"),
        ("AllocatedStorage", "20"),
        ("StorageEncrypted", "true"),
        ("PubliclyAccessible", "false"),
        ("MasterUsername", "dbadmin"),
        ("MasterUserPassword", "correct-horse"),
    ];
    raw.rds("CreateDBInstance", &database).await;
    raw.iam("CreateRole", &[("RoleName", "old-bastion-role"), ("AssumeRolePolicyDocument", TRUST)]).await;
    raw.iam("CreateInstanceProfile", &[("InstanceProfileName", "old-profile")]).await;
    let (_, inventory) = fixture.context.observe().await.unwrap();
    let instance = [
        ("ImageId", inventory.image.as_deref().unwrap()),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("NetworkInterface.1.DeviceIndex", "0"),
        ("NetworkInterface.1.SubnetId", &public),
        ("NetworkInterface.1.DeleteOnTermination", "true"),
    ];
    let instance = ec2(fixture, "RunInstances", &instance, "instanceId").await;
    raw.ec2("TerminateInstances", &[("InstanceId.1", &instance)]).await;
    format!(
        "# resources of the project, by hand\n\
         export VPC_ID={vpc}\nexport PUBLIC_SUBNET_ID=\"{public}\"  # 10.42.0.0/24\n\
         PRIVATE_SUBNET_A_ID='{a}'\nPRIVATE_SUBNET_B_ID='{b}'\n\n\
         BASTION_SECURITY_GROUP_ID={bastion_group}\nRDS_SECURITY_GROUP_ID={rds_group}\n\
         DB_SUBNET_GROUP_NAME=old-db-subnets\nRDS_INSTANCE_ID=startupwebapp-multi-tenant-prod\nRDS_PORT=5432\n\
         MASTER_SECRET_ARN={}\nBASTION_ROLE_NAME=old-bastion-role\nBASTION_INSTANCE_PROFILE_NAME=old-profile\n\
         BASTION_INSTANCE_ID={instance}\nDB_PASSWORD='correct-horse'\n",
        secret["ARN"].as_str().unwrap()
    )
}

/// Returns what a step does to what, of every step of a plan.
fn steps(plan: &Value) -> Vec<String> {
    let steps = plan["steps"].as_array().unwrap().iter();
    steps
        .map(|step| {
            format!("{} {}", step["action"]["action"].as_str().unwrap(), step["resource"].as_str().unwrap())
        })
        .collect()
}

#[test]
fn what_the_scripts_made_is_taken_over_and_its_faults_are_mended() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        let listed = the_scripts(&fixture).await;
        let file = write(&fixture, "aws-resources.env", &listed);
        let from = ["adopt", "--from", file.to_str().unwrap()];
        let before = changes(&fixture);
        let refused = fixture.run(&[&from[..], &["--yes"]].concat()).await.expect(2);
        let lines = "[database]\nsubnet_group = \"old-db-subnets\"\nsecret_prefix = \"rds/startupwebapp/multi-tenant\"\n[bastion]\nrole = \"old-bastion-role\"\nprofile = \"old-profile\"";
        assert!(refused.stderr.replace("    | ", "").contains(lines), "{}", refused.stderr);
        assert!(refused.stderr.contains("`DB_PASSWORD` means nothing here"), "{}", refused.stderr);

        let shipped = std::fs::read_to_string(tests::STACK_FILE).unwrap();
        let named = shipped
            .replace(
                "[database]\n",
                "[database]\nsubnet_group = \"old-db-subnets\"\nsecret_prefix = \"rds/startupwebapp/multi-tenant\"\n",
            )
            .replace("[bastion]\n", "[bastion]\nrole = \"old-bastion-role\"\nprofile = \"old-profile\"\n");
        let stack = write(&fixture, "stack.toml", &named);
        let run = async |args: &[&str]| {
            let stack = ["--stack", stack.to_str().unwrap()];
            fixture.run(&[&stack[..], args].concat()).await
        };
        let shown = run(&[&from[..], &["--dry-run"]].concat()).await.expect(0);
        let told = [
            "is terminated; `up` makes a new one",
            "unknown rule: 22/tcp from 0.0.0.0/0 in the bastion's group ",
            "AmazonSSMManagedInstanceCore is not attached",
            "found by what it is attached to",
            "class is db.t3.medium, the stack file says db.t4g.small",
        ];
        for part in told {
            assert!(shown.stdout.contains(part), "no {part}: {}", shown.stdout);
        }
        let unasked = run(&from).await.expect(2);
        assert!(unasked.stderr.contains("no terminal to ask"), "{}", unasked.stderr);
        assert_eq!(changes(&fixture), before, "something was changed");

        let adopted = run(&[&from[..], &["--yes", "--json"]].concat()).await.expect(0);
        assert!(!format!("{adopted:?}").contains("correct-horse"), "{adopted:?}");
        let plan = run(&["plan", "--json"]).await.expect(0).json();
        let repairs = [
            "repair vpc-dns",
            "create private-routes",
            "repair bastion-rules",
            "repair role",
            "repair profile",
            "create instance",
            "wait session",
        ];
        assert_eq!(steps(&plan["plan"]), repairs);
        assert_eq!(steps(&adopted.json()["plan"]), repairs, "the plan that was shown is another one");

        let vpcs = fixture.raw().ec2("DescribeVpcs", &[]).await;
        let open = |status: &serde_json::Value| {
            let findings = status["findings"].as_array().unwrap().iter();
            findings.filter(|finding| finding["cause"] == "too-open").count()
        };
        run(&["up", "--yes"]).await.expect(0);
        assert_eq!(
            open(&run(&["status", "--json"]).await.expect(0).json()),
            1,
            "22/tcp is nobody's to close"
        );
        run(&["up", "--yes", "--remove-unknown-rules"]).await.expect(0);
        assert_eq!(open(&run(&["status", "--json"]).await.expect(0).json()), 0);
        run(&["plan", "--check"]).await.expect(0);
        assert_eq!(
            fixture.raw().ec2("DescribeVpcs", &[]).await.matches("<vpcId>").count(),
            vpcs.matches("<vpcId>").count()
        );
        let again = run(&[&from[..], &["--yes"]].concat()).await.expect(0);
        assert!(again.stdout.contains("nothing to adopt"), "{}", again.stdout);
        let inventory = &run(&["status", "--json"]).await.expect(0).json()["inventory"];
        let count = |kind: &str| inventory[kind].as_array().unwrap().len();
        assert_eq!([count("vpcs"), count("gateways"), count("subnets"), count("route_tables")], [1, 1, 3, 2]);
        assert_eq!(inventory["role"]["name"], "old-bastion-role");

        run(&["down", "--yes"]).await.expect(0);
        run(&["audit"]).await.expect(0);
        assert!(fixture.raw().iam("ListRoles", &[]).await.contains("<Roles/>"), "a role is left");
        let profiles = fixture.raw().iam("ListInstanceProfiles", &[]).await;
        assert!(!profiles.contains("old-profile"), "{profiles}");
        let groups = fixture.raw().rds("DescribeDBSubnetGroups", &[]).await;
        assert!(!groups.contains("old-db-subnets"), "{groups}");
        fixture.stop().await;
    });
}

/// Takes all tags off all that the stack consists of.
pub(crate) async fn untag(fixture: &Fixture) {
    let raw = fixture.raw();
    let (_, inventory) = fixture.context.observe().await.unwrap();
    let mut ids: Vec<String> = inventory.vpcs.iter().map(|one| one.id.clone()).collect();
    ids.extend(inventory.subnets.iter().map(|one| one.id.clone()));
    ids.extend(inventory.gateways.iter().map(|one| one.id.clone()));
    ids.extend(inventory.route_tables.iter().map(|one| one.id.clone()));
    ids.extend(inventory.groups.iter().map(|one| one.id.clone()));
    ids.extend(inventory.instances.iter().map(|one| one.id.clone()));
    for (action, name) in
        [("DescribeVolumes", "volumeId"), ("DescribeNetworkInterfaces", "networkInterfaceId")]
    {
        let answer = raw.ec2(action, &[]).await;
        let start = format!("<{name}>");
        let found = answer.split(&start).skip(1).filter_map(|rest| rest.split('<').next());
        ids.extend(found.map(str::to_owned));
    }
    for id in &ids {
        let numbers: Vec<String> = (1..=KEYS.len()).map(|number| format!("Tag.{number}.Key")).collect();
        let mut parameters = vec![("ResourceId.1", id.as_str())];
        parameters.extend(numbers.iter().map(String::as_str).zip(KEYS));
        raw.ec2("DeleteTags", &parameters).await;
    }
    let keys = |prefix: &str| -> Vec<(String, &str)> {
        (1..).zip(KEYS).map(|(number, key)| (format!("{prefix}.{number}"), key)).collect()
    };
    let database = inventory.database.as_ref().unwrap().arn.clone();
    let group = database.replace(":db:", ":subgrp:").replace(
        &inventory.database.as_ref().unwrap().identifier,
        &inventory.subnet_group.as_ref().unwrap().name,
    );
    let tags = keys("TagKeys.member");
    for arn in [&database, &group] {
        let mut parameters = vec![("ResourceName", arn.as_str())];
        parameters.extend(tags.iter().map(|(name, key)| (name.as_str(), *key)));
        raw.rds("RemoveTagsFromResource", &parameters).await;
    }
    let role = inventory.role.as_ref().unwrap().name.clone();
    for (action, name) in [("UntagRole", "RoleName"), ("UntagInstanceProfile", "InstanceProfileName")] {
        let mut parameters = vec![(name, role.as_str())];
        parameters.extend(tags.iter().map(|(name, key)| (name.as_str(), *key)));
        raw.iam(action, &parameters).await;
    }
    for secret in &inventory.secrets {
        raw.secrets("UntagResource", &json!({ "SecretId": secret.arn, "TagKeys": KEYS })).await;
    }
    let (_, left) = fixture.context.observe().await.unwrap();
    let tagged = left.secrets.iter().any(|secret| secret.tagged);
    assert!(
        left.vpcs.is_empty() && left.database.is_none() && left.subnet_group.is_none() && !tagged,
        "{left:?}"
    );
    assert!(left.instances.is_empty() && left.groups.is_empty() && left.route_tables.is_empty(), "{left:?}");
}

/// Where `adopt` is cut off: at which call of which operation, and how.
const CUTS: [(&str, u64, FaultKind); 9] = [
    ("CreateTags", 1, FaultKind::Hold),
    ("CreateTags", 5, FaultKind::Hold),
    ("CreateTags", 10, FaultKind::Hold),
    ("AddTagsToResource", 2, FaultKind::Hold),
    ("TagInstanceProfile", 1, FaultKind::Hold),
    ("CreateTags", 3, FaultKind::LostReply),
    ("AddTagsToResource", 1, FaultKind::LostReply),
    ("TagRole", 1, FaultKind::LostReply),
    ("TagResource", 1, FaultKind::LostReply),
];

#[test]
fn what_env_wrote_is_adopted_again_wherever_the_last_try_was_cut_off() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        let file = fixture.cloud.dir().join("aws-resources.env");
        let path = file.to_str().unwrap();
        fixture.run(&["up", "--yes"]).await.expect(0);
        fixture.run(&["env", path]).await.expect(0);
        let adopt = ["adopt", "--from", path, "--yes"];
        let count = if tests::sweeps_fully() { CUTS.len() } else { 4 };
        for (operation, nth, kind) in CUTS.into_iter().step_by(CUTS.len() / count) {
            untag(&fixture).await;
            let gateway = fixture.cloud.gateway();
            let fault =
                Fault { service: None, operation: Some(operation.to_owned()), nth, kind: kind.clone() };
            gateway.inject(fault);
            let mut program =
                fixture.program(&adopt).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let fired = tokio::time::timeout(tests::LIMIT, gateway.wait_until_fired()).await;
            if kind == FaultKind::Hold {
                program.kill().unwrap();
            }
            program.wait().unwrap();
            assert!(fired.is_ok(), "`adopt` makes fewer calls");
            gateway.clear_faults();
            fixture.run(&adopt).await.expect(0);
            let told = fixture.run(&["plan", "--check"]).await;
            assert_eq!(told.code, 0, "{operation} {nth}: {}", told.stdout);
            assert!(fixture.run(&adopt).await.expect(0).stdout.contains("nothing to adopt"));
        }
        let made = ["CreateVpc", "RunInstances", "CreateDBInstance"];
        let journal = fixture.cloud.gateway().journal();
        assert_eq!(journal.iter().filter(|call| made.contains(&call.operation.as_str())).count(), 3);
        fixture.run(&["down", "--yes"]).await.expect(0);
        fixture.run(&["audit"]).await.expect(0);
        assert!(!fixture.raw().ec2("DescribeVolumes", &[]).await.contains("<volumeId>"), "a volume is left");
        fixture.stop().await;
    });
}

#[test]
fn a_file_that_is_hostile_or_of_another_stack_changes_nothing() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        let vpc = ec2(&fixture, "CreateVpc", &[("CidrBlock", "10.9.0.0/16")], "vpcId").await;
        let owner = [
            ("ResourceId.1", vpc.as_str()),
            ("Tag.1.Key", "drawbridge:stack"),
            ("Tag.1.Value", "other-prod"),
        ];
        fixture.raw().ec2("CreateTags", &owner).await;
        let before = changes(&fixture);
        let gone = "VPC_ID=vpc-0a1b2c3d\nBASTION_INSTANCE_ID=i-0a1b2c3d\nRDS_INSTANCE_ID=nothing\n\
                    BASTION_ROLE_NAME=nobody\nDB_SUBNET_GROUP_NAME=none\n";
        let files = [
            ("VPC_ID=$(touch here)\n".to_owned(), 2, "resources.env:1:8: the value of `VPC_ID` asks a shell"),
            (
                "STACK_NAME=other-prod\n".to_owned(),
                2,
                "resources.env:1: `STACK_NAME` is not `startupwebapp-prod`",
            ),
            ("AWS_REGION=eu-west-1\n".to_owned(), 2, "`AWS_REGION` is not `us-east-1`"),
            ("AWS_ACCOUNT_ID=210987654321\n".to_owned(), 2, "`AWS_ACCOUNT_ID` is not `123456789012`"),
            (format!("VPC_ID={vpc}\n"), 2, "belongs to stack `other-prod`"),
            (gone.to_owned(), 0, "left alone: VPC_ID `vpc-0a1b2c3d` does not exist"),
        ];
        for (text, code, part) in files {
            let file = write(&fixture, "resources.env", &text);
            let ran = fixture.run(&["adopt", "--from", file.to_str().unwrap(), "--yes"]).await.expect(code);
            let told = if code == 0 { &ran.stdout } else { &ran.stderr };
            assert!(told.contains(part), "{text}: {told}");
        }
        let absent = fixture.run(&["adopt", "--from", "no-such.env"]).await.expect(2);
        assert!(absent.stderr.contains("cannot read `no-such.env`"), "{}", absent.stderr);
        assert_eq!(changes(&fixture), before, "something was changed");
        fixture.stop().await;
    });
}
