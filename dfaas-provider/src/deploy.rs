//! Deploys functions to a gateway over its API, as `faas-cli` does.

use http_body_util::BodyExt;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode, Uri};

use crate::web::auth::Credentials;
use crate::web::body::{Body, BodyError};
use crate::web::client::{self, HttpClient};
use crate::wire::Deployment;

#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    #[error("the gateway's URL is {0:?}; write http://HOST:PORT")]
    Url(String),
    #[error("describe the function {function}: {source}")]
    Json {
        function: String,
        source: serde_json::Error,
    },
    #[error("make the request for the function {function}: {source}")]
    Request {
        function: String,
        source: hyper::http::Error,
    },
    #[error(
        "deploy the function {function} to {gateway}: {source:?}; see that a gateway listens there, or give its URL with --gateway"
    )]
    Unreachable {
        function: String,
        gateway: String,
        source: Box<hyper_util::client::legacy::Error>,
    },
    #[error("deploy the function {function}: read the gateway's answer: {source}")]
    Answer { function: String, source: BodyError },
    #[error("deploy the function {function}: the gateway answered {status}: {text}")]
    Refused {
        function: String,
        status: StatusCode,
        text: String,
    },
}

/// What a gateway did with a function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    Updated,
    Created,
}

/// A gateway to deploy to.
pub struct Gateway {
    url: Uri,
    authorization: Option<String>,
    client: HttpClient,
}

impl Gateway {
    /// Makes a client of the gateway at `url`. Needs a Tokio runtime.
    ///
    /// # Errors
    /// If the URL is none that it can call.
    pub fn new(url: &str, credentials: Option<&Credentials>) -> Result<Self, DeployError> {
        let bad = || DeployError::Url(url.to_owned());
        let uri: Uri = url.trim_end_matches('/').parse().map_err(|_| bad())?;
        if uri.scheme_str() != Some("http") || uri.host().is_none() {
            return Err(bad());
        }
        Ok(Self {
            url: uri,
            authorization: credentials.map(Credentials::header),
            client: client::client(),
        })
    }

    /// Updates a function, or creates it if the gateway does not know it.
    ///
    /// # Errors
    /// If the gateway cannot be reached or refuses.
    pub async fn deploy(&self, deployment: &Deployment) -> Result<Outcome, DeployError> {
        match self.send(Method::PUT, deployment).await {
            Ok(()) => Ok(Outcome::Updated),
            Err(DeployError::Refused {
                status: StatusCode::NOT_FOUND,
                ..
            }) => self
                .send(Method::POST, deployment)
                .await
                .map(|()| Outcome::Created),
            Err(error) => Err(error),
        }
    }

    async fn send(&self, method: Method, deployment: &Deployment) -> Result<(), DeployError> {
        let function = || deployment.service.clone();
        let request = self.request(method, deployment)?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|source| DeployError::Unreachable {
            function: function(),
            gateway: self.url.to_string(),
            source: Box::new(source),
        })?;
        let status = answer.status();
        let text = Body::passed(answer.into_body(), u64::MAX).collect().await;
        let text = text
            .map_err(|source| DeployError::Answer {
                function: function(),
                source,
            })?
            .to_bytes();
        match status {
            StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED => Ok(()),
            status => {
                let text = String::from_utf8_lossy(&text).trim().to_owned();
                Err(DeployError::Refused {
                    function: function(),
                    status,
                    text,
                })
            }
        }
    }

    fn request(&self, method: Method, deployment: &Deployment) -> Result<Request<Body>, DeployError> {
        let function = || deployment.service.clone();
        let json = serde_json::to_vec(deployment).map_err(|source| DeployError::Json {
            function: function(),
            source,
        })?;
        let url = format!("{}/system/functions", self.url.to_string().trim_end_matches('/'));
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request
            .body(Body::whole(json))
            .map_err(|source| DeployError::Request {
                function: function(),
                source,
            })
    }
}
