//! The sandbox's own certificate authority, in the place of RDS's.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::Error;

/// The kind of the keys, as the two authorities `rds-ca-rsa2048-g1` and `rds-ca-ecc384-g1` have them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA, 2048 bits, signed with SHA-256.
    #[default]
    Rsa,
    /// ECDSA over P-384, signed with SHA-384.
    Ecc384,
}

/// A certificate authority that lives as long as its sandbox. Its own key is never written to a file.
pub struct Authority {
    kind: KeyKind,
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// Makes an authority with a new key.
    ///
    /// # Errors
    /// [`Error::Certificate`] if the cryptography library fails.
    pub fn new(kind: KeyKind) -> Result<Authority, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Drawbridge sandbox CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = key(kind)?;
        let pem = params.self_signed(&key).map_err(Error::Certificate)?.pem();
        Ok(Authority { kind, issuer: Issuer::new(params, key), pem })
    }

    /// Returns the authority's certificate, for clients to trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes the authority's certificate to a file.
    ///
    /// # Errors
    /// [`Error::File`] names the file.
    pub fn write_pem(&self, path: &Path) -> Result<(), Error> {
        fs::write(path, &self.pem).map_err(Error::file("write", path))
    }

    /// Issues a certificate for a host name, with a new key.
    ///
    /// # Errors
    /// [`Error::Certificate`] if the name fits no certificate.
    pub fn issue(&self, host: &str) -> Result<Identity, Error> {
        let mut params = CertificateParams::new([host.to_owned()]).map_err(Error::Certificate)?;
        params.distinguished_name.push(DnType::CommonName, host);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = key(self.kind)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(Error::Certificate)?;
        let pem = (certificate.pem(), key.serialize_pem());
        Ok(Identity { certificate: pem.0, key: pem.1 })
    }

    /// Returns what serves TLS under that host name, with a new key.
    pub(crate) fn acceptor(&self, host: &str) -> Result<TlsAcceptor, Error> {
        let identity = self.issue(host)?;
        let read = "invariant: what was just written in PEM can be read";
        let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect(read);
        let private = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect(read);
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate], private))
            .map_err(Error::Tls)?;
        // None, as PostgreSQL itself: a client that cancels a query goes away without reading them.
        config.send_tls13_tickets = 0;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// A server's certificate with its key. `Debug` shows neither.
pub struct Identity {
    certificate: String,
    key: String,
}

impl Identity {
    /// Returns the certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Returns the private key, in PEM (PKCS#8).
    pub fn expose_key(&self) -> &str {
        &self.key
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("kind", &self.kind).finish_non_exhaustive()
    }
}

fn key(kind: KeyKind) -> Result<KeyPair, Error> {
    match kind {
        KeyKind::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        KeyKind::Ecc384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
    }
    .map_err(Error::Certificate)
}
