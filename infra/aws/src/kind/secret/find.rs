//! The current value of one secret.

use stack::{Secret, Stack};

use super::version::{self, Credentials, Version};
use crate::{Cloud, Error};

/// Returns the current password in the secret of that name; `None` if there is no such secret or no value.
///
/// # Errors
/// [`Error::Secret`] if the value is not a JSON object with a `password`, [`Error::Foreign`] if the secret does not have
/// the stack's tag.
pub async fn find(cloud: &Cloud, stack: &Stack, name: &str) -> Result<Option<Secret>, Error> {
    Ok(version::find(cloud, stack, name, version::CURRENT).await?.map(|version| version.password))
}

/// Returns the credentials in the secret of that name; `None` if there is no such secret or no value.
///
/// # Errors
/// As [`find`].
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
