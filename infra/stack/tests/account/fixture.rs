//! A stack, and an account in which all of it exists.

use stack::inventory::*;
use stack::plan::{bastion_rules, database_rules};
use stack::{Inventory, Stack, config};

pub(crate) const ARN: &str = "arn:aws:iam::123456789012:instance-profile/drawbridge/webshop/test/us-east-1/webshop-test-us-east-1-bastion";

pub(crate) fn stack() -> Stack {
    let text = "project = \"webshop\"\nenvironment = \"test\"\nregion = \"us-east-1\"\n\
                [database]\nmonitoring_interval = 60\nlogs = [\"postgresql\"]\n\
                [alarms]\nemail = \"ops@example.com\"\n\
                [[tenant]]\nname = \"one\"\n[[tenant]]\nname = \"two\"\n";
    config::parse(text, "stack.toml").unwrap()
}

/// Returns the stack without anything that watches the database.
pub(crate) fn without_watch() -> Stack {
    let mut stack = stack();
    stack.alarms.enabled = false;
    stack.database.monitoring_interval = 0;
    stack.database.logs.clear();
    stack
}

pub(crate) const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:webshop-test-alarms";
pub(crate) const MONITORING: &str =
    "arn:aws:iam::123456789012:role/drawbridge/webshop/test/us-east-1/webshop-test-us-east-1-monitoring";
pub(crate) const LOGS: &str = "/aws/rds/instance/webshop-multi-tenant-test/";

/// Returns an account in which the whole stack exists and serves.
pub(crate) fn complete(stack: &Stack) -> Inventory {
    let subnet = |id: &str, resource: &str, want: &stack::spec::Subnet| Subnet {
        id: id.into(),
        vpc: "vpc-1".into(),
        cidr: want.cidr.to_string(),
        zone: want.zone.clone(),
        state: Some("available".into()),
        resource: resource.into(),
    };
    let table = |id: &str, resource: &str, subnets: &[&str], routes: Vec<Route>| RouteTable {
        id: id.into(),
        vpc: "vpc-1".into(),
        resource: resource.into(),
        associations: subnets
            .iter()
            .map(|subnet| Association { id: format!("rtbassoc-{subnet}"), subnet: (*subnet).into() })
            .collect(),
        routes,
    };
    let group = |id: &str, resource: &str, rules: Vec<Rule>| SecurityGroup {
        id: id.into(),
        vpc: "vpc-1".into(),
        name: stack.name_of(resource),
        resource: resource.into(),
        rules,
    };
    let route = |destination: &str, gateway: &str| Route {
        destination: destination.into(),
        gateway: Some(gateway.into()),
        blackhole: false,
    };
    let local = || route("10.42.0.0/16", "local");
    let [a, b] = &stack.network.private;
    Inventory {
        vpcs: vec![vpc("vpc-1")],
        subnets: vec![
            subnet("subnet-p", "public-subnet", &stack.network.public),
            subnet("subnet-a", "private-subnet-a", a),
            subnet("subnet-b", "private-subnet-b", b),
        ],
        gateways: vec![gateway("igw-1", Some("vpc-1"))],
        route_tables: vec![
            table("rtb-p", "public-routes", &["subnet-p"], vec![local(), route("0.0.0.0/0", "igw-1")]),
            table("rtb-q", "private-routes", &["subnet-a", "subnet-b"], vec![local()]),
        ],
        groups: vec![
            group("sg-b", "bastion-group", bastion_rules(stack, "sg-b", "sg-d")),
            group("sg-d", "database-group", database_rules(stack, "sg-b", "sg-d")),
        ],
        attached: Vec::new(),
        secrets: ["master", "one", "two"].iter().map(|role| secret(&stack.role_secret_name(role))).collect(),
        subnet_group: Some(SubnetGroup {
            name: stack.subnet_group_name(),
            vpc: "vpc-1".into(),
            subnets: vec!["subnet-a".into(), "subnet-b".into()],
            arn: Some("arn:aws:rds:us-east-1:123456789012:subgrp:webshop-test-database".into()),
            status: Some("Complete".into()),
        }),
        database: Some(database(stack, "sg-d")),
        monitoring_role: Some(Role {
            name: stack.monitoring_role_name(),
            arn: MONITORING.into(),
            policies: vec!["AmazonRDSEnhancedMonitoringRole".into()],
            created_at: None,
            has_region: true,
        }),
        log_groups: vec![format!("{LOGS}postgresql")],
        topic: Some(Topic {
            arn: TOPIC.into(),
            subscriptions: vec![subscription("ops@example.com", Some("arn:aws:sns:1"))],
        }),
        alarms: stack::alarm::wanted(stack)
            .into_iter()
            .map(|want| Alarm {
                name: want.name,
                rule: want.rule,
                actions_enabled: true,
                actions: vec![TOPIC.into()],
                state: "OK".into(),
            })
            .collect(),
        role: Some(Role {
            name: stack.role_name(),
            arn: "arn:aws:iam::123456789012:role/drawbridge/webshop/test/us-east-1/webshop-test-us-east-1-bastion".into(),
            policies: vec!["AmazonSSMManagedInstanceCore".into()],
            created_at: None,
            has_region: true,
        }),
        profile: Some(Profile {
            name: stack.profile_name(),
            arn: ARN.into(),
            roles: vec![stack.role_name()],
            created_at: None,
            has_region: true,
        }),
        instances: vec![instance("i-1", "subnet-p", "sg-b")],
        volumes: vec![Volume {
            id: "vol-1".into(),
            instance: Some("i-1".into()),
            size_gib: Some(8),
            state: "in-use".into(),
            created_at: Some("2026-11-01T08:00:00Z".into()),
        }],
        agent: Some(Agent { instance: "i-1".into(), ping_status: "Online".into(), version: None }),
        image: Some("ami-1".into()),
        locks: Vec::new(),
        strays: Vec::new(),
    }
}

pub(crate) fn vpc(id: &str) -> Vpc {
    Vpc {
        id: id.into(),
        cidr: "10.42.0.0/16".into(),
        state: Some("available".into()),
        dns_support: Some(true),
        dns_hostnames: Some(true),
    }
}

pub(crate) fn gateway(id: &str, attached: Option<&str>) -> InternetGateway {
    let state = attached.map(|_| "available".to_owned());
    InternetGateway { id: id.into(), attached: attached.map(str::to_owned), state }
}

pub(crate) fn subscription(email: &str, arn: Option<&str>) -> Subscription {
    Subscription { protocol: "email".into(), endpoint: email.into(), arn: arn.map(str::to_owned) }
}

pub(crate) fn secret(name: &str) -> SecretEntry {
    SecretEntry {
        name: name.into(),
        arn: format!("arn:{name}"),
        scheduled_for_deletion: false,
        tagged: true,
        owner: Some("webshop-test".into()),
        resource: if name.ends_with("/master") { "master-secret".into() } else { "role-secret".into() },
        created_at: None,
    }
}

pub(crate) fn database(stack: &Stack, group: &str) -> DatabaseInstance {
    DatabaseInstance {
        identifier: stack.database.identifier.clone(),
        arn: "arn:aws:rds:us-east-1:123456789012:db:webshop".into(),
        status: "available".into(),
        endpoint: Some(("webshop.abc.us-east-1.rds.amazonaws.com".into(), 5432)),
        engine_version: "16.4".into(),
        class: "db.t4g.small".into(),
        storage_gib: 20,
        master_user: "dbadmin".into(),
        deletion_protection: stack.database.deletion_protection,
        public: false,
        encrypted: true,
        groups: vec![group.into()],
        monitoring_interval: stack.database.monitoring_interval,
        monitoring_role: (stack.database.monitoring_interval > 0).then(|| MONITORING.into()),
        logs: stack.database.logs.clone(),
        created_at: None,
        restarts_at: None,
    }
}

pub(crate) fn instance(id: &str, subnet: &str, group: &str) -> Instance {
    Instance {
        id: id.into(),
        state: "running".into(),
        instance_type: "t3.micro".into(),
        subnet: Some(subnet.into()),
        public_ip: Some("203.0.113.7".into()),
        profile_arn: Some(ARN.into()),
        groups: vec![group.into()],
        launched_at: None,
        rebooted_at: None,
        volume_gib: Some(8),
        keep_until: None,
        expires_at: None,
        reads_tags: true,
    }
}
