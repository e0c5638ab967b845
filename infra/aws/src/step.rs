//! Chooses the resource kind that does a step of a plan.

use stack::plan::{Action, Step};
use stack::receipt::Gone;
use stack::{Inventory, Resource};

use crate::core::deletion_proof::DeletionProof;
use crate::core::job::Job;
use crate::core::state::{Change, Proved, State};
use crate::kind::{
    alarm, database, instance, internet_gateway, log_group, master_secret, profile, role, route_table,
    secret, security_group, subnet, subnet_group, topic, vpc,
};
use crate::{Error, ready};

/// Does the step, and returns what it has changed.
pub(crate) async fn carry_out(job: &Job<'_>, step: &Step, state: &State) -> Result<Change, Error> {
    match &step.action {
        Action::Create | Action::Repair | Action::Start | Action::Wait => {
            Box::pin(ensure(job, step.resource, state)).await
        }
        Action::Restore { id } => {
            secret::restore(job.cloud, id).await?;
            Ok(Change::Restored(id.clone()))
        }
        Action::Delete { id } => {
            let kind = step.subject();
            Box::pin(destroy(job, step.resource, kind, id, &state.inventory)).await
        }
    }
}

/// Every `ensure` starts from what exists, so the action makes no difference here.
async fn ensure(job: &Job<'_>, resource: Resource, state: &State) -> Result<Change, Error> {
    use Resource as R;
    let inventory = &state.inventory;
    Ok(match resource {
        R::Vpc => Change::Vpc(vpc::ensure(job, inventory).await?),
        R::VpcDns => Change::Vpc(vpc::ensure_dns(job, inventory).await?),
        R::InternetGateway => Change::Gateway(internet_gateway::ensure(job, state).await?),
        R::PublicSubnet | R::PrivateSubnetA | R::PrivateSubnetB => {
            Change::Subnet(subnet::ensure(job, inventory, resource).await?)
        }
        R::PublicRoutes | R::PrivateRoutes => {
            Change::RouteTable(route_table::ensure(job, state, resource).await?)
        }
        R::BastionGroup | R::DatabaseGroup => {
            Change::Group(security_group::ensure(job, inventory, resource).await?)
        }
        R::BastionRules => {
            Change::Group(security_group::ensure_rules(job, inventory, R::BastionGroup).await?)
        }
        R::DatabaseRules => {
            Change::Group(security_group::ensure_rules(job, inventory, R::DatabaseGroup).await?)
        }
        R::MasterSecret => {
            let (entry, password) = master_secret::ensure(job, inventory).await?;
            Change::MasterSecret(entry, password)
        }
        R::SubnetGroup => Change::SubnetGroup(subnet_group::ensure(job, inventory).await?),
        R::Database => Change::Database(Box::new(database::ensure(job, state).await?)),
        R::MonitoringRole => {
            let (have, want) = (inventory.monitoring_role.as_ref(), role::of_monitoring(job.stack));
            Change::MonitoringRole(role::ensure(job, have, &want).await?)
        }
        // RDS creates them; no plan has such a step.
        R::LogGroups => Change::LogGroups(log_group::list(job.cloud, job.stack).await?),
        R::Topic => Change::Topic(topic::ensure(job, inventory).await?),
        R::Alarms => Change::Alarms(alarm::ensure(job, inventory).await?),
        R::Role => {
            let (have, want) = (inventory.role.as_ref(), role::of_bastion(job.stack));
            Change::Role(role::ensure(job, have, &want).await?)
        }
        R::Profile => Change::Profile(profile::ensure(job, state).await?),
        R::Instance => Change::Instance(Box::new(instance::ensure(job, inventory).await?)),
        R::Session => {
            let (instance, agent) = ready::ensure(job, inventory).await?;
            Change::Session(Box::new(instance), agent)
        }
    })
}

async fn destroy(
    job: &Job<'_>,
    resource: Resource,
    kind: &str,
    id: &str,
    inventory: &Inventory,
) -> Result<Change, Error> {
    use Resource as R;
    let mut proved = Proved::default();
    let proof = match resource {
        R::Vpc => vpc::destroy(job, id).await?,
        R::InternetGateway => internet_gateway::destroy(job, id, inventory).await?,
        R::PublicSubnet | R::PrivateSubnetA | R::PrivateSubnetB => subnet::destroy(job, id).await?,
        R::PublicRoutes | R::PrivateRoutes => route_table::destroy(job, id, inventory).await?,
        R::BastionGroup | R::DatabaseGroup => security_group::destroy(job, id, inventory).await?,
        R::BastionRules | R::DatabaseRules => {
            security_group::destroy_rules(job, id, inventory).await?;
            return Ok(Change::RulesRemoved(id.to_owned()));
        }
        R::MasterSecret => match secret::destroy(job, id).await? {
            secret::Deletion::Gone(proof) => proof,
            secret::Deletion::Kept(kept) => {
                proved.kept = Some(kept);
                return Ok(Change::Gone(resource, id.to_owned(), Box::new(proved)));
            }
        },
        R::SubnetGroup => subnet_group::destroy(job, id).await?,
        R::Database => database::destroy(job, id, inventory, &mut proved).await?,
        R::MonitoringRole => {
            let (have, want) = (inventory.monitoring_role.as_ref(), role::of_monitoring(job.stack));
            role::destroy(job, id, have, &want).await?
        }
        R::LogGroups => log_group::destroy(job, id).await?,
        R::Topic => topic::destroy(job, id).await?,
        R::Alarms => alarm::destroy(job, id).await?,
        R::Role => {
            let (have, want) = (inventory.role.as_ref(), role::of_bastion(job.stack));
            role::destroy(job, id, have, &want).await?
        }
        R::Profile => profile::destroy(job, id, inventory).await?,
        R::Instance => instance::destroy(job, id).await?,
        // An attribute of the VPC and a test session: nothing of either can be left.
        R::VpcDns | R::Session => return Ok(Change::Gone(resource, id.to_owned(), Box::new(proved))),
    };
    let DeletionProof { at, call, answer } = proof;
    proved.gone = Some(Gone { kind: kind.to_owned(), id: id.to_owned(), at, call, answer });
    Ok(Change::Gone(resource, id.to_owned(), Box::new(proved)))
}
