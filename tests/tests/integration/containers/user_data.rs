//! The bastion's user data, as EC2 was given it, on the bastion's own system.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tests::{Fixture, Images, Machine, Want, block_on, element};

/// Brings a stack up and returns what its bastion is told to run.
async fn user_data() -> String {
    let fixture = Fixture::start(Want::ControlPlane).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    let (_, inventory) = fixture.context.observe().await.expect("the account can be observed");
    let bastion = inventory.bastion().expect("there is a bastion").id.clone();
    let asked = [("InstanceId", bastion.as_str()), ("Attribute", "userData")];
    let answer = fixture.raw().ec2("DescribeInstanceAttribute", &asked).await;
    let encoded = element(&answer, "value").expect("it was given user data");
    fixture.stop().await;
    String::from_utf8(STANDARD.decode(encoded.trim()).expect("it is base64")).expect("it is text")
}

/// A machine after its first start.
async fn started(images: &Images) -> Machine {
    let (machine, script) = tokio::join!(Machine::boot(images), user_data());
    machine.write("/root/user-data", &script).await;
    machine.run("/root/user-data").await.expect("the first start succeeds");
    machine
}

/// All files that it makes, with their modes.
const STATE: &str =
    "cd / && find etc/motd.d etc/profile.d etc/systemd/system usr/local -printf '%p %m %l\\n' | sort;
    find etc/motd.d etc/profile.d etc/systemd/system usr/local -type f -exec sha256sum {} + | sort";

/// One machine for all of it: what it installs at its first start takes longer than everything after that.
#[test]
fn a_bastions_first_start_does_what_it_says_and_its_timer_switches_it_off() {
    block_on(async {
        let Some(images) = Images::find() else { return };
        let machine = started(&images).await;
        the_first_start_installs_what_it_says_and_a_second_changes_nothing(&machine).await;
        systemd_and_cloud_init_take_it_as_it_is(&machine).await;
        a_bastion_with_a_session_runs_on_and_one_without_switches_itself_off(&machine).await;
        machine.remove().await;
    });
}

async fn the_first_start_installs_what_it_says_and_a_second_changes_nothing(machine: &Machine) {
    machine.run("psql --version && jq --version").await.expect("the client is there");
    let greeting = machine.run("bash -lic true").await.expect("a shell starts");
    for part in
        ["cargo xtask psql startupwebapp_prod", "dbname=healthtech_experiment ", "no session for 60 minutes"]
    {
        assert!(greeting.contains(part), "{part}: {greeting}");
    }
    assert_eq!(machine.run("bash -lc true").await.expect("a script's shell starts"), "");
    let before = machine.run(STATE).await.expect("files can be listed");
    assert!(before.contains("usr/local/sbin/drawbridge-idle 755"), "{before}");
    machine.run("/root/user-data").await.expect("a second run succeeds");
    assert_eq!(machine.run(STATE).await.expect("files can be listed"), before);
}

async fn systemd_and_cloud_init_take_it_as_it_is(machine: &Machine) {
    machine
        .run("systemd-analyze verify /etc/systemd/system/drawbridge-idle.*")
        .await
        .expect("the units are right");
    // Images that can be pulled come without it.
    machine
        .run("command -v cloud-init || dnf install --assumeyes --quiet cloud-init; cloud-init schema --config-file /root/user-data")
        .await
        .expect("cloud-init takes it");
    let size = machine.run("stat --format %s /root/user-data").await.expect("it has a size");
    assert!(size.parse::<u64>().is_ok_and(|size| size < 16 << 10), "{size} bytes");
}

/// Somebody was last there two hours ago.
const LONG_AGO: &str = "touch --date '2 hours ago' /run/drawbridge-idle";

async fn a_bastion_with_a_session_runs_on_and_one_without_switches_itself_off(machine: &Machine) {
    let enabled = machine
        .run("systemctl is-enabled drawbridge-idle.timer && systemctl is-active drawbridge-idle.timer");
    assert_eq!(enabled.await.expect("the timer is there"), "enabled\nactive");
    // As the agent starts its workers: by their path, with the session's id.
    let worker = "cp \"$(command -v sleep)\" /usr/bin/ssm-session-worker
        /usr/bin/ssm-session-worker 3600 </dev/null >/dev/null 2>&1 & disown";
    machine.run(worker).await.expect("a worker starts");
    machine.run(&format!("{LONG_AGO} && systemctl start drawbridge-idle.service")).await.expect("it looks");
    assert!(machine.is_running().await);
    let seen = machine.run("find /run/drawbridge-idle -mmin -5").await.expect("it is dated");
    assert_eq!(seen, "/run/drawbridge-idle", "a session that runs now is a visit now");
    // Without the worker: not at once, only when nobody has come for long enough.
    machine.run("pkill --exact ssm-session-wor").await.expect("the worker ends");
    machine.run("systemctl start drawbridge-idle.service").await.expect("it looks");
    assert!(machine.is_running().await);
    // By the timer itself, which waits a minute otherwise.
    let soon = "mkdir -p /etc/systemd/system/drawbridge-idle.timer.d
        printf '[Timer]\\nOnActiveSec=1\\nAccuracySec=1us\\n' >/etc/systemd/system/drawbridge-idle.timer.d/soon.conf
        systemctl daemon-reload && systemctl restart drawbridge-idle.timer";
    machine.run(&format!("{LONG_AGO}\n{soon}")).await.expect("the timer starts");
    machine.wait_until_off().await;
}
