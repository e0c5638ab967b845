//! What is broken between whoever asks and the database, from what was seen.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use stack::diagnosis::{
    Caller, Decision, Fact, Facts, Link, Listing, SessionTry, Verdict, diagnose, next_try,
};
use stack::finding::Cause;
use stack::inventory::{Direction, Inventory, Peer, Rule};
use stack::network_context::{AclEntry, Endpoint, NetworkAcl};
use stack::{Diagnosis, Stack};

use crate::fixture;

const BOOT: &str = "2026-11-25T14:00:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn entry(number: u32, direction: Direction, ports: Option<(u16, u16)>, cidr: &str, allows: bool) -> AclEntry {
    AclEntry { number, direction, protocol: "-1".into(), ports, cidr: cidr.into(), allows }
}

/// The network ACL that AWS makes, which lets everything through.
fn open() -> NetworkAcl {
    let both = [Direction::Ingress, Direction::Egress];
    let rules = |number, allows| both.map(|direction| entry(number, direction, None, "0.0.0.0/0", allows));
    NetworkAcl {
        id: "acl-1".into(),
        subnets: ["subnet-p", "subnet-a", "subnet-b"].map(String::from).to_vec(),
        entries: [rules(100, true), rules(32767, false)].concat(),
    }
}

/// Returns what is seen of a stack that works, an hour after the boot.
fn healthy(stack: &Stack) -> Facts {
    let mut inventory = fixture::complete(stack);
    inventory.instances[0].launched_at = Some(BOOT.into());
    Facts {
        now: time("2026-11-25T15:00:00Z"),
        caller: Caller { account: "123456789012".into(), arn: "arn:me".into(), region: "us-east-1".into() },
        inventory,
        unseen: BTreeMap::new(),
        acls: Fact::Known(vec![open()]),
        endpoints: Fact::Known(Vec::new()),
        attached_at: Fact::Known(None),
        connection: Fact::Known("connected".into()),
        console: Fact::Known("Linux version\nready\n".into()),
        simulation: Fact::Known(Decision { word: "allowed".into() }),
        session: Fact::Known(SessionTry::Started),
    }
}

/// What makes something unseen.
type Spoil = fn(&mut Facts);

fn of(spoil: impl FnOnce(&mut Facts)) -> Diagnosis {
    let stack = fixture::stack();
    let mut facts = healthy(&stack);
    spoil(&mut facts);
    diagnose(&stack, &facts)
}

fn link<'a>(diagnosis: &'a Diagnosis, name: &str) -> &'a Link {
    diagnosis.links.iter().find(|link| link.name == name).unwrap()
}

/// Asserts the root cause, and returns its link.
#[track_caller]
fn root(cause: Cause, name: &str, spoil: impl FnOnce(&mut Facts)) -> Link {
    let diagnosis = of(spoil);
    let root = diagnosis.root().cloned().unwrap();
    assert_eq!((root.cause, root.name), (Some(cause), name), "{diagnosis:#?}");
    assert!(!diagnosis.is_healthy() && !root.evidence.is_empty() && root.command.is_some());
    root
}

#[test]
fn what_works_passes_link_by_link() {
    let diagnosis = of(|_| ());
    assert!(diagnosis.is_healthy(), "{diagnosis:#?}");
    assert_eq!((diagnosis.root(), diagnosis.findings()), (None, vec![]));
    assert!(link(&diagnosis, "instance").evidence.contains("booted 60 min ago"));
}

#[test]
fn a_list_that_could_not_be_had_is_never_taken_for_an_empty_one() {
    use Listing as L;
    let links = [
        (L::Vpcs, "internet gateway"),
        (L::Subnets, "route"),
        (L::Gateways, "internet gateway"),
        (L::RouteTables, "route"),
        (L::Groups, "egress"),
        (L::Secrets, "secret"),
        (L::Database, "database"),
        (L::Role, "role"),
        (L::Profile, "instance profile"),
        (L::Instances, "instance"),
        (L::Agent, "agent"),
    ];
    for (listing, name) in links {
        for emptied in [false, true] {
            let diagnosis = of(|facts| {
                facts.unseen.insert(listing, "refused".into());
                if emptied {
                    facts.inventory = Inventory::default();
                    let all = links.iter().map(|(listing, _)| (*listing, "refused".to_owned()));
                    facts.unseen.extend(all);
                }
            });
            let link = link(&diagnosis, name);
            assert_eq!((link.verdict, link.evidence.as_str()), (Verdict::Unknown, "refused"), "{listing:?}");
            let root = diagnosis.root().unwrap();
            assert_eq!(
                root.verdict,
                Verdict::Unknown,
                "{listing:?}: nothing is known to be broken: {root:?}"
            );
        }
    }
}

#[test]
fn a_fact_that_could_not_be_seen_does_not_pass() {
    let spoils: [(&str, Spoil); 5] = [
        ("network ACL", |facts| facts.acls = Fact::Unknown("refused".into())),
        ("names and endpoints", |facts| facts.endpoints = Fact::Unknown("refused".into())),
        ("console", |facts| facts.console = Fact::Unknown("refused".into())),
        ("session", |facts| facts.session = Fact::Unknown("refused".into())),
        ("agent", |facts| {
            facts.connection = Fact::Unknown("refused".into());
            facts.session = Fact::Unknown("refused".into());
        }),
    ];
    for (name, spoil) in spoils {
        assert_eq!(link(&of(spoil), name).verdict, Verdict::Unknown, "{name}");
    }
    let neither = of(|facts| {
        facts.simulation = Fact::Unknown("refused".into());
        facts.session = Fact::Unknown("no answer".into());
    });
    assert_eq!(link(&neither, "permission").verdict, Verdict::Unknown);
}

#[test]
fn what_happened_counts_more_than_what_was_foretold() {
    let diagnosis = of(|facts| facts.simulation = Fact::Known(Decision { word: "implicitDeny".into() }));
    assert!(diagnosis.is_healthy(), "{diagnosis:#?}");
    root(Cause::SessionDenied, "permission", |facts| {
        facts.session = Fact::Known(SessionTry::Denied("AccessDeniedException".into()));
    });
    let diagnosis = of(|facts| facts.session = Fact::Known(SessionTry::NotConnected));
    assert_eq!(link(&diagnosis, "permission").verdict, Verdict::Pass);
    assert_eq!(diagnosis.root().unwrap().cause, Some(Cause::SessionRefused));
}

#[test]
fn the_first_rule_of_a_network_acl_that_fits_decides() {
    use Direction::{Egress, Ingress};
    let with = |entry: AclEntry| {
        move |facts: &mut Facts| {
            let mut acl = open();
            acl.entries.push(entry);
            facts.acls = Fact::Known(vec![acl]);
        }
    };
    let everywhere = "0.0.0.0/0";
    let https = entry(50, Egress, Some((443, 443)), everywhere, false);
    let found = root(Cause::AclDeniesHttps, "network ACL", with(https.clone()));
    assert!(found.evidence.contains("rule 50") && found.command.unwrap().contains("--rule-number 50"));
    assert!(of(with(AclEntry { number: 150, ..https.clone() })).is_healthy(), "rule 100 comes first");
    assert!(
        of(with(AclEntry { protocol: "17".into(), ..https.clone() })).is_healthy(),
        "UDP is none of ours"
    );
    // A part of the ports is enough to break some connections.
    let part = entry(50, Ingress, Some((40000, 40010)), everywhere, false);
    root(Cause::AclDeniesAnswers, "network ACL", with(part));
    // Whether Systems Manager lives in that part of the world is not known here.
    let elsewhere = of(with(AclEntry { cidr: "52.0.0.0/8".into(), ..https }));
    assert_eq!(elsewhere.root().unwrap().verdict, Verdict::Unknown);
    root(Cause::AclDeniesHttps, "network ACL", |facts| {
        let acl = NetworkAcl { entries: Vec::new(), ..open() };
        facts.acls = Fact::Known(vec![acl]);
    });
    let database = fixture::stack().network.public.cidr.to_string();
    root(
        Cause::DatabaseAcl,
        "database network ACL",
        with(entry(50, Ingress, Some((5432, 5432)), &database, false)),
    );
}

#[test]
fn an_endpoint_that_takes_the_name_over_must_let_the_bastion_in() {
    let https = Rule {
        direction: Direction::Ingress,
        protocol: "tcp".into(),
        ports: Some((443, 443)),
        peer: Peer::Group("sg-b".into()),
        description: None,
    };
    let endpoint = |rules: Option<Vec<Rule>>| Endpoint {
        id: "vpce-1".into(),
        service: "com.amazonaws.us-east-1.ssmmessages".into(),
        state: "available".into(),
        private_dns: true,
        groups: vec!["sg-e".into()],
        rules,
    };
    let with = |endpoint: Endpoint| move |facts: &mut Facts| facts.endpoints = Fact::Known(vec![endpoint]);
    assert!(of(with(endpoint(Some(vec![https])))).is_healthy());
    root(Cause::EndpointClosed, "names and endpoints", with(endpoint(Some(Vec::new()))));
    let pending = Endpoint { state: "pending".into(), ..endpoint(Some(Vec::new())) };
    root(Cause::EndpointClosed, "names and endpoints", with(pending));
    assert!(of(with(Endpoint { private_dns: false, ..endpoint(Some(Vec::new())) })).is_healthy());
    let unread = of(with(endpoint(None)));
    assert_eq!(link(&unread, "names and endpoints").verdict, Verdict::Unknown);
}

#[test]
fn an_agent_has_time_to_register_then_it_sleeps() {
    let away = |now: &'static str| {
        move |facts: &mut Facts| {
            facts.now = time(now);
            facts.inventory.agent = None;
            facts.session = Fact::Known(SessionTry::NotConnected);
        }
    };
    root(Cause::Booting, "agent", away("2026-11-25T14:01:00Z"));
    let asleep = root(Cause::AgentAsleep, "agent", away("2026-11-25T14:12:00Z"));
    assert!(asleep.sentence.contains("about 14:30 UTC"), "{}", asleep.sentence);
    assert_eq!(asleep.command.as_deref(), Some("cargo xtask bastion reboot"));
    // What came after the boot was not there at the boot: no time need pass to know it.
    let asleep = root(Cause::AgentAsleep, "agent", |facts| {
        away("2026-11-25T14:01:00Z")(facts);
        facts
            .inventory
            .role
            .iter_mut()
            .for_each(|role| role.created_at = Some("2026-11-25T14:00:20Z".into()));
    });
    assert!(asleep.evidence.contains("the role was made 2026-11-25 14:00:20"), "{}", asleep.evidence);
    // After a reboot the clock starts anew.
    root(Cause::Booting, "agent", |facts| {
        away("2026-11-25T14:40:00Z")(facts);
        facts.inventory.instances[0].rebooted_at = Some("2026-11-25T14:39:00Z".into());
    });
    // As long as something is in its way it is not asleep, but kept away.
    let kept = root(Cause::NoPublicAddress, "public address", |facts| {
        away("2026-11-25T14:12:00Z")(facts);
        facts.inventory.instances[0].public_ip = None;
    });
    assert!(kept.sentence.contains("has no public IPv4 address"));
}

#[test]
fn a_console_that_shows_a_dead_machine_is_a_reason_only_without_an_agent() {
    let panicked =
        |facts: &mut Facts| facts.console = Fact::Known("x\nKernel panic - not syncing\u{1b}[2J\n".into());
    assert!(of(panicked).is_healthy());
    let dead = root(Cause::BootFailed, "console", |facts| {
        panicked(facts);
        facts.inventory.agent = None;
    });
    assert!(dead.evidence.contains("Kernel panic") && !dead.evidence.contains('\u{1b}'), "{}", dead.evidence);
}

#[test]
fn the_clock_of_an_agent_that_failed() {
    let boot = time(BOOT);
    let after = |minutes, refused| {
        let next = next_try(boot, refused, boot + SignedDuration::from_mins(minutes));
        next.duration_since(boot).as_mins()
    };
    assert_eq!([0, 29, 30, 61].map(|minutes| after(minutes, true)), [30, 30, 60, 90]);
    // 5, 15, 35, 75, 135, 195: the later of the two clocks.
    assert_eq!([0, 6, 31, 76, 136].map(|minutes| after(minutes, false)), [30, 30, 60, 135, 195]);
}

#[test]
fn the_database_and_its_rules_are_judged_by_what_they_let_through() {
    root(Cause::NoDatabase, "database", |facts| facts.inventory.database = None);
    root(Cause::DatabaseUnavailable, "database", |facts| {
        facts.inventory.database.iter_mut().for_each(|database| database.status = "stopped".into());
    });
    root(Cause::DatabaseGroupClosed, "database rules", |facts| facts.inventory.groups[1].rules.clear());
    let moved = root(Cause::DatabaseGroupClosed, "database rules", |facts| {
        facts.inventory.database.iter_mut().for_each(|database| database.groups = vec!["sg-other".into()]);
    });
    assert!(moved.sentence.contains("is not in the stack's security group"), "{}", moved.sentence);
    root(Cause::NoSecret, "secret", |facts| facts.inventory.secrets.clear());
    // A group that is not ours may let it out; nobody has read its rules.
    let foreign = of(|facts| {
        facts.inventory.groups[0].rules.clear();
        facts.inventory.instances[0].groups.push("sg-other".into());
    });
    assert_eq!(link(&foreign, "egress").verdict, Verdict::Unknown);
}

#[test]
fn who_else_is_let_in_is_named_and_too_many_are_a_fault_that_breaks_no_link() {
    let stack = fixture::stack();
    let judge = |facts: &Facts| stack::diagnosis::exposure(&stack, facts);
    let facts = healthy(&stack);
    assert_eq!(judge(&facts).evidence, "nobody but whom the stack file states");
    let rule = |peer| Rule {
        direction: Direction::Ingress,
        protocol: "tcp".into(),
        ports: Some((5432, 5432)),
        peer,
        description: None,
    };
    let mut stranger = facts.clone();
    stranger.inventory.groups[1].rules.push(rule(Peer::Group("sg-app".into())));
    let link = judge(&stranger);
    assert_eq!(link.verdict, Verdict::Pass);
    assert_eq!(link.evidence, "unknown rule: 5432/tcp from sg-app in the database's group sg-d");
    let mut everybody = stranger;
    everybody.inventory.groups[1].rules.push(rule(Peer::Cidr("0.0.0.0/0".into())));
    let link = judge(&everybody);
    assert_eq!((link.verdict, link.cause), (Verdict::Fail, Some(Cause::TooOpen)));
    assert!(link.evidence.contains("5432/tcp from 0.0.0.0/0"), "{}", link.evidence);
    assert!(stack::diagnosis::diagnose(&stack, &everybody).is_healthy());
    let mut unread = facts;
    unread.inventory.database.iter_mut().for_each(|database| database.groups.push("sg-x".into()));
    assert_eq!(judge(&unread).verdict, Verdict::Unknown);
}
