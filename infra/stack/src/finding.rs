//! Why something does not work, from what exists alone.

use serde::Serialize;

use crate::inventory::{Direction, Instance, Inventory, Peer, RouteTable, Rule};
use crate::resource::Resource;
use crate::spec::{SSM_POLICY, Stack};

pub(crate) const EVERYWHERE: &str = "0.0.0.0/0";

/// A reason why something between here and the database does not work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind of reason.
    pub cause: Cause,
    /// What is wrong, with the ids, in one sentence without a full stop.
    pub sentence: String,
    /// What was seen that proves it.
    pub evidence: String,
    /// The command that mends it.
    pub command: String,
}

/// The kinds of reasons, the most basic first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// There is no bastion.
    NoInstance,
    /// The bastion is stopped.
    Stopped,
    /// The bastion has no public IPv4 address.
    NoPublicAddress,
    /// There is no internet gateway, or it is not attached to the VPC.
    GatewayDetached,
    /// The bastion's subnet is not associated with the public route table.
    SubnetNotAssociated,
    /// No route leads out of the bastion's subnet.
    NoRoute,
    /// The route out leads to something that is gone.
    Blackhole,
    /// The network ACL of the bastion's subnet does not let HTTPS out.
    AclDeniesHttps,
    /// The network ACL of the bastion's subnet does not let answers in.
    AclDeniesAnswers,
    /// The bastion's security groups do not let HTTPS out.
    EgressClosed,
    /// No name resolves in the VPC.
    DnsOff,
    /// Systems Manager's name leads to an endpoint that the bastion cannot use.
    EndpointClosed,
    /// The bastion has no instance profile, or one that is gone.
    NoProfile,
    /// The instance profile has no role in it.
    ProfileWithoutRole,
    /// The role lacks the policy that lets the agent register.
    RoleWithoutPolicy,
    /// The console shows that the bastion did not boot.
    BootFailed,
    /// The bastion booted a moment ago; its agent still has time.
    Booting,
    /// Nothing is in the agent's way any more, but it was refused and sleeps.
    AgentAsleep,
    /// The agent has not registered, or has lost its connection.
    AgentAbsent,
    /// Whoever asks may not start sessions.
    SessionDenied,
    /// The agent is online, and no session can be started for another reason.
    SessionRefused,
    /// There is no database.
    NoDatabase,
    /// The database is stopped, or not available yet or any more.
    DatabaseUnavailable,
    /// The security groups do not let the bastion through to the database.
    DatabaseGroupClosed,
    /// A network ACL stops packets between bastion and database.
    DatabaseAcl,
    /// The secret of the master user is missing.
    NoSecret,
    /// The bastion does not reach the database's port.
    TargetUnreachable,
    /// The bundle of certificates cannot be used.
    CaUnusable,
    /// The server's certificate is not to be trusted.
    TlsNotVerified,
    /// The server does not know the password that the secret holds.
    WrongPassword,
    /// Every role may connect to the server's own databases, or create in them.
    OpenToTenants,
    /// The server refuses the master user for another reason.
    LoginRefused,
    /// A rule lets everybody in to the database, or anybody in to the bastion.
    TooOpen,
}

impl Finding {
    pub(crate) fn new(cause: Cause, sentence: impl Into<String>, evidence: impl Into<String>) -> Finding {
        // `up` starts, repairs or replaces: the same command mends each of them.
        Finding::mended_by("cargo xtask up bastion", cause, sentence, evidence)
    }

    /// Returns a finding with another command than most.
    pub fn mended_by(
        command: impl Into<String>,
        cause: Cause,
        sentence: impl Into<String>,
        evidence: impl Into<String>,
    ) -> Finding {
        Finding { cause, sentence: sentence.into(), evidence: evidence.into(), command: command.into() }
    }
}

/// Returns why Session Manager cannot reach the bastion, the root cause first; nothing if all is in order.
pub fn bastion(stack: &Stack, inventory: &Inventory) -> Vec<Finding> {
    let Some(bastion) = inventory.bastion() else {
        return vec![absent(stack, inventory)];
    };
    let mut found: Vec<Finding> = Vec::new();
    found.extend(power(bastion));
    found.extend(gateway(inventory));
    found.extend(route(inventory, bastion));
    found.extend(egress(inventory, bastion));
    found.extend(profile(stack, inventory, bastion));
    // Without a profile there is nothing that the role could be given to.
    if bastion.profile_arn.is_some() {
        found.extend(role(stack, inventory));
    }
    found.sort_by_key(|finding| finding.cause);
    found
}

/// Returns what lets everybody in to the database, or anybody in to the bastion. Nothing is broken by it, and `up` does not
/// close it unasked: somebody may live by it.
pub fn too_open(stack: &Stack, inventory: &Inventory) -> Vec<Finding> {
    let open = crate::plan::unknown(stack, inventory).into_iter().filter(|one| one.too_open);
    open.map(|one| {
        let database = matches!(one.resource, Resource::Database | Resource::DatabaseRules);
        let sentence = match database {
            true => "the database's security groups let everybody in",
            false => "the bastion's security groups let somebody in, and nobody has to come in there",
        };
        let command = "cargo xtask up --remove-unknown-rules";
        Finding::mended_by(command, Cause::TooOpen, sentence, one.to_string())
    })
    .collect()
}

pub(crate) fn absent(stack: &Stack, inventory: &Inventory) -> Finding {
    let evidence = match inventory.instances.first() {
        Some(going) => format!("`{}` is {}", going.id, going.state),
        None => format!("no instance carries the tag of stack `{}`", stack.name),
    };
    Finding::new(Cause::NoInstance, "the stack has no bastion", evidence)
}

pub(crate) fn power(bastion: &Instance) -> Option<Finding> {
    let Instance { id, state, .. } = bastion;
    match state.as_str() {
        "stopped" | "stopping" => Some(Finding::new(
            Cause::Stopped,
            format!("bastion `{id}` is {state}"),
            format!("the state of `{id}` is `{state}`"),
        )),
        "running" if bastion.public_ip.is_none() => {
            let subnet = bastion.subnet.as_deref().unwrap_or("its subnet");
            Some(Finding::new(
                Cause::NoPublicAddress,
                format!(
                    "bastion `{id}` has no public IPv4 address, so its agent cannot reach Systems Manager"
                ),
                format!("the network interface of `{id}` in `{subnet}` has a private address only"),
            ))
        }
        _ => None,
    }
}

pub(crate) fn gateway(inventory: &Inventory) -> Option<Finding> {
    let vpc = inventory.vpc().map_or("the vpc", |vpc| vpc.id.as_str());
    let finding = |sentence, evidence: String| Some(Finding::new(Cause::GatewayDetached, sentence, evidence));
    match inventory.gateway() {
        Some(gateway) if gateway.attached.is_some() => None,
        Some(gateway) => finding(
            format!("internet gateway `{}` is not attached to `{vpc}`, so nothing gets out", gateway.id),
            format!("`{}` has no attachment", gateway.id),
        ),
        None => {
            let evidence = match inventory.gateways.first() {
                Some(other) => {
                    format!("`{}` is attached to `{}`", other.id, other.attached.as_deref().unwrap_or("-"))
                }
                None => "no internet gateway carries the stack's tag".to_owned(),
            };
            finding(format!("`{vpc}` has no internet gateway, so nothing gets out"), evidence)
        }
    }
}

pub(crate) fn route(inventory: &Inventory, bastion: &Instance) -> Option<Finding> {
    let public = inventory.subnet(Resource::PublicSubnet.tag()).map(|subnet| &subnet.id);
    let Some(subnet) = bastion.subnet.as_ref().or(public) else {
        let sentence = format!("the subnet of bastion `{}` is not known to have a route out", bastion.id);
        return Some(Finding::new(Cause::NoRoute, sentence, "no public subnet carries the stack's tag"));
    };
    let uses = |table: &&RouteTable| table.associations.iter().any(|link| link.subnet == *subnet);
    let table = inventory.route_tables.iter().find(uses);
    let Some(table) = table else {
        return Some(match inventory.route_table(Resource::PublicRoutes.tag()) {
            Some(table) => Finding::new(
                Cause::SubnetNotAssociated,
                format!("subnet `{subnet}` is not associated with the public route table `{}`", table.id),
                format!("`{}` has {} associations, none with `{subnet}`", table.id, table.associations.len()),
            ),
            None => Finding::new(
                Cause::NoRoute,
                format!("subnet `{subnet}` has no route to {EVERYWHERE}"),
                "no public route table carries the stack's tag",
            ),
        });
    };
    let out = table.routes.iter().find(|route| route.destination == EVERYWHERE);
    let gateway = inventory.gateway().map(|gateway| gateway.id.as_str());
    match out {
        None => Some(Finding::new(
            Cause::NoRoute,
            format!("route table `{}` of subnet `{subnet}` has no route to {EVERYWHERE}", table.id),
            format!("its routes lead to {}", destinations(table)),
        )),
        Some(route) if route.blackhole => Some(Finding::new(
            Cause::Blackhole,
            format!("the route to {EVERYWHERE} in `{}` is a blackhole: its target is gone", table.id),
            format!("its target is `{}`", route.gateway.as_deref().unwrap_or("no gateway")),
        )),
        Some(route) if gateway.is_some() && route.gateway.as_deref() != gateway => Some(Finding::new(
            Cause::NoRoute,
            format!("the route to {EVERYWHERE} in `{}` does not lead to the internet gateway", table.id),
            format!("its target is `{}`", route.gateway.as_deref().unwrap_or("no gateway")),
        )),
        Some(_) => None,
    }
}

fn destinations(table: &RouteTable) -> String {
    let names: Vec<String> = table.routes.iter().map(|route| format!("`{}`", route.destination)).collect();
    if names.is_empty() { "nowhere".to_owned() } else { names.join(", ") }
}

pub(crate) fn egress(inventory: &Inventory, bastion: &Instance) -> Option<Finding> {
    let rules: Vec<&Rule> = inventory.rules_of(&bastion.groups).collect();
    if rules.iter().any(|rule| lets_https_out(rule)) {
        return None;
    }
    let out = rules.iter().filter(|rule| rule.direction == Direction::Egress).count();
    Some(Finding::new(
        Cause::EgressClosed,
        format!("no security group of bastion `{}` lets 443/tcp out to {EVERYWHERE}", bastion.id),
        format!("its groups of this stack: {}; their rules for egress: {out}", known(inventory, bastion)),
    ))
}

fn known(inventory: &Inventory, bastion: &Instance) -> String {
    let is_known = |id: &&String| inventory.groups.iter().any(|group| group.id == **id);
    let names: Vec<String> = bastion.groups.iter().filter(is_known).map(|id| format!("`{id}`")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn lets_https_out(rule: &Rule) -> bool {
    let has_port = rule.ports.is_none_or(|(first, last)| (first..=last).contains(&443));
    rule.direction == Direction::Egress
        && matches!(rule.protocol.as_str(), "tcp" | "6" | "-1")
        && (has_port || rule.protocol == "-1")
        && matches!(&rule.peer, Peer::Cidr(range) if range == EVERYWHERE)
}

pub(crate) fn profile(stack: &Stack, inventory: &Inventory, bastion: &Instance) -> Option<Finding> {
    let Some(arn) = &bastion.profile_arn else {
        return Some(Finding::new(
            Cause::NoProfile,
            format!("bastion `{}` was launched without an instance profile", bastion.id),
            format!("`{}` has no IAM instance profile, so its agent has no credentials", bastion.id),
        ));
    };
    match &inventory.profile {
        Some(profile) if profile.arn != *arn => Some(Finding::new(
            Cause::NoProfile,
            format!("bastion `{}` has another instance profile than the stack's", bastion.id),
            format!("it has `{arn}`, the stack's is `{}`", profile.arn),
        )),
        None => Some(Finding::new(
            Cause::NoProfile,
            format!("the instance profile of bastion `{}` is gone", bastion.id),
            format!("`{arn}` does not exist"),
        )),
        Some(profile) if !profile.roles.contains(&inventory.role_name(stack)) => Some(Finding::new(
            Cause::ProfileWithoutRole,
            format!(
                "instance profile `{}` does not have role `{}` in it",
                profile.name,
                inventory.role_name(stack)
            ),
            match profile.roles.first() {
                Some(other) => format!("it has role `{other}` in it"),
                None => "it has no role in it".to_owned(),
            },
        )),
        Some(_) => None,
    }
}

pub(crate) fn role(stack: &Stack, inventory: &Inventory) -> Option<Finding> {
    match &inventory.role {
        Some(role) if !role.policies.iter().any(|policy| policy == SSM_POLICY) => Some(Finding::new(
            Cause::RoleWithoutPolicy,
            format!("role `{}` lacks `{SSM_POLICY}`, so Systems Manager refuses the agent", role.name),
            if role.policies.is_empty() {
                "no policy is attached to it".to_owned()
            } else {
                format!("attached to it: {}", role.policies.join(", "))
            },
        )),
        None => Some(Finding::new(
            Cause::RoleWithoutPolicy,
            format!("role `{}` does not exist, so the agent has no rights", stack.role_name()),
            match stack.bastion.role {
                Some(_) => "no role of that name carries the stack's tag".to_owned(),
                None => format!("no role of that name under `{}`", stack.iam_path()),
            },
        )),
        Some(_) => None,
    }
}
