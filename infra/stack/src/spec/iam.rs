//! The names of what lies in IAM, which knows no regions: the region is in each name, in the path and in a tag.

use super::Stack;

/// The most characters of a role's name.
///
/// Source: IAM's user guide, "IAM and AWS STS quotas".
const ROLE_NAME_LIMIT: usize = 64;
/// The hexadecimal digits that take the place of what is cut off.
const DIGITS: usize = 10;
const BASTION: &str = "bastion";
const MONITORING: &str = "monitoring";

impl Stack {
    /// Returns the IAM path of the stack's roles and profile in its region: `/drawbridge/shop/prod/us-east-1/`.
    pub fn iam_path(&self) -> String {
        format!("{}{}/", self.iam_root(), self.region)
    }

    /// Returns the IAM path under which the stack lies in every region. Earlier versions put roles and profile right here.
    pub fn iam_root(&self) -> String {
        format!("/drawbridge/{}/{}/", self.project, self.environment)
    }

    /// Returns the name of the bastion's role.
    pub fn role_name(&self) -> String {
        self.bastion.role.clone().unwrap_or_else(|| self.iam_name(BASTION))
    }

    /// Returns the name of the bastion's instance profile.
    pub fn profile_name(&self) -> String {
        self.bastion.profile.clone().unwrap_or_else(|| self.iam_name(BASTION))
    }

    /// Returns the name of the role of enhanced monitoring.
    pub fn monitoring_role_name(&self) -> String {
        self.iam_name(MONITORING)
    }

    /// Returns the name that earlier versions gave the bastion's role; `None` if a name is written in the stack file.
    pub fn earlier_role_name(&self) -> Option<String> {
        self.bastion.role.is_none().then(|| self.name_of(BASTION))
    }

    /// Returns the name that earlier versions gave the instance profile; `None` if a name is written in the stack file.
    pub fn earlier_profile_name(&self) -> Option<String> {
        self.bastion.profile.is_none().then(|| self.name_of(BASTION))
    }

    /// Returns the name that earlier versions gave the role of enhanced monitoring.
    pub fn earlier_monitoring_role_name(&self) -> String {
        self.name_of(MONITORING)
    }

    fn iam_name(&self, part: &str) -> String {
        let whole = format!("{}-{}", self.name, self.region);
        let room = ROLE_NAME_LIMIT - part.len() - 1;
        if whole.len() <= room {
            return format!("{whole}-{part}");
        }
        let start = whole[..room - DIGITS - 1].trim_end_matches('-');
        format!("{start}-{}-{part}", digest(&whole))
    }
}

/// Returns ten hexadecimal digits that two names hardly share: FNV-1a, which is the same in every version and on every
/// machine.
fn digest(text: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    format!("{:010x}", hash >> (64 - 4 * DIGITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(project: &str, environment: &str, region: &str) -> Stack {
        let text =
            format!("project = \"{project}\"\nenvironment = \"{environment}\"\nregion = \"{region}\"\n");
        crate::config::parse(&text, "stack.toml").expect("the file is right")
    }

    #[test]
    fn names_say_the_region_and_are_never_longer_than_iam_takes() {
        let short = stack("shop", "prod", "us-east-1");
        assert_eq!(short.role_name(), "shop-prod-us-east-1-bastion");
        assert_eq!(short.monitoring_role_name(), "shop-prod-us-east-1-monitoring");
        assert_eq!(short.iam_path(), "/drawbridge/shop/prod/us-east-1/");

        let (project, environment) = ("p".repeat(32), "e".repeat(16));
        let mut names = std::collections::BTreeSet::new();
        for region in ["us-east-1", "ap-southeast-1", "ap-southeast-2", "us-gov-west-1"] {
            let long = stack(&project, &environment, region);
            for name in [long.role_name(), long.profile_name(), long.monitoring_role_name()] {
                assert!(name.len() <= ROLE_NAME_LIMIT, "{name}");
                assert!(name.ends_with("-bastion") || name.ends_with("-monitoring"), "{name}");
                names.insert(name);
            }
            assert_eq!(long.role_name(), stack(&project, &environment, region).role_name());
        }
        assert_eq!(names.len(), 8, "two regions share a name: {names:?}");
    }
}
