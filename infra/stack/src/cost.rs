//! What a stack costs, from a dated table of list prices. Traffic, snapshots and taxes are not in it.

mod price;

use std::collections::BTreeSet;

use serde::Serialize;

pub use self::price::{AS_OF, Amount, HourlyPrice, MonthlyPrice, PRICED_REGION};
use crate::inventory::Inventory;
use crate::spec::Stack;

/// What a month costs, thing by thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bill {
    /// The things that cost something, or nothing for a reason worth telling.
    pub items: Vec<Item>,
    /// The month of the price table: `2026-11`.
    pub as_of: &'static str,
    /// The region whose prices these are, which is not always the stack's.
    pub priced_region: &'static str,
    /// What to know about the figures as a whole.
    pub note: Option<String>,
}

/// One thing on the bill. A price that the table does not know is `None`, never zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What it is: `bastion t3.micro`.
    pub name: String,
    /// A month of what it does now; of a stack that is not up yet, as while the bastion runs.
    pub monthly_now: Option<MonthlyPrice>,
    /// A month while the bastion runs.
    pub monthly_running: Option<MonthlyPrice>,
    /// A month while the bastion is stopped.
    pub monthly_stopped: Option<MonthlyPrice>,
    /// How the figure comes about.
    pub note: String,
}

/// A sum, and whether it lacks something. It reads as `$36.74`, or `at least $13.38`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Total {
    /// The sum of what is known.
    pub known: MonthlyPrice,
    /// Every item's price is known.
    pub complete: bool,
}

/// Returns what the stack costs a month once it is up.
pub fn of_stack(stack: &Stack) -> Bill {
    let owners: BTreeSet<&str> = stack.tenants.iter().map(|tenant| tenant.owner.as_str()).collect();
    let mut items = database(&stack.database.class, stack.database.storage_gib, stack.database.multi_az);
    items.extend(bastion(&stack.bastion.instance_type, stack.bastion.volume_gib));
    items.push(secrets(1 + owners.len()));
    items.extend(alarms(if stack.alarms.enabled { ALARMS } else { 0 }));
    items.extend(logs(&stack.database.logs, stack.database.monitoring_interval));
    bill(stack, items)
}

/// Returns what a month costs of what exists now.
pub fn of_inventory(stack: &Stack, inventory: &Inventory) -> Bill {
    let mut items = Vec::new();
    if let Some(have) = &inventory.database {
        let mut lines = database(&have.class, have.storage_gib, stack.database.multi_az);
        if have.status == "stopped" {
            lines[0].monthly_now = Some(MonthlyPrice::ZERO);
            lines[0].monthly_running = Some(MonthlyPrice::ZERO);
            lines[0].monthly_stopped = Some(MonthlyPrice::ZERO);
            lines[0].note = match &have.restarts_at {
                Some(time) => format!("stopped; RDS starts it again by itself at {time}"),
                None => "stopped; RDS starts it again by itself after seven days".to_owned(),
            };
        }
        items.extend(lines);
    }
    let logging = inventory.database.as_ref().map(|have| logs(&have.logs, have.monitoring_interval));
    for instance in &inventory.instances {
        let volume = instance.volume_gib.unwrap_or(stack.bastion.volume_gib);
        let mut lines = bastion(&instance.instance_type, volume);
        if matches!(instance.state.as_str(), "stopped" | "stopping" | "shutting-down") {
            lines.iter_mut().for_each(|line| line.monthly_now = line.monthly_stopped);
        }
        items.extend(lines);
    }
    let secrets_kept =
        inventory.secrets.iter().filter(|secret| secret.tagged && !secret.scheduled_for_deletion);
    match secrets_kept.count() {
        0 => (),
        count => items.push(secrets(count)),
    }
    items.extend(alarms(u32::try_from(inventory.alarms.len()).unwrap_or(u32::MAX)));
    items.extend(logging.flatten());
    bill(stack, items)
}

/// Returns what a running bastion costs an hour with its address and volume, if the type's price is known.
pub fn bastion_hourly(instance_type: &str, volume_gib: u32) -> Option<HourlyPrice> {
    let server = price::instance(instance_type)?;
    Some(server + price::PUBLIC_ADDRESS + price::VOLUME_GIB.times(volume_gib).an_hour())
}

impl Bill {
    /// Returns the sum of a month of what runs now.
    pub fn now(&self) -> Total {
        self.total(|item| item.monthly_now)
    }

    /// Returns the sum of a month while the bastion runs.
    pub fn running(&self) -> Total {
        self.total(|item| item.monthly_running)
    }

    /// Returns the sum of a month while the bastion is stopped.
    pub fn stopped(&self) -> Total {
        self.total(|item| item.monthly_stopped)
    }

    fn total(&self, price: impl Fn(&Item) -> Option<MonthlyPrice>) -> Total {
        let known = self.items.iter().filter_map(&price).sum();
        Total { known, complete: self.items.iter().all(|item| price(item).is_some()) }
    }
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Total { known, complete } = self;
        if *complete { write!(f, "{known}") } else { write!(f, "at least {known}") }
    }
}

/// Returns how a plan changes what a month costs, in words: `$27.90 a month now, $39.14 then: $11.24 more`.
pub fn difference(now: Total, then: Total) -> String {
    let change = if then.known > now.known {
        format!("{} more", then.known.less(now.known))
    } else if then.known < now.known {
        format!("{} less", now.known.less(then.known))
    } else {
        "no more, no less".to_owned()
    };
    // A price that is not known may be anything.
    let known = if now.complete && then.complete { "" } else { ", as far as prices are known" };
    format!("{now} a month now, {then} then: {change}{known}")
}

fn bill(stack: &Stack, items: Vec<Item>) -> Bill {
    let note = (stack.region != PRICED_REGION)
        .then(|| format!("prices of {PRICED_REGION}; those of {} differ", stack.region));
    Bill { items, as_of: AS_OF, priced_region: PRICED_REGION, note }
}

fn database(class: &str, storage_gib: u32, multi_az: bool) -> Vec<Item> {
    let copies = if multi_az { 2 } else { 1 };
    let server = price::database(class).map(|hourly| hourly.a_month().times(copies));
    let storage = price::DATABASE_GIB.times(storage_gib).times(copies);
    let standby = if multi_az { ", twice for the standby" } else { "" };
    let note = match price::database(class) {
        Some(hourly) => format!("{hourly} an hour{standby}"),
        None => unlisted(class),
    };
    vec![
        constant(format!("database {class}"), server, note),
        constant(
            format!("database storage {storage_gib} GiB"),
            Some(storage),
            format!("gp3{standby}; backups up to its size are free"),
        ),
    ]
}

fn bastion(instance_type: &str, volume_gib: u32) -> [Item; 3] {
    let hourly = price::instance(instance_type);
    let note =
        hourly.map_or_else(|| unlisted(instance_type), |hourly| format!("{hourly} an hour while it runs"));
    let address = price::PUBLIC_ADDRESS;
    [
        Item {
            name: format!("bastion {instance_type}"),
            monthly_now: hourly.map(HourlyPrice::a_month),
            monthly_running: hourly.map(HourlyPrice::a_month),
            monthly_stopped: Some(MonthlyPrice::ZERO),
            note,
        },
        Item {
            name: "bastion public IPv4 address".to_owned(),
            monthly_now: Some(address.a_month()),
            monthly_running: Some(address.a_month()),
            monthly_stopped: Some(MonthlyPrice::ZERO),
            note: format!("{address} an hour; released on stop"),
        },
        constant(
            format!("bastion volume {volume_gib} GiB"),
            Some(price::VOLUME_GIB.times(volume_gib)),
            "gp3".to_owned(),
        ),
    ]
}

fn secrets(count: usize) -> Item {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let name = if count == 1 { "1 secret".to_owned() } else { format!("{count} secrets") };
    constant(name, Some(price::SECRET.times(count)), format!("{} each", price::SECRET))
}

const ALARMS: u32 = 4;

fn alarms(count: u32) -> Option<Item> {
    (count > 0).then(|| {
        let note = format!("{} each, an account's first ten are free", price::ALARM);
        let charged = price::ALARM.times(count.saturating_sub(price::FREE_ALARMS));
        constant(format!("{count} alarms"), Some(charged), note)
    })
}

/// What CloudWatch keeps is billed by volume, which nobody knows before: it is told, and nothing is counted for it.
fn logs(logs: &[String], monitoring_interval: u32) -> Option<Item> {
    let mut what = Vec::new();
    if !logs.is_empty() {
        what.push(format!("logs {}", logs.join(", ")));
    }
    if monitoring_interval > 0 {
        what.push(format!("enhanced monitoring every {monitoring_interval} s"));
    }
    let note =
        format!("{} a GB, {} a GB and month; the first 5 GB are free", price::LOG_GB, price::LOG_GB_KEPT);
    (!what.is_empty()).then(|| constant(what.join(" and "), Some(MonthlyPrice::ZERO), note))
}

fn constant(name: String, monthly: Option<MonthlyPrice>, note: String) -> Item {
    Item { name, monthly_now: monthly, monthly_running: monthly, monthly_stopped: monthly, note }
}

fn unlisted(kind: &str) -> String {
    format!("the price of {kind} is not in the table of {AS_OF}")
}
