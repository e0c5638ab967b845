//! Sessions: whether whoever asks may start one, and whether the bastion takes it.

use jiff::SignedDuration;

use super::facts::{Decision, Fact, Facts, SessionTry, span};
use super::link::Judgement;
use crate::finding::{Cause, Finding};
use crate::spec::Stack;

/// How long after a boot a refusal says nothing: users of other clients saw it for tens of seconds after the agent was online.
const JUST_BOOTED: SignedDuration = SignedDuration::from_mins(3);
/// The document of a tunnel's sessions.
const DOCUMENT: &str = "AWS-StartPortForwardingSessionToRemoteHost";

pub(super) fn permission(stack: &Stack, facts: &Facts) -> Judgement {
    let simulated = match &facts.simulation {
        Fact::Known(Decision { word }) => format!("IAM's simulation says {word}"),
        Fact::Unknown(why) => format!("IAM's simulation is not to be had ({why})"),
        Fact::Unasked => "IAM's simulation was not asked".to_owned(),
    };
    let denied = |evidence: String| {
        let bastion = facts.inventory.bastion().map_or("*", |bastion| &bastion.id);
        let (account, region) = (&facts.caller.account, &stack.region);
        let command = format!(
            "have `ssm:StartSession` allowed to {} on arn:aws:ec2:{region}:{account}:instance/{bastion} and on \
             arn:aws:ssm:{region}::document/{DOCUMENT}",
            facts.caller.arn
        );
        let sentence = format!("you may not start a session with bastion `{bastion}`");
        Finding::mended_by(command, Cause::SessionDenied, sentence, evidence).into()
    };
    match (&facts.session, &facts.simulation) {
        // What happened counts, not what was foretold.
        (Fact::Known(SessionTry::Started), _) => {
            Judgement::Pass(format!("a session was started; {simulated}"))
        }
        (Fact::Known(SessionTry::NotConnected), _) => {
            Judgement::Pass(format!("a session was refused for the agent's sake alone; {simulated}"))
        }
        (Fact::Known(SessionTry::Denied(words)), _) => denied(format!("{words}; {simulated}")),
        (_, Fact::Known(Decision { word })) if word == "allowed" => Judgement::Pass(simulated),
        (_, Fact::Known(_)) => denied(simulated),
        (_, Fact::Unknown(_) | Fact::Unasked) => Judgement::Unknown(simulated),
    }
}

pub(super) fn session(facts: &Facts) -> Judgement {
    facts.with_running(&[], |inventory, bastion| {
        let id = &bastion.id;
        let is_online = inventory.agent.as_ref().is_some_and(|agent| agent.ping_status == "Online");
        let refused = |words: String| {
            let sentence = format!("bastion `{id}` takes no session");
            Finding::mended_by("cargo xtask bastion reboot", Cause::SessionRefused, sentence, words).into()
        };
        match &facts.session {
            Fact::Known(SessionTry::Started) => {
                Judgement::Pass(format!("`{id}` took one, which was ended again"))
            }
            Fact::Known(SessionTry::NotConnected) if is_online => {
                let words = "Systems Manager answers TargetNotConnected though the agent is online";
                match facts.uptime().filter(|uptime| *uptime < JUST_BOOTED) {
                    Some(uptime) => {
                        let words = format!("{words}; the bastion booted {} ago", span(uptime));
                        let sentence = format!("bastion `{id}` takes no session yet");
                        let command = "cargo xtask doctor, in a minute";
                        Finding::mended_by(command, Cause::SessionRefused, sentence, words).into()
                    }
                    None => refused(words.to_owned()),
                }
            }
            Fact::Known(SessionTry::NotConnected) => Judgement::Skipped("the agent is not there".to_owned()),
            Fact::Known(SessionTry::Denied(_)) => Judgement::Skipped("you may not start one".to_owned()),
            Fact::Known(SessionTry::Refused(words)) => refused(words.clone()),
            Fact::Unknown(why) => Judgement::Unknown(why.clone()),
            Fact::Unasked => Judgement::Skipped("none was tried".to_owned()),
        }
    })
}
