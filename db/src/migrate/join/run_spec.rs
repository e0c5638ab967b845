//! What a run is begun with: its tenants, their waves and their files.

use serde_json::json;

use super::super::options::RunOptions;
use super::super::outcome::SkipReason;
use super::super::target::Target;
use super::stored::Stored;

/// Returns the rows of a new run, as JSON.
pub(super) fn rows(targets: &[Target], options: &RunOptions) -> String {
    let mut wave_of: Vec<Option<usize>> = vec![options.waves.is_empty().then_some(0); targets.len()];
    for (number, wave) in options.waves.iter().enumerate().rev() {
        for place in &wave.places {
            if let Some(one) = wave_of.get_mut(*place) {
                *one = Some(number);
            }
        }
    }
    let rows: Vec<_> = targets
        .iter()
        .zip(wave_of)
        .enumerate()
        .map(|(place, (target, wave))| {
            json!({
                "tenant": target.login.database,
                "place": place,
                "wave": wave.unwrap_or_default(),
                "migrations": set_name(target),
                "state": if wave.is_some() { "todo" } else { "held" },
                "report": wave.is_none().then(|| Stored::withheld(SkipReason::NoWave)),
            })
        })
        .collect();
    json!(rows).to_string()
}

/// Returns every file of every set, as they were read.
pub(super) fn fingerprint(targets: &[Target]) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut known: Vec<&str> = Vec::new();
    for target in targets {
        if known.contains(&set_name(target)) {
            continue;
        }
        known.push(set_name(target));
        lines.extend(
            target
                .set
                .migrations
                .iter()
                .map(|file| format!("{}/{file} {}", set_name(target), file.checksum())),
        );
    }
    lines.sort();
    lines.join("\n")
}

pub(super) fn set_name(target: &Target) -> &str {
    target.set.name.as_deref().unwrap_or_default()
}
