//! The key of a gateway. A request without it gets no answer.

use bytes::Bytes;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use jiff::Timestamp;

use super::request::Scope;
use super::signature::{self, Canonical};
use crate::gateway::password::Password;

/// What clients sign their calls with. `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    id: String,
    secret: Password,
}

/// A call to be signed, as it will be sent.
#[derive(Clone, Debug)]
pub struct Unsigned<'a> {
    /// The HTTP method.
    pub method: Method,
    /// What the `Host` header will say.
    pub host: &'a str,
    /// The path, with the query if there is one.
    pub path: &'a str,
    /// The service's signing name: `ec2`, `rds`, `ssmmessages`.
    pub service: &'a str,
    /// The region.
    pub region: &'a str,
    /// More headers to sign.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

impl Key {
    /// Returns a key that nobody can guess.
    pub fn random() -> Key {
        let secret = signature::hex(&rand::random::<[u8; 32]>());
        Key::new(format!("sandbox{}", signature::hex(&rand::random::<[u8; 4]>())), Password::new(secret))
    }

    /// Returns the key of that access key id and that secret access key.
    pub fn new(id: impl Into<String>, secret: Password) -> Key {
        Key { id: id.into(), secret }
    }

    /// Returns the access key id: `AWS_ACCESS_KEY_ID`. It is no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the secret access key: `AWS_SECRET_ACCESS_KEY`.
    pub fn secret(&self) -> &Password {
        &self.secret
    }

    /// Returns the headers that sign a call now, besides those that it names: `x-amz-date` and `authorization`.
    pub fn sign(&self, call: &Unsigned<'_>) -> Vec<(String, String)> {
        self.sign_at(call, Timestamp::now())
    }

    pub(crate) fn sign_at(&self, call: &Unsigned<'_>, time: Timestamp) -> Vec<(String, String)> {
        let time = time.strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut headers = HeaderMap::new();
        let more = call.headers.iter().map(|(name, value)| (*name, *value));
        for (name, value) in [(HOST.as_str(), call.host), ("x-amz-date", &time)].into_iter().chain(more) {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
                headers.insert(name, value);
            }
        }
        let mut names: Vec<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort_unstable();
        let scope = Scope {
            access_key: self.id.clone(),
            date: time.get(..8).unwrap_or_default().to_owned(),
            region: call.region.to_owned(),
            service: call.service.to_owned(),
        };
        let uri = call.path.parse::<Uri>().unwrap_or_default();
        let body = Bytes::copy_from_slice(call.body);
        let canonical = Canonical { method: &call.method, uri: &uri, headers: &headers, body: &body };
        let text = canonical.string_to_sign(&scope, &names, &time).unwrap_or_default();
        let tag = signature::hex(signature::derive(&self.secret, &scope).sign(&text).as_ref());
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={tag}",
            self.id,
            scope.path(),
            names.join(";")
        );
        vec![("x-amz-date".to_owned(), time), ("authorization".to_owned(), authorization)]
    }

    /// Returns the proof for a signature, which only a holder of the key can make.
    pub(crate) fn prove(&self, signature: &str) -> String {
        signature::hex(signature::proof(&self.secret, signature).as_ref())
    }
}
