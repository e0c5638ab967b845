//! What is to be done about all that watches the database: alarms, their topic, the role of enhanced monitoring.

use super::server;
use super::verdict::{Surplus, Verdict};
use crate::alarm::{self, Want};
use crate::inventory::{Alarm, Inventory};
use crate::spec::{MONITORING_POLICY, Stack};

pub(super) fn role(stack: &Stack, inventory: &Inventory) -> Verdict {
    match &inventory.monitoring_role {
        None => Verdict::Create(format!("{} with {MONITORING_POLICY}", stack.monitoring_role_name())),
        Some(role) => server::role_flaws(stack, role, MONITORING_POLICY),
    }
}

/// Returns the role that nobody wants any more.
pub(super) fn surplus_role(inventory: &Inventory) -> Vec<Surplus> {
    let role = inventory.monitoring_role.iter();
    role.map(|role| (role.name.clone(), "enhanced monitoring is off in the stack file".to_owned())).collect()
}

pub(super) fn topic(stack: &Stack, inventory: &Inventory) -> Verdict {
    let email = stack.alarms.email.as_deref().unwrap_or_default();
    let Some(topic) = &inventory.topic else {
        return Verdict::Create(format!("mail to {email}, once they have confirmed it"));
    };
    let mut wrong = Vec::new();
    let mails = || topic.subscriptions.iter().filter(|one| one.protocol == "email");
    if !mails().any(|one| one.endpoint == email) {
        wrong.push(format!("{email} is not subscribed"));
    }
    // What is not confirmed cannot be taken out, and lapses by itself.
    for other in mails().filter(|one| one.endpoint != email && one.arn.is_some()) {
        wrong.push(format!("{} is subscribed as well and will be taken out", other.endpoint));
    }
    if wrong.is_empty() { Verdict::Fine } else { Verdict::Repair(wrong.join("; ")) }
}

/// Returns the topic that nobody wants any more.
pub(super) fn surplus_topic(inventory: &Inventory) -> Vec<Surplus> {
    inventory.topic.iter().map(|topic| (topic.arn.clone(), OFF.to_owned())).collect()
}

pub(super) fn alarms(stack: &Stack, inventory: &Inventory) -> Verdict {
    let wanted = alarm::wanted(stack);
    let size = || stack.alarms.thresholds.as_ref().map(alarm::summary).unwrap_or_default();
    if inventory.alarms.is_empty() {
        return Verdict::Create(size());
    }
    let wrong: Vec<String> = wanted.iter().filter_map(|want| flaw(want, inventory)).collect();
    if wrong.is_empty() { Verdict::Fine } else { Verdict::Repair(wrong.join("; ")) }
}

/// Returns the alarms that nobody wants any more.
pub(super) fn surplus_alarms(inventory: &Inventory) -> Vec<Surplus> {
    inventory.alarms.iter().map(|alarm| (alarm.name.clone(), OFF.to_owned())).collect()
}

const OFF: &str = "alarms are off in the stack file";

/// Returns what is wrong with the alarm that is wanted, if anything.
pub fn flaw(want: &Want, inventory: &Inventory) -> Option<String> {
    let Some(have) = inventory.alarms.iter().find(|have| have.name == want.name) else {
        return Some(format!("{} is missing", want.name));
    };
    difference(want, have, inventory).map(|what| format!("{} {what}", want.name))
}

fn difference(want: &Want, have: &Alarm, inventory: &Inventory) -> Option<String> {
    let topic = inventory.topic.as_ref().map(|topic| &topic.arn);
    if topic.is_none_or(|topic| have.actions != [topic.as_str()]) {
        return Some("does not tell the topic".to_owned());
    }
    if !have.actions_enabled {
        return Some("tells nobody, as its actions are off".to_owned());
    }
    let mut with_threshold = have.rule.clone();
    with_threshold.threshold = want.rule.threshold;
    if with_threshold != want.rule {
        return Some("watches something else".to_owned());
    }
    // Both were written from whole numbers.
    ((have.rule.threshold - want.rule.threshold).abs() > 0.5)
        .then(|| format!("has the threshold {}, not {}", have.rule.threshold, want.rule.threshold))
}
