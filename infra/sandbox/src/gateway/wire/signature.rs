//! Version 4 of AWS's signatures.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::sync::Arc;

use aws_lc_rs::{constant_time, digest, hmac};
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{Method, Uri};

use super::request::{Scope, decode, encode};
use crate::gateway::password::Password;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// What an `Authorization` header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) scope: Scope,
    pub(crate) signed: Vec<String>,
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

    /// Tells whether that header is signed.
    pub(crate) fn covers(&self, name: &str) -> bool {
        self.signed.iter().any(|signed| signed == name)
    }
}

/// Why a call is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is signed with a key that is not known here.
    Unknown,
    /// It was changed after it was signed, or signed with another secret.
    Mismatch,
}

/// The parts of a request that are signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Canonical<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
}

impl Canonical<'_> {
    /// Returns the text that is signed, or nothing if a signed header is missing or the body has another hash.
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

    /// Returns the hash of the body, or nothing if the request states another hash.
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

/// Returns a query as it is signed: sorted by name, with one way to write each byte.
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

    pub(crate) fn verify(&self, text: &str, signature: &str) -> bool {
        // The hexadecimal text is compared, so that the signature from outside need not be parsed.
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

/// Compares a secret in constant time.
pub(crate) fn is_same(secret: &str, shown: &str) -> bool {
    constant_time::verify_slices_are_equal(secret.as_bytes(), shown.as_bytes()).is_ok()
}
