//! The database: whether it serves, who is let through to it, and where its password is.

use super::facts::{Facts, Listing};
use super::filter::{Wall, acl_of, admits, covers, refusal, unread};
use super::link::Judgement;
use crate::finding::{self, Cause, Finding};
use crate::inventory::{DatabaseInstance, Direction, Inventory, Peer, Rule, Subnet};
use crate::mismatch::{self, Mismatch};
use crate::network_context::{EPHEMERAL, Says};
use crate::spec::{Cidr, Stack};

const UP: &str = "cargo xtask up database";
const SECRET_EVIDENCE: &str = "the master user's password is in it";

pub(super) fn database(stack: &Stack, facts: &Facts) -> Judgement {
    facts.with(&[Listing::Database], |inventory| {
        let name = &stack.database.identifier;
        let Some(database) = &inventory.database else {
            let evidence = format!("RDS knows no `{name}` with the stack's tag");
            return Finding::mended_by(UP, Cause::NoDatabase, "the stack has no database", evidence).into();
        };
        let DatabaseInstance { status, class, engine_version, .. } = database;
        match (&database.endpoint, crate::plan::serves(status)) {
            (Some((host, port)), true) => {
                Judgement::Pass(format!("{status}, {class}, {engine_version}, at {host}:{port}"))
            }
            _ => {
                let sentence = format!("database `{name}` is {status}");
                let evidence = format!("RDS says `{status}`");
                Finding::mended_by(UP, Cause::DatabaseUnavailable, sentence, evidence).into()
            }
        }
    })
}

pub(super) fn rules(stack: &Stack, facts: &Facts) -> Judgement {
    let needs = [Listing::Database, Listing::Groups, Listing::Subnets, Listing::Vpcs];
    facts.with_bastion(&needs, |inventory, bastion| {
        let Some(database) = &inventory.database else {
            return Judgement::Skipped("there is no database".to_owned());
        };
        let port = database.endpoint.as_ref().map_or(stack.database.port, |(_, port)| *port);
        let name = &database.identifier;
        let up = "cargo xtask up security-groups";
        let fail = |command: &str, sentence: String, evidence: String| {
            Finding::mended_by(command, Cause::DatabaseGroupClosed, sentence, evidence).into()
        };
        let into: Vec<Rule> = inventory.rules_of(&database.groups).cloned().collect();
        if !admits(inventory, &into, bastion, port) {
            let ours = inventory.group("database-group").map(|group| &group.id);
            if ours.is_some_and(|ours| !database.groups.contains(ours)) {
                let sentence = format!("database `{name}` is not in the stack's security group");
                return fail(UP, sentence, format!("it is in `{}`", database.groups.join("`, `")));
            }
            if let Some(other) = unread(inventory, &database.groups) {
                return Judgement::Unknown(format!("the rules of security group `{other}` were not read"));
            }
            let sentence = format!(
                "no security group of database `{name}` lets bastion `{}` in at {port}/tcp",
                bastion.id
            );
            return fail(up, sentence, evidence(&database.groups, &into));
        }
        let out: Vec<Rule> = inventory.rules_of(&bastion.groups).cloned().collect();
        let targets = subnets(inventory).iter().map(|(_, range)| *range).collect::<Vec<_>>();
        let leads = |rule: &Rule| {
            covers(rule, Direction::Egress, port)
                && match &rule.peer {
                    Peer::Group(id) => database.groups.contains(id),
                    Peer::Cidr(range) => Cidr::parse(range).is_ok_and(|wide| {
                        !targets.is_empty() && targets.iter().all(|range| wide.contains(*range))
                    }),
                    Peer::Ipv6(_) | Peer::PrefixList(_) => false,
                }
        };
        if out.iter().any(leads) {
            return Judgement::Pass(format!(
                "`{}` may reach `{name}` at {port}/tcp, by both groups",
                bastion.id
            ));
        }
        if let Some(other) = unread(inventory, &bastion.groups) {
            return Judgement::Unknown(format!("the rules of security group `{other}` were not read"));
        }
        let sentence =
            format!("no security group of bastion `{}` lets {port}/tcp out to database `{name}`", bastion.id);
        fail(up, sentence, evidence(&bastion.groups, &out))
    })
}

fn evidence(groups: &[String], rules: &[Rule]) -> String {
    format!("its groups: {}, with {} rules", groups.join(", "), rules.len())
}

/// Returns the subnets that the database may be in, with their ranges.
fn subnets(inventory: &Inventory) -> Vec<(&Subnet, Cidr)> {
    let private = ["private-subnet-a", "private-subnet-b"];
    let found = private.iter().filter_map(|tag| inventory.subnet(tag));
    found.filter_map(|subnet| Some((subnet, Cidr::parse(&subnet.cidr).ok()?))).collect()
}

/// Judges who else is let in: too many are a fault, whoever the stack file does not state is named.
pub(super) fn exposure(stack: &Stack, facts: &Facts) -> Judgement {
    let needs = [Listing::Database, Listing::Groups, Listing::Vpcs, Listing::Instances];
    facts.with(&needs, |inventory| {
        if let Some(finding) = finding::too_open(stack, inventory).into_iter().next() {
            return finding.into();
        }
        let of_database = inventory.database.iter().flat_map(|database| &database.groups);
        let of_bastion = inventory.bastion().into_iter().flat_map(|bastion| &bastion.groups);
        let groups: Vec<String> = of_database.chain(of_bastion).cloned().collect();
        if let Some(other) = unread(inventory, &groups) {
            return Judgement::Unknown(format!("the rules of security group `{other}` were not read"));
        }
        let unknown = crate::plan::unknown(stack, inventory);
        let unknown: Vec<String> = unknown.iter().map(ToString::to_string).collect();
        Judgement::Pass(match unknown.as_slice() {
            [] => "nobody but whom the stack file states".to_owned(),
            unknown => unknown.join("; "),
        })
    })
}

pub(super) fn acl(stack: &Stack, facts: &Facts) -> Judgement {
    let needs = [Listing::Database, Listing::Subnets, Listing::Vpcs];
    facts.with_bastion(&needs, |inventory, bastion| {
        let Some(database) = &inventory.database else {
            return Judgement::Skipped("there is no database".to_owned());
        };
        let port = database.endpoint.as_ref().map_or(stack.database.port, |(_, port)| *port);
        let own = inventory.subnets.iter().find(|subnet| Some(&subnet.id) == bastion.subnet.as_ref());
        let Some((own, near)) = own.and_then(|own| Some((own, Cidr::parse(&own.cidr).ok()?))) else {
            return Judgement::Unknown("the range of the bastion's subnet is not known".to_owned());
        };
        let mut seen = Vec::new();
        for (subnet, far) in subnets(inventory) {
            use Direction::{Egress, Ingress};
            let ways = [
                (&own.id, Egress, (port, port), far, "connections out to the database"),
                (&subnet.id, Ingress, (port, port), near, "the bastion in to the database"),
                (&subnet.id, Egress, EPHEMERAL, near, "answers out to the bastion"),
                (&own.id, Ingress, EPHEMERAL, far, "the database's answers in"),
            ];
            for (id, direction, ports, range, what) in ways {
                let acl = match acl_of(facts, id) {
                    Ok(acl) => acl,
                    Err(judgement) => return judgement,
                };
                let says = acl.lets(direction, ports, range);
                if says != Says::Yes {
                    let cause = Cause::DatabaseAcl;
                    return refusal(facts, acl, &says, Wall { direction, ports, range, cause, what });
                }
                if !seen.contains(&acl.id) {
                    seen.push(acl.id.clone());
                }
            }
        }
        match seen.as_slice() {
            [] => Judgement::Unknown("the database's subnets are not known".to_owned()),
            seen => Judgement::Pass(format!("{} let both ways through", seen.join(", "))),
        }
    })
}

pub(super) fn secret(stack: &Stack, facts: &Facts) -> Judgement {
    facts.with(&[Listing::Secrets], |inventory| {
        let name = stack.master_secret_name();
        let fail = |what: &str| {
            let sentence = format!("secret `{name}` {what}");
            Finding::mended_by("cargo xtask up secrets", Cause::NoSecret, sentence, SECRET_EVIDENCE).into()
        };
        if let Some(mismatch) = mismatch::find(stack, inventory) {
            let Mismatch { sentence, .. } = &mismatch;
            return Finding::mended_by(mismatch.hint(), Cause::NoSecret, sentence, SECRET_EVIDENCE).into();
        }
        match inventory.secret(&name) {
            None => fail("does not exist"),
            Some(secret) if !secret.tagged => {
                let evidence = match &secret.owner {
                    Some(owner) => format!("it carries the tag of stack `{}`", owner.escape_debug()),
                    None => "it carries no stack's tag".to_owned(),
                };
                let command = "leave `secret_prefix` and `master_secret` out of the stack file, or write names of its own";
                let sentence = format!("secret `{name}` is not this stack's");
                Finding::mended_by(command, Cause::NoSecret, sentence, evidence).into()
            }
            Some(secret) if secret.scheduled_for_deletion => fail("is scheduled for deletion"),
            Some(_) => Judgement::Pass(format!("`{name}` is there")),
        }
    })
}
