//! Configuration files that are right.

use std::time::Duration;

use stack::config::parse;
use stack::spec::{Cidr, Migrate, OnError, Registry, Stack, Wave};

const SHIPPED: &str = include_str!("../../stack.toml");
const DEMO: &str = include_str!("../../demo.toml");
const TESTED: &str = include_str!("../../../tests/workspace/infra/stack.toml");
const MINIMAL: &str = "project = \"webshop\"\nenvironment = \"test\"\nregion = \"eu-central-1\"\n";

fn stack(text: &str) -> Stack {
    parse(text, "stack.toml").expect("the file is right")
}

#[test]
fn the_shipped_file_is_right_and_what_is_called_prod_is_protected() {
    let stack = stack(SHIPPED);
    assert!(stack.environment != "prod" || stack.database.deletion_protection);
    assert!(stack.environment != "prod" || stack.database.final_snapshot);
    let plain = "project = \"webshop\"\nenvironment = \"prod\"\nregion = \"us-east-1\"\n";
    let plain = parse(plain, "stack.toml").expect("the file is right").database;
    assert!(plain.deletion_protection && plain.final_snapshot, "it is what the name means");
}

#[test]
fn the_demos_file_is_another_stack_with_the_same_tenants_and_nothing_protected() {
    let (demo, tested) = (stack(DEMO), stack(TESTED));
    assert_ne!(demo.name, tested.name);
    assert_ne!(demo.database.identifier, tested.database.identifier);
    assert_ne!(demo.database.secret_prefix, tested.database.secret_prefix);
    assert!(!demo.database.deletion_protection && !demo.database.final_snapshot);
    assert_eq!(demo.tenants, tested.tenants);
}

#[test]
fn the_tests_file_is_the_stack_that_the_scripts_built() {
    let stack = stack(TESTED);
    assert_eq!(stack.name, "startupwebapp-prod");
    assert_eq!(stack.region, "us-east-1");
    assert_eq!(stack.database.identifier, "startupwebapp-multi-tenant-prod");
    assert_eq!(stack.database.class, "db.t4g.small");
    assert_eq!(stack.master_secret_name(), "rds/startupwebapp/multi-tenant-prod/master");
    assert_eq!(stack.bastion.instance_type, "t3.micro");
    assert!(!stack.database.deletion_protection && !stack.database.final_snapshot);
    let tenants: Vec<_> = stack.tenants.iter().map(|t| (t.name.as_str(), t.purpose.as_str())).collect();
    assert_eq!(
        tenants,
        [
            ("startupwebapp_prod", "Main production app"),
            ("healthtech_experiment", "HealthTech fork"),
            ("fintech_experiment", "FinTech fork"),
        ]
    );
    for tenant in &stack.tenants {
        assert_eq!(tenant.owner, tenant.name);
        assert_eq!((tenant.encoding.as_str(), tenant.locale.as_str()), ("UTF8", "en_US.UTF-8"));
    }
}

#[test]
fn three_lines_are_a_whole_stack() {
    let stack = stack(MINIMAL);
    assert_eq!(stack.name, "webshop-test");
    assert_eq!(stack.network.cidr.to_string(), "10.42.0.0/16");
    assert_eq!(stack.network.public.cidr.to_string(), "10.42.0.0/24");
    assert_eq!(
        stack.network.private.each_ref().map(|s| s.cidr.to_string()),
        ["10.42.1.0/24", "10.42.2.0/24"]
    );
    assert_eq!(stack.network.public.zone, "eu-central-1a");
    assert_eq!(stack.network.private.each_ref().map(|s| s.zone.as_str()), ["eu-central-1a", "eu-central-1b"]);
    assert_eq!(stack.database.identifier, "webshop-multi-tenant-test");
    assert_eq!(stack.database.secret_prefix, "rds/webshop/multi-tenant-test");
    assert_eq!((stack.database.port, stack.database.backup_days), (5432, 7));
    assert_eq!((stack.database.engine_version.as_str(), stack.database.storage_gib), ("16", 20));
    assert_eq!(stack.bastion.ready_within, Duration::from_secs(300));
    assert_eq!((stack.bastion.sessions, stack.bastion.message_bytes), (4, 1024));
    assert_eq!(stack.bastion.idle, Some(Duration::from_secs(3600)));
    assert!(!stack.alarms.enabled && stack.tenants.is_empty());
    assert!(stack.database.monitoring_interval == 0 && stack.database.logs.is_empty());
}

#[test]
fn waves_are_labels_shares_and_the_rest() {
    assert_eq!(stack(MINIMAL).migrate, Migrate::default());
    let text = "[migrate]\nwaves = [\"canary\", \"5%\", \"5%\", \"rest\"]\nerror_budget = 2\non_error = \"stop\"\n\
                [[tenant]]\nname = \"a\"\nlabels = [\"canary\", \"eu-1\"]\n";
    let stack = stack(&format!("{MINIMAL}{text}"));
    let label = Wave::Label("canary".to_owned());
    assert_eq!(stack.migrate.waves, [label, Wave::Share(5), Wave::Share(5), Wave::Rest]);
    assert_eq!((stack.migrate.error_budget, stack.migrate.jobs), (2, None));
    assert_eq!(stack.migrate.on_error, OnError::Stop);
    assert_eq!(stack.tenants[0].labels, ["canary", "eu-1"]);
}

#[test]
fn an_address_turns_the_alarms_on_and_one_word_off_again() {
    let on = stack(&format!("{MINIMAL}[alarms]\nemail = \"ops@example.com\"\n"));
    assert!(on.alarms.enabled && on.alarms.thresholds.is_some());
    let off = stack(&format!("{MINIMAL}[alarms]\nemail = \"ops@example.com\"\nenabled = false\n"));
    assert!(!off.alarms.enabled);
    // Without alarms nobody needs to know the class's memory.
    let class = "[database]\nclass = \"db.x2g.large\"\n";
    assert_eq!(stack(&format!("{MINIMAL}{class}")).alarms.thresholds, None);
}

#[test]
fn production_is_protected_unless_the_file_says_otherwise() {
    assert!(!stack(MINIMAL).database.deletion_protection);
    let prod = stack(&MINIMAL.replace("\"test\"", "\"prod\""));
    assert!(prod.database.deletion_protection && prod.database.final_snapshot);
}

#[test]
fn computed_subnets_go_around_those_that_are_written() {
    let stack = stack(&format!("{MINIMAL}[network]\nprivate = [\"10.42.0.0/24\", \"10.42.2.0/23\"]\n"));
    assert_eq!(stack.network.public.cidr.to_string(), "10.42.1.0/24");
}

#[test]
fn a_small_vpc_is_divided_into_quarters() {
    let stack = stack(&format!("{MINIMAL}[network]\ncidr = \"192.168.7.0/24\"\n"));
    assert_eq!(stack.network.private[1].cidr.to_string(), "192.168.7.128/26");
}

#[test]
fn every_value_that_is_written_is_the_one_that_counts() {
    let stack = stack(
        "project = 'a'\nenvironment = 'b'\nregion = 'us-gov-west-1'\n\
         network = { cidr = '172.16.0.0/20', zones = ['us-gov-west-1c', 'us-gov-west-1a'] }\n\
         [database]\nidentifier = 'x-1'\nengine_version = '17.2'\nclass = 'db.m7g.2xlarge'\nstorage_gib = 1_000\n\
         master_user = 'postgres'\nport = 0x1539\nbackup_days = 0\nmulti_az = true\ndeletion_protection = true\n\
         final_snapshot = true\nsecret_prefix = 'A/b.c'\nmaster_secret = 'Admin'\nsubnet_group = 'old'\n\
         monitoring_interval = 30\nlogs = ['upgrade', 'postgresql']\n\
         [bastion]\ninstance_type = 'm5.metal'\nvolume_gib = 9\nready_within = '90s'\nsessions = 16\n\
         message_bytes = 32768\nidle = 'never'\nrole = 'Old+Role'\nprofile = 'Old.Profile'\n\
         [alarms]\nenabled = true\nemail = 'first.last+aws@example.co.uk'\ncpu_percent = 70\n\
         free_storage_gib = 9\nconnections = 50\nfreeable_memory_mib = 1\n\
         [[tenant]]\nname = 'one'\nowner = 'both'\nencoding = 'LATIN1'\nlocale = 'C'\n\
         [[tenant]]\nname = '_two'\nowner = 'both'\nlabels = ['beta', 'eu-1']\nmigrations = 'two'\n\
         [tenants]\nquery = 'SELECT name FROM tenant'\n",
    );
    assert_eq!(
        stack.network.private.each_ref().map(|s| s.zone.as_str()),
        ["us-gov-west-1c", "us-gov-west-1a"]
    );
    assert_eq!((stack.database.port, stack.database.storage_gib), (5433, 1000));
    assert_eq!((stack.database.class.as_str(), stack.database.backup_days), ("db.m7g.2xlarge", 0));
    assert_eq!(stack.database.engine_version, "17.2");
    assert!(stack.database.multi_az && stack.database.deletion_protection && stack.database.final_snapshot);
    assert_eq!(stack.role_secret_name("both"), "A/b.c/both");
    assert_eq!((stack.master_secret_name().as_str(), stack.subnet_group_name().as_str()), ("Admin", "old"));
    assert_eq!((stack.role_name().as_str(), stack.profile_name().as_str()), ("Old+Role", "Old.Profile"));
    assert_eq!((stack.bastion.volume_gib, stack.bastion.ready_within.as_secs()), (9, 90));
    assert_eq!((stack.bastion.sessions, stack.bastion.message_bytes), (16, 32768));
    assert_eq!(stack.bastion.idle, None);
    assert_eq!(stack.alarms.email.as_deref(), Some("first.last+aws@example.co.uk"));
    let limits = stack.alarms.thresholds.unwrap();
    assert_eq!((limits.cpu_percent, limits.connections), (70, 50));
    assert_eq!((limits.free_storage_bytes, limits.freeable_memory_bytes), (9 << 30, 1 << 20));
    assert_eq!(stack.database.monitoring_interval, 30);
    assert_eq!(stack.database.logs, ["postgresql", "upgrade"]);
    assert_eq!((stack.tenants[0].owner.as_str(), stack.tenants[1].owner.as_str()), ("both", "both"));
    assert_eq!(stack.tenants[0].encoding, "LATIN1");
    assert_eq!((stack.tenants[0].labels.len(), stack.tenants[0].migrations.as_deref()), (0, None));
    assert_eq!(stack.tenants[1].labels, ["beta", "eu-1"]);
    assert_eq!(stack.tenants[1].migrations.as_deref(), Some("two"));
    assert_eq!(stack.registry, Some(Registry::Query("SELECT name FROM tenant".to_owned())));
}

#[test]
fn the_longest_names_fit_into_every_name_made_of_them() {
    let text = format!(
        "project = \"{}\"\nenvironment = \"{}\"\nregion = \"us-east-1\"\n[[tenant]]\nname = \"{}\"\n",
        "p".repeat(32),
        "e".repeat(16),
        "t".repeat(63),
    );
    let stack = stack(&text);
    assert!(stack.database.identifier.len() <= 63);
    assert!(stack.role_name().len() <= 64 && stack.name_of("monitoring").len() <= 64);
    assert!(stack.subnet_group_name().len() <= 255 && stack.iam_path().len() <= 512);
    assert!(stack.role_secret_name(&stack.tenants[0].owner).len() <= 512);
}

#[test]
fn windows_line_ends_and_comments_are_welcome() {
    let text = SHIPPED.replace('\n', "\r\n");
    assert_eq!(stack(&text), stack(SHIPPED));
}

#[test]
fn a_range_knows_what_lies_in_it() {
    let range = |text| Cidr::parse(text).unwrap();
    assert!(range("10.0.0.0/8").contains(range("10.255.0.0/16")));
    assert!(!range("10.0.0.0/16").contains(range("10.0.0.0/8")));
    assert!(range("10.0.0.0/16").overlaps(range("10.0.0.0/8")));
    assert!(!range("10.0.0.0/17").overlaps(range("10.0.128.0/17")));
    assert_eq!(range("10.0.0.0/16").subnet(24, 255).unwrap().to_string(), "10.0.255.0/24");
    assert_eq!(range("10.0.0.0/16").subnet(24, 256), None);
}

#[test]
fn a_copy_of_the_shipped_file_with_another_environment_has_no_name_in_common_with_it() {
    let shipped = stack(SHIPPED);
    let copy = stack(&SHIPPED.replace("environment = \"prod\"", "environment = \"staging\""));
    let names = |stack: &stack::Stack| {
        let mut names = vec![
            stack.name.clone(),
            stack.database.identifier.clone(),
            stack.master_secret_name(),
            stack.subnet_group_name(),
            stack.log_group_prefix(),
            stack.role_name(),
            stack.profile_name(),
            stack.monitoring_role_name(),
            stack.topic_name(),
            stack.iam_path(),
            stack.lock_path(),
        ];
        names.extend(stack.tenants.iter().map(|tenant| stack.role_secret_name(&tenant.owner)));
        names
    };
    let (ours, theirs) = (names(&shipped), names(&copy));
    assert_eq!(ours.len(), 14);
    for name in &ours {
        assert!(!theirs.contains(name), "both have {name}");
    }
}

#[test]
fn an_application_is_let_in_by_its_group_or_its_range() {
    assert!(
        stack(MINIMAL).database.allow_groups.is_empty() && stack(MINIMAL).database.allow_cidrs.is_empty()
    );
    let text = format!(
        "{MINIMAL}[database]\nallow_groups = [\"sg-01234567\", \"sg-0123456789abcdef0\"]\n\
         allow_cidrs = [\"10.1.0.0/16\", \"100.64.0.0/10\", \"192.168.7.9/32\"]\n"
    );
    let database = stack(&text).database;
    assert_eq!(database.allow_groups, ["sg-01234567", "sg-0123456789abcdef0"]);
    let ranges: Vec<String> = database.allow_cidrs.iter().map(ToString::to_string).collect();
    assert_eq!(ranges, ["10.1.0.0/16", "100.64.0.0/10", "192.168.7.9/32"]);
}
