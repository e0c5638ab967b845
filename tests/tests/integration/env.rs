//! `env`: a file that a shell reads, with what AWS knows and no secret.

use std::process::Command;

use tests::{Fixture, Want};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_reads_the_ids_of_what_exists() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    let file = fixture.cloud.dir().join("aws-resources.env");
    let path = file.to_str().expect("it is text");
    fixture.run(&["env", path]).await.expect(0);
    let before = std::fs::read_to_string(&file).expect("it was written");
    assert!(before.contains("AWS_ACCOUNT_ID='123456789012'\n") && !before.contains("VPC_ID"), "{before}");

    fixture.run(&["up", "--yes"]).await.expect(0);
    let told = fixture.run(&["env", path, "--json"]).await.expect(0).json();
    let status = fixture.run(&["status", "--json"]).await.expect(0).json();
    let inventory = &status["inventory"];
    let wanted = [
        ("VPC_ID", &inventory["vpcs"][0]["id"]),
        ("RDS_ENDPOINT", &inventory["database"]["endpoint"][0]),
        ("MASTER_SECRET_ARN", &inventory["secrets"][0]["arn"]),
        ("BASTION_INSTANCE_ID", &inventory["instances"][0]["id"]),
    ];
    for (name, value) in wanted {
        let mut shell = Command::new("sh");
        shell.args(["-euc", &format!(". \"$0\"; printf %s \"${name}\""), path]);
        let read = shell.output().expect("there is a shell");
        assert_eq!(Some(String::from_utf8_lossy(&read.stdout).as_ref()), value.as_str(), "{name}");
        assert_eq!(&told["variables"][name], value);
    }
    let (cloud, _) = fixture.context.observe().await.expect("the account can be observed");
    let master = fixture.context.stack.master_secret_name();
    let password =
        aws::secret::get(&cloud, &fixture.context.stack, &master).await.expect("there is a secret");
    let text = std::fs::read_to_string(&file).expect("it was written");
    assert!(!text.contains(password.expose()), "the master's password is in the file");
    assert_eq!(fixture.run(&["env", "-"]).await.expect(0).stdout, text);

    // Somebody's own file is not lost unless they say so.
    std::fs::write(&file, "VPC_ID=vpc-by-hand\n").expect("it can be written");
    let refused = fixture.run(&["env", path]).await.expect(2);
    assert!(refused.stderr.contains("no terminal to ask"), "{}", refused.stderr);
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "VPC_ID=vpc-by-hand\n");
    fixture.run(&["env", path, "--yes"]).await.expect(0);
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), text);
    fixture.stop().await;
}
