//! Telling the result of an asynchronous call to the URL that its caller gave.

mod connection;
mod destination;

use std::time::Duration;

use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use self::destination::{Destination, Fence};
use crate::web::body::Body;
use crate::web::spool::Input;

/// How long one try may take, from the look-up of the name to the answer.
const TRY_MAX: Duration = Duration::from_secs(30);

/// How long to wait before each further try.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

#[derive(Debug, thiserror::Error)]
pub(crate) enum CallbackError {
    #[error("X-Callback-Url is {0:?}; give an absolute http:// or https:// URL")]
    Url(String),
    #[error(
        "X-Callback-Url goes to {0}, which is this host itself or may not be reached from it; allow it by --callback-allow {0}/32"
    )]
    Fenced(std::net::IpAddr),
    #[error("look up {host}: {source}")]
    Resolve { host: String, source: std::io::Error },
    #[error("{0} has no address")]
    NoAddress(String),
    #[error("connect: {0}")]
    Connect(std::io::Error),
    #[error("send the result: {0}")]
    Send(#[from] hyper::Error),
    #[error("make the request: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("read the result: {0}")]
    Result(std::io::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it took longer than {TRY_MAX:?}")]
    Slow,
    #[error("this host has no certificates of authorities for https; install ca-certificates")]
    NoAuthorities,
}

impl CallbackError {
    /// Whether it may go better in a moment.
    fn is_passing(&self) -> bool {
        match self {
            Self::Resolve { .. } | Self::Connect(_) | Self::Send(_) | Self::Slow => true,
            Self::Status(status) => {
                matches!(
                    *status,
                    StatusCode::TOO_MANY_REQUESTS
                        | StatusCode::BAD_GATEWAY
                        | StatusCode::SERVICE_UNAVAILABLE
                        | StatusCode::GATEWAY_TIMEOUT
                )
            }
            Self::Url(_)
            | Self::Fenced(_)
            | Self::NoAddress(_)
            | Self::Request(_)
            | Self::Result(_)
            | Self::NoAuthorities => false,
        }
    }
}

/// A URL that was found to make sense.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Callback(String);

/// What tells results.
pub(crate) struct Callbacks {
    fence: Fence,
    /// None without certificates of authorities.
    tls: Option<TlsConnector>,
}

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callbacks")
            .field("fence", &self.fence)
            .finish_non_exhaustive()
    }
}

impl Callbacks {
    /// Callbacks go nowhere into this host, but to the networks that are `allowed`.
    pub(crate) fn new(allowed: Vec<IpNet>) -> Self {
        Self {
            fence: Fence::new(allowed),
            tls: connection::tls(),
        }
    }

    /// Refuses what can be known to be wrong before the name is looked up.
    pub(crate) fn parse(&self, value: &[u8]) -> Result<Callback, CallbackError> {
        let text = String::from_utf8_lossy(value).into_owned();
        let uri: Option<Uri> = text.parse().ok();
        let Some(destination) = uri.as_ref().and_then(Destination::of) else {
            return Err(CallbackError::Url(text));
        };
        if let Some(ip) = destination.ip() {
            self.fence.check(ip)?;
        }
        Ok(Callback(text))
    }

    /// Posts a result, several times if need be.
    pub(crate) async fn tell(
        &self,
        callback: &Callback,
        headers: &HeaderMap,
        result: &Input,
    ) -> Result<(), CallbackError> {
        for pause in PAUSES {
            match self.try_tell(callback, headers, result).await {
                Err(error) if error.is_passing() => {
                    tracing::debug!(%error, ?pause, "A callback will be tried again");
                    sleep(pause).await;
                }
                told => return told,
            }
        }
        self.try_tell(callback, headers, result).await
    }

    async fn try_tell(
        &self,
        callback: &Callback,
        headers: &HeaderMap,
        result: &Input,
    ) -> Result<(), CallbackError> {
        let bad = || CallbackError::Url(callback.0.clone());
        let uri: Uri = callback.0.parse().map_err(|_| bad())?;
        let destination = Destination::of(&uri).ok_or_else(bad)?;
        let body = Body::kept(result.again().map_err(CallbackError::Result)?);
        let request = request(&uri, headers, body)?;
        let status = timeout(TRY_MAX, async {
            // What was checked is what is connected to: the name may have another address in a moment.
            let addresses = self.fence.resolve(&destination).await?;
            connection::post(&addresses, &destination, self.tls.as_ref(), request).await
        });
        match status.await.map_err(|_| CallbackError::Slow)?? {
            status if status.is_success() => Ok(()),
            status => Err(CallbackError::Status(status)),
        }
    }
}

fn request(uri: &Uri, headers: &HeaderMap, body: Body) -> Result<Request<Body>, CallbackError> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder().method(Method::POST).uri(path).body(body)?;
    *request.headers_mut() = headers.clone();
    if let Some(authority) = uri.authority() {
        let host = match authority.as_str().rsplit_once('@') {
            Some((_, host)) => host,
            None => authority.as_str(),
        };
        let host = HeaderValue::try_from(host).map_err(hyper::http::Error::from)?;
        request.headers_mut().insert(HOST, host);
    }
    Ok(request)
}
