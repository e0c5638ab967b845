//! What a request to AWS says about itself: service, region, operation, parameters.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{Method, Uri};
use serde_json::Value;

use super::cbor;

/// How a service writes requests, answers and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Form in, XML out, with the error shape that EC2 alone has.
    Ec2,
    /// Form in, XML out: IAM, RDS, STS.
    Query,
    /// JSON both ways, the operation in `X-Amz-Target`.
    Json,
    /// CBOR both ways, the operation in the path: CloudWatch.
    Cbor,
}

impl Protocol {
    /// Returns the protocol of a request whose body is not read yet.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Protocol {
        if Scope::find(headers).is_some_and(|scope| scope.service == "ec2") {
            Protocol::Ec2
        } else if headers.get(cbor::HEADER.0).is_some_and(|it| it == cbor::HEADER.1) {
            Protocol::Cbor
        } else if headers.contains_key("x-amz-target") {
            Protocol::Json
        } else {
            Protocol::Query
        }
    }
}

/// The scope of a SigV4 signature.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    /// The access key id.
    pub(crate) access_key: String,
    /// The day: `20260101`.
    pub(crate) date: String,
    /// The region that was signed for.
    pub(crate) region: String,
    /// The service's signing name: `ec2`, `rds`, `ssmmessages`.
    pub(crate) service: String,
}

impl Scope {
    /// Returns the scope in a request's `Authorization` header.
    pub(crate) fn find(headers: &HeaderMap) -> Option<Scope> {
        Scope::parse(headers.get(AUTHORIZATION)?.to_str().ok()?)
    }

    /// Returns the scope in the text of such a header.
    pub(crate) fn parse(header: &str) -> Option<Scope> {
        let (_, rest) = header.strip_prefix("AWS4-HMAC-SHA256")?.split_once("Credential=")?;
        let credential = rest.split([',', ' ']).next()?;
        // An access key id never holds a slash, so the five parts are fixed.
        let mut parts = credential.split('/');
        let (access_key, date, region, service) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next() != Some("aws4_request") {
            return None;
        }
        Some(Scope {
            access_key: access_key.into(),
            date: date.into(),
            region: region.into(),
            service: service.into(),
        })
    }

    /// Returns it without the access key id, as it is signed.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

/// A request to one of the services, read whole.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The HTTP method.
    pub(crate) method: Method,
    /// Path and query as sent.
    pub(crate) uri: Uri,
    /// The headers as sent.
    pub(crate) headers: HeaderMap,
    /// The body as sent.
    pub(crate) body: Bytes,
    /// Who asks which service in which region; absent from unsigned requests.
    pub(crate) scope: Option<Scope>,
    /// The operation's name, where the protocol tells.
    pub(crate) operation: Option<String>,
    /// The parameters of a form, empty for other bodies.
    pub(crate) form: BTreeMap<String, String>,
}

impl Request {
    /// Reads what a request says about itself.
    pub(crate) fn parse(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Request {
        let scope = Scope::find(&headers);
        let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        let form = if target.is_none() { parse_form(&body) } else { BTreeMap::new() };
        let operation = match target {
            Some(target) => target.rsplit_once('.').map(|(_, operation)| operation.to_owned()),
            None => form.get("Action").cloned().or_else(|| {
                // RPC v2: /service/NAME/operation/OPERATION
                uri.path().rsplit_once("/operation/").map(|(_, operation)| operation.to_owned())
            }),
        };
        Request { method, uri, headers, body, scope, operation, form }
    }

    /// Returns the service's signing name, or an empty text for an unsigned request.
    pub(crate) fn service(&self) -> &str {
        self.scope.as_ref().map_or("", |scope| &scope.service)
    }

    /// Returns the operation, or method and path where the protocol does not tell.
    pub(crate) fn name(&self) -> String {
        self.operation.clone().unwrap_or_else(|| format!("{} {}", self.method, self.uri.path()))
    }

    /// Returns the region that the request was signed for.
    pub(crate) fn region(&self) -> &str {
        self.scope.as_ref().map_or("us-east-1", |scope| &scope.region)
    }

    /// Returns how the service expects to be answered.
    pub(crate) fn protocol(&self) -> Protocol {
        match Protocol::of_headers(&self.headers) {
            Protocol::Query if !self.form.contains_key("Action") => Protocol::Json,
            told @ (Protocol::Ec2 | Protocol::Query | Protocol::Json | Protocol::Cbor) => told,
        }
    }

    /// Returns a parameter of the form.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.form.get(name).map(String::as_str)
    }

    /// Tells whether a parameter of the form is `true`.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.param(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Returns the values of a list in the form, whatever its members are called: `InstanceId.1`, `X.member.1`.
    pub(crate) fn list(&self, prefix: &str) -> Vec<String> {
        let prefix = format!("{prefix}.");
        self.form
            .iter()
            .filter(|(name, _)| name.starts_with(&prefix))
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// Returns what can be read of the parameters, one a line.
    pub(crate) fn text(&self) -> String {
        let values = self.form.values().map(String::as_str);
        // Texts are as they are in CBOR too.
        let body = String::from_utf8_lossy(&self.body);
        [self.uri.path(), &*body].into_iter().chain(values).collect::<Vec<_>>().join("\n")
    }

    /// Returns the JSON body; `null` when there is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

fn parse_form(body: &[u8]) -> BTreeMap<String, String> {
    let Ok(text) = std::str::from_utf8(body) else { return BTreeMap::new() };
    // A form has names before its `=`; anything else (JSON, a stream) has no parameters for us.
    if text.starts_with(['{', '<', '[']) {
        return BTreeMap::new();
    }
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (read(name), read(value)))
        .collect()
}

/// Returns a name or a value of a form.
fn read(text: &str) -> String {
    String::from_utf8_lossy(&decode(&text.replace('+', " "))).into_owned()
}

/// Returns the bytes that a text with escapes stands for.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
                continue;
            }
            (other, _) => bytes.push(other),
        }
        rest = tail;
    }
    bytes
}

/// Returns a text with the escapes that AWS uses.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(*byte))
            }
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

/// Returns a form of those pairs.
pub(crate) fn render_form(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name.as_bytes()), encode(value.as_bytes())))
        .collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&'static str, &str)], uri: &'static str, body: &'static str) -> Request {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Request::parse(Method::POST, Uri::from_static(uri), map, Bytes::from_static(body.as_bytes()))
    }

    const RDS: &str = "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-central-1/rds/aws4_request, SignedHeaders=host, Signature=00";

    #[test]
    fn a_query_request_names_service_region_and_operation() {
        let request = request(
            &[("authorization", RDS)],
            "/",
            "Action=DeleteDBInstance&DBInstanceIdentifier=a%2Db+c%20d&SkipFinalSnapshot=true",
        );
        assert_eq!((request.service(), request.region()), ("rds", "eu-central-1"));
        assert_eq!(request.operation.as_deref(), Some("DeleteDBInstance"));
        assert_eq!(request.param("DBInstanceIdentifier"), Some("a-b c d"));
        assert!(request.is_true("SkipFinalSnapshot"));
        assert_eq!(request.protocol(), Protocol::Query);
    }

    #[test]
    fn a_json_request_names_its_operation_in_the_target() {
        let ssm = RDS.replace("/rds/", "/ssm/");
        let request = request(
            &[("authorization", &ssm), ("x-amz-target", "AmazonSSM.StartSession")],
            "/",
            r#"{"Target":"i-1"}"#,
        );
        assert_eq!(request.operation.as_deref(), Some("StartSession"));
        assert_eq!(request.json()["Target"], "i-1");
        assert_eq!(request.protocol(), Protocol::Json);
    }

    #[test]
    fn an_rpc_request_names_its_operation_in_the_path() {
        let request = request(&[], "/service/GraniteServiceVersion20100801/operation/PutMetricAlarm", "");
        assert_eq!(request.operation.as_deref(), Some("PutMetricAlarm"));
    }

    #[test]
    fn an_unsigned_request_has_no_service() {
        let request = request(&[("authorization", "Bearer abc")], "/", "{}");
        assert_eq!((request.scope.as_ref(), request.service()), (None, ""));
    }

    #[test]
    fn a_broken_escape_is_kept_as_it_is() {
        assert_eq!(read("100%"), "100%");
        assert_eq!(read("%zz%41"), "%zzA");
    }

    #[test]
    fn what_is_rendered_reads_back() {
        let text = render_form(&[("A.1", "x y/=&%ü"), ("B", "")]);
        let form = parse_form(text.as_bytes());
        assert_eq!(form.get("A.1").map(String::as_str), Some("x y/=&%ü"));
        assert_eq!(form.get("B").map(String::as_str), Some(""));
    }
}
