//! Taking over what the predecessor's scripts made: which of it may be, and what the stack would be then.
//!
//! Architecture invariant: `aws-resources.env` is read here once and never again. What is taken over carries the stack's
//! tags from then on, and they alone are asked.

mod file;
mod merge;
mod name;
mod refuse;
mod variable;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::file::{Given, Listing, Named, parse};
pub use self::merge::{absent, hypothetical};
pub use self::name::{Line, render_lines, unnamed};
pub use self::refuse::objections;
pub use self::variable::Part;
use crate::inventory::{
    Agent, DatabaseInstance, Instance, InternetGateway, Profile, Role, RouteTable, SecretEntry,
    SecurityGroup, Subnet, SubnetGroup, Vpc,
};
use crate::spec::{REGION_TAG, RESOURCE_TAG, STACK_TAG, Stack};

/// What the names of a file led to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// What exists, the parts of the network first.
    pub candidates: Vec<Candidate>,
    /// What is left alone.
    pub skipped: Vec<Skipped>,
}

/// Something that exists and may be taken over.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Which part of the stack it would be.
    pub part: Part,
    /// Its id; its name, where that is the id.
    pub id: String,
    /// The variable that names it; `None` if it was found by what it is attached to.
    pub variable: Option<String>,
    /// All its tags.
    pub tags: BTreeMap<String, String>,
    /// What AWS says of it.
    pub thing: Observed,
}

/// What AWS says of something that may be taken over.
#[derive(Clone, Debug, PartialEq)]
pub enum Observed {
    /// A VPC.
    Vpc(Vpc),
    /// A subnet.
    Subnet(Subnet),
    /// An internet gateway.
    Gateway(InternetGateway),
    /// A route table.
    RouteTable(RouteTable),
    /// A security group.
    Group(SecurityGroup),
    /// A database subnet group.
    SubnetGroup {
        /// The group.
        group: SubnetGroup,
        /// By which RDS tags it.
        arn: String,
    },
    /// An RDS instance.
    Database(Box<DatabaseInstance>),
    /// A secret.
    Secret(SecretEntry),
    /// A role.
    Role {
        /// The role.
        role: Role,
        /// The IAM path that it lies under.
        path: String,
    },
    /// An instance profile.
    Profile {
        /// The profile.
        profile: Profile,
        /// The IAM path that it lies under.
        path: String,
    },
    /// An EC2 instance.
    Instance {
        /// The instance.
        instance: Box<Instance>,
        /// What Session Manager says of it.
        agent: Option<Agent>,
        /// The ids of its volumes and network interfaces, which carry its tags.
        companions: Vec<String>,
    },
}

/// Something that is named and is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The variable that names it.
    pub variable: String,
    /// Its id or name.
    pub id: String,
    /// Why.
    pub why: String,
}

impl Candidate {
    /// Tells whether it carries the stack's tags already.
    pub fn is_taken(&self, stack: &Stack) -> bool {
        let has = |key: &str, value: &str| self.tags.get(key).is_some_and(|have| have == value);
        // A regional service tells the region by itself.
        let says_where = !self.is_in_iam() || has(REGION_TAG, &stack.region);
        has(STACK_TAG, &stack.name) && has(RESOURCE_TAG, self.part.tag()) && says_where
    }

    /// Tells whether it lies in IAM, which knows no regions.
    pub(crate) fn is_in_iam(&self) -> bool {
        matches!(self.thing, Observed::Role { .. } | Observed::Profile { .. })
    }

    /// Returns what messages call it: `` `vpc-0a1b` (`VPC_ID`) ``.
    pub(crate) fn shown(&self) -> String {
        match &self.variable {
            Some(variable) => format!("`{}` (`{variable}`)", self.id),
            None => format!("`{}` ({})", self.id, self.part),
        }
    }
}
