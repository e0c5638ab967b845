//! RDS at one program and everything else at another: what crosses between the two.

use hyper::Method;
use sandbox::gateway::{Emulator, ServedBy, Side, UpstreamCall, Upstreams};
use serde_json::{Value, json};

use crate::client::Client;
use crate::fixture::{Cloud, other_moto, own_moto, until, upstreams};
use crate::support;

/// A cloud whose RDS is not where everything else is.
async fn split() -> Cloud {
    let Upstreams { rds, others } = upstreams();
    let others = if others == rds { other_moto() } else { others };
    Cloud::over(Upstreams { rds, others }, |_| ()).await
}

async fn secret(cloud: &Cloud, arn: &str) -> Value {
    let body = json!({ "SecretId": arn });
    cloud.client.json("secretsmanager", "secretsmanager.GetSecretValue", &body).await.json()
}

#[tokio::test]
async fn a_database_lies_in_subnets_that_rds_does_not_have() {
    let cloud = split().await;
    let (site, id) = cloud.bastion().await;
    cloud.subnet_group(&site).await;
    let created = cloud.try_database(&site, &[("MasterUserPassword", "correct-horse")]).await;
    assert_eq!(created.status, 200, "{created:?}");
    until(async || cloud.database_status().await.as_deref() == Some("available")).await;

    let described =
        cloud.client.ok("rds", "DescribeDBInstances", &[("DBInstanceIdentifier", &cloud.name)]).await;
    for told in [&created, &described] {
        let mut subnets = told.all("SubnetIdentifier");
        subnets.sort();
        let mut expected = [site.public.clone(), site.private.clone()];
        expected.sort();
        assert_eq!((subnets, told.get("VpcId")), (expected.to_vec(), site.vpc.clone()));
        assert_eq!(told.get("VpcSecurityGroupId"), site.databases);
    }
    assert_eq!(cloud.gateway.network().allows(&id, &described.get("Address"), 5432).await, Ok(()));
    for (action, name, value) in
        [("DeleteSubnet", "SubnetId", &site.private), ("DeleteSecurityGroup", "GroupId", &site.databases)]
    {
        let refused = cloud.client.query("ec2", action, &[(name, value)]).await;
        assert_eq!(refused.code(), "DependencyViolation", "{action}");
    }
}

#[tokio::test]
async fn a_subnet_that_does_not_exist_makes_no_subnet_group() {
    let cloud = split().await;
    let params = [
        ("DBSubnetGroupName", cloud.name.as_str()),
        ("DBSubnetGroupDescription", "databases"),
        ("SubnetIds.SubnetIdentifier.1", "subnet-0123456789abcdef0"),
    ];
    assert_eq!(cloud.client.query("rds", "CreateDBSubnetGroup", &params).await.code(), "InvalidSubnet");
}

#[tokio::test]
async fn a_managed_password_is_kept_where_the_secrets_are_and_goes_with_its_database() {
    let cloud = split().await;
    let site = cloud.site().await;
    cloud.subnet_group(&site).await;
    let created = cloud.try_database(&site, &[("ManageMasterUserPassword", "true")]).await;
    let arn = created.get("SecretArn");
    let told = secret(&cloud, &arn).await;
    assert!(told["Name"].as_str().unwrap().starts_with("rds-db-"), "{told}");
    let value: Value = serde_json::from_str(told["SecretString"].as_str().unwrap()).unwrap();
    let password = value["password"].as_str().unwrap();
    until(async || cloud.database_status().await.as_deref() == Some("available")).await;
    assert_eq!(
        cloud.databases.told(),
        [format!("create us-east-1-{} master {password} Some(\"first\")", cloud.name)]
    );

    let identifier = ("DBInstanceIdentifier", cloud.name.as_str());
    let rotate = [identifier, ("RotateMasterUserPassword", "true"), ("ApplyImmediately", "true")];
    let rotated = cloud.client.ok("rds", "ModifyDBInstance", &rotate).await;
    assert_eq!(rotated.get("SecretArn"), arn);
    let value: Value =
        serde_json::from_str(secret(&cloud, &arn).await["SecretString"].as_str().unwrap()).unwrap();
    let rotated = value["password"].as_str().unwrap();
    assert_ne!(rotated, password);
    assert_eq!(cloud.databases.told()[1], format!("set_password us-east-1-{} master {rotated}", cloud.name));

    cloud.client.ok("rds", "DeleteDBInstance", &[identifier, ("SkipFinalSnapshot", "true")]).await;
    until(async || secret(&cloud, &arn).await["__type"].is_string()).await;
}

#[tokio::test]
async fn a_password_that_is_managed_no_longer_leaves_no_secret() {
    let cloud = split().await;
    let site = cloud.site().await;
    cloud.subnet_group(&site).await;
    let arn = cloud.try_database(&site, &[("ManageMasterUserPassword", "true")]).await.get("SecretArn");
    until(async || cloud.database_status().await.as_deref() == Some("available")).await;
    let change = [
        ("DBInstanceIdentifier", cloud.name.as_str()),
        ("ManageMasterUserPassword", "false"),
        ("MasterUserPassword", "battery-staple"),
    ];
    cloud.client.ok("rds", "ModifyDBInstance", &change).await;
    assert!(secret(&cloud, &arn).await["__type"].is_string());
    assert_eq!(
        cloud.databases.told()[1],
        format!("set_password us-east-1-{} master battery-staple", cloud.name)
    );
}

#[tokio::test]
async fn the_journal_tells_who_served_a_call_and_nothing_of_the_gateway_s_own() {
    let cloud = split().await;
    let site = cloud.site().await;
    let before = cloud.gateway.journal().len();
    cloud.subnet_group(&site).await;
    cloud.ssm("GetConnectionStatus", json!({ "Target": "i-0" })).await;
    cloud.client.ok("iam", "ListRoles", &[]).await;
    let journal = cloud.gateway.journal();
    let calls: Vec<_> = journal[before..].iter().map(|c| (c.operation.as_str(), c.served_by)).collect();
    let wanted = [
        ("CreateDBSubnetGroup", Some(ServedBy::Rds)),
        ("GetConnectionStatus", Some(ServedBy::Gateway)),
        ("ListRoles", Some(ServedBy::Others)),
    ];
    assert_eq!(calls, wanted);
    let told = cloud.client.control(Method::GET, "journal", &Value::Null).await.json();
    assert_eq!(told[before]["served_by"], "rds");

    // What was made in moto's own EC2 went past the journal, and is counted all the same.
    let passed = cloud.gateway.upstream_calls();
    let count = |side, service: &str, operation: &str| {
        let wanted = UpstreamCall { side, service: service.into(), operation: operation.into(), status: 200 };
        passed.iter().filter(|passed| **passed == wanted).count()
    };
    assert_eq!(count(Side::Rds, "ec2", "CreateSubnet"), 2);
    assert_eq!(count(Side::Rds, "rds", "CreateDBSubnetGroup"), 1);
    assert_eq!(count(Side::Others, "ec2", "CreateSubnet"), 2);
    assert_eq!(count(Side::Others, "iam", "ListRoles"), 1);
    assert_eq!(count(Side::Rds, "iam", "ListRoles"), 0);
}

#[tokio::test]
async fn a_reset_empties_both() {
    let dirs = [support::folder(), support::folder()];
    let (rds, others) = tokio::join!(own_moto(dirs[0].path()), own_moto(dirs[1].path()));
    let both = Upstreams { rds: rds.emulator(), others: others.emulator() };
    let cloud = Cloud::over(both, |_| ()).await;
    let site = cloud.site().await;
    cloud.subnet_group(&site).await;
    cloud.gateway.reset().await.unwrap();
    assert!(cloud.gateway.upstream_calls().is_empty());
    let groups = cloud.client.ok("rds", "DescribeDBSubnetGroups", &[]).await;
    assert!(groups.all("DBSubnetGroupName").is_empty());
    let vpcs = cloud.ec2("DescribeVpcs", &[]).await;
    assert!(!vpcs.all("vpcId").contains(&site.vpc));
    rds.stop().await;
    others.stop().await;
}

#[tokio::test]
async fn a_program_that_does_not_answer_is_named() {
    let Upstreams { rds, .. } = upstreams();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cloud = Cloud::over(Upstreams { rds, others: Emulator::LocalStack(nobody) }, |_| ()).await;
    let client = Client::new(&cloud.gateway);
    let answer = client.query("iam", "ListRoles", &[]).await;
    assert!(answer.get("Message").starts_with("cannot reach LocalStack"), "{answer:?}");
    assert_eq!(client.query("rds", "DescribeDBInstances", &[]).await.status, 200);
}

#[tokio::test]
async fn a_service_that_nobody_has_is_named_and_is_not_taken_for_rds() {
    let Upstreams { rds, .. } = upstreams();
    let cloud = Cloud::over(Upstreams { rds, others: other_moto() }, |_| ()).await;
    let form = cloud.client.query("nosuch", "DescribeDBInstances", &[]).await;
    assert_eq!((form.status, form.code().as_str()), (501, "NotImplemented"));
    assert_eq!(form.get("Message"), "moto does not have the service `nosuch`");
    let json = cloud.client.json("nosuch", "NoSuch.ListThings", &json!({})).await;
    assert_eq!((json.status, json.json()["__type"].as_str()), (501, Some("NotImplemented")));
    assert_eq!(json.json()["message"], "moto does not have the service `nosuch`");
    let passed = cloud.gateway.upstream_calls();
    let asked: Vec<_> = passed.iter().map(|passed| (passed.side, passed.service.as_str())).collect();
    assert_eq!(asked, [(Side::Others, "nosuch"), (Side::Others, "nosuch")]);
}
