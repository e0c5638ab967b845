//! The bastion's hours: started by whoever needs it, stopped by name, kept, and ended for good where it is ephemeral.

use deploy::bridge::{Bridge, Route, Silence};
use stack::inventory::Instance;
use stack::spec::EXPIRY_TAG;
use tests::{Fixture, Want, element};

async fn bastion(fixture: &Fixture) -> Instance {
    let (_, inventory) = fixture.context.observe().await.expect("the account can be observed");
    inventory.bastion().expect("there is a bastion").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_says_who_is_connected_and_whoever_needs_the_bastion_starts_it() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    let (cloud, inventory) = fixture.context.observe().await.expect("the account can be observed");
    let route = Route { host: "localhost".to_owned(), port: 9, sessions: 1, silence: Silence::TimesOut };
    let bridge = Bridge::open(&fixture.context, &cloud, &inventory, route).await.expect("a session is open");

    let ran = fixture.run(&["bastion", "stop"]).await.expect(2);
    assert!(ran.stderr.contains("connected: arn:aws:iam::"), "{}", ran.stderr);
    assert_eq!(bastion(&fixture).await.state, "running", "nobody has answered");
    let ran = fixture.run(&["down", "bastion"]).await.expect(2);
    assert!(ran.stderr.contains("connected: arn:aws:iam::"), "{}", ran.stderr);
    let stopped = fixture.run(&["bastion", "stop", "--yes", "--json"]).await.expect(0).json();
    assert_eq!((&stopped["outcome"], stopped["connected"].as_array().unwrap().len()), (&"stopped".into(), 1));
    bridge.close().await;
    assert_eq!(bastion(&fixture).await.state, "stopped");
    let again = fixture.run(&["bastion", "stop", "--json"]).await.expect(0).json();
    assert_eq!(again["outcome"], "unchanged");
    let cost = fixture.run(&["cost", "--json"]).await.expect(0).json();
    assert_eq!(cost["monthly_now"], cost["monthly_stopped"]);
    assert_ne!(cost["monthly_now"], cost["monthly_running"]);

    // Whoever needs it does not have to know, and is told at the end what runs now.
    let ran = fixture.run(&["exec", "--", "true"]).await.expect(0);
    let id = bastion(&fixture).await.id;
    assert!(ran.stderr.contains(&format!("bastion {id} is stopped; it is started")), "{}", ran.stderr);
    let last = ran.stderr.trim_end().lines().last().unwrap_or_default();
    assert!(last.starts_with("the bastion stops by itself at "), "{last}");
    let started = fixture.run(&["bastion", "start", "--json"]).await.expect(0).json();
    assert_eq!(started["outcome"], "unchanged");
    let cost = fixture.run(&["cost", "--json"]).await.expect(0).json();
    assert_eq!(cost["monthly_now"], cost["monthly_running"]);
    assert!(cost["bastion_since_start"]["cost"].is_number(), "{cost}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bastion_is_kept_by_a_tag_until_it_is_stopped() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    fixture.run(&["bastion", "keep"]).await.expect(1);
    fixture.run(&["up", "--yes"]).await.expect(0);
    for bad in ["1m", "25h", "soon", "-5m"] {
        let ran = fixture.run(&["bastion", "extend", "--", bad]).await.expect(2);
        assert!(ran.stderr.contains("DURATION: "), "{}", ran.stderr);
    }
    let calls = fixture.cloud.gateway().journal().len();
    let extended = fixture.run(&["bastion", "extend", "2h", "--json"]).await.expect(0).json();
    assert!(fixture.cloud.gateway().journal().len() > calls);
    let until = bastion(&fixture).await.keep_until.expect("it is tagged");
    assert_eq!(extended["keep_until"], until.as_str());
    let until: jiff::Timestamp = until.parse().expect("it is a time");
    let minutes = until.duration_since(jiff::Timestamp::now()).as_mins();
    assert!((110..=120).contains(&minutes), "{minutes} minutes");
    let ran = fixture.run(&["bastion", "keep"]).await.expect(0);
    assert!(
        ran.stderr.contains("still running: instance "),
        "now nothing but a person ends it: {}",
        ran.stderr
    );
    assert_eq!(bastion(&fixture).await.keep_until.as_deref(), Some("always"));
    fixture.run(&["plan", "--check"]).await.expect(0);
    fixture.run(&["bastion", "stop"]).await.expect(0);
    assert_eq!(bastion(&fixture).await.keep_until, None, "the next start is an ordinary one");
    let ran = fixture.run(&["bastion", "keep"]).await.expect(1);
    assert!(ran.stderr.contains("cargo xtask bastion start"), "{}", ran.stderr);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ephemeral_bastion_terminates_itself_and_what_is_over_is_swept() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    fixture.run(&["up", "--yes", "--ephemeral"]).await.expect(2);
    fixture.run(&["up", "--yes", "--ephemeral", "--ttl", "2d"]).await.expect(2);
    assert!(fixture.cloud.gateway().journal().is_empty(), "AWS was contacted");
    let ran = fixture.run(&["up", "--yes", "--ephemeral", "--ttl", "30m"]).await.expect(0);
    assert!(ran.stdout.contains("it removes itself at "), "{}", ran.stdout);
    let first = bastion(&fixture).await;
    let ask = async |attribute: &str, tag: &str| {
        let asked = [("InstanceId", first.id.as_str()), ("Attribute", attribute)];
        let answer = fixture.raw().ec2("DescribeInstanceAttribute", &asked).await;
        let at = answer.find(&format!("<{tag}>")).map_or(0, |at| at);
        element(&answer[at..], "value").expect("it has a value")
    };
    let behavior = "instanceInitiatedShutdownBehavior";
    assert_eq!(ask(behavior, behavior).await, "terminate");
    for refused in [&["bastion", "stop"][..], &["bastion", "keep"]] {
        fixture.run(refused).await.expect(2);
    }
    fixture.run(&["plan", "--check"]).await.expect(0);

    let swept = fixture.run(&["sweep", "--expired", "--yes", "--json"]).await.expect(0).json();
    assert_eq!((swept["terminated"].as_u64(), swept["alive"].as_array().unwrap().len()), (Some(0), 1));
    let tag = async |value: &str| {
        let tag = [("ResourceId.1", first.id.as_str()), ("Tag.1.Key", EXPIRY_TAG), ("Tag.1.Value", value)];
        fixture.raw().ec2("CreateTags", &tag).await;
    };
    tag("some day").await;
    let ran = fixture.run(&["sweep", "--expired", "--yes"]).await.expect(9);
    assert!(ran.stdout.contains("unreadable date") && ran.stderr.contains(EXPIRY_TAG), "{ran:?}");
    tag("2026-01-01T00:00:00Z").await;
    fixture.run(&["sweep", "--expired", "--dry-run"]).await.expect(0);
    fixture.run(&["sweep", "--expired"]).await.expect(2);
    assert_eq!(bastion(&fixture).await.state, "running", "nothing was confirmed");
    let swept = fixture.run(&["sweep", "--expired", "--yes", "--json"]).await.expect(0).json();
    assert_eq!(swept["terminated"], 1);
    let swept = fixture.run(&["sweep", "--expired", "--all-stacks", "--json"]).await.expect(0).json();
    assert_eq!(swept["expired"].as_array().unwrap().len(), 0);

    // One that is to stay cannot be called ephemeral afterwards.
    fixture.run(&["up", "--yes"]).await.expect(0);
    let ran = fixture.run(&["up", "--yes", "--ephemeral", "--ttl", "30m"]).await.expect(2);
    assert!(ran.stderr.contains("is there already, and stays"), "{}", ran.stderr);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_sessions_that_fails_is_not_taken_for_nobody() {
    use sandbox::gateway::{Fault, FaultKind};
    let fixture = Fixture::start(Want::ControlPlane).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    for task in [&["bastion", "stop", "--yes"][..], &["down", "--yes"]] {
        let kind = FaultKind::Error { status: 400, code: "AccessDeniedException".to_owned() };
        let operation = Some("DescribeSessions".to_owned());
        fixture.cloud.gateway().inject(Fault { service: None, operation, nth: 1, kind });
        fixture.run(task).await.expect(3);
        assert_eq!(bastion(&fixture).await.state, "running", "{task:?}");
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_says_what_changes_by_itself() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    fixture.run(&["bastion", "keep"]).await.expect(0);
    let stack = &fixture.context.stack;
    fixture.raw().rds("StopDBInstance", &[("DBInstanceIdentifier", &stack.database.identifier)]).await;
    let secret = serde_json::json!({ "SecretId": stack.master_secret_name(), "RecoveryWindowInDays": 7 });
    fixture.raw().secrets("DeleteSecret", &secret).await;
    let ran = fixture.run(&["status", "--check", "--json"]).await.expect(8);
    let notes = ran.json()["notes"].to_string();
    for part in
        ["is scheduled for deletion", "is stopped; RDS starts it by itself at 2", "is stopped by name"]
    {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    let (_, inventory) = fixture.context.observe().await.expect("the account can be observed");
    let restart = inventory.database.and_then(|database| database.restarts_at).expect("RDS says when");
    let restart: jiff::Timestamp = restart.parse().expect("it is a time");
    let hours = restart.duration_since(jiff::Timestamp::now()).as_hours();
    assert!((166..=168).contains(&hours), "{hours} hours");
    fixture.run(&["up", "--yes"]).await.expect(0);
    let status = fixture.run(&["status", "--check", "--json"]).await.expect(0).json();
    assert_eq!(status["notes"].as_array().unwrap().len(), 1, "the bastion is still kept");
    fixture.stop().await;
}
