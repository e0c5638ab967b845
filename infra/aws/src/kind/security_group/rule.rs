//! Converts between a rule, which has one peer, and EC2's permission, which may have many.

use aws_sdk_ec2::types::{IpPermission, IpRange, Ipv6Range, PrefixListId, UserIdGroupPair};
use stack::inventory::{Direction, Peer, Rule};

/// Returns one rule for each peer of the permission.
pub(crate) fn parse(direction: Direction, permission: &IpPermission) -> Vec<Rule> {
    let protocol = permission.ip_protocol().unwrap_or("-1").to_owned();
    // For ICMP these are types, not ports, and -1 means all.
    let port = |value: Option<i32>| value.and_then(|value| u16::try_from(value).ok());
    let ports = port(permission.from_port()).zip(port(permission.to_port()));
    let ports = if protocol == "-1" { None } else { ports };
    let rule = |peer, description: Option<&str>| {
        let description = description.filter(|text| !text.is_empty()).map(str::to_owned);
        Rule { direction, protocol: protocol.clone(), ports, peer, description }
    };
    let ranges = permission.ip_ranges().iter();
    let ranges =
        ranges.filter_map(|one| Some(rule(Peer::Cidr(one.cidr_ip()?.to_owned()), one.description())));
    let ipv6 = permission.ipv6_ranges().iter();
    let ipv6 = ipv6.filter_map(|one| Some(rule(Peer::Ipv6(one.cidr_ipv6()?.to_owned()), one.description())));
    let groups = permission.user_id_group_pairs().iter();
    let groups =
        groups.filter_map(|one| Some(rule(Peer::Group(one.group_id()?.to_owned()), one.description())));
    let lists = permission.prefix_list_ids().iter();
    let lists = lists
        .filter_map(|one| Some(rule(Peer::PrefixList(one.prefix_list_id()?.to_owned()), one.description())));
    ranges.chain(ipv6).chain(groups).chain(lists).collect()
}

/// Splits a permission into one for each peer. Each keeps all fields: ICMP types and other accounts too.
pub(crate) fn split(permission: &IpPermission) -> Vec<IpPermission> {
    let one = || {
        IpPermission::builder()
            .set_ip_protocol(permission.ip_protocol.clone())
            .set_from_port(permission.from_port)
            .set_to_port(permission.to_port)
    };
    let ranges = permission.ip_ranges().iter().map(|range| one().ip_ranges(range.clone()));
    let ipv6 = permission.ipv6_ranges().iter().map(|range| one().ipv6_ranges(range.clone()));
    let groups = permission.user_id_group_pairs().iter().map(|pair| one().user_id_group_pairs(pair.clone()));
    let lists = permission.prefix_list_ids().iter().map(|list| one().prefix_list_ids(list.clone()));
    ranges.chain(ipv6).chain(groups).chain(lists).map(|permission| permission.build()).collect()
}

/// Returns the rule as a permission.
pub(crate) fn render(rule: &Rule) -> IpPermission {
    let permission = IpPermission::builder()
        .ip_protocol(&rule.protocol)
        .set_from_port(rule.ports.map(|(first, _)| i32::from(first)))
        .set_to_port(rule.ports.map(|(_, last)| i32::from(last)));
    let told = rule.description.clone();
    match &rule.peer {
        Peer::Cidr(range) => {
            permission.ip_ranges(IpRange::builder().cidr_ip(range).set_description(told).build())
        }
        Peer::Ipv6(range) => {
            permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(range).set_description(told).build())
        }
        Peer::Group(id) => permission
            .user_id_group_pairs(UserIdGroupPair::builder().group_id(id).set_description(told).build()),
        Peer::PrefixList(id) => permission
            .prefix_list_ids(PrefixListId::builder().prefix_list_id(id).set_description(told).build()),
    }
    .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(protocol: &str, ports: Option<(u16, u16)>, peer: Peer) -> Rule {
        let description = Some("of the test".to_owned());
        Rule { direction: Direction::Egress, protocol: protocol.to_owned(), ports, peer, description }
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
            let parsed = parse(Direction::Egress, &render(&rule));
            assert_eq!(parsed, std::slice::from_ref(&rule));
            // Not a part of what makes two rules equal.
            assert_eq!(parsed[0].description, rule.description);
        }
    }

    #[test]
    fn a_permission_is_split_by_its_peers_and_loses_nothing() {
        let pair = UserIdGroupPair::builder().group_id("sg-1").user_id("210987654321").description("theirs");
        let permission = IpPermission::builder()
            .ip_protocol("icmp")
            .from_port(8)
            .to_port(-1)
            .ip_ranges(IpRange::builder().cidr_ip("10.0.0.0/8").build())
            .ipv6_ranges(Ipv6Range::builder().cidr_ipv6("::/0").build())
            .user_id_group_pairs(pair.clone().build())
            .prefix_list_ids(PrefixListId::builder().prefix_list_id("pl-1").build())
            .build();
        let parts = split(&permission);
        assert_eq!(parts.len(), 4);
        assert!(parts.iter().all(|part| (part.from_port(), part.to_port()) == (Some(8), Some(-1))));
        assert_eq!(parts[2].user_id_group_pairs(), [pair.build()]);
        let each: Vec<Rule> = parts.iter().flat_map(|part| parse(Direction::Ingress, part)).collect();
        assert_eq!(each, parse(Direction::Ingress, &permission));
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
