use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings};
use aws_sigv4::sign::v4::SigningParams;

use crate::{Cloud, Error};

/// A chain of providers may ask the network; a tunnel must not hang on that.
const CREDENTIALS_WITHIN: Duration = Duration::from_secs(10);

/// Returns the headers that sign the websocket upgrade of a data channel; none if the address is signed already.
///
/// A signature is good for one attempt: sign again for the next one.
///
/// # Errors
/// [`Error::Credentials`] if there are none any more, [`Error::Signing`] if the address makes no sense.
pub async fn sign(cloud: &Cloud, url: &str) -> Result<Vec<(String, String)>, Error> {
    if url.to_lowercase().contains("x-amz-signature=") {
        return Ok(Vec::new());
    }
    let credentials = tokio::time::timeout(CREDENTIALS_WITHIN, cloud.credentials.provide_credentials());
    let credentials = match credentials.await {
        Ok(Ok(credentials)) => credentials,
        Ok(Err(error)) => return Err(Error::Credentials { source: error.into() }),
        Err(elapsed) => return Err(Error::Credentials { source: elapsed.into() }),
    };
    headers(credentials, &cloud.region, url, SystemTime::now())
}

fn headers(
    credentials: Credentials,
    region: &str,
    url: &str,
    time: SystemTime,
) -> Result<Vec<(String, String)>, Error> {
    let failed = |source| Error::Signing { source };
    // The upgrade is an HTTP request; only the scheme's name differs.
    let url = match url.split_once("://") {
        Some(("wss", rest)) => format!("https://{rest}"),
        Some(("ws", rest)) => format!("http://{rest}"),
        Some(_) | None => url.to_owned(),
    };
    let identity = credentials.into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("ssmmessages")
        .time(time)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| failed(error.into()))?;
    let request = SignableRequest::new("GET", url, std::iter::empty(), SignableBody::Bytes(&[]))
        .map_err(|error| failed(error.into()))?;
    let signed =
        aws_sigv4::http_request::sign(request, &params.into()).map_err(|error| failed(error.into()))?;
    let (instructions, _) = signed.into_parts();
    Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const URL: &str = "wss://ssmmessages.us-east-1.amazonaws.com/v1/data-channel/me-1?role=publish_subscribe";

    fn signed(token: Option<&str>, url: &str) -> Vec<(String, String)> {
        let credentials =
            Credentials::new("AKIDEXAMPLE", "secret", token.map(str::to_owned), None, "the test");
        headers(credentials, "us-east-1", url, UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap()
    }

    fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
        headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    #[test]
    fn host_and_date_are_signed_for_the_service_behind_the_channel() {
        let headers = signed(None, URL);
        let authorization = value(&headers, "authorization").unwrap();
        assert!(authorization.contains("AKIDEXAMPLE/20231114/us-east-1/ssmmessages/aws4_request"));
        assert!(authorization.contains("SignedHeaders=host;x-amz-date,"), "{authorization}");
        assert_eq!(value(&headers, "x-amz-date"), Some("20231114T221320Z"));
        assert_eq!(value(&headers, "x-amz-security-token"), None);
    }

    #[test]
    fn the_token_of_temporary_credentials_is_sent_and_signed() {
        let headers = signed(Some("temporary"), URL);
        assert_eq!(value(&headers, "x-amz-security-token"), Some("temporary"));
        let authorization = value(&headers, "authorization").unwrap();
        assert!(authorization.contains("SignedHeaders=host;x-amz-date;x-amz-security-token,"));
    }

    #[test]
    fn the_query_is_part_of_what_is_signed() {
        let other = URL.replace("publish_subscribe", "publish");
        let authorization = |url: &str| value(&signed(None, url), "authorization").unwrap().to_owned();
        assert_ne!(authorization(URL), authorization(&other));
        assert_eq!(authorization(URL), authorization(URL));
    }
}
