//! What may be the stack's although it is no part of it as it stands.

use serde::Serialize;

use crate::resource::Resource;

/// Something that may be the stack's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Stray {
    /// Which part of the stack it would be.
    pub resource: Resource,
    /// Its name.
    pub id: String,
    /// Its ARN, where the service tells one.
    pub arn: Option<String>,
    /// Its state in the service's own word, where the service has one.
    pub state: Option<String>,
    /// What speaks for it, and what against.
    pub claim: Claim,
}

/// What speaks for something being the stack's, and what against.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claim {
    /// It carries the stack's tag, and has another name than the stack file gives it.
    OtherName,
    /// It has the name that the stack file gives, and does not carry the stack's tag.
    NoTag,
    /// It lies in IAM and is the stack's, and nothing says of which region: an earlier version made it.
    NoRegion,
    /// It lies in IAM and is the stack's in that region.
    OtherRegion(String),
}
