//! How a stack is: the verdict, what is to be done next, and each step with what AWS says of it.

use jiff::Timestamp;
use serde::Serialize;
use stack::finding::Cause;
use stack::plan::{Action, Drift, Unknown};
use stack::resource::CREATE_ORDER;
use stack::spec::KEPT;
use stack::{Bill, Finding, Inventory, Plan, Resource, Stack, resource_entry};

use super::escape;
use super::page::{Line, Page, list, table};
use super::resources::{self, Connect};

const STYLE: &str = include_str!("steps.css");

/// What `status` shows.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The stack.
    pub stack: String,
    /// The account that it is in.
    pub account: String,
    /// The region that it is in.
    pub region: String,
    /// When AWS was asked, RFC 3339.
    pub observed_at: String,
    /// Nothing is missing, different or in the way.
    pub healthy: bool,
    /// Each step of the stack, in order.
    pub parts: Vec<Part>,
    /// What differs from the stack file and `up` does not change by itself.
    pub drift: Vec<Drift>,
    /// Why the bastion cannot be reached, and who is let in that should not be.
    pub findings: Vec<Finding>,
    /// What lets others in, and the stack file does not state.
    pub unknown: Vec<Unknown>,
    /// What changes by itself, sooner or later.
    pub notes: Vec<String>,
    /// What to do, the first thing first; nothing if all is well.
    pub next: Vec<String>,
    /// How to get there; nothing if there is nothing to get to.
    pub connect: Option<Connect>,
    /// What it costs.
    pub cost: Bill,
    /// All that was seen.
    pub inventory: Inventory,
}

/// A step of the stack.
#[derive(Debug, Serialize)]
pub struct Part {
    /// The step.
    pub part: Resource,
    /// `ready`, `missing`, `half-made`, `stopped`, `waiting` or `surplus`.
    pub state: &'static str,
    /// The id, or the name, of what it makes; empty if there is none.
    pub id: String,
    /// What AWS says of it; empty if there is none.
    pub says: String,
    /// What `up` would do; empty if it is ready.
    pub detail: String,
}

impl Status {
    /// Returns how a stack is by what an account has of it.
    pub fn new(stack: &Stack, account: &str, inventory: Inventory, now: Timestamp) -> Status {
        let plan = stack::plan::up(stack, &inventory, &[]);
        let drift = stack::plan::drift(stack, &inventory);
        let mut findings = match inventory.bastion() {
            Some(_) => stack::finding::bastion(stack, &inventory),
            None => Vec::new(),
        };
        findings.extend(stack::finding::too_open(stack, &inventory));
        Status {
            stack: stack.name.clone(),
            account: account.to_owned(),
            region: stack.region.clone(),
            observed_at: now.to_string(),
            healthy: plan.is_empty() && drift.is_empty() && findings.is_empty(),
            parts: shown(stack, &plan).map(|step| part(step, stack, &inventory, &plan)).collect(),
            next: [stack::plan::advice(stack, &inventory), next(&plan, &drift, &findings)].concat(),
            drift,
            findings,
            unknown: plan.left_alone.clone(),
            notes: notes(stack, &inventory),
            connect: Connect::find(stack, &inventory),
            cost: stack::cost::of_inventory(stack, &inventory),
            inventory,
        }
    }

    /// Returns how many steps are ready.
    pub fn ready(&self) -> usize {
        self.parts.iter().filter(|part| part.state == "ready").count()
    }

    /// Returns the verdict in one sentence.
    pub fn verdict(&self) -> String {
        let steps = format!("{} of {} parts ready", self.ready(), self.parts.len());
        match self.drift.len() {
            _ if self.healthy => format!("healthy: {steps}"),
            0 => format!("not healthy: {steps}"),
            1 => format!("not healthy: {steps}, 1 difference from the stack file"),
            more => format!("not healthy: {steps}, {more} differences from the stack file"),
        }
    }

    /// Renders it as a page that needs nothing else.
    pub fn html(&self) -> String {
        let class = if self.healthy { "good" } else { "bad" };
        let header = format!(
            "<p class=\"verdict {class}\">{}</p>\n<p>account {}, {}, seen {}</p>\n",
            escape(&self.verdict()),
            escape(&self.account),
            escape(&self.region),
            escape(&self.observed_at)
        );
        let mut body = list("Next", &self.next);
        let parts = self.parts.iter().map(|part| Line {
            class: part.class(),
            cells: vec![part.part.title(), part.state, &part.says, &part.detail, &part.id],
        });
        body.push_str(&table("Steps", &["step", "state", "AWS says", "to do", "id"], parts));
        let drift = self.drift.iter().map(|one| Line {
            class: "bad",
            cells: vec![one.resource.title(), one.field, &one.want, &one.have],
        });
        let head = ["step", "what", "stack file", "AWS"];
        body.push_str(&table("Differs from the stack file", &head, drift));
        for (title, too_open) in [("Why the bastion is not reached", false), ("Too open", true)] {
            let findings = self.findings.iter().filter(|one| (one.cause == Cause::TooOpen) == too_open);
            let lines = findings
                .map(|one| Line { class: "bad", cells: vec![&one.sentence, &one.evidence, &one.command] });
            body.push_str(&table(title, &["finding", "evidence", "remedy"], lines));
        }
        let unknown: Vec<String> = self.unknown.iter().map(|one| format!("{one}; it stays")).collect();
        body.push_str(&list("What the stack file does not state", &unknown));
        body.push_str(&list("What changes by itself", &self.notes));
        body.push_str(&resources::connect(self.connect.as_ref()));
        body.push_str(&self.bill());
        let title = format!("{}: status", self.stack);
        Page { title: &title, style: STYLE, script: None, header: &header, body: &body }.render()
    }

    fn bill(&self) -> String {
        let price = |price: Option<stack::cost::MonthlyPrice>| {
            price.map_or_else(|| "unknown".to_owned(), |price| price.to_string())
        };
        let bill = &self.cost;
        let mut items: Vec<[String; 4]> = bill
            .items
            .iter()
            .map(|item| {
                let [running, stopped] = [item.monthly_running, item.monthly_stopped].map(price);
                [item.name.clone(), running, stopped, item.note.clone()]
            })
            .collect();
        let note = format!("prices of {}, {}", bill.priced_region, bill.as_of);
        items.push(["in all".to_owned(), bill.running().to_string(), bill.stopped().to_string(), note]);
        let lines =
            items.iter().map(|item| Line { class: "", cells: item.iter().map(String::as_str).collect() });
        table("A month", &["what", "bastion running", "bastion stopped", ""], lines)
    }
}

impl Part {
    fn class(&self) -> &'static str {
        match self.state {
            "ready" => "good",
            "waiting" | "stopped" => "wait",
            _ => "bad",
        }
    }
}

/// Returns what to do about what is not as it should be.
fn next(plan: &Plan, drift: &[Drift], findings: &[Finding]) -> Vec<String> {
    let mut next = Vec::new();
    if !plan.is_empty() {
        next.push("run `cargo xtask up`; `cargo xtask plan` shows what it would do".to_owned());
    }
    if !drift.is_empty() {
        next.push("change the stack file, or what AWS has: `up` leaves what differs alone".to_owned());
    }
    if findings.iter().any(|finding| finding.cause == Cause::TooOpen) {
        next.push("close what is too open with `cargo xtask up --remove-unknown-rules`".to_owned());
    }
    if findings.iter().any(|finding| finding.cause != Cause::TooOpen) {
        next.push("run `cargo xtask doctor` if the bastion is still not reached then".to_owned());
    }
    next
}

/// Returns what changes by itself, sooner or later.
fn notes(stack: &Stack, inventory: &Inventory) -> Vec<String> {
    let mut notes = Vec::new();
    for secret in stack::mismatch::foreign(inventory) {
        notes.push(match &secret.owner {
            Some(owner) => format!("secret `{}` belongs to stack `{}`", secret.name, owner),
            None => format!("secret `{}` carries no stack's tag", secret.name),
        });
    }
    for secret in inventory.secrets.iter().filter(|one| one.tagged && one.scheduled_for_deletion) {
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
    if let Some(holder) = inventory.locks.last().and_then(|lock| lock.holder.as_ref()) {
        notes.push(format!("the stack is being changed, or was when that run died: {holder}"));
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

/// Returns the steps that the stack has, and those that it has no more.
fn shown<'a>(stack: &'a Stack, plan: &'a Plan) -> impl Iterator<Item = Resource> + 'a {
    let has_step = |resource| plan.steps.iter().any(|step| step.resource == resource);
    CREATE_ORDER.into_iter().filter(move |resource| stack.wants(*resource) || has_step(*resource))
}

fn part(step: Resource, stack: &Stack, inventory: &Inventory, plan: &Plan) -> Part {
    // A step of its own before one that removes what is left over.
    let steps = || plan.steps.iter().filter(|one| one.resource == step);
    let planned = steps().find(|one| !matches!(one.action, Action::Delete { .. })).or_else(|| steps().next());
    let state = match planned.map(|step| &step.action) {
        None => "ready",
        Some(Action::Create) => "missing",
        Some(Action::Repair) => "half-made",
        Some(Action::Start) => "stopped",
        Some(Action::Wait) => "waiting",
        Some(Action::Delete { .. } | Action::Restore { .. }) => "surplus",
    };
    let detail = planned.map(|step| step.detail.clone()).unwrap_or_default();
    let id = id(step, stack, inventory);
    let says = resource_entry::says(step, stack, inventory, &id);
    Part { part: step, state, id, says, detail }
}

fn id(step: Resource, stack: &Stack, inventory: &Inventory) -> String {
    use Resource as R;
    let (prefix, alarms) = (stack.log_group_prefix(), stack::alarm::name_prefix(stack));
    let id = match step {
        R::Vpc | R::VpcDns => inventory.vpc().map(|vpc| &vpc.id),
        R::InternetGateway => inventory.gateway().map(|gateway| &gateway.id),
        R::PublicSubnet | R::PrivateSubnetA | R::PrivateSubnetB => {
            inventory.subnet(step.tag()).map(|subnet| &subnet.id)
        }
        R::PublicRoutes | R::PrivateRoutes => inventory.route_table(step.tag()).map(|table| &table.id),
        R::BastionGroup | R::BastionRules => inventory.group("bastion-group").map(|group| &group.id),
        R::DatabaseGroup | R::DatabaseRules => inventory.group("database-group").map(|group| &group.id),
        R::MasterSecret => inventory.own_secret(&stack.master_secret_name()).map(|secret| &secret.name),
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
