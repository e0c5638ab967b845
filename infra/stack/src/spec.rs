//! A stack as it is meant: every name, range and size resolved from the configuration.

mod cidr;
mod iam;

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::resource::Resource;

pub use self::cidr::Cidr;

/// The tag that marks what belongs to a stack; its value is the stack's name.
pub const STACK_TAG: &str = "drawbridge:stack";
/// The tag that says of which region something is. IAM knows no regions: there it decides whose a role or a profile is.
pub const REGION_TAG: &str = "drawbridge:region";
/// The tag that says which [`Resource`](crate::Resource) of the stack this is; its value is the kebab-case name.
pub const RESOURCE_TAG: &str = "drawbridge:resource";
/// The value of [`RESOURCE_TAG`] on the secret of a tenant's role, which is no resource of the plan.
pub const ROLE_SECRET: &str = "role-secret";
/// The tag on a bastion that its idle timer obeys: until this time, RFC 3339 in UTC, it does not stop by itself;
/// [`KEPT`] for no end.
pub const KEEP_TAG: &str = "drawbridge:keep-until";
/// The value of [`KEEP_TAG`] that has no end.
pub const KEPT: &str = "always";
/// The tag on an ephemeral bastion that says when it ends, RFC 3339 in UTC.
pub const EXPIRY_TAG: &str = "drawbridge:expires-at";
/// The tag with the time at which we last rebooted the bastion, RFC 3339: EC2 keeps that of the launch alone.
pub const REBOOT_TAG: &str = "drawbridge:rebooted-at";
/// The managed policy that lets the agent register and open sessions.
pub const SSM_POLICY: &str = "AmazonSSMManagedInstanceCore";
/// The managed policy that lets RDS write enhanced monitoring; its ARN has the path [`MONITORING_PATH`].
pub const MONITORING_POLICY: &str = "AmazonRDSEnhancedMonitoringRole";
/// The path of [`MONITORING_POLICY`].
pub const MONITORING_PATH: &str = "service-role/";
/// What the names of the log groups of RDS's databases begin with; the identifier follows, and the log.
pub const LOG_GROUPS: &str = "/aws/rds/instance/";
/// The public parameter that names the newest Amazon Linux 2023 image with the agent in it (not the minimal one).
pub const AMI_PARAMETER: &str = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";

/// One stack, fully resolved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stack {
    /// `<project>-<environment>`: the value of [`STACK_TAG`] and the start of every name.
    pub name: String,
    /// The project, such as `startupwebapp`.
    pub project: String,
    /// The environment, such as `prod`.
    pub environment: String,
    /// The AWS region, such as `us-east-1`.
    pub region: String,
    /// VPC and subnets.
    pub network: Network,
    /// The RDS instance.
    pub database: Database,
    /// The EC2 instance that sessions end on.
    pub bastion: Bastion,
    /// CloudWatch alarms.
    pub alarms: Alarms,
    /// How migrations are rolled out.
    pub migrate: Migrate,
    /// The tenants, in the file's order; behind them those of `registry`, once it is read.
    pub tenants: Vec<Tenant>,
    /// Where more tenants are written.
    pub registry: Option<Registry>,
}

/// Where tenants are written, if not in the stack file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Registry {
    /// A CSV file; a relative path is seen from the stack file's folder.
    File(String),
    /// A query for the master user in the database `postgres`, whose columns are named as a tenant's fields.
    Query(String),
}

/// VPC and subnets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Network {
    /// The VPC's range.
    pub cidr: Cidr,
    /// The bastion's subnet.
    pub public: Subnet,
    /// The database's subnets, in two zones.
    pub private: [Subnet; 2],
}

/// One subnet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Subnet {
    /// Its range, inside the VPC's.
    pub cidr: Cidr,
    /// Its availability zone, such as `us-east-1a`.
    pub zone: String,
}

/// The RDS instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Database {
    /// The DB instance identifier.
    pub identifier: String,
    /// The engine version: `16`, or `16.4`.
    pub engine_version: String,
    /// The instance class, such as `db.t4g.small`.
    pub class: String,
    /// Storage in GiB (gp3).
    pub storage_gib: u32,
    /// The master user's name.
    pub master_user: String,
    /// The port that it listens on.
    pub port: u16,
    /// How many days automated backups are kept; 0 turns them off.
    pub backup_days: u32,
    /// A standby in the second zone.
    pub multi_az: bool,
    /// RDS refuses to delete it until this is turned off.
    pub deletion_protection: bool,
    /// `down` takes a last snapshot first.
    pub final_snapshot: bool,
    /// How many seconds lie between two looks of enhanced monitoring; 0 turns it off.
    pub monitoring_interval: u32,
    /// The logs that go to CloudWatch, such as `postgresql`.
    pub logs: Vec<String>,
    /// The start of every secret's name, such as `rds/startupwebapp/multi-tenant`.
    pub secret_prefix: String,
    /// The name of the master user's secret, if it is not the one that the prefix makes.
    pub master_secret: Option<String>,
    /// The name of the database subnet group, if it is not the one that the stack's name makes.
    pub subnet_group: Option<String>,
    /// The ids of security groups whose members may connect, such as an application's.
    pub allow_groups: Vec<String>,
    /// Private ranges of addresses that may connect.
    pub allow_cidrs: Vec<Cidr>,
}

/// The EC2 instance that sessions end on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bastion {
    /// The instance type, such as `t3.micro`.
    pub instance_type: String,
    /// The root volume in GiB (gp3, encrypted).
    pub volume_gib: u32,
    /// How long `up` waits until a session can be opened.
    #[serde(serialize_with = "seconds")]
    pub ready_within: Duration,
    /// The most Session Manager sessions of one tunnel.
    pub sessions: u8,
    /// The bytes of a tunnel in one Session Manager message.
    pub message_bytes: u16,
    /// After how long without a session the bastion stops itself; never if `None`. It is told at its launch.
    #[serde(serialize_with = "maybe_seconds")]
    pub idle: Option<Duration>,
    /// The name of the role, if it is written; such a role may lie outside of [`Stack::iam_path`].
    pub role: Option<String>,
    /// The name of the instance profile, if it is written; such a profile may lie outside of [`Stack::iam_path`].
    pub profile: Option<String>,
}

/// CloudWatch alarms.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alarms {
    /// Whether the stack has alarms at all.
    pub enabled: bool,
    /// Who is told by e-mail.
    pub email: Option<String>,
    /// When they go off; `None` if there are none and the class does not tell.
    pub thresholds: Option<Thresholds>,
}

/// When the alarms go off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Thresholds {
    /// More of the CPU is used than so much of a hundred.
    pub cpu_percent: u32,
    /// Less storage is free.
    pub free_storage_bytes: u64,
    /// There are more connections.
    pub connections: u32,
    /// Less memory is free.
    pub freeable_memory_bytes: u64,
}

/// One tenant: a database with an owner of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tenant {
    /// The database's name.
    pub name: String,
    /// What it is for, in the user's words.
    pub purpose: String,
    /// The role that owns it; the tenant's own name unless configured.
    pub owner: String,
    /// Whether the configuration names the owner: tenants that share one must all say so.
    #[serde(skip)]
    pub owner_is_written: bool,
    /// The encoding, such as `UTF8`.
    pub encoding: String,
    /// The collation and character type, such as `en_US.UTF-8`.
    pub locale: String,
    /// What waves may call it by, such as `canary`.
    pub labels: Vec<String>,
    /// The set of migrations, a folder's name; nothing for the files that lie flat.
    pub migrations: Option<String>,
    /// Whose password a rotation changes.
    pub rotation: Rotation,
}

impl Tenant {
    /// Returns who logs in where the tenant's secret names that user: the owner, or its clone.
    pub fn user<'a>(&'a self, named: Option<&'a str>) -> &'a str {
        named.filter(|user| is_clone_of(user, &self.owner)).unwrap_or(&self.owner)
    }
}

/// Whose password a rotation changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rotation {
    /// The owner's: the password before is refused at once.
    #[default]
    OneUser,
    /// That of the owner and of its clone in turn: the user before logs in until the next rotation.
    TwoUsers,
}

/// Returns the name of the role that logs in in turn with that one.
pub fn clone_of(role: &str) -> String {
    format!("{role}{CLONE}")
}

/// Returns whether a role's name is that of another one's clone.
pub fn is_clone_of(name: &str, role: &str) -> bool {
    name.strip_suffix(CLONE) == Some(role)
}

/// As the rotation functions of AWS call it.
const CLONE: &str = "_clone";

/// How migrations are rolled out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Migrate {
    /// The waves, one after the other; none is one of everybody. The last is [`Wave::Rest`].
    pub waves: Vec<Wave>,
    /// How many tenants may fail before the next wave is held back.
    pub error_budget: u32,
    /// How many tenants at a time; the server's free connections decide if nothing is said.
    pub jobs: Option<u16>,
    /// What becomes of a wave in which more fail than that.
    pub on_error: OnError,
}

/// Tenants that are migrated before others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wave {
    /// Those with a label.
    Label(String),
    /// So many of a hundred that no earlier wave has.
    Share(u8),
    /// All that no earlier wave has.
    Rest,
}

impl fmt::Display for Wave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wave::Label(label) => f.write_str(label),
            Wave::Share(percent) => write!(f, "{percent}%"),
            Wave::Rest => f.write_str("rest"),
        }
    }
}

impl Serialize for Wave {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// What becomes of a wave in which more tenants fail than the budget allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// Its other tenants go on.
    #[default]
    Continue,
    /// No other tenant begins.
    Stop,
}

impl Stack {
    /// Returns the `Name` tag (and group name) of a part: `startupwebapp-prod-bastion`.
    pub fn name_of(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    /// Returns the path in Parameter Store under which the locks are that keep two runs from changing the stack at once.
    pub fn lock_path(&self) -> String {
        format!("/drawbridge/{}/lock", self.name)
    }

    /// Returns the name of the topic that alarms go to.
    pub fn topic_name(&self) -> String {
        self.name_of("alarms")
    }

    /// Returns what the names of the log groups begin with that RDS makes for the database.
    pub fn log_group_prefix(&self) -> String {
        format!("{LOG_GROUPS}{}/", self.database.identifier)
    }

    /// Tells whether the stack has such a part: some are off unless they are turned on.
    pub fn wants(&self, resource: Resource) -> bool {
        use Resource as R;
        match resource {
            R::MonitoringRole => self.database.monitoring_interval > 0,
            R::LogGroups => !self.database.logs.is_empty(),
            R::Topic | R::Alarms => self.alarms.enabled,
            R::Vpc
            | R::VpcDns
            | R::InternetGateway
            | R::PublicSubnet
            | R::PrivateSubnetA
            | R::PrivateSubnetB
            | R::PublicRoutes
            | R::PrivateRoutes
            | R::BastionGroup
            | R::DatabaseGroup
            | R::BastionRules
            | R::DatabaseRules
            | R::MasterSecret
            | R::SubnetGroup
            | R::Database
            | R::Role
            | R::Profile
            | R::Instance
            | R::Session => true,
        }
    }

    /// Returns the name of the database subnet group.
    pub fn subnet_group_name(&self) -> String {
        self.database.subnet_group.clone().unwrap_or_else(|| self.name_of("database"))
    }

    /// Returns the name of the master user's secret.
    pub fn master_secret_name(&self) -> String {
        let own = || format!("{}/master", self.database.secret_prefix);
        self.database.master_secret.clone().unwrap_or_else(own)
    }

    /// Returns the name of a tenant role's secret.
    pub fn role_secret_name(&self, role: &str) -> String {
        format!("{}/{role}", self.database.secret_prefix)
    }

    /// Returns the partition that the region is in, as ARNs name it: `aws`, `aws-cn`, `aws-us-gov`.
    pub fn partition(&self) -> &'static str {
        match self.region.split('-').next() {
            Some("cn") => "aws-cn",
            Some("us") if self.region.starts_with("us-gov-") => "aws-us-gov",
            Some(_) | None => "aws",
        }
    }

    /// Returns the tenant of that name.
    pub fn tenant(&self, name: &str) -> Option<&Tenant> {
        self.tenants.iter().find(|tenant| tenant.name == name)
    }
}

fn maybe_seconds<S: serde::Serializer>(limit: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
    limit.map(|limit| limit.as_secs()).serialize(s)
}

fn seconds<S: serde::Serializer>(limit: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_u64(limit.as_secs())
}
