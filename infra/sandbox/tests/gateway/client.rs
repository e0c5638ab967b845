//! A client that speaks the protocols of AWS with nothing but HTTP.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// The connection broke before the answer came.
pub(crate) type LostAnswer = hyper_util::client::legacy::Error;

#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    http: Http<HttpConnector, Full<Bytes>>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    /// Returns the text of the first element of that name.
    pub(crate) fn get(&self, name: &str) -> String {
        self.all(name).into_iter().next().unwrap_or_else(|| panic!("no `{name}` in {self:?}"))
    }

    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let document = roxmltree::Document::parse(&self.body).unwrap();
        let found = document.descendants().filter(|node| node.tag_name().name() == name);
        found.filter_map(|node| node.text()).map(str::to_owned).collect()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Returns the error code, whatever the protocol.
    pub(crate) fn code(&self) -> String {
        assert!(self.status >= 400, "{self:?}");
        if self.body.starts_with('{') {
            return self.json()["__type"].as_str().unwrap().to_owned();
        }
        self.get("Code")
    }
}

pub(crate) fn authorization(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Client {
        Client { address, http: Http::builder(TokioExecutor::new()).build_http() }
    }

    pub(crate) async fn query(&self, service: &str, action: &str, params: &[(&str, &str)]) -> Answer {
        self.try_query(service, action, params).await.unwrap()
    }

    /// As `query`; the error is that of the connection.
    pub(crate) async fn try_query(
        &self,
        service: &str,
        action: &str,
        params: &[(&str, &str)],
    ) -> Result<Answer, LostAnswer> {
        let mut form = format!("Action={action}&Version=2016-11-15");
        for (name, value) in params {
            let value: String =
                value
                    .bytes()
                    .map(|b| {
                        if b.is_ascii_alphanumeric() {
                            char::from(b).to_string()
                        } else {
                            format!("%{b:02X}")
                        }
                    })
                    .collect();
            form.push_str(&format!("&{name}={value}"));
        }
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}/", self.address))
            .header("authorization", authorization(service))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::from(form))
            .unwrap();
        self.send(request).await
    }

    /// As `query`; panics unless the call succeeds.
    pub(crate) async fn ok(&self, service: &str, action: &str, params: &[(&str, &str)]) -> Answer {
        let answer = self.query(service, action, params).await;
        assert_eq!(answer.status, 200, "{action}: {answer:?}");
        answer
    }

    pub(crate) async fn json(&self, service: &str, target: &str, body: &Value) -> Answer {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}/", self.address))
            .header("authorization", authorization(service))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target)
            .body(Full::from(body.to_string()))
            .unwrap();
        self.send(request).await.unwrap()
    }

    pub(crate) async fn control(&self, method: Method, name: &str, body: &Value) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}/_drawbridge/{name}", self.address))
            .body(Full::from(body.to_string()))
            .unwrap();
        self.send(request).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, LostAnswer> {
        let response = self.http.request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Ok(Answer { status, body: String::from_utf8(body.to_vec()).unwrap() })
    }
}
