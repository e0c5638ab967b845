//! Asks IAM's simulation whether the caller may start sessions.

use aws_sdk_iam::types::{EvaluationResult, PolicyEvaluationDecisionType};
use stack::diagnosis::Decision;

use super::TO_REMOTE_HOST;
use crate::error::failed;
use crate::{Cloud, Error};

const ACTION: &str = "ssm:StartSession";

/// Returns whether IAM's simulation allows a tunnel's session with the instance, or with any instance.
///
/// # Errors
/// As AWS says: many callers who may start sessions may not simulate.
pub(crate) async fn simulate(cloud: &Cloud, instance_id: Option<&str>) -> Result<Decision, Error> {
    let identity = cloud.identity().await?;
    let principal = principal(cloud, &identity.arn).await?;
    let (partition, region, account) = (partition(&identity.arn), cloud.region(), &identity.account);
    let instance = instance_id.unwrap_or("*");
    let resources = [
        format!("arn:{partition}:ec2:{region}:{account}:instance/{instance}"),
        format!("arn:{partition}:ssm:{region}::document/{TO_REMOTE_HOST}"),
    ];
    let call = cloud.iam.simulate_principal_policy().policy_source_arn(principal).action_names(ACTION);
    let call = call.set_resource_arns(Some(resources.to_vec())).send();
    let answer = call.await.map_err(failed("iam", "SimulatePrincipalPolicy"))?;
    let results: &[EvaluationResult] = answer.evaluation_results();
    let field = "evaluation result";
    let incomplete = Error::Incomplete { service: "iam", operation: "SimulatePrincipalPolicy", field };
    let worst =
        results.iter().find(|result| result.eval_decision() != &PolicyEvaluationDecisionType::Allowed);
    let result = worst.or(results.first()).ok_or(incomplete)?;
    Ok(Decision { word: result.eval_decision().as_str().to_owned() })
}

/// Returns the ARN that IAM can simulate. For a session this is its role's ARN, which has a path that the session's lacks.
async fn principal(cloud: &Cloud, arn: &str) -> Result<String, Error> {
    let Some(role) = role_of(arn) else { return Ok(arn.to_owned()) };
    let answer = cloud.iam.get_role().role_name(role).send().await.map_err(failed("iam", "GetRole"))?;
    let role =
        answer.role.ok_or(Error::Incomplete { service: "iam", operation: "GetRole", field: "role" })?;
    Ok(role.arn().to_owned())
}

/// Returns the role's name in `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
fn role_of(arn: &str) -> Option<&str> {
    arn.split_once(":assumed-role/")?.1.split('/').next()
}

fn partition(arn: &str) -> &str {
    arn.split(':').nth(1).unwrap_or("aws")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_a_role_is_asked_about_by_its_role() {
        let arn = "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Dev_1a2b/me@example.org";
        assert_eq!(role_of(arn), Some("AWSReservedSSO_Dev_1a2b"));
        assert_eq!(role_of("arn:aws:iam::123456789012:user/me"), None);
        assert_eq!(partition("arn:aws-cn:iam::1:user/me"), "aws-cn");
    }
}
