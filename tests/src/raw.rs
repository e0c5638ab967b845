//! Calls to a sandbox's gateway by hand: what somebody else does to the stack behind our back.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait::LIMIT;

/// Calls to one gateway.
#[derive(Clone, Copy, Debug)]
pub struct Raw {
    gateway: SocketAddr,
    region: &'static str,
}

impl Raw {
    /// Returns calls to that gateway.
    pub fn new(gateway: SocketAddr) -> Raw {
        Raw { gateway, region: "us-east-1" }
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
        let headers =
            format!("Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: {target}.{operation}\r\n");
        let answer = self.call(service, operation, &headers, &body.to_string()).await;
        answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned()
    }

    async fn query(&self, service: &str, version: &str, action: &str, parameters: &[(&str, &str)]) -> String {
        let mut body = format!("Action={action}&Version={version}");
        for (name, value) in parameters {
            body.push_str(&format!("&{name}={}", encode(value)));
        }
        self.call(service, action, "Content-Type: application/x-www-form-urlencoded\r\n", &body).await
    }

    async fn call(&self, service: &str, action: &str, headers: &str, body: &str) -> String {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\
             X-Amz-Date: 20260101T000000Z\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=raw/20260101/{}/{service}/aws4_request, \
             SignedHeaders=host, Signature=0\r\n\r\n{body}",
            self.gateway,
            body.len(),
            self.region,
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
