//! One request and its answer, over connections that are kept or not.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, header};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};

use crate::target::Target;

/// How connections are used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Connections {
    /// A request takes one that is idle, else opens one.
    #[default]
    KeepAlive,
    /// Each request opens its own.
    OnePerRequest,
}

/// Asks targets.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    connections: Connections,
    timeout: Duration,
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) bytes_in: u64,
    pub(crate) served_by: Option<String>,
}

impl Client {
    /// A client that waits for an answer's end for `timeout`.
    pub(crate) fn new(connections: Connections, timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(timeout));
        let idle_max = match connections {
            Connections::KeepAlive => usize::MAX,
            Connections::OnePerRequest => 0,
        };
        let pool = Pool::builder(TokioExecutor::new())
            .pool_max_idle_per_host(idle_max)
            // A request that got no answer is a result here, not one to be sent again unseen.
            .retry_canceled_requests(false)
            .build(connector);
        Self {
            pool,
            connections,
            timeout,
        }
    }

    /// Asks, and reads the answer to its end.
    ///
    /// # Errors
    ///
    /// When there is no whole answer in time: why, in one line.
    pub(crate) async fn ask(&self, target: &Target) -> Result<Answer, String> {
        match tokio::time::timeout(self.timeout, self.exchange(target)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no whole answer within {:?}", self.timeout)),
        }
    }

    async fn exchange(&self, target: &Target) -> Result<Answer, String> {
        let mut request = Request::new(Full::new(target.body.clone()));
        *request.method_mut() = target.method.clone();
        *request.uri_mut() = target.url.clone();
        *request.headers_mut() = target.headers.clone();
        if self.connections == Connections::OnePerRequest {
            let close = header::HeaderValue::from_static("close");
            request.headers_mut().insert(header::CONNECTION, close);
        }
        let response = self.pool.request(request).await.map_err(chain)?;
        let served_by = response.headers().get("x-served-by");
        let served_by = served_by.map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
        let code = response.status().as_u16();
        let mut body = response.into_body();
        let mut bytes_in = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(chain)?;
            bytes_in += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok(Answer {
            code,
            bytes_in,
            served_by,
        })
    }
}

/// An error with all its causes on one line.
fn chain(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}
