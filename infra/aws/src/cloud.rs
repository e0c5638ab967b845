//! The connections to one region of one account, and who we are there.

mod clock;
mod login;

use std::fmt;
use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sts::config::SharedHttpClient;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder as HttpClientBuilder, tls};
use serde::Serialize;

use self::clock::Clock;
use self::login::Login;
use crate::Error;
use crate::error::failed;

/// The connections to one region of one account. Cheap to clone.
#[derive(Clone)]
pub struct Cloud {
    pub(crate) cloudwatch: aws_sdk_cloudwatch::Client,
    pub(crate) ec2: aws_sdk_ec2::Client,
    pub(crate) iam: aws_sdk_iam::Client,
    pub(crate) kms: aws_sdk_kms::Client,
    pub(crate) logs: aws_sdk_cloudwatchlogs::Client,
    pub(crate) rds: aws_sdk_rds::Client,
    pub(crate) secrets: aws_sdk_secretsmanager::Client,
    pub(crate) sns: aws_sdk_sns::Client,
    pub(crate) ssm: aws_sdk_ssm::Client,
    pub(crate) sts: aws_sdk_sts::Client,
    pub(crate) region: String,
    pub(crate) login: Login,
    pub(crate) clock: Clock,
}

/// Who we are to AWS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// The account's twelve digits.
    pub account: String,
    /// The user's or role's ARN.
    pub arn: String,
}

impl Cloud {
    /// Returns the connections to `region`; no service is asked yet, but whoever has the credentials is.
    ///
    /// Credentials come from where every AWS program takes them: environment, profile, SSO, `credential_process`,
    /// assumed roles. `profile` wins over the environment, `endpoint` over `AWS_ENDPOINT_URL` and its kin.
    ///
    /// # Errors
    /// [`Error::Credentials`] if there is no place at all to take credentials from.
    pub async fn connect(
        region: &str,
        profile: Option<&str>,
        endpoint: Option<&str>,
    ) -> Result<Cloud, Error> {
        let mut loader = defaults(region);
        if let Some(profile) = profile {
            // Keys in the environment would win over a profile that is merely the default one.
            // It may have a role, which STS gives: in the stack's region, where the loader would not tell it one.
            let place = ProviderConfig::without_region().with_region(Some(Region::new(region.to_owned())));
            let place = place.with_http_client(https());
            let provider =
                ProfileFileCredentialsProvider::builder().profile_name(profile).configure(&place).build();
            loader = loader.profile_name(profile).credentials_provider(provider);
        }
        if let Some(endpoint) = endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        Cloud::new(region, loader.load().await).await
    }

    /// Returns the connections to something that behaves like AWS, with credentials that are given, not looked for.
    ///
    /// # Errors
    /// None that is known of; the SDK's configuration could be incomplete.
    pub async fn connect_to(
        region: &str,
        endpoint: &str,
        key_id: &str,
        key: &stack::Secret,
    ) -> Result<Cloud, Error> {
        let credentials = Credentials::new(key_id, key.expose(), None, None, "given");
        let loader = defaults(region).endpoint_url(endpoint);
        Cloud::new(region, loader.credentials_provider(credentials).load().await).await
    }

    async fn new(region: &str, config: SdkConfig) -> Result<Cloud, Error> {
        let inner = config.credentials_provider().ok_or_else(|| Error::Credentials {
            source: "no provider of credentials is configured".into(),
        })?;
        let clock = Clock::default();
        let login = Login::new(inner, clock.clone());
        let shared = SharedCredentialsProvider::new(login.clone());
        let config = &config.into_builder().credentials_provider(shared).build();
        // Now, where nothing limits the time: a helper may ask somebody. Whoever needs them next is told of a failure.
        drop(login.credentials().await);
        let ssm = aws_sdk_ssm::config::Builder::from(config).interceptor(clock.clone()).build();
        Ok(Cloud {
            cloudwatch: aws_sdk_cloudwatch::Client::new(config),
            ec2: aws_sdk_ec2::Client::new(config),
            iam: aws_sdk_iam::Client::new(config),
            kms: aws_sdk_kms::Client::new(config),
            logs: aws_sdk_cloudwatchlogs::Client::new(config),
            rds: aws_sdk_rds::Client::new(config),
            secrets: aws_sdk_secretsmanager::Client::new(config),
            sns: aws_sdk_sns::Client::new(config),
            ssm: aws_sdk_ssm::Client::from_conf(ssm),
            sts: aws_sdk_sts::Client::new(config),
            region: region.to_owned(),
            login,
            clock,
        })
    }

    /// Returns who we are to AWS.
    ///
    /// # Errors
    /// [`Error::Credentials`] if there are none, [`Error::Service`] if they are not accepted.
    pub async fn identity(&self) -> Result<Identity, Error> {
        let answer =
            self.sts.get_caller_identity().send().await.map_err(failed("sts", "GetCallerIdentity"))?;
        let field = |value: Option<String>, field| {
            value.ok_or(Error::Incomplete { service: "sts", operation: "GetCallerIdentity", field })
        };
        Ok(Identity { account: field(answer.account, "account")?, arn: field(answer.arn, "ARN")? })
    }

    /// Returns the region.
    pub fn region(&self) -> &str {
        &self.region
    }
}

fn https() -> SharedHttpClient {
    HttpClientBuilder::new().tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc)).build_https()
}

fn defaults(region: &str) -> ConfigLoader {
    let retries =
        RetryConfig::standard().with_max_attempts(4).with_initial_backoff(Duration::from_millis(200));
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(Duration::from_secs(30))
        .build();
    // One for all services: each would read the machine's root certificates for a client of its own.
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(https())
        .region(Region::new(region.to_owned()))
        .retry_config(retries)
        .timeout_config(timeouts)
}

impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloud").field("region", &self.region).finish_non_exhaustive()
    }
}
