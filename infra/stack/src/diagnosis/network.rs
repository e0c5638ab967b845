//! What the bastion needs to reach Systems Manager: itself, its way out, its role.

use super::facts::{Fact, Facts, Listing, moment, parse, span};
use super::filter::{Wall, acl_of, admits, refusal, unread};
use super::link::Judgement;
use crate::finding::{self, Cause, EVERYWHERE, Finding};
use crate::inventory::{Direction, Instance};
use crate::network_context::{EPHEMERAL, Endpoint, Says};
use crate::spec::{Cidr, Stack};

pub(super) fn account(facts: &Facts) -> Judgement {
    let caller = &facts.caller;
    Judgement::Pass(format!("account {}, region {}, as {}", caller.account, caller.region, caller.arn))
}

pub(super) fn instance(stack: &Stack, facts: &Facts) -> Judgement {
    facts.with(&[Listing::Instances], |inventory| {
        let Some(bastion) = inventory.bastion() else {
            return finding::absent(stack, inventory).into();
        };
        let Instance { id, state, instance_type, .. } = bastion;
        let age = facts.uptime().map_or_else(String::new, |age| format!(", booted {} ago", span(age)));
        match state.as_str() {
            "running" => {
                let others = inventory.instances.len() - 1;
                let others = if others == 0 { String::new() } else { format!(", and {others} more") };
                Judgement::Pass(format!("`{id}` ({instance_type}) is running{age}{others}"))
            }
            "pending" => {
                let sentence = format!("bastion `{id}` is being launched");
                Finding::new(Cause::Booting, sentence, format!("its state is `{state}`")).into()
            }
            _ => finding::power(bastion).map_or_else(
                || Judgement::Unknown(format!("its state is `{state}`, which is not known here")),
                Judgement::Fail,
            ),
        }
    })
}

pub(super) fn address(facts: &Facts) -> Judgement {
    facts.with_running(&[], |_, bastion| match (finding::power(bastion), &bastion.public_ip) {
        (Some(finding), _) => finding.into(),
        (None, Some(address)) => Judgement::Pass(format!("`{}` has {address}", bastion.id)),
        (None, None) => Judgement::Unknown("it was not told".to_owned()),
    })
}

pub(super) fn gateway(facts: &Facts) -> Judgement {
    facts.with(&[Listing::Gateways, Listing::Vpcs], |inventory| match finding::gateway(inventory) {
        _ if inventory.vpcs.is_empty() => Judgement::Skipped("there is no VPC".to_owned()),
        Some(finding) => finding.into(),
        None => {
            let gateway = inventory.gateway();
            let id = gateway.map_or("-", |gateway| &gateway.id);
            let vpc = gateway.and_then(|gateway| gateway.attached.as_deref()).unwrap_or("-");
            Judgement::Pass(format!("`{id}` is attached to `{vpc}`"))
        }
    })
}

pub(super) fn route(facts: &Facts) -> Judgement {
    let needs = [Listing::RouteTables, Listing::Subnets, Listing::Gateways, Listing::Vpcs];
    facts.with_bastion(&needs, |inventory, bastion| match finding::route(inventory, bastion) {
        Some(finding) => finding.into(),
        None => {
            let gateway = inventory.gateway().map_or("the gateway", |gateway| &gateway.id);
            let subnet = bastion.subnet.as_deref().unwrap_or("its subnet");
            Judgement::Pass(format!("{EVERYWHERE} leads from `{subnet}` to `{gateway}`"))
        }
    })
}

pub(super) fn egress(facts: &Facts) -> Judgement {
    facts.with_bastion(&[Listing::Groups], |inventory, bastion| match finding::egress(inventory, bastion) {
        None => Judgement::Pass(format!("443/tcp may leave `{}` to {EVERYWHERE}", bastion.id)),
        Some(finding) => match unread(inventory, &bastion.groups) {
            Some(other) => Judgement::Unknown(format!(
                "the rules of security group `{other}`, which is not the stack's, were not read"
            )),
            None => finding.into(),
        },
    })
}

pub(super) fn acl(facts: &Facts) -> Judgement {
    let everywhere = Cidr::parse(EVERYWHERE).expect("invariant: it is a range");
    facts.with_bastion(&[], |_, bastion| {
        let acl = match acl_of(facts, bastion.subnet.as_deref().unwrap_or_default()) {
            Ok(acl) => acl,
            Err(unknown) => return unknown,
        };
        let out = acl.lets(Direction::Egress, (443, 443), everywhere);
        let answers = acl.lets(Direction::Ingress, EPHEMERAL, everywhere);
        let (says, direction, ports, cause, what) = match (out, answers) {
            (Says::Yes, Says::Yes) => {
                return Judgement::Pass(format!("`{}` lets 443/tcp out, and answers in", acl.id));
            }
            (Says::Yes, answers) => {
                let ports = (1024, 65535);
                (answers, Direction::Ingress, ports, Cause::AclDeniesAnswers, "answers (1024-65535/tcp) in")
            }
            (out, _) => (out, Direction::Egress, (443, 443), Cause::AclDeniesHttps, "443/tcp out"),
        };
        refusal(facts, acl, &says, Wall { direction, ports, range: everywhere, cause, what })
    })
}

pub(super) fn endpoints(facts: &Facts) -> Judgement {
    facts.with_bastion(&[Listing::Vpcs, Listing::Groups, Listing::Subnets], |inventory, bastion| {
        let vpc = inventory.vpc();
        let id = vpc.map_or("the vpc", |vpc| &vpc.id);
        match vpc.and_then(|vpc| vpc.dns_support) {
            Some(true) => (),
            Some(false) => {
                let sentence = format!("DNS support of `{id}` is off, so the agent finds no address");
                return Finding::new(Cause::DnsOff, sentence, "`enableDnsSupport` is false").into();
            }
            None => return Judgement::Unknown(format!("the DNS attributes of `{id}` are not known yet")),
        }
        let endpoints = match &facts.endpoints {
            Fact::Known(endpoints) => endpoints,
            Fact::Unknown(why) => return Judgement::Unknown(why.clone()),
            Fact::Unasked => return Judgement::Skipped("there is no VPC".to_owned()),
        };
        let on_the_way = |endpoint: &&Endpoint| {
            // One that is gone, or never came to be, has let go of the name.
            let is_gone =
                matches!(endpoint.state.as_str(), "deleted" | "deleting" | "failed" | "rejected" | "expired");
            endpoint.private_dns
                && !is_gone
                && [".ssm", ".ssmmessages"].iter().any(|service| endpoint.service.ends_with(service))
        };
        let relevant: Vec<&Endpoint> = endpoints.iter().filter(on_the_way).collect();
        let judged = relevant.iter().find_map(|endpoint| endpoint_wall(facts, bastion, endpoint));
        judged.unwrap_or_else(|| {
            let names: Vec<String> = relevant.iter().map(|endpoint| format!("`{}`", endpoint.id)).collect();
            Judgement::Pass(match names.as_slice() {
                [] => format!("names resolve in `{id}`; no endpoint takes Systems Manager's"),
                names => {
                    format!("names resolve in `{id}`, to endpoints that let it in: {}", names.join(", "))
                }
            })
        })
    })
}

/// Returns what stands between the agent and an endpoint that takes the service's name over, if anything does.
fn endpoint_wall(facts: &Facts, bastion: &Instance, endpoint: &Endpoint) -> Option<Judgement> {
    let Endpoint { id, service, state, .. } = endpoint;
    let region = &facts.caller.region;
    let command = format!(
        "aws ec2 modify-vpc-endpoint --region {region} --vpc-endpoint-id {id} --no-private-dns-enabled"
    );
    let fail = |sentence, evidence: String| {
        Some(Finding::mended_by(command.clone(), Cause::EndpointClosed, sentence, evidence).into())
    };
    if state != "available" {
        let sentence = format!("`{service}` leads to endpoint `{id}`, which is {state}");
        return fail(sentence, format!("private DNS is on and its state is `{state}`"));
    }
    let Some(rules) = &endpoint.rules else {
        return Some(Judgement::Unknown(format!(
            "the rules of endpoint `{id}`'s security groups were not read"
        )));
    };
    if admits(&facts.inventory, rules, bastion, 443) {
        return None;
    }
    let sentence =
        format!("`{service}` leads to endpoint `{id}`, which does not let the bastion in at 443/tcp");
    fail(sentence, format!("private DNS is on; its groups: {}", endpoint.groups.join(", ")))
}

pub(super) fn profile(stack: &Stack, facts: &Facts) -> Judgement {
    facts.with_bastion(&[Listing::Profile], |inventory, bastion| {
        if let Some(finding) = finding::profile(stack, inventory, bastion) {
            return finding.into();
        }
        let profile = inventory.profile.as_ref();
        let name = profile.map_or("-", |profile| &profile.name);
        let made = since(profile.and_then(|profile| profile.created_at.as_deref()), "made");
        let attached = match &facts.attached_at {
            Fact::Known(Some(time)) => since(Some(time), "attached"),
            Fact::Known(None) | Fact::Unasked => String::new(),
            Fact::Unknown(why) => format!(", attached at a time that is not known ({why})"),
        };
        let boot = facts.booted_at().map_or_else(String::new, |boot| format!("; booted {}", moment(boot)));
        Judgement::Pass(format!("`{name}` with the role in it{made}{attached}{boot}"))
    })
}

pub(super) fn role(stack: &Stack, facts: &Facts) -> Judgement {
    facts.with(&[Listing::Role], |inventory| match (finding::role(stack, inventory), &inventory.role) {
        (None, Some(role)) => Judgement::Pass(format!(
            "`{}` has {}{}; IAM does not tell since when",
            role.name,
            role.policies.join(", "),
            since(role.created_at.as_deref(), "made")
        )),
        _ if facts.inventory.instances.is_empty() && inventory.role.is_none() => {
            Judgement::Skipped("there is no bastion".to_owned())
        }
        (Some(finding), _) => finding.into(),
        (None, None) => Judgement::Unknown("it was not told".to_owned()),
    })
}

fn since(time: Option<&str>, verb: &str) -> String {
    parse(time).map_or_else(String::new, |time| format!(", {verb} {}", moment(time)))
}
