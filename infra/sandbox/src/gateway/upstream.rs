//! The way to moto: requests passed on as they are, and questions of our own.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{self, HeaderName};
use hyper::{Method, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::Error;
use super::reply::Reply;
use super::request::{Request, render_form};

/// A client of moto. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    moto: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// These belong to one connection and are written anew for the other.
const OF_THE_CONNECTION: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

impl Upstream {
    pub(crate) fn new(moto: SocketAddr) -> Upstream {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Upstream { moto, client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    /// Passes a request on and returns moto's answer to it.
    pub(crate) async fn forward(&self, request: &Request) -> Result<Reply, Error> {
        let mut outgoing =
            self.request(request.method.clone(), request.uri.path_and_query().map_or("/", |p| p.as_str()))?;
        outgoing.headers_mut().clone_from(&request.headers);
        for name in &OF_THE_CONNECTION {
            outgoing.headers_mut().remove(name);
        }
        *outgoing.body_mut() = Full::new(request.body.clone());
        self.send(outgoing).await
    }

    /// Asks a query service and returns the XML of a good answer.
    pub(crate) async fn query(
        &self,
        service: &'static str,
        region: &str,
        action: &'static str,
        params: &[(&str, &str)],
    ) -> Result<String, Error> {
        let version = match service {
            "ec2" => "2016-11-15",
            "iam" => "2010-05-08",
            _ => "2014-10-31",
        };
        let mut pairs = vec![("Action", action), ("Version", version)];
        pairs.extend_from_slice(params);
        let mut outgoing = self.request(Method::POST, "/")?;
        sign(&mut outgoing, service, region);
        outgoing.headers_mut().insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        *outgoing.body_mut() = Full::new(Bytes::from(render_form(&pairs)));
        let reply = self.send(outgoing).await?;
        accept(action, &reply)?;
        Ok(reply.text())
    }

    /// Asks a JSON service and returns the body of a good answer.
    pub(crate) async fn json(
        &self,
        service: &'static str,
        region: &str,
        target: &'static str,
        body: &Value,
    ) -> Result<Value, Error> {
        let mut outgoing = self.request(Method::POST, "/")?;
        sign(&mut outgoing, service, region);
        let headers = outgoing.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/x-amz-json-1.1"));
        headers.insert("x-amz-target", header::HeaderValue::from_static(target));
        *outgoing.body_mut() = Full::new(Bytes::from(body.to_string()));
        let reply = self.send(outgoing).await?;
        accept(target, &reply)?;
        Ok(serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
    }

    /// Empties moto.
    pub(crate) async fn reset(&self) -> Result<(), Error> {
        let reply = self.send(self.request(Method::POST, "/moto-api/reset")?).await?;
        accept("reset", &reply)
    }

    fn request(&self, method: Method, path: &str) -> Result<hyper::Request<Full<Bytes>>, Error> {
        let uri: Uri = format!("http://{}{path}", self.moto).parse().map_err(Error::Address)?;
        let mut request = hyper::Request::new(Full::default());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        Ok(request)
    }

    async fn send(&self, request: hyper::Request<Full<Bytes>>) -> Result<Reply, Error> {
        let (parts, body) = self.client.request(request).await.map_err(Error::Unreachable)?.into_parts();
        let body = body.collect().await.map_err(Error::Interrupted)?.to_bytes();
        let mut headers = parts.headers;
        for name in &OF_THE_CONNECTION {
            headers.remove(name);
        }
        Ok(Reply { status: parts.status, headers, body })
    }
}

/// moto reads nothing but the scope.
fn sign(request: &mut hyper::Request<Full<Bytes>>, service: &str, region: &str) {
    let scope = format!(
        "AWS4-HMAC-SHA256 Credential=gateway/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    );
    if let Ok(value) = scope.parse() {
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
}

fn accept(action: &'static str, reply: &Reply) -> Result<(), Error> {
    if reply.status == StatusCode::OK {
        Ok(())
    } else {
        Err(Error::Refused { action, status: reply.status.as_u16() })
    }
}
