//! How campanile speaks HTTP to others: authentication, TLS, proxies, redirects. The same keys as Prometheus' `http_config`, which Prometheus
//! also puts directly into scrape jobs; the macro [`with_http_client`] does that here without `serde(flatten)`.

pub mod client;
pub mod oauth2;
pub mod tls;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use oauth2::OAuth2;

use crate::config::{Problems, Secret};

/// Declares a struct that has the keys of a proxy behind its own.
macro_rules! with_proxy {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $($own:tt)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($own)*
            /// A proxy for all requests; a secret, because it may hold a password.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub proxy_url: Option<crate::config::Secret>,
            /// Hosts reached without the proxy, by commas.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub no_proxy: Option<String>,
            /// Take the proxy from `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub proxy_from_environment: Option<bool>,
            /// Headers for the proxy, with the request that opens a tunnel; secrets, because they may hold passwords.
            #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
            pub proxy_connect_header: std::collections::BTreeMap<String, Vec<crate::config::Secret>>,
        }
    };
}
pub(crate) use with_proxy;

/// Declares a struct that has all keys of `http_config` behind its own.
macro_rules! with_http_keys {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $($own:tt)* }
    ) => {
        crate::config::http_client::with_proxy! {
            $(#[$meta])*
            pub struct $name {
                $($own)*
                /// User name and password.
                #[serde(skip_serializing_if = "Option::is_none")]
                pub basic_auth: Option<crate::config::http_client::BasicAuth>,
                /// An `Authorization` header of any type.
                #[serde(skip_serializing_if = "Option::is_none")]
                pub authorization: Option<crate::config::http_client::Authorization>,
                /// Tokens of OAuth 2.0.
                #[serde(skip_serializing_if = "Option::is_none")]
                pub oauth2: Option<crate::config::http_client::OAuth2>,
                /// Old spelling of `authorization.credentials`.
                #[serde(skip_serializing_if = "Option::is_none")]
                pub bearer_token: Option<crate::config::Secret>,
                /// Old spelling of `authorization.credentials_file`.
                #[serde(skip_serializing_if = "Option::is_none")]
                pub bearer_token_file: Option<std::path::PathBuf>,
                /// TLS of the connection.
                #[serde(skip_serializing_if = "Option::is_none")]
                pub tls_config: Option<crate::config::http_client::TlsConfig>,
                /// Whether redirects are followed; default yes.
                #[serde(skip_serializing_if = "Option::is_none")]
                pub follow_redirects: Option<bool>,
                /// Whether HTTP/2 may be used over TLS; default yes.
                #[serde(skip_serializing_if = "Option::is_none")]
                pub enable_http2: Option<bool>,
                /// Further headers.
                #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
                pub http_headers: std::collections::BTreeMap<String, crate::config::http_client::HeaderValues>,
            }
        }
    };
}
pub(crate) use with_http_keys;

/// Declares a struct that has the keys of [`HttpClientConfig`] beside its own, and `http_client()` to take them out.
macro_rules! with_http_client {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $($own:tt)* }
    ) => {
        crate::config::http_client::with_http_keys! {
            $(#[$meta])*
            pub struct $name { $($own)* }
        }

        impl $name {
            /// The keys that say how to speak HTTP.
            pub fn http_client(&self) -> crate::config::http_client::HttpClientConfig {
                crate::config::http_client::HttpClientConfig {
                    basic_auth: self.basic_auth.clone(),
                    authorization: self.authorization.clone(),
                    oauth2: self.oauth2.clone(),
                    bearer_token: self.bearer_token.clone(),
                    bearer_token_file: self.bearer_token_file.clone(),
                    tls_config: self.tls_config.clone(),
                    follow_redirects: self.follow_redirects,
                    enable_http2: self.enable_http2,
                    proxy_url: self.proxy_url.clone(),
                    no_proxy: self.no_proxy.clone(),
                    proxy_from_environment: self.proxy_from_environment,
                    proxy_connect_header: self.proxy_connect_header.clone(),
                    http_headers: self.http_headers.clone(),
                }
            }

            /// Makes the paths of files absolute, as seen from the folder of the configuration.
            pub fn resolve_http_paths(&mut self, dir: &std::path::Path) {
                let mut http = self.http_client();
                http.resolve_paths(dir);
                self.basic_auth = http.basic_auth;
                self.authorization = http.authorization;
                self.oauth2 = http.oauth2;
                self.bearer_token_file = http.bearer_token_file;
                self.tls_config = http.tls_config;
                self.http_headers = http.http_headers;
            }
        }
    };
}
pub(crate) use with_http_client;

/// User name and password.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BasicAuth {
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// A file with the user, read for each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_file: Option<PathBuf>,
    /// The password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// A file with the password, read for each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

/// An `Authorization` header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authorization {
    /// The scheme; default `Bearer`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What follows the scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Secret>,
    /// A file with it, read for each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
}

/// The values of one header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderValues {
    /// Shown in the configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Not shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// Read for each request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
}

/// A TLS version as Prometheus spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.0, which rustls does not speak.
    #[serde(rename = "TLS10")]
    Tls10,
    /// TLS 1.1, which rustls does not speak.
    #[serde(rename = "TLS11")]
    Tls11,
    /// TLS 1.2.
    #[serde(rename = "TLS12")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "TLS13")]
    Tls13,
}

/// TLS of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// Certificates of authorities, PEM; then only these are trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The same from a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The client's own certificate chain, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<String>,
    /// The same from a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// Its key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// The same from a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The name the server's certificate must carry, if not that of the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Trust any certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
    /// Oldest version to speak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// Newest version to speak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_version: Option<TlsVersion>,
}

with_http_keys! {
    /// All keys of `http_config`.
    pub struct HttpClientConfig {}
}

/// Headers that the client sets itself.
const RESERVED_HEADERS: [&str; 12] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
];

fn absolute(dir: &Path, path: &mut Option<PathBuf>) {
    if let Some(p) = path {
        // Joining leaves an absolute path as it is.
        *p = dir.join(&*p);
    }
}

impl HttpClientConfig {
    /// Makes the paths of files absolute, as seen from the folder of the configuration.
    pub fn resolve_paths(&mut self, dir: &Path) {
        absolute(dir, &mut self.bearer_token_file);
        if let Some(b) = &mut self.basic_auth {
            absolute(dir, &mut b.username_file);
            absolute(dir, &mut b.password_file);
        }
        if let Some(a) = &mut self.authorization {
            absolute(dir, &mut a.credentials_file);
        }
        if let Some(o) = &mut self.oauth2 {
            o.resolve_paths(dir);
        }
        if let Some(t) = &mut self.tls_config {
            t.resolve_paths(dir);
        }
        for file in self.http_headers.values_mut().flat_map(|h| h.files.iter_mut()) {
            *file = dir.join(&*file);
        }
    }

    /// Notes what is wrong. `path` is the path of the struct that holds the keys.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        let mut add = |key: &str, message: &str| problems.add(format!("{path}.{key}"), message);
        let bearer = self.bearer_token.is_some() || self.bearer_token_file.is_some();
        let ways = [self.basic_auth.is_some(), self.authorization.is_some(), bearer, self.oauth2.is_some()];
        if ways.iter().filter(|w| **w).count() > 1 {
            add(
                "authorization",
                "at most one of basic_auth, authorization, oauth2, bearer_token and bearer_token_file may be given; \
                 keep one of them",
            );
        }
        if self.bearer_token.is_some() && self.bearer_token_file.is_some() {
            add("bearer_token", "at most one of bearer_token and bearer_token_file may be given; keep one of them");
        }
        if let Some(b) = &self.basic_auth {
            if b.username.is_some() && b.username_file.is_some() {
                add("basic_auth.username", "at most one of username and username_file may be given");
            }
            if b.password.is_some() && b.password_file.is_some() {
                add("basic_auth.password", "at most one of password and password_file may be given");
            }
        }
        if let Some(a) = &self.authorization {
            if a.credentials.is_some() && a.credentials_file.is_some() {
                add("authorization.credentials", "at most one of credentials and credentials_file may be given");
            }
            if a.kind.as_deref().is_some_and(|k| k.trim().eq_ignore_ascii_case("basic")) {
                add("authorization.type", "cannot be \"basic\"; use basic_auth instead");
            }
        }
        self.validate_proxy(&mut add);
        for name in self.http_headers.keys() {
            if RESERVED_HEADERS.iter().any(|r| name.eq_ignore_ascii_case(r)) {
                add(&format!("http_headers.{name}"), "is set by campanile itself and cannot be given here");
            } else if http_header_name(name).is_none() {
                add(&format!("http_headers.{name}"), "is not a valid name of a header");
            }
        }
        if let Some(t) = &self.tls_config {
            t.validate(&format!("{path}.tls_config"), problems);
        }
        if let Some(o) = &self.oauth2 {
            o.validate(&format!("{path}.oauth2"), problems);
        }
    }

    fn validate_proxy(&self, add: &mut impl FnMut(&str, &str)) {
        if let Some(url) = &self.proxy_url
            && reqwest::Proxy::all(url.expose()).is_err()
        {
            add("proxy_url", "is not a URL of a proxy; write it like http://proxy.example:3128");
        }
        let from_environment = self.proxy_from_environment == Some(true);
        if from_environment && (self.proxy_url.is_some() || self.no_proxy.is_some()) {
            add("proxy_from_environment", "cannot be used beside proxy_url and no_proxy; keep one way");
        }
        if self.no_proxy.is_some() && self.proxy_url.is_none() && !from_environment {
            add("no_proxy", "has no effect without proxy_url; remove it or give proxy_url");
        }
        if !self.proxy_connect_header.is_empty() && self.proxy_url.is_none() {
            add("proxy_connect_header", "has no effect without proxy_url; remove it or give proxy_url");
        }
        for name in self.proxy_connect_header.keys().filter(|n| http_header_name(n).is_none()) {
            add(&format!("proxy_connect_header.{name}"), "is not a valid name of a header");
        }
    }
}

fn http_header_name(name: &str) -> Option<reqwest::header::HeaderName> {
    reqwest::header::HeaderName::from_bytes(name.as_bytes()).ok()
}

impl TlsConfig {
    /// Makes the paths of files absolute, as seen from the folder of the configuration.
    pub fn resolve_paths(&mut self, dir: &Path) {
        for file in [&mut self.ca_file, &mut self.cert_file, &mut self.key_file] {
            absolute(dir, file);
        }
    }

    /// Notes what is wrong. `path` is the path of this struct.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        let mut add = |key: &str, message: &str| problems.add(format!("{path}.{key}"), message);
        if self.ca.is_some() && self.ca_file.is_some() {
            add("ca", "at most one of ca and ca_file may be given");
        }
        if self.cert.is_some() && self.cert_file.is_some() {
            add("cert", "at most one of cert and cert_file may be given");
        }
        if self.key.is_some() && self.key_file.is_some() {
            add("key", "at most one of key and key_file may be given");
        }
        let cert = self.cert.is_some() || self.cert_file.is_some();
        let key = self.key.is_some() || self.key_file.is_some();
        if cert != key {
            add(if cert { "cert" } else { "key" }, "a client certificate needs both cert(_file) and key(_file)");
        }
        if self.max_version.is_some_and(|v| v < TlsVersion::Tls12) {
            add("max_version", "TLS below 1.2 is not supported; use TLS12 or TLS13");
        }
        if let (Some(min), Some(max)) = (self.min_version, self.max_version)
            && min > max
        {
            add("min_version", "is above max_version; swap them or remove one");
        }
    }
}
