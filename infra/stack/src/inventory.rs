//! What exists in the account for one stack, as the services themselves describe it.

mod lock;
mod network;
mod stray;

use serde::Serialize;

use crate::alarm;
use crate::spec::Stack;

pub use self::lock::{Holder, Lock};
pub use self::network::{
    Association, Direction, InternetGateway, Peer, Route, RouteTable, Rule, SecurityGroup, Subnet, Vpc,
};
pub use self::stray::{Claim, Stray};

/// Everything that carries the stack's tag or one of its deterministic names.
///
/// Lists hold more than one entry where AWS allows two of a kind: a reply that was lost after the work was done
/// leaves a second VPC behind, and only what is seen can be removed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Inventory {
    /// VPCs with the stack's tag.
    pub vpcs: Vec<Vpc>,
    /// Subnets with the stack's tag.
    pub subnets: Vec<Subnet>,
    /// Internet gateways with the stack's tag.
    pub gateways: Vec<InternetGateway>,
    /// Route tables with the stack's tag.
    pub route_tables: Vec<RouteTable>,
    /// Security groups with the stack's tag.
    pub groups: Vec<SecurityGroup>,
    /// Security groups that are not the stack's, but that its database or its bastion is in.
    pub attached: Vec<SecurityGroup>,
    /// Secrets with the stack's tag, whatever their names, and what others have under a name that the stack needs; those
    /// that are scheduled for deletion included.
    pub secrets: Vec<SecretEntry>,
    /// The database subnet group.
    pub subnet_group: Option<SubnetGroup>,
    /// The RDS instance.
    pub database: Option<DatabaseInstance>,
    /// The role in which RDS writes enhanced monitoring.
    pub monitoring_role: Option<Role>,
    /// The names of the log groups that RDS has made for the database.
    pub log_groups: Vec<String>,
    /// The topic that alarms go to.
    pub topic: Option<Topic>,
    /// The alarms on the database that have the stack's names.
    pub alarms: Vec<Alarm>,
    /// The bastion's role.
    pub role: Option<Role>,
    /// The bastion's instance profile.
    pub profile: Option<Profile>,
    /// EC2 instances with the stack's tag, those that are terminated excluded.
    pub instances: Vec<Instance>,
    /// EBS volumes with the stack's tag.
    pub volumes: Vec<Volume>,
    /// What Session Manager says of the bastion; `None` until it is asked or if the agent never registered.
    pub agent: Option<Agent>,
    /// The Amazon Linux 2023 image that the region offers now.
    pub image: Option<String>,
    /// The locks of those who change the stack: none, one, and more if some died with theirs.
    pub locks: Vec<Lock>,
    /// What has the stack's tag or one of its names, and is not a part of it as it stands.
    pub strays: Vec<Stray>,
}

/// A secret, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecretEntry {
    /// Its full name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// It was deleted and waits for the end of its recovery window.
    pub scheduled_for_deletion: bool,
    /// It carries the stack's tag.
    pub tagged: bool,
    /// The value of [`STACK_TAG`](crate::spec::STACK_TAG), if it has one: the stack that it belongs to.
    pub owner: Option<String>,
    /// The value of [`RESOURCE_TAG`](crate::spec::RESOURCE_TAG); empty if it has none.
    pub resource: String,
    /// When it was made, RFC 3339.
    pub created_at: Option<String>,
}

/// A database subnet group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SubnetGroup {
    /// Its name.
    pub name: String,
    /// The VPC that its subnets are in.
    pub vpc: String,
    /// The subnets in it.
    pub subnets: Vec<String>,
    /// Its ARN.
    pub arn: Option<String>,
    /// RDS's own word: `Complete`.
    pub status: Option<String>,
}

/// An RDS instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DatabaseInstance {
    /// The DB instance identifier.
    pub identifier: String,
    /// Its ARN.
    pub arn: String,
    /// RDS's own word: `creating`, `available`, `stopped`, `deleting`, ..
    pub status: String,
    /// Host name and port, once there is one.
    pub endpoint: Option<(String, u16)>,
    /// The full engine version.
    pub engine_version: String,
    /// The instance class.
    pub class: String,
    /// Storage in GiB.
    pub storage_gib: u32,
    /// The master user's name.
    pub master_user: String,
    /// Whether RDS refuses to delete it.
    pub deletion_protection: bool,
    /// Whether it has a public address.
    pub public: bool,
    /// Whether its storage is encrypted.
    pub encrypted: bool,
    /// Its security groups.
    pub groups: Vec<String>,
    /// How many seconds lie between two looks of enhanced monitoring; 0 if it is off.
    pub monitoring_interval: u32,
    /// The ARN of the role of enhanced monitoring.
    pub monitoring_role: Option<String>,
    /// The logs that go to CloudWatch.
    pub logs: Vec<String>,
    /// When it was made, RFC 3339.
    pub created_at: Option<String>,
    /// When RDS starts it by itself, RFC 3339, if it is stopped: seven days after the stop.
    pub restarts_at: Option<String>,
}

/// An SNS topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Topic {
    /// Its ARN.
    pub arn: String,
    /// Who is told.
    pub subscriptions: Vec<Subscription>,
}

/// A subscription to a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Subscription {
    /// `email`, `https`, ..
    pub protocol: String,
    /// The address.
    pub endpoint: String,
    /// Its ARN; `None` as long as the address has not confirmed it.
    pub arn: Option<String>,
}

/// A CloudWatch alarm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alarm {
    /// Its name.
    pub name: String,
    /// What it watches and when it goes off.
    pub rule: alarm::Rule,
    /// Whether it tells anybody at all.
    pub actions_enabled: bool,
    /// The ARNs of what it tells when it goes off.
    pub actions: Vec<String>,
    /// CloudWatch's own word: `OK`, `ALARM`, `INSUFFICIENT_DATA`.
    pub state: String,
}

/// An IAM role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// The names of the managed policies attached to it.
    pub policies: Vec<String>,
    /// When it was made, RFC 3339.
    pub created_at: Option<String>,
    /// Whether it carries [`REGION_TAG`](crate::spec::REGION_TAG); what earlier versions made does not.
    pub has_region: bool,
}

/// An IAM instance profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// The roles in it: none, or one.
    pub roles: Vec<String>,
    /// When it was made, RFC 3339.
    pub created_at: Option<String>,
    /// Whether it carries [`REGION_TAG`](crate::spec::REGION_TAG); what earlier versions made does not.
    pub has_region: bool,
}

/// An EC2 instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// `i-..`
    pub id: String,
    /// EC2's own word: `pending`, `running`, `stopping`, `stopped`, `shutting-down`.
    pub state: String,
    /// The instance type.
    pub instance_type: String,
    /// The subnet that it is in.
    pub subnet: Option<String>,
    /// Its public IPv4 address.
    pub public_ip: Option<String>,
    /// The ARN of its instance profile.
    pub profile_arn: Option<String>,
    /// Its security groups, read from its network interface.
    pub groups: Vec<String>,
    /// When it was launched or last started, RFC 3339.
    pub launched_at: Option<String>,
    /// When we rebooted it since, RFC 3339: EC2 does not tell.
    pub rebooted_at: Option<String>,
    /// The root volume in GiB, where it is known.
    pub volume_gib: Option<u32>,
    /// The value of [`KEEP_TAG`](crate::spec::KEEP_TAG).
    pub keep_until: Option<String>,
    /// The value of [`EXPIRY_TAG`](crate::spec::EXPIRY_TAG).
    pub expires_at: Option<String>,
    /// Whether it can read its own tags, which is how its idle timer hears of [`keep_until`](Instance::keep_until).
    pub reads_tags: bool,
}

/// An EBS volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// `vol-..`
    pub id: String,
    /// The instance that it is attached to.
    pub instance: Option<String>,
    /// Its size in GiB.
    pub size_gib: Option<u32>,
    /// EC2's own word: `in-use`, `deleting`, ..
    pub state: String,
    /// When it was made, RFC 3339.
    pub created_at: Option<String>,
}

/// What Session Manager says of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Agent {
    /// The instance.
    pub instance: String,
    /// `Online`, `ConnectionLost`, `Inactive`.
    pub ping_status: String,
    /// Four parts, such as `3.3.987.0`.
    pub version: Option<String>,
}

impl Inventory {
    /// Tells whether nothing of the stack is left; a volume goes with its instance.
    pub fn is_empty(&self) -> bool {
        let Inventory {
            vpcs,
            subnets,
            gateways,
            route_tables,
            groups,
            // They are somebody else's, and stay.
            attached: _,
            secrets,
            subnet_group,
            database,
            monitoring_role,
            log_groups,
            topic,
            alarms,
            role,
            profile,
            instances,
            volumes: _,
            agent: _,
            image: _,
            // It is taken away with the rest, and alone it is nothing that works or costs.
            locks: _,
            // No part of the stack, or not known to be one.
            strays: _,
        } = self;
        vpcs.is_empty()
            && subnets.is_empty()
            && gateways.is_empty()
            && route_tables.is_empty()
            && groups.is_empty()
            && !secrets.iter().any(|secret| secret.tagged)
            && subnet_group.is_none()
            && database.is_none()
            && monitoring_role.is_none()
            && log_groups.is_empty()
            && topic.is_none()
            && alarms.is_empty()
            && role.is_none()
            && profile.is_none()
            && instances.is_empty()
    }

    /// Returns the VPC that the stack builds on: of several, the one with the most in it, then the smallest id.
    pub fn vpc(&self) -> Option<&Vpc> {
        self.vpcs.iter().min_by_key(|vpc| (usize::MAX - self.children_of(&vpc.id), &vpc.id))
    }

    /// Returns the subnet with that resource tag in the stack's VPC.
    pub fn subnet(&self, resource: &str) -> Option<&Subnet> {
        let vpc = self.vpc()?;
        self.subnets.iter().filter(|s| s.vpc == vpc.id && s.resource == resource).min_by_key(|s| &s.id)
    }

    /// Returns the gateway that the stack uses: the one attached to its VPC, else the smallest id that is free.
    pub fn gateway(&self) -> Option<&InternetGateway> {
        let vpc = self.vpc().map(|vpc| vpc.id.as_str());
        self.gateways
            .iter()
            .filter(|gateway| gateway.attached.is_none() || gateway.attached.as_deref() == vpc)
            .min_by_key(|gateway| (gateway.attached.is_none(), &gateway.id))
    }

    /// Returns the route table with that resource tag in the stack's VPC: of several, the one with associations.
    pub fn route_table(&self, resource: &str) -> Option<&RouteTable> {
        let vpc = self.vpc()?;
        self.route_tables
            .iter()
            .filter(|table| table.vpc == vpc.id && table.resource == resource)
            .min_by_key(|table| (table.associations.is_empty(), &table.id))
    }

    /// Returns the security group with that resource tag in the stack's VPC.
    pub fn group(&self, resource: &str) -> Option<&SecurityGroup> {
        let vpc = self.vpc()?;
        self.groups.iter().filter(|g| g.vpc == vpc.id && g.resource == resource).min_by_key(|g| &g.id)
    }

    /// Returns the rules of the groups with these ids, as far as they were read.
    pub fn rules_of(&self, ids: &[String]) -> impl Iterator<Item = &Rule> {
        let known = self.groups.iter().chain(&self.attached);
        known.filter(move |group| ids.contains(&group.id)).flat_map(|group| &group.rules)
    }

    /// Returns the bastion: of several, one that runs, then one with a profile, without which it is none, then the smallest
    /// id. What is going away does not count.
    pub fn bastion(&self) -> Option<&Instance> {
        let rank = |instance: &Instance| match instance.state.as_str() {
            "running" => 0,
            "pending" => 1,
            _ => 2,
        };
        self.instances
            .iter()
            .filter(|i| i.state != "shutting-down")
            .min_by_key(|i| (rank(i), i.profile_arn.is_none(), &i.id))
    }

    /// Returns the name of the bastion's role: that of the one that there is, else the one that `up` would give it.
    pub fn role_name(&self, stack: &Stack) -> String {
        self.role.as_ref().map_or_else(|| stack.role_name(), |role| role.name.clone())
    }

    /// Returns the secret of that name.
    pub fn secret(&self, name: &str) -> Option<&SecretEntry> {
        self.secrets.iter().find(|secret| secret.name == name)
    }

    /// Returns the secret of that name, if it carries the stack's tag.
    pub fn own_secret(&self, name: &str) -> Option<&SecretEntry> {
        self.secret(name).filter(|secret| secret.tagged)
    }

    fn children_of(&self, vpc: &str) -> usize {
        self.subnets.iter().filter(|s| s.vpc == vpc).count()
            + self.route_tables.iter().filter(|t| t.vpc == vpc).count()
            + self.groups.iter().filter(|g| g.vpc == vpc).count()
            + self.gateways.iter().filter(|g| g.attached.as_deref() == Some(vpc)).count()
    }
}
