//! The obstacles, one table.

use sandbox::gateway::{Fault, FaultKind};
use serde_json::json;
use tests::{Fixture, element};

use super::account::Account;

/// What others have put there.
pub(crate) const FOREIGN: [Obstacle; 7] = [
    Obstacle::Interface,
    Obstacle::Instance,
    Obstacle::Rule,
    Obstacle::Group,
    Obstacle::Subnet,
    Obstacle::RouteTable,
    Obstacle::Database,
];
/// What may not be seen or done.
pub(crate) const ACCESS: [Obstacle; 5] = [
    Obstacle::DeniedFirstList,
    Obstacle::DeniedLastList,
    Obstacle::DeniedProof,
    Obstacle::DeniedDeletion,
    Obstacle::Protected,
];
/// What is a matter of what was asked for.
pub(crate) const AS_TOLD: [Obstacle; 8] = [
    Obstacle::ScheduledSecret,
    Obstacle::ScheduledSecretKept,
    Obstacle::RecoveryWindow,
    Obstacle::SnapshotTaken,
    Obstacle::SnapshotNamed,
    Obstacle::Unprotected,
    Obstacle::Policy,
    Obstacle::SecondSubnet,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// A network interface of somebody else in a subnet.
    Interface,
    /// An instance of somebody else in a subnet.
    Instance,
    /// A rule of somebody else's group that names one of ours.
    Rule,
    /// Somebody else's group in the VPC.
    Group,
    /// Somebody else's subnet in the VPC.
    Subnet,
    /// Somebody else's route table in the VPC.
    RouteTable,
    /// Somebody else's database in our subnet group.
    Database,
    /// The look at the beginning is refused.
    DeniedFirstList,
    /// A list of the audit at the end is refused.
    DeniedLastList,
    /// The look that would prove a subnet gone is refused.
    DeniedProof,
    /// A deletion is refused.
    DeniedDeletion,
    /// The database is protected.
    Protected,
    /// A secret is in its recovery window already.
    ScheduledSecret,
    /// The same, and it is to stay.
    ScheduledSecretKept,
    /// The secrets are to be recoverable.
    RecoveryWindow,
    /// The snapshot's name is taken.
    SnapshotTaken,
    /// A snapshot is asked for.
    SnapshotNamed,
    /// The database is protected, and that is to be lifted.
    Unprotected,
    /// Somebody has put a policy into the role.
    Policy,
    /// One subnet more carries the stack's tag, and is in its route table.
    SecondSubnet,
}

/// Service, operation, parameters.
type Call = (&'static str, &'static str, Vec<(&'static str, String)>);

/// What was put there.
#[derive(Default)]
pub(crate) struct Placed {
    /// What the receipt must name.
    pub(crate) names: Vec<String>,
    /// What must be there to type.
    pub(crate) commands: Vec<String>,
    undo: Vec<Call>,
}

impl Placed {
    fn named(name: &str) -> Placed {
        Placed { names: vec![name.to_owned()], ..Placed::default() }
    }

    fn foreign(id: &str, command: String, undo: (&'static str, &'static str), key: &'static str) -> Placed {
        let undo = vec![(undo.0, undo.1, vec![(key, id.to_owned())])];
        Placed { names: vec![id.to_owned()], commands: vec![command], undo }
    }

    /// Removes it, as the hint says.
    pub(crate) async fn undo(&self, fixture: &Fixture) {
        for (service, action, parameters) in &self.undo {
            let parameters: Vec<(&str, &str)> =
                parameters.iter().map(|(key, value)| (*key, value.as_str())).collect();
            match *service {
                "ec2" => fixture.raw().ec2(action, &parameters).await,
                _ => fixture.raw().rds(action, &parameters).await,
            };
        }
    }
}

const SECRET: &str = "rds/startupwebapp/multi-tenant-prod/master";

impl Obstacle {
    pub(crate) fn args(self) -> &'static [&'static str] {
        match self {
            Obstacle::ScheduledSecretKept => &["--keep-secrets"],
            Obstacle::RecoveryWindow => &["--recovery-days", "7"],
            Obstacle::SnapshotTaken => &["--snapshot", "taken"],
            Obstacle::SnapshotNamed => &["--snapshot", "Before-The-Move"],
            Obstacle::Unprotected => &["--unprotect"],
            Obstacle::Interface
            | Obstacle::Instance
            | Obstacle::Rule
            | Obstacle::Group
            | Obstacle::Subnet
            | Obstacle::RouteTable
            | Obstacle::Database
            | Obstacle::DeniedFirstList
            | Obstacle::DeniedLastList
            | Obstacle::DeniedProof
            | Obstacle::DeniedDeletion
            | Obstacle::Protected
            | Obstacle::ScheduledSecret
            | Obstacle::Policy
            | Obstacle::SecondSubnet => &[],
        }
    }

    pub(crate) fn code(self) -> i32 {
        if AS_TOLD.contains(&self) && self != Obstacle::SnapshotTaken { 0 } else { 9 }
    }

    pub(crate) fn verdict(self) -> &'static str {
        let is_blind = matches!(self, Obstacle::DeniedFirstList | Obstacle::DeniedLastList);
        if is_blind { "unproved" } else { "left" }
    }

    /// Tells whether `down` gets as far as a plan.
    pub(crate) fn sees_the_plan(self) -> bool {
        self != Obstacle::DeniedFirstList
    }

    pub(crate) async fn place(self, fixture: &Fixture) -> Placed {
        let raw = fixture.raw();
        let (_, inventory) = fixture.context.observe().await.expect("the account can be observed");
        let vpc = inventory.vpc().expect("a vpc").id.as_str();
        let subnet = inventory.subnet("public-subnet").expect("a subnet").id.as_str();
        let group = inventory.group("bastion-group").expect("a group").id.as_str();
        let database = inventory.database.as_ref().expect("a database").identifier.as_str();
        let found =
            |xml: &str, name: &str| element(xml, name).unwrap_or_else(|| panic!("no {name} in {xml}"));
        match self {
            Obstacle::Interface => {
                let wanted = [("SubnetId", subnet), ("Description", "mine")];
                let id = found(&raw.ec2("CreateNetworkInterface", &wanted).await, "networkInterfaceId");
                let command = format!("aws ec2 delete-network-interface --network-interface-id {id}");
                Placed::foreign(&id, command, ("ec2", "DeleteNetworkInterface"), "NetworkInterfaceId")
            }
            Obstacle::Instance => {
                let image = inventory.image.as_deref().expect("an image");
                let one = [
                    ("ImageId", image),
                    ("MinCount", "1"),
                    ("MaxCount", "1"),
                    ("NetworkInterface.1.DeviceIndex", "0"),
                    ("NetworkInterface.1.SubnetId", subnet),
                    // AWS's default; moto's is another.
                    ("NetworkInterface.1.DeleteOnTermination", "true"),
                ];
                let id = found(&raw.ec2("RunInstances", &one).await, "instanceId");
                let command = format!("aws ec2 terminate-instances --instance-ids {id}");
                Placed::foreign(&id, command, ("ec2", "TerminateInstances"), "InstanceId.1")
            }
            Obstacle::Rule => {
                let id = foreign_group(fixture, vpc).await;
                let rule = [
                    ("GroupId", id.as_str()),
                    ("IpPermissions.1.IpProtocol", "tcp"),
                    ("IpPermissions.1.FromPort", "22"),
                    ("IpPermissions.1.ToPort", "22"),
                    ("IpPermissions.1.Groups.1.GroupId", group),
                ];
                raw.ec2("AuthorizeSecurityGroupIngress", &rule).await;
                let command = format!(
                    "aws ec2 revoke-security-group-ingress --group-id {id} --ip-permissions \
                     'IpProtocol=tcp,FromPort=22,ToPort=22,UserIdGroupPairs=[{{GroupId={group}}}]'"
                );
                Placed::foreign(&id, command, ("ec2", "DeleteSecurityGroup"), "GroupId")
            }
            Obstacle::Group => {
                let id = foreign_group(fixture, vpc).await;
                let command = format!("aws ec2 delete-security-group --group-id {id}");
                Placed::foreign(&id, command, ("ec2", "DeleteSecurityGroup"), "GroupId")
            }
            Obstacle::Subnet => {
                let made = raw.ec2("CreateSubnet", &[("VpcId", vpc), ("CidrBlock", "10.42.200.0/24")]).await;
                let id = found(&made, "subnetId");
                let command = format!("aws ec2 delete-subnet --subnet-id {id}");
                Placed::foreign(&id, command, ("ec2", "DeleteSubnet"), "SubnetId")
            }
            Obstacle::RouteTable => {
                let id = found(&raw.ec2("CreateRouteTable", &[("VpcId", vpc)]).await, "routeTableId");
                let command = format!("aws ec2 delete-route-table --route-table-id {id}");
                Placed::foreign(&id, command, ("ec2", "DeleteRouteTable"), "RouteTableId")
            }
            Obstacle::Database => {
                let group = fixture.context.stack.subnet_group_name();
                let wanted = [
                    ("DBInstanceIdentifier", "somebody-elses"),
                    ("DBSubnetGroupName", group.as_str()),
                    ("Engine", "postgres"),
                    ("DBInstanceClass", "db.t4g.small"),
                    ("AllocatedStorage", "20"),
                    ("MasterUsername", "master"),
                    ("MasterUserPassword", "correct-horse"),
                ];
                raw.rds("CreateDBInstance", &wanted).await;
                let command = "aws rds delete-db-instance --db-instance-identifier somebody-elses".to_owned();
                let undo = ("rds", "DeleteDBInstance");
                let mut placed = Placed::foreign("somebody-elses", command, undo, "DBInstanceIdentifier");
                placed.undo[0].2.push(("SkipFinalSnapshot", "true".to_owned()));
                placed
            }
            Obstacle::DeniedFirstList => deny(fixture, "rds", "DescribeDBInstances", 1),
            Obstacle::DeniedLastList => deny(fixture, "iam", "ListRoles", 1),
            // The first is the look at the beginning.
            Obstacle::DeniedProof => deny(fixture, "ec2", "DescribeSubnets", 2),
            Obstacle::DeniedDeletion => deny(fixture, "ec2", "DeleteSubnet", 1),
            Obstacle::Protected | Obstacle::Unprotected => {
                let protect = [("DBInstanceIdentifier", database), ("DeletionProtection", "true")];
                raw.rds("ModifyDBInstance", &protect).await;
                if self == Obstacle::Unprotected { Placed::default() } else { Placed::named(database) }
            }
            Obstacle::ScheduledSecret | Obstacle::ScheduledSecretKept => {
                raw.secrets("DeleteSecret", &json!({ "SecretId": SECRET, "RecoveryWindowInDays": 7 })).await;
                if self == Obstacle::ScheduledSecret { Placed::default() } else { Placed::named(SECRET) }
            }
            Obstacle::RecoveryWindow => Placed::named(SECRET),
            Obstacle::SnapshotTaken => {
                let taken = [("DBInstanceIdentifier", database), ("DBSnapshotIdentifier", "taken")];
                raw.rds("CreateDBSnapshot", &taken).await;
                Placed::named("DBSnapshotAlreadyExists")
            }
            Obstacle::SnapshotNamed => Placed::named("before-the-move"),
            Obstacle::Policy => {
                let role = fixture.context.stack.role_name();
                let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:*","Resource":"*"}]}"#;
                let policy =
                    [("RoleName", role.as_str()), ("PolicyName", "mine"), ("PolicyDocument", document)];
                raw.iam("PutRolePolicy", &policy).await;
                Placed::default()
            }
            Obstacle::SecondSubnet => {
                let private = inventory.route_table("private-routes").expect("a route table");
                let made = raw.ec2("CreateSubnet", &[("VpcId", vpc), ("CidrBlock", "10.42.201.0/24")]).await;
                let late = found(&made, "subnetId");
                let link = [("RouteTableId", private.id.as_str()), ("SubnetId", late.as_str())];
                raw.ec2("AssociateRouteTable", &link).await;
                let tag = [
                    ("ResourceId.1", late.as_str()),
                    ("Tag.1.Key", "drawbridge:stack"),
                    ("Tag.1.Value", fixture.context.stack.name.as_str()),
                ];
                raw.ec2("CreateTags", &tag).await;
                Placed::default()
            }
        }
    }

    /// Looks for what the receipt alone does not show.
    #[expect(clippy::wildcard_enum_match_arm, reason = "of most obstacles the receipt shows all")]
    pub(crate) fn check(self, fixture: &Fixture, before: &Account, after: &Account) {
        let has_secret = after.has("secret", SECRET);
        match self {
            Obstacle::DeniedFirstList | Obstacle::Protected => {
                assert_eq!(after.ids(), before.ids(), "{self:?}: something was deleted");
            }
            Obstacle::ScheduledSecret => assert!(!has_secret, "{}", after.secrets),
            Obstacle::ScheduledSecretKept => {
                assert!(has_secret && !after.is_scheduled(SECRET), "{}", after.secrets);
            }
            Obstacle::RecoveryWindow => {
                assert!(has_secret && after.is_scheduled(SECRET), "{}", after.secrets);
            }
            Obstacle::SnapshotTaken => {
                assert!(after.has("database", &fixture.context.stack.database.identifier));
                assert!(has_secret, "the password went before the database: {}", after.secrets);
            }
            Obstacle::SnapshotNamed => {
                assert!(after.snapshots.contains(">before-the-move<"), "{}", after.snapshots);
            }
            _ => (),
        }
    }
}

fn deny(fixture: &Fixture, service: &str, operation: &str, nth: u64) -> Placed {
    let code = if service == "ec2" { "UnauthorizedOperation" } else { "AccessDenied" };
    let kind = FaultKind::Error { status: 403, code: code.to_owned() };
    let fault = Fault { service: Some(service.to_owned()), operation: Some(operation.to_owned()), nth, kind };
    fixture.cloud.gateway().inject(fault);
    Placed { names: vec![operation.to_owned(), code.to_owned()], ..Placed::default() }
}

async fn foreign_group(fixture: &Fixture, vpc: &str) -> String {
    let group = [("GroupName", "somebody-elses"), ("GroupDescription", "x"), ("VpcId", vpc)];
    let made = fixture.raw().ec2("CreateSecurityGroup", &group).await;
    element(&made, "groupId").expect("it has an id")
}
