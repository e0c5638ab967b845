//! The alarms on the database: what each watches, and when it goes off.

use serde::Serialize;

use crate::class;
use crate::resource::Resource;
use crate::spec::{Stack, Thresholds};

/// The period of every alarm: RDS tells CloudWatch once a minute.
const PERIOD_SECONDS: u32 = 300;
const GIB: u64 = 1 << 30;

/// What an alarm watches and when it goes off, in CloudWatch's words.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rule {
    /// The metric of RDS: `CPUUtilization`.
    pub metric: String,
    /// `Average`, `Minimum`, ..
    pub statistic: String,
    /// `GreaterThanThreshold` or `LessThanThreshold`.
    pub comparison: String,
    /// In the metric's own unit.
    pub threshold: f64,
    /// How long a period is.
    pub period_seconds: u32,
    /// For how many periods it must be so.
    pub periods: u32,
}

/// An alarm as it is meant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Want {
    /// Its name, fixed by the stack's.
    pub name: String,
    /// What it watches and when it goes off.
    pub rule: Rule,
    /// For whoever gets the mail: what it means, and what to look at.
    pub description: String,
}

/// The names of the alarms, without what the stack puts before them.
const KINDS: [&str; 4] = ["cpu", "free-storage", "connections", "freeable-memory"];

/// Returns what the names of all alarms begin with.
pub fn name_prefix(stack: &Stack) -> String {
    format!("{}-", stack.name_of(Resource::Database.tag()))
}

/// Returns the names that the stack's alarms have, whether it has any or not.
pub fn names(stack: &Stack) -> [String; 4] {
    let prefix = name_prefix(stack);
    KINDS.map(|kind| format!("{prefix}{kind}"))
}

/// Returns the alarms that the stack has: four, or none.
pub fn wanted(stack: &Stack) -> Vec<Want> {
    let Some(thresholds) = stack.alarms.thresholds.filter(|_| stack.alarms.enabled) else {
        return Vec::new();
    };
    let identifier = &stack.database.identifier;
    names(stack)
        .into_iter()
        .zip(rules(thresholds))
        .map(|(name, (rule, meaning))| Want {
            name,
            rule,
            description: format!("Drawbridge stack {}, database {identifier}: {meaning}", stack.name),
        })
        .collect()
}

fn rules(limits: Thresholds) -> [(Rule, String); 4] {
    let rule = |metric: &str, statistic: &str, comparison: &str, threshold: f64, periods| Rule {
        metric: metric.to_owned(),
        statistic: statistic.to_owned(),
        comparison: comparison.to_owned(),
        threshold,
        period_seconds: PERIOD_SECONDS,
        periods,
    };
    let (above, below) = ("GreaterThanThreshold", "LessThanThreshold");
    let (storage, memory) = (limits.free_storage_bytes, limits.freeable_memory_bytes);
    let (percent, connections) = (limits.cpu_percent, limits.connections);
    [
        (
            rule("CPUUtilization", "Average", above, f64::from(percent), 3),
            format!("the CPU is above {percent} % for 15 minutes"),
        ),
        (
            rule("FreeStorageSpace", "Minimum", below, bytes(storage), 1),
            format!("less than {} MiB of storage are free; at 0 the database stops", storage >> 20),
        ),
        (
            rule("DatabaseConnections", "Average", above, f64::from(connections), 1),
            format!("more than {connections} connections are open"),
        ),
        (
            rule("FreeableMemory", "Average", below, bytes(memory), 3),
            format!("less than {} MiB of memory are free for 15 minutes", memory >> 20),
        ),
    ]
}

/// Returns how the alarms read that `up` would make: `CPU 80 %, ..`.
pub fn summary(limits: &Thresholds) -> String {
    format!(
        "CPU {} %, free storage {} MiB, {} connections, freeable memory {} MiB",
        limits.cpu_percent,
        limits.free_storage_bytes >> 20,
        limits.connections,
        limits.freeable_memory_bytes >> 20
    )
}

/// What the stack file says in place of a threshold of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overrides {
    pub(crate) cpu_percent: Option<u32>,
    pub(crate) free_storage_gib: Option<u32>,
    pub(crate) connections: Option<u32>,
    pub(crate) freeable_memory_mib: Option<u32>,
}

/// Returns the thresholds for a class with so much storage; or the keys that must be written, as the class's memory is
/// not known.
pub(crate) fn thresholds(
    class: &str,
    storage_gib: u32,
    given: Overrides,
) -> Result<Thresholds, Vec<&'static str>> {
    let memory = class::memory_gib(class).map(|gib| u64::from(gib) * GIB);
    // Both with the same divisor as RDS's default parameter group for PostgreSQL, and its bound.
    let most = memory.map(|bytes| (bytes / 9_531_392).min(5000));
    let connections = given.connections.or_else(|| u32::try_from(most? * 8 / 10).ok());
    let freeable = given.freeable_memory_mib.map(|mib| u64::from(mib) << 20).or_else(|| Some(memory? / 10));
    let (Some(connections), Some(freeable_memory_bytes)) = (connections, freeable) else {
        let missing = [(connections.is_none(), "connections"), (freeable.is_none(), "freeable_memory_mib")];
        return Err(missing.into_iter().filter(|(missing, _)| *missing).map(|(_, key)| key).collect());
    };
    let tenth = u64::from(storage_gib) * GIB / 10;
    Ok(Thresholds {
        cpu_percent: given.cpu_percent.unwrap_or(80),
        free_storage_bytes: given
            .free_storage_gib
            .map_or_else(|| tenth.max(2 * GIB), |gib| u64::from(gib) * GIB),
        connections,
        freeable_memory_bytes,
    })
}

#[expect(clippy::cast_precision_loss, reason = "no storage of RDS has 2^53 bytes")]
fn bytes(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_follow_the_class_and_the_storage() {
        let small = thresholds("db.t4g.small", 20, Overrides::default()).unwrap();
        // 2 GiB / 9531392 = 225 connections at the most; a tenth of 20 GiB is 2 GiB.
        assert_eq!((small.cpu_percent, small.connections), (80, 180));
        assert_eq!((small.free_storage_bytes, small.freeable_memory_bytes), (2 * GIB, 2 * GIB / 10));
        let large = thresholds("db.r7g.4xlarge", 500, Overrides::default()).unwrap();
        assert_eq!((large.connections, large.free_storage_bytes), (4000, 50 * GIB));
    }

    #[test]
    fn what_the_file_says_wins() {
        let given = Overrides {
            cpu_percent: Some(60),
            free_storage_gib: Some(5),
            connections: Some(70),
            freeable_memory_mib: Some(300),
        };
        let unknown = thresholds("db.z9.gigantic", 20, given).unwrap();
        let want = Thresholds {
            cpu_percent: 60,
            free_storage_bytes: 5 * GIB,
            connections: 70,
            freeable_memory_bytes: 300 << 20,
        };
        assert_eq!(unknown, want);
    }

    #[test]
    fn a_class_of_unknown_memory_needs_the_two_that_depend_on_it() {
        let needed = thresholds("db.z9.gigantic", 20, Overrides::default()).unwrap_err();
        assert_eq!(needed, ["connections", "freeable_memory_mib"]);
        let given = Overrides { connections: Some(9), ..Overrides::default() };
        assert_eq!(thresholds("db.z9.gigantic", 20, given).unwrap_err(), ["freeable_memory_mib"]);
    }
}
