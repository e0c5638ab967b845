//! The client of the programs behind the gateway. It passes requests on and sends the gateway's own.

use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{self, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::alias::Aliases;
use super::api::QueryApi;
use super::call_log::{UpstreamCall, UpstreamLog};
use super::emulator::{Side, Upstreams};
use crate::gateway::Error;
use crate::gateway::wire::reply::{Reply, ServedBy};
use crate::gateway::wire::request::{Request, render_form};

/// A client of what is behind the gateway. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    upstreams: Upstreams,
    client: Client<HttpConnector, Full<Bytes>>,
    log: Arc<UpstreamLog>,
    aliases: Arc<Aliases>,
}

/// The header that carries the key of our own server of moto.
const KEY: HeaderName = HeaderName::from_static("x-drawbridge-key");

/// The header by which our own server of moto says that moto does not have the service.
const NO_SERVICE: HeaderName = HeaderName::from_static("x-drawbridge-no-service");

/// These headers belong to one connection; the other connection gets its own.
const OF_THE_CONNECTION: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

impl Upstream {
    pub(crate) fn new(upstreams: Upstreams) -> Upstream {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Upstream {
            upstreams,
            client: Client::builder(TokioExecutor::new()).build(connector),
            log: Arc::default(),
            aliases: Arc::default(),
        }
    }

    /// Tells whether RDS is answered by a program of its own.
    pub(crate) fn is_split(&self) -> bool {
        self.upstreams.is_split()
    }

    /// Returns the name of the program that answers for a service.
    fn program(&self, service: &str) -> &'static str {
        self.upstreams.of(Side::of(service)).name()
    }

    /// Returns the aliases that RDS's program knows networks and secrets by.
    pub(crate) fn aliases(&self) -> &Aliases {
        &self.aliases
    }

    /// Returns everything that was answered since the start or the last reset.
    pub(crate) fn upstream_calls(&self) -> Vec<UpstreamCall> {
        self.log.all()
    }

    /// Passes a request on. A service or an operation that the program does not have is refused for good: moto answers with a
    /// 500, which clients try again for nothing.
    pub(crate) async fn forward(&self, request: &Request) -> Result<Reply, Error> {
        let reply = self.pass(request).await?;
        let (program, service) = (self.program(request.service()), request.service());
        let html =
            reply.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        let message = if reply.headers.contains_key(NO_SERVICE) {
            format!("{program} does not have the service `{service}`")
        } else if reply.status == StatusCode::INTERNAL_SERVER_ERROR && html {
            let operation = request.operation.as_deref().unwrap_or("this");
            format!("{program} failed at {operation} of the service `{service}`, or does not have it")
        } else {
            return Ok(reply);
        };
        Ok(Reply::refuse(request.protocol(), 501, "NotImplemented", &message))
    }

    /// Passes a request on and returns the answer as it is.
    async fn pass(&self, request: &Request) -> Result<Reply, Error> {
        let side = Side::of(request.service());
        let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut outgoing = self.request(side, request.method.clone(), path)?;
        outgoing.headers_mut().clone_from(&request.headers);
        for name in &OF_THE_CONNECTION {
            outgoing.headers_mut().remove(name);
        }
        let body = match side {
            Side::Rds => self.aliases.put_in(request),
            Side::Others => request.body.clone(),
        };
        *outgoing.body_mut() = Full::new(body);
        self.send(side, request.service(), &request.name(), outgoing).await
    }

    /// Asks a query service and returns the XML of a good answer.
    pub(crate) async fn query(
        &self,
        api: QueryApi,
        region: &str,
        action: &'static str,
        params: &[(&str, &str)],
    ) -> Result<String, Error> {
        self.query_at(Side::of(api.service), api, region, action, params).await
    }

    /// As `query`, of the program on that side, whichever the service.
    pub(crate) async fn query_at(
        &self,
        side: Side,
        api: QueryApi,
        region: &str,
        action: &'static str,
        params: &[(&str, &str)],
    ) -> Result<String, Error> {
        let QueryApi { service, version } = api;
        let mut pairs = vec![("Action", action), ("Version", version)];
        pairs.extend_from_slice(params);
        let mut outgoing = self.request(side, Method::POST, "/")?;
        sign(&mut outgoing, service, region);
        outgoing
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        *outgoing.body_mut() = Full::new(Bytes::from(render_form(&pairs)));
        let reply = self.send(side, service, action, outgoing).await?;
        self.accept(side, action, &reply)?;
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
        let side = Side::of(service);
        let mut outgoing = self.request(side, Method::POST, "/")?;
        sign(&mut outgoing, service, region);
        let headers = outgoing.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        headers.insert("x-amz-target", HeaderValue::from_static(target));
        *outgoing.body_mut() = Full::new(Bytes::from(body.to_string()));
        let operation = target.rsplit('.').next().unwrap_or(target);
        let reply = self.send(side, service, operation, outgoing).await?;
        self.accept(side, target, &reply)?;
        Ok(serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
    }

    /// Empties the programs, and what is known about them.
    pub(crate) async fn reset(&self) -> Result<(), Error> {
        let both = [Side::Others, Side::Rds];
        let sides = if self.is_split() { &both[..] } else { &both[..1] };
        for &side in sides {
            let request = self.request(side, Method::POST, self.upstreams.of(side).reset_path())?;
            let reply = self.send(side, "", "reset", request).await?;
            self.accept(side, "reset", &reply)?;
        }
        self.aliases.clear();
        self.log.clear();
        Ok(())
    }

    fn request(&self, side: Side, method: Method, path: &str) -> Result<hyper::Request<Full<Bytes>>, Error> {
        let address = self.upstreams.of(side).address();
        let uri: Uri = format!("http://{address}{path}").parse().map_err(Error::Address)?;
        let mut request = hyper::Request::new(Full::default());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        Ok(request)
    }

    async fn send(
        &self,
        side: Side,
        service: &str,
        operation: &str,
        mut request: hyper::Request<Full<Bytes>>,
    ) -> Result<Reply, Error> {
        let program = self.upstreams.of(side).name();
        let key = self.upstreams.of(side).key().and_then(|key| HeaderValue::try_from(key.expose()).ok());
        if let Some(mut key) = key {
            key.set_sensitive(true);
            request.headers_mut().insert(KEY, key);
        }
        let unreachable = |source| Error::Unreachable { program, source };
        let (parts, body) = self.client.request(request).await.map_err(unreachable)?.into_parts();
        let body = body.collect().await.map_err(|source| Error::Interrupted { program, source })?.to_bytes();
        let mut headers = parts.headers;
        for name in &OF_THE_CONNECTION {
            headers.remove(name);
        }
        self.log.note(UpstreamCall {
            side,
            service: service.to_owned(),
            operation: operation.to_owned(),
            status: parts.status.as_u16(),
        });
        let (body, served_by) = match side {
            Side::Rds => (self.aliases.take_out(&body), ServedBy::Rds),
            Side::Others => (body, ServedBy::Others),
        };
        Ok(Reply { status: parts.status, headers, body, served_by })
    }

    fn accept(&self, side: Side, action: &'static str, reply: &Reply) -> Result<(), Error> {
        if reply.status == StatusCode::OK {
            return Ok(());
        }
        let program = self.upstreams.of(side).name();
        Err(Error::Refused { program, action, status: reply.status.as_u16() })
    }
}

/// Adds a header with the scope, which is all that the programs read.
fn sign(request: &mut hyper::Request<Full<Bytes>>, service: &str, region: &str) {
    let scope = format!(
        "AWS4-HMAC-SHA256 Credential=gateway/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    );
    if let Ok(value) = scope.parse() {
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
}
