//! Whether the server's disk has room, before anything is written to it: a full one stops every tenant.

use db::disk::DiskUsage;
use stack::Inventory;

use crate::bridge;
use crate::context::Context;
use crate::db_task::DbTask;
use crate::failure::{Exit, Failure};

/// In percent.
const TIGHT: u64 = 85;
const FULL: u64 = 95;
const GIB: u64 = 1 << 30;

/// What is known of the room on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is some, by all that is known.
    Enough,
    /// It is not known, and why.
    Unknown(String),
    /// Little is left.
    Tight(String),
    /// Next to nothing is left.
    Full(String),
}

/// Returns what the usage means for a disk of that size in GiB, and in that state in RDS's words.
///
/// What is used is a lower bound: logs and temporary files are not in it, nor databases that may not be looked at. So
/// "full" and "tight" are certain, and "enough" is not if there are any of those.
pub fn judge(usage: DiskUsage, storage_gib: u32, status: &str) -> Room {
    let all = u64::from(storage_gib) * GIB;
    if status == "storage-full" {
        return Room::Full("RDS says `storage-full`".to_owned());
    }
    if all == 0 {
        return Room::Unknown("RDS does not say how large it is".to_owned());
    }
    let percent = usage.bytes.saturating_mul(100) / all;
    // In tenths: a float's rounding would be one more thing to explain.
    let tenths = usage.bytes.saturating_mul(10) / GIB;
    let text = format!(
        "databases and write-ahead log take at least {}.{} of {storage_gib} GiB ({percent} %)",
        tenths / 10,
        tenths % 10
    );
    match percent {
        FULL.. => Room::Full(text),
        TIGHT.. => Room::Tight(text),
        _ if usage.unknown > 0 => {
            Room::Unknown(format!("{text}, without {} that may not be looked at", usage.unknown))
        }
        _ => Room::Enough,
    }
}

/// What is about to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Migrations.
    Migrations,
    /// Databases of tenants.
    Databases,
}

/// Checks the room on the server's disk, and warns if it is nearly full.
///
/// # Errors
/// Exit 1 if the disk is full, unless `allow_full` says that the user knows. If the check fails, that is a note.
pub async fn check(
    task: DbTask<'_>,
    inventory: &Inventory,
    work: Work,
    allow_full: AllowFull,
) -> Result<(), Failure> {
    let DbTask { context, cloud, server } = task;
    let Some(database) = &inventory.database else { return Ok(()) };
    let usage = async {
        let master = bridge::master(context, cloud).await?;
        Ok::<_, Failure>(db::disk::find_usage(server, &master).await?)
    };
    let room = match Box::pin(usage).await {
        Ok(usage) => judge(usage, database.storage_gib, &database.status),
        Err(failure) => Room::Unknown(failure.chain()),
    };
    decide(context, room, work, allow_full)
}

/// Whether a full disk is no reason to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowFull {
    /// It is one.
    No,
    /// The user has said that it is known.
    Yes,
}

impl From<bool> for AllowFull {
    fn from(is_known: bool) -> AllowFull {
        if is_known { AllowFull::Yes } else { AllowFull::No }
    }
}

/// Tells what is known, and whether to go on.
///
/// # Errors
/// As [`check`].
pub fn decide(context: &Context, room: Room, work: Work, allow_full: AllowFull) -> Result<(), Failure> {
    match room {
        Room::Enough => {}
        Room::Unknown(why) => context.events.note(format!("room on the server's disk: unknown: {why}")),
        Room::Tight(why) => context.events.warn(format!("the server's disk is nearly full: {why}")),
        Room::Full(why) if allow_full == AllowFull::Yes => {
            context.events.warn(format!("the server's disk is full: {why}"));
        }
        Room::Full(why) => {
            let (nothing, known) = match work {
                Work::Migrations => ("migrated", "for migrations that make room"),
                Work::Databases => ("created", "to mend what is there already"),
            };
            let error =
                anyhow::Error::msg(why).context(format!("the server's disk is full; nothing was {nothing}"));
            return Err(Failure::new(Exit::Failure, error)
                .hint("give the database more storage at RDS, and raise `storage_gib` under `[database]`")
                .hint(format!("add `--allow-full-disk` {known}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(percent: u64) -> DiskUsage {
        DiskUsage { bytes: percent * 20 * GIB / 100, unknown: 0 }
    }

    #[test]
    fn a_disk_is_tight_from_85_and_full_from_95_percent_on() {
        for (percent, room) in
            [(0, "enough"), (84, "enough"), (85, "tight"), (94, "tight"), (95, "full"), (120, "full")]
        {
            let is = match judge(used(percent), 20, "available") {
                Room::Enough => "enough",
                Room::Unknown(_) => "unknown",
                Room::Tight(_) => "tight",
                Room::Full(_) => "full",
            };
            assert_eq!(is, room, "{percent} %");
        }
        let Room::Tight(text) = judge(used(90), 20, "available") else { panic!() };
        assert_eq!(text, "databases and write-ahead log take at least 18.0 of 20 GiB (90 %)");
    }

    #[test]
    fn what_may_not_be_looked_at_is_unknown_unless_the_rest_fills_the_disk() {
        let hidden = |percent| DiskUsage { unknown: 2, ..used(percent) };
        let Room::Unknown(why) = judge(hidden(10), 20, "available") else { panic!() };
        assert!(why.ends_with(", without 2 that may not be looked at"), "{why}");
        assert!(matches!(judge(hidden(96), 20, "available"), Room::Full(_)));
        assert!(matches!(judge(used(1), 0, "available"), Room::Unknown(_)));
    }

    #[test]
    fn what_rds_says_of_a_full_disk_is_believed() {
        assert!(matches!(judge(used(1), 20, "storage-full"), Room::Full(_)));
        assert!(matches!(judge(used(1), 0, "storage-full"), Room::Full(_)));
    }
}
