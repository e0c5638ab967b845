//! What makes `up` and `down` call everything that they ever call.

use sandbox::gateway::{Fault, FaultKind};
use serde_json::json;
use stack::Inventory;
use stack::spec::EXPIRY_TAG;
use tests::{Fixture, element};

async fn observe(fixture: &Fixture) -> Inventory {
    fixture.context.observe().await.expect("the account can be observed").1
}

/// Returns the parameters that tag a new part of EC2's as the stack's.
fn tags<'a>(kind: &'a str, resource: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("TagSpecification.1.ResourceType", kind),
        ("TagSpecification.1.Tag.1.Key", "drawbridge:stack"),
        ("TagSpecification.1.Tag.1.Value", "startupwebapp-prod"),
        ("TagSpecification.1.Tag.2.Key", "drawbridge:resource"),
        ("TagSpecification.1.Tag.2.Value", resource),
    ]
}

/// Calls EC2 and returns the first element of that name.
async fn ec2(fixture: &Fixture, action: &str, parameters: &[(&str, &str)], wanted: &str) -> String {
    let answer = fixture.raw().ec2(action, parameters).await;
    element(&answer, wanted).unwrap_or_else(|| panic!("{action}: no {wanted} in {answer}"))
}

/// A secret of the stack that somebody has scheduled for deletion, with a value or without.
pub(super) async fn scheduled_secret(fixture: &Fixture, name: &str, value: Option<&str>) {
    let tags = json!([{ "Key": "drawbridge:stack", "Value": "startupwebapp-prod" }]);
    let mut secret = json!({ "Name": name, "Tags": tags, "ClientRequestToken": "0".repeat(32) });
    if let Some(value) = value {
        secret["SecretString"] = json!(value);
    }
    fixture.raw().secrets("CreateSecret", &secret).await;
    fixture.raw().secrets("DeleteSecret", &json!({ "SecretId": name, "RecoveryWindowInDays": 7 })).await;
}

/// A master secret that is scheduled for deletion, and a subnet group in a VPC that is not the stack's.
pub(super) async fn before_the_first(fixture: &Fixture) {
    let stack = &fixture.context.stack;
    let value = json!({ "username": "dbadmin", "password": "as-it-was-before" }).to_string();
    scheduled_secret(fixture, &stack.master_secret_name(), Some(&value)).await;
    let vpc = ec2(fixture, "CreateVpc", &[("CidrBlock", "10.9.0.0/16")], "vpcId").await;
    let subnet = |cidr, zone| {
        let vpc = vpc.as_str();
        async move {
            let parameters = [("VpcId", vpc), ("CidrBlock", cidr), ("AvailabilityZone", zone)];
            ec2(fixture, "CreateSubnet", &parameters, "subnetId").await
        }
    };
    let (a, b) = (subnet("10.9.0.0/24", "us-east-1a").await, subnet("10.9.1.0/24", "us-east-1b").await);
    subnet_group(fixture, &[a, b]).await;
}

/// A subnet group that lacks one of the stack's subnets.
pub(super) async fn short_subnet_group(fixture: &Fixture) {
    let inventory = observe(fixture).await;
    subnet_group(fixture, &[inventory.subnet("private-subnet-a").unwrap().id.clone()]).await;
}

async fn subnet_group(fixture: &Fixture, subnets: &[String]) {
    let stack = &fixture.context.stack;
    let mut group = vec![
        ("DBSubnetGroupName".to_owned(), stack.subnet_group_name()),
        ("DBSubnetGroupDescription".to_owned(), "of an earlier life".to_owned()),
        ("Tags.Tag.1.Key".to_owned(), "drawbridge:stack".to_owned()),
        ("Tags.Tag.1.Value".to_owned(), stack.name.clone()),
    ];
    let number = (1..).zip(subnets);
    group.extend(number.map(|(n, id)| (format!("SubnetIds.SubnetIdentifier.{n}"), id.clone())));
    let group: Vec<(&str, &str)> =
        group.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    fixture.raw().rds("CreateDBSubnetGroup", &group).await;
}

/// What a stack can suffer and `up` can mend.
pub(super) async fn what_is_up(fixture: &Fixture) {
    let stack = &fixture.context.stack;
    let inventory = observe(fixture).await;
    // Left behind by lost replies.
    let mut second = vec![("CidrBlock", "10.8.0.0/16")];
    second.extend(tags("vpc", "vpc"));
    ec2(fixture, "CreateVpc", &second, "vpcId").await;
    let second = tags("internet-gateway", "internet-gateway");
    ec2(fixture, "CreateInternetGateway", &second, "internetGatewayId").await;
    let mut second = vec![("VpcId", inventory.vpc().unwrap().id.as_str())];
    second.extend(tags("route-table", "public-routes"));
    ec2(fixture, "CreateRouteTable", &second, "routeTableId").await;
    let bastion = [("InstanceId.1", inventory.bastion().unwrap().id.as_str())];
    fixture.raw().ec2("StopInstances", &bastion).await;
    // A port is open that must not be, and the way out leads elsewhere.
    let ssh = [
        ("GroupId", inventory.group("bastion-group").unwrap().id.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "22"),
        ("IpPermissions.1.ToPort", "22"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
    ];
    fixture.raw().ec2("AuthorizeSecurityGroupIngress", &ssh).await;
    // The bastion is in a group of somebody else's as well.
    let group = [("GroupName", "ops"), ("GroupDescription", "x"), ("VpcId", &inventory.vpc().unwrap().id)];
    let ops = ec2(fixture, "CreateSecurityGroup", &group, "groupId").await;
    let both = [("InstanceId", bastion[0].1), ("GroupId.1", ssh[0].1), ("GroupId.2", ops.as_str())];
    fixture.raw().ec2("ModifyInstanceAttribute", &both).await;
    let elsewhere = ec2(fixture, "CreateInternetGateway", &[], "internetGatewayId").await;
    let route = [
        ("RouteTableId", inventory.route_table("public-routes").unwrap().id.as_str()),
        ("DestinationCidrBlock", "0.0.0.0/0"),
        ("GatewayId", elsewhere.as_str()),
    ];
    fixture.raw().ec2("ReplaceRoute", &route).await;
    // The role has left its profile, where another one took its place.
    let name = stack.role_name();
    let trust = [("RoleName", "other"), ("AssumeRolePolicyDocument", BY_HAND)];
    fixture.raw().iam("CreateRole", &trust).await;
    let place = |role| [("InstanceProfileName", name.as_str()), ("RoleName", role)];
    fixture.raw().iam("RemoveRoleFromInstanceProfile", &place(&name)).await;
    fixture.raw().iam("AddRoleToInstanceProfile", &place("other")).await;
    // The database: protected although it is not to be, and stopped.
    let database = ("DBInstanceIdentifier", stack.database.identifier.as_str());
    fixture.raw().rds("ModifyDBInstance", &[database, ("DeletionProtection", "true")]).await;
    fixture.raw().rds("StopDBInstance", &[database]).await;
}

/// What cannot be told apart from other damage if it comes together with it.
pub(super) async fn what_is_left(fixture: &Fixture) {
    let inventory = observe(fixture).await;
    let master = fixture.context.stack.master_secret_name();
    let gone = json!({ "SecretId": master, "ForceDeleteWithoutRecovery": true });
    fixture.raw().secrets("DeleteSecret", &gone).await;
    // A bastion that can never be the stack's, as it has no profile.
    let mut second = vec![
        ("ImageId", inventory.image.as_deref().unwrap()),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("NetworkInterface.1.DeviceIndex", "0"),
        ("NetworkInterface.1.SubnetId", inventory.subnet("public-subnet").unwrap().id.as_str()),
        ("NetworkInterface.1.DeleteOnTermination", "true"),
    ];
    second.extend(tags("instance", "instance"));
    ec2(fixture, "RunInstances", &second, "instanceId").await;
    other_table(fixture, &inventory).await;
}

/// Gives the public subnet to a route table that is not the stack's.
async fn other_table(fixture: &Fixture, inventory: &Inventory) {
    let vpc = inventory.vpc().unwrap().id.as_str();
    let table = inventory.route_table("public-routes").unwrap();
    let link = &table.associations[0];
    fixture.raw().ec2("DisassociateRouteTable", &[("AssociationId", link.id.as_str())]).await;
    let other = ec2(fixture, "CreateRouteTable", &[("VpcId", vpc)], "routeTableId").await;
    let taken = [("RouteTableId", other.as_str()), ("SubnetId", link.subnet.as_str())];
    fixture.raw().ec2("AssociateRouteTable", &taken).await;
    // moto hands out the other table's association; EC2 refuses.
    fixture.cloud.gateway().inject(Fault {
        service: Some("ec2".to_owned()),
        operation: Some("AssociateRouteTable".to_owned()),
        nth: 1,
        kind: FaultKind::Error { status: 400, code: "Resource.AlreadyAssociated".to_owned() },
    });
}

/// The alarms' mail, once its address has followed the link.
pub(super) async fn confirmed_mail(fixture: &Fixture, email: &str) {
    let topic = observe(fixture).await.topic.expect("there is a topic").arn;
    fixture.raw().sns("ConfirmSubscription", &[("TopicArn", &topic), ("Token", email)]).await;
}

/// An ephemeral bastion that should have ended by itself.
pub(super) async fn time_is_over(fixture: &Fixture) {
    let bastion = observe(fixture).await.bastion().unwrap().id.clone();
    let tag = [
        ("ResourceId.1", bastion.as_str()),
        ("Tag.1.Key", EXPIRY_TAG),
        ("Tag.1.Value", "2026-01-01T00:00:00Z"),
    ];
    fixture.raw().ec2("CreateTags", &tag).await;
}

const BY_HAND: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"s3:*","Resource":"*"}}"#;

/// An alarm on somebody else's database: whether it carries the stack's tag shows when it is asked.
pub(super) async fn other_alarm(fixture: &Fixture) {
    let alarm = json!({
        "AlarmName": "somebody-elses", "Namespace": "AWS/RDS", "MetricName": "CPUUtilization",
        "Dimensions": [{ "Name": "DBInstanceIdentifier", "Value": "other" }], "Statistic": "Average",
        "ComparisonOperator": "GreaterThanThreshold", "Threshold": 1.0, "Period": 60, "EvaluationPeriods": 1,
    });
    fixture.raw().cloudwatch("PutMetricAlarm", &alarm).await;
}

/// A policy written into the role, and protection against deletion; and role and profile say no region, as an earlier
/// version made them.
pub(super) async fn what_makes_down_hard(fixture: &Fixture) {
    let stack = &fixture.context.stack;
    let name = stack.role_name();
    let policy = [("RoleName", name.as_str()), ("PolicyName", "by-hand"), ("PolicyDocument", BY_HAND)];
    fixture.raw().iam("PutRolePolicy", &policy).await;
    let region = ("TagKeys.member.1", "drawbridge:region");
    fixture.raw().iam("UntagRole", &[("RoleName", &name), region]).await;
    let profile = stack.profile_name();
    fixture.raw().iam("UntagInstanceProfile", &[("InstanceProfileName", &profile), region]).await;
    let database = ("DBInstanceIdentifier", stack.database.identifier.as_str());
    fixture.raw().rds("ModifyDBInstance", &[database, ("DeletionProtection", "true")]).await;
}
