//! Calls to a sandbox's gateway by hand: what somebody else does to the stack behind our back.

use std::net::SocketAddr;

use hyper::Method;
use sandbox::gateway::{Gateway, Key, Unsigned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait::LIMIT;

/// Calls to one gateway, with its key.
#[derive(Clone, Debug)]
pub struct Raw {
    gateway: SocketAddr,
    key: Key,
    region: &'static str,
}

impl Raw {
    /// Returns calls to that gateway.
    pub fn new(gateway: &Gateway) -> Raw {
        Raw { gateway: gateway.address(), key: gateway.key().clone(), region: "us-east-1" }
    }

    /// Returns calls to another region.
    pub fn in_region(self, region: &'static str) -> Raw {
        Raw { region, ..self }
    }

    /// Calls an operation of EC2 and returns the answer's XML.
    pub async fn ec2(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        self.query("ec2", "2016-11-15", action, parameters).await
    }

    /// Calls an operation of IAM and returns the answer's XML.
    pub async fn iam(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        self.query("iam", "2010-05-08", action, parameters).await
    }

    /// Calls an operation of RDS and returns the answer's XML.
    pub async fn rds(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        self.query("rds", "2014-10-31", action, parameters).await
    }

    /// Calls an operation of Systems Manager and returns the answer's JSON.
    pub async fn ssm(&self, operation: &str, body: &serde_json::Value) -> String {
        self.json("ssm", "AmazonSSM", operation, body).await
    }

    /// Calls an operation of the key management service and returns the answer's JSON.
    pub async fn kms(&self, operation: &str, body: &serde_json::Value) -> String {
        self.json("kms", "TrentService", operation, body).await
    }

    /// Calls an operation of SNS and returns the answer's XML.
    pub async fn sns(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        self.query("sns", "2010-03-31", action, parameters).await
    }

    /// Calls an operation of CloudWatch and returns the answer's JSON.
    pub async fn cloudwatch(&self, operation: &str, body: &serde_json::Value) -> String {
        self.json("monitoring", "GraniteServiceVersion20100801", operation, body).await
    }

    /// Calls an operation of CloudWatch Logs and returns the answer's JSON.
    pub async fn logs(&self, operation: &str, body: &serde_json::Value) -> String {
        self.json("logs", "Logs_20140328", operation, body).await
    }

    /// Calls an operation of Secrets Manager and returns the answer's JSON.
    pub async fn secrets(&self, operation: &str, body: &serde_json::Value) -> String {
        self.json("secretsmanager", "secretsmanager", operation, body).await
    }

    async fn json(&self, service: &str, target: &str, operation: &str, body: &serde_json::Value) -> String {
        let target = format!("{target}.{operation}");
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", &target)];
        let answer = self.call(service, operation, &headers, &body.to_string()).await;
        answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned()
    }

    async fn query(&self, service: &str, version: &str, action: &str, parameters: &[(&str, &str)]) -> String {
        let mut body = format!("Action={action}&Version={version}");
        for (name, value) in parameters {
            body.push_str(&format!("&{name}={}", encode(value)));
        }
        self.call(service, action, &[("content-type", "application/x-www-form-urlencoded")], &body).await
    }

    async fn call(&self, service: &str, action: &str, headers: &[(&str, &str)], body: &str) -> String {
        let host = self.gateway.to_string();
        let signed = self.key.sign(&Unsigned {
            method: Method::POST,
            host: &host,
            path: "/",
            service,
            region: self.region,
            headers,
            body: body.as_bytes(),
        });
        let signed = signed.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers = headers.iter().copied().chain(signed);
        let headers: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len(),
        );
        let asking = async {
            let mut stream = TcpStream::connect(self.gateway).await.expect("the gateway listens");
            stream.write_all(request.as_bytes()).await.expect("the gateway reads");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("the gateway answers");
            answer
        };
        let answer = tokio::time::timeout(LIMIT, asking).await;
        let answer = answer.unwrap_or_else(|_| panic!("{service} has no answer to {action}"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{action}: {answer}");
        answer
    }
}

fn encode(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    value
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Returns the text of the first element of that name.
pub fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once("</").map(|(text, _)| text.to_owned())
}
