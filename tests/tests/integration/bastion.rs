//! A bastion that does not connect: the wait ends with the cause named, and `up` mends it.

use std::time::Duration;

use aws::session::{Asleep, ReadyWait};
use deploy::task::up;
use stack::Inventory;
use tests::{Fixture, Want, element, until_called};

/// Replaces the bastion by one that was launched behind our back, as the stack's own but for what is broken.
pub(crate) async fn relaunch(fixture: &Fixture, inventory: &Inventory, public_address: &str) -> String {
    let role = fixture.context.stack.role_name();
    relaunch_with(fixture, inventory, public_address, &[("IamInstanceProfile.Name", &role)]).await
}

/// As [`relaunch`], with other parameters in the place of the profile.
pub(crate) async fn relaunch_with(
    fixture: &Fixture,
    inventory: &Inventory,
    public_address: &str,
    more: &[(&str, &str)],
) -> String {
    let raw = fixture.raw();
    let old = &inventory.bastion().expect("`up` made a bastion").id;
    raw.ec2("TerminateInstances", &[("InstanceId.1", old)]).await;
    let stack = &fixture.context.stack;
    let subnet = &inventory.subnet("public-subnet").expect("a subnet").id;
    let group = &inventory.group("bastion-group").expect("a group").id;
    let image = inventory.image.as_deref().expect("the region has an image");
    let own = [
        ("ImageId", image),
        ("InstanceType", "t3.micro"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("NetworkInterface.1.DeviceIndex", "0"),
        ("NetworkInterface.1.SubnetId", subnet),
        ("NetworkInterface.1.SecurityGroupId.1", group),
        ("NetworkInterface.1.AssociatePublicIpAddress", public_address),
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.1.Tag.1.Key", stack::spec::STACK_TAG),
        ("TagSpecification.1.Tag.1.Value", &stack.name),
        ("TagSpecification.1.Tag.2.Key", stack::spec::RESOURCE_TAG),
        ("TagSpecification.1.Tag.2.Value", "instance"),
    ];
    let launched = raw.ec2("RunInstances", &[&own[..], more].concat()).await;
    element(&launched, "instanceId").expect("an instance was launched")
}

/// Starts a sandbox whose agents try again soon: the real one sleeps for minutes after a failure.
async fn sandbox() -> Fixture {
    Fixture::start_with(Want::ControlPlane, |gateway| gateway.agent_retry = Duration::from_millis(200)).await
}

/// Waits for a session to the instance and returns the error's whole chain.
async fn refusal(fixture: &Fixture, instance: &str) -> String {
    let (cloud, _) = fixture.context.observe().await.expect("the account can be observed");
    let context = &fixture.context;
    let wait = ReadyWait { limit: Duration::from_secs(600), asleep: Asleep::IsLeft };
    let waited = aws::session::wait_until_openable(
        &cloud,
        &context.stack,
        instance,
        wait,
        &context.events,
        &context.stop,
    )
    .await;
    let error = anyhow_chain(&waited.expect_err("no session can be opened"));
    assert!(!error.contains("timed out"), "{error}");
    error
}

fn anyhow_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// Whatever was broken, `up` ends with a session.
async fn up_mends(fixture: &Fixture) {
    let (_, inventory, steps) = up::converge(&fixture.context, &[]).await.unwrap_or_else(|failure| {
        panic!("`up` does not mend it: {}", failure.render_text());
    });
    assert!(steps > 0, "`up` saw nothing to mend");
    let agent = inventory.agent.expect("the bastion's agent is known");
    assert_eq!(agent.ping_status, "Online");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bastion_without_a_public_address_is_named_and_replaced() {
    let fixture = sandbox().await;
    let (_, inventory, _) = up::converge(&fixture.context, &[]).await.expect("`up` succeeds");
    let instance = relaunch(&fixture, &inventory, "false").await;
    let error = refusal(&fixture, &instance).await;
    assert!(error.contains(&instance) && error.contains("no public IPv4 address"), "{error}");
    up_mends(&fixture).await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bastion_without_a_route_out_is_named_and_mended() {
    let fixture = sandbox().await;
    let (_, inventory, _) = up::converge(&fixture.context, &[]).await.expect("`up` succeeds");
    let table = inventory.route_table("public-routes").expect("a route table").id.clone();
    let route = [("RouteTableId", table.as_str()), ("DestinationCidrBlock", "0.0.0.0/0")];
    fixture.raw().ec2("DeleteRoute", &route).await;
    let instance = relaunch(&fixture, &inventory, "true").await;
    let error = refusal(&fixture, &instance).await;
    assert!(error.contains("0.0.0.0/0"), "{error}");
    up_mends(&fixture).await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bastion_whose_role_lacks_the_policy_is_named_and_mended() {
    let fixture = sandbox().await;
    let (_, inventory, _) = up::converge(&fixture.context, &[]).await.expect("`up` succeeds");
    let role = fixture.context.stack.role_name();
    let arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";
    fixture.raw().iam("DetachRolePolicy", &[("RoleName", role.as_str()), ("PolicyArn", arn)]).await;
    let instance = relaunch(&fixture, &inventory, "true").await;
    let error = refusal(&fixture, &instance).await;
    assert!(error.contains("AmazonSSMManagedInstanceCore"), "{error}");
    up_mends(&fixture).await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_while_up_waits_is_named_too() {
    // The agent looks round five seconds after its start; the route goes away before that, by one call.
    let fixture = Fixture::start_with(Want::ControlPlane, |gateway| {
        gateway.registration_delay = Duration::from_secs(5);
    })
    .await;
    let broken = async {
        let gateway = fixture.cloud.gateway();
        let succeeds = |call: &sandbox::gateway::Call, operation| {
            call.operation == operation && call.status == Some(200)
        };
        until_called(gateway, 0, "the route is made", |call| succeeds(call, "CreateRoute")).await;
        let tables = [("Filter.1.Name", "route.destination-cidr-block"), ("Filter.1.Value.1", "0.0.0.0/0")];
        let tables = fixture.raw().ec2("DescribeRouteTables", &tables).await;
        let table = element(&tables, "routeTableId").expect("a table has the route");
        let route = [("RouteTableId", table.as_str()), ("DestinationCidrBlock", "0.0.0.0/0")];
        until_called(gateway, 0, "the bastion is launched", |call| succeeds(call, "RunInstances")).await;
        fixture.raw().ec2("DeleteRoute", &route).await;
    };
    let (up, ()) = tokio::join!(up::converge(&fixture.context, &[]), broken);
    let failure = up.expect_err("`up` cannot open a session").render_text();
    assert!(failure.contains("0.0.0.0/0") && !failure.contains("timed out"), "{failure}");
    assert!(failure.contains("hint: ") && failure.contains("the bastion stops by itself at "), "{failure}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bastion_that_is_gone_is_not_waited_for() {
    let fixture = Fixture::start_with(Want::ControlPlane, |gateway| {
        gateway.registration_delay = Duration::from_secs(3600);
    })
    .await;
    let gone = async {
        let waits = |call: &sandbox::gateway::Call| call.operation == "DescribeInstanceInformation";
        until_called(fixture.cloud.gateway(), 0, "the agent is waited for", waits).await;
        let (_, inventory) = fixture.context.observe().await.expect("the account can be observed");
        let bastion = inventory.bastion().expect("it was launched").id.clone();
        fixture.raw().ec2("TerminateInstances", &[("InstanceId.1", &bastion)]).await;
        bastion
    };
    let (up, bastion) = tokio::join!(up::converge(&fixture.context, &[]), gone);
    let failure = up.expect_err("`up` cannot open a session").render_text();
    assert!(failure.contains(&format!("bastion `{bastion}`")) && failure.contains("gone"), "{failure}");
    fixture.stop().await;
}
