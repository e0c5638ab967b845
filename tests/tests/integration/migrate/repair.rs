//! `migrate --repair` as a user types it: what it says is so, and what it cannot do it says.

use serde_json::Value;
use tests::{Fixture, Want};

use super::program::{Files, kinds};

const TENANT: &str = "startupwebapp_prod";

fn left(answer: &Value) -> Vec<&str> {
    let left = answer["tenants"][0]["left"].as_array().unwrap();
    left.iter().map(|one| one.as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_ahead_of_the_files_and_a_file_that_is_another_one_are_no_repair() {
    let fixture = Fixture::start(Want::Databases).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    fixture.run(&["tenant", "create"]).await.expect(0);
    let files = Files::new(&fixture);
    files.write("V1__a.sql", "CREATE TABLE a (id int);\n");
    files.write("V2__b.sql", "CREATE TABLE b (id int);\n");
    files.write("V4__d.sql", "CREATE TABLE d (id int);\n");
    files.migrate(&fixture, &[TENANT], 0).await;
    let fits = files.migrate(&fixture, &[TENANT, "--repair", "--yes"], 0).await;
    assert_eq!((&fits["failed"], fits["tenants"].as_array().unwrap().len()), (&Value::from(0), 0));

    // A release is rolled back: nothing fits, and nothing is repaired.
    files.remove("V4__d.sql");
    let ahead = files.migrate(&fixture, &[TENANT, "--repair", "--yes"], 6).await;
    let [one] = left(&ahead)[..] else { panic!("{ahead}") };
    assert!(one.starts_with("V4__d was applied on 20") && one.contains("ahead of these files"), "{one}");
    let args = files.args(&[TENANT, "--repair", "--yes"]);
    let args: Vec<&str> = args.iter().map(String::as_str).filter(|arg| *arg != "--json").collect();
    let ran = fixture.run(&args).await.expect(6);
    assert!(
        ran.stdout.contains("not repaired: V4__d was applied") && !ran.stdout.contains("fits"),
        "{ran:?}"
    );
    // One in the middle that is gone, and one that came late.
    files.write("V4__d.sql", "CREATE TABLE d (id int);\n");
    files.write("V3__c.sql", "CREATE TABLE c (id int);\n");
    files.remove("V2__b.sql");
    let gone = files.migrate(&fixture, &[TENANT, "--repair", "--yes"], 6).await;
    let [missing, late] = left(&gone)[..] else { panic!("{gone}") };
    assert!(missing.ends_with("put its file back"), "{missing}");
    assert!(late.contains("`migrate --out-of-order`"), "{late}");
    files.remove("V3__c.sql");

    // Renamed without a change, which its checksum proves; another file altogether, which is refused until it is meant.
    files.write("V2__b_renamed.sql", "CREATE TABLE b (id int);\n");
    files.remove("V4__d.sql");
    files.write("V4__other.sql", "CREATE TABLE other (id int);\n");
    let some = files.migrate(&fixture, &[TENANT, "--repair", "--yes"], 6).await;
    let [other] = left(&some)[..] else { panic!("{some}") };
    assert!(other.contains("another migration under the same version"), "{other}");
    assert!(other.contains("`--replaced 4`"), "{other}");
    let repaired = some["tenants"][0]["repaired"].as_array().unwrap();
    assert_eq!((repaired.len(), &repaired[0]["change"]), (1, &Value::from("renamed")), "{some}");
    assert_eq!(kinds(&files.migrate(&fixture, &[TENANT], 6).await), ["failed"]);
    let still = files.migrate(&fixture, &[TENANT, "--repair", "--replaced", "3", "--yes"], 6).await;
    assert_eq!(left(&still).len(), 1, "{still}");
    let meant = files.migrate(&fixture, &[TENANT, "--repair", "--replaced", "4", "--yes"], 0).await;
    assert_eq!(meant["tenants"][0]["repaired"][0]["change"], "replaced", "{meant}");
    assert_eq!(kinds(&files.migrate(&fixture, &[TENANT], 0).await), ["up-to-date"]);
    // Without `--repair` it means nothing.
    let alone = files.args(&[TENANT, "--replaced", "4"]);
    fixture.run(&alone.iter().map(String::as_str).collect::<Vec<_>>()).await.expect(2);

    // A search path that leads elsewhere stops each task, with the command that mends it.
    let moved = format!("CREATE SCHEMA app; ALTER ROLE {TENANT} SET search_path = app");
    fixture.run(&["psql", TENANT, "--", "-Xqc", &moved]).await.expect(0);
    let stack_and_dir = files.args(&[]);
    let common: Vec<&str> = stack_and_dir[1..].iter().map(String::as_str).collect();
    for (task, code) in [
        (["migrate", TENANT].as_slice(), 6),
        (&["migrate", TENANT, "--plan"], 6),
        (&["migrate", TENANT, "--repair", "--yes"], 6),
        (&["migrate", TENANT, "--baseline", "1", "--yes"], 6),
        (&["migrate", TENANT, "--join", "moved"], 6),
        (&["migrate", "status", TENANT, "--check"], 8),
        (&["tenant", "verify", TENANT], 6),
    ] {
        let with_files = if task[0] == "migrate" { common.as_slice() } else { &common[..1] };
        let ran = fixture.run(&[task, with_files].concat()).await.expect(code);
        let says = "ALTER TABLE public.refinery_schema_history SET SCHEMA app";
        assert!(ran.stdout.contains(says), "{task:?}: {ran:?}");
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_to_the_client_is_refused_before_anything_is_contacted() {
    let dir = tests::fresh_dir();
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("V1__a.sql"), "CREATE TABLE a (i int);\nCOPY (SELECT 1) TO STDOUT;\n").unwrap();
    let dir_text = dir.to_str().unwrap();
    for task in [["migrate", "--dir", dir_text].as_slice(), &["migrate", "--lint", "--dir", dir_text]] {
        let args: Vec<String> = task.iter().map(|arg| (*arg).to_owned()).collect();
        let ran = tokio::task::spawn_blocking(move || {
            tests::run(tests::program(&args.iter().map(String::as_str).collect::<Vec<_>>()))
        });
        let ran = ran.await.unwrap().expect(2);
        assert!(ran.stderr.contains("`V1__a.sql`: line 2: `COPY .. TO STDOUT` sends rows"), "{ran:?}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}
