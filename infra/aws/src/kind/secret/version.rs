//! One version of a secret: a staging label points at it.

use serde_json::{Map, Value, json};
use stack::{Secret, Stack};

use super::describe::{SERVICE, is_scheduled};
use super::owner::own;
use crate::error::failed;
use crate::{Cloud, Error};

/// The version that everybody reads.
pub(super) const CURRENT: &str = "AWSCURRENT";
/// The version that was current before.
pub(super) const PREVIOUS: &str = "AWSPREVIOUS";
/// The version that becomes current once the server knows its password.
pub(super) const PENDING: &str = "AWSPENDING";

/// One version of a secret.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its id.
    pub id: String,
    /// The user name in it, if there is one.
    pub user: Option<String>,
    /// The password in it.
    pub password: Secret,
    /// The whole value, as JSON.
    value: Secret,
}

/// The login that a secret has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user name, if the secret has one.
    pub user: Option<String>,
    /// Its password.
    pub password: Secret,
}

impl Version {
    /// Parses a value. The error says what is wrong with it, and never quotes it.
    pub(super) fn parse(id: String, value: &str) -> Result<Version, &'static str> {
        let fields = fields(value)?;
        let password = fields.get("password").and_then(Value::as_str).ok_or(NO_PASSWORD)?;
        if password.is_empty() || password.contains('\0') {
            return Err("holds a `password` that is empty or has a zero byte");
        }
        let user = fields.get("username").and_then(Value::as_str).map(str::to_owned);
        Ok(Version { id, user, password: Secret::new(password), value: Secret::new(value) })
    }

    /// Returns a version with another id, user and password. All other fields stay: people may have added some.
    pub(super) fn with(&self, id: String, user: &str, password: Secret) -> Result<Version, &'static str> {
        let mut fields = fields(self.value.expose())?;
        fields.insert("username".to_owned(), json!(user));
        fields.insert("password".to_owned(), json!(password.expose()));
        let value = Secret::new(Value::Object(fields).to_string());
        Ok(Version { id, user: Some(user.to_owned()), password, value })
    }

    /// Returns the login in it.
    pub fn credentials(self) -> Credentials {
        Credentials { user: self.user, password: self.password }
    }

    /// Returns the same value with another version's id.
    pub(super) fn in_place_of(self, id: String) -> Version {
        Version { id, ..self }
    }

    pub(super) fn value(&self) -> &Secret {
        &self.value
    }
}

const NO_PASSWORD: &str = "holds no JSON object with a `password`";

fn fields(value: &str) -> Result<Map<String, Value>, &'static str> {
    // The parser's error could quote the value, so it is dropped.
    serde_json::from_str(value).map_err(|_| NO_PASSWORD)
}

/// Returns the version with that label; `None` if there is no such secret or version.
///
/// # Errors
/// [`Error::Foreign`] if the secret does not have the stack's tag; its value is not read then.
pub(super) async fn find(
    cloud: &Cloud,
    stack: &Stack,
    name: &str,
    label: &str,
) -> Result<Option<Version>, Error> {
    match own(cloud, stack, name).await? {
        Some(_) => read(cloud, name, label).await,
        None => Ok(None),
    }
}

/// As [`find`], for a secret that is known to be the stack's.
pub(super) async fn read(cloud: &Cloud, name: &str, label: &str) -> Result<Option<Version>, Error> {
    let call = cloud.secrets.get_secret_value().secret_id(name).version_stage(label);
    let answer = match call.send().await.map_err(failed(SERVICE, "GetSecretValue")) {
        Ok(answer) => answer,
        Err(error) if error.is_gone() || is_scheduled(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let problem = |problem| Error::Secret { name: name.to_owned(), problem };
    let text = answer.secret_string.ok_or_else(|| problem("holds bytes and no text"))?;
    Version::parse(answer.version_id.unwrap_or_default(), &text).map(Some).map_err(problem)
}

/// Returns the id of the version with that label, whatever its value.
pub(super) async fn find_id(cloud: &Cloud, name: &str, label: &str) -> Result<Option<String>, Error> {
    let call = cloud.secrets.get_secret_value().secret_id(name).version_stage(label);
    match call.send().await.map_err(failed(SERVICE, "GetSecretValue")) {
        Ok(answer) => Ok(answer.version_id),
        Err(error) if error.is_gone() || is_scheduled(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_user_and_password_leave_the_other_fields_as_they_are() {
        let old = Version::parse("1".to_owned(), r#"{"username":"app","password":"old","host":"db","n":1}"#)
            .unwrap();
        assert_eq!((old.id.as_str(), old.password.expose()), ("1", "old"));
        assert_eq!(old.user.as_deref(), Some("app"));
        let new = old.with("2".to_owned(), "app_clone", Secret::new("n\"ew")).unwrap();
        let read = Version::parse(new.id.clone(), new.value().expose()).unwrap();
        assert_eq!(read.password.expose(), "n\"ew");
        let value: Value = serde_json::from_str(new.value().expose()).unwrap();
        assert_eq!(value, json!({ "username": "app_clone", "password": "n\"ew", "host": "db", "n": 1 }));
    }

    #[test]
    fn a_value_that_is_not_ours_is_refused_without_being_quoted() {
        for value in
            ["hunter2", "[\"hunter2\"]", r#"{"password":7}"#, r#"{"hunter2":"x"}"#, r#"{"password":""}"#, ""]
        {
            let problem = Version::parse("1".to_owned(), value).unwrap_err();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
        let debug = format!("{:?}", Version::parse("1".to_owned(), r#"{"password":"hunter2"}"#).unwrap());
        assert!(!debug.contains("hunter2"), "{debug}");
    }
}
