//! What processes took, from `/proc` (proc(5)).

use std::fs;
use std::time::Duration;

/// Returns user and system time of a process.
pub(crate) fn own_cpu(process: u32) -> Duration {
    read(process).map_or(Duration::ZERO, |stat| stat.own)
}

/// Returns user and system time of a process, of its children, and of those that have ended.
pub(crate) fn family_cpu(process: u32) -> Duration {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let children = ids.filter_map(read).filter(|stat| stat.parent == process).map(|stat| stat.own);
    let own = read(process).map_or(Duration::ZERO, |stat| stat.own + stat.gone);
    own + children.sum::<Duration>()
}

/// Returns the most memory that a process ever had.
pub(crate) fn peak_mib(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("");
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
}

struct Stat {
    parent: u32,
    own: Duration,
    /// Of children that were waited for.
    gone: Duration,
}

fn read(process: u32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name may hold anything; fields are counted after it, from the third on, in hundredths of a second.
    let fields: Vec<u64> =
        stat.rsplit(')').next()?.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    let time = |at: usize| {
        Duration::from_millis(10 * (fields.get(at).unwrap_or(&0) + fields.get(at + 1).unwrap_or(&0)))
    };
    Some(Stat { parent: u32::try_from(*fields.get(1)?).ok()?, own: time(11), gone: time(13) })
}
