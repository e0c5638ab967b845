//! What a stack consists of, and in which order it can be made.

use std::fmt;

use serde::Serialize;

/// A part of a stack that can be brought up or taken down by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// VPC, subnets, internet gateway, route tables.
    Network,
    /// The groups of the bastion and of the database, with their rules.
    SecurityGroups,
    /// The master password.
    Secrets,
    /// The subnet group and the RDS instance, with what watches it.
    Database,
    /// Role, instance profile and the EC2 instance.
    Bastion,
}

impl Component {
    /// Every component, in the order of creation.
    pub const ALL: [Component; 5] = [
        Component::Network,
        Component::SecurityGroups,
        Component::Secrets,
        Component::Database,
        Component::Bastion,
    ];

    /// Returns the name that users type.
    pub fn name(self) -> &'static str {
        match self {
            Component::Network => "network",
            Component::SecurityGroups => "security-groups",
            Component::Secrets => "secrets",
            Component::Database => "database",
            Component::Bastion => "bastion",
        }
    }

    /// Returns the component of that name.
    pub fn parse(name: &str) -> Option<Component> {
        Component::ALL.into_iter().find(|component| component.name() == name)
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that is made, checked and removed as a whole: a node of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// The VPC itself.
    Vpc,
    /// `enableDnsSupport` and `enableDnsHostnames` of the VPC.
    VpcDns,
    /// The internet gateway, attached to the VPC.
    InternetGateway,
    /// The bastion's subnet, in the first zone.
    PublicSubnet,
    /// The database's subnet in the first zone.
    PrivateSubnetA,
    /// The database's subnet in the second zone.
    PrivateSubnetB,
    /// The public route table: associated with the public subnet, 0.0.0.0/0 to the gateway.
    PublicRoutes,
    /// The private route table: associated with both private subnets, no route out.
    PrivateRoutes,
    /// The bastion's security group.
    BastionGroup,
    /// The database's security group.
    DatabaseGroup,
    /// The bastion group's rules: nothing in; out 443 anywhere and 5432 to the database group.
    BastionRules,
    /// The database group's rules: 5432 in from the bastion group; nothing out.
    DatabaseRules,
    /// The generated master password.
    MasterSecret,
    /// The role in which RDS writes enhanced monitoring.
    MonitoringRole,
    /// The log groups that RDS makes for the database. Nothing is created.
    LogGroups,
    /// The database subnet group over both private subnets.
    SubnetGroup,
    /// The RDS instance.
    Database,
    /// The SNS topic that alarms go to, with the e-mail subscription.
    Topic,
    /// The CloudWatch alarms on the database.
    Alarms,
    /// The bastion's role with `AmazonSSMManagedInstanceCore` attached.
    Role,
    /// The instance profile with the role in it.
    Profile,
    /// The bastion.
    Instance,
    /// The proof that Session Manager can open a session to the bastion. Nothing is created.
    Session,
}

/// The one place where order is written: a resource comes after all that it needs. Teardown is the reverse.
pub const CREATE_ORDER: [Resource; 23] = [
    Resource::Vpc,
    Resource::VpcDns,
    Resource::InternetGateway,
    Resource::PublicSubnet,
    Resource::PrivateSubnetA,
    Resource::PrivateSubnetB,
    Resource::PublicRoutes,
    Resource::PrivateRoutes,
    Resource::BastionGroup,
    Resource::DatabaseGroup,
    Resource::BastionRules,
    Resource::DatabaseRules,
    Resource::MasterSecret,
    Resource::MonitoringRole,
    Resource::LogGroups,
    Resource::SubnetGroup,
    Resource::Database,
    Resource::Topic,
    Resource::Alarms,
    Resource::Role,
    Resource::Profile,
    Resource::Instance,
    Resource::Session,
];

impl Resource {
    /// Returns what must exist before this can be created. At teardown the arrows turn round.
    pub fn needs(self) -> &'static [Resource] {
        use Resource as R;
        match self {
            R::Vpc | R::MasterSecret | R::MonitoringRole | R::LogGroups | R::Topic | R::Role => &[],
            R::VpcDns
            | R::InternetGateway
            | R::PublicSubnet
            | R::PrivateSubnetA
            | R::PrivateSubnetB
            | R::BastionGroup
            | R::DatabaseGroup => &[R::Vpc],
            R::PublicRoutes => &[R::Vpc, R::PublicSubnet, R::InternetGateway],
            R::PrivateRoutes => &[R::Vpc, R::PrivateSubnetA, R::PrivateSubnetB],
            R::BastionRules | R::DatabaseRules => &[R::BastionGroup, R::DatabaseGroup],
            R::SubnetGroup => &[R::PrivateSubnetA, R::PrivateSubnetB],
            // A dying database writes until it is gone: at teardown its log groups come after it.
            R::Database => {
                &[R::SubnetGroup, R::DatabaseGroup, R::MasterSecret, R::MonitoringRole, R::LogGroups]
            }
            // An alarm knows the database by its identifier, which is fixed: neither waits for the other.
            R::Alarms => &[R::Topic],
            R::Profile => &[R::Role],
            // The agent asks once and then sleeps for minutes: everything that it needs comes first.
            R::Instance => &[
                R::PublicSubnet,
                R::InternetGateway,
                R::PublicRoutes,
                R::BastionGroup,
                R::BastionRules,
                R::Profile,
            ],
            R::Session => &[R::Instance],
        }
    }

    /// Tells whether what this needs can be removed while this is there: EC2 ends a subnet's association with its route
    /// table, and a route to a gateway that is gone is a blackhole.
    pub fn releases(self, need: Resource) -> bool {
        use Resource as R;
        matches!(self, R::PublicRoutes | R::PrivateRoutes) && need != R::Vpc
    }

    /// Returns what must exist before this can be begun. Some are half made without the rest of what they need.
    pub fn begins_after(self) -> &'static [Resource] {
        use Resource as R;
        match self {
            // Made by themselves, and then attached to the VPC, or given the role.
            R::InternetGateway | R::Profile => &[],
            // Made in the VPC, and then given their subnets and routes.
            R::PublicRoutes | R::PrivateRoutes => &[R::Vpc],
            R::Vpc
            | R::VpcDns
            | R::PublicSubnet
            | R::PrivateSubnetA
            | R::PrivateSubnetB
            | R::BastionGroup
            | R::DatabaseGroup
            | R::BastionRules
            | R::DatabaseRules
            | R::MasterSecret
            | R::MonitoringRole
            | R::LogGroups
            | R::SubnetGroup
            | R::Database
            | R::Topic
            | R::Alarms
            | R::Role
            | R::Instance
            | R::Session => self.needs(),
        }
    }

    /// Returns the component that this belongs to.
    pub fn component(self) -> Component {
        use Resource as R;
        match self {
            R::Vpc
            | R::VpcDns
            | R::InternetGateway
            | R::PublicSubnet
            | R::PrivateSubnetA
            | R::PrivateSubnetB
            | R::PublicRoutes
            | R::PrivateRoutes => Component::Network,
            R::BastionGroup | R::DatabaseGroup | R::BastionRules | R::DatabaseRules => {
                Component::SecurityGroups
            }
            R::MasterSecret => Component::Secrets,
            R::MonitoringRole | R::LogGroups | R::SubnetGroup | R::Database | R::Topic | R::Alarms => {
                Component::Database
            }
            R::Role | R::Profile | R::Instance | R::Session => Component::Bastion,
        }
    }

    /// Returns the value of [`RESOURCE_TAG`](crate::spec::RESOURCE_TAG): `public-subnet`.
    pub fn tag(self) -> &'static str {
        use Resource as R;
        match self {
            R::Vpc => "vpc",
            R::VpcDns => "vpc-dns",
            R::InternetGateway => "internet-gateway",
            R::PublicSubnet => "public-subnet",
            R::PrivateSubnetA => "private-subnet-a",
            R::PrivateSubnetB => "private-subnet-b",
            R::PublicRoutes => "public-routes",
            R::PrivateRoutes => "private-routes",
            R::BastionGroup => "bastion-group",
            R::DatabaseGroup => "database-group",
            R::BastionRules => "bastion-rules",
            R::DatabaseRules => "database-rules",
            R::MasterSecret => "master-secret",
            R::MonitoringRole => "monitoring-role",
            R::LogGroups => "log-groups",
            R::SubnetGroup => "subnet-group",
            R::Database => "database",
            R::Topic => "topic",
            R::Alarms => "alarms",
            R::Role => "role",
            R::Profile => "profile",
            R::Instance => "instance",
            R::Session => "session",
        }
    }

    /// Returns the words that people read: `public subnet`, `bastion`.
    pub fn title(self) -> &'static str {
        use Resource as R;
        match self {
            R::Vpc => "vpc",
            R::VpcDns => "vpc dns names",
            R::InternetGateway => "internet gateway",
            R::PublicSubnet => "public subnet",
            R::PrivateSubnetA => "private subnet a",
            R::PrivateSubnetB => "private subnet b",
            R::PublicRoutes => "public route table",
            R::PrivateRoutes => "private route table",
            R::BastionGroup => "bastion security group",
            R::DatabaseGroup => "database security group",
            R::BastionRules => "bastion rules",
            R::DatabaseRules => "database rules",
            R::MasterSecret => "master secret",
            R::MonitoringRole => "monitoring role",
            R::LogGroups => "log groups",
            R::SubnetGroup => "database subnet group",
            R::Database => "database",
            R::Topic => "alarm topic",
            R::Alarms => "alarms",
            R::Role => "bastion role",
            R::Profile => "instance profile",
            R::Instance => "bastion",
            R::Session => "session to the bastion",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_the_name_that_json_shows() {
        for resource in CREATE_ORDER {
            assert_eq!(serde_json::to_value(resource).unwrap(), resource.tag());
        }
    }

    #[test]
    fn the_order_names_every_need_before_its_user() {
        for (at, resource) in CREATE_ORDER.iter().enumerate() {
            for need in resource.needs() {
                let need_at = CREATE_ORDER.iter().position(|other| other == need).unwrap();
                assert!(need_at < at, "{resource} comes before {need}");
            }
        }
    }
}
