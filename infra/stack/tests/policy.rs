//! The policies of the tasks: what is in them, and that AWS takes them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stack::Stack;
use stack::policy::{self, MANAGED_POLICY_LIMIT, Policy, Task};

const SHIPPED: &str = include_str!("../../../tests/workspace/infra/stack.toml");
const ACCOUNT: Option<&str> = Some("123456789012");

fn shipped() -> Stack {
    stack::config::parse(SHIPPED, "stack.toml").expect("the file is right")
}

/// Returns the stack with the longest names that the configuration takes.
fn longest() -> Stack {
    let (project, environment) = ("p".repeat(32), "e".repeat(16));
    let (identifier, prefix) = ("i".repeat(63), "s".repeat(448));
    let text = format!(
        "project = \"{project}\"\nenvironment = \"{environment}\"\nregion = \"us-gov-west-1\"\n\
         [database]\nidentifier = \"{identifier}\"\nsecret_prefix = \"{prefix}\"\n"
    );
    let longer = text.replace(&project, &format!("{project}p"));
    assert!(stack::config::parse(&longer, "stack.toml").is_err(), "there are longer names");
    let longer = text.replace(&prefix, &format!("{prefix}s"));
    assert!(stack::config::parse(&longer, "stack.toml").is_err(), "there are longer prefixes");
    stack::config::parse(&text, "stack.toml").expect("the file is right")
}

fn actions(policy: &Policy) -> BTreeSet<&'static str> {
    policy.statement.iter().flat_map(|statement| statement.action.iter().copied()).collect()
}

#[test]
fn each_policy_allows_the_actions_of_its_task_and_no_other() {
    for task in Task::ALL {
        assert_eq!(actions(&policy::of(&shipped(), ACCOUNT, task)), task.actions(), "{task:?}");
    }
}

#[test]
fn a_policy_is_one_managed_policy_and_is_split_if_names_are_so_long_that_it_must() {
    for task in Task::ALL {
        let length = policy::of(&shipped(), ACCOUNT, task).length();
        assert_eq!(policy::of(&shipped(), ACCOUNT, task).split().len(), 1, "{task:?}: {length}");
        let whole = policy::of(&longest(), ACCOUNT, task);
        let parts = whole.clone().split();
        for part in &parts {
            let printed = serde_json::to_string_pretty(part).unwrap();
            let counted = printed.chars().filter(|c| !c.is_whitespace()).count();
            assert_eq!(part.length(), counted, "IAM counts what is not white space");
            assert!(counted <= MANAGED_POLICY_LIMIT, "{task:?}: {counted} characters");
        }
        assert_eq!(parts.len() > 1, whole.length() > MANAGED_POLICY_LIMIT, "{task:?}");
        let statements: Vec<_> = parts.into_iter().flat_map(|part| part.statement).collect();
        assert_eq!(statements, whole.statement, "{task:?}");
    }
    assert!(policy::of(&longest(), ACCOUNT, Task::Up).split().len() > 1, "nothing was split");
}

#[test]
fn nothing_is_changed_that_is_not_named_or_tagged_as_the_stacks() {
    for task in Task::ALL {
        for statement in policy::of(&shipped(), ACCOUNT, task).statement {
            let looks = |action: &str| {
                let (_, verb) = action.split_once(':').unwrap();
                ["Describe", "List", "Get", "BatchGet", "Simulate"]
                    .iter()
                    .any(|start| verb.starts_with(start))
            };
            let tagged = statement.condition.as_ref().is_some_and(|condition| {
                let equals = condition["StringEquals"].as_object();
                equals.is_some_and(|equals| equals.values().any(|value| value == "startupwebapp-prod"))
            });
            for resource in &statement.resource {
                let named = resource.contains("startupwebapp");
                let by_aws = ["::image/", "::document/", "og:default", "pg:default", "aws-service-role"];
                let by_aws = by_aws.iter().any(|part| resource.contains(part));
                let session = ["session/*", "SSM-SessionManagerRunShell", "key/*"];
                let session = session.iter().any(|end| resource.ends_with(end));
                let only_looks = statement.action.iter().all(|action| looks(action));
                assert!(
                    named || tagged || by_aws || session || only_looks,
                    "{task:?}: {:?} on {resource}",
                    statement.action
                );
            }
        }
    }
}

#[test]
fn arns_say_account_region_and_partition() {
    let document = |account, region: &str| {
        let mut stack = shipped();
        stack.region = region.to_owned();
        serde_json::to_value(policy::of(&stack, account, Task::Connect)).unwrap()
    };
    let secrets = |document: &Value| {
        let statements = document["Statement"].as_array().unwrap();
        statements.iter().find(|one| one["Sid"] == "Secrets").unwrap()["Resource"].clone()
    };
    let name = "secret:rds/startupwebapp/multi-tenant-prod/*";
    let in_account = document(ACCOUNT, "us-east-1");
    assert_eq!(
        secrets(&in_account),
        json!([format!("arn:aws:secretsmanager:us-east-1:123456789012:{name}")])
    );
    assert_eq!(
        secrets(&document(None, "cn-north-1")),
        json!([format!("arn:aws-cn:secretsmanager:cn-north-1:*:{name}")])
    );
    assert_eq!(
        secrets(&document(None, "us-gov-west-1")),
        json!([format!("arn:aws-us-gov:secretsmanager:us-gov-west-1:*:{name}")])
    );
    assert_eq!(in_account["Version"], "2012-10-17");
    assert!(in_account["Statement"].as_array().unwrap().iter().all(|one| one["Effect"] == "Allow"));
}

#[test]
fn a_session_is_tied_to_the_bastion_its_document_and_its_owner() {
    let document = serde_json::to_value(policy::of(&shipped(), ACCOUNT, Task::Migrate)).unwrap();
    let with = |action: &str| -> Vec<&Value> {
        let statements = document["Statement"].as_array().unwrap().iter();
        statements.filter(|one| one["Action"].as_array().unwrap().contains(&json!(action))).collect()
    };
    let start = with("ssm:StartSession");
    let condition = json!({
        "StringEquals": { "aws:ResourceTag/drawbridge:stack": "startupwebapp-prod" },
        "BoolIfExists": { "ssm:SessionDocumentAccessCheck": "true" },
    });
    assert_eq!(start[0]["Condition"], condition);
    let remote = "arn:aws:ssm:us-east-1::document/AWS-StartPortForwardingSessionToRemoteHost";
    assert_eq!(start[1]["Resource"], json!([remote]));
    assert_eq!(start.len(), 2, "migrations need no shell, and no port of the bastion itself");
    let connect = serde_json::to_value(policy::of(&shipped(), ACCOUNT, Task::Connect)).unwrap().to_string();
    assert!(
        connect.contains("\"arn:aws:ssm:us-east-1::document/AWS-StartPortForwardingSession\""),
        "{connect}"
    );
    let own = json!({ "StringLike": { "ssm:resourceTag/aws:ssmmessages:session-id": "${aws:userid}" } });
    assert_eq!(with("ssm:TerminateSession")[0]["Condition"], own);
}

#[test]
fn roles_are_handed_to_ec2_and_to_monitoring_alone_and_get_their_policies() {
    let document = serde_json::to_value(policy::of(&shipped(), ACCOUNT, Task::Up)).unwrap();
    let statement = |sid: &str| {
        document["Statement"].as_array().unwrap().iter().find(|one| one["Sid"] == sid).unwrap().clone()
    };
    let role = json!(["arn:aws:iam::123456789012:role/drawbridge/startupwebapp/prod/*"]);
    let pass = statement("PassRole");
    assert_eq!((&pass["Action"], &pass["Resource"]), (&json!(["iam:PassRole"]), &role));
    let services = json!(["ec2.amazonaws.com", "monitoring.rds.amazonaws.com"]);
    assert_eq!(pass["Condition"], json!({ "StringEquals": { "iam:PassedToService": services } }));
    let attach = statement("Attach");
    assert_eq!((&attach["Action"], &attach["Resource"]), (&json!(["iam:AttachRolePolicy"]), &role));
    let policies = json!([
        "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore",
        "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole",
    ]);
    assert_eq!(attach["Condition"], json!({ "ArnEquals": { "iam:PolicyARN": policies } }));
}

/// IAM is one for all regions: what another region's stack has is out of reach.
#[test]
fn no_policy_reaches_what_iam_holds_for_another_region() {
    for task in [Task::Up, Task::Down, Task::Adopt] {
        let document = serde_json::to_value(policy::of(&shipped(), ACCOUNT, task)).unwrap();
        let statements = document["Statement"].as_array().unwrap();
        let role = statements.iter().find(|one| one["Sid"] == "Role").unwrap();
        let here = json!({ "StringEqualsIfExists": { "aws:ResourceTag/drawbridge:region": "us-east-1" } });
        assert_eq!(role["Condition"], here, "{task:?}");
    }
}

#[test]
fn calls_imply_what_iam_asks_for_beside_them() {
    let implied = policy::implied_by(["ec2:RunInstances", "sts:GetCallerIdentity"]).unwrap();
    assert_eq!(implied, BTreeSet::from(["ec2:RunInstances", "ec2:CreateTags", "iam:PassRole"]));
    let unknown = policy::implied_by(["ec2:RunInstances", "ec2:Nonsense"]);
    assert_eq!(unknown, Err(vec!["ec2:Nonsense"]));
}

#[test]
fn names_that_are_written_are_allowed_where_the_scripts_made_them() {
    let mut stack = shipped();
    stack.bastion.role = Some("old-role".to_owned());
    stack.database.master_secret = Some("admin".to_owned());
    let document = serde_json::to_value(policy::of(&stack, ACCOUNT, Task::Up)).unwrap();
    let statement = |sid: &str| {
        document["Statement"].as_array().unwrap().iter().find(|one| one["Sid"] == sid).unwrap().clone()
    };
    let roles = json!([
        "arn:aws:iam::123456789012:role/drawbridge/startupwebapp/prod/*",
        "arn:aws:iam::123456789012:role/old-role",
    ]);
    assert_eq!(statement("PassRole")["Resource"], roles);
    let secrets = statement("Secrets")["Resource"].to_string();
    assert!(secrets.contains("secret:rds/startupwebapp/multi-tenant-prod/*"), "{secrets}");
    assert!(secrets.contains("secret:admin-??????"), "{secrets}");
}

#[test]
fn what_is_another_stacks_cannot_be_adopted() {
    let document = serde_json::to_value(policy::of(&shipped(), ACCOUNT, Task::Adopt)).unwrap();
    let statements = document["Statement"].as_array().unwrap();
    let adopt = statements.iter().find(|one| one["Sid"] == "Adopt").unwrap();
    let condition = json!({
        "StringEquals": { "aws:RequestTag/drawbridge:stack": "startupwebapp-prod" },
        "StringEqualsIfExists": { "aws:ResourceTag/drawbridge:stack": "startupwebapp-prod" },
    });
    assert_eq!((&adopt["Action"], &adopt["Condition"]), (&json!(["ec2:CreateTags"]), &condition));
}
