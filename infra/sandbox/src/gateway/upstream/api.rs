//! The services that the gateway itself asks in the query protocol, with the version of each.

/// A service with the query protocol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryApi {
    /// The service's signing name.
    pub(crate) service: &'static str,
    /// The version that requests name.
    pub(crate) version: &'static str,
}

/// EC2.
pub(crate) const EC2: QueryApi = QueryApi { service: "ec2", version: "2016-11-15" };
/// IAM.
pub(crate) const IAM: QueryApi = QueryApi { service: "iam", version: "2010-05-08" };
/// RDS.
pub(crate) const RDS: QueryApi = QueryApi { service: "rds", version: "2014-10-31" };
