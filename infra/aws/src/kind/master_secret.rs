//! The master user's secret. If there is a database, the secret has the database's password.

use stack::inventory::{DatabaseInstance, Inventory, SecretEntry};
use stack::{Events, Resource, Secret, Stack};

use crate::core::job::{ApplyOptions, Job};
use crate::kind::database;
use crate::kind::secret::write::{Fresh, Origin, create, put};
use crate::kind::secret::{find, own, restore};
use crate::{Cloud, Error, Stop};

/// Creates or restores the master user's secret; returns it with its password. An existing database gets that password.
///
/// # Errors
/// [`Error::Foreign`], before the database is changed, if the secret does not have the stack's tag.
pub(crate) async fn ensure(job: &Job<'_>, inventory: &Inventory) -> Result<(SecretEntry, Secret), Error> {
    let name = job.stack.master_secret_name();
    let database = inventory.database.as_ref().filter(|database| database.status != "deleting");
    let fresh = Fresh::new(job.stack, Resource::MasterSecret.tag(), name, &job.stack.database.master_user);
    match own(job.cloud, job.stack, &fresh.name).await? {
        Some(entry) => restore_existing(job, &entry, fresh, database).await,
        None => create_new(job, fresh, database).await,
    }
}

async fn create_new(
    job: &Job<'_>,
    fresh: Fresh,
    database: Option<&DatabaseInstance>,
) -> Result<(SecretEntry, Secret), Error> {
    // First the database: if this run is killed in between, the next one finds no secret and starts again.
    if let Some(database) = database {
        database::set_password(job, &database.identifier, &fresh.password).await?;
    }
    let arn = match create(job.cloud, job.stack, job.stop, &fresh).await? {
        Origin::New(arn) => arn,
        Origin::Present(entry) => match find(job.cloud, job.stack, &fresh.name).await? {
            Some(password) if database.is_none() => return Ok((entry, password)),
            Some(_) | None => put(job.cloud, &fresh).await?,
        },
    };
    let entry = SecretEntry {
        name: fresh.name,
        arn,
        scheduled_for_deletion: false,
        tagged: true,
        owner: Some(job.stack.name.clone()),
        resource: Resource::MasterSecret.tag().to_owned(),
        created_at: None,
    };
    Ok((entry, fresh.password))
}

async fn restore_existing(
    job: &Job<'_>,
    entry: &SecretEntry,
    fresh: Fresh,
    database: Option<&DatabaseInstance>,
) -> Result<(SecretEntry, Secret), Error> {
    let restored = SecretEntry { scheduled_for_deletion: false, ..entry.clone() };
    if entry.scheduled_for_deletion {
        restore(job.cloud, &entry.name).await?;
    }
    let old = find(job.cloud, job.stack, &entry.name).await?;
    let password = match (old, database) {
        (Some(old), _) if !entry.scheduled_for_deletion => return Ok((restored, old)),
        // Most likely the database still has this password, so the secret is never wrong.
        (Some(old), Some(database)) => {
            database::set_password(job, &database.identifier, &old).await?;
            return Ok((restored, old));
        }
        (Some(_), None) => fresh.password.clone(),
        (None, Some(database)) => {
            database::set_password(job, &database.identifier, &fresh.password).await?;
            fresh.password.clone()
        }
        (None, None) => fresh.password.clone(),
    };
    put(job.cloud, &fresh).await?;
    Ok((restored, password))
}

/// Sets the master user's password, and waits until RDS says that it is done. Only a login proves it.
///
/// # Errors
/// RDS refuses or takes too long, or [`Error::Interrupted`].
pub async fn set_master_password(
    cloud: &Cloud,
    stack: &Stack,
    password: &Secret,
    events: &Events,
    stop: &Stop,
) -> Result<(), Error> {
    let options = ApplyOptions::default();
    let (options, subject) = (&options, "database".to_owned());
    let job = Job { cloud, stack, options, events, stop, closes: &[], subject, handle: None };
    Box::pin(database::set_password(&job, &stack.database.identifier, password)).await
}
