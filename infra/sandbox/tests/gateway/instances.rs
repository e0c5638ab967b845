//! Instances: launched once per token, registered by the agent's clock, and in the way of what they use.

use std::time::Duration;

use hyper::Method;
use sandbox::gateway::{Fault, FaultKind};
use serde_json::Value;

use crate::fixture::{Cloud, pass, until};

#[tokio::test]
async fn a_token_makes_one_instance_even_when_its_answer_is_lost() {
    let cloud = Cloud::start(|_| ()).await;
    let site = cloud.site().await;
    cloud.profile().await;
    let operation = Some("RunInstances".to_owned());
    cloud.gateway.inject(Fault { service: None, operation, nth: 1, kind: FaultKind::LostReply });
    cloud.try_launch(&site, "token", "t3.micro").await.unwrap_err();

    let first = cloud.try_launch(&site, "token", "t3.micro").await.unwrap();
    let second = cloud.try_launch(&site, "token", "t3.micro").await.unwrap();
    assert_eq!(first.get("instanceId"), second.get("instanceId"));
    assert_eq!(first.get("reservationId"), second.get("reservationId"));
    assert_eq!(
        cloud.try_launch(&site, "token", "t3.large").await.unwrap().code(),
        "IdempotentParameterMismatch"
    );
    assert_eq!(cloud.instances(&site).await.all("instanceId").len(), 1);
}

#[tokio::test]
async fn a_new_profile_is_not_known_to_ec2_at_once() {
    let cloud = Cloud::start(|options| options.profile_refusals = 1).await;
    let site = cloud.site().await;
    cloud.profile().await;
    let refused = cloud.try_launch(&site, "token", "t3.micro").await.unwrap();
    assert_eq!(refused.code(), "InvalidParameterValue");
    assert!(refused.get("Message").contains("Invalid IAM Instance Profile name"));
    assert_eq!(cloud.try_launch(&site, "token", "t3.micro").await.unwrap().status, 200);
}

#[tokio::test]
async fn an_agent_that_was_refused_asks_again_only_after_a_reboot() {
    let cloud = Cloud::start(|options| options.agent_retry = Duration::from_secs(3600)).await;
    let site = cloud.site().await;
    cloud.profile().await;
    let id = cloud.launch(&site).await;
    until(async || {
        let health = cloud.client.control(Method::GET, "health", &Value::Null).await.json();
        health["agents"][&id] == "the role does not have `AmazonSSMManagedInstanceCore`"
    })
    .await;

    cloud.attach_policy().await;
    assert_eq!(cloud.ping(&id).await, None);
    cloud.ec2("RebootInstances", &[("InstanceId.1", &id)]).await;
    until(async || cloud.ping(&id).await.as_deref() == Some("Online")).await;
}

#[tokio::test]
async fn an_agent_needs_a_route_out_and_loses_its_connection_without() {
    let cloud = Cloud::start(|_| ()).await;
    let (site, id) = cloud.bastion().await;
    let by_gateway = [("Filter.1.Name", "route.gateway-id"), ("Filter.1.Value.1", site.internet.as_str())];
    let table = cloud.ec2("DescribeRouteTables", &by_gateway).await.get("routeTableId");
    cloud.ec2("DeleteRoute", &[("RouteTableId", &table), ("DestinationCidrBlock", "0.0.0.0/0")]).await;
    assert_eq!(cloud.ping(&id).await.as_deref(), Some("ConnectionLost"));
    cloud.ec2("StopInstances", &[("InstanceId.1", &id)]).await;
    assert_eq!(cloud.ping(&id).await.as_deref(), Some("ConnectionLost"));
    cloud.ec2("TerminateInstances", &[("InstanceId.1", &id)]).await;
    until(async || cloud.ping(&id).await.is_none()).await;
}

#[tokio::test]
async fn what_a_bastion_uses_cannot_be_deleted_before_it_is_terminated() {
    // Longer than anything here takes; it is made to pass.
    let delay = Duration::from_secs(3600);
    let cloud = Cloud::start(|options| options.termination_delay = delay).await;
    let (site, id) = cloud.bastion().await;
    let used: [(&str, Vec<(&str, &str)>); 4] = [
        ("DeleteSecurityGroup", vec![("GroupId", &site.bastions)]),
        ("DeleteSubnet", vec![("SubnetId", &site.public)]),
        ("DetachInternetGateway", vec![("InternetGatewayId", &site.internet), ("VpcId", &site.vpc)]),
        ("DeleteVpc", vec![("VpcId", &site.vpc)]),
    ];
    for (action, params) in &used {
        assert_eq!(cloud.client.query("ec2", action, params).await.code(), "DependencyViolation", "{action}");
    }

    let told = cloud.ec2("TerminateInstances", &[("InstanceId.1", &id)]).await;
    assert_eq!(told.all("name"), ["shutting-down", "running"]);
    let running =
        [("Filter.1.Name", "instance-state-name"), ("Filter.1.Value.1", "running"), ("InstanceId.1", &id)];
    assert!(cloud.ec2("DescribeInstances", &running).await.all("instanceId").is_empty());
    assert_eq!(cloud.instances(&site).await.get("name"), "shutting-down");
    assert_eq!(cloud.client.query("ec2", "DeleteSubnet", &used[1].1).await.code(), "DependencyViolation");
    pass(delay).await;
    until(async || cloud.instances(&site).await.get("name") == "terminated").await;

    // The other group still names it in a rule.
    assert_eq!(
        cloud.client.query("ec2", "DeleteSecurityGroup", &used[0].1).await.code(),
        "DependencyViolation"
    );
    cloud
        .allow("RevokeSecurityGroupIngress", &site.databases, "5432", ("Groups.1.GroupId", &site.bastions))
        .await;
    for (action, params) in &used[..3] {
        cloud.ec2(action, params).await;
    }
}
