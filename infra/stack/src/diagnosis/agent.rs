//! The agent, and the clock by which it tries again.
//!
//! An agent does not poll. Refused (no role, no policy) it sleeps for 25 to 30 minutes; after any other failure for 5,
//! then about 10, 20, 40 and 60 minutes. Source: amazon-ssm-agent, the identity provider's and the registrar's backoff.

use jiff::{SignedDuration, Timestamp};

use super::facts::{Fact, Facts, Listing, SessionTry, clock, moment, parse, span};
use super::link::{Diagnosis, Judgement, Verdict};
use crate::finding::{Cause, Finding};
use crate::inventory::{Agent, Instance, Inventory};

/// A healthy agent registers within this time after its boot.
const BOOTS_WITHIN: SignedDuration = SignedDuration::from_secs(150);
/// The longest sleep after a refusal.
const REFUSED: SignedDuration = SignedDuration::from_mins(30);
/// The sleeps after other failures; the last goes on for ever.
const FAILED_MINUTES: [i64; 5] = [5, 10, 20, 40, 60];

/// Returns when an agent that failed at its boot tries again at the latest.
///
/// A refusal and other failures have clocks of their own. Unless it is known to have been a refusal, the later of the
/// two is meant.
pub fn next_try(boot: Timestamp, was_refused: bool, now: Timestamp) -> Timestamp {
    let mut refused = boot + REFUSED;
    while refused <= now {
        refused += REFUSED;
    }
    if was_refused {
        return refused;
    }
    let mut failed = boot;
    let mut sleeps = FAILED_MINUTES.into_iter();
    let mut sleep = SignedDuration::ZERO;
    while failed <= now {
        sleep = sleeps.next().map_or(sleep, SignedDuration::from_mins);
        failed += sleep;
    }
    refused.max(failed)
}

/// Tells whether the agent sleeps: nothing is in its way, it had the time to register, and did not.
///
/// # Panics
/// Never; an unknown boot is not taken for an old one.
pub fn is_asleep(facts: &Facts, before: &Diagnosis) -> bool {
    let in_order = before.links.iter().all(|link| link.verdict == Verdict::Pass);
    let is_running = facts.inventory.bastion().is_some_and(|bastion| bastion.state == "running");
    let is_online = facts.inventory.agent.as_ref().is_some_and(|agent| agent.ping_status == "Online");
    let had_time = refused_at_boot(facts).is_some() || facts.uptime().is_some_and(|up| up > BOOTS_WITHIN);
    in_order && is_running && !is_online && had_time && !facts.unseen.contains_key(&Listing::Agent)
}

/// Returns what came after the boot and is needed at the boot: the agent was refused then, for certain.
fn refused_at_boot(facts: &Facts) -> Option<String> {
    let boot = facts.booted_at()?;
    let Inventory { role, profile, .. } = &facts.inventory;
    let role = role.as_ref().and_then(|role| role.created_at.as_deref());
    let profile = profile.as_ref().and_then(|profile| profile.created_at.as_deref());
    let attached = match &facts.attached_at {
        Fact::Known(time) => time.as_deref(),
        Fact::Unknown(_) | Fact::Unasked => None,
    };
    // EC2 notes the attachment at a launch a moment after the launch.
    let at_launch = SignedDuration::from_secs(5);
    let times = [
        ("the role was made", role, SignedDuration::ZERO),
        ("the profile was made", profile, SignedDuration::ZERO),
        ("the profile was attached", attached, at_launch),
    ];
    times.into_iter().find_map(|(what, time, margin)| {
        let time = parse(time).filter(|time| *time > boot + margin)?;
        Some(format!("{what} {}, after the boot {}", moment(time), moment(boot)))
    })
}

pub(super) fn agent(facts: &Facts, before: &Diagnosis) -> Judgement {
    facts.with_running(&[Listing::Agent], |inventory, bastion| match &inventory.agent {
        Some(agent) if agent.ping_status == "Online" => online(facts, bastion, agent),
        Some(agent) => {
            let sentence = format!("the agent of bastion `{}` has lost its connection", bastion.id);
            absent(facts, before, bastion, sentence, format!("its ping status is {}", agent.ping_status))
        }
        None => {
            let sentence =
                format!("the agent of bastion `{}` has not registered with Systems Manager", bastion.id);
            absent(facts, before, bastion, sentence, "Systems Manager does not list it".to_owned())
        }
    })
}

fn online(facts: &Facts, bastion: &Instance, agent: &Agent) -> Judgement {
    let version = agent.version.as_deref().unwrap_or("of unknown version");
    let seen = |connection: &str| format!("Online, version {version}, {connection}");
    match (&facts.connection, &facts.session) {
        (Fact::Known(word), _) if word == "connected" => Judgement::Pass(seen(word)),
        (_, Fact::Known(SessionTry::Started)) => Judgement::Pass(seen("it takes a session")),
        (Fact::Known(word), _) => Finding::mended_by(
            "cargo xtask bastion reboot",
            Cause::AgentAbsent,
            format!("the agent of bastion `{}` is online but takes no sessions", bastion.id),
            seen(&format!("connection status `{word}`; normal for some tens of seconds after a boot")),
        )
        .into(),
        (Fact::Unknown(why), _) => Judgement::Unknown(why.clone()),
        (Fact::Unasked, _) => Judgement::Unknown("its connection status was not asked".to_owned()),
    }
}

fn absent(
    facts: &Facts,
    before: &Diagnosis,
    bastion: &Instance,
    sentence: String,
    evidence: String,
) -> Judgement {
    let (Some(boot), Some(uptime)) = (facts.booted_at(), facts.uptime()) else {
        let evidence = format!("{evidence}; when it booted is not known");
        return Finding::mended_by("cargo xtask bastion reboot", Cause::AgentAbsent, sentence, evidence)
            .into();
    };
    let since = format!("{evidence}; it booted {} ago", span(uptime));
    let is_broken = before.links.iter().any(|link| link.verdict == Verdict::Fail);
    if is_broken {
        let evidence = format!("{since}; the broken links above are reason enough");
        return Finding::new(Cause::AgentAbsent, sentence, evidence).into();
    }
    let reason = refused_at_boot(facts);
    let next = clock(next_try(boot, reason.is_some(), facts.now));
    if is_asleep(facts, before) {
        let sentence = format!(
            "the agent of bastion `{}` sleeps, as it failed when it booted; it tries again about {next}",
            bastion.id
        );
        let why = reason.unwrap_or_else(|| "all that it needs is there now, and was not then".to_owned());
        let evidence = format!("{since}; {why}; `cargo xtask bastion reboot` makes it try now");
        return Finding::mended_by("cargo xtask bastion reboot", Cause::AgentAsleep, sentence, evidence)
            .into();
    }
    if uptime <= BOOTS_WITHIN {
        let evidence = format!("{since}; agents take up to two minutes");
        return Finding::new(Cause::Booting, sentence, evidence).into();
    }
    let evidence = format!("{since}; it tries again about {next}");
    Finding::mended_by("cargo xtask bastion reboot", Cause::AgentAbsent, sentence, evidence).into()
}

/// What a console shows of a machine that will never be of use.
const SIGNS: [&str; 5] = [
    "Kernel panic",
    "Out of memory: Killed process",
    "Failed to start amazon-ssm-agent",
    "Cannot open root device",
    "You are in emergency mode",
];

pub(super) fn console(facts: &Facts) -> Judgement {
    facts.with_running(&[], |inventory, bastion| {
        let is_online = inventory.agent.as_ref().is_some_and(|agent| agent.ping_status == "Online");
        match &facts.console {
            Fact::Known(text) => {
                match text.lines().rev().find(|line| SIGNS.iter().any(|sign| line.contains(sign))) {
                    Some(line) if !is_online => Finding::mended_by(
                        "cargo xtask bastion reboot",
                        Cause::BootFailed,
                        format!("the console of bastion `{}` shows that it did not boot", bastion.id),
                        shown(line),
                    )
                    .into(),
                    Some(_) | None => {
                        Judgement::Pass(match text.lines().rev().find(|line| !line.trim().is_empty()) {
                            Some(line) => format!("no sign of trouble; it ends with {}", shown(line)),
                            None => "EC2 has kept nothing of it, as is usual in the first minutes".to_owned(),
                        })
                    }
                }
            }
            Fact::Unknown(why) => Judgement::Unknown(why.clone()),
            Fact::Unasked => Judgement::Skipped("it was not asked for".to_owned()),
        }
    })
}

/// Returns a line of somebody else's as it may be shown.
fn shown(line: &str) -> String {
    let line: String = line.trim().chars().take(120).collect();
    format!("`{}`", line.escape_debug())
}
