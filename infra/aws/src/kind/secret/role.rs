//! The secret of a tenant's role.

use stack::Stack;
use stack::spec::ROLE_SECRET;

use super::describe::{SERVICE, describe};
use super::find::find_credentials;
use super::version::Credentials;
use super::write::{Fresh, Origin, create, put, restore};
use crate::error::failed;
use crate::{Cloud, Error, Stop};

/// The secret of a tenant's role.
#[derive(Clone, Debug)]
pub struct RoleSecret {
    /// The secret's full name.
    pub name: String,
    /// The login: the role itself, unless it is rotated with a second user.
    pub credentials: Credentials,
    /// This call has created it, so PostgreSQL does not know the password yet.
    pub created: bool,
}

/// Returns the secret of a tenant's role; creates it with a new password if there is none.
///
/// # Errors
/// [`Error::Foreign`] if a secret of that name does not have the stack's tag.
pub async fn ensure_role_secret(cloud: &Cloud, stack: &Stack, role: &str) -> Result<RoleSecret, Error> {
    let name = stack.role_secret_name(role);
    match find_credentials(cloud, stack, &name).await? {
        Some(credentials) => Ok(RoleSecret { name, credentials, created: false }),
        None => create_role_secret(cloud, stack, role).await,
    }
}

/// Creates the secret of a tenant's role, which did not exist, or had no value, a moment ago.
pub(super) async fn create_role_secret(
    cloud: &Cloud,
    stack: &Stack,
    role: &str,
) -> Result<RoleSecret, Error> {
    let name = stack.role_secret_name(role);
    let fresh = Fresh::new(stack, ROLE_SECRET, name.clone(), role);
    let new = || Credentials { user: Some(role.to_owned()), password: fresh.password.clone() };
    let credentials = match create(cloud, stack, &Stop::new(), &fresh).await? {
        Origin::New(_) => new(),
        Origin::Present(entry) => {
            // Somebody may have scheduled it for deletion meanwhile; a sandbox's service does not report that.
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

/// Deletes the secret of a role at once; `false` if there is none with the stack's tag.
///
/// # Errors
/// Secrets Manager refuses or does not answer.
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
