//! Answers in the formats of the services.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::cbor;
use super::request::Protocol;
use super::xml::escape;

/// An answer, whole.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The headers, without those of the connection.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Bytes,
    /// Who made it.
    pub(crate) served_by: ServedBy,
}

/// Who made an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServedBy {
    /// The gateway itself.
    Gateway,
    /// The program that answers for RDS.
    Rds,
    /// The program that answers for every other service.
    Others,
}

impl Reply {
    /// Answers with JSON.
    pub(crate) fn json(body: &Value) -> Reply {
        Reply::new(StatusCode::OK, "application/x-amz-json-1.1", body.to_string())
    }

    /// Answers with XML.
    pub(crate) fn xml(body: impl Into<String>) -> Reply {
        Reply::new(StatusCode::OK, "text/xml", body)
    }

    fn cbor(status: StatusCode, body: &Value) -> Reply {
        let plain = Reply::plain(status, "");
        Reply { body: cbor::encoded(body), headers: cbor::headers_of(plain.headers), ..plain }
    }

    /// Refuses a call in the error format of its service.
    pub(crate) fn refuse(protocol: Protocol, status: u16, code: &str, message: &str) -> Reply {
        let id = Uuid::new_v4();
        let (code_xml, message_xml) = (escape(code), escape(message));
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        let kind = if status.is_server_error() { "Receiver" } else { "Sender" };
        match protocol {
            Protocol::Ec2 => Reply::new(
                status,
                "text/xml",
                format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code_xml}</Code>\
                     <Message>{message_xml}</Message></Error></Errors><RequestID>{id}</RequestID></Response>"
                ),
            ),
            Protocol::Query => Reply::new(
                status,
                "text/xml",
                format!(
                    "<ErrorResponse><Error><Type>{kind}</Type><Code>{code_xml}</Code>\
                     <Message>{message_xml}</Message></Error><RequestId>{id}</RequestId></ErrorResponse>"
                ),
            ),
            Protocol::Json => Reply::new(
                status,
                "application/x-amz-json-1.1",
                json!({ "__type": code, "message": message }).to_string(),
            ),
            Protocol::Cbor => Reply::cbor(status, &json!({ "__type": code, "message": message })),
        }
    }

    /// Answers with nothing but a status and a line of text.
    pub(crate) fn plain(status: StatusCode, text: impl Into<String>) -> Reply {
        Reply::new(status, "text/plain", text)
    }

    fn new(status: StatusCode, content_type: &'static str, body: impl Into<String>) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
            headers.insert("x-amzn-requestid", id);
        }
        Reply { status, headers, body: Bytes::from(body.into()), served_by: ServedBy::Gateway }
    }

    /// Returns the body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ec2_refuses_in_its_own_xml() {
        let reply = Reply::refuse(Protocol::Ec2, 400, "DependencyViolation", "a < b");
        let text = reply.text();
        let document = roxmltree::Document::parse(&text).unwrap();
        let tags: Vec<_> =
            document.descendants().filter(roxmltree::Node::is_element).map(|n| n.tag_name().name()).collect();
        assert_eq!(tags, ["Response", "Errors", "Error", "Code", "Message", "RequestID"]);
        assert!(text.contains("<Message>a &lt; b</Message>"));
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn query_services_refuse_with_an_error_response() {
        let text = Reply::refuse(Protocol::Query, 503, "ServiceUnavailable", "later").text();
        assert!(
            text.starts_with("<ErrorResponse><Error><Type>Receiver</Type><Code>ServiceUnavailable</Code>")
        );
    }

    #[test]
    fn json_services_refuse_with_a_type() {
        let reply = Reply::refuse(Protocol::Json, 400, "TargetNotConnected", "i-1 is not connected");
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["__type"], "TargetNotConnected");
        assert_eq!(reply.headers[CONTENT_TYPE], "application/x-amz-json-1.1");
    }
}
