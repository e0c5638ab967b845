//! VPC, subnets, routes and security groups.

use std::cmp::Ordering;

use serde::Serialize;

/// A VPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Vpc {
    /// `vpc-..`
    pub id: String,
    /// Its range.
    pub cidr: String,
    /// EC2's own word: `pending`, `available`.
    pub state: Option<String>,
    /// `enableDnsSupport`; `None` if it was not asked.
    pub dns_support: Option<bool>,
    /// `enableDnsHostnames`; `None` if it was not asked.
    pub dns_hostnames: Option<bool>,
}

/// A subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Subnet {
    /// `subnet-..`
    pub id: String,
    /// The VPC that it is in.
    pub vpc: String,
    /// Its range.
    pub cidr: String,
    /// Its availability zone.
    pub zone: String,
    /// EC2's own word: `pending`, `available`.
    pub state: Option<String>,
    /// The value of its resource tag, such as `public-subnet`.
    pub resource: String,
}

/// An internet gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InternetGateway {
    /// `igw-..`
    pub id: String,
    /// The VPC that it is attached to.
    pub attached: Option<String>,
    /// EC2's own word for the attachment: `attaching`, `available`.
    pub state: Option<String>,
}

/// A route table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteTable {
    /// `rtb-..`
    pub id: String,
    /// The VPC that it is in.
    pub vpc: String,
    /// The value of its resource tag, such as `public-routes`.
    pub resource: String,
    /// Its explicit associations.
    pub associations: Vec<Association>,
    /// Its routes, the local one included.
    pub routes: Vec<Route>,
}

/// The link between a route table and a subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Association {
    /// `rtbassoc-..`
    pub id: String,
    /// The subnet.
    pub subnet: String,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// The destination's range.
    pub destination: String,
    /// The gateway's id, or `local`; `None` for other kinds of target.
    pub gateway: Option<String>,
    /// `blackhole`: the target is gone.
    pub blackhole: bool,
}

/// A security group with its rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecurityGroup {
    /// `sg-..`
    pub id: String,
    /// The VPC that it is in.
    pub vpc: String,
    /// The group's name; that of the stack's own is fixed by the stack's name.
    pub name: String,
    /// The value of its resource tag: `bastion-group` or `database-group`; empty for a group of somebody else's.
    pub resource: String,
    /// Every rule, one peer each.
    pub rules: Vec<Rule>,
}

/// One rule of a security group with one peer.
///
/// Two rules are equal if they let the same traffic through, whatever their descriptions say: EC2 takes no second one.
#[derive(Clone, Debug, Serialize)]
pub struct Rule {
    /// Into or out of the group.
    pub direction: Direction,
    /// `tcp`, or `-1` for every protocol.
    pub protocol: String,
    /// First and last port; `None` for every port.
    pub ports: Option<(u16, u16)>,
    /// Who is on the other side.
    pub peer: Peer,
    /// What somebody wrote beside it.
    pub description: Option<String>,
}

impl Rule {
    fn traffic(&self) -> (Direction, &str, Option<(u16, u16)>, &Peer) {
        (self.direction, &self.protocol, self.ports, &self.peer)
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Rule) -> bool {
        self.traffic() == other.traffic()
    }
}

impl Eq for Rule {}

impl PartialOrd for Rule {
    fn partial_cmp(&self, other: &Rule) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rule {
    fn cmp(&self, other: &Rule) -> Ordering {
        self.traffic().cmp(&other.traffic())
    }
}

/// Which way a rule lets traffic through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Into the group.
    Ingress,
    /// Out of the group.
    Egress,
}

/// The other side of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// An IPv4 range.
    Cidr(String),
    /// An IPv6 range.
    Ipv6(String),
    /// Another security group, by id.
    Group(String),
    /// A managed prefix list, by id.
    PrefixList(String),
}
