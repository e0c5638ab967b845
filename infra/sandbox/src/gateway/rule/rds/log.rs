//! The log groups that RDS makes for a database whose logs go to CloudWatch.

use serde_json::{Value, json};

use crate::gateway::Error;
use crate::gateway::upstream::Upstream;

/// Makes the log groups of these logs, unless they exist.
pub(super) async fn ensure(
    upstream: &Upstream,
    region: &str,
    identifier: &str,
    logs: &[String],
) -> Result<(), Error> {
    for log in logs {
        let name = format!("/aws/rds/instance/{identifier}/{log}");
        let known = json!({ "logGroupNamePrefix": name });
        let known = upstream.json("logs", region, "Logs_20140328.DescribeLogGroups", &known).await?;
        let is_there = |groups: &Vec<Value>| groups.iter().any(|group| group["logGroupName"] == name);
        if !known["logGroups"].as_array().is_some_and(is_there) {
            let group = json!({ "logGroupName": name });
            upstream.json("logs", region, "Logs_20140328.CreateLogGroup", &group).await?;
        }
    }
    Ok(())
}
