//! The request of an HTTP probe: target, headers, authorization, body.

use base64::Engine;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use reqwest::Url;

use crate::config::http_client::client;
use crate::config::probe_module::HttpModule;
use crate::probe::{Failure, Question};

/// What the prober says it is.
const USER_AGENT: &str = concat!("campanile/", env!("CARGO_PKG_VERSION"), " (probe)");

/// What is sent, changed by redirects on the way.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Where to.
    pub url: Url,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    /// The value of the Host header where it is not the URL's.
    host: Option<String>,
}

/// The address of a target; `http://` where it has no scheme.
pub fn target_url(target: &str) -> Result<Url, Failure> {
    let with_scheme = if target.contains("://") { target.to_owned() } else { format!("http://{target}") };
    let url = Url::parse(&with_scheme).map_err(|e| Failure(format!("the target is not an address: {e}")))?;
    check_scheme(&url)?;
    Ok(url)
}

fn check_scheme(url: &Url) -> Result<(), Failure> {
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(())
    } else {
        Err(Failure(format!("the address has the scheme {:?}; it must be http or https", url.scheme())))
    }
}

async fn authorization(url: &Url, m: &HttpModule) -> Result<Option<String>, Failure> {
    let configured = client::authorization(&m.http_client()).await.map_err(|e| Failure(e.to_string()))?;
    if configured.is_some() || (url.username().is_empty() && url.password().is_none()) {
        return Ok(configured);
    }
    let pair = format!("{}:{}", url.username(), url.password().unwrap_or_default());
    Ok(Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))))
}

impl Outgoing {
    /// The first request of a run.
    pub async fn new(question: &Question<'_>, m: &HttpModule) -> Result<Self, Failure> {
        let mut url = target_url(question.target)?;
        let method = if m.method.is_empty() { Method::GET } else { method(&m.method)? };
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if !m.compression.is_empty() {
            headers.insert(header::ACCEPT_ENCODING, value(&m.compression)?);
        }
        if let Some(auth) = authorization(&url, m).await? {
            let mut auth = value(&auth)?;
            auth.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, auth);
        }
        // The password must not be seen in the Referer, the log line or an error.
        if url.set_username("").is_err() || url.set_password(None).is_err() {
            return Err(Failure::new("the address cannot carry a user"));
        }
        let mut host = question.hostname.map(str::to_owned);
        for (name, text) in &m.headers {
            if name.eq_ignore_ascii_case("host") {
                host = Some(text.clone());
            } else {
                let name = HeaderName::try_from(name).map_err(|_| Failure(format!("{name:?} is not a header")))?;
                headers.insert(name, value(text)?);
            }
        }
        let body = match m.body_file.as_os_str().is_empty() {
            true => Bytes::from(m.body.clone()),
            false => match tokio::fs::read(&m.body_file).await {
                Ok(bytes) => Bytes::from(bytes),
                Err(e) => return Err(Failure(format!("{} cannot be read: {e}", m.body_file.display()))),
            },
        };
        Ok(Outgoing { url, method, headers, body, host })
    }

    /// The host to connect to and its port.
    pub fn address(&self) -> (String, u16) {
        let host = self.url.host_str().unwrap_or("").to_owned();
        (host, self.url.port_or_known_default().unwrap_or(80))
    }

    /// Whether TLS is spoken.
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The name for the server's certificate.
    pub fn server_name(&self, hostname: Option<&str>, hop: usize) -> String {
        match hostname {
            // The parameter stands for the first target only.
            Some(name) if hop == 0 => name.split(':').next().unwrap_or(name).to_owned(),
            Some(_) | None => self.url.host_str().unwrap_or("").to_owned(),
        }
    }

    /// Whether the answer has no body by its method.
    pub fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// The request as HTTP/1.1 (path and Host header) or HTTP/2 (whole address) has it.
    pub fn request(&self, http2: bool) -> Result<Request<Full<Bytes>>, Failure> {
        let bad = |e: &dyn std::fmt::Display| Failure(format!("the request cannot be made: {e}"));
        let own_host = match self.url.port() {
            Some(port) => format!("{}:{port}", self.url.host_str().unwrap_or("")),
            None => self.url.host_str().unwrap_or("").to_owned(),
        };
        let host = self.host.clone().unwrap_or(own_host);
        let path = match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        };
        let uri = if http2 { format!("{}://{host}{path}", self.url.scheme()) } else { path };
        let uri: Uri = uri.parse().map_err(|e| bad(&e))?;
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        if !http2 {
            request.headers_mut().insert(header::HOST, value(&host)?);
        }
        Ok(request)
    }

    /// Follows a redirect as browsers and Go's client do: 303 (and a POST's 301, 302) become a GET without a body,
    /// what is secret stays with the host it was for.
    pub fn redirect(&mut self, status: u16, location: &str) -> Result<(), Failure> {
        let next = self
            .url
            .join(location)
            .map_err(|e| Failure(format!("redirected to {location:?}, which is not an address: {e}")))?;
        check_scheme(&next)?;
        let becomes_get = matches!(status, 303) || (matches!(status, 301 | 302) && self.method == Method::POST);
        if becomes_get && self.method != Method::HEAD {
            self.method = Method::GET;
            self.body = Bytes::new();
            self.headers.remove(header::CONTENT_TYPE);
        }
        if next.host_str() != self.url.host_str() {
            for name in [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION] {
                self.headers.remove(name);
            }
        }
        self.host = None;
        self.url = next;
        Ok(())
    }
}

fn method(text: &str) -> Result<Method, Failure> {
    Method::from_bytes(text.as_bytes()).map_err(|_| Failure(format!("{text:?} is not an HTTP method")))
}

fn value(text: &str) -> Result<HeaderValue, Failure> {
    // Without the text: it may be a secret.
    HeaderValue::try_from(text).map_err(|_| Failure::new("a header's value cannot be sent"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::probe::{ProbeKind, ProbeModule};

    #[tokio::test]
    async fn redirects_change_the_request() {
        let mut module = ProbeModule::of(ProbeKind::Http);
        module.http.method = "POST".into();
        module.http.body = "x".into();
        module.http.bearer_token = Some(crate::config::Secret::new("t"));
        let q = Question {
            module: &module,
            target: "http://a/x?y=1",
            hostname: None,
            timeout: std::time::Duration::from_secs(1),
        };
        let mut out = Outgoing::new(&q, &module.http).await.unwrap();
        assert_eq!(out.request(false).unwrap().uri(), "/x?y=1");
        out.redirect(302, "/z").unwrap();
        assert_eq!((out.method.as_str(), out.body.len(), out.url.as_str()), ("GET", 0, "http://a/z"));
        assert!(out.headers.contains_key("authorization"));
        out.redirect(302, "https://b:8443/").unwrap();
        assert!(!out.headers.contains_key("authorization") && out.is_tls());
        assert_eq!(out.address(), ("b".to_owned(), 8443));
        assert!(out.redirect(302, "ftp://b/").is_err());
    }
}
