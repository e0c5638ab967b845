//! What the bastion does at its first start.

use std::fmt::Write;
use std::time::Duration;

use stack::{Inventory, Stack};

/// Returns the script: PostgreSQL's client, jq, a message of the day that says how to connect, and a timer that stops
/// the instance when nobody has used it for a while; with a `ttl` it ends after that, whoever uses it.
///
/// Nothing secret may be in it: whoever may describe the instance can read it.
pub(crate) fn render(stack: &Stack, inventory: &Inventory, ttl: Option<Duration>) -> String {
    let known = inventory.database.as_ref().and_then(|database| database.endpoint.as_ref());
    let (host, port) = known.map_or(("ENDPOINT", stack.database.port), |(host, port)| (host.as_str(), *port));
    let mut message = format!(
        "This is the bastion of drawbridge stack {}. It takes no connection from outside; Session Manager is the\n\
         only way in. Its one purpose is the way to the database.\n\n\
         From your own machine, in the project:\n\n",
        plain(&stack.name)
    );
    let tenant = stack.tenants.first().map_or("TENANT", |tenant| tenant.name.as_str());
    writeln!(message, "    cargo xtask psql {}", plain(tenant))
        .expect("invariant: writing to a String works");
    message.push_str("    cargo xtask tunnel\n\nFrom here:\n\n");
    for tenant in &stack.tenants {
        let (name, owner) = (plain(&tenant.name), plain(&tenant.owner));
        let line =
            format!("    psql 'host={} port={port} dbname={name} user={owner} sslmode=require'", plain(host));
        writeln!(message, "{line}").expect("invariant: writing to a String works");
    }
    let idle = stack.bastion.idle.map_or(0, |idle| idle.as_secs());
    if idle > 0 {
        let minutes = idle.div_ceil(60);
        write!(message, "\nIt stops by itself when there was no session for {minutes} minutes.")
            .expect("invariant: writing to a String works");
    }
    let ttl = ttl.map_or(0, |ttl| ttl.as_secs().div_ceil(60));
    if ttl > 0 {
        write!(message, "\nIt removes itself {ttl} minutes after its launch.")
            .expect("invariant: writing to a String works");
    }
    // The message last: nothing in it is a placeholder.
    SCRIPT
        .replace("@IDLE_SCRIPT@", IDLE_SCRIPT.trim_end())
        .replace("@SERVICE@", SERVICE.trim_end())
        .replace("@TIMER@", TIMER.trim_end())
        .replace("@IDLE@", &idle.to_string())
        .replace("@TTL@", &ttl.to_string())
        .replace("@MESSAGE@", message.trim_end())
}

/// Returns the text without anything that could end the script's quoted lines.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.:/$".contains(*c)).collect()
}

const SCRIPT: &str = include_str!("user_data/first_start.sh");
const IDLE_SCRIPT: &str = include_str!("user_data/idle.sh");
const SERVICE: &str = include_str!("user_data/drawbridge-idle.service");
const TIMER: &str = include_str!("user_data/drawbridge-idle.timer");

#[cfg(test)]
mod tests {
    use stack::spec::{Alarms, Bastion, Cidr, Database, Migrate, Network, Subnet, Tenant};

    use super::*;

    fn stack(tenants: usize) -> Stack {
        let subnet = |index: u32| Subnet {
            cidr: Cidr::parse("10.42.0.0/16").unwrap().subnet(24, index).unwrap(),
            zone: "us-east-1a".to_owned(),
        };
        let tenant = |index: usize| Tenant {
            name: format!("tenant_{index}"),
            purpose: "a purpose with 'quotes'\nand a second line".to_owned(),
            owner: format!("owner_{index}"),
            owner_is_written: true,
            encoding: "UTF8".to_owned(),
            locale: "en_US.UTF-8".to_owned(),
            labels: Vec::new(),
            migrations: None,
            rotation: stack::spec::Rotation::OneUser,
        };
        Stack {
            name: "shop-prod".to_owned(),
            project: "shop".to_owned(),
            environment: "prod".to_owned(),
            region: "us-east-1".to_owned(),
            network: Network {
                cidr: Cidr::parse("10.42.0.0/16").unwrap(),
                public: subnet(0),
                private: [subnet(1), subnet(2)],
            },
            database: Database {
                identifier: "shop-prod".to_owned(),
                engine_version: "16".to_owned(),
                class: "db.t4g.small".to_owned(),
                storage_gib: 20,
                master_user: "postgres".to_owned(),
                port: 5432,
                backup_days: 7,
                multi_az: false,
                deletion_protection: false,
                final_snapshot: false,
                monitoring_interval: 0,
                logs: Vec::new(),
                secret_prefix: "rds/shop".to_owned(),
                master_secret: None,
                subnet_group: None,
                allow_groups: Vec::new(),
                allow_cidrs: Vec::new(),
            },
            bastion: Bastion {
                instance_type: "t3.micro".to_owned(),
                volume_gib: 8,
                ready_within: Duration::from_secs(60),
                sessions: 4,
                message_bytes: 1024,
                idle: Some(Duration::from_secs(3600)),
                role: None,
                profile: None,
            },
            alarms: Alarms { enabled: false, email: None, thresholds: None },
            migrate: Migrate::default(),
            tenants: (0..tenants).map(tenant).collect(),
            registry: None,
        }
    }

    #[test]
    fn the_script_installs_the_client_and_names_every_tenant() {
        let script = render(&stack(3), &Inventory::default(), None);
        assert!(script.starts_with("#!/bin/bash\n"));
        assert!(script.contains("dnf install --assumeyes --quiet postgresql16 jq"));
        for tenant in ["tenant_0", "tenant_1", "tenant_2"] {
            assert!(script.contains(&format!("dbname={tenant} ")), "{tenant}");
        }
        assert!(!script.contains('@'), "a placeholder is left");
    }

    #[test]
    fn the_timer_is_there_only_if_the_bastion_is_to_stop_by_itself() {
        let mut stack = stack(1);
        let script = render(&stack, &Inventory::default(), None);
        assert!(script.contains("ExecStart=/usr/local/sbin/drawbridge-idle 3600\n"), "{script}");
        assert!(script.contains("no session for 60 minutes"));
        stack.bastion.idle = None;
        let script = render(&stack, &Inventory::default(), None);
        assert!(script.contains("idle='0'\n") && !script.contains("stops by itself"), "{script}");
    }

    #[test]
    fn an_ephemeral_bastion_ends_at_a_time_that_nothing_moves() {
        let ttl = Some(Duration::from_secs(7200));
        let script = render(&stack(1), &Inventory::default(), ttl);
        assert!(script.contains("ttl='120'\n") && script.contains("removes itself 120 minutes"), "{script}");
        let script = render(&stack(1), &Inventory::default(), None);
        assert!(script.contains("ttl='0'\n") && !script.contains("removes itself"), "{script}");
    }

    #[test]
    fn the_script_stays_under_what_ec2_takes_with_many_tenants() {
        assert!(render(&stack(100), &Inventory::default(), None).len() < 16 * 1024);
    }

    #[test]
    fn nothing_that_a_name_holds_can_end_the_quoted_lines() {
        let mut stack = stack(1);
        stack.tenants[0].name = "x\nMESSAGE\nrm -rf /".to_owned();
        let script = render(&stack, &Inventory::default(), None);
        assert_eq!(script.lines().filter(|line| *line == "MESSAGE").count(), 1);
    }

    /// Runs the idle script in a folder of its own, where it finds only what `metadata` says; returns what it said, and
    /// whether it switched the machine off.
    fn look(idle_seconds: u64, metadata: &str) -> (String, bool) {
        use std::os::unix::fs::PermissionsExt;
        use std::process::Command;
        let dir =
            std::env::temp_dir().join(format!("drawbridge-idle-{}", crate::core::password::request_token()));
        std::fs::create_dir_all(&dir).unwrap();
        let fake = |name: &str, body: &str| {
            let path = dir.join(name);
            std::fs::write(&path, format!("#!/bin/bash\n{body}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        fake("pgrep", "exit 1");
        fake("shutdown", &format!("touch {}/off", dir.display()));
        fake("curl", &format!("case $* in *api/token*) echo t ;; *) {metadata} ;; esac"));
        let seen = dir.join("seen").display().to_string();
        let script = IDLE_SCRIPT.replace("/run/drawbridge-idle", &seen);
        assert!(script.contains(&seen));
        let prepare = format!("touch --date '{idle_seconds} seconds ago' {seen}\n");
        let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
        let mut bash = Command::new("bash");
        bash.args(["-c", &(prepare + &script), "idle", "3600"]).env("PATH", path);
        let output = bash.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let off = dir.join("off").exists();
        std::fs::remove_dir_all(&dir).unwrap();
        (String::from_utf8(output.stdout).unwrap(), off)
    }

    #[test]
    fn an_idle_bastion_stops_unless_its_tag_says_otherwise() {
        let no_tag = "printf '<html>404</html> 404'";
        assert!(!look(60, no_tag).1, "not idle for long enough");
        assert!(look(7200, no_tag).1);
        let (said, off) = look(7200, "printf 'always 200'");
        assert!(!off && said.contains("but kept"), "{said}");
        let (said, off) = look(7200, "printf \"$(date --utc --date '1 hour' +%FT%TZ) 200\"");
        assert!(!off && said.contains("but extended until"), "{said}");
        assert!(look(7200, "printf \"$(date --utc --date '1 minute ago' +%FT%TZ) 200\"").1);
        assert!(look(7200, "printf 'for ever and ever 200'").1, "what is no date keeps nothing");
    }

    #[test]
    fn metadata_that_do_not_answer_hold_the_end_up_but_not_for_ever() {
        for silent in ["exit 28", "printf 'oops 500'"] {
            let (said, off) = look(3700, silent);
            assert!(!off && said.contains("do not answer"), "{said}");
            assert!(look(4300, silent).1);
        }
    }
}
