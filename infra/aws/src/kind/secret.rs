//! Secrets in Secrets Manager: the master's and one for each tenant role.

mod batch;
mod fate;
mod owner;
pub mod rotate;
mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use aws_sdk_secretsmanager::primitives::{DateTime, DateTimeFormat};
use aws_sdk_secretsmanager::types::Tag;
use futures_util::future::{FutureExt, try_join3};
use futures_util::stream::{FuturesUnordered, TryStreamExt};
use serde_json::json;
use stack::inventory::{DatabaseInstance, Inventory, SecretEntry};
use stack::spec::{RESOURCE_TAG, ROLE_SECRET, STACK_TAG};
use stack::{Resource, Secret, Stack};

use crate::core::wait::retry_while;
use crate::core::{password, tag};
use crate::error::failed;
use crate::kind::database;
use crate::step::Job;
use crate::{Cloud, Error, Kind, Stop};

pub use batch::{ensure_all, find_all};
pub(crate) use fate::{Fallen, destroy, kept};
pub use owner::check_all;
use owner::own;
pub use version::{Credentials, Version};

const SERVICE: &str = "secretsmanager";
/// A forced deletion is done in the background; until then the name is taken.
const NAME_FREE_WITHIN: Duration = Duration::from_secs(60);

/// The secret of a tenant's role.
#[derive(Clone, Debug)]
pub struct RoleSecret {
    /// The secret's full name.
    pub name: String,
    /// Who logs in: the role itself, unless it is rotated with a second one.
    pub credentials: Credentials,
    /// It was made by this call, so PostgreSQL does not know the password yet.
    pub created: bool,
}

/// Returns the current password in the secret of that name, if there is such a secret with a value.
///
/// # Errors
/// [`Error::Secret`] if the value is not a JSON object with a `password`, [`Error::Foreign`] if the secret does not carry
/// the stack's tag.
pub async fn find(cloud: &Cloud, stack: &Stack, name: &str) -> Result<Option<Secret>, Error> {
    Ok(version::find(cloud, stack, name, version::CURRENT).await?.map(|version| version.password))
}

/// Returns who logs in with the secret of that name, if there is such a secret with a value.
///
/// # Errors
/// Those of [`find`].
pub async fn find_credentials(
    cloud: &Cloud,
    stack: &Stack,
    name: &str,
) -> Result<Option<Credentials>, Error> {
    Ok(version::find(cloud, stack, name, version::CURRENT).await?.map(Version::credentials))
}

/// Returns the password in the secret of that name.
///
/// # Errors
/// [`Error::Missing`] if there is no such secret, else as [`find`].
pub async fn get(cloud: &Cloud, stack: &Stack, name: &str) -> Result<Secret, Error> {
    find(cloud, stack, name).await?.ok_or_else(|| Error::Missing { what: format!("secret `{name}`") })
}

/// Returns the secret of a tenant's role, creating it with a new password if there is none.
///
/// # Errors
/// [`Error::Foreign`] if a secret of that name does not carry the stack's tag.
pub async fn ensure_role_secret(cloud: &Cloud, stack: &Stack, role: &str) -> Result<RoleSecret, Error> {
    let name = stack.role_secret_name(role);
    match find_credentials(cloud, stack, &name).await? {
        Some(credentials) => Ok(RoleSecret { name, credentials, created: false }),
        None => create_role_secret(cloud, stack, role).await,
    }
}

/// Creates the secret of a tenant's role, which was not there, or had no value, a moment ago.
async fn create_role_secret(cloud: &Cloud, stack: &Stack, role: &str) -> Result<RoleSecret, Error> {
    let name = stack.role_secret_name(role);
    let fresh = Fresh::new(stack, ROLE_SECRET, name.clone(), role);
    let new = || Credentials { user: Some(role.to_owned()), password: fresh.password.clone() };
    let credentials = match create(cloud, stack, &Stop::new(), &fresh).await? {
        Origin::New(_) => new(),
        Origin::Present(entry) => {
            // Somebody may have scheduled it meanwhile; and a sandbox's service says nothing of that.
            if entry.scheduled_for_deletion {
                restore(cloud, &name).await?;
            }
            match find_credentials(cloud, stack, &name).await? {
                Some(credentials) => credentials,
                None => put(cloud, &fresh).await.map(|_| new())?,
            }
        }
    };
    Ok(RoleSecret { name, created: true, credentials })
}

/// Returns the secrets with the stack's tag, also those under other names than the stack file makes, and what others have
/// under a name that the stack needs; those that are scheduled for deletion included.
///
/// A list may be five minutes behind, so it only supplies names; each is then asked for by itself, and so are the
/// names that must exist.
pub(crate) async fn list(cloud: &Cloud, stack: &Stack) -> Result<Vec<SecretEntry>, Error> {
    let mut known = BTreeSet::from([stack.master_secret_name()]);
    known.extend(stack.tenants.iter().map(|tenant| stack.role_secret_name(&tenant.owner)));
    let (by_name, by_tag, mut entries) = try_join3(
        owner::under_prefix(cloud, stack),
        owner::tagged(cloud, stack),
        describe_all(cloud, stack, &known, &[]),
    )
    .await?;
    // What carries another stack's tag need not be looked at, and may not be allowed to be.
    let by_name = by_name.iter().filter(|entry| entry.tagged || entry.owner.is_none());
    let listed = by_name.chain(&by_tag).map(|entry| entry.name.clone());
    let listed: BTreeSet<String> = listed.filter(|name| !known.contains(name)).collect();
    entries.extend(describe_all(cloud, stack, &listed, &by_tag).await?);
    // A prefix may be the beginning of another stack's.
    entries.retain(|entry| entry.tagged || known.contains(&entry.name));
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Returns the secrets of the master user that a list shows, under whatever names.
pub(crate) async fn masters(cloud: &Cloud, stack: &Stack) -> Result<Vec<SecretEntry>, Error> {
    let mut found = owner::tagged(cloud, stack).await?;
    found.retain(|entry| entry.resource == Resource::MasterSecret.tag());
    Ok(found)
}

/// Returns those that are there. Of one under a name that whoever asks may not look at, what the list has shown is told.
async fn describe_all(
    cloud: &Cloud,
    stack: &Stack,
    names: &BTreeSet<String>,
    shown: &[SecretEntry],
) -> Result<Vec<SecretEntry>, Error> {
    let mut names = names.iter();
    let mut running = FuturesUnordered::new();
    let mut entries = Vec::new();
    let look = |name| async move {
        match describe(cloud, stack, name).await {
            Err(error) if error.kind() == Kind::Credentials => {
                let shown = shown.iter().find(|entry| entry.name == *name).cloned();
                shown.map(Some).ok_or(error)
            }
            found => found,
        }
    };
    loop {
        running.extend(names.by_ref().take(batch::AT_ONCE - running.len()).map(|name| look(name).boxed()));
        let Some(found) = running.try_next().await? else { return Ok(entries) };
        entries.extend(found);
    }
}

/// Returns the secret of that name without its value, if there is one.
pub(crate) async fn describe(cloud: &Cloud, stack: &Stack, name: &str) -> Result<Option<SecretEntry>, Error> {
    let call = cloud.secrets.describe_secret().secret_id(name).send();
    match call.await.map_err(failed(SERVICE, "DescribeSecret")) {
        Ok(answer) => Ok(Some(SecretEntry { name: name.to_owned(), ..read(stack, &answer) })),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the secret that the ARN leads to, with all its tags.
pub(crate) async fn by_arn(
    cloud: &Cloud,
    stack: &Stack,
    arn: &str,
) -> Result<Option<(SecretEntry, BTreeMap<String, String>)>, Error> {
    let call = cloud.secrets.describe_secret().secret_id(arn).send();
    match call.await.map_err(failed(SERVICE, "DescribeSecret")) {
        Ok(answer) => {
            let tags = answer.tags().iter().filter_map(|tag| Some((tag.key()?, tag.value()?)));
            Ok(Some((read(stack, &answer), tag::map(tags))))
        }
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(stack: &Stack, answer: &DescribeSecretOutput) -> SecretEntry {
    let (name, arn) = (answer.name(), answer.arn());
    entry(stack, name, arn, answer.tags(), answer.deleted_date(), answer.created_date())
}

fn entry(
    stack: &Stack,
    name: Option<&str>,
    arn: Option<&str>,
    tags: &[Tag],
    deleted: Option<&DateTime>,
    created: Option<&DateTime>,
) -> SecretEntry {
    let value = |key| tags.iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value).map(str::to_owned);
    let owner = value(STACK_TAG);
    SecretEntry {
        name: name.unwrap_or_default().to_owned(),
        arn: arn.unwrap_or_default().to_owned(),
        scheduled_for_deletion: deleted.is_some(),
        tagged: tag::is_of(stack, tags.iter().filter_map(|tag| Some((tag.key()?, tag.value()?)))),
        owner,
        resource: value(RESOURCE_TAG).unwrap_or_default(),
        created_at: created.and_then(|time| time.fmt(DateTimeFormat::DateTime).ok()),
    }
}

/// Returns the master's secret and the password in it, which is the database's wherever there is a database.
///
/// # Errors
/// [`Error::Foreign`], before the database is told anything, if the secret does not carry the stack's tag.
pub(crate) async fn ensure_master(
    job: &Job<'_>,
    inventory: &Inventory,
) -> Result<(SecretEntry, Secret), Error> {
    let name = job.stack.master_secret_name();
    let database = inventory.database.as_ref().filter(|database| database.status != "deleting");
    let fresh = Fresh::new(job.stack, Resource::MasterSecret.tag(), name, &job.stack.database.master_user);
    match own(job.cloud, job.stack, &fresh.name).await? {
        Some(entry) => restore_master(job, &entry, fresh, database).await,
        None => create_master(job, fresh, database).await,
    }
}

async fn create_master(
    job: &Job<'_>,
    fresh: Fresh,
    database: Option<&DatabaseInstance>,
) -> Result<(SecretEntry, Secret), Error> {
    // The database learns the password first: cut off in between, the next run still finds no secret and begins anew.
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

async fn restore_master(
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
        // The database most likely still has it, so no moment passes in which the secret lies.
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

/// Deletes the secret of a role at once; `false` if there is none with the stack's tag.
///
/// # Errors
/// Secrets Manager refuses, or does not answer.
pub async fn destroy_role_secret(cloud: &Cloud, stack: &Stack, role: &str) -> Result<bool, Error> {
    let name = stack.role_secret_name(role);
    if !describe(cloud, stack, &name).await?.is_some_and(|entry| entry.tagged) {
        return Ok(false);
    }
    let call = cloud.secrets.delete_secret().secret_id(&name).force_delete_without_recovery(true).send();
    match call.await.map_err(failed(SERVICE, "DeleteSecret")) {
        Err(error) if !error.is_gone() => Err(error),
        Ok(_) | Err(_) => Ok(true),
    }
}

/// A secret that is to be written.
struct Fresh {
    name: String,
    password: Secret,
    value: Secret,
    tags: Vec<Tag>,
    /// Makes a repeated call the same call.
    token: String,
}

impl Fresh {
    fn new(stack: &Stack, kind: &str, name: String, user: &str) -> Fresh {
        let password = password::generate();
        // The shape of the secrets that RDS manages, so that other programs can use it.
        let value = json!({
            "username": user,
            "password": password.expose(),
            "engine": "postgres",
            "port": stack.database.port,
            "dbInstanceIdentifier": stack.database.identifier,
        });
        let tags = tag::named(stack, kind, name.clone());
        let tags = tags.map(|(key, value)| Tag::builder().key(key).value(value).build()).to_vec();
        let value = Secret::new(value.to_string());
        Fresh { name, password, value, tags, token: password::request_token() }
    }
}

enum Origin {
    /// Made, or made anew out of one that was scheduled for deletion; with its ARN.
    New(String),
    /// There was one of the stack's already.
    Present(SecretEntry),
}

/// Creates the secret, or takes back one of that name that is scheduled for deletion.
///
/// # Errors
/// [`Error::Foreign`], before anything is written, if one is there that does not carry the stack's tag.
async fn create(cloud: &Cloud, stack: &Stack, stop: &Stop, fresh: &Fresh) -> Result<Origin, Error> {
    retry_while(stop, NAME_FREE_WITHIN, is_scheduled, || async {
        let call = cloud
            .secrets
            .create_secret()
            .name(&fresh.name)
            .client_request_token(&fresh.token)
            .secret_string(fresh.value.expose())
            .set_tags(Some(fresh.tags.clone()));
        let refusal = match call.send().await.map_err(failed(SERVICE, "CreateSecret")) {
            Ok(answer) => return Ok(Origin::New(answer.arn.unwrap_or_default())),
            Err(error) if error.is_duplicate() || is_scheduled(&error) => error,
            Err(error) => return Err(error),
        };
        // It went away for good in between if there is none; a call that is repeated then makes it.
        let Some(entry) = own(cloud, stack, &fresh.name).await? else { return Err(refusal) };
        if refusal.is_duplicate() {
            return Ok(Origin::Present(entry));
        }
        match restore(cloud, &fresh.name).await {
            Ok(()) => put(cloud, fresh).await.map(Origin::New),
            Err(error) if error.is_gone() => Err(refusal),
            Err(error) => Err(error),
        }
    })
    .await
}

/// Takes a secret back that is scheduled for deletion.
pub(crate) async fn restore(cloud: &Cloud, name: &str) -> Result<(), Error> {
    let call = cloud.secrets.restore_secret().secret_id(name).send();
    call.await.map(|_| ()).map_err(failed(SERVICE, "RestoreSecret"))
}

async fn put(cloud: &Cloud, fresh: &Fresh) -> Result<String, Error> {
    let call = cloud.secrets.put_secret_value().secret_id(&fresh.name).client_request_token(&fresh.token);
    let call = call.secret_string(fresh.value.expose()).send();
    let answer = call.await.map_err(failed(SERVICE, "PutSecretValue"))?;
    Ok(answer.arn.unwrap_or_default())
}

/// Tells whether the secret is refused because it is scheduled for deletion.
fn is_scheduled(error: &Error) -> bool {
    error.code() == Some("InvalidRequestException")
}
