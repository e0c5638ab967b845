//! What the services show, asked by hand and without filters, so that no mistake of ours can hide anything.

use tests::Fixture;

/// What each service shows.
pub(crate) struct Account {
    ids: Vec<String>,
    subnets: String,
    vpcs: String,
    gateways: String,
    tables: String,
    groups: String,
    instances: Vec<String>,
    databases: String,
    pub(crate) snapshots: String,
    subnet_groups: String,
    roles: String,
    profiles: String,
    topics: String,
    alarms: String,
    log_groups: String,
    pub(crate) secrets: String,
}

impl Account {
    pub(crate) async fn look(fixture: &Fixture) -> Account {
        let raw = fixture.raw();
        let (_, inventory) = fixture.context.observe().await.expect("the account can be observed");
        let mut ids: Vec<String> = Vec::new();
        ids.extend(inventory.vpcs.iter().map(|one| one.id.clone()));
        ids.extend(inventory.subnets.iter().map(|one| one.id.clone()));
        ids.extend(inventory.gateways.iter().map(|one| one.id.clone()));
        ids.extend(inventory.route_tables.iter().map(|one| one.id.clone()));
        ids.extend(inventory.groups.iter().map(|one| one.id.clone()));
        ids.extend(inventory.instances.iter().map(|one| one.id.clone()));
        ids.extend(inventory.secrets.iter().map(|one| one.name.clone()));
        ids.extend(inventory.database.iter().map(|one| one.identifier.clone()));
        ids.extend(inventory.role.iter().map(|one| one.name.clone()));
        ids.extend(inventory.monitoring_role.iter().map(|one| one.name.clone()));
        ids.extend(inventory.topic.iter().map(|one| one.arn.clone()));
        ids.extend(inventory.alarms.iter().map(|one| one.name.clone()));
        Account {
            ids,
            subnets: raw.ec2("DescribeSubnets", &[]).await,
            vpcs: raw.ec2("DescribeVpcs", &[]).await,
            gateways: raw.ec2("DescribeInternetGateways", &[]).await,
            tables: raw.ec2("DescribeRouteTables", &[]).await,
            groups: raw.ec2("DescribeSecurityGroups", &[]).await,
            // A terminated instance is shown for an hour.
            instances: inventory.instances.iter().map(|one| one.id.clone()).collect(),
            databases: raw.rds("DescribeDBInstances", &[]).await,
            snapshots: raw.rds("DescribeDBSnapshots", &[]).await,
            subnet_groups: raw.rds("DescribeDBSubnetGroups", &[]).await,
            roles: raw.iam("ListRoles", &[]).await,
            profiles: raw.iam("ListInstanceProfiles", &[]).await,
            topics: raw.sns("ListTopics", &[]).await,
            alarms: raw.cloudwatch("DescribeAlarms", &serde_json::json!({})).await,
            log_groups: raw.logs("DescribeLogGroups", &serde_json::json!({})).await,
            secrets: raw.secrets("ListSecrets", &serde_json::json!({ "IncludePlannedDeletion": true })).await,
        }
    }

    /// Returns the ids and names of all that is the stack's.
    pub(crate) fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Tells whether the secret of that name is in its recovery window.
    pub(crate) fn is_scheduled(&self, name: &str) -> bool {
        let answer: serde_json::Value = serde_json::from_str(&self.secrets).expect("it is JSON");
        let secrets = answer["SecretList"].as_array().expect("it is a list");
        secrets.iter().any(|secret| secret["Name"] == name && !secret["DeletedDate"].is_null())
    }

    /// Tells whether a service shows it; `kind` is what a receipt calls it.
    pub(crate) fn has(&self, kind: &str, id: &str) -> bool {
        let listed = match kind {
            "vpc" => &self.vpcs,
            "public subnet" | "private subnet a" | "private subnet b" => &self.subnets,
            "internet gateway" => &self.gateways,
            "public route table" | "private route table" => &self.tables,
            "bastion security group" | "database security group" => &self.groups,
            "bastion" => return self.instances.iter().any(|one| one == id),
            "database" => &self.databases,
            "database subnet group" => &self.subnet_groups,
            "bastion role" | "monitoring role" => &self.roles,
            "alarm topic" => &self.topics,
            "alarm" => return self.alarms.contains(&format!("\"{id}\"")),
            // All under that prefix.
            "log groups" => return self.log_groups.contains(&format!("\"{id}")),
            "instance profile" => return self.profiles.contains(&format!("<InstanceProfileName>{id}<")),
            "secret" => return self.secrets.contains(&format!("\"{id}\"")),
            other => panic!("no list is known for {other}"),
        };
        listed.contains(&format!(">{id}<"))
    }
}
