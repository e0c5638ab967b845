use serde_json::{Value, json};

use crate::alarm;
use crate::spec::{
    AMI_PARAMETER, MONITORING_PATH, MONITORING_POLICY, REGION_TAG, SSM_POLICY, STACK_TAG, Stack,
};

/// On what an action is allowed, and when: a statement of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clause {
    /// Lists, and what has no resource to name.
    Look,
    /// EC2's parts, as they are made with the stack's tag.
    Make,
    /// EC2's parts that have the stack's tag.
    Own,
    /// The tags of EC2's parts, in the call that makes them.
    Tag,
    /// The tags of EC2's parts that have no stack's tag yet.
    Adopt,
    /// The image that the bastion starts from.
    Image,
    /// The parameter that names the image.
    ImageParameter,
    /// The locks that keep two runs from changing the stack at once.
    Lock,
    /// Role and profile, also by a name that nothing has yet.
    ReadRole,
    /// Roles and profile.
    Role,
    /// The policies that may be attached to the roles.
    Attach,
    /// The roles, given to EC2 and to RDS's monitoring alone.
    PassRole,
    /// Database and subnet group.
    Database,
    /// The option and parameter groups that RDS takes if none is named.
    Defaults,
    /// The last snapshot.
    Snapshot,
    /// RDS's own role, which the first database of an account makes.
    ServiceRole,
    /// The topic of the alarms.
    Topic,
    /// The alarms on the database.
    Alarms,
    /// The log groups of the database.
    Logs,
    /// The secrets under the stack's prefix.
    Secrets,
    /// Sessions to the stack's bastion, with a document that is allowed as well.
    Bastion,
    /// The document of tunnels.
    Forward,
    /// The document of tunnels to ports of the bastion itself.
    Loopback,
    /// The documents of shells.
    Shell,
    /// Sessions that one has opened oneself.
    OwnSessions,
    /// A session's channel, which nobody gets into without its token.
    Channel,
    /// Whatever key the account encrypts shells with, and for that alone.
    SessionKey,
}

/// Where the stack is, as ARNs say it.
pub(super) struct Place<'a> {
    stack: &'a Stack,
    partition: &'static str,
    account: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn new(stack: &'a Stack, account: Option<&'a str>) -> Place<'a> {
        Place { stack, partition: stack.partition(), account: account.unwrap_or("*") }
    }

    /// Returns an ARN in the stack's region and account.
    fn arn(&self, service: &str, rest: &str) -> String {
        format!("arn:{}:{service}:{}:{}:{rest}", self.partition, self.stack.region, self.account)
    }

    /// Returns an ARN of what AWS itself has in the region.
    fn shared(&self, service: &str, rest: &str) -> String {
        format!("arn:{}:{service}:{}::{rest}", self.partition, self.stack.region)
    }

    fn iam(&self, rest: &str) -> String {
        format!("arn:{}:iam::{}:{rest}", self.partition, self.account)
    }

    /// Returns the roles under the stack's path, in one line, as a policy's characters are counted; and the bastion's without a
    /// path, if its name is written in the stack file. Earlier versions put them above the region, so the line does not say
    /// it; the condition does.
    fn roles(&self) -> Vec<String> {
        let under = self.iam(&format!("role{}*", self.stack.iam_root()));
        let written = self.stack.bastion.role.as_ref().map(|name| self.iam(&format!("role/{name}")));
        std::iter::once(under).chain(written).collect()
    }

    /// The same of the instance profile.
    fn profiles(&self) -> Vec<String> {
        let under = self.iam(&format!("instance-profile{}*", self.stack.iam_root()));
        let written = self.stack.bastion.profile.as_ref();
        let written = written.map(|name| self.iam(&format!("instance-profile/{name}")));
        std::iter::once(under).chain(written).collect()
    }

    /// Returns roles and profile by name, whatever path they lie under or would lie under: only what exists has one.
    fn by_name(&self) -> Vec<String> {
        let Place { stack, .. } = self;
        let begins = format!("{}-", stack.name);
        let mut names = vec![format!("role*/{begins}*"), format!("instance-profile*/{begins}*")];
        // A name that would be too long does not begin as the stack's, nor does one that is written.
        let roles = [stack.role_name(), stack.monitoring_role_name()];
        let others = roles.map(|name| ("role", name)).into_iter();
        let others = others.chain([("instance-profile", stack.profile_name())]);
        let others = others.filter(|(_, name)| !name.starts_with(&begins));
        names.extend(others.map(|(kind, name)| format!("{kind}*/{name}")));
        names.iter().map(|name| self.iam(name)).collect()
    }

    /// Returns the secrets under the prefix, and the master's if it is elsewhere.
    fn secrets(&self) -> Vec<String> {
        let prefix = format!("{}/", self.stack.database.secret_prefix);
        // Secrets Manager puts six characters of its own behind a name.
        let elsewhere = self.stack.database.master_secret.as_ref().filter(|name| !name.starts_with(&prefix));
        let elsewhere = elsewhere.map(|name| format!("secret:{name}-??????"));
        let names = std::iter::once(format!("secret:{prefix}*")).chain(elsewhere);
        names.map(|name| self.arn("secretsmanager", &name)).collect()
    }

    fn database(&self) -> String {
        self.arn("rds", &format!("db:{}", self.stack.database.identifier))
    }
}

impl Clause {
    /// Every clause, in the order in which a policy shows them.
    pub(super) const ALL: [Clause; 27] = [
        Clause::Look,
        Clause::Make,
        Clause::Own,
        Clause::Tag,
        Clause::Adopt,
        Clause::Image,
        Clause::ImageParameter,
        Clause::Lock,
        Clause::ReadRole,
        Clause::Role,
        Clause::Attach,
        Clause::PassRole,
        Clause::Database,
        Clause::Defaults,
        Clause::Snapshot,
        Clause::ServiceRole,
        Clause::Topic,
        Clause::Alarms,
        Clause::Logs,
        Clause::Secrets,
        Clause::Bastion,
        Clause::Forward,
        Clause::Loopback,
        Clause::Shell,
        Clause::OwnSessions,
        Clause::Channel,
        Clause::SessionKey,
    ];

    pub(super) fn sid(self) -> &'static str {
        match self {
            Clause::Look => "Look",
            Clause::Make => "Make",
            Clause::Own => "Own",
            Clause::Tag => "Tag",
            Clause::Adopt => "Adopt",
            Clause::Image => "Image",
            Clause::ImageParameter => "ImageParameter",
            Clause::Lock => "Lock",
            Clause::ReadRole => "ReadRole",
            Clause::Role => "Role",
            Clause::Attach => "Attach",
            Clause::PassRole => "PassRole",
            Clause::Database => "Database",
            Clause::Defaults => "Defaults",
            Clause::Snapshot => "Snapshot",
            Clause::ServiceRole => "ServiceRole",
            Clause::Topic => "Topic",
            Clause::Alarms => "Alarms",
            Clause::Logs => "Logs",
            Clause::Secrets => "Secrets",
            Clause::Bastion => "Bastion",
            Clause::Forward => "Forward",
            Clause::Loopback => "Loopback",
            Clause::Shell => "Shell",
            Clause::OwnSessions => "OwnSessions",
            Clause::Channel => "Channel",
            Clause::SessionKey => "SessionKey",
        }
    }

    pub(super) fn resources(self, place: &Place<'_>) -> Vec<String> {
        let stack = place.stack;
        match self {
            Clause::Look => vec!["*".to_owned()],
            Clause::Make | Clause::Own | Clause::Tag | Clause::Adopt => vec![place.arn("ec2", "*/*")],
            Clause::Image => vec![place.shared("ec2", "image/*")],
            Clause::ImageParameter => vec![place.shared("ssm", &format!("parameter{AMI_PARAMETER}"))],
            // The list is of the path, the rest of what is below it.
            Clause::Lock => vec![place.arn("ssm", &format!("parameter{}*", stack.lock_path()))],
            Clause::ReadRole => place.by_name(),
            Clause::Role => [place.roles(), place.profiles()].concat(),
            Clause::Attach | Clause::PassRole => place.roles(),
            Clause::Database => {
                vec![place.database(), place.arn("rds", &format!("subgrp:{}", stack.subnet_group_name()))]
            }
            Clause::Defaults => vec![place.arn("rds", "og:default*"), place.arn("rds", "pg:default*")],
            Clause::Snapshot => vec![
                place.database(),
                place.arn("rds", &format!("snapshot:{}-final-*", stack.database.identifier)),
            ],
            Clause::ServiceRole => {
                vec![place.iam("role/aws-service-role/rds.amazonaws.com/AWSServiceRoleForRDS")]
            }
            Clause::Topic => vec![place.arn("sns", &stack.topic_name())],
            Clause::Alarms => {
                vec![place.arn("cloudwatch", &format!("alarm:{}*", alarm::name_prefix(stack)))]
            }
            Clause::Logs => {
                vec![place.arn("logs", &format!("log-group:{}*", stack.log_group_prefix()))]
            }
            Clause::Secrets => place.secrets(),
            Clause::Bastion => vec![place.arn("ec2", "instance/*")],
            Clause::Forward => {
                vec![place.shared("ssm", "document/AWS-StartPortForwardingSessionToRemoteHost")]
            }
            Clause::Loopback => vec![place.shared("ssm", "document/AWS-StartPortForwardingSession")],
            Clause::Shell => vec![
                place.shared("ssm", "document/AWS-StartNonInteractiveCommand"),
                place.arn("ssm", "document/SSM-SessionManagerRunShell"),
            ],
            Clause::OwnSessions | Clause::Channel => vec![place.arn("ssm", "session/*")],
            Clause::SessionKey => vec![place.arn("kms", "key/*")],
        }
    }

    pub(super) fn condition(self, place: &Place<'_>) -> Option<Value> {
        let name = &place.stack.name;
        let tagged = format!("aws:ResourceTag/{STACK_TAG}");
        let tagging = format!("aws:RequestTag/{STACK_TAG}");
        match self {
            Clause::Make => Some(json!({ "StringEquals": { tagging: name } })),
            Clause::Own => Some(json!({ "StringEquals": { tagged: name } })),
            // Whoever may tag what exists could make anything the stack's own, and then delete it.
            Clause::Tag => Some(json!({
                "StringEquals": { tagging: name },
                "Null": { "ec2:CreateAction": "false" },
            })),
            // What is another stack's stays so.
            Clause::Adopt => Some(json!({
                "StringEquals": { tagging: name },
                "StringEqualsIfExists": { tagged: name },
            })),
            Clause::Image => Some(json!({ "StringEquals": { "ec2:Owner": "amazon" } })),
            Clause::Attach => {
                let policy = |name: &str| format!("arn:{}:iam::aws:policy/{name}", place.partition);
                let policies = [policy(SSM_POLICY), policy(&format!("{MONITORING_PATH}{MONITORING_POLICY}"))];
                Some(json!({ "ArnEquals": { "iam:PolicyARN": policies } }))
            }
            Clause::PassRole => {
                let services = ["ec2.amazonaws.com", "monitoring.rds.amazonaws.com"];
                Some(json!({ "StringEquals": { "iam:PassedToService": services } }))
            }
            // IAM knows no regions: what says another one is not this stack's.
            Clause::Role => Some(json!({
                "StringEqualsIfExists": { format!("aws:ResourceTag/{REGION_TAG}"): place.stack.region },
            })),
            Clause::ServiceRole => {
                Some(json!({ "StringEquals": { "iam:AWSServiceName": "rds.amazonaws.com" } }))
            }
            // Without the check a session could name any document, whatever is allowed of documents.
            Clause::Bastion => Some(json!({
                "StringEquals": { tagged: name },
                "BoolIfExists": { "ssm:SessionDocumentAccessCheck": "true" },
            })),
            // A session's id begins with the user's name, an assumed role's does not with `aws:userid`: the tag has it.
            Clause::OwnSessions => Some(
                json!({ "StringLike": { "ssm:resourceTag/aws:ssmmessages:session-id": "${aws:userid}" } }),
            ),
            Clause::SessionKey => {
                Some(json!({ "Null": { "kms:EncryptionContext:aws:ssm:SessionId": "false" } }))
            }
            Clause::Look
            | Clause::ImageParameter
            | Clause::Lock
            | Clause::ReadRole
            | Clause::Database
            | Clause::Defaults
            | Clause::Snapshot
            | Clause::Topic
            | Clause::Alarms
            | Clause::Logs
            | Clause::Secrets
            | Clause::Forward
            | Clause::Loopback
            | Clause::Shell
            | Clause::Channel => None,
        }
    }
}
