//! What lies around the stack's parts in its VPC and is not the stack's: network ACLs and endpoints.

use serde::Serialize;

use crate::inventory::Direction;
use crate::spec::Cidr;

/// A network ACL: rules for a subnet that know nothing of connections, so answers need a rule of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkAcl {
    /// `acl-..`
    pub id: String,
    /// The subnets that it is for.
    pub subnets: Vec<String>,
    /// Its rules, in any order.
    pub entries: Vec<AclEntry>,
}

/// One rule of a network ACL for IPv4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AclEntry {
    /// The lowest number that fits a packet decides.
    pub number: u32,
    /// Into or out of the subnet.
    pub direction: Direction,
    /// The protocol's number, `-1` for every protocol.
    pub protocol: String,
    /// First and last port; `None` for every port.
    pub ports: Option<(u16, u16)>,
    /// The range on the other side.
    pub cidr: String,
    /// Whether it lets through.
    pub allows: bool,
}

/// An interface endpoint: a service's address inside of the VPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// `vpce-..`
    pub id: String,
    /// `com.amazonaws.us-east-1.ssm`
    pub service: String,
    /// `available`, `pending`, ..
    pub state: String,
    /// Whether the service's usual name leads to it.
    pub private_dns: bool,
    /// Its security groups.
    pub groups: Vec<String>,
    /// Its security groups' rules; `None` if they could not be read.
    pub rules: Option<Vec<crate::inventory::Rule>>,
}

/// The ports from which a Linux machine's connections come.
pub(crate) const EPHEMERAL: (u16, u16) = (32768, 60999);

/// What a network ACL says of some TCP packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// All get through.
    Yes,
    /// Some do not, by the rule of that number; 32767, which AWS shows as `*`, where no other speaks of them.
    No(u32),
    /// A rule of that number stops a part of the range, which may be the part that matters.
    Perhaps(u32),
}

impl NetworkAcl {
    /// Returns whether TCP packets between the subnet and that range get through at all of these ports.
    pub(crate) fn lets(&self, direction: Direction, ports: (u16, u16), range: Cidr) -> Says {
        let mut entries: Vec<&AclEntry> = self
            .entries
            .iter()
            .filter(|entry| entry.direction == direction && matches!(entry.protocol.as_str(), "-1" | "6"))
            .collect();
        entries.sort_by_key(|entry| entry.number);
        // Between two of these no rule begins or ends.
        let mut edges = vec![ports.0];
        edges.extend(
            entries
                .iter()
                .filter_map(|entry| entry.ports)
                .flat_map(|(first, last)| [Some(first), last.checked_add(1)].into_iter().flatten()),
        );
        edges.retain(|port| (ports.0..=ports.1).contains(port));
        let answers: Vec<Says> = edges.into_iter().map(|port| at(&entries, port, range)).collect();
        let no = answers.iter().find(|says| matches!(says, Says::No(_)));
        no.or_else(|| answers.iter().find(|says| **says != Says::Yes)).cloned().unwrap_or(Says::Yes)
    }
}

fn at(entries: &[&AclEntry], port: u16, range: Cidr) -> Says {
    let mut stopped_in_part = None;
    let has_port =
        |entry: &&&AclEntry| entry.ports.is_none_or(|(first, last)| (first..=last).contains(&port));
    for entry in entries.iter().filter(has_port) {
        let Ok(cidr) = Cidr::parse(&entry.cidr) else {
            stopped_in_part.get_or_insert(entry.number);
            continue;
        };
        if cidr.contains(range) {
            return match (entry.allows, stopped_in_part) {
                (false, _) => Says::No(entry.number),
                (true, Some(number)) => Says::Perhaps(number),
                (true, None) => Says::Yes,
            };
        }
        if cidr.overlaps(range) && !entry.allows {
            stopped_in_part.get_or_insert(entry.number);
        }
    }
    Says::No(LAST)
}

/// The rule that ends every network ACL.
pub(crate) const LAST: u32 = 32767;
