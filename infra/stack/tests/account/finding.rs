//! Why Session Manager cannot reach the bastion.

use stack::Inventory;
use stack::finding::{Cause, Finding, bastion};

use crate::fixture;

fn findings(spoil: impl FnOnce(&mut Inventory)) -> Vec<Finding> {
    let stack = fixture::stack();
    let mut account = fixture::complete(&stack);
    account.agent = None;
    spoil(&mut account);
    bastion(&stack, &account)
}

/// Asserts that there is this one cause, and what is said of it.
#[track_caller]
fn finds(cause: Cause, sentence: &str, spoil: impl FnOnce(&mut Inventory)) {
    let found = findings(spoil);
    let words: Vec<_> = found.iter().map(|finding| (finding.cause, finding.sentence.as_str())).collect();
    assert_eq!(words, [(cause, sentence)]);
    assert!(!found[0].evidence.is_empty());
    assert_eq!(found[0].command, "cargo xtask up bastion");
}

#[test]
fn a_healthy_bastion_has_none() {
    assert_eq!(findings(|_| ()), []);
    assert_eq!(findings(|i| i.instances[0].state = "pending".into()), []);
}

#[test]
fn no_instance() {
    finds(Cause::NoInstance, "the stack has no bastion", |i| i.instances.clear());
    finds(Cause::NoInstance, "the stack has no bastion", |i| i.instances[0].state = "shutting-down".into());
}

#[test]
fn stopped() {
    finds(Cause::Stopped, "bastion `i-1` is stopped", |i| {
        i.instances[0].state = "stopped".into();
        i.instances[0].public_ip = None;
    });
}

#[test]
fn no_public_address() {
    let sentence = "bastion `i-1` has no public IPv4 address, so its agent cannot reach Systems Manager";
    finds(Cause::NoPublicAddress, sentence, |i| i.instances[0].public_ip = None);
}

#[test]
fn no_route() {
    let sentence = "route table `rtb-p` of subnet `subnet-p` has no route to 0.0.0.0/0";
    finds(Cause::NoRoute, sentence, |i| i.route_tables[0].routes.truncate(1));
    let sentence = "subnet `subnet-p` has no route to 0.0.0.0/0";
    finds(Cause::NoRoute, sentence, |i| drop(i.route_tables.remove(0)));
    let sentence = "the route to 0.0.0.0/0 in `rtb-p` does not lead to the internet gateway";
    finds(Cause::NoRoute, sentence, |i| i.route_tables[0].routes[1].gateway = Some("igw-other".into()));
}

#[test]
fn blackhole() {
    let sentence = "the route to 0.0.0.0/0 in `rtb-p` is a blackhole: its target is gone";
    finds(Cause::Blackhole, sentence, |i| i.route_tables[0].routes[1].blackhole = true);
}

#[test]
fn gateway_detached() {
    let sentence = "internet gateway `igw-1` is not attached to `vpc-1`, so nothing gets out";
    finds(Cause::GatewayDetached, sentence, |i| i.gateways[0].attached = None);
    let sentence = "`vpc-1` has no internet gateway, so nothing gets out";
    finds(Cause::GatewayDetached, sentence, |i| i.gateways[0].attached = Some("vpc-other".into()));
    finds(Cause::GatewayDetached, sentence, |i| i.gateways.clear());
}

#[test]
fn subnet_not_associated() {
    let sentence = "subnet `subnet-p` is not associated with the public route table `rtb-p`";
    finds(Cause::SubnetNotAssociated, sentence, |i| i.route_tables[0].associations.clear());
}

#[test]
fn egress_closed() {
    let sentence = "no security group of bastion `i-1` lets 443/tcp out to 0.0.0.0/0";
    finds(Cause::EgressClosed, sentence, |i| drop(i.groups[0].rules.remove(0)));
    finds(Cause::EgressClosed, sentence, |i| i.groups[0].rules.clear());
}

#[test]
fn a_wider_way_out_is_a_way_out() {
    assert_eq!(findings(|i| i.groups[0].rules = vec![crate::world::everything_out()]), []);
}

#[test]
fn no_profile() {
    let sentence = "bastion `i-1` was launched without an instance profile";
    finds(Cause::NoProfile, sentence, |i| i.instances[0].profile_arn = None);
    finds(Cause::NoProfile, "the instance profile of bastion `i-1` is gone", |i| i.profile = None);
}

#[test]
fn profile_without_role() {
    let sentence = "instance profile `webshop-test-us-east-1-bastion` does not have role `webshop-test-us-east-1-bastion` in it";
    finds(Cause::ProfileWithoutRole, sentence, |i| {
        i.profile.iter_mut().for_each(|profile| profile.roles.clear());
    });
}

#[test]
fn role_without_policy() {
    let sentence = "role `webshop-test-us-east-1-bastion` lacks `AmazonSSMManagedInstanceCore`, so Systems Manager refuses the agent";
    finds(Cause::RoleWithoutPolicy, sentence, |i| i.role.iter_mut().for_each(|role| role.policies.clear()));
}

#[test]
fn the_root_cause_comes_first() {
    let found = findings(|i| {
        i.role = None;
        i.gateways[0].attached = None;
        i.route_tables[0].routes[1].blackhole = true;
        i.instances[0].public_ip = None;
    });
    let causes: Vec<_> = found.into_iter().map(|finding| finding.cause).collect();
    assert_eq!(
        causes,
        [Cause::NoPublicAddress, Cause::GatewayDetached, Cause::Blackhole, Cause::RoleWithoutPolicy]
    );
}
