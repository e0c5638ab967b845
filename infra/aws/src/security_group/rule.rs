//! A rule with one peer, and EC2's permission, which may hold many.

use aws_sdk_ec2::types::{IpPermission, IpRange, Ipv6Range, PrefixListId, UserIdGroupPair};
use stack::inventory::{Direction, Peer, Rule};

/// Returns one rule for each peer of the permission.
pub(crate) fn parse(direction: Direction, permission: &IpPermission) -> Vec<Rule> {
    let protocol = permission.ip_protocol().unwrap_or("-1").to_owned();
    // ICMP has types where others have ports, and -1 stands for all.
    let port = |value: Option<i32>| value.and_then(|value| u16::try_from(value).ok());
    let ports = port(permission.from_port()).zip(port(permission.to_port()));
    let ports = if protocol == "-1" { None } else { ports };
    let ranges = permission.ip_ranges().iter().filter_map(|range| range.cidr_ip());
    let ranges = ranges.map(|range| Peer::Cidr(range.to_owned()));
    let ipv6 = permission.ipv6_ranges().iter().filter_map(|range| range.cidr_ipv6());
    let ipv6 = ipv6.map(|range| Peer::Ipv6(range.to_owned()));
    let groups = permission.user_id_group_pairs().iter().filter_map(|pair| pair.group_id());
    let groups = groups.map(|group| Peer::Group(group.to_owned()));
    let lists = permission.prefix_list_ids().iter().filter_map(|list| list.prefix_list_id());
    let lists = lists.map(|list| Peer::PrefixList(list.to_owned()));
    let peers = ranges.chain(ipv6).chain(groups).chain(lists);
    peers.map(|peer| Rule { direction, protocol: protocol.clone(), ports, peer }).collect()
}

/// Returns the permission that says the same as the rule.
pub(crate) fn render(rule: &Rule) -> IpPermission {
    let permission = IpPermission::builder()
        .ip_protocol(&rule.protocol)
        .set_from_port(rule.ports.map(|(first, _)| i32::from(first)))
        .set_to_port(rule.ports.map(|(_, last)| i32::from(last)));
    match &rule.peer {
        Peer::Cidr(range) => permission.ip_ranges(IpRange::builder().cidr_ip(range).build()),
        Peer::Ipv6(range) => permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(range).build()),
        Peer::Group(id) => permission.user_id_group_pairs(UserIdGroupPair::builder().group_id(id).build()),
        Peer::PrefixList(id) => {
            permission.prefix_list_ids(PrefixListId::builder().prefix_list_id(id).build())
        }
    }
    .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(protocol: &str, ports: Option<(u16, u16)>, peer: Peer) -> Rule {
        Rule { direction: Direction::Egress, protocol: protocol.to_owned(), ports, peer }
    }

    #[test]
    fn a_rule_survives_the_way_to_ec2_and_back() {
        let rules = [
            rule("tcp", Some((443, 443)), Peer::Cidr("0.0.0.0/0".to_owned())),
            rule("tcp", Some((5432, 5432)), Peer::Group("sg-1".to_owned())),
            rule("udp", Some((0, 65535)), Peer::Ipv6("::/0".to_owned())),
            rule("-1", None, Peer::PrefixList("pl-1".to_owned())),
        ];
        for rule in rules {
            assert_eq!(parse(Direction::Egress, &render(&rule)), [rule]);
        }
    }

    #[test]
    fn a_permission_with_several_peers_is_several_rules() {
        let permission = IpPermission::builder()
            .ip_protocol("tcp")
            .from_port(22)
            .to_port(22)
            .ip_ranges(IpRange::builder().cidr_ip("10.0.0.0/8").build())
            .ip_ranges(IpRange::builder().cidr_ip("192.168.0.0/16").build())
            .user_id_group_pairs(UserIdGroupPair::builder().group_id("sg-1").build())
            .build();
        let peers: Vec<Peer> =
            parse(Direction::Ingress, &permission).into_iter().map(|rule| rule.peer).collect();
        let ranges = ["10.0.0.0/8", "192.168.0.0/16"].map(|range| Peer::Cidr(range.to_owned()));
        assert_eq!(peers, [&ranges[..], &[Peer::Group("sg-1".to_owned())]].concat());
    }

    #[test]
    fn the_rule_for_everything_has_no_ports_even_if_ec2_says_minus_one() {
        let permission = IpPermission::builder()
            .ip_protocol("-1")
            .from_port(-1)
            .to_port(-1)
            .ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build())
            .build();
        assert_eq!(parse(Direction::Egress, &permission)[0].ports, None);
    }
}
