//! RDS with time and consequence: databases take a while to come and go, and their passwords are real.

mod phase;

use std::sync::Arc;

use hyper::StatusCode;
use jiff::{SignedDuration, Timestamp};
use roxmltree::Document;

use super::Error;
use super::database::{DatabaseSpec, Password};
use super::inventory::{Database, Inventory};
use super::log;
use super::reply::Reply;
use super::request::{Protocol, Request};
use super::route::forward;
use super::secret::{self, publish_new_password};
use super::standin;
use super::state::State;
use super::xml::{all, text};

pub(crate) use self::phase::Phases;
use self::phase::{Phase, dress, place};

/// Answers the operations that are ours, and shows the phases in all other answers.
pub(crate) async fn answer(state: &Arc<State>, request: &Request) -> Result<Option<Reply>, Error> {
    let reply = match request.operation.as_deref() {
        Some("CreateDBInstance") => create(state, request).await?,
        Some("ModifyDBInstance") => modify(state, request).await?,
        Some("DeleteDBInstance") => delete(state, request).await?,
        Some("DeleteDBSubnetGroup") => return subnet_group_in_use(state, request).await,
        Some("CreateDBSubnetGroup") => return standin::ensure_subnets(state, request).await,
        Some("ModifyDBSubnetGroup") => {
            return match subnet_group_moves(state, request).await? {
                Some(refusal) => Ok(Some(refusal)),
                None => standin::ensure_subnets(state, request).await,
            };
        }
        Some("StartDBInstance") => turn(state, request, Phase::Available).await?,
        Some("StopDBInstance") => {
            let restart = Timestamp::now().saturating_add(STOPPED_AT_MOST).unwrap_or(Timestamp::MAX);
            turn(state, request, Phase::Stopped(restart)).await?
        }
        Some("DescribeDBInstances" | "RebootDBInstance") => forward(state, request).await?,
        _ => return Ok(None),
    };
    // A secret may have got its stand-in after the answer came.
    let reply = Reply { body: state.upstream.standins().take_out(&reply.body), ..reply };
    Ok(Some(dress(&state.phases, request.region(), reply)))
}

/// RDS starts a database that was stopped by itself after seven days.
const STOPPED_AT_MOST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Starts or stops a database: moto does it, and the phase tells the rest.
async fn turn(state: &Arc<State>, request: &Request, phase: Phase) -> Result<Reply, Error> {
    let reply = forward(state, request).await?;
    if let (StatusCode::OK, Some(identifier)) = (reply.status, request.param("DBInstanceIdentifier")) {
        state.phases.set(&place(request.region(), identifier), phase);
    }
    Ok(reply)
}

async fn create(state: &Arc<State>, request: &Request) -> Result<Reply, Error> {
    let managed = request.is_true("ManageMasterUserPassword");
    if let Some(refusal) = check_password(request, managed) {
        return Ok(refusal);
    }
    let reply = forward(state, request).await?;
    let Some(database) = described(&reply)? else { return Ok(reply) };
    let password = if managed {
        publish_new_password(state, request.region(), &database).await?
    } else {
        Password::new(request.param("MasterUserPassword").unwrap_or_default())
    };
    let spec = DatabaseSpec {
        identifier: place(request.region(), &database.identifier),
        endpoint: database.address.unwrap_or_default(),
        port: database.port.unwrap_or(5432),
        engine_version: request.param("EngineVersion").unwrap_or("17").to_owned(),
        master_user: database.master_user,
        master_password: password,
        database_name: request.param("DBName").map(str::to_owned),
    };
    let (identifier, logs) = (database.identifier, database.logs);
    log::ensure(state, request.region(), &identifier, &logs).await?;
    let identifier = place(request.region(), &identifier);
    state.phases.set(&identifier, Phase::Creating);
    let shared = Arc::clone(state);
    state.tasks.spawn(async move {
        let created = shared.options.databases.create(spec).await;
        tokio::time::sleep(shared.options.database_delay).await;
        shared.phases.created(&identifier, created.map_or_else(Phase::Failed, |()| Phase::Available));
    });
    Ok(reply)
}

async fn modify(state: &Arc<State>, request: &Request) -> Result<Reply, Error> {
    let identifier = request.param("DBInstanceIdentifier").unwrap_or_default();
    let place = place(request.region(), identifier);
    if state.phases.get(&place) != Phase::Available {
        return Ok(refuse("InvalidDBInstanceState", "Database instance is not in available state."));
    }
    let managed = request.is_true("ManageMasterUserPassword") || request.is_true("RotateMasterUserPassword");
    let given = request.param("MasterUserPassword");
    if let Some(refusal) = given.and_then(|_| check_password(request, managed)) {
        return Ok(refusal);
    }
    let unmanaged = match request.param("ManageMasterUserPassword") {
        Some("false") => secret::find(state, request.region(), identifier).await?,
        _ => None,
    };
    let reply = forward(state, request).await?;
    let Some(database) = described(&reply)? else { return Ok(reply) };
    log::ensure(state, request.region(), identifier, &database.logs).await?;
    if let Some(arn) = unmanaged {
        secret::remove(state, request.region(), &arn).await?;
    }
    let password = match given {
        _ if managed => publish_new_password(state, request.region(), &database).await?,
        Some(clear) => Password::new(clear),
        None => return Ok(reply),
    };
    let changed = state.options.databases.set_password(&place, &database.master_user, password).await;
    match changed {
        Ok(()) => Ok(reply),
        Err(why) => Ok(Reply::refuse(Protocol::Query, 500, "InternalFailure", &why)),
    }
}

async fn delete(state: &Arc<State>, request: &Request) -> Result<Reply, Error> {
    let identifier = request.param("DBInstanceIdentifier").unwrap_or_default().to_owned();
    let place = place(request.region(), &identifier);
    let databases = Inventory::new(&state.upstream, request.region()).databases().await?;
    let Some(database) = databases.into_iter().find(|database| database.identifier == identifier) else {
        return forward(state, request).await;
    };
    if let Some(refusal) = refuse_deletion(request, &database, &state.phases.get(&place)) {
        return Ok(refusal);
    }
    if let Some(refusal) = snapshot_exists(state, request).await? {
        return Ok(refusal);
    }
    let params = [("DBInstanceIdentifier", identifier.as_str())];
    let xml = state.upstream.query("rds", request.region(), "DescribeDBInstances", &params).await?;
    state.phases.set(&place, Phase::Deleting);
    let (shared, order, age) = (Arc::clone(state), request.clone(), state.age());
    state.tasks.spawn(async move {
        let deleted = shared.options.databases.delete(&place).await;
        tokio::time::sleep(shared.options.database_delay).await;
        if shared.age() != age {
            return;
        }
        match deleted {
            // moto keeps it until now, so that what it uses stays in use.
            Ok(()) => {
                // Its last lines: log groups that were deleted under it are there again.
                drop(log::ensure(&shared, order.region(), &identifier, &database.logs).await);
                drop(shared.upstream.forward(&order).await);
                if let Some(arn) = &database.secret_arn {
                    drop(secret::remove(&shared, order.region(), arn).await);
                }
                shared.phases.forget(&place);
            }
            Err(why) => shared.phases.set(&place, Phase::Failed(why)),
        }
    });
    Ok(Reply::xml(deletion(&xml)?))
}

fn refuse_deletion(request: &Request, database: &Database, phase: &Phase) -> Option<Reply> {
    let identifier = &database.identifier;
    let snapshot = request.param("FinalDBSnapshotIdentifier");
    let combination = |message: &str| Some(refuse("InvalidParameterCombination", message));
    match (phase, request.is_true("SkipFinalSnapshot"), snapshot) {
        (Phase::Deleting, ..) => {
            let message = format!("Instance {identifier} is already being deleted.");
            Some(refuse("InvalidDBInstanceState", &message))
        }
        (Phase::Creating, ..) => {
            let message = format!("Instance {identifier} is not in available state.");
            Some(refuse("InvalidDBInstanceState", &message))
        }
        _ if database.deletion_protection => combination(
            "Cannot delete protected DB Instance, please disable deletion protection and try again.",
        ),
        (_, false, None) => {
            combination("FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.")
        }
        (_, true, Some(_)) => {
            combination("FinalDBSnapshotIdentifier can not be specified when SkipFinalSnapshot is true.")
        }
        (Phase::Available | Phase::Stopped(_) | Phase::Failed(_), ..) => None,
    }
}

/// moto would find out only when the database is gone already.
async fn snapshot_exists(state: &State, request: &Request) -> Result<Option<Reply>, Error> {
    let Some(name) = request.param("FinalDBSnapshotIdentifier") else { return Ok(None) };
    let xml = state.upstream.query("rds", request.region(), "DescribeDBSnapshots", &[]).await?;
    let document = Document::parse(&xml)?;
    let mut snapshots = all(&document, "DBSnapshot").into_iter();
    let exists = snapshots.any(|snapshot| text(snapshot, &["DBSnapshotIdentifier"]) == Some(name));
    let message =
        format!("Cannot create the snapshot because one with the identifier {name} already exists.");
    Ok(exists.then(|| refuse("DBSnapshotAlreadyExists", &message)))
}

/// Returns the answer to a deletion: the database as it is described now.
fn deletion(described: &str) -> Result<String, Error> {
    let document = Document::parse(described)?;
    let database = all(&document, "DBInstance").first().map_or("", |node| &described[node.range()]);
    Ok(format!(
        "<DeleteDBInstanceResponse xmlns=\"http://rds.amazonaws.com/doc/2014-10-31/\"><DeleteDBInstanceResult>\
         {database}</DeleteDBInstanceResult><ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata>\
         </DeleteDBInstanceResponse>",
        uuid::Uuid::new_v4()
    ))
}

async fn subnet_group_in_use(state: &State, request: &Request) -> Result<Option<Reply>, Error> {
    let name = request.param("DBSubnetGroupName").unwrap_or_default();
    let databases = Inventory::new(&state.upstream, request.region()).databases().await?;
    let user = databases.iter().find(|database| database.subnet_group.as_deref() == Some(name));
    Ok(user.map(|database| {
        let message = format!(
            "Cannot delete the subnet group '{name}' because at least one database instance: {} is still using it.",
            database.identifier
        );
        refuse("InvalidDBSubnetGroupStateFault", &message)
    }))
}

/// Refuses what RDS does not do: a subnet group stays in its VPC, also when that is gone.
async fn subnet_group_moves(state: &State, request: &Request) -> Result<Option<Reply>, Error> {
    let inventory = Inventory::new(&state.upstream, request.region());
    let name = request.param("DBSubnetGroupName").unwrap_or_default();
    let Some(vpc) = inventory.subnet_group_vpc(name).await? else { return Ok(None) };
    let wanted = request.list("SubnetIds.SubnetIdentifier");
    let known = inventory.subnets().await?;
    let moves = known.iter().any(|subnet| wanted.contains(&subnet.id) && subnet.vpc != vpc);
    let message = "The new Subnets are not in the same Vpc as the existing subnet group";
    Ok(moves.then(|| refuse("InvalidParameterValue", message)))
}

fn check_password(request: &Request, managed: bool) -> Option<Reply> {
    match (request.param("MasterUserPassword"), managed) {
        (Some(_), true) => Some(refuse(
            "InvalidParameterCombination",
            "You can't specify MasterUserPassword for an instance with ManageMasterUserPassword enabled.",
        )),
        (None, false) => Some(refuse(
            "InvalidParameterValue",
            "The parameter MasterUserPassword must be provided and must not be blank.",
        )),
        (Some(clear), false) if !is_valid_password(clear) => Some(refuse(
            "InvalidParameterValue",
            "The parameter MasterUserPassword is not a valid password. Only 8 to 128 printable ASCII characters \
             besides '/', '@', '\"', ' ' may be used.",
        )),
        _ => None,
    }
}

fn is_valid_password(clear: &str) -> bool {
    (8..=128).contains(&clear.len()) && clear.bytes().all(|b| b.is_ascii_graphic() && !b"/@\"".contains(&b))
}

fn refuse(code: &str, message: &str) -> Reply {
    Reply::refuse(Protocol::Query, 400, code, message)
}

/// Returns the database in an answer of moto; absent when it refused.
fn described(reply: &Reply) -> Result<Option<Database>, Error> {
    if reply.status != StatusCode::OK {
        return Ok(None);
    }
    let xml = reply.text();
    let document = Document::parse(&xml)?;
    Ok(all(&document, "DBInstance").into_iter().find_map(Database::read))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_checked_as_rds_does() {
        assert!(is_valid_password("correct-horse"));
        for bad in ["short", "with space", "with/slash", "with@sign1", "with\"quote", "umlaut-ü-x"] {
            assert!(!is_valid_password(bad), "{bad}");
        }
    }
}
