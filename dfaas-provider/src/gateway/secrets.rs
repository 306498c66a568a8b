//! `/system/secrets`.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};

use super::{blocking, method_not_allowed, namespace_in_query, read_json};
use crate::platform::Platform;
use crate::state::secrets::{SecretError, Secrets};
use crate::web::body::Body;
use crate::web::reply;
use crate::wire::Secret;

type Change = fn(&Secrets, &Secret) -> Result<(), SecretError>;

pub(super) async fn collection(
    platform: Arc<Platform>,
    request: Request<Incoming>,
    patience: Duration,
) -> Response<Body> {
    match *request.method() {
        Method::GET | Method::HEAD => list(&platform, &namespace_in_query(&request)),
        Method::POST => change(platform, request, patience, StatusCode::CREATED, Secrets::create).await,
        Method::PUT => change(platform, request, patience, StatusCode::OK, Secrets::update).await,
        Method::DELETE => change(platform, request, patience, StatusCode::OK, Secrets::remove).await,
        _ => method_not_allowed("GET, POST, PUT, DELETE"),
    }
}

fn list(platform: &Platform, namespace: &str) -> Response<Body> {
    if let Err(error) = platform.namespaces.find(namespace) {
        return reply::text(StatusCode::BAD_REQUEST, error);
    }
    match platform.secrets.list(namespace) {
        Ok(names) => reply::json(StatusCode::OK, &names),
        Err(error) => reply::text(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

async fn change(
    platform: Arc<Platform>,
    request: Request<Incoming>,
    patience: Duration,
    success: StatusCode,
    change: Change,
) -> Response<Body> {
    let secret: Secret = match read_json(request, patience).await {
        Ok(secret) => secret,
        Err(response) => return response,
    };
    let namespace = super::or_default(&secret.namespace);
    if let Err(error) = platform.namespaces.find(namespace) {
        return reply::text(StatusCode::BAD_REQUEST, error);
    }
    blocking(move || {
        match platform.change(|| {
            change(&platform.secrets, &secret)?;
            let namespace = super::or_default(&secret.namespace);
            Ok::<_, SecretError>(platform.spread_secret(namespace, &secret.name)?)
        }) {
            Ok(()) => reply::empty(success),
            Err(error) => reply::text(error.status(), error),
        }
    })
    .await
}
