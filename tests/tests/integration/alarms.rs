//! What watches the database: alarms and the mail that they send, enhanced monitoring, logs in CloudWatch.

use sandbox::gateway::{Fault, FaultKind};
use serde_json::{Value, json};
use tests::{Fixture, Want, watched_stack_file};

const OPS: &str = "ops@example.com";

fn parsed(answer: &str) -> Value {
    serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).expect("it is a list")
}

async fn alarms(fixture: &Fixture) -> Vec<Value> {
    let answer = parsed(&fixture.raw().cloudwatch("DescribeAlarms", &json!({})).await);
    answer["MetricAlarms"].as_array().cloned().expect("it is a list")
}

async fn log_groups(fixture: &Fixture) -> Vec<String> {
    let answer = parsed(&fixture.raw().logs("DescribeLogGroups", &json!({})).await);
    let names = list(&answer["logGroups"]).iter().filter_map(|group| group["logGroupName"].as_str());
    names.map(str::to_owned).collect()
}

/// Follows the link in the mail: the sandbox's token is the address.
async fn confirm(fixture: &Fixture, topic: &str, email: &str) {
    fixture.raw().sns("ConfirmSubscription", &[("TopicArn", topic), ("Token", email)]).await;
}

fn notes(status: &Value) -> String {
    list(&status["notes"]).iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alarms_come_with_up_tell_whom_the_file_says_and_go_with_down() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    let file = watched_stack_file(fixture.cloud.dir(), OPS);
    let watched = |args: &[&'static str]| [&["--stack".to_owned(), file.clone()][..], &owned(args)].concat();
    run(&fixture, &watched(&["up", "--yes"]), 0).await;
    let status = run(&fixture, &watched(&["status", "--check", "--json"]), 0).await;
    assert!(notes(&status).contains("ops@example.com is not confirmed"), "{}", status["notes"]);
    let topic = status["inventory"]["topic"]["arn"].as_str().expect("there is a topic").to_owned();

    let made = alarms(&fixture).await;
    let threshold = |metric: &str| {
        let alarm = made.iter().find(|alarm| alarm["MetricName"] == metric).expect("there is one");
        assert_eq!(alarm["AlarmActions"], json!([topic]), "{alarm}");
        assert_eq!(alarm["Dimensions"][0]["Value"], "startupwebapp-multi-tenant-prod", "{alarm}");
        alarm["Threshold"].as_f64().expect("it is a number")
    };
    assert_eq!((made.len(), threshold("CPUUtilization"), threshold("DatabaseConnections")), (4, 80.0, 180.0));
    assert_eq!(threshold("FreeStorageSpace"), f64::from(1u32 << 31));
    assert!(threshold("FreeableMemory") < 2.2e8);

    confirm(&fixture, &topic, OPS).await;
    let status = run(&fixture, &watched(&["status", "--json"]), 0).await;
    assert_eq!(notes(&status), "");

    // Somebody has been at them.
    let cpu = "startupwebapp-prod-database-cpu";
    fixture.raw().cloudwatch("DisableAlarmActions", &json!({ "AlarmNames": [cpu] })).await;
    let memory = "startupwebapp-prod-database-freeable-memory";
    fixture.raw().cloudwatch("DeleteAlarms", &json!({ "AlarmNames": [memory] })).await;
    let plan = run(&fixture, &watched(&["plan", "--check", "--json"]), 8).await;
    let text = plan.to_string();
    assert!(text.contains(&format!("{cpu} tells nobody")) && text.contains(&format!("{memory} is missing")));
    run(&fixture, &watched(&["up", "--yes"]), 0).await;
    run(&fixture, &watched(&["plan", "--check"]), 0).await;
    assert_eq!(alarms(&fixture).await.len(), 4);

    // The file says something else now.
    watched_stack_file(fixture.cloud.dir(), "night@example.com");
    let text = std::fs::read_to_string(&file).expect("it was written");
    let text = text.replace("[alarms]\nemail", "[alarms]\ncpu_percent = 65\nemail");
    std::fs::write(&file, text).expect("it can be written");
    run(&fixture, &watched(&["up", "--yes"]), 0).await;
    let cpu = alarms(&fixture).await.into_iter().find(|alarm| alarm["AlarmName"] == cpu);
    assert_eq!(cpu.expect("it is there")["Threshold"], 65.0);
    let subscribed = fixture.raw().sns("ListSubscriptionsByTopic", &[("TopicArn", &topic)]).await;
    assert!(subscribed.contains(">night@example.com<") && !subscribed.contains(OPS), "{subscribed}");
    assert!(subscribed.contains(">PendingConfirmation<"), "{subscribed}");

    // Turned off, they go with the next `up`; turned on again, with `down`, whatever the file says then.
    fixture.run(&["up", "--yes"]).await.expect(0);
    fixture.run(&["plan", "--check"]).await.expect(0);
    assert_eq!(alarms(&fixture).await.len(), 0);
    assert!(!fixture.raw().sns("ListTopics", &[]).await.contains(&topic));
    run(&fixture, &watched(&["up", "--yes"]), 0).await;
    let left = run(&fixture, &watched(&["audit", "--json"]), 9).await["left"].to_string();
    for what in [topic.as_str(), memory, "startupwebapp-prod-us-east-1-monitoring", "/aws/rds/instance/"] {
        assert!(left.contains(what), "{what} is not in {left}");
    }
    let receipt = fixture.run(&["down", "--yes", "--json"]).await.expect(0).json();
    let gone = receipt["gone"].to_string();
    for what in [topic.as_str(), memory, "cloudwatch:DescribeAlarms", "sns:GetTopicAttributes"] {
        assert!(gone.contains(what), "{what} is not in {gone}");
    }
    fixture.run(&["audit"]).await.expect(0);
    assert_eq!(alarms(&fixture).await.len(), 0);
    assert!(!fixture.raw().sns("ListTopics", &[]).await.contains(&topic));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn monitoring_has_a_role_of_its_own_and_logs_go_after_the_database() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    let file = watched_stack_file(fixture.cloud.dir(), OPS);
    run(&fixture, &owned(&["--stack", &file, "up", "--yes"]), 0).await;
    let database = fixture.raw().rds("DescribeDBInstances", &[]).await;
    assert!(database.contains("<MonitoringInterval>60<"), "{database}");
    assert!(
        database.contains(
            "role/drawbridge/startupwebapp/prod/us-east-1/startupwebapp-prod-us-east-1-monitoring<"
        ),
        "{database}"
    );
    assert_eq!(log_groups(&fixture).await.len(), 2);

    // Off: RDS lets go of the role before it is deleted. The logs stay, they are data.
    fixture.run(&["up", "--yes"]).await.expect(0);
    fixture.run(&["plan", "--check"]).await.expect(0);
    let database = fixture.raw().rds("DescribeDBInstances", &[]).await;
    assert!(database.contains("<MonitoringInterval>0<"), "{database}");
    assert!(!fixture.raw().iam("ListRoles", &[]).await.contains("startupwebapp-prod-us-east-1-monitoring"));
    assert_eq!(log_groups(&fixture).await.len(), 2);

    run(&fixture, &owned(&["--stack", &file, "up", "--yes"]), 0).await;
    // Of another database whose name begins alike.
    let other = "/aws/rds/instance/startupwebapp-multi-tenant-prod-2/postgresql";
    fixture.raw().logs("CreateLogGroup", &json!({ "logGroupName": other })).await;
    let receipt = fixture.run(&["down", "--yes", "--json"]).await.expect(0).json();
    let gone = list(&receipt["gone"]);
    let at = |kind: &str| gone.iter().position(|one| one["kind"] == kind).expect("it is told");
    assert!(at("database") < at("log groups"), "{receipt}");
    assert_eq!(log_groups(&fixture).await, [other]);
    fixture.run(&["audit"]).await.expect(0);
    fixture.stop().await;
}

/// Whatever becomes of a call, the next `up` or `down` finishes the work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_is_lost_leaves_neither_a_second_topic_nor_an_alarm_behind() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    let file = watched_stack_file(fixture.cloud.dir(), OPS);
    let lose = |service: &str, operation: &str| {
        fixture.cloud.gateway().inject(Fault {
            service: Some(service.to_owned()),
            operation: Some(operation.to_owned()),
            nth: 1,
            kind: FaultKind::LostReply,
        });
    };
    for (service, operation) in [
        ("sns", "CreateTopic"),
        ("sns", "Subscribe"),
        ("monitoring", "PutMetricAlarm"),
        ("iam", "CreateRole"),
    ] {
        lose(service, operation);
    }
    // Lost replies are asked for again, or the run fails and the next one goes on.
    fixture.run(&["--stack", &file, "up", "--yes"]).await;
    run(&fixture, &owned(&["--stack", &file, "up", "--yes"]), 0).await;
    run(&fixture, &owned(&["--stack", &file, "plan", "--check"]), 0).await;
    assert_eq!(alarms(&fixture).await.len(), 4);
    assert_eq!(fixture.raw().sns("ListTopics", &[]).await.matches("<TopicArn>").count(), 1);
    for (service, operation) in
        [("sns", "DeleteTopic"), ("monitoring", "DeleteAlarms"), ("logs", "DeleteLogGroup")]
    {
        lose(service, operation);
    }
    fixture.run(&["down", "--yes"]).await;
    fixture.run(&["down", "--yes"]).await.expect(0);
    fixture.run(&["audit"]).await.expect(0);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_refused_is_not_an_empty_one_and_what_others_made_is_left_alone() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    for (service, operation) in
        [("monitoring", "DescribeAlarms"), ("sns", "ListTopics"), ("logs", "DescribeLogGroups")]
    {
        fixture.cloud.gateway().deny(service, operation);
        let audit = fixture.run(&["audit", "--json"]).await.expect(9).json();
        assert!(audit["unseen"].to_string().contains(operation), "{audit}");
        fixture.cloud.gateway().allow_all();
    }
    let file = watched_stack_file(fixture.cloud.dir(), OPS);
    // Alarms of these names that watch something else.
    let cpu = json!({
        "AlarmName": "startupwebapp-prod-database-cpu", "Namespace": "AWS/RDS", "MetricName": "CPUUtilization",
        "Dimensions": [{ "Name": "DBInstanceIdentifier", "Value": "other" }], "Statistic": "Average",
        "ComparisonOperator": "GreaterThanThreshold", "Threshold": 1.0, "Period": 60, "EvaluationPeriods": 1,
    });
    fixture.raw().cloudwatch("PutMetricAlarm", &cpu).await;
    let ran = fixture.run(&["--stack", &file, "up", "--yes"]).await.expect(2);
    assert!(ran.stderr.contains("does not belong to this stack"), "{}", ran.stderr);
    fixture.run(&["down", "--yes"]).await.expect(0);
    let left = alarms(&fixture).await;
    assert_eq!((left.len(), left[0]["Threshold"].as_f64()), (1, Some(1.0)));
    fixture.stop().await;
}

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

/// Runs the program, and returns its answer if that is JSON.
async fn run(fixture: &Fixture, args: &[String], code: i32) -> Value {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ran = fixture.run(&args).await.expect(code);
    serde_json::from_str(&ran.stdout).unwrap_or_default()
}
