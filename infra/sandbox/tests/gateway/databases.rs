//! Databases: slow to come and to go, with real passwords, and in the way of what they use.

use serde_json::{Value, json};

use crate::fixture::{Cloud, pass, until};

#[tokio::test]
async fn a_database_comes_with_its_password_and_goes_with_its_data() {
    // Longer than anything here takes; it is made to pass.
    let delay = std::time::Duration::from_secs(3600);
    let cloud = Cloud::start(|options| options.database_delay = delay).await;
    let site = cloud.site().await;
    cloud.subnet_group(&site).await;
    let password = ("MasterUserPassword", "correct-horse");
    let created = cloud.try_database(&site, &[password]).await;
    assert_eq!((created.get("DBInstanceStatus").as_str(), created.all("Endpoint").len()), ("creating", 0));
    assert!(!created.body.contains("<Endpoint>"));
    let identifier = ("DBInstanceIdentifier", cloud.name.as_str());
    let deletion = [identifier, ("SkipFinalSnapshot", "true")];
    assert_eq!(
        cloud.client.query("rds", "DeleteDBInstance", &deletion).await.code(),
        "InvalidDBInstanceState"
    );
    pass(delay).await;
    until(async || cloud.database_status().await.as_deref() == Some("available")).await;
    assert_eq!(
        cloud.databases.told(),
        [format!("create us-east-1-{} master correct-horse Some(\"first\")", cloud.name)]
    );

    let change = [identifier, ("MasterUserPassword", "battery-staple")];
    cloud.client.ok("rds", "ModifyDBInstance", &change).await;
    assert_eq!(
        cloud.databases.told()[1],
        format!("set_password us-east-1-{} master battery-staple", cloud.name)
    );

    let refused = cloud.client.query("rds", "DeleteDBInstance", &[identifier]).await;
    assert_eq!(refused.code(), "InvalidParameterCombination");
    let group = [("DBSubnetGroupName", cloud.name.as_str())];
    let deleted = cloud.client.ok("rds", "DeleteDBInstance", &deletion).await;
    assert_eq!(deleted.get("DBInstanceStatus"), "deleting");
    assert_eq!(cloud.database_status().await.as_deref(), Some("deleting"));
    let in_use = cloud.client.query("rds", "DeleteDBSubnetGroup", &group).await;
    assert_eq!(in_use.code(), "InvalidDBSubnetGroupStateFault");
    let used = cloud.client.query("ec2", "DeleteSecurityGroup", &[("GroupId", &site.databases)]).await;
    assert_eq!(used.code(), "DependencyViolation");
    pass(delay).await;
    until(async || cloud.database_status().await.is_none()).await;
    assert_eq!(cloud.databases.told()[2], format!("delete us-east-1-{}", cloud.name));
    cloud.client.ok("rds", "DeleteDBSubnetGroup", &group).await;
}

#[tokio::test]
async fn a_subnet_group_stays_in_its_vpc() {
    let cloud = Cloud::start(|_| ()).await;
    let (here, there) = (cloud.site().await, cloud.site().await);
    cloud.subnet_group(&here).await;
    let to = |subnets: [&String; 2]| {
        let [one, two] = subnets.map(String::clone);
        let name = ("DBSubnetGroupName", cloud.name.clone());
        [name, ("SubnetIds.SubnetIdentifier.1", one), ("SubnetIds.SubnetIdentifier.2", two)]
    };
    for (site, moves) in [(&there, true), (&here, false)] {
        let params = to([&site.private, &site.public]);
        let params: Vec<_> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = cloud.client.query("rds", "ModifyDBSubnetGroup", &params).await;
        assert_eq!(answer.status == 400 && answer.code() == "InvalidParameterValue", moves, "{answer:?}");
    }
}

#[tokio::test]
async fn a_managed_password_is_the_one_in_the_secret() {
    let cloud = Cloud::start(|_| ()).await;
    let site = cloud.site().await;
    cloud.subnet_group(&site).await;
    let both = [("ManageMasterUserPassword", "true"), ("MasterUserPassword", "correct-horse")];
    assert_eq!(cloud.try_database(&site, &both).await.code(), "InvalidParameterCombination");
    let created = cloud.try_database(&site, &both[..1]).await;
    let arn = created.get("SecretArn");
    assert!(arn.contains(":secret:rds"), "{arn}");
    let body = json!({ "SecretId": arn });
    let secret = cloud.client.json("secretsmanager", "secretsmanager.GetSecretValue", &body).await.json();
    let secret: Value = serde_json::from_str(secret["SecretString"].as_str().unwrap()).unwrap();
    assert_eq!(secret["username"], "master");
    until(async || !cloud.databases.told().is_empty()).await;
    let password = secret["password"].as_str().unwrap();
    assert_eq!(
        cloud.databases.told(),
        [format!("create us-east-1-{} master {password} Some(\"first\")", cloud.name)]
    );
}

#[tokio::test]
async fn protection_and_bad_passwords_are_refused_as_rds_does() {
    let cloud = Cloud::start(|_| ()).await;
    let site = cloud.site().await;
    cloud.subnet_group(&site).await;
    for bad in [&[][..], &[("MasterUserPassword", "short")]] {
        assert_eq!(cloud.try_database(&site, bad).await.code(), "InvalidParameterValue");
    }
    let protected = [("MasterUserPassword", "correct-horse"), ("DeletionProtection", "true")];
    assert_eq!(cloud.try_database(&site, &protected).await.status, 200);
    until(async || cloud.database_status().await.as_deref() == Some("available")).await;
    let deletion = [("DBInstanceIdentifier", cloud.name.as_str()), ("SkipFinalSnapshot", "true")];
    assert_eq!(
        cloud.client.query("rds", "DeleteDBInstance", &deletion).await.code(),
        "InvalidParameterCombination"
    );
    assert_eq!(cloud.database_status().await.as_deref(), Some("available"));
}

#[tokio::test]
async fn the_network_lets_a_bastion_reach_the_database_only_by_the_rules_of_both() {
    let cloud = Cloud::start(|_| ()).await;
    let (site, id) = cloud.bastion().await;
    cloud.subnet_group(&site).await;
    cloud.try_database(&site, &[("MasterUserPassword", "correct-horse")]).await;
    until(async || cloud.database_status().await.as_deref() == Some("available")).await;
    let endpoint = cloud
        .client
        .ok("rds", "DescribeDBInstances", &[("DBInstanceIdentifier", &cloud.name)])
        .await
        .get("Address");
    let network = cloud.gateway.network();

    assert_eq!(network.allows(&id, &endpoint, 5432).await, Ok(()));
    let port = network.allows(&id, &endpoint, 5433).await.unwrap_err();
    assert_eq!(port, format!("nothing listens on port 5433 of `{endpoint}`"));
    let other = "other.c0ffee.us-east-1.rds.amazonaws.com";
    assert_eq!(network.allows(&id, other, 5432).await.unwrap_err(), format!("`{other}` does not resolve"));

    cloud
        .allow("RevokeSecurityGroupIngress", &site.databases, "5432", ("Groups.1.GroupId", &site.bastions))
        .await;
    let inwards = network.allows(&id, &endpoint, 5432).await.unwrap_err();
    assert_eq!(inwards, format!("no group of `{endpoint}` lets `{id}` in at port 5432"));
    cloud
        .allow("AuthorizeSecurityGroupIngress", &site.databases, "5432", ("IpRanges.1.CidrIp", "10.0.0.0/24"))
        .await;
    assert_eq!(network.allows(&id, &endpoint, 5432).await, Ok(()));
    cloud
        .allow("RevokeSecurityGroupEgress", &site.bastions, "5432", ("Groups.1.GroupId", &site.databases))
        .await;
    let outwards = network.allows(&id, &endpoint, 5432).await.unwrap_err();
    assert_eq!(outwards, format!("no group of `{id}` lets port 5432 out to `{endpoint}`"));
}
