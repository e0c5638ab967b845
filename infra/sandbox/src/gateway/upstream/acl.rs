//! Network ACLs: the stateless rules of a subnet, in the order of their numbers.

use roxmltree::Node;

use super::cidr::holds;
use crate::gateway::wire::xml::{items, text, texts};

/// The range of ephemeral ports on Linux.
const EPHEMERAL: [u16; 2] = [32768, 60999];
const EVERYWHERE: &str = "0.0.0.0/0";

/// A network ACL.
#[derive(Clone, Debug)]
pub(crate) struct Acl {
    subnets: Vec<String>,
    entries: Vec<Entry>,
}

/// One of its rules.
#[derive(Clone, Debug)]
struct Entry {
    number: u32,
    egress: bool,
    protocol: String,
    ports: Option<(u16, u16)>,
    cidr: Option<String>,
    allows: bool,
}

impl Acl {
    pub(crate) fn read(item: Node<'_, '_>) -> Acl {
        let entries = items(item, &["entrySet"]).into_iter().filter_map(Entry::read).collect();
        Acl { subnets: texts(item, &["associationSet"], &["subnetId"]), entries }
    }

    fn lets(&self, egress: bool, port: u16, cidr: &str) -> bool {
        let speaks_of = |entry: &&Entry| {
            entry.egress == egress
                && matches!(entry.protocol.as_str(), "-1" | "6" | "tcp")
                && entry.ports.is_none_or(|(from, to)| (from..=to).contains(&port))
                && entry.cidr.as_deref().is_some_and(|wide| holds(wide, cidr))
        };
        let first = self.entries.iter().filter(speaks_of).min_by_key(|entry| entry.number);
        first.is_some_and(|entry| entry.allows)
    }
}

impl Entry {
    fn read(item: Node<'_, '_>) -> Option<Entry> {
        let port = |name| text(item, &["portRange", name]).and_then(|port| port.parse().ok());
        Some(Entry {
            number: text(item, &["ruleNumber"])?.parse().ok()?,
            egress: text(item, &["egress"]) == Some("true"),
            protocol: text(item, &["protocol"])?.to_owned(),
            ports: port("from").zip(port("to")),
            cidr: text(item, &["cidrBlock"]).map(str::to_owned),
            allows: text(item, &["ruleAction"]) == Some("allow"),
        })
    }
}

/// Returns why a subnet cannot reach port 443 on the internet.
pub(crate) fn closes_https(acls: &[Acl], subnet: &str) -> Option<&'static str> {
    let acl = of(acls, subnet)?;
    if !acl.lets(true, 443, EVERYWHERE) {
        return Some("the network ACL of its subnet lets port 443 not out");
    }
    let answers = EPHEMERAL.iter().all(|port| acl.lets(false, *port, EVERYWHERE));
    (!answers).then_some("the network ACL of its subnet lets no answers in")
}

/// Tells whether the ACLs of both subnets allow a connection to that port and its answers.
pub(crate) fn lets_between(acls: &[Acl], from: (&str, &str), to: &[(String, String)], port: u16) -> bool {
    to.iter().all(|(subnet, cidr)| {
        // No network ACL applies within a subnet.
        if subnet == from.0 {
            return true;
        }
        let near = of(acls, from.0).is_none_or(|acl| {
            acl.lets(true, port, cidr) && EPHEMERAL.iter().all(|port| acl.lets(false, *port, cidr))
        });
        let far = of(acls, subnet).is_none_or(|acl| {
            acl.lets(false, port, from.1) && EPHEMERAL.iter().all(|port| acl.lets(true, *port, from.1))
        });
        near && far
    })
}

fn of<'a>(acls: &'a [Acl], subnet: &str) -> Option<&'a Acl> {
    acls.iter().find(|acl| acl.subnets.iter().any(|id| id == subnet))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u32, egress: bool, ports: Option<(u16, u16)>, cidr: &str, allows: bool) -> Entry {
        Entry { number, egress, protocol: "-1".into(), ports, cidr: Some(cidr.into()), allows }
    }

    fn open(id: &str, more: Vec<Entry>) -> Acl {
        let mut entries =
            vec![entry(100, true, None, EVERYWHERE, true), entry(100, false, None, EVERYWHERE, true)];
        entries.extend(more);
        Acl { subnets: vec![id.into()], entries }
    }

    #[test]
    fn the_first_rule_that_speaks_of_a_packet_decides() {
        assert_eq!(closes_https(&[open("a", vec![])], "a"), None);
        let out = entry(90, true, Some((443, 443)), EVERYWHERE, false);
        assert!(closes_https(&[open("a", vec![out.clone()])], "a").is_some());
        assert_eq!(closes_https(&[open("a", vec![Entry { number: 110, ..out }])], "a"), None);
        let answers = entry(90, false, Some((1024, 65535)), EVERYWHERE, false);
        assert!(closes_https(&[open("a", vec![answers])], "a").is_some_and(|why| why.contains("answers")));
    }

    #[test]
    fn both_ends_must_let_both_ways_through() {
        let to = [("b".to_owned(), "10.0.1.0/24".to_owned())];
        let from = ("a", "10.0.0.0/24");
        assert!(lets_between(&[open("a", vec![]), open("b", vec![])], from, &to, 5432));
        let closed = entry(90, false, Some((5432, 5432)), "10.0.0.0/24", false);
        assert!(!lets_between(&[open("a", vec![]), open("b", vec![closed])], from, &to, 5432));
        let silent = entry(90, true, Some((1024, 65535)), "10.0.0.0/16", false);
        assert!(!lets_between(&[open("a", vec![]), open("b", vec![silent])], from, &to, 5432));
    }
}
