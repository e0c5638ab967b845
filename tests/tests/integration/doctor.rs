//! `doctor` names what is broken. Each breakage is made, named and mended, and all is well again before the next: none leans
//! on another. Those of one kind share a sandbox, whose start takes longer than they do.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself has failed")]

use std::path::PathBuf;
use std::time::Duration;

use sandbox::{Authority, KeyKind};
use serde_json::{Value, json};
use stack::Inventory;
use tests::{Fixture, LIMIT, Ran, Raw, Want, element, seen, within};

use crate::bastion::{relaunch, relaunch_with};

const EVERYWHERE: &str = "0.0.0.0/0";
const POLICY: &str = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";

/// A stack that is up, and what its parts are called.
struct Site {
    fixture: Fixture,
    raw: Raw,
    inventory: Inventory,
    bastion: String,
    acl: String,
}

/// What is broken: the words in the first sentence, the link and the cause in the JSON.
struct Names {
    words: &'static str,
    link: &'static str,
    cause: &'static str,
}

const fn names(words: &'static str, link: &'static str, cause: &'static str) -> Names {
    Names { words, link, cause }
}

impl Site {
    async fn start() -> Site {
        // A second and more: what is made after an agent was refused is then visibly younger than the boot.
        let fixture = Fixture::start_with(Want::Databases, |gateway| {
            gateway.registration_delay = Duration::from_millis(1100);
        })
        .await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        let raw = fixture.raw();
        let acls = raw.ec2("DescribeNetworkAcls", &[]).await;
        let (_, inventory) = fixture.context.observe().await.unwrap();
        let vpc = format!("<vpcId>{}</vpcId>", inventory.vpc().unwrap().id);
        let acl = acls.split("<networkAclId>").find(|part| part.contains(&vpc)).unwrap();
        let acl = acl.split('<').next().unwrap().to_owned();
        let bastion = inventory.bastion().unwrap().id.clone();
        Site { fixture, raw, inventory, bastion, acl }
    }

    async fn look_again(&mut self) {
        self.inventory = self.fixture.context.observe().await.unwrap().1;
        self.bastion = self.inventory.bastion().unwrap().id.clone();
    }

    fn table(&self) -> &stack::inventory::RouteTable {
        self.inventory.route_table("public-routes").unwrap()
    }

    fn gateway(&self) -> &str {
        &self.inventory.gateway().unwrap().id
    }

    fn vpc(&self) -> &str {
        &self.inventory.vpc().unwrap().id
    }

    fn group(&self, resource: &str) -> &str {
        &self.inventory.group(resource).unwrap().id
    }

    fn subnet(&self) -> &str {
        &self.inventory.subnet("public-subnet").unwrap().id
    }

    async fn ec2(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        self.raw.ec2(action, parameters).await
    }

    async fn iam(&self, action: &str, parameters: &[(&str, &str)]) {
        self.raw.iam(action, parameters).await;
    }

    /// Runs `doctor` for people: the first sentence names it.
    async fn says(&self, what: &Names) {
        let text = self.doctor(&["doctor"], &[]).await.expect(8).stdout;
        assert!(text.lines().next().unwrap_or_default().contains(what.words), "{text}");
        assert!(text.contains("\nbecause: ") && text.contains("\nmend it: "), "{text}");
        self.names(what).await;
    }

    /// Runs `doctor`: the root cause is this one, and the exit code 8.
    async fn names(&self, what: &Names) -> Value {
        self.names_with(what, &[]).await
    }

    async fn names_with(&self, what: &Names, environment: &[(&str, &PathBuf)]) -> Value {
        let Names { words, link, cause } = what;
        let ran = self.doctor(&["doctor", "--json"], environment).await;
        assert_eq!(ran.code, 8, "{cause}: {}\n{}", ran.stdout, ran.stderr);
        let said = ran.json();
        assert_eq!(said["healthy"], false, "{cause}: {said:#}");
        let root = &said["root"];
        assert_eq!((root["name"].as_str(), root["cause"].as_str()), (Some(*link), Some(*cause)), "{said:#}");
        assert!(root["sentence"].as_str().unwrap().contains(words), "wanted `{words}` in {root}");
        assert!(!root["evidence"].as_str().unwrap().is_empty() && !root["command"].is_null(), "{root}");
        said
    }

    async fn doctor(&self, args: &[&str], environment: &[(&str, &PathBuf)]) -> Ran {
        let mut command = tokio::process::Command::from(self.fixture.program(args));
        command.envs(environment.iter().copied());
        let output = tokio::time::timeout(LIMIT, command.kill_on_drop(true).output()).await;
        let output = output.unwrap_or_else(|_| panic!("{args:?} did not end")).unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// All is well, after that.
    async fn passes(&self, after: &str) {
        let ran = self.fixture.run(&["doctor", "--json"]).await;
        assert_eq!(ran.code, 0, "after {after}: {}\n{}", ran.stdout, ran.stderr);
        let said = ran.json();
        let links = said["links"].as_array().unwrap();
        assert!(said["root"].is_null() && links.len() > 18, "after {after}: {said:#}");
        assert!(links.iter().all(|link| link["verdict"] == "pass"), "after {after}: {said:#}");
        assert_eq!(self.fixture.cloud.gateway().live_sessions(), 0, "after {after} a session is left behind");
    }

    async fn wait_until_online(&self) {
        let body = json!({ "Filters": [{ "Key": "InstanceIds", "Values": [self.bastion] }] });
        within(LIMIT, "the agent is online", || async {
            let told = self.raw.ssm("DescribeInstanceInformation", &body).await;
            seen(told.contains("Online"), told)
        })
        .await;
    }

    /// Stops the bastion, changes something, starts it, and waits until its agent was refused.
    async fn boot_into_trouble(&self, change: impl AsyncFnOnce(&Site)) {
        let instance = [("InstanceId.1", self.bastion.as_str())];
        self.ec2("StopInstances", &instance).await;
        change(self).await;
        self.ec2("StartInstances", &instance).await;
        within(LIMIT, "the bastion's agent is refused", || async {
            let agents = self.fixture.cloud.gateway().refused_agents();
            seen(agents.iter().any(|(id, _)| *id == self.bastion), format!("refused: {agents:?}"))
        })
        .await;
    }
}

#[test]
fn doctor_names_what_is_broken_in_the_network() {
    tests::block_on(async {
        let site = Site::start().await;
        site.passes("the start").await;
        routes(&site).await;
        rules(&site).await;
        acls(&site).await;
        names_and_endpoints(&site).await;
        site.fixture.stop().await;
    });
}

#[test]
fn doctor_names_what_is_missing_of_rights_and_trust_and_of_the_database() {
    tests::block_on(async {
        let site = Site::start().await;
        identity(&site).await;
        permissions(&site).await;
        database(&site).await;
        trust(&site).await;
        site.fixture.stop().await;
    });
}

#[test]
fn doctor_names_what_only_a_boot_makes_come_true() {
    tests::block_on(async {
        let mut site = Site::start().await;
        boots(&mut site).await;
        site.fixture.stop().await;
    });
}

async fn routes(site: &Site) {
    let table = site.table().id.as_str();
    let route = [("RouteTableId", table), ("DestinationCidrBlock", EVERYWHERE)];
    let to_gateway = [&route[..], &[("GatewayId", site.gateway())]].concat();
    site.ec2("DeleteRoute", &route).await;
    site.says(&names("has no route to 0.0.0.0/0", "route", "no-route")).await;
    site.ec2("CreateRoute", &to_gateway).await;
    site.passes("no-route").await;

    let nat = [("SubnetId", site.subnet()), ("ConnectivityType", "private")];
    let nat = element(&site.ec2("CreateNatGateway", &nat).await, "natGatewayId").unwrap();
    site.ec2("ReplaceRoute", &[&route[..], &[("NatGatewayId", &nat)]].concat()).await;
    site.ec2("DeleteNatGateway", &[("NatGatewayId", &nat)]).await;
    site.names(&names("is a blackhole", "route", "blackhole")).await;
    site.ec2("ReplaceRoute", &to_gateway).await;
    site.passes("blackhole").await;

    let link = site.table().associations.iter().find(|link| link.subnet == site.subnet()).unwrap();
    site.ec2("DisassociateRouteTable", &[("AssociationId", &link.id)]).await;
    site.names(&names("is not associated with the public route table", "route", "subnet-not-associated"))
        .await;
    site.ec2("AssociateRouteTable", &[("RouteTableId", table), ("SubnetId", site.subnet())]).await;
    site.passes("subnet-not-associated").await;
}

async fn rules(site: &Site) {
    let https = [
        ("GroupId", site.group("bastion-group")),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "443"),
        ("IpPermissions.1.ToPort", "443"),
        ("IpPermissions.1.IpRanges.1.CidrIp", EVERYWHERE),
    ];
    site.ec2("RevokeSecurityGroupEgress", &https).await;
    site.names(&names("lets 443/tcp out", "egress", "egress-closed")).await;
    site.ec2("AuthorizeSecurityGroupEgress", &https).await;
    site.passes("egress-closed").await;

    let postgres = [
        ("GroupId", site.group("database-group")),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "5432"),
        ("IpPermissions.1.ToPort", "5432"),
        ("IpPermissions.1.Groups.1.GroupId", site.group("bastion-group")),
    ];
    site.ec2("RevokeSecurityGroupIngress", &postgres).await;
    let said = site.names(&names("lets bastion", "database rules", "database-group-closed")).await;
    let port = said["links"].as_array().unwrap().iter().find(|link| link["name"] == "port").unwrap();
    assert_eq!(port["verdict"], "skipped", "{port}");
    site.ec2("AuthorizeSecurityGroupIngress", &postgres).await;
    site.passes("database-group-closed").await;
}

async fn acls(site: &Site) {
    let range = site.inventory.subnet("public-subnet").unwrap().cidr.clone();
    let cases = [
        (
            "true",
            "443",
            "443",
            EVERYWHERE,
            names("does not let 443/tcp out", "network ACL", "acl-denies-https"),
        ),
        (
            "false",
            "1024",
            "65535",
            EVERYWHERE,
            names("does not let answers", "network ACL", "acl-denies-answers"),
        ),
        ("false", "5432", "5432", &range, names("network ACL", "database network ACL", "database-acl")),
    ];
    for (egress, from, to, cidr, what) in cases {
        let rule = [("NetworkAclId", site.acl.as_str()), ("RuleNumber", "50"), ("Egress", egress)];
        let denial = [
            ("Protocol", "6"),
            ("RuleAction", "deny"),
            ("CidrBlock", cidr),
            ("PortRange.From", from),
            ("PortRange.To", to),
        ];
        site.ec2("CreateNetworkAclEntry", &[&rule[..], &denial].concat()).await;
        let said = site.names(&what).await;
        let command = said["root"]["command"].as_str().unwrap();
        assert!(
            command.contains("delete-network-acl-entry") && command.contains("--rule-number 50"),
            "{command}"
        );
        site.ec2("DeleteNetworkAclEntry", &rule).await;
        site.passes(what.cause).await;
    }
}

async fn names_and_endpoints(site: &Site) {
    let support = |value| [("VpcId", site.vpc()), ("EnableDnsSupport.Value", value)];
    site.ec2("ModifyVpcAttribute", &support("false")).await;
    site.names(&names("DNS support", "names and endpoints", "dns-off")).await;
    site.ec2("ModifyVpcAttribute", &support("true")).await;
    site.passes("dns-off").await;

    let endpoint = [
        ("VpcId", site.vpc()),
        ("VpcEndpointType", "Interface"),
        ("ServiceName", "com.amazonaws.us-east-1.ssm"),
        ("SubnetId.1", site.subnet()),
        ("SecurityGroupId.1", site.group("database-group")),
        ("PrivateDnsEnabled", "true"),
    ];
    let id = element(&site.ec2("CreateVpcEndpoint", &endpoint).await, "vpcEndpointId").unwrap();
    site.names(&names("does not let the bastion in", "names and endpoints", "endpoint-closed")).await;
    site.ec2("DeleteVpcEndpoints", &[("VpcEndpointId.1", &id)]).await;
    site.passes("endpoint-closed").await;
}

async fn identity(site: &Site) {
    let role = site.fixture.context.stack.role_name();
    let in_profile = [("InstanceProfileName", role.as_str()), ("RoleName", &role)];
    site.iam("RemoveRoleFromInstanceProfile", &in_profile).await;
    site.names(&names("does not have role", "instance profile", "profile-without-role")).await;
    site.iam("AddRoleToInstanceProfile", &in_profile).await;
    site.passes("profile-without-role").await;

    let policy = [("RoleName", role.as_str()), ("PolicyArn", POLICY)];
    site.iam("DetachRolePolicy", &policy).await;
    site.names(&names("lacks `AmazonSSMManagedInstanceCore`", "role", "role-without-policy")).await;
    site.iam("AttachRolePolicy", &policy).await;
    site.passes("role-without-policy").await;
}

/// What may not be seen is unknown, and what may not be done is told apart from what does not work.
async fn permissions(site: &Site) {
    let gateway = site.fixture.cloud.gateway();
    gateway.deny("ssm", "StartSession");
    let said = site.names(&names("you may not start a session", "permission", "session-denied")).await;
    let evidence = said["root"]["evidence"].as_str().unwrap();
    assert!(evidence.contains("AccessDeniedException") && evidence.contains("explicitDeny"), "{evidence}");
    gateway.allow_all();
    site.passes("session-denied").await;

    for (service, operation, link) in [
        ("ec2", "DescribeNetworkAcls", "network ACL"),
        ("ec2", "DescribeRouteTables", "route"),
        ("iam", "GetInstanceProfile", "instance profile"),
        ("ec2", "GetConsoleOutput", "console"),
    ] {
        gateway.deny(service, operation);
        let ran = site.fixture.run(&["doctor", "--json"]).await;
        assert_eq!(ran.code, 8, "{operation}: {}", ran.stdout);
        let said = ran.json();
        assert_eq!(
            (said["root"]["name"].as_str(), &said["root"]["verdict"]),
            (Some(link), &json!("unknown")),
            "{operation}: {said:#}"
        );
        let evidence = said["root"]["evidence"].as_str().unwrap();
        assert!(evidence.contains(operation), "{evidence}");
        gateway.allow_all();
    }
    // What really happens counts more than what may not be foretold.
    gateway.deny("iam", "SimulatePrincipalPolicy");
    site.passes("SimulatePrincipalPolicy is denied").await;
    gateway.allow_all();
}

async fn database(site: &Site) {
    let identifier = site.fixture.context.stack.database.identifier.clone();
    let database = [("DBInstanceIdentifier", identifier.as_str())];
    site.raw.rds("StopDBInstance", &database).await;
    site.names(&names("is stopped", "database", "database-unavailable")).await;
    site.raw.rds("StartDBInstance", &database).await;
    site.passes("database-unavailable").await;

    let name = site.fixture.context.stack.master_secret_name();
    let wrong = json!({ "SecretId": name, "SecretString": "{\"password\":\"another one\"}" });
    site.raw.secrets("PutSecretValue", &wrong).await;
    let said = site.names(&names("does not know the password", "login", "wrong-password")).await;
    assert!(!said.to_string().contains("another one"), "the password is shown");
    site.fixture.run(&["secret", "rotate", "master", "--yes"]).await.expect(0);
    site.passes("wrong-password").await;
}

async fn trust(site: &Site) {
    let another = site.fixture.cloud.dir().join("another-ca.pem");
    std::fs::write(&another, Authority::new(KeyKind::Rsa).unwrap().pem()).unwrap();
    let what = names("certificate is not to be trusted", "TLS", "tls-not-verified");
    site.names_with(&what, &[("DRAWBRIDGE_CA_BUNDLE", &another)]).await;
    std::fs::write(&another, "tampered with").unwrap();
    let what = names("cannot be used", "TLS", "ca-unusable");
    site.names_with(&what, &[("DRAWBRIDGE_CA_BUNDLE", &another)]).await;
    site.passes("another's certificates").await;
}

/// What only a boot makes come true, and what mends it.
async fn boots(site: &mut Site) {
    let instance = [("InstanceId.1", site.bastion.as_str())];
    site.ec2("StopInstances", &instance).await;
    site.names(&names("is stopped", "instance", "stopped")).await;
    site.ec2("StartInstances", &instance).await;
    site.wait_until_online().await;
    site.passes("stopped").await;

    let (gateway, vpc) = (site.gateway().to_owned(), site.vpc().to_owned());
    let attachment = [("InternetGatewayId", gateway.as_str()), ("VpcId", &vpc)];
    let detach = async |site: &Site| drop(site.ec2("DetachInternetGateway", &attachment).await);
    site.boot_into_trouble(detach).await;
    let what = names("is not attached", "internet gateway", "gateway-detached");
    site.names(&what).await;
    site.ec2("AttachInternetGateway", &attachment).await;
    let said = site.fixture.run(&["bastion", "reboot", "--json"]).await.expect(0).json();
    assert_eq!((&said["bastion"], &said["agent"]["ping_status"]), (&json!(site.bastion), &json!("Online")));

    site.passes("gateway-detached").await;

    asleep(site).await;
    site.passes("agent-asleep").await;

    // The predecessor's three hours.
    relaunch(&site.fixture, &site.inventory, "false").await;
    let said = site.names(&names("has no public IPv4 address", "public address", "no-public-address")).await;
    assert_eq!(said["root"]["command"], "cargo xtask up bastion");
    site.fixture.run(&["up", "bastion", "--yes"]).await.expect(0);
    site.look_again().await;
    site.passes("no-public-address").await;

    relaunch_with(&site.fixture, &site.inventory, "true", &[]).await;
    site.names(&names("without an instance profile", "instance profile", "no-profile")).await;
    site.fixture.run(&["up", "bastion", "--yes"]).await.expect(0);
    site.look_again().await;
    site.passes("no-profile").await;

    site.ec2("TerminateInstances", &[("InstanceId.1", &site.bastion)]).await;
    site.says(&names("the stack has no bastion", "instance", "no-instance")).await;
    site.fixture.run(&["up", "bastion", "--yes"]).await.expect(0);
    site.look_again().await;
    site.passes("no-instance").await;
}

/// Starts a sandbox with a stack whose agent sleeps though all is in order.
pub(crate) async fn with_an_agent_asleep() -> Fixture {
    let site = Site::start().await;
    fall_asleep(&site).await;
    site.fixture
}

/// The role comes after the boot: the agent was refused, and sleeps though all is in order now.
async fn fall_asleep(site: &Site) {
    let role = site.fixture.context.stack.role_name();
    let path = site.fixture.context.stack.iam_path();
    let in_profile = [("InstanceProfileName", role.as_str()), ("RoleName", &role)];
    let policy = [("RoleName", role.as_str()), ("PolicyArn", POLICY)];
    let without_role = async |site: &Site| {
        site.iam("RemoveRoleFromInstanceProfile", &in_profile).await;
        site.iam("DetachRolePolicy", &policy).await;
        site.iam("DeleteRole", &[("RoleName", &role)]).await;
    };
    site.boot_into_trouble(without_role).await;
    let made = [("RoleName", role.as_str()), ("Path", &path), ("AssumeRolePolicyDocument", "{}")];
    site.iam("CreateRole", &made).await;
    site.iam("AttachRolePolicy", &policy).await;
    site.iam("AddRoleToInstanceProfile", &in_profile).await;
}

/// `up` wakes it, once.
async fn asleep(site: &Site) {
    fall_asleep(site).await;
    let said = site.names(&names("tries again about", "agent", "agent-asleep")).await;
    assert_eq!(said["root"]["command"], "cargo xtask bastion reboot");

    let reboots = || {
        let journal = site.fixture.cloud.gateway().journal();
        journal.iter().filter(|call| call.operation == "RebootInstances").count()
    };
    let before = reboots();
    site.fixture.run(&["up", "--yes"]).await.expect(0);
    assert_eq!(reboots() - before, 1, "`up` wakes the agent once");
}
