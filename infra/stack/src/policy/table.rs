use super::clause::Clause;
use super::task::Task::{self, Adopt, Bastion, Connect, Doctor, Down, Migrate, Rotate, Status, Tenant, Up};

/// One action: whose policy has it, in which statement, and the calls at which IAM asks for it.
pub(super) struct Grant {
    pub(super) action: &'static str,
    pub(super) tasks: &'static [Task],
    pub(super) clause: Clause,
    /// Other calls than the one of the action's own name.
    at: &'static [&'static str],
}

impl Grant {
    pub(super) fn is_asked_for_at(&self, call: &str) -> bool {
        if self.at.is_empty() { self.action == call } else { self.at.contains(&call) }
    }
}

/// Asked for at the call of that name.
const fn own(action: &'static str, tasks: &'static [Task], clause: Clause) -> Grant {
    Grant { action, tasks, clause, at: &[] }
}

/// Asked for at other calls.
const fn at(
    action: &'static str,
    tasks: &'static [Task],
    clause: Clause,
    at: &'static [&'static str],
) -> Grant {
    Grant { action, tasks, clause, at }
}

const ALL: &[Task] = &Task::ALL;
/// Those that look at every part; `doctor` looks at what is on the way to the database.
const WHOLE: &[Task] = &[Status, Connect, Migrate, Tenant, Rotate, Bastion, Up, Down, Adopt];
/// Those that open tunnels or shells.
const SESSIONS: &[Task] = &[Connect, Migrate, Tenant, Rotate, Doctor];
/// Those that open sessions, if only to see whether that is possible.
const OPENING: &[Task] = &[Connect, Migrate, Tenant, Rotate, Doctor, Bastion, Up];
/// Those that look for the reason when no session can be opened.
const REASONS: &[Task] = &[Doctor, Up];

/// Calls that need no permission.
pub(super) const FREE: [&str; 1] = ["sts:GetCallerIdentity"];

/// What the tasks are allowed: a line for each action and statement.
///
/// Source: the service authorization reference, and for tags and snapshots of RDS its change of August 2024.
pub(super) const TABLE: &[Grant] = &[
    // Looking at the stack, as every task does.
    own("ec2:DescribeInstances", ALL, Clause::Look),
    own("ec2:DescribeInternetGateways", ALL, Clause::Look),
    own("ec2:DescribeRouteTables", ALL, Clause::Look),
    own("ec2:DescribeSecurityGroups", ALL, Clause::Look),
    own("ec2:DescribeSubnets", ALL, Clause::Look),
    own("ec2:DescribeVolumes", WHOLE, Clause::Look),
    own("ec2:DescribeVpcAttribute", ALL, Clause::Look),
    own("ec2:DescribeVpcs", ALL, Clause::Look),
    own("iam:GetInstanceProfile", ALL, Clause::ReadRole),
    own("iam:GetRole", ALL, Clause::ReadRole),
    own("iam:ListAttachedRolePolicies", ALL, Clause::ReadRole),
    // A database of the stack under another identifier is seen in the whole list alone.
    own("rds:DescribeDBInstances", WHOLE, Clause::Look),
    own("rds:DescribeDBInstances", &[Doctor], Clause::Database),
    own("rds:DescribeDBSubnetGroups", WHOLE, Clause::Look),
    own("rds:DescribeDBSnapshots", &[Down], Clause::Snapshot),
    own("rds:ListTagsForResource", WHOLE, Clause::Database),
    own("secretsmanager:DescribeSecret", ALL, Clause::Secrets),
    own("secretsmanager:ListSecrets", ALL, Clause::Look),
    own("cloudwatch:DescribeAlarms", WHOLE, Clause::Look),
    own("logs:DescribeLogGroups", WHOLE, Clause::Look),
    own("sns:ListTopics", WHOLE, Clause::Look),
    own("sns:ListSubscriptionsByTopic", WHOLE, Clause::Topic),
    own("sns:ListTagsForResource", WHOLE, Clause::Topic),
    own("ssm:DescribeInstanceInformation", ALL, Clause::Look),
    own("ssm:GetParameter", WHOLE, Clause::ImageParameter),
    // One run at a time changes the stack.
    own("ssm:GetParametersByPath", WHOLE, Clause::Lock),
    own("ssm:PutParameter", &[Up, Down, Adopt], Clause::Lock),
    own("ssm:DeleteParameters", &[Up, Down, Adopt], Clause::Lock),
    // Proving that nothing is left.
    own("ec2:DescribeNetworkInterfaces", &[Status, Up, Down], Clause::Look),
    own("iam:ListInstanceProfiles", &[Status, Down], Clause::Look),
    own("iam:ListRoles", &[Status, Down], Clause::Look),
    // Lists show no tags: each of what is listed is asked for them.
    own("iam:GetInstanceProfile", &[Status, Down], Clause::Look),
    own("iam:GetRole", &[Status, Down], Clause::Look),
    own("rds:ListTagsForResource", &[Status, Down], Clause::Look),
    own("sns:ListTagsForResource", &[Status, Down], Clause::Look),
    own("cloudwatch:ListTagsForResource", &[Status, Down], Clause::Look),
    // Finding out why the bastion is not reached.
    own("ec2:DescribeIamInstanceProfileAssociations", REASONS, Clause::Look),
    own("ec2:DescribeNetworkAcls", REASONS, Clause::Look),
    own("ec2:DescribeVpcEndpoints", REASONS, Clause::Look),
    own("ec2:GetConsoleOutput", REASONS, Clause::Own),
    own("iam:SimulatePrincipalPolicy", &[Doctor], Clause::Look),
    own("ssm:GetConnectionStatus", &[Doctor, Bastion, Up], Clause::Look),
    own("ssm:DescribeSessions", &[Bastion, Down], Clause::Look),
    // Sessions.
    own("ssm:StartSession", OPENING, Clause::Bastion),
    own("ssm:StartSession", OPENING, Clause::Forward),
    // The database is a remote host; a port of the bastion itself has a document of its own.
    own("ssm:StartSession", &[Connect], Clause::Loopback),
    own("ssm:StartSession", &[Connect], Clause::Shell),
    own("ssm:TerminateSession", OPENING, Clause::OwnSessions),
    own("ssm:ResumeSession", &[Connect, Migrate, Tenant, Rotate], Clause::OwnSessions),
    own("ssmmessages:OpenDataChannel", SESSIONS, Clause::Channel),
    own("kms:GenerateDataKey", &[Connect], Clause::SessionKey),
    // Passwords.
    own("secretsmanager:BatchGetSecretValue", &[Migrate, Tenant], Clause::Look),
    at(
        "secretsmanager:GetSecretValue",
        &[Connect, Migrate, Tenant, Rotate, Doctor, Up],
        Clause::Secrets,
        &["secretsmanager:GetSecretValue", "secretsmanager:BatchGetSecretValue"],
    ),
    own("secretsmanager:CreateSecret", &[Tenant, Up], Clause::Secrets),
    at("secretsmanager:TagResource", &[Tenant, Up], Clause::Secrets, &["secretsmanager:CreateSecret"]),
    own("secretsmanager:RestoreSecret", &[Tenant, Up], Clause::Secrets),
    own("secretsmanager:PutSecretValue", &[Tenant, Rotate, Up], Clause::Secrets),
    own("secretsmanager:UpdateSecretVersionStage", &[Rotate], Clause::Secrets),
    own("secretsmanager:DeleteSecret", &[Tenant, Down], Clause::Secrets),
    // Network: what a call makes has the tag, and so has what it is made in.
    own("ec2:CreateInternetGateway", &[Up], Clause::Make),
    own("ec2:CreateRouteTable", &[Up], Clause::Make),
    own("ec2:CreateRouteTable", &[Up], Clause::Own),
    own("ec2:CreateSecurityGroup", &[Up], Clause::Make),
    own("ec2:CreateSecurityGroup", &[Up], Clause::Own),
    own("ec2:CreateSubnet", &[Up], Clause::Make),
    own("ec2:CreateSubnet", &[Up], Clause::Own),
    own("ec2:CreateVpc", &[Up], Clause::Make),
    at(
        "ec2:CreateTags",
        &[Up],
        Clause::Tag,
        &[
            "ec2:CreateInternetGateway",
            "ec2:CreateRouteTable",
            "ec2:CreateSecurityGroup",
            "ec2:CreateSubnet",
            "ec2:CreateVpc",
            "ec2:RunInstances",
        ],
    ),
    own("ec2:AssociateRouteTable", &[Up], Clause::Own),
    own("ec2:AttachInternetGateway", &[Up], Clause::Own),
    own("ec2:AuthorizeSecurityGroupEgress", &[Up], Clause::Own),
    own("ec2:AuthorizeSecurityGroupIngress", &[Up], Clause::Own),
    own("ec2:CreateRoute", &[Up], Clause::Own),
    // Only where the bastion is taken out of a group that is not the stack's.
    own("ec2:ModifyInstanceAttribute", &[Up], Clause::Own),
    own("ec2:ModifyVpcAttribute", &[Up], Clause::Own),
    own("ec2:ReplaceRoute", &[Up], Clause::Own),
    own("ec2:ReplaceRouteTableAssociation", &[Up], Clause::Own),
    own("ec2:RevokeSecurityGroupEgress", &[Up, Down], Clause::Own),
    own("ec2:RevokeSecurityGroupIngress", &[Up, Down], Clause::Own),
    // `up` removes what a lost reply left behind.
    own("ec2:DeleteInternetGateway", &[Up, Down], Clause::Own),
    own("ec2:DeleteRouteTable", &[Up, Down], Clause::Own),
    own("ec2:DeleteVpc", &[Up, Down], Clause::Own),
    own("ec2:DeleteSecurityGroup", &[Down], Clause::Own),
    own("ec2:DeleteSubnet", &[Down], Clause::Own),
    own("ec2:DetachInternetGateway", &[Down], Clause::Own),
    own("ec2:DisassociateRouteTable", &[Down], Clause::Own),
    // Bastion.
    own("ec2:RunInstances", &[Up], Clause::Make),
    own("ec2:RunInstances", &[Up], Clause::Own),
    own("ec2:RunInstances", &[Up], Clause::Image),
    // Whoever needs the bastion starts it.
    own("ec2:StartInstances", &[Connect, Migrate, Tenant, Rotate, Bastion, Up], Clause::Own),
    own("ec2:StopInstances", &[Bastion], Clause::Own),
    own("ec2:RebootInstances", &[Bastion, Up], Clause::Own),
    own("ec2:CreateTags", &[Bastion, Up], Clause::Own),
    own("ec2:DeleteTags", &[Bastion], Clause::Own),
    own("ec2:TerminateInstances", &[Bastion, Up, Down], Clause::Own),
    own("iam:AddRoleToInstanceProfile", &[Up], Clause::Role),
    own("iam:AttachRolePolicy", &[Up], Clause::Attach),
    own("iam:CreateInstanceProfile", &[Up], Clause::Role),
    own("iam:CreateRole", &[Up], Clause::Role),
    at(
        "iam:PassRole",
        &[Up],
        Clause::PassRole,
        &["iam:AddRoleToInstanceProfile", "ec2:RunInstances", "rds:CreateDBInstance"],
    ),
    // Also what an earlier version made and that says no region.
    at(
        "iam:TagInstanceProfile",
        &[Up],
        Clause::Role,
        &["iam:CreateInstanceProfile", "iam:TagInstanceProfile"],
    ),
    at("iam:TagRole", &[Up], Clause::Role, &["iam:CreateRole", "iam:TagRole"]),
    own("iam:TagInstanceProfile", &[Down], Clause::Role),
    own("iam:TagRole", &[Down], Clause::Role),
    own("iam:RemoveRoleFromInstanceProfile", &[Up, Down], Clause::Role),
    own("iam:DeleteInstanceProfile", &[Down], Clause::Role),
    own("iam:DeleteRole", &[Up, Down], Clause::Role),
    own("iam:DeleteRolePolicy", &[Down], Clause::Role),
    own("iam:DetachRolePolicy", &[Up, Down], Clause::Role),
    own("iam:ListInstanceProfilesForRole", &[Down], Clause::Role),
    own("iam:ListRolePolicies", &[Down], Clause::Role),
    // Database.
    at(
        "rds:AddTagsToResource",
        &[Up],
        Clause::Database,
        &["rds:CreateDBInstance", "rds:CreateDBSubnetGroup"],
    ),
    own("rds:CreateDBInstance", &[Up], Clause::Database),
    own("rds:CreateDBInstance", &[Up], Clause::Defaults),
    own("rds:CreateDBSubnetGroup", &[Up], Clause::Database),
    own("rds:ModifyDBInstance", &[Rotate, Up, Down], Clause::Database),
    own("rds:ModifyDBSubnetGroup", &[Up], Clause::Database),
    own("rds:StartDBInstance", &[Up], Clause::Database),
    at("iam:CreateServiceLinkedRole", &[Up], Clause::ServiceRole, &["rds:CreateDBInstance"]),
    own("rds:DeleteDBInstance", &[Down], Clause::Database),
    own("rds:DeleteDBInstance", &[Down], Clause::Snapshot),
    own("rds:DeleteDBSubnetGroup", &[Up, Down], Clause::Database),
    // What watches it. `up` removes what was turned off.
    own("sns:CreateTopic", &[Up], Clause::Topic),
    at("sns:TagResource", &[Up], Clause::Topic, &["sns:CreateTopic"]),
    own("sns:Subscribe", &[Up], Clause::Topic),
    own("sns:Unsubscribe", &[Up], Clause::Topic),
    own("sns:DeleteTopic", &[Up, Down], Clause::Topic),
    own("sns:GetTopicAttributes", &[Up, Down], Clause::Topic),
    own("cloudwatch:PutMetricAlarm", &[Up], Clause::Alarms),
    at("cloudwatch:TagResource", &[Up], Clause::Alarms, &["cloudwatch:PutMetricAlarm"]),
    own("cloudwatch:DeleteAlarms", &[Up, Down], Clause::Alarms),
    own("logs:DeleteLogGroup", &[Down], Clause::Logs),
    // Taking over what others made: tags alone.
    own("ec2:CreateTags", &[Adopt], Clause::Adopt),
    own("iam:TagInstanceProfile", &[Adopt], Clause::Role),
    own("iam:TagRole", &[Adopt], Clause::Role),
    own("rds:AddTagsToResource", &[Adopt], Clause::Database),
    own("secretsmanager:TagResource", &[Adopt], Clause::Secrets),
    // The tags go along to the last snapshot.
    at("rds:AddTagsToResource", &[Down], Clause::Snapshot, &["rds:DeleteDBInstance"]),
    at("rds:CreateDBSnapshot", &[Down], Clause::Snapshot, &["rds:DeleteDBInstance"]),
];
