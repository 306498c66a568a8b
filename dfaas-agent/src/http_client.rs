//! HTTP questions to servers nearby: the platform, and the agent itself.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

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

/// A client with a pool of idle connections.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl HttpClient {
    pub(crate) fn new() -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build_http();
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
