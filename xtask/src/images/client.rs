//! How this machine reaches the network: its CA bundle, proxies and package indexes, for builds in containers.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use xshell::{Shell, cmd};

/// Where programs are told their CA bundle, in the order in which they are asked.
const BUNDLE_VARIABLES: [&str; 4] = ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT"];
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// Docker hands these to every step of a build and keeps them out of the image.
pub(super) const PROXIES: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
];
/// Settings of pip and uv that mean the same in a container.
const SETTINGS: [&str; 12] = [
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "PIP_PROXY",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_RETRIES",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_INSECURE_HOST",
    "UV_HTTP_TIMEOUT",
];
/// Where a build finds its context; the script below names files in it.
const CONTEXT: &str = "/context";

/// Returns the bundle that an environment variable names, if one does.
pub(super) fn named_bundle() -> Option<PathBuf> {
    let named = BUNDLE_VARIABLES.into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    named.into_iter().find(|path| path.is_file())
}

/// Writes `client.sh`, which a build step reads into its shell, and the CA bundle into a build context.
pub(super) fn write(sh: &Shell, dir: &Path) -> anyhow::Result<()> {
    let mut script = String::from("# How the machine that builds reaches the network.\n");
    let bundle =
        named_bundle().or_else(|| BUNDLES.map(PathBuf::from).into_iter().find(|path| path.is_file()));
    if let Some(bundle) = bundle {
        let copy = dir.join("ca.pem");
        // Not `copy`: that keeps the permissions, which may be another's.
        let pem = fs::read(&bundle).with_context(|| format!("cannot read `{}`", bundle.display()))?;
        fs::write(&copy, pem).with_context(|| format!("cannot write `{}`", copy.display()))?;
        for name in BUNDLE_VARIABLES {
            script.push_str(&format!("export {name}={CONTEXT}/ca.pem\n"));
        }
    }
    let settings = SETTINGS.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?)));
    let mut settings: Vec<(&str, String)> = settings.collect();
    // uv reads no setting of pip's.
    if let Some(index) = index(sh, &settings) {
        settings.retain(|(name, _)| *name != "PIP_INDEX_URL");
        if !settings.iter().any(|(name, _)| ["UV_DEFAULT_INDEX", "UV_INDEX_URL"].contains(name)) {
            settings.push(("UV_DEFAULT_INDEX", index.clone()));
        }
        settings.push(("PIP_INDEX_URL", index));
    }
    for (name, value) in settings {
        script.push_str(&format!("export {name}='{}'\n", value.replace('\'', r"'\''")));
    }
    sh.write_file(dir.join("client.sh"), script)?;
    Ok(())
}

/// Returns the package index that pip is told, by the environment or by its files.
fn index(sh: &Shell, settings: &[(&str, String)]) -> Option<String> {
    if let Some((_, index)) = settings.iter().find(|(name, _)| *name == "PIP_INDEX_URL") {
        return Some(index.clone());
    }
    let ask = cmd!(sh, "python3 -m pip config get global.index-url").quiet().ignore_stderr();
    ask.read().ok().filter(|index| !index.is_empty())
}
