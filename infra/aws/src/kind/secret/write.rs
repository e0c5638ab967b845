//! Creates a secret, restores it, and puts a new value into it.

use std::time::Duration;

use aws_sdk_secretsmanager::types::Tag;
use serde_json::json;
use stack::inventory::SecretEntry;
use stack::{Secret, Stack};

use super::describe::{SERVICE, is_scheduled};
use super::owner::own;
use crate::core::retry::retry_while;
use crate::core::{password, tag};
use crate::error::failed;
use crate::{Cloud, Error, Stop};

/// AWS deletes in the background, even if the deletion is forced; until then the name is taken.
const NAME_FREE_WITHIN: Duration = Duration::from_secs(60);

/// A new value with a new password, and the tags of its secret.
pub(crate) struct Fresh {
    pub(crate) name: String,
    pub(crate) password: Secret,
    pub(crate) value: Secret,
    tags: Vec<Tag>,
    /// The client token: a repeated call writes the value once.
    token: String,
}

impl Fresh {
    pub(crate) fn new(stack: &Stack, kind: &str, name: String, user: &str) -> Fresh {
        let password = password::generate();
        // The format of the secrets that RDS manages, so that other programs can use it.
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

/// What `create` has found.
pub(crate) enum Origin {
    /// Nothing, or a secret that was scheduled for deletion: it has the new value now. With its ARN.
    New(String),
    /// A secret of the stack; nothing was written.
    Present(SecretEntry),
}

/// Creates the secret, or restores one of that name that is scheduled for deletion.
///
/// # Errors
/// [`Error::Foreign`], before anything is written, if the name belongs to a secret without the stack's tag.
pub(crate) async fn create(
    cloud: &Cloud,
    stack: &Stack,
    stop: &Stop,
    fresh: &Fresh,
) -> Result<Origin, Error> {
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
        // If there is none, it was deleted in between, and the repeated call creates it.
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

/// Restores a secret that is scheduled for deletion.
pub(crate) async fn restore(cloud: &Cloud, name: &str) -> Result<(), Error> {
    let call = cloud.secrets.restore_secret().secret_id(name).send();
    call.await.map(|_| ()).map_err(failed(SERVICE, "RestoreSecret"))
}

pub(crate) async fn put(cloud: &Cloud, fresh: &Fresh) -> Result<String, Error> {
    let call = cloud.secrets.put_secret_value().secret_id(&fresh.name).client_request_token(&fresh.token);
    let call = call.secret_string(fresh.value.expose()).send();
    let answer = call.await.map_err(failed(SERVICE, "PutSecretValue"))?;
    Ok(answer.arn.unwrap_or_default())
}
