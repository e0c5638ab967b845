//! The secret in which RDS keeps a master user's password.

use rand::Rng;
use serde_json::json;
use uuid::Uuid;

use crate::gateway::Error;
use crate::gateway::password::Password;
use crate::gateway::upstream::Upstream;
use crate::gateway::upstream::inventory::{Database, Inventory};

/// Makes a password and puts it, with the user's name, into the secret that RDS manages.
pub(super) async fn publish_new_password(
    upstream: &Upstream,
    region: &str,
    database: &Database,
) -> Result<Password, Error> {
    let clear = random_password();
    if let Some(arn) = &database.secret_arn {
        let value = json!({ "username": database.master_user, "password": clear }).to_string();
        // LocalStack requires a token.
        let token = Uuid::new_v4().to_string();
        let aliases = upstream.aliases();
        if upstream.is_split() && !aliases.has(arn) {
            let body = json!({ "Name": name_of(arn), "SecretString": value, "ClientRequestToken": token,
                "Description": format!("The master user's password of {}", database.identifier) });
            let made = upstream.json("secretsmanager", region, "secretsmanager.CreateSecret", &body).await?;
            aliases.insert(made["ARN"].as_str().unwrap_or_default().to_owned(), arn.clone());
        } else {
            let body = json!({ "SecretId": arn, "SecretString": value, "ClientRequestToken": token });
            upstream.json("secretsmanager", region, "secretsmanager.PutSecretValue", &body).await?;
        }
    }
    Ok(Password::new(clear))
}

/// Removes the secret if another program than RDS's keeps it, as RDS's program cannot do that.
pub(super) async fn remove(upstream: &Upstream, region: &str, arn: &str) -> Result<(), Error> {
    if !upstream.aliases().has(arn) {
        return Ok(());
    }
    let body = json!({ "SecretId": arn, "ForceDeleteWithoutRecovery": true });
    upstream.json("secretsmanager", region, "secretsmanager.DeleteSecret", &body).await?;
    upstream.aliases().remove(arn);
    Ok(())
}

/// Returns the secret that RDS manages for a database, if there is one.
pub(super) async fn find(
    upstream: &Upstream,
    region: &str,
    identifier: &str,
) -> Result<Option<String>, Error> {
    let databases = Inventory::new(upstream, region).databases().await?;
    let database = databases.into_iter().find(|database| database.identifier == identifier);
    Ok(database.and_then(|database| database.secret_arn))
}

/// Returns the name for the real secret of the one with that ARN: without the suffix of the ARN, and without the `!` that
/// only AWS may use.
fn name_of(arn: &str) -> String {
    let name = arn.rsplit_once(":secret:").map_or(arn, |(_, name)| name);
    name.rsplit_once('-').map_or(name, |(name, _)| name).replace('!', "-")
}

fn random_password() -> String {
    // Without letters and digits that look alike.
    let alphabet = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789";
    let mut random = rand::rng();
    (0..32).map(|_| char::from(alphabet[random.random_range(0..alphabet.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_secret_is_read_from_its_arn() {
        let arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!db-1234-5678-AbCdEf";
        assert_eq!(name_of(arn), "rds-db-1234-5678");
    }
}
