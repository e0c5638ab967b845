//! Rotates the password in a secret: the new one is in `AWSPENDING` until the server knows it.
//!
//! A rotation may be killed between any two of these calls: one of the two passwords works, and the next run finds both.

use stack::Stack;
use stack::spec::ROLE_SECRET;

use super::describe::SERVICE;
use super::owner::own;
use super::version::{self, CURRENT, PENDING, PREVIOUS, Version};
use super::write::Fresh;
use crate::core::password;
use crate::error::failed;
pub use crate::kind::master_secret::set_master_password;
use crate::{Cloud, Error};

/// The versions of a secret whose password the server may know.
#[derive(Clone, Debug)]
pub struct Versions {
    /// The secret's full name.
    pub name: String,
    /// The version that everybody reads.
    pub current: Version,
    /// The version of a rotation that is not complete.
    pub pending: Option<Version>,
}

/// Returns the versions of the secret of that name; `None` if there is no such secret or no value.
///
/// # Errors
/// [`Error::Secret`] if a value is not a JSON object with a `password`, [`Error::Foreign`] if the secret does not have the
/// stack's tag.
pub async fn find(cloud: &Cloud, stack: &Stack, name: &str) -> Result<Option<Versions>, Error> {
    if own(cloud, stack, name).await?.is_none() {
        return Ok(None);
    }
    let (current, pending) = futures_util::future::try_join(
        Box::pin(version::read(cloud, name, CURRENT)),
        Box::pin(version::read(cloud, name, PENDING)),
    )
    .await?;
    Ok(current.map(|current| {
        // Both labels on one version: the rotation is complete.
        let pending = pending.filter(|pending| pending.id != current.id);
        Versions { name: name.to_owned(), current, pending }
    }))
}

/// Returns the versions of the secret of that name.
///
/// # Errors
/// [`Error::Missing`] if there is no such secret, else as [`find`].
pub async fn get(cloud: &Cloud, stack: &Stack, name: &str) -> Result<Versions, Error> {
    find(cloud, stack, name).await?.ok_or_else(|| Error::Missing { what: format!("secret `{name}`") })
}

/// Returns the versions of the secret of that name for a rotation. If the current value is not readable, the value of
/// `AWSPREVIOUS` takes its place, or else a new value with that user: the rotation then repairs the secret.
///
/// # Errors
/// As [`get`], except [`Error::Secret`].
pub async fn get_or_rebuild(cloud: &Cloud, stack: &Stack, name: &str, user: &str) -> Result<Versions, Error> {
    let problem = match Box::pin(get(cloud, stack, name)).await {
        Err(problem @ Error::Secret { .. }) => problem,
        found => return found,
    };
    let Some(id) = version::find_id(cloud, name, CURRENT).await? else { return Err(problem) };
    let readable = async |label| match Box::pin(version::read(cloud, name, label)).await {
        Err(Error::Secret { .. }) => Ok(None),
        found => found,
    };
    let pending = readable(PENDING).await?.filter(|pending| pending.id != id);
    let kept = match readable(CURRENT).await? {
        Some(current) => Some(current),
        None => readable(PREVIOUS).await?,
    };
    let current = match kept {
        Some(kept) => kept.in_place_of(id),
        None => {
            let fresh = Fresh::new(stack, ROLE_SECRET, name.to_owned(), user);
            Version::parse(id, fresh.value.expose())
                .map_err(|problem| Error::Secret { name: name.to_owned(), problem })?
        }
    };
    Ok(Versions { name: name.to_owned(), current, pending })
}

/// Stores a new password for that user as the pending version, and returns that version.
///
/// # Errors
/// [`Error::Secret`] if the current value is not a JSON object. A call without an answer may have stored the version.
pub async fn put_pending(cloud: &Cloud, versions: &Versions, user: &str) -> Result<Version, Error> {
    let name = &versions.name;
    // The token becomes the version's id, so a repeated call makes no second version.
    let token = password::request_token();
    let pending = versions
        .current
        .with(token, user, password::generate())
        .map_err(|problem| Error::Secret { name: name.clone(), problem })?;
    let call = cloud.secrets.put_secret_value().secret_id(name).client_request_token(&pending.id);
    let call = call.secret_string(pending.value().expose()).version_stages(PENDING).send();
    call.await.map_err(failed(SERVICE, "PutSecretValue"))?;
    Ok(pending)
}

/// Makes the pending version the current one; the one before becomes `AWSPREVIOUS`.
///
/// # Errors
/// Secrets Manager refuses, for example if another rotation has moved the label meanwhile.
pub async fn promote(cloud: &Cloud, versions: &Versions, pending: &Version) -> Result<(), Error> {
    let Versions { name, current, .. } = versions;
    let call = cloud.secrets.update_secret_version_stage().secret_id(name).version_stage(CURRENT);
    let call = call.move_to_version_id(&pending.id).remove_from_version_id(&current.id).send();
    let Err(error) = call.await.map_err(failed(SERVICE, "UpdateSecretVersionStage")) else {
        return Ok(());
    };
    // A lost reply: the SDK repeats the call, which is refused because the label has moved already.
    match Box::pin(version::read(cloud, name, CURRENT)).await {
        Ok(Some(now)) if now.id == pending.id => Ok(()),
        Ok(_) | Err(_) => Err(error),
    }
}

/// Removes the pending label from a version that has become the current one.
///
/// # Errors
/// Secrets Manager refuses. That does no harm: both labels on one version mean that the rotation is complete.
pub async fn clear_pending(cloud: &Cloud, name: &str, done: &Version) -> Result<(), Error> {
    let call = cloud.secrets.update_secret_version_stage().secret_id(name).version_stage(PENDING);
    let call = call.remove_from_version_id(&done.id).send();
    match call.await.map_err(failed(SERVICE, "UpdateSecretVersionStage")) {
        // A lost reply: the label is removed already.
        Err(error) if error.code() != Some("InvalidParameterException") => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}
