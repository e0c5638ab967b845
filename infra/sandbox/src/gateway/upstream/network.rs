//! Which connections the network allows, by EC2's routes, security groups and network ACLs.

use super::Upstream;
use super::acl;
use super::cidr::holds;
use super::emulator::{Emulator, Upstreams};
use super::inventory::{Endpoint, Group, Instance, Inventory, Rule};
use crate::gateway::Error;

/// Tells who can reach whom. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Network {
    upstream: Upstream,
}

const POLICY: &str = "AmazonSSMManagedInstanceCore";

impl Network {
    /// Asks that program.
    pub fn new(emulator: Emulator) -> Network {
        Network { upstream: Upstream::new(Upstreams::one(emulator)) }
    }

    pub(crate) fn over(upstream: Upstream) -> Network {
        Network { upstream }
    }

    pub(crate) fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Tells whether an instance reaches the RDS endpoint of that name at that port.
    ///
    /// # Errors
    /// Why not, in words.
    pub async fn allows(&self, instance_id: &str, endpoint: &str, port: u16) -> Result<(), String> {
        let region =
            region_of(endpoint).ok_or_else(|| format!("`{endpoint}` is not the name of an rds endpoint"))?;
        self.reach(instance_id, endpoint, port, region).await.map_err(|error| error.to_string())?
    }

    async fn reach(
        &self,
        instance_id: &str,
        endpoint: &str,
        port: u16,
        region: &str,
    ) -> Result<Result<(), String>, Error> {
        let inventory = Inventory::new(&self.upstream, region);
        let (instance, databases, groups) = tokio::try_join!(
            inventory.find_instance(instance_id),
            inventory.databases(),
            inventory.groups(None)
        )?;
        let Some(instance) = instance else {
            return Ok(Err(format!("there is no instance `{instance_id}`")));
        };
        let found = databases.into_iter().find(|database| database.address.as_deref() == Some(endpoint));
        let Some(database) = found else { return Ok(Err(format!("`{endpoint}` does not resolve"))) };
        if database.port != Some(port) {
            return Ok(Err(format!("nothing listens on port {port} of `{endpoint}`")));
        }
        if database.vpc != instance.vpc {
            return Ok(Err(format!("`{instance_id}` and `{endpoint}` are in different networks")));
        }
        if database.status != "available" {
            return Ok(Err(format!("nothing answers at `{endpoint}`: it is {}", database.status)));
        }
        let (subnets, acls) = tokio::try_join!(inventory.subnets(), inventory.acls(&instance.vpc))?;
        let of_database = subnets.iter().filter(|subnet| database.subnets.contains(&subnet.id));
        let to: Vec<(String, String)> =
            of_database.map(|subnet| (subnet.id.clone(), subnet.cidr.clone())).collect();
        let own_range = subnets.iter().find(|subnet| subnet.id == instance.subnet);
        let from = (instance.subnet.as_str(), own_range.map_or("", |subnet| subnet.cidr.as_str()));
        if !acl::lets_between(&acls, from, &to, port) {
            return Ok(Err(format!(
                "a network ACL lets nothing through between `{instance_id}` and `{endpoint}`"
            )));
        }
        let cidrs: Vec<String> = to.into_iter().map(|(_, cidr)| cidr).collect();
        let out = groups_of(&groups, &instance.groups).flat_map(|group| &group.egress);
        if !out.into_iter().any(|rule| rule.covers(port) && leads_to(rule, &database.groups, &cidrs)) {
            return Ok(Err(format!("no group of `{instance_id}` lets port {port} out to `{endpoint}`")));
        }
        let own: Vec<String> = instance.private_ip.iter().map(|ip| format!("{ip}/32")).collect();
        let mut into = groups_of(&groups, &database.groups).flat_map(|group| &group.ingress);
        if !into.any(|rule| rule.covers(port) && leads_to(rule, &instance.groups, &own)) {
            return Ok(Err(format!("no group of `{endpoint}` lets `{instance_id}` in at port {port}")));
        }
        Ok(Ok(()))
    }

    /// Returns the instance, and why its agent cannot register if it cannot.
    pub(crate) async fn registration(
        &self,
        region: &str,
        instance_id: &str,
    ) -> Result<Option<(Instance, Result<(), String>)>, Error> {
        let inventory = Inventory::new(&self.upstream, region);
        let Some(instance) = inventory.find_instance(instance_id).await? else { return Ok(None) };
        let obstacle = self.obstacle(&inventory, &instance).await?;
        Ok(Some((instance, obstacle.map_or(Ok(()), Err))))
    }

    async fn obstacle(
        &self,
        inventory: &Inventory<'_>,
        instance: &Instance,
    ) -> Result<Option<String>, Error> {
        if instance.state != "running" {
            return Ok(Some(format!("the instance is {}", instance.state)));
        }
        if instance.public_ip.is_none() {
            return Ok(Some("the instance has no public address".to_owned()));
        }
        let Some(profile) = &instance.profile else {
            return Ok(Some("the instance has no instance profile".to_owned()));
        };
        let vpc = &instance.vpc;
        let (tables, gateways, groups, acls, endpoints, has_dns, policies) = tokio::try_join!(
            inventory.route_tables(vpc),
            inventory.gateways(vpc),
            inventory.groups(Some(("vpc-id", vpc))),
            inventory.acls(vpc),
            inventory.endpoints(vpc),
            inventory.has_dns(vpc),
            inventory.profile_policies(profile)
        )?;
        let table = tables
            .iter()
            .find(|table| table.subnets.contains(&instance.subnet))
            .or_else(|| tables.iter().find(|table| table.main && table.vpc == instance.vpc));
        let gateway = table.and_then(|table| table.default_gateway.as_ref());
        if gateway.is_none_or(|gateway| !gateways.contains(gateway)) {
            return Ok(Some("no route leads to an attached internet gateway".to_owned()));
        }
        let mut out = groups_of(&groups, &instance.groups).flat_map(|group| &group.egress);
        if !out.any(|rule| rule.covers(443) && rule.cidrs.iter().any(|cidr| cidr == "0.0.0.0/0")) {
            return Ok(Some("no group lets port 443 out".to_owned()));
        }
        if let Some(why) = acl::closes_https(&acls, &instance.subnet) {
            return Ok(Some(why.to_owned()));
        }
        if !has_dns {
            return Ok(Some("no name resolves in its network".to_owned()));
        }
        if let Some(endpoint) = endpoints.iter().find(|endpoint| shuts_out(endpoint, instance, &groups)) {
            return Ok(Some(format!("the endpoint for `{}` does not let it in", endpoint.service)));
        }
        if !policies.iter().any(|arn| arn.ends_with(&format!("/{POLICY}"))) {
            return Ok(Some(format!("the role does not have `{POLICY}`")));
        }
        Ok(None)
    }
}

/// Tells whether the agent's traffic goes to an endpoint that does not accept it.
fn shuts_out(endpoint: &Endpoint, instance: &Instance, groups: &[Group]) -> bool {
    let of_agent = [".ssm", ".ssmmessages"].iter().any(|service| endpoint.service.ends_with(service));
    if !of_agent || !endpoint.private_dns || matches!(endpoint.state.as_str(), "deleted" | "deleting") {
        return false;
    }
    let own: Vec<String> = instance.private_ip.iter().map(|ip| format!("{ip}/32")).collect();
    let mut into = groups_of(groups, &endpoint.groups).flat_map(|group| &group.ingress);
    endpoint.state != "available"
        || !into.any(|rule| rule.covers(443) && leads_to(rule, &instance.groups, &own))
}

fn groups_of<'a>(groups: &'a [Group], ids: &'a [String]) -> impl Iterator<Item = &'a Group> {
    groups.iter().filter(|group| ids.contains(&group.id))
}

fn leads_to(rule: &Rule, groups: &[String], cidrs: &[String]) -> bool {
    let by_address =
        || !cidrs.is_empty() && cidrs.iter().all(|cidr| rule.cidrs.iter().any(|wide| holds(wide, cidr)));
    rule.groups.iter().any(|group| groups.contains(group)) || by_address()
}

/// Returns the region in `ID.HASH.REGION.rds.amazonaws.com`.
fn region_of(endpoint: &str) -> Option<&str> {
    endpoint.strip_suffix(".rds.amazonaws.com")?.rsplit('.').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(protocol: &str, ports: Option<(u16, u16)>, groups: &[&str], cidrs: &[&str]) -> Rule {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Rule { protocol: protocol.into(), ports, groups: own(groups), cidrs: own(cidrs) }
    }

    #[test]
    fn a_rule_leads_to_a_group_or_to_every_address() {
        let (groups, cidrs) = (["sg-db".to_owned()], ["10.0.1.0/24".to_owned(), "10.0.2.0/24".to_owned()]);
        assert!(leads_to(&rule("tcp", None, &["sg-db"], &[]), &groups, &cidrs));
        assert!(leads_to(&rule("tcp", None, &[], &["10.0.0.0/16"]), &groups, &cidrs));
        assert!(!leads_to(&rule("tcp", None, &["sg-x"], &["10.0.1.0/24"]), &groups, &cidrs));
        assert!(!leads_to(&rule("tcp", None, &[], &["0.0.0.0/0"]), &[], &[]));
    }

    #[test]
    fn a_rule_covers_its_ports_and_protocol_only() {
        assert!(rule("-1", None, &[], &[]).covers(443));
        assert!(rule("tcp", Some((400, 500)), &[], &[]).covers(443));
        assert!(!rule("tcp", Some((5432, 5432)), &[], &[]).covers(443));
        assert!(!rule("udp", Some((443, 443)), &[], &[]).covers(443));
    }

    #[test]
    fn the_region_is_read_from_the_endpoint() {
        assert_eq!(region_of("orders.aaaa.eu-central-1.rds.amazonaws.com"), Some("eu-central-1"));
        assert_eq!(region_of("localhost"), None);
    }
}
