//! What a run is begun with.

use serde_json::json;

use super::super::run::{RunOptions, Withheld};
use super::Member;
use super::stored::Stored;

/// Returns the rows of a new run, as JSON.
pub(super) fn rows(members: &[Member], options: &RunOptions) -> String {
    let mut wave_of: Vec<Option<usize>> = vec![options.waves.is_empty().then_some(0); members.len()];
    for (number, wave) in options.waves.iter().enumerate().rev() {
        for place in &wave.places {
            if let Some(one) = wave_of.get_mut(*place) {
                *one = Some(number);
            }
        }
    }
    let rows: Vec<_> = members
        .iter()
        .zip(wave_of)
        .enumerate()
        .map(|(place, (member, wave))| {
            json!({
                "tenant": member.login.database,
                "place": place,
                "wave": wave.unwrap_or_default(),
                "migrations": set_name(member),
                "state": if wave.is_some() { "todo" } else { "held" },
                "report": wave.is_none().then(|| Stored::withheld(Withheld::NoWave)),
            })
        })
        .collect();
    json!(rows).to_string()
}

/// Returns every file of every set, as they were read.
pub(super) fn fingerprint(members: &[Member]) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut known: Vec<&str> = Vec::new();
    for member in members {
        if known.contains(&set_name(member)) {
            continue;
        }
        known.push(set_name(member));
        lines.extend(
            member
                .set
                .migrations
                .iter()
                .map(|file| format!("{}/{file} {}", set_name(member), file.checksum())),
        );
    }
    lines.sort();
    lines.join("\n")
}

pub(super) fn set_name(member: &Member) -> &str {
    member.set.name.as_deref().unwrap_or_default()
}
