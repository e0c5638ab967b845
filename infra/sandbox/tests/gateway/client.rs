//! A client that speaks the protocols of AWS with nothing but HTTP.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sandbox::gateway::{Gateway, Key, Unsigned};
use serde_json::Value;

/// The connection broke before the answer came.
pub(crate) type LostAnswer = hyper_util::client::legacy::Error;

#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    key: Key,
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

/// Returns the headers that sign the opening of the data channel at that URL.
pub(crate) fn signed_upgrade(key: &Key, url: &str) -> Vec<(String, String)> {
    let (host, path) = url.strip_prefix("ws://").unwrap().split_once('/').unwrap();
    let path = format!("/{path}");
    let (service, region) = ("ssmmessages", "us-east-1");
    key.sign(&Unsigned { method: Method::GET, host, path: &path, service, region, headers: &[], body: b"" })
}

impl Client {
    pub(crate) fn new(gateway: &Gateway) -> Client {
        Client::with_key(gateway.address(), gateway.key().clone())
    }

    pub(crate) fn with_key(address: SocketAddr, key: Key) -> Client {
        Client { address, key, http: Http::builder(TokioExecutor::new()).build_http() }
    }

    /// Returns a request that is signed with the key.
    pub(crate) fn signed(
        &self,
        method: Method,
        path: &str,
        service: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Request<Full<Bytes>> {
        let (body, host) = (body.into(), self.address.to_string());
        let signed = self.key.sign(&Unsigned {
            method: method.clone(),
            host: &host,
            path,
            service,
            region: "us-east-1",
            headers,
            body: &body,
        });
        let mut request = Request::builder().method(method).uri(format!("http://{host}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        for (name, value) in &signed {
            request = request.header(name, value);
        }
        request.body(Full::new(body)).unwrap()
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
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.send(self.signed(Method::POST, "/", service, &headers, form)).await
    }

    /// As `query`; panics unless the call succeeds.
    pub(crate) async fn ok(&self, service: &str, action: &str, params: &[(&str, &str)]) -> Answer {
        let answer = self.query(service, action, params).await;
        assert_eq!(answer.status, 200, "{action}: {answer:?}");
        answer
    }

    pub(crate) async fn json(&self, service: &str, target: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)];
        self.send(self.signed(Method::POST, "/", service, &headers, body.to_string())).await.unwrap()
    }

    pub(crate) async fn control(&self, method: Method, name: &str, body: &Value) -> Answer {
        let (path, headers) = (format!("/_drawbridge/{name}"), [("x-drawbridge-control", "1")]);
        self.send(self.signed(method, &path, "drawbridge", &headers, body.to_string())).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, LostAnswer> {
        let response = self.http.request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Ok(Answer { status, body: String::from_utf8(body.to_vec()).unwrap() })
    }
}
