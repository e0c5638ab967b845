//! The keys that may sign calls: the gateway's own, and those that STS and IAM gave out.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::gateway::password::Password;
use crate::gateway::wire::key::Key;
use crate::gateway::wire::request::Scope;
use crate::gateway::wire::signature::{Canonical, Claim, Derived, Refused, derive};

/// How many derived keys are cached. There is one for each day, region and service: tens.
const MOST_DERIVED: usize = 256;

/// The keys that may sign calls.
#[derive(Debug)]
pub(crate) struct Signers {
    own: Key,
    given: Mutex<HashMap<String, Password>>,
    derived: Mutex<HashMap<Scope, Derived>>,
}

impl Signers {
    pub(crate) fn new(own: Key) -> Signers {
        Signers { own, given: Mutex::default(), derived: Mutex::default() }
    }

    pub(crate) fn own(&self) -> &Key {
        &self.own
    }

    /// Accepts signatures with that key from now on.
    pub(crate) fn give(&self, id: String, secret: Password) {
        lock(&self.given).insert(id, secret);
    }

    /// Forgets all keys but the gateway's own.
    pub(crate) fn clear(&self) {
        lock(&self.given).clear();
        lock(&self.derived).clear();
    }

    /// Tells whether a key of that id may sign.
    pub(crate) fn knows(&self, claim: &Claim) -> bool {
        self.secret(&claim.scope.access_key).is_some()
    }

    /// Checks that a known key signed a request and that nothing changed since. `clock` checks the time.
    pub(crate) fn verify(&self, claim: &Claim, request: &Canonical<'_>) -> Result<(), Refused> {
        let scope = &claim.scope;
        let secret = self.secret(&scope.access_key).ok_or(Refused::Unknown)?;
        let mut services_own = request.headers.keys().filter(|name| name.as_str().starts_with("x-amz-"));
        let covers_all = claim.covers("host") && services_own.all(|name| claim.covers(name.as_str()));
        let time = request.headers.get("x-amz-date").and_then(|time| time.to_str().ok());
        let time =
            time.filter(|time| covers_all && time.starts_with(&scope.date)).ok_or(Refused::Mismatch)?;
        let text = request.string_to_sign(scope, &claim.signed, time).ok_or(Refused::Mismatch)?;
        let known = lock(&self.derived).get(scope).cloned();
        let key = known.clone().unwrap_or_else(|| derive(&secret, scope));
        if !key.verify(&text, &claim.signature) {
            return Err(Refused::Mismatch);
        }
        if known.is_none() {
            let mut derived = lock(&self.derived);
            if derived.len() >= MOST_DERIVED {
                derived.clear();
            }
            derived.insert(scope.clone(), key);
        }
        Ok(())
    }

    fn secret(&self, id: &str) -> Option<Password> {
        if id == self.own.id() {
            return Some(self.own.secret().clone());
        }
        lock(&self.given).get(id).cloned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
    use hyper::{Method, Uri};
    use jiff::Timestamp;

    use super::*;
    use crate::gateway::wire::key::Unsigned;

    /// The example of AWS's own test suite, `get-vanilla-query-order-key-case`.
    const EXAMPLE: Unsigned<'_> = Unsigned {
        method: Method::GET,
        host: "example.amazonaws.com",
        path: "/?Param2=value2&Param1=value1",
        service: "service",
        region: "us-east-1",
        headers: &[],
        body: b"",
    };

    fn key() -> Key {
        Key::new("AKIDEXAMPLE", Password::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))
    }

    fn time() -> Timestamp {
        "2015-08-30T12:36:00Z".parse().unwrap()
    }

    /// Returns what a server sees of a signed call.
    fn sent(call: &Unsigned<'_>) -> HeaderMap {
        let signed = key().sign_at(call, time());
        let own = [("host".to_owned(), call.host.to_owned())];
        let more = call.headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        own.into_iter()
            .chain(more)
            .chain(signed)
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::try_from(value).unwrap()))
            .collect()
    }

    fn verify(method: Method, path: &str, headers: &HeaderMap, body: &'static [u8]) -> Result<(), Refused> {
        let (uri, body) = (path.parse::<Uri>().unwrap(), Bytes::from_static(body));
        let claim = Claim::find(headers).unwrap();
        let request = Canonical { method: &method, uri: &uri, headers, body: &body };
        Signers::new(key()).verify(&claim, &request)
    }

    #[test]
    fn aws_s_own_example_is_signed_as_aws_says() {
        let headers = sent(&EXAMPLE);
        let wanted = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                      SignedHeaders=host;x-amz-date, \
                      Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500";
        assert_eq!(headers[AUTHORIZATION], wanted);
        assert_eq!(verify(Method::GET, EXAMPLE.path, &headers, b""), Ok(()));
    }

    #[test]
    fn whatever_is_changed_after_the_signature_is_refused() {
        let target = [("x-amz-target", "AmazonSSM.StartSession")];
        let call =
            Unsigned { method: Method::POST, headers: &target, body: b"{}", path: "/a%20b", ..EXAMPLE };
        let headers = sent(&call);
        assert_eq!(verify(Method::POST, "/a%20b", &headers, b"{}"), Ok(()));
        assert_eq!(verify(Method::POST, "/a%20b", &headers, b"{ }"), Err(Refused::Mismatch));
        assert_eq!(verify(Method::PUT, "/a%20b", &headers, b"{}"), Err(Refused::Mismatch));
        assert_eq!(verify(Method::POST, "/a%20b?x", &headers, b"{}"), Err(Refused::Mismatch));
        for (name, value) in [
            ("host", "example.org"),
            ("x-amz-target", "AmazonSSM.TerminateSession"),
            ("x-amz-date", "20150830T123601Z"),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            ("x-amz-security-token", "another"),
        ] {
            let mut changed = headers.clone();
            changed.insert(name, HeaderValue::from_static(value));
            assert_eq!(verify(Method::POST, "/a%20b", &changed, b"{}"), Err(Refused::Mismatch), "{name}");
        }
        let mut other = headers.clone();
        let authorization = headers[AUTHORIZATION].to_str().unwrap();
        other.insert(AUTHORIZATION, authorization.replace("AKIDEXAMPLE", "somebody").parse().unwrap());
        assert_eq!(verify(Method::POST, "/a%20b", &other, b"{}"), Err(Refused::Unknown));
        for cut in ["Signature=", "Credential=AKIDEXAMPLE", "host;", "service", "20150830"] {
            let broken = authorization.replacen(cut, "", 1);
            other.insert(AUTHORIZATION, broken.parse().unwrap());
            let claim = Claim::find(&other);
            assert!(claim.is_none() || verify(Method::POST, "/a%20b", &other, b"{}").is_err(), "{broken}");
        }
        other.append(AUTHORIZATION, headers[AUTHORIZATION].clone());
        assert_eq!(Claim::find(&other), None);
    }

    #[test]
    fn two_keys_differ_and_neither_shows_its_secret() {
        let (one, other) = (Key::random(), Key::random());
        assert!(one.id() != other.id() && one.secret() != other.secret());
        assert!(!format!("{one:?}").contains(one.secret().expose()));
        assert!(one.secret().expose().len() >= 64);
    }
}
