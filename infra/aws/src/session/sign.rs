//! Signs the address of a data channel.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings};
use aws_sigv4::sign::v4::SigningParams;

use crate::{Cloud, Error};

/// Returns the headers that sign the websocket upgrade of a data channel; none if the address is signed already.
///
/// A signature is valid for one attempt: sign again for the next one. The credentials are the same as for all other calls;
/// there is no limit on how long it takes to get them.
///
/// # Errors
/// [`Error::Credentials`] if there are none, [`Error::Signing`] if the address is not valid.
pub async fn sign(cloud: &Cloud, url: &str) -> Result<Vec<(String, String)>, Error> {
    if url.to_lowercase().contains("x-amz-signature=") {
        return Ok(Vec::new());
    }
    let credentials = credentials(cloud).await?;
    headers(credentials, &cloud.region, url, cloud.clock.now())
}

/// Waits until there are credentials, however long that takes.
///
/// # Errors
/// [`Error::Credentials`] with the message of the provider.
pub async fn log_in(cloud: &Cloud) -> Result<(), Error> {
    credentials(cloud).await.map(drop)
}

async fn credentials(cloud: &Cloud) -> Result<Credentials, Error> {
    cloud.login.credentials().await.map_err(|error| Error::Credentials { source: error.into() })
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
    use std::time::{Duration, UNIX_EPOCH};

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
