//! HTTP questions: to the platform, to services that strategies ask, and to the agent itself.

use std::{sync::Arc, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tracing::warn;

/// A platform that has answered nothing for so long will not.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// A thousand functions with all their annotations take some two megabytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GetError {
    #[error("{url} is no address to ask: {source}")]
    Url { url: String, source: hyper::http::Error },
    #[error("no answer from {url}: {reason}")]
    Connection { url: String, reason: String },
    #[error("no answer from {url} within {patience:?}")]
    Timeout { url: String, patience: Duration },
    #[error("the answer of {url} broke off: {reason}")]
    Body { url: String, reason: String },
}

/// A client with a pool of idle connections, which speaks https to whom it was made for.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl HttpClient {
    /// A client for servers that speak plain HTTP.
    pub(crate) fn new() -> Self {
        Self::trusting(RootCertStore::empty())
    }

    /// A client for these URLs, or schemes. Where one is https, it trusts whom the host trusts.
    pub(crate) fn for_urls<'a>(urls: impl IntoIterator<Item = &'a str>) -> Self {
        let mut authorities = RootCertStore::empty();
        if urls.into_iter().any(|url| url.starts_with("https")) {
            let found = rustls_native_certs::load_native_certs();
            let (usable, _) = authorities.add_parsable_certificates(found.certs);
            if usable == 0 {
                warn!(
                    "There are no certificates of authorities on this host, so nobody is trusted by https: install \
                     ca-certificates, or name a file of your own by SSL_CERT_FILE"
                );
            }
        }
        Self::trusting(authorities)
    }

    fn trusting(authorities: RootCertStore) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the ciphers of TLS 1.2 and 1.3")
            .with_root_certificates(authorities)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { client }
    }

    /// Asks for a URL, and returns status and body.
    ///
    /// # Errors
    /// There is no whole answer in time.
    pub(crate) async fn get(
        &self,
        url: &str,
        authorization: Option<&HeaderValue>,
    ) -> Result<(StatusCode, Bytes), GetError> {
        let mut request = Request::get(url).header(ACCEPT, "application/json");
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::default()).map_err(|source| GetError::Url {
            url: url.to_owned(),
            source,
        })?;
        self.within(TIMEOUT, url, request).await
    }

    /// Sends JSON to a URL, and returns status and body.
    ///
    /// # Errors
    /// There is no whole answer in time.
    pub(crate) async fn exchange_json(
        &self,
        method: Method,
        url: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<(StatusCode, Bytes), GetError> {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|source| GetError::Url {
                url: url.to_owned(),
                source,
            })?;
        self.within(patience, url, request).await
    }

    /// Sends a request of anybody's making, and returns status and body.
    ///
    /// # Errors
    /// There is no whole answer in time.
    pub(crate) async fn ask(
        &self,
        url: &str,
        request: Request<Bytes>,
        patience: Duration,
    ) -> Result<(StatusCode, Bytes), GetError> {
        self.within(patience, url, request.map(Full::new)).await
    }

    async fn within(
        &self,
        patience: Duration,
        url: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), GetError> {
        let exchange = tokio::time::timeout(patience, self.exchange(url, request));
        exchange.await.map_err(|_elapsed| GetError::Timeout {
            url: url.to_owned(),
            patience,
        })?
    }

    async fn exchange(
        &self,
        url: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), GetError> {
        let answer = self
            .client
            .request(request)
            .await
            .map_err(|error| GetError::Connection {
                url: url.to_owned(),
                reason: innermost(&error),
            })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| GetError::Body {
                url: url.to_owned(),
                reason: innermost(&*error),
            })?;
        Ok((status, body.to_bytes()))
    }
}

/// The cause of all causes: "connection refused" rather than "client error".
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests;
