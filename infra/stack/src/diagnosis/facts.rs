use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::link::Judgement;
use crate::inventory::{Instance, Inventory};
use crate::network_context::{Endpoint, NetworkAcl};

/// Something that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact<T> {
    /// It was seen.
    Known(T),
    /// It could not be seen; why.
    Unknown(String),
    /// There was nothing to look at.
    Unasked,
}

/// A list of the inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listing {
    /// VPCs with their DNS attributes.
    Vpcs,
    /// Subnets.
    Subnets,
    /// Internet gateways.
    Gateways,
    /// Route tables.
    RouteTables,
    /// Security groups.
    Groups,
    /// The master user's secret.
    Secrets,
    /// The RDS instance.
    Database,
    /// The role.
    Role,
    /// The instance profile.
    Profile,
    /// EC2 instances.
    Instances,
    /// What Systems Manager says of the agent.
    Agent,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Caller {
    /// The account's twelve digits.
    pub account: String,
    /// The user's or role's ARN.
    pub arn: String,
    /// The region.
    pub region: String,
}

/// What IAM's simulation says of the right to start sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// `allowed`, `implicitDeny`, `explicitDeny`.
    pub word: String,
}

/// How the attempt to start a session went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionTry {
    /// It was started, and ended again.
    Started,
    /// Whoever asks may not; AWS's words.
    Denied(String),
    /// `TargetNotConnected`: whoever asks may, but the agent is not there.
    NotConnected,
    /// Another refusal; AWS's words.
    Refused(String),
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When.
    pub now: Timestamp,
    /// Who asks.
    pub caller: Caller,
    /// What exists, as far as it could be listed: an empty list may be one of `unseen`.
    pub inventory: Inventory,
    /// The lists that could not be had, and why.
    pub unseen: BTreeMap<Listing, String>,
    /// The network ACLs of the stack's VPC.
    pub acls: Fact<Vec<NetworkAcl>>,
    /// The interface endpoints of the stack's VPC.
    pub endpoints: Fact<Vec<Endpoint>>,
    /// When the instance profile was attached to the bastion, RFC 3339, where EC2 tells.
    pub attached_at: Fact<Option<String>>,
    /// `connected` or `notconnected`, of the bastion.
    pub connection: Fact<String>,
    /// What EC2 has kept of the bastion's console.
    pub console: Fact<String>,
    /// What IAM's simulation says.
    pub simulation: Fact<Decision>,
    /// How the attempt to start a session with the bastion went.
    pub session: Fact<SessionTry>,
}

impl Facts {
    /// Judges once these lists are there, else says why not.
    pub(super) fn with<J: Into<Judgement>>(
        &self,
        needs: &[Listing],
        judge: impl FnOnce(&Inventory) -> J,
    ) -> Judgement {
        match needs.iter().find_map(|need| self.unseen.get(need)) {
            Some(why) => Judgement::Unknown(why.clone()),
            None => judge(&self.inventory).into(),
        }
    }

    /// Judges the bastion once these lists are there.
    pub(super) fn with_bastion<J: Into<Judgement>>(
        &self,
        needs: &[Listing],
        judge: impl FnOnce(&Inventory, &Instance) -> J,
    ) -> Judgement {
        let needs: Vec<Listing> = [Listing::Instances].iter().chain(needs).copied().collect();
        self.with(&needs, |inventory| match inventory.bastion() {
            Some(bastion) => judge(inventory, bastion).into(),
            None => Judgement::Skipped("there is no bastion".to_owned()),
        })
    }

    /// As [`Facts::with_bastion`], of a bastion that runs.
    pub(super) fn with_running<J: Into<Judgement>>(
        &self,
        needs: &[Listing],
        judge: impl FnOnce(&Inventory, &Instance) -> J,
    ) -> Judgement {
        self.with_bastion(needs, |inventory, bastion| match bastion.state.as_str() {
            "running" => judge(inventory, bastion).into(),
            state => Judgement::Skipped(format!("the bastion is {state}")),
        })
    }

    /// Returns when the bastion booted last, where that is known.
    pub(super) fn booted_at(&self) -> Option<Timestamp> {
        let bastion = self.inventory.bastion()?;
        [&bastion.launched_at, &bastion.rebooted_at]
            .into_iter()
            .filter_map(|time| parse(time.as_deref()))
            .max()
    }

    /// Returns how long ago the bastion booted.
    pub(super) fn uptime(&self) -> Option<SignedDuration> {
        Some(self.now.duration_since(self.booted_at()?))
    }
}

/// Returns the time that AWS wrote as RFC 3339.
pub(super) fn parse(time: Option<&str>) -> Option<Timestamp> {
    time?.parse().ok()
}

/// Returns a time of the day for people.
pub(super) fn clock(time: Timestamp) -> String {
    time.strftime("%H:%M UTC").to_string()
}

/// Returns a moment for people who compare it with another.
pub(super) fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Returns a span for people: `12 s`, `3 min`, `5 h`, `2 days`.
pub(super) fn span(time: SignedDuration) -> String {
    match time.as_secs().max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
