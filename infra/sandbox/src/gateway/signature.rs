//! Version 4 of AWS's signatures, and who may sign.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::{constant_time, digest, hmac};
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{Method, Uri};

use super::database::Password;
use super::key::Key;
use super::request::{Scope, decode, encode};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// A key for each day, region and service that is called: tens. Beyond that they are derived anew.
const MOST_DERIVED: usize = 256;

/// What an `Authorization` header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) scope: Scope,
    signed: Vec<String>,
    pub(crate) signature: String,
}

impl Claim {
    pub(crate) fn find(headers: &HeaderMap) -> Option<Claim> {
        let mut all = headers.get_all(AUTHORIZATION).iter();
        let header = all.next()?.to_str().ok()?;
        let part = |name: &str| {
            let (_, rest) = header.split_once(name)?;
            rest.split([',', ' ']).next()
        };
        let signed = part("SignedHeaders=")?.split(';').map(str::to_owned).collect();
        let claim = Claim { scope: Scope::parse(header)?, signed, signature: part("Signature=")?.to_owned() };
        // Two would leave open which of them counts.
        all.next().is_none().then_some(claim)
    }

    /// Tells whether the signature vouches for that header.
    pub(crate) fn covers(&self, name: &str) -> bool {
        self.signed.iter().any(|signed| signed == name)
    }
}

/// Why a call is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is signed with a key that is not known here.
    Unknown,
    /// It is not what was signed, or not by who has the key.
    Mismatch,
}

/// What of a request is signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Canonical<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
}

impl Canonical<'_> {
    /// Returns the text whose tag is the signature; nothing if it cannot be one.
    pub(crate) fn string_to_sign(&self, scope: &Scope, signed: &[String], time: &str) -> Option<String> {
        let path = if scope.service == "s3" {
            // Every other service encodes it once more.
            self.uri.path().to_owned()
        } else {
            self.uri.path().split('/').map(|segment| encode(segment.as_bytes())).collect::<Vec<_>>().join("/")
        };
        let mut text = format!("{}\n{path}\n{}\n", self.method, query(self.uri.query().unwrap_or_default()));
        for name in signed {
            let mut values = Vec::new();
            for value in self.headers.get_all(name.as_str()) {
                values.push(value.to_str().ok()?.split_whitespace().collect::<Vec<_>>().join(" "));
            }
            if values.is_empty() {
                return None;
            }
            text.push_str(&format!("{name}:{}\n", values.join(",")));
        }
        text.push_str(&format!("\n{}\n{}", signed.join(";"), self.payload(&scope.service)?));
        let hash = hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        Some(format!("{ALGORITHM}\n{time}\n{}\n{hash}", scope.path()))
    }

    /// Returns what stands for the body; nothing if the request says another thing of it than is true.
    fn payload(&self, service: &str) -> Option<String> {
        let hash = hex(digest::digest(&digest::SHA256, self.body).as_ref());
        let told = self.headers.get("x-amz-content-sha256").map(|told| told.to_str().unwrap_or_default());
        match told {
            None => Some(hash),
            Some(told) if told == hash => Some(hash),
            // S3 alone takes bodies that are signed in parts, or not at all.
            Some(told)
                if service == "s3" && ["UNSIGNED-", "STREAMING-"].iter().any(|it| told.starts_with(it)) =>
            {
                Some(told.to_owned())
            }
            Some(_) => None,
        }
    }
}

/// Returns a query as it is signed: in the order of the names, each byte written in one way.
fn query(query: &str) -> String {
    let rewrite = |text: &str| encode(&decode(&text.replace('+', "%20")));
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (rewrite(name), rewrite(value)))
        .collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// The key of one day, region and service.
#[derive(Clone, Debug)]
pub(crate) struct Derived(Arc<hmac::Key>);

impl Derived {
    pub(crate) fn sign(&self, text: &str) -> hmac::Tag {
        hmac::sign(&self.0, text.as_bytes())
    }

    fn verify(&self, text: &str, signature: &str) -> bool {
        // The letters, not the bytes: nothing has to be read of what may be anything.
        let wanted = hex(self.sign(text).as_ref());
        constant_time::verify_slices_are_equal(wanted.as_bytes(), signature.as_bytes()).is_ok()
    }
}

pub(crate) fn derive(secret: &Password, scope: &Scope) -> Derived {
    let tag = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let mut key = tag(format!("AWS4{}", secret.expose()).as_bytes(), &scope.date);
    for part in [scope.region.as_str(), &scope.service, "aws4_request"] {
        key = tag(key.as_ref(), part);
    }
    Derived(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())))
}

pub(crate) fn proof(secret: &Password, signature: &str) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    hmac::sign(&key, format!("proof of {signature}").as_bytes())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Tells in a time that depends on nothing whether a secret was shown.
pub(crate) fn is_same(secret: &str, shown: &str) -> bool {
    constant_time::verify_slices_are_equal(secret.as_bytes(), shown.as_bytes()).is_ok()
}

/// Who may sign: who has the gateway's key, or credentials that STS gave to them.
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

    /// Lets who has that key sign, too.
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

    /// Checks that a request is signed by who may, as it is. How long ago is not looked at here.
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
    use hyper::header::{HeaderName, HeaderValue};
    use jiff::Timestamp;

    use super::super::key::Unsigned;
    use super::*;

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
