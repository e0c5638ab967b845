//! What still runs and costs money when a task ends. It is looked at again then: what ran at the start may have stopped.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws::Cloud;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use stack::inventory::{DatabaseInstance, Instance};
use stack::spec::KEPT;
use stack::{Inventory, Stack};
use tokio::time::timeout;

/// Limit of the last look: the user waits for it at the end of a task.
const LOOK_WITHIN: Duration = Duration::from_secs(10);

/// Something that costs money as long as it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Running {
    /// It runs until somebody ends it.
    Still(String),
    /// It ends by itself, or nobody knows whether it still runs.
    Told(String),
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Running::Still(what) => write!(f, "still running: {what}"),
            Running::Told(sentence) => f.write_str(sentence),
        }
    }
}

/// When an instance stops or terminates by itself.
enum End {
    Removed(String),
    Stopped(String),
    Never,
}

impl End {
    fn of(stack: &Stack, bastion: &Instance, now: Timestamp) -> End {
        if let Some(end) = &bastion.expires_at {
            return End::Removed(end.parse().map_or_else(|_| end.clone(), |end| clock(end, now)));
        }
        let kept = bastion.keep_until.as_deref();
        // Another program launched it, perhaps without the timer.
        let (Some(idle), true, true) = (stack.bastion.idle, bastion.reads_tags, kept != Some(KEPT)) else {
            return End::Never;
        };
        let after = SignedDuration::try_from(idle).ok().and_then(|idle| now.checked_add(idle).ok());
        let until = kept.and_then(|until| until.parse::<Timestamp>().ok());
        after.map_or(End::Never, |after| {
            End::Stopped(clock(until.map_or(after, |until| until.max(after)), now))
        })
    }
}

/// Renders a time as local clock time, with the date if it is more than twelve hours away.
fn clock(time: Timestamp, now: Timestamp) -> String {
    let format = if time.duration_since(now) < SignedDuration::from_hours(12) { "%H:%M" } else { "%F %H:%M" };
    time.to_zoned(TimeZone::system()).strftime(format).to_string()
}

fn bastion(stack: &Stack, inventory: &Inventory) -> Option<(String, End)> {
    let is_running = |bastion: &&Instance| matches!(bastion.state.as_str(), "running" | "pending");
    let bastion = inventory.bastion().filter(is_running)?;
    let price = stack::cost::bastion_hourly(&bastion.instance_type, bastion.volume_gib.unwrap_or_default());
    let price = price.map_or_else(|| "price unknown".to_owned(), |price| format!("about {price} an hour"));
    Some((format!("instance {} ({price})", bastion.id), End::of(stack, bastion, Timestamp::now())))
}

const BY_HAND: &str = "`cargo xtask bastion stop` stops it, `cargo xtask down bastion` removes it";

/// Returns what the bastion costs, and how it ends, if it runs.
pub fn of_bastion(stack: &Stack, inventory: &Inventory) -> Option<Running> {
    let (what, end) = bastion(stack, inventory)?;
    Some(match end {
        End::Removed(at) => Running::Told(format!("the bastion removes itself at {at}")),
        End::Stopped(at) => {
            Running::Told(format!("the bastion stops by itself at {at}, unless somebody is connected"))
        }
        End::Never => Running::Still(format!("{what}; {BY_HAND}")),
    })
}

/// Returns what still runs and costs.
pub fn of(stack: &Stack, inventory: &Inventory) -> Vec<Running> {
    let mut running: Vec<Running> = of_bastion(stack, inventory).into_iter().collect();
    running.extend(database(inventory).map(Running::Still));
    running
}

/// Returns what runs and costs, a line each, for the result of a task that has brought it up.
pub fn lines(stack: &Stack, inventory: &Inventory) -> Vec<String> {
    let bastion = bastion(stack, inventory).map(|(what, end)| match end {
        End::Removed(at) => {
            format!("{what}; it removes itself at {at}; `cargo xtask down bastion` does so now")
        }
        End::Stopped(at) => {
            format!("{what}; it stops by itself at {at}, unless somebody is connected; {BY_HAND}")
        }
        End::Never => format!("{what}; {BY_HAND}"),
    });
    bastion.into_iter().chain(database(inventory)).collect()
}

fn database(inventory: &Inventory) -> Option<String> {
    let is_there = |database: &&DatabaseInstance| database.status != "deleting";
    let DatabaseInstance { identifier, class, status, .. } = inventory.database.as_ref().filter(is_there)?;
    Some(format!("database {identifier} ({class}, {status}); `cargo xtask down database` removes it"))
}

/// The check that a task leaves for its end.
pub type Look = Arc<dyn Fn() -> BoxFuture<'static, Option<Running>> + Send + Sync>;

/// Returns a check of the bastion that runs now, for the end of the task; `None` if none runs.
pub fn look(stack: &Arc<Stack>, cloud: &Cloud, inventory: &Inventory) -> Option<Look> {
    of_bastion(stack, inventory)?;
    let (stack, cloud, seen) = (stack.clone(), cloud.clone(), inventory.bastion()?.clone());
    Some(Arc::new(move || {
        let (stack, cloud, seen) = (stack.clone(), cloud.clone(), seen.clone());
        async move { again(&stack, &cloud, seen).await }.boxed()
    }))
}

async fn again(stack: &Stack, cloud: &Cloud, seen: Instance) -> Option<Running> {
    let found = timeout(LOOK_WITHIN, Box::pin(aws::bastion::find(cloud, &seen.id))).await;
    let found = match found {
        Ok(Ok(found)) => found?,
        Ok(Err(_)) | Err(_) => {
            let id = &seen.id;
            let text = format!("whether instance {id} still runs is not known; `cargo xtask status` tells");
            return Some(Running::Told(text));
        }
    };
    // The volume comes from another list of AWS.
    let instances = vec![Instance { volume_gib: seen.volume_gib, ..found }];
    of_bastion(stack, &Inventory { instances, ..Inventory::default() })
}

/// Returns what runs and costs now. If AWS does not answer, returns what was known before, with a note that says so.
pub async fn now(stack: &Stack, cloud: &Cloud, known: &Inventory) -> Vec<Running> {
    if of(stack, known).is_empty() {
        return Vec::new();
    }
    match timeout(LOOK_WITHIN, Box::pin(aws::observe(cloud, stack))).await {
        Ok(Ok(inventory)) => of(stack, &inventory),
        Ok(Err(_)) | Err(_) => {
            let mut running = of(stack, known);
            let text = "what still runs could not be looked at again, and is as it was last seen";
            running.push(Running::Told(format!("{text}; `cargo xtask status` tells")));
            running
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack() -> Stack {
        let text = "project = \"a\"\nenvironment = \"b\"\nregion = \"us-east-1\"\n[bastion]\nidle = \"60m\"\n\
            [[tenant]]\nname = \"one\"\n";
        stack::config::parse(text, "stack.toml").unwrap()
    }

    fn with(tune: impl FnOnce(&mut Instance)) -> Option<Running> {
        let mut instance = Instance {
            id: "i-1".to_owned(),
            state: "running".to_owned(),
            instance_type: "t3.micro".to_owned(),
            subnet: None,
            public_ip: None,
            profile_arn: None,
            groups: Vec::new(),
            launched_at: None,
            rebooted_at: None,
            volume_gib: Some(8),
            keep_until: None,
            expires_at: None,
            reads_tags: true,
        };
        tune(&mut instance);
        of_bastion(&stack(), &Inventory { instances: vec![instance], ..Inventory::default() })
    }

    #[test]
    fn a_bastion_that_stops_by_itself_is_not_said_to_go_on() {
        let told = with(|_| ()).map(|running| running.to_string()).unwrap_or_default();
        assert!(told.starts_with("the bastion stops by itself at "), "{told}");
        let kept = with(|bastion| bastion.keep_until = Some(KEPT.to_owned()));
        assert!(matches!(kept, Some(Running::Still(_))), "{kept:?}");
        let older = with(|bastion| bastion.reads_tags = false);
        assert!(matches!(older, Some(Running::Still(_))), "{older:?}");
        let ephemeral = with(|bastion| bastion.expires_at = Some("2026-11-30T14:58:00Z".to_owned()));
        assert!(matches!(ephemeral, Some(Running::Told(_))), "{ephemeral:?}");
        for state in ["stopped", "stopping", "shutting-down"] {
            assert_eq!(with(|bastion| bastion.state = state.to_owned()), None, "{state}");
        }
    }
}
