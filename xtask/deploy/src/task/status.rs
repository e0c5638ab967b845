//! `status`: what exists, in which state, and what it costs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::json;
use stack::inventory::Subscription;
use stack::plan::Action;
use stack::resource::CREATE_ORDER;
use stack::spec::KEPT;
use stack::{Inventory, Plan, Resource, Stack};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::{cost, table, view};

/// Prints the state of every part; with `--check`, exit 8 unless all is well.
pub async fn run(context: &Context, args: &xtask::Status) -> Result<ExitCode, Failure> {
    let (_, inventory) = context.observe().await?;
    let healthy = show(context, &inventory)?;
    if args.check && !healthy { Err(Failure::told(Exit::Drift)) } else { Ok(ExitCode::SUCCESS) }
}

/// Prints the state of every part and tells whether all is well.
///
/// # Errors
/// Standard output cannot be written to.
pub fn show(context: &Context, inventory: &Inventory) -> std::io::Result<bool> {
    let stack = &*context.stack;
    let plan = stack::plan::up(stack, inventory, &[]);
    let drift = stack::plan::drift(stack, inventory);
    let findings =
        if inventory.bastion().is_some() { stack::finding::bastion(stack, inventory) } else { Vec::new() };
    let healthy = plan.is_empty() && drift.is_empty() && findings.is_empty();
    let bill = stack::cost::of_inventory(stack, inventory);
    let parts: Vec<Part> =
        shown(stack, &plan).map(|resource| part(resource, stack, inventory, &plan)).collect();
    let ready = parts.iter().filter(|part| part.state == "ready").count();

    let rows: Vec<Vec<String>> = parts
        .iter()
        .map(|part| vec![part.resource.to_string(), part.state.clone(), part.id.clone(), part.detail.clone()])
        .collect();
    let mut text = table::render(&["part", "state", "id", ""], &rows);
    let _ = writeln!(text, "\n{ready} of {} parts ready", parts.len());
    let notes = notes(stack, inventory);
    for note in &notes {
        let _ = writeln!(text, "note: {note}");
    }
    for finding in &findings {
        let _ = writeln!(text, "finding: {} ({}); {}", finding.sentence, finding.evidence, finding.command);
    }
    for drift in &drift {
        let _ = writeln!(
            text,
            "drift: {}: {} is {}, the stack file says {}",
            drift.resource, drift.field, drift.have, drift.want
        );
    }
    let _ = write!(text, "\n{}", cost::render(&bill));
    if healthy {
        let _ = writeln!(
            text,
            "\nconnect: `cargo xtask psql [TENANT]`, or `cargo xtask tunnel` for other programs"
        );
    }
    let document = json!({
        "stack": stack.name,
        "region": stack.region,
        "healthy": healthy,
        "parts": parts.iter().map(Part::document).collect::<Vec<_>>(),
        "drift": drift,
        "findings": findings,
        "notes": notes,
        "cost": bill,
        "inventory": inventory,
    });
    view::result(context.json, &text, &document)?;
    Ok(healthy)
}

/// Returns what changes by itself, sooner or later.
fn notes(stack: &Stack, inventory: &Inventory) -> Vec<String> {
    let mut notes = Vec::new();
    for secret in inventory.secrets.iter().filter(|secret| secret.scheduled_for_deletion) {
        let restore = match secret.name == stack.master_secret_name() {
            true => "`cargo xtask up secrets` restores it",
            false => "`cargo xtask tenant create` restores it if a tenant needs it",
        };
        notes.push(format!("secret `{}` is scheduled for deletion; {restore}", secret.name));
    }
    if let Some(database) = inventory.database.as_ref().filter(|database| database.status == "stopped") {
        let when = database.restarts_at.as_deref().unwrap_or("an unknown time, seven days after its stop");
        notes.push(format!(
            "database `{}` is stopped; RDS starts it by itself at {when}, and `cargo xtask up database` does so now",
            database.identifier
        ));
    }
    for one in inventory.topic.iter().flat_map(|topic| &topic.subscriptions).filter(|one| one.arn.is_none()) {
        notes.push(format!(
            "the subscription of {} is not confirmed, so no alarm reaches it; follow the link in the mail from AWS",
            one.endpoint
        ));
    }
    for alarm in inventory.alarms.iter().filter(|alarm| alarm.state == "ALARM") {
        notes.push(format!("alarm `{}` has gone off", alarm.name));
    }
    if let Some(bastion) = inventory.bastion() {
        if let Some(until) = &bastion.keep_until {
            let until = if until == KEPT { "it is stopped by name" } else { until };
            notes.push(format!("bastion {} does not stop by itself until {until}", bastion.id));
        }
        if let Some(end) = &bastion.expires_at {
            notes.push(format!("bastion {} is ephemeral and removes itself at {end}", bastion.id));
        }
    }
    notes
}

/// Returns the parts that the stack has, and those that it has no more.
fn shown<'a>(stack: &'a Stack, plan: &'a Plan) -> impl Iterator<Item = Resource> + 'a {
    let has_step = |resource| plan.steps.iter().any(|step| step.resource == resource);
    CREATE_ORDER.into_iter().filter(move |resource| stack.wants(*resource) || has_step(*resource))
}

struct Part {
    resource: Resource,
    state: String,
    id: String,
    detail: String,
}

impl Part {
    fn document(&self) -> serde_json::Value {
        json!({ "part": self.resource, "state": self.state, "id": self.id, "detail": self.detail })
    }
}

fn part(resource: Resource, stack: &Stack, inventory: &Inventory, plan: &Plan) -> Part {
    let step = plan.steps.iter().find(|step| step.resource == resource);
    let (state, detail) = match step.map(|step| (&step.action, &step.detail)) {
        None => ("ready", state_of(resource, inventory)),
        Some((Action::Create, detail)) => ("missing", detail.clone()),
        Some((Action::Repair, detail)) => ("half-made", detail.clone()),
        Some((Action::Start, detail)) => ("stopped", detail.clone()),
        Some((Action::Wait, detail)) => ("waiting", detail.clone()),
        Some((Action::Delete { .. } | Action::Restore { .. }, detail)) => ("surplus", detail.clone()),
    };
    Part { resource, state: state.to_owned(), id: id_of(resource, stack, inventory), detail }
}

fn id_of(resource: Resource, stack: &Stack, inventory: &Inventory) -> String {
    use Resource as R;
    let (prefix, alarms) = (stack.log_group_prefix(), stack::alarm::name_prefix(stack));
    let id = match resource {
        R::Vpc | R::VpcDns => inventory.vpc().map(|vpc| &vpc.id),
        R::InternetGateway => inventory.gateway().map(|gateway| &gateway.id),
        R::PublicSubnet => inventory.subnet("public-subnet").map(|subnet| &subnet.id),
        R::PrivateSubnetA => inventory.subnet("private-subnet-a").map(|subnet| &subnet.id),
        R::PrivateSubnetB => inventory.subnet("private-subnet-b").map(|subnet| &subnet.id),
        R::PublicRoutes => inventory.route_table("public-routes").map(|table| &table.id),
        R::PrivateRoutes => inventory.route_table("private-routes").map(|table| &table.id),
        R::BastionGroup | R::BastionRules => inventory.group("bastion-group").map(|group| &group.id),
        R::DatabaseGroup | R::DatabaseRules => inventory.group("database-group").map(|group| &group.id),
        R::MasterSecret => inventory.secret(&stack.master_secret_name()).map(|secret| &secret.name),
        R::SubnetGroup => inventory.subnet_group.as_ref().map(|group| &group.name),
        R::Database => inventory.database.as_ref().map(|database| &database.identifier),
        R::MonitoringRole => inventory.monitoring_role.as_ref().map(|role| &role.name),
        R::LogGroups => Some(&prefix).filter(|_| !inventory.log_groups.is_empty()),
        R::Topic => inventory.topic.as_ref().map(|topic| &topic.arn),
        R::Alarms => Some(&alarms).filter(|_| !inventory.alarms.is_empty()),
        R::Role => inventory.role.as_ref().map(|role| &role.name),
        R::Profile => inventory.profile.as_ref().map(|profile| &profile.name),
        R::Instance | R::Session => inventory.bastion().map(|bastion| &bastion.id),
    };
    id.cloned().unwrap_or_default()
}

fn state_of(resource: Resource, inventory: &Inventory) -> String {
    let detail = match resource {
        Resource::Database => inventory.database.as_ref().map(|database| {
            let endpoint = database.endpoint.as_ref().map(|(host, port)| format!(", {host}:{port}"));
            format!(
                "{}, {} {}{}",
                database.status,
                database.class,
                database.engine_version,
                endpoint.unwrap_or_default()
            )
        }),
        Resource::Instance => inventory.bastion().map(|bastion| {
            let address = bastion.public_ip.as_deref().unwrap_or("no public address");
            format!("{}, {}, {address}", bastion.state, bastion.instance_type)
        }),
        Resource::Session => inventory.agent.as_ref().map(|agent| {
            format!(
                "{}, agent {}",
                agent.ping_status,
                agent.version.as_deref().unwrap_or("of unknown version")
            )
        }),
        Resource::LogGroups => Some(format!("{} so far", inventory.log_groups.len())),
        Resource::Topic => inventory.topic.as_ref().map(|topic| {
            let words = |one: &Subscription| match one.arn {
                Some(_) => one.endpoint.clone(),
                None => format!("{}, not confirmed", one.endpoint),
            };
            topic.subscriptions.iter().map(words).collect::<Vec<_>>().join("; ")
        }),
        Resource::Alarms => Some(alarm_states(inventory)),
        Resource::Vpc
        | Resource::VpcDns
        | Resource::InternetGateway
        | Resource::PublicSubnet
        | Resource::PrivateSubnetA
        | Resource::PrivateSubnetB
        | Resource::PublicRoutes
        | Resource::PrivateRoutes
        | Resource::BastionGroup
        | Resource::DatabaseGroup
        | Resource::BastionRules
        | Resource::DatabaseRules
        | Resource::MasterSecret
        | Resource::SubnetGroup
        | Resource::MonitoringRole
        | Resource::Role
        | Resource::Profile => None,
    };
    detail.unwrap_or_default()
}

/// Returns how many alarms are in which state: `3 OK, 1 ALARM`.
fn alarm_states(inventory: &Inventory) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for alarm in &inventory.alarms {
        *counts.entry(alarm.state.as_str()).or_default() += 1;
    }
    counts.iter().map(|(state, count)| format!("{count} {state}")).collect::<Vec<_>>().join(", ")
}
