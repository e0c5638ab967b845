//! Who else is let in to the database: whom the stack file allows, and strangers, who stay until somebody says otherwise.

use stack::inventory::{Direction, Peer, Rule};
use stack::{Inventory, Resource};
use tests::{Fixture, Ran, Want, element};

pub(crate) async fn observe(fixture: &Fixture) -> Inventory {
    fixture.context.observe().await.expect("the account can be observed").1
}

/// Makes a group of somebody else's in the stack's VPC, and returns its id.
pub(crate) async fn group(fixture: &Fixture, inventory: &Inventory, name: &str) -> String {
    let vpc = inventory.vpc().expect("there is a VPC").id.clone();
    let what = [("GroupName", name), ("GroupDescription", "of an application"), ("VpcId", vpc.as_str())];
    let answer = fixture.raw().ec2("CreateSecurityGroup", &what).await;
    element(&answer, "groupId").expect("it has an id")
}

/// Adds a rule to a group: who is on the other side, as EC2 calls it.
pub(crate) async fn allow(
    fixture: &Fixture,
    group: &str,
    way: &str,
    protocol: &str,
    port: &str,
    peer: &[(&str, &str)],
) {
    let mut rule = vec![
        ("GroupId", group),
        ("IpPermissions.1.IpProtocol", protocol),
        ("IpPermissions.1.FromPort", port),
        ("IpPermissions.1.ToPort", port),
    ];
    rule.extend(peer);
    fixture.raw().ec2(&format!("AuthorizeSecurityGroup{way}"), &rule).await;
}

/// What somebody has added by hand, once the stack was up.
struct Strangers {
    app: String,
    ops: String,
    database: String,
    bastion: String,
    before: Inventory,
}

const DESCRIPTION: &str = "the web shop, ask Ann";

impl Strangers {
    async fn come(fixture: &Fixture) -> Strangers {
        let up = observe(fixture).await;
        let (app, ops) = (group(fixture, &up, "app").await, group(fixture, &up, "ops").await);
        let id = |resource: Resource| up.group(resource.tag()).expect("it is up").id.clone();
        let (database, bastion) = (id(Resource::DatabaseGroup), id(Resource::BastionGroup));
        let described = [
            ("IpPermissions.1.Groups.1.GroupId", app.as_str()),
            ("IpPermissions.1.Groups.1.Description", DESCRIPTION),
        ];
        allow(fixture, &database, "Ingress", "tcp", "5432", &described).await;
        // One permission with several peers, IPv6 among them.
        let several = [
            ("IpPermissions.1.IpRanges.1.CidrIp", "10.1.0.0/16"),
            ("IpPermissions.1.IpRanges.1.Description", "batch jobs"),
            ("IpPermissions.1.IpRanges.2.CidrIp", "10.2.0.0/16"),
            ("IpPermissions.1.Ipv6Ranges.1.CidrIpv6", "fd00::/16"),
        ];
        allow(fixture, &database, "Ingress", "tcp", "5432", &several).await;
        let ping = [("IpPermissions.1.IpRanges.1.CidrIp", "10.1.0.0/16")];
        allow(fixture, &database, "Ingress", "icmp", "-1", &ping).await;
        let lists = [("IpPermissions.1.PrefixListIds.1.PrefixListId", "pl-0123456789abcdef0")];
        allow(fixture, &bastion, "Egress", "tcp", "443", &lists).await;
        let both = [
            ("DBInstanceIdentifier", up.database.as_ref().expect("it is up").identifier.as_str()),
            ("ApplyImmediately", "true"),
            ("VpcSecurityGroupIds.VpcSecurityGroupId.1", database.as_str()),
            ("VpcSecurityGroupIds.VpcSecurityGroupId.2", ops.as_str()),
        ];
        fixture.raw().rds("ModifyDBInstance", &both).await;
        let instance = up.bastion().expect("it is up").id.clone();
        let both =
            [("InstanceId", instance.as_str()), ("GroupId.1", bastion.as_str()), ("GroupId.2", ops.as_str())];
        fixture.raw().ec2("ModifyInstanceAttribute", &both).await;
        let before = observe(fixture).await;
        let here = Strangers { app, ops, database, bastion, before };
        assert_eq!(here.count(&here.before), 8, "{:?}", here.before.groups);
        here
    }

    /// Returns how many of them are there.
    fn count(&self, now: &Inventory) -> usize {
        let rule = |direction, protocol: &str, peer| {
            let ports = (protocol == "tcp").then_some(if direction == Direction::Ingress {
                (5432, 5432)
            } else {
                (443, 443)
            });
            Rule { direction, protocol: protocol.to_owned(), ports, peer, description: None }
        };
        let range = |range: &str| Peer::Cidr(range.to_owned());
        let into = |peer| rule(Direction::Ingress, "tcp", peer);
        let rules = [
            (&self.database, into(Peer::Group(self.app.clone()))),
            (&self.database, into(range("10.1.0.0/16"))),
            (&self.database, into(range("10.2.0.0/16"))),
            (&self.database, into(Peer::Ipv6("fd00::/16".to_owned()))),
            (&self.database, rule(Direction::Ingress, "icmp", range("10.1.0.0/16"))),
            (
                &self.bastion,
                rule(Direction::Egress, "tcp", Peer::PrefixList("pl-0123456789abcdef0".to_owned())),
            ),
        ];
        let has = |(group, rule): &&(&String, Rule)| {
            now.groups.iter().any(|one| one.id == **group && one.rules.contains(rule))
        };
        let is_in = |groups: &[String]| usize::from(groups.contains(&self.ops));
        rules.iter().filter(has).count()
            + now.database.as_ref().map_or(0, |database| is_in(&database.groups))
            + now.bastion().map_or(0, |bastion| is_in(&bastion.groups))
    }

    /// Asserts that a task has told of all of them.
    fn are_told(&self, told: &str) {
        let names = [
            format!(
                "unknown rule: 5432/tcp from {} in the database's group {} (\"{DESCRIPTION}\")",
                self.app, self.database
            ),
            format!(
                "unknown rule: 5432/tcp from 10.1.0.0/16 in the database's group {} (\"batch jobs\")",
                self.database
            ),
            format!("unknown rule: 5432/tcp from 10.2.0.0/16 in the database's group {}", self.database),
            format!("unknown rule: 5432/tcp from fd00::/16 in the database's group {}", self.database),
            format!("unknown rule: icmp from 10.1.0.0/16 in the database's group {}", self.database),
            format!("unknown rule: 443/tcp to pl-0123456789abcdef0 in the bastion's group {}", self.bastion),
            format!("unknown group: {} (\"ops\"), which database ", self.ops),
            format!("unknown group: {} (\"ops\"), which bastion ", self.ops),
        ];
        for name in names {
            assert!(told.contains(&name), "no `{name}` in {told}");
        }
    }
}

#[test]
fn strangers_are_told_by_every_task_and_stay_until_their_removal_is_confirmed() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        let run = async |args: &[&str], code: i32| fixture.run(args).await.expect(code);
        run(&["up", "--yes"], 0).await;
        let strangers = Strangers::come(&fixture).await;
        let count = async || strangers.count(&observe(&fixture).await);

        // Nothing would be done about them, so a check passes; they are told all the same.
        strangers.are_told(&run(&["plan", "--check"], 0).await.stdout);
        let plan = run(&["plan", "--json"], 0).await.json();
        assert_eq!(plan["plan"]["left_alone"].as_array().map(Vec::len), Some(8), "{plan}");
        strangers.are_told(&run(&["status", "--check"], 0).await.stdout);
        strangers.are_told(&run(&["up", "--yes"], 0).await.stderr);
        assert_eq!(count().await, 8);

        // A half-made group of ours is mended beside them, also by those that bring something up on the way.
        let own = [
            ("GroupId", strangers.database.as_str()),
            ("IpPermissions.1.IpProtocol", "tcp"),
            ("IpPermissions.1.FromPort", "5432"),
            ("IpPermissions.1.ToPort", "5432"),
            ("IpPermissions.1.Groups.1.GroupId", strangers.bastion.as_str()),
        ];
        fixture.raw().ec2("RevokeSecurityGroupIngress", &own).await;
        run(&["plan", "--check"], 8).await;
        run(&["up", "--yes"], 0).await;
        run(&["plan", "--check"], 0).await;
        run(&["bastion", "stop", "--yes"], 0).await;
        run(&["bastion", "start"], 0).await;
        assert_eq!(count().await, 8);
        // The one on the bastion goes with the bastion.
        run(&["down", "bastion", "--yes"], 0).await;
        run(&["up", "--ephemeral", "--ttl", "1h", "--yes"], 0).await;
        assert_eq!(count().await, 7);

        let shown = run(&["up", "--dry-run", "--remove-unknown-rules"], 0).await.stdout;
        assert!(shown.contains("is open and will be closed") && !shown.contains("it stays"), "{shown}");
        assert_eq!(count().await, 7);
        let done = run(&["up", "--yes", "--remove-unknown-rules", "--json"], 0).await.json();
        assert_eq!(done["plan"]["closes"].as_array().map(Vec::len), Some(7), "{done}");
        assert_eq!(count().await, 0);
        assert!(!run(&["plan", "--check"], 0).await.stdout.contains("unknown"), "something is left");
        // What was ours is ours still.
        let now = observe(&fixture).await;
        assert_eq!(now.group("database-group").map(|group| group.rules.len()), Some(1));
        assert_eq!(now.group("bastion-group").map(|group| group.rules.len()), Some(2));
        // Their groups are nobody's to delete: they are named as what the VPC is still used by.
        let left = run(&["down", "--yes"], 9).await.stderr;
        assert!(left.contains(&strangers.app) && left.contains(&strangers.ops), "{left}");
        fixture.stop().await;
    });
}

#[test]
fn a_release_and_whoever_connects_leave_strangers_alone() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::Databases).await;
        let run = async |args: &[&str], code: i32| -> Ran { fixture.run(args).await.expect(code) };
        run(&["up", "--yes"], 0).await;
        let strangers = Strangers::come(&fixture).await;
        run(&["release", "--yes"], 0).await;
        run(&["exec", "--", "true"], 0).await;
        assert_eq!(strangers.count(&observe(&fixture).await), 8);
        let said = run(&["doctor", "--json"], 0).await.json();
        let link = said["links"].as_array().expect("it is a list").last().expect("there are links").clone();
        assert_eq!(
            (link["name"].as_str(), link["verdict"].as_str()),
            (Some("who else is let in"), Some("pass"))
        );
        strangers.are_told(link["evidence"].as_str().expect("it is text"));
        // A release that makes the bastion, and takes it away.
        run(&["down", "bastion", "--yes"], 0).await;
        run(&["release", "--yes"], 0).await;
        assert_eq!(strangers.count(&observe(&fixture).await), 7);

        // Too many: told as a fault, and left to people all the same.
        let everybody = [("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0")];
        allow(&fixture, &strangers.database, "Ingress", "tcp", "5432", &everybody).await;
        let someone = [("IpPermissions.1.IpRanges.1.CidrIp", "10.9.0.0/24")];
        allow(&fixture, &strangers.bastion, "Ingress", "tcp", "22", &someone).await;
        run(&["release", "--yes", "--bastion", "keep"], 0).await;
        run(&["up", "--yes"], 0).await;
        let said = run(&["doctor", "--json"], 8).await.json();
        assert_eq!(said["root"]["cause"], "too-open", "{said:#}");
        let port = said["links"].as_array().expect("it is a list").iter().find(|link| link["name"] == "port");
        assert_eq!(port.expect("it is tried")["verdict"], "pass", "nothing is broken by it");
        let status = run(&["status", "--check", "--json"], 8).await.json();
        let evidence: Vec<&str> = status["findings"]
            .as_array()
            .expect("it is a list")
            .iter()
            .filter_map(|finding| finding["evidence"].as_str())
            .collect();
        assert!(evidence[0].contains("22/tcp from 10.9.0.0/24"), "{evidence:?}");
        assert!(evidence[1].contains("5432/tcp from 0.0.0.0/0"), "{evidence:?}");
        run(&["up", "--yes", "--remove-unknown-rules"], 0).await;
        run(&["doctor"], 0).await;
        run(&["status", "--check"], 0).await;
        fixture.stop().await;
    });
}

#[test]
fn whom_the_stack_file_allows_is_let_in_and_loses_that_with_the_line() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        let up = observe(&fixture).await;
        let app = group(&fixture, &up, "app").await;
        let file = fixture.cloud.dir().join("open.toml");
        let path = file.to_str().expect("it is text").to_owned();
        let write = |lines: &str| {
            let shipped = std::fs::read_to_string(tests::STACK_FILE).expect("the stack file is there");
            let text = shipped.replace("[database]\n", &format!("[database]\n{lines}"));
            std::fs::write(&file, text).expect("the folder can be written to");
        };
        let run = async |args: &[&str], code: i32| {
            fixture.run(&[&["--stack", path.as_str()], args].concat()).await.expect(code)
        };
        write(&format!("allow_groups = [\"{app}\"]\nallow_cidrs = [\"10.1.0.0/16\"]\n"));
        let shown = run(&["plan", "--check"], 8).await.stdout;
        assert!(shown.contains(&format!("5432/tcp from {app} is closed and will be opened")), "{shown}");
        run(&["up", "--yes"], 0).await;
        run(&["plan", "--check"], 0).await;
        let rules = async || -> Vec<Rule> {
            observe(&fixture).await.group("database-group").expect("it is up").rules.clone()
        };
        let peers = async || -> Vec<Peer> { rules().await.into_iter().map(|rule| rule.peer).collect() };
        assert!(peers().await.contains(&Peer::Group(app.clone())), "{:?}", peers().await);
        assert!(peers().await.contains(&Peer::Cidr("10.1.0.0/16".to_owned())), "{:?}", peers().await);

        // Somebody else's beside them; a checkout that does not have the lines, and only wants a bastion, takes none away.
        let ranges = [("IpPermissions.1.IpRanges.1.CidrIp", "10.2.0.0/16")];
        let own = up.group("database-group").expect("it is up").id.clone();
        allow(&fixture, &own, "Ingress", "tcp", "5432", &ranges).await;
        assert_eq!(rules().await.len(), 4);
        fixture.run(&["down", "bastion", "--yes"]).await.expect(0);
        deploy::task::up::converge(&fixture.context, &[stack::Component::Bastion])
            .await
            .expect("it comes up");
        assert_eq!(rules().await.len(), 4);

        write("");
        let shown = run(&["plan"], 0).await.stdout;
        assert!(shown.contains("5432/tcp from 10.1.0.0/16 is open and will be closed"), "{shown}");
        assert!(shown.contains("unknown rule: 5432/tcp from 10.2.0.0/16"), "{shown}");
        run(&["up", "--yes"], 0).await;
        let left = peers().await;
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left.contains(&Peer::Cidr("10.2.0.0/16".to_owned())), "{left:?}");

        // A group that nobody has made stands in nobody's way but its own.
        write("allow_groups = [\"sg-0123456789abcdef0\"]\nallow_cidrs = [\"10.3.0.0/16\"]\n");
        let refused = run(&["up", "--yes"], 1).await.stderr;
        assert!(refused.contains("`sg-0123456789abcdef0`, which `allow_groups` names"), "{refused}");
        fixture.stop().await;
    });
}
