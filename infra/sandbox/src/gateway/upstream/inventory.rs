//! What the programs behind the gateway hold, read through their own API.

use roxmltree::{Document, Node};

use super::Upstream;
use super::acl::Acl;
use super::api::{EC2, IAM, RDS};
use crate::gateway::Error;
use crate::gateway::wire::xml::{all, items, text, texts};

/// An EC2 instance.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) vpc: String,
    pub(crate) subnet: String,
    pub(crate) public_ip: Option<String>,
    pub(crate) private_ip: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) profile: Option<String>,
}

impl Instance {
    pub(crate) fn is_terminated(&self) -> bool {
        self.state == "terminated"
    }

    fn read(item: Node<'_, '_>) -> Option<Instance> {
        // Groups that are given with the interface show on the interface only.
        let mut groups = texts(item, &["groupSet"], &["groupId"]);
        for interface in items(item, &["networkInterfaceSet"]) {
            groups.extend(texts(interface, &["groupSet"], &["groupId"]));
        }
        let arn = text(item, &["iamInstanceProfile", "arn"]);
        Some(Instance {
            id: text(item, &["instanceId"])?.to_owned(),
            state: text(item, &["instanceState", "name"])?.to_owned(),
            vpc: owned(item, &["vpcId"]),
            subnet: owned(item, &["subnetId"]),
            public_ip: text(item, &["ipAddress"]).map(str::to_owned),
            private_ip: text(item, &["privateIpAddress"]).map(str::to_owned),
            groups,
            profile: arn.and_then(|arn| arn.rsplit('/').next()).map(str::to_owned),
        })
    }
}

/// A security group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) ingress: Vec<Rule>,
    pub(crate) egress: Vec<Rule>,
}

/// One permission of a security group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) protocol: String,
    pub(crate) ports: Option<(u16, u16)>,
    pub(crate) groups: Vec<String>,
    pub(crate) cidrs: Vec<String>,
}

impl Rule {
    /// Tells whether the rule covers that TCP port.
    pub(crate) fn covers(&self, port: u16) -> bool {
        match self.protocol.as_str() {
            "-1" => true,
            "tcp" | "6" => self.ports.is_none_or(|(from, to)| (from..=to).contains(&port)),
            _ => false,
        }
    }

    fn read(item: Node<'_, '_>) -> Rule {
        let port = |name| text(item, &[name]).and_then(|port| port.parse().ok());
        Rule {
            protocol: owned(item, &["ipProtocol"]),
            ports: port("fromPort").zip(port("toPort")),
            groups: texts(item, &["groups"], &["groupId"]),
            cidrs: texts(item, &["ipRanges"], &["cidrIp"]),
        }
    }
}

/// A route table.
#[derive(Clone, Debug)]
pub(crate) struct RouteTable {
    pub(crate) vpc: String,
    pub(crate) main: bool,
    pub(crate) subnets: Vec<String>,
    /// The gateway that 0.0.0.0/0 leads to.
    pub(crate) default_gateway: Option<String>,
}

/// A subnet.
#[derive(Clone, Debug)]
pub(crate) struct Subnet {
    pub(crate) id: String,
    pub(crate) vpc: String,
    pub(crate) cidr: String,
    pub(crate) zone: String,
}

/// An interface endpoint of a VPC.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// `com.amazonaws.REGION.SERVICE`
    pub(crate) service: String,
    pub(crate) state: String,
    /// Whether the service's usual name leads to it.
    pub(crate) private_dns: bool,
    pub(crate) groups: Vec<String>,
}

/// An RDS instance.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) identifier: String,
    pub(crate) status: String,
    pub(crate) address: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) groups: Vec<String>,
    pub(crate) subnet_group: Option<String>,
    pub(crate) subnets: Vec<String>,
    pub(crate) vpc: String,
    pub(crate) master_user: String,
    pub(crate) secret_arn: Option<String>,
    pub(crate) deletion_protection: bool,
    /// The logs that go to CloudWatch.
    pub(crate) logs: Vec<String>,
}

impl Database {
    pub(crate) fn read(node: Node<'_, '_>) -> Option<Database> {
        Some(Database {
            identifier: text(node, &["DBInstanceIdentifier"])?.to_owned(),
            status: owned(node, &["DBInstanceStatus"]),
            address: text(node, &["Endpoint", "Address"]).map(str::to_owned),
            port: text(node, &["Endpoint", "Port"]).and_then(|port| port.parse().ok()),
            groups: texts(node, &["VpcSecurityGroups"], &["VpcSecurityGroupId"]),
            subnet_group: text(node, &["DBSubnetGroup", "DBSubnetGroupName"]).map(str::to_owned),
            subnets: texts(node, &["DBSubnetGroup", "Subnets"], &["SubnetIdentifier"]),
            vpc: owned(node, &["DBSubnetGroup", "VpcId"]),
            master_user: owned(node, &["MasterUsername"]),
            secret_arn: text(node, &["MasterUserSecret", "SecretArn"]).map(str::to_owned),
            deletion_protection: text(node, &["DeletionProtection"]) == Some("true"),
            logs: texts(node, &["EnabledCloudwatchLogsExports"], &[]),
        })
    }
}

fn owned(node: Node<'_, '_>, path: &[&str]) -> String {
    text(node, path).unwrap_or_default().to_owned()
}

/// Reads that state in one region.
#[derive(Clone, Debug)]
pub(crate) struct Inventory<'a> {
    upstream: &'a Upstream,
    region: &'a str,
}

impl<'a> Inventory<'a> {
    pub(crate) fn new(upstream: &'a Upstream, region: &'a str) -> Inventory<'a> {
        Inventory { upstream, region }
    }

    /// Returns the instances that the filter lets through, terminated ones too.
    pub(crate) async fn instances(&self, filter: Option<(&str, &str)>) -> Result<Vec<Instance>, Error> {
        let xml = self.ec2("DescribeInstances", filter).await?;
        let document = Document::parse(&xml)?;
        let sets = all(&document, "instancesSet");
        Ok(sets.into_iter().flat_map(|set| items(set, &[])).filter_map(Instance::read).collect())
    }

    /// Returns the instance of that id.
    pub(crate) async fn find_instance(&self, id: &str) -> Result<Option<Instance>, Error> {
        Ok(self.instances(Some(("instance-id", id))).await?.into_iter().next())
    }

    /// Returns the security groups that the filter lets through.
    pub(crate) async fn groups(&self, filter: Option<(&str, &str)>) -> Result<Vec<Group>, Error> {
        let xml = self.ec2("DescribeSecurityGroups", filter).await?;
        let document = Document::parse(&xml)?;
        let groups = items(document.root_element(), &["securityGroupInfo"]);
        Ok(groups
            .into_iter()
            .map(|group| Group {
                id: owned(group, &["groupId"]),
                name: owned(group, &["groupName"]),
                ingress: items(group, &["ipPermissions"]).into_iter().map(Rule::read).collect(),
                egress: items(group, &["ipPermissionsEgress"]).into_iter().map(Rule::read).collect(),
            })
            .collect())
    }

    /// Returns the ids of the network interfaces that the filter lets through.
    pub(crate) async fn interfaces(&self, filter: (&str, &str)) -> Result<Vec<String>, Error> {
        let xml = self.ec2("DescribeNetworkInterfaces", Some(filter)).await?;
        let document = Document::parse(&xml)?;
        Ok(texts(document.root_element(), &["networkInterfaceSet"], &["networkInterfaceId"]))
    }

    /// Returns the ids of the internet gateways attached to a VPC.
    pub(crate) async fn gateways(&self, vpc: &str) -> Result<Vec<String>, Error> {
        let xml = self.ec2("DescribeInternetGateways", Some(("attachment.vpc-id", vpc))).await?;
        let document = Document::parse(&xml)?;
        Ok(texts(document.root_element(), &["internetGatewaySet"], &["internetGatewayId"]))
    }

    /// Returns every attached internet gateway, with its VPC.
    pub(crate) async fn attachments(&self) -> Result<Vec<(String, String)>, Error> {
        let xml = self.ec2("DescribeInternetGateways", None).await?;
        let document = Document::parse(&xml)?;
        let gateways = items(document.root_element(), &["internetGatewaySet"]).into_iter();
        Ok(gateways
            .flat_map(|gateway| {
                let vpcs = texts(gateway, &["attachmentSet"], &["vpcId"]).into_iter();
                vpcs.map(move |vpc| (owned(gateway, &["internetGatewayId"]), vpc))
            })
            .collect())
    }

    /// Returns the ids of the NAT gateways that work.
    pub(crate) async fn nat_gateways(&self) -> Result<Vec<String>, Error> {
        let xml = self.ec2("DescribeNatGateways", None).await?;
        let document = Document::parse(&xml)?;
        let gateways = items(document.root_element(), &["natGatewaySet"]).into_iter();
        let works = |gateway: &Node<'_, '_>| text(*gateway, &["state"]) == Some("available");
        Ok(gateways.filter(works).map(|gateway| owned(gateway, &["natGatewayId"])).collect())
    }

    /// Returns the route tables of a VPC.
    pub(crate) async fn route_tables(&self, vpc: &str) -> Result<Vec<RouteTable>, Error> {
        let xml = self.ec2("DescribeRouteTables", Some(("vpc-id", vpc))).await?;
        let document = Document::parse(&xml)?;
        let tables = items(document.root_element(), &["routeTableSet"]);
        Ok(tables
            .into_iter()
            .map(|table| RouteTable {
                vpc: owned(table, &["vpcId"]),
                main: texts(table, &["associationSet"], &["main"]).iter().any(|main| main == "true"),
                subnets: texts(table, &["associationSet"], &["subnetId"]),
                default_gateway: items(table, &["routeSet"])
                    .into_iter()
                    .find(|route| text(*route, &["destinationCidrBlock"]) == Some("0.0.0.0/0"))
                    .and_then(|route| text(route, &["gatewayId"]))
                    .map(str::to_owned),
            })
            .collect())
    }

    /// Returns the network ACLs of a VPC.
    pub(crate) async fn acls(&self, vpc: &str) -> Result<Vec<Acl>, Error> {
        let xml = self.ec2("DescribeNetworkAcls", Some(("vpc-id", vpc))).await?;
        let document = Document::parse(&xml)?;
        Ok(items(document.root_element(), &["networkAclSet"]).into_iter().map(Acl::read).collect())
    }

    /// Returns the interface endpoints of a VPC.
    pub(crate) async fn endpoints(&self, vpc: &str) -> Result<Vec<Endpoint>, Error> {
        let xml = self.ec2("DescribeVpcEndpoints", Some(("vpc-id", vpc))).await?;
        let document = Document::parse(&xml)?;
        let endpoints = items(document.root_element(), &["vpcEndpointSet"]).into_iter();
        let is_interface = |node: &Node<'_, '_>| {
            text(*node, &["vpcEndpointType"]).is_some_and(|kind| kind.eq_ignore_ascii_case("interface"))
        };
        Ok(endpoints
            .filter(is_interface)
            .map(|endpoint| Endpoint {
                service: owned(endpoint, &["serviceName"]),
                state: owned(endpoint, &["state"]),
                private_dns: text(endpoint, &["privateDnsEnabled"]) == Some("true"),
                groups: texts(endpoint, &["groupSet"], &["groupId"]),
            })
            .collect())
    }

    /// Returns whether names resolve in a VPC.
    pub(crate) async fn has_dns(&self, vpc: &str) -> Result<bool, Error> {
        let params = [("VpcId", vpc), ("Attribute", "enableDnsSupport")];
        let xml = self.upstream.query(EC2, self.region, "DescribeVpcAttribute", &params).await?;
        let document = Document::parse(&xml)?;
        Ok(text(document.root_element(), &["enableDnsSupport", "value"]) != Some("false"))
    }

    /// Returns all subnets.
    pub(crate) async fn subnets(&self) -> Result<Vec<Subnet>, Error> {
        let xml = self.ec2("DescribeSubnets", None).await?;
        let document = Document::parse(&xml)?;
        let subnets = items(document.root_element(), &["subnetSet"]);
        Ok(subnets
            .into_iter()
            .map(|subnet| Subnet {
                id: owned(subnet, &["subnetId"]),
                vpc: owned(subnet, &["vpcId"]),
                cidr: owned(subnet, &["cidrBlock"]),
                zone: owned(subnet, &["availabilityZone"]),
            })
            .collect())
    }

    /// Returns the address range of a VPC.
    pub(crate) async fn vpc_cidr(&self, id: &str) -> Result<String, Error> {
        let xml = self.ec2("DescribeVpcs", Some(("vpc-id", id))).await?;
        let document = Document::parse(&xml)?;
        let vpcs = items(document.root_element(), &["vpcSet"]);
        Ok(vpcs.first().map(|vpc| owned(*vpc, &["cidrBlock"])).unwrap_or_default())
    }

    /// Returns the VPC of an RDS subnet group; `None` if there is no such group.
    pub(crate) async fn subnet_group_vpc(&self, name: &str) -> Result<Option<String>, Error> {
        let xml = self.upstream.query(RDS, self.region, "DescribeDBSubnetGroups", &[]).await?;
        let xml = String::from_utf8_lossy(&self.upstream.aliases().take_out(&xml.into())).into_owned();
        let document = Document::parse(&xml)?;
        let groups = all(&document, "DBSubnetGroup");
        let group = groups.into_iter().find(|group| text(*group, &["DBSubnetGroupName"]) == Some(name));
        Ok(group.map(|group| owned(group, &["VpcId"])))
    }

    /// Returns the RDS instances.
    pub(crate) async fn databases(&self) -> Result<Vec<Database>, Error> {
        let xml = self.upstream.query(RDS, self.region, "DescribeDBInstances", &[]).await?;
        let document = Document::parse(&xml)?;
        Ok(all(&document, "DBInstance").into_iter().filter_map(Database::read).collect())
    }

    /// Returns the ARNs of the policies attached to the role in an instance profile.
    pub(crate) async fn profile_policies(&self, profile: &str) -> Result<Vec<String>, Error> {
        let params = [("InstanceProfileName", profile)];
        let xml = match self.upstream.query(IAM, self.region, "GetInstanceProfile", &params).await {
            // The profile of a running instance may be deleted under it.
            Err(Error::Refused { .. }) => return Ok(Vec::new()),
            other => other?,
        };
        let document = Document::parse(&xml)?;
        let roles: Vec<String> =
            all(&document, "RoleName").into_iter().filter_map(|n| n.text()).map(str::to_owned).collect();
        let mut policies = Vec::new();
        for role in roles {
            let params = [("RoleName", role.as_str())];
            let xml = self.upstream.query(IAM, self.region, "ListAttachedRolePolicies", &params).await?;
            let document = Document::parse(&xml)?;
            policies
                .extend(all(&document, "PolicyArn").into_iter().filter_map(|n| n.text()).map(str::to_owned));
        }
        Ok(policies)
    }

    async fn ec2(&self, action: &'static str, filter: Option<(&str, &str)>) -> Result<String, Error> {
        match filter {
            None => self.upstream.query(EC2, self.region, action, &[]).await,
            Some((name, value)) => {
                let params = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
                self.upstream.query(EC2, self.region, action, &params).await
            }
        }
    }
}
