//! What was agreed to is what is done: a plan that is another one by the time it can be carried out is shown again.

use aws::lock;
use stack::Events;
use tests::{Fixture, Want};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::time::timeout;

use crate::rules::{allow, group, observe};
use crate::terminal::{LIMIT, Terminal};

/// Runs the program with `--yes` until it waits for the lock, changes what exists, and returns the code and what was told.
async fn while_it_waits(
    fixture: &Fixture,
    args: &[&str],
    change: impl AsyncFnOnce(),
) -> (i32, String, String) {
    let context = &fixture.context;
    let (cloud, seen) = context.observe().await.expect("the account can be observed");
    let (stack, events, stop) = (&context.stack, Events::none(), &context.stop);
    let taking = lock::take(&cloud, stack, ("adopt", "ann@laptop"), &seen.locks, &events, stop);
    let held = taking.await.expect("it is free");
    let mut command = tokio::process::Command::from(fixture.program(&[&["--verbose"], args].concat()));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).kill_on_drop(true);
    let mut program = command.spawn().expect("the program starts");
    let mut stderr = BufReader::new(program.stderr.take().expect("it is piped"));
    let mut told = String::new();
    let waits = async {
        while !told.contains("held by `adopt` of ann@laptop") {
            let length = stderr.read_line(&mut told).await.expect("it can be read");
            assert!(length > 0, "it does not wait: {told}");
        }
        change().await;
    };
    timeout(LIMIT, held.during(waits)).await.expect("it waits").expect("the lock holds");
    held.give_back(&events).await;
    timeout(LIMIT, stderr.read_to_string(&mut told)).await.expect("it ends").expect("it can be read");
    let output = timeout(LIMIT, program.wait_with_output()).await.expect("it ends").expect("it ran");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned(), told)
}

/// Takes the way to Systems Manager out of the bastion's group.
async fn close_the_way_out(fixture: &Fixture) {
    let now = observe(fixture).await;
    let rule = [
        ("GroupId", now.group("bastion-group").expect("it is up").id.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "443"),
        ("IpPermissions.1.ToPort", "443"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
    ];
    fixture.raw().ec2("RevokeSecurityGroupEgress", &rule).await;
}

/// Leaves a second bastion behind, as a lost reply does.
async fn leave_a_second_bastion(fixture: &Fixture) -> String {
    let now = observe(fixture).await;
    let bastion = now.bastion().expect("it is up");
    let image = now.image.clone().expect("there is one");
    let what = [
        ("ImageId", image.as_str()),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("NetworkInterface.1.DeviceIndex", "0"),
        ("NetworkInterface.1.SubnetId", bastion.subnet.as_deref().expect("it is in one")),
        ("NetworkInterface.1.DeleteOnTermination", "true"),
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.1.Tag.1.Key", "drawbridge:stack"),
        ("TagSpecification.1.Tag.1.Value", "startupwebapp-prod"),
        ("TagSpecification.1.Tag.2.Key", "drawbridge:resource"),
        ("TagSpecification.1.Tag.2.Value", "instance"),
    ];
    let answer = fixture.raw().ec2("RunInstances", &what).await;
    tests::element(&answer, "instanceId").expect("it has an id")
}

#[test]
fn yes_means_the_plan_that_was_shown_and_nothing_that_deletes_more() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        fixture.run(&["up", "--yes"]).await.expect(0);

        // More is to be mended: that is done, and the result says so.
        close_the_way_out(&fixture).await;
        let stop = async || {
            let id = observe(&fixture).await.bastion().expect("it is up").id.clone();
            fixture.raw().ec2("StopInstances", &[("InstanceId.1", &id)]).await;
        };
        let (code, result, told) = while_it_waits(&fixture, &["up", "--yes", "--json"], stop).await;
        assert_eq!(code, 0, "{told}");
        let result: serde_json::Value = serde_json::from_str(&result).expect("it is JSON");
        let steps = result["plan"]["steps"].as_array().expect("there are steps").iter();
        let done: Vec<&str> = steps.filter_map(|step| step["resource"].as_str()).collect();
        assert_eq!(done, ["bastion-rules", "instance", "session"]);
        assert_eq!(result["steps"], 3);

        // Something is to be deleted that nobody has seen.
        close_the_way_out(&fixture).await;
        let mut second = String::new();
        let leave = async || second = leave_a_second_bastion(&fixture).await;
        let (code, _, told) = while_it_waits(&fixture, &["up", "--yes"], leave).await;
        assert_eq!(code, 8, "{told}");
        assert!(told.contains("would be deleted as well; nothing was changed"), "{told}");
        let now = observe(&fixture).await;
        assert_eq!(now.instances.len(), 2, "one of them is gone");
        assert!(told.contains(
            now.instances.iter().map(|one| one.id.as_str()).find(|id| told.contains(id)).unwrap_or("-")
        ));

        // What is found by the next look is shown, and then agreed to.
        fixture.run(&["up", "--yes"]).await.expect(0);
        assert_eq!(observe(&fixture).await.instances.len(), 1);

        let leave = async || drop(leave_a_second_bastion(&fixture).await);
        let (code, _, told) = while_it_waits(&fixture, &["down", "--yes"], leave).await;
        assert_eq!(code, 8, "{told}");
        assert_eq!(observe(&fixture).await.instances.len(), 2, "nothing was deleted");
        // Protected since: refused as it is at the beginning, not half-way.
        let protect = async || {
            let id = fixture.context.stack.database.identifier.clone();
            let what = [("DBInstanceIdentifier", id.as_str()), ("DeletionProtection", "true")];
            fixture.raw().rds("ModifyDBInstance", &what).await;
        };
        let (code, _, told) = while_it_waits(&fixture, &["down", "--yes"], protect).await;
        assert_eq!(code, 9, "{told}");
        assert!(told.contains("is protected against deletion; nothing was deleted"), "{told}");
        assert_eq!(observe(&fixture).await.instances.len(), 2, "nothing was deleted");
        fixture.run(&["down", "--yes", "--unprotect"]).await.expect(0);
        fixture.stop().await;
    });
}

/// The program at a terminal, as somebody has it who thinks before answering.
fn at_a_terminal(fixture: &Fixture, args: &[&str]) -> Terminal {
    let mut command = tokio::process::Command::from(fixture.program(args));
    command.env("TERM", "xterm");
    Terminal::open(command, (24, 200))
}

#[test]
fn whoever_can_be_asked_is_asked_again_about_a_plan_that_changed() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        close_the_way_out(&fixture).await;
        let mut terminal = at_a_terminal(&fixture, &["up"]);
        let shown = terminal.wait_for("carry this out? [y/N] ").await;
        assert!(
            shown.contains("443/tcp to 0.0.0.0/0 is closed") && !shown.contains("second bastion"),
            "{shown}"
        );
        leave_a_second_bastion(&fixture).await;
        terminal.type_in("y\r").await;
        let shown = terminal.wait_for("carry this out instead? [y/N] ").await;
        assert!(
            shown.contains("nothing was changed yet") && shown.contains("is a second bastion"),
            "{shown}"
        );
        terminal.type_in("n\r").await;
        assert_eq!(terminal.ended().await.0, 130);
        let now = observe(&fixture).await;
        assert_eq!(
            (now.instances.len(), now.group("bastion-group").map(|group| group.rules.len())),
            (2, Some(1))
        );

        // Agreed to at once, and nothing has changed: asked once.
        let mut terminal = at_a_terminal(&fixture, &["up"]);
        terminal.wait_for("carry this out? [y/N] ").await;
        terminal.type_in("y\r").await;
        let (code, rest) = terminal.ended().await;
        assert!(code == 0 && !rest.contains("[y/N]"), "{code}: {rest}");
        assert_eq!(observe(&fixture).await.instances.len(), 1);

        let name = fixture.context.stack.name.clone();
        let question = format!("type `{name}` to go on: ");
        let mut terminal = at_a_terminal(&fixture, &["down"]);
        terminal.wait_for(&question).await;
        leave_a_second_bastion(&fixture).await;
        terminal.type_in(&format!("{name}\r")).await;
        let shown = terminal.wait_for(&question).await;
        assert!(shown.contains("nothing was deleted yet"), "{shown}");
        terminal.type_in("no\r").await;
        assert_eq!(terminal.ended().await.0, 130);
        assert_eq!(observe(&fixture).await.instances.len(), 2, "nothing was deleted");
        fixture.stop().await;
    });
}

#[test]
fn each_stranger_is_asked_about_by_name() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        let up = observe(&fixture).await;
        let (app, other) = (group(&fixture, &up, "app").await, group(&fixture, &up, "other").await);
        let own = up.group("database-group").expect("it is up").id.clone();
        for group in [&app, &other] {
            allow(&fixture, &own, "Ingress", "tcp", "5432", &[("IpPermissions.1.Groups.1.GroupId", group)])
                .await;
        }
        // In the order of their ids.
        let (first, second) = if app < other { (app, other) } else { (other, app) };
        let mut terminal = at_a_terminal(&fixture, &["up"]);
        let shown = terminal.wait_for("the stack file does not state it; remove it? [y/N] ").await;
        assert!(shown.contains(&format!("unknown rule: 5432/tcp from {first} ")), "{shown}");
        terminal.type_in("\r").await;
        let shown = terminal.wait_for("the stack file does not state it; remove it? [y/N] ").await;
        assert!(shown.contains(&format!("unknown rule: 5432/tcp from {second} ")), "{shown}");
        // One that came while the question stood there is not what was answered.
        let late = [("IpPermissions.1.IpRanges.1.CidrIp", "10.7.0.0/16")];
        allow(&fixture, &own, "Ingress", "tcp", "5432", &late).await;
        terminal.type_in("y\r").await;
        let (code, rest) = terminal.ended().await;
        assert_eq!(code, 0, "{rest}");
        let rules = format!("{:?}", observe(&fixture).await.group("database-group").expect("it is up").rules);
        assert!(
            rules.contains(&first) && rules.contains("10.7.0.0/16") && !rules.contains(&second),
            "{rules}"
        );
        fixture.stop().await;
    });
}

#[test]
fn a_bastion_is_not_stopped_under_somebody_whom_the_question_did_not_name() {
    use deploy::bridge::{Bridge, Route, Silence};
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        let (cloud, inventory) = fixture.context.observe().await.expect("the account can be observed");
        let open = async || {
            let route =
                Route { host: "localhost".to_owned(), port: 9, sessions: 1, silence: Silence::TimesOut };
            Bridge::open(&fixture.context, &cloud, &inventory, route).await.expect("a session is open")
        };
        let one = open().await;
        let mut terminal = at_a_terminal(&fixture, &["bastion", "stop"]);
        let shown = terminal.wait_for("stop it? [y/N] ").await;
        assert_eq!(shown.matches("connected: ").count(), 1, "{shown}");
        let two = open().await;
        terminal.type_in("y\r").await;
        let shown = terminal.wait_for("stop it? [y/N] ").await;
        assert_eq!(shown.matches("connected: ").count(), 2, "{shown}");
        terminal.type_in("n\r").await;
        assert_eq!(terminal.ended().await.0, 130);
        assert_eq!(observe(&fixture).await.bastion().expect("it is up").state, "running");
        for bridge in [one, two] {
            bridge.close().await;
        }
        fixture.stop().await;
    });
}

#[test]
fn what_has_another_owner_by_the_time_of_the_answer_is_not_adopted() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        let vpc = observe(&fixture).await.vpc().expect("it is up").id.clone();
        let file = fixture.cloud.dir().join("scripts.env");
        let path = file.to_str().expect("it is text");
        fixture.run(&["env", path]).await.expect(0);
        crate::adopt::untag(&fixture).await;
        let mut terminal = at_a_terminal(&fixture, &["adopt", "--from", path]);
        terminal.wait_for("as parts of stack `startupwebapp-prod`? [y/N] ").await;
        let theirs = [
            ("ResourceId.1", vpc.as_str()),
            ("Tag.1.Key", "drawbridge:stack"),
            ("Tag.1.Value", "other-prod"),
        ];
        fixture.raw().ec2("CreateTags", &theirs).await;
        let tagged = async || {
            let tags = fixture.raw().ec2("DescribeTags", &[]).await;
            (tags.matches("other-prod").count(), tags.matches("<value>startupwebapp-prod</value>").count())
        };
        terminal.type_in("y\r").await;
        let (code, told) = terminal.ended().await;
        assert!(code == 2 || code == 8, "{code}: {told}");
        assert_eq!(tagged().await, (1, 0), "{told}");
        fixture.stop().await;
    });
}

#[test]
fn a_bastion_whose_time_is_not_over_any_more_is_not_swept() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        fixture.run(&["up", "--yes", "--ephemeral", "--ttl", "1h"]).await.expect(0);
        let bastion = observe(&fixture).await.bastion().expect("it is up").id.clone();
        let ends = async |time: &str| {
            let tag = [
                ("ResourceId.1", bastion.as_str()),
                ("Tag.1.Key", stack::spec::EXPIRY_TAG),
                ("Tag.1.Value", time),
            ];
            fixture.raw().ec2("CreateTags", &tag).await;
        };
        ends("2026-01-01T00:00:00Z").await;
        let mut terminal = at_a_terminal(&fixture, &["sweep", "--expired"]);
        let shown = terminal.wait_for("terminate those that are expired? [y/N] ").await;
        assert!(shown.contains(&bastion), "{shown}");
        ends("2126-01-01T00:00:00Z").await;
        terminal.type_in("y\r").await;
        let (code, told) = terminal.ended().await;
        assert!(code == 0 && told.contains("swept: 0 terminated"), "{code}: {told}");
        assert_eq!(observe(&fixture).await.bastion().map(|bastion| &*bastion.state), Some("running"));
        fixture.stop().await;
    });
}

#[test]
fn a_database_that_has_come_since_the_question_is_not_dropped_without_a_dump() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::Databases).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        let tenant = "healthtech_experiment";
        let mut terminal = at_a_terminal(&fixture, &["tenant", "drop", tenant]);
        let shown = terminal.wait_for(&format!("type `{tenant}` to go on: ")).await;
        assert!(shown.contains("no dump is taken"), "{shown}");
        fixture.run(&["tenant", "create", tenant]).await.expect(0);
        terminal.type_in(&format!("{tenant}\r")).await;
        let (code, told) = terminal.ended().await;
        assert!(code == 8 && told.contains("nothing was dropped"), "{code}: {told}");
        let again = fixture.run(&["tenant", "create", tenant, "--json"]).await.expect(0).json();
        assert_eq!(again["tenants"][0]["outcome"]["kind"], "unchanged", "{again}");
        fixture.stop().await;
    });
}
