//! How long AWS usually takes, for the estimate that people read. No wait depends on it.

use std::time::Duration;

use super::Action;
use crate::resource::Resource;

/// Returns how long a step usually takes.
pub(super) fn typical(resource: Resource, action: &Action) -> Duration {
    Duration::from_secs(match action {
        Action::Create => create(resource),
        Action::Repair => repair(resource),
        Action::Start => start(resource),
        Action::Wait => wait(resource),
        Action::Restore { .. } => 2,
        Action::Delete { .. } => delete(resource),
    })
}

fn create(resource: Resource) -> u64 {
    use Resource as R;
    match resource {
        R::Database => 600,
        R::Instance => 90,
        R::Session => wait(resource),
        // IAM tells its news to EC2 in about ten seconds.
        R::Profile => 12,
        R::Role | R::MonitoringRole | R::SubnetGroup | R::PublicRoutes | R::PrivateRoutes => 3,
        R::Vpc
        | R::VpcDns
        | R::InternetGateway
        | R::PublicSubnet
        | R::PrivateSubnetA
        | R::PrivateSubnetB
        | R::BastionGroup
        | R::DatabaseGroup
        | R::BastionRules
        | R::DatabaseRules
        | R::MasterSecret
        | R::LogGroups
        | R::Topic
        | R::Alarms => 2,
    }
}

fn repair(resource: Resource) -> u64 {
    if resource == Resource::Database { 60 } else { create(resource) }
}

fn start(resource: Resource) -> u64 {
    if resource == Resource::Database { 420 } else { 60 }
}

fn wait(resource: Resource) -> u64 {
    use Resource as R;
    match resource {
        R::Database => 300,
        R::Session => 30,
        R::Vpc
        | R::VpcDns
        | R::InternetGateway
        | R::PublicSubnet
        | R::PrivateSubnetA
        | R::PrivateSubnetB
        | R::PublicRoutes
        | R::PrivateRoutes
        | R::BastionGroup
        | R::DatabaseGroup
        | R::BastionRules
        | R::DatabaseRules
        | R::MasterSecret
        | R::MonitoringRole
        | R::LogGroups
        | R::SubnetGroup
        | R::Topic
        | R::Alarms
        | R::Role
        | R::Profile
        | R::Instance => 20,
    }
}

fn delete(resource: Resource) -> u64 {
    use Resource as R;
    match resource {
        R::Database => 360,
        R::Instance => 60,
        R::InternetGateway | R::SubnetGroup | R::MonitoringRole | R::Role | R::Profile => 3,
        R::Vpc
        | R::VpcDns
        | R::PublicSubnet
        | R::PrivateSubnetA
        | R::PrivateSubnetB
        | R::PublicRoutes
        | R::PrivateRoutes
        | R::BastionGroup
        | R::DatabaseGroup
        | R::BastionRules
        | R::DatabaseRules
        | R::MasterSecret
        | R::LogGroups
        | R::Topic
        | R::Alarms
        | R::Session => 2,
    }
}
