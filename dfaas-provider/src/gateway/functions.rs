//! `/system/functions`, `/system/function/{name}` and `/system/scale-function/{name}`.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};

use super::{blocking, is_read, method_not_allowed, namespace_in_query, query_value, read_json};
use crate::platform::Platform;
use crate::platform::error::FunctionError;
use crate::run::function::Function;
use crate::state::name::FunctionName;
use crate::web::body::Body;
use crate::web::reply;
use crate::wire::Status;

pub(super) async fn collection(
    platform: Arc<Platform>,
    request: Request<Incoming>,
    patience: Duration,
) -> Response<Body> {
    match *request.method() {
        Method::GET | Method::HEAD => list(&platform, &namespace_in_query(&request)),
        Method::POST => {
            change(request, patience, StatusCode::ACCEPTED, move |deployment| {
                platform.create(deployment)
            })
            .await
        }
        Method::PUT => {
            change(request, patience, StatusCode::ACCEPTED, move |deployment| {
                platform.update(deployment)
            })
            .await
        }
        Method::DELETE => {
            change(request, patience, StatusCode::ACCEPTED, move |removal| {
                platform.remove(&removal).map(|()| Vec::new())
            })
            .await
        }
        _ => method_not_allowed("GET, POST, PUT, DELETE"),
    }
}

pub(super) async fn one(platform: &Platform, name: &str, request: &Request<Incoming>) -> Response<Body> {
    if !is_read(request.method()) {
        return method_not_allowed("GET");
    }
    let namespace = query_value(request, "namespace").unwrap_or_default();
    let found = FunctionName::new(name, &namespace)
        .map_err(FunctionError::from)
        .and_then(|name| platform.get(&name));
    let function = match found {
        Ok(function) => function,
        Err(error) => return refusal(&error),
    };
    let usage = match query_value(request, "usage").as_deref() {
        Some("1" | "true") => function.usage().await,
        Some(_) | None => None,
    };
    let status = Status {
        usage,
        ..function.status()
    };
    reply::json(StatusCode::OK, &status)
}

pub(super) async fn scale(
    platform: Arc<Platform>,
    name: String,
    request: Request<Incoming>,
    patience: Duration,
) -> Response<Body> {
    if request.method() != Method::POST {
        return method_not_allowed("POST");
    }
    change(request, patience, StatusCode::ACCEPTED, move |scaling| {
        platform.scale(&name, &scaling).map(|()| Vec::new())
    })
    .await
}

fn list(platform: &Platform, namespace: &str) -> Response<Body> {
    if let Err(error) = platform.namespaces.find(namespace) {
        return reply::text(StatusCode::BAD_REQUEST, error);
    }
    let functions: Vec<Arc<Function>> = platform.in_namespace(namespace);
    let statuses: Vec<Status<'_>> = functions.iter().map(|function| function.status()).collect();
    reply::json(StatusCode::OK, &statuses)
}

async fn change<T: serde::de::DeserializeOwned + Send + 'static>(
    request: Request<Incoming>,
    patience: Duration,
    success: StatusCode,
    change: impl FnOnce(T) -> Result<Vec<String>, FunctionError> + Send + 'static,
) -> Response<Body> {
    let value = match read_json(request, patience).await {
        Ok(value) => value,
        Err(response) => return response,
    };
    blocking(move || match change(value) {
        Ok(notes) if notes.is_empty() => reply::empty(success),
        Ok(notes) => reply::text(success, format_args!("warning: {}", notes.join("\nwarning: "))),
        Err(error) => refusal(&error),
    })
    .await
}

fn refusal(error: &FunctionError) -> Response<Body> {
    reply::text(error.status(), error)
}
