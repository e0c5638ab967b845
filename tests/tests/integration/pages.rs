//! `status` and `resources`, as text, as JSON and as a page: the same of a whole stack and of a broken one.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself has failed")]

use serde_json::{Value, json};
use stack::spec::{KEEP_TAG, STACK_TAG};
use tests::{Fixture, Ran, Want, program, run};

/// Returns the lines of the table with that title, as the text of their cells.
fn lines(page: &str, title: &str) -> Vec<Vec<String>> {
    let (_, table) =
        page.split_once(&format!("<h2>{title}</h2>")).unwrap_or_else(|| panic!("{title}: {page}"));
    let (table, _) = table.split_once("</table>").unwrap();
    let (_, body) = table.split_once("<tbody>").unwrap();
    body.split("</tr>")
        .filter(|line| line.contains("<tr"))
        .map(|line| {
            line.replace("</th>", "</td>")
                .split("</td>")
                .filter_map(|cell| Some(cell.rsplit_once('>')?.1))
                .map(text)
                .collect()
        })
        .collect()
}

fn text(markup: &str) -> String {
    let text = markup.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    text.replace("&amp;", "&")
}

/// What a browser shows instead of what would turn text round.
fn shown(value: &Value) -> String {
    value.as_str().unwrap_or_default().replace('\u{202e}', "\\u{202e}")
}

struct Seen {
    json: Value,
    page: String,
    ran: Ran,
}

/// Looks once, and returns what that gave as JSON and as a page.
async fn look(fixture: &Fixture, args: &[&str], code: i32) -> Seen {
    let file = fixture.cloud.dir().join("page.html");
    let html = ["--html", file.to_str().unwrap(), "--json"];
    let ran = fixture.run(&[args, &html].concat()).await.expect(code);
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(
        page.starts_with("<!DOCTYPE html>") && !page.contains("<script") && !page.contains("://"),
        "{page}"
    );
    Seen { json: ran.json(), page, ran }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("it is a list")
}

/// Every step on the page as in the JSON.
fn agrees_on_steps(seen: &Seen) {
    let want: Vec<Vec<String>> = list(&seen.json["parts"])
        .iter()
        .map(|part| ["state", "says", "detail", "id"].map(|field| shown(&part[field])).to_vec())
        .collect();
    let have: Vec<Vec<String>> = lines(&seen.page, "Steps").iter().map(|cells| cells[1..].to_vec()).collect();
    assert_eq!((have.len(), have), (19, want));
}

/// Every resource on the page as in the JSON.
fn agrees_on_resources(seen: &Seen) {
    let want: Vec<Vec<String>> = list(&seen.json["resources"])
        .iter()
        .map(|one| ["kind", "id", "state", "since", "detail", "arn"].map(|field| shown(&one[field])).to_vec())
        .collect();
    let mut have = lines(&seen.page, "Resources");
    for cells in &mut have {
        // The step's title and the age are for people.
        cells.remove(4);
        cells.remove(0);
    }
    assert_eq!(have, want);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_resource_is_listed_with_what_aws_says_of_it() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    let nothing = look(&fixture, &["resources"], 0).await;
    assert!(list(&nothing.json["resources"]).is_empty() && nothing.json["connect"].is_null());
    assert_eq!(list(&nothing.json["absent"]).len(), 16, "{}", nothing.json);

    fixture.run(&["up", "--yes"]).await.expect(0);
    let seen = look(&fixture, &["resources"], 0).await;
    agrees_on_resources(&seen);
    assert!(list(&seen.json["absent"]).is_empty(), "{:#}", seen.json);
    let resources = list(&seen.json["resources"]);
    let of_kind = |kind: &str| resources.iter().filter(|one| one["kind"] == kind).collect::<Vec<_>>();
    for (kind, count) in [
        ("vpc", 1),
        ("subnet", 3),
        ("internet gateway", 1),
        ("route table", 2),
        ("route table association", 3),
        ("security group", 2),
        ("secret", 1),
        ("database subnet group", 1),
        ("database", 1),
        ("role", 1),
        ("instance profile", 1),
        ("instance", 1),
        ("volume", 1),
        ("managed instance", 1),
    ] {
        assert_eq!(of_kind(kind).len(), count, "{kind}: {:#}", seen.json);
    }
    for (kind, state) in [("vpc", "available"), ("database", "available"), ("instance", "running")] {
        assert_eq!(of_kind(kind)[0]["state"], state, "{kind}");
    }
    for kind in ["secret", "database", "role", "instance profile", "instance", "volume"] {
        assert!(
            of_kind(kind)[0]["age_seconds"].as_u64().is_some_and(|age| age < 3600),
            "{kind}: {:#}",
            seen.json
        );
    }
    for kind in ["secret", "database", "database subnet group", "role", "instance profile"] {
        assert!(of_kind(kind)[0]["arn"].as_str().is_some_and(|arn| arn.starts_with("arn:aws:")), "{kind}");
    }
    // What the order of the steps is, is written in one place.
    let steps: Vec<&str> = resources.iter().map(|one| one["step"].as_str().unwrap()).collect();
    let order = stack::resource::CREATE_ORDER.map(stack::Resource::tag);
    assert!(steps.is_sorted_by_key(|step| order.iter().position(|one| one == step)), "{steps:?}");

    let text = fixture.run(&["resources"]).await.expect(0).stdout;
    for one in resources {
        assert!(text.contains(one["id"].as_str().unwrap()), "{one}: {text}");
    }
    let bastion = of_kind("instance")[0]["id"].as_str().unwrap();
    let connect = &seen.json["connect"];
    assert!(connect["aws_cli"].as_str().unwrap().contains(&format!("--target {bastion} ")), "{connect}");
    for way in ["endpoint", "psql", "tunnel", "shell", "aws_cli"] {
        let way = connect[way].as_str().unwrap();
        assert!(text.contains(way) && seen.page.contains(way), "{way}: {text}");
    }
    let (cloud, _) = fixture.context.observe().await.unwrap();
    let master = fixture.context.stack.master_secret_name();
    let password = aws::secret::get(&cloud, &fixture.context.stack, &master).await.unwrap();
    for seen in [&text, &seen.page, &seen.ran.stdout, &seen.ran.stderr] {
        assert!(!seen.contains(password.expose()), "the master's password is shown");
    }
    let status = look(&fixture, &["status", "--check"], 0).await;
    agrees_on_steps(&status);
    assert_eq!((&status.json["connect"], &status.json["next"]), (connect, &json!([])));
    assert!(status.page.contains(">healthy: 19 of 19 parts ready<"), "{}", status.page);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_stack_is_told_the_same_in_text_json_and_on_the_page() {
    const HOSTILE: &str = "</td></table><img src=x onerror='alert(1)'>\"&\u{202e}";
    let fixture = Fixture::start(Want::ControlPlane).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    let (_, inventory) = fixture.context.observe().await.unwrap();
    let (stack, raw) = (&fixture.context.stack, fixture.raw());
    raw.rds("StopDBInstance", &[("DBInstanceIdentifier", &stack.database.identifier)]).await;
    let scheduled = json!({ "SecretId": stack.master_secret_name(), "RecoveryWindowInDays": 7 });
    raw.secrets("DeleteSecret", &scheduled).await;
    let bastion = inventory.bastion().unwrap().id.as_str();
    let tag = [("ResourceId.1", bastion), ("Tag.1.Key", KEEP_TAG), ("Tag.1.Value", HOSTILE)];
    raw.ec2("CreateTags", &tag).await;
    let name = format!("{}/{HOSTILE}", stack.database.secret_prefix);
    let tags = json!([{ "Key": STACK_TAG, "Value": stack.name }]);
    let token = "0123456789abcdef0123456789abcdef";
    let secret = json!({ "Name": name, "SecretString": "{}", "Tags": tags, "ClientRequestToken": token });
    raw.secrets("CreateSecret", &secret).await;
    let table = inventory.route_table("public-routes").unwrap().id.as_str();
    raw.ec2("DeleteRoute", &[("RouteTableId", table), ("DestinationCidrBlock", "0.0.0.0/0")]).await;
    let changed = std::fs::read_to_string(tests::STACK_FILE).unwrap();
    let changed = changed.replace("db.t4g.small", "db.t4g.large");
    let file = fixture.cloud.dir().join("changed.toml");
    std::fs::write(&file, changed).unwrap();
    let with_file = ["--stack", file.to_str().unwrap()];

    let seen = look(&fixture, &[&with_file[..], &["status", "--check"]].concat(), 8).await;
    agrees_on_steps(&seen);
    let part = |name: &str| list(&seen.json["parts"]).iter().find(|part| part["part"] == name).unwrap();
    assert_eq!(part("database")["state"], "stopped");
    assert!(
        part("database")["says"].as_str().unwrap().starts_with("stopped, db.t4g.small "),
        "{}",
        seen.json
    );
    assert_eq!(part("public-routes")["state"], "half-made");
    assert!(part("master-secret")["says"].as_str().unwrap().starts_with("scheduled for deletion"));
    assert!(seen.json["connect"].is_null(), "nothing serves");
    let drift = lines(&seen.page, "Differs from the stack file");
    assert_eq!(drift, [["database", "class", "db.t4g.large", "db.t4g.small"].map(str::to_owned)]);
    assert!(seen.json["drift"][0]["want"] == "db.t4g.large" && list(&seen.json["drift"]).len() == 1);
    let findings = lines(&seen.page, "Why the bastion is not reached");
    assert_eq!(findings[0][0], seen.json["findings"][0]["sentence"].as_str().unwrap());
    let human = fixture.run(&[&with_file[..], &["status"]].concat()).await.expect(0).stdout;
    let unescaped = text(&seen.page);
    for told in [&seen.json["notes"], &seen.json["next"]] {
        assert!(list(told).len() >= 3, "{told}");
        for one in list(told).iter().map(shown) {
            assert!(unescaped.contains(&one) && human.contains(&one), "{one}: {human}");
        }
    }
    let restarts_at = seen.json["inventory"]["database"]["restarts_at"].as_str().unwrap();
    assert!(unescaped.contains(&format!("RDS starts it by itself at {restarts_at}")), "{unescaped}");

    let resources = look(&fixture, &["resources"], 0).await;
    agrees_on_resources(&resources);
    assert!(
        list(&resources.json["resources"]).iter().any(|one| one["id"] == name.as_str()),
        "{}",
        resources.json
    );
    let human = fixture.run(&["resources"]).await.expect(0).stdout + &human;
    for seen in [&seen.page, &resources.page, &human] {
        assert!(!seen.contains('\u{202e}'), "text is turned round: {seen}");
    }
    assert!(!seen.page.contains("<img") && !resources.page.contains("<img"));
    fixture.stop().await;
}

#[test]
fn a_page_that_cannot_be_written_is_found_before_aws_is_asked() {
    for task in [&["status"][..], &["resources"], &["migrate", "status"]] {
        let mut args = task.to_vec();
        args.extend(["--html", "/nowhere/page.html"]);
        // There is no AWS at all: whoever asked it would end with 4.
        let ran = run(program(&args)).expect(2);
        assert!(ran.stderr.contains("cannot write `/nowhere/page.html`"), "{}", ran.stderr);
    }
}
