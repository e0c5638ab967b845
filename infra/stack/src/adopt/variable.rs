use std::fmt;

use crate::resource::Resource;
use crate::spec::ROLE_SECRET;

/// Which part of a stack something is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// One that the plan knows.
    Of(Resource),
    /// The secret of the role of that name.
    RoleSecret(String),
}

impl Part {
    /// Returns the value of its resource tag.
    pub fn tag(&self) -> &'static str {
        match self {
            Part::Of(resource) => resource.tag(),
            Part::RoleSecret(_) => ROLE_SECRET,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Of(resource) => resource.fmt(f),
            Part::RoleSecret(role) => write!(f, "secret of role {role}"),
        }
    }
}

/// What a variable of the file says.
pub(super) enum Meaning {
    Stack,
    Account,
    Region,
    Part(Part, Shape),
    /// What AWS tells better.
    Told,
    Unknown,
}

/// What a value must look like.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// An id of EC2's that begins so.
    Id(&'static str),
    /// A name of IAM's or RDS's of at most so many characters.
    Name(usize),
    /// The ARN of a secret.
    Secret,
}

const TENANT_SECRET: &str = "TENANT_SECRET_ARN_";

pub(super) fn meaning(name: &str) -> Meaning {
    use Resource as R;
    let part = |resource, shape| Meaning::Part(Part::Of(resource), shape);
    match name {
        "STACK_NAME" => Meaning::Stack,
        "AWS_ACCOUNT_ID" => Meaning::Account,
        "AWS_REGION" => Meaning::Region,
        "VPC_ID" => part(R::Vpc, Shape::Id("vpc-")),
        "INTERNET_GATEWAY_ID" => part(R::InternetGateway, Shape::Id("igw-")),
        "PUBLIC_SUBNET_ID" => part(R::PublicSubnet, Shape::Id("subnet-")),
        "PRIVATE_SUBNET_A_ID" => part(R::PrivateSubnetA, Shape::Id("subnet-")),
        "PRIVATE_SUBNET_B_ID" => part(R::PrivateSubnetB, Shape::Id("subnet-")),
        "PUBLIC_ROUTE_TABLE_ID" => part(R::PublicRoutes, Shape::Id("rtb-")),
        "PRIVATE_ROUTE_TABLE_ID" => part(R::PrivateRoutes, Shape::Id("rtb-")),
        "BASTION_SECURITY_GROUP_ID" => part(R::BastionGroup, Shape::Id("sg-")),
        "RDS_SECURITY_GROUP_ID" => part(R::DatabaseGroup, Shape::Id("sg-")),
        "DB_SUBNET_GROUP_NAME" => part(R::SubnetGroup, Shape::Name(255)),
        "RDS_INSTANCE_ID" => part(R::Database, Shape::Name(63)),
        "MASTER_SECRET_ARN" => part(R::MasterSecret, Shape::Secret),
        "BASTION_ROLE_NAME" => part(R::Role, Shape::Name(64)),
        "BASTION_INSTANCE_PROFILE_NAME" => part(R::Profile, Shape::Name(128)),
        "BASTION_INSTANCE_ID" => part(R::Instance, Shape::Id("i-")),
        "RDS_ENDPOINT" | "RDS_PORT" | "RDS_MASTER_USER" => Meaning::Told,
        _ => match name.strip_prefix(TENANT_SECRET).filter(|role| !role.is_empty()) {
            Some(role) => Meaning::Part(Part::RoleSecret(role.to_ascii_lowercase()), Shape::Secret),
            None => Meaning::Unknown,
        },
    }
}

impl Shape {
    /// Tells whether the value looks like that.
    pub(super) fn fits(self, value: &str) -> bool {
        match self {
            Shape::Id(start) => value.strip_prefix(start).is_some_and(|rest| {
                // Eight digits in old ones, seventeen in those since 2018.
                (8..=17).contains(&rest.len()) && rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            }),
            Shape::Name(limit) => {
                (1..=limit).contains(&value.len())
                    && value.chars().all(|c| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c))
            }
            Shape::Secret => is_secret(value),
        }
    }

    /// Returns what it must look like, in words, and an example.
    pub(super) fn words(self) -> (String, String) {
        match self {
            Shape::Id(start) => {
                (format!("an id of EC2 that begins with `{start}`"), format!("{start}0a1b2c3d4e5f60718"))
            }
            Shape::Name(limit) => (
                format!("a name of at most {limit} letters, digits and `+=,.@_-`"),
                "startupwebapp-bastion".to_owned(),
            ),
            Shape::Secret => (
                "the ARN of a secret".to_owned(),
                "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds/shop/master-AbCdEf".to_owned(),
            ),
        }
    }
}

/// `arn:aws:secretsmanager:us-east-1:123456789012:secret:rds/shop/master-AbCdEf`
fn is_secret(value: &str) -> bool {
    let parts: Vec<&str> = value.splitn(7, ':').collect();
    let ["arn", partition, "secretsmanager", region, account, "secret", name] = parts.as_slice() else {
        return false;
    };
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    partition.starts_with("aws")
        && word(partition)
        && word(region)
        && is_account(account)
        && (1..=519).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c))
}

pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}
