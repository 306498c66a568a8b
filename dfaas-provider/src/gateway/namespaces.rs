//! `/system/namespaces` and `/system/namespace/{name}`.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};

use super::{blocking, is_read, method_not_allowed, read_json};
use crate::platform::Platform;
use crate::state::namespaces::NamespaceError;
use crate::web::body::Body;
use crate::web::reply;
use crate::wire::Namespace;

pub(super) fn list(platform: &Platform, method: &Method) -> Response<Body> {
    match is_read(method) {
        true => reply::json(StatusCode::OK, &platform.namespaces.list()),
        false => method_not_allowed("GET"),
    }
}

pub(super) async fn one(
    platform: Arc<Platform>,
    name: String,
    request: Request<Incoming>,
    patience: Duration,
) -> Response<Body> {
    match *request.method() {
        Method::GET | Method::HEAD => match platform.namespaces.find(&name) {
            Ok(namespace) => reply::json(StatusCode::OK, &namespace),
            Err(error) => refusal(&error),
        },
        Method::POST => {
            let create = move |namespace| platform.change(|| platform.namespaces.create(namespace));
            change(request, patience, name, StatusCode::CREATED, create).await
        }
        Method::PUT => {
            let update = move |namespace| platform.change(|| platform.namespaces.update(namespace));
            change(request, patience, name, StatusCode::ACCEPTED, update).await
        }
        Method::DELETE => {
            let remove = move || finish(platform.remove_namespace(&name), StatusCode::ACCEPTED);
            blocking(remove).await
        }
        _ => method_not_allowed("GET, POST, PUT, DELETE"),
    }
}

/// The name is in the body; the path may repeat it.
async fn change(
    request: Request<Incoming>,
    patience: Duration,
    path_name: String,
    success: StatusCode,
    change: impl FnOnce(Namespace) -> Result<(), NamespaceError> + Send + 'static,
) -> Response<Body> {
    let mut namespace: Namespace = match read_json(request, patience).await {
        Ok(namespace) => namespace,
        Err(response) => return response,
    };
    if namespace.name.is_empty() {
        namespace.name = path_name;
    }
    blocking(move || finish(change(namespace), success)).await
}

fn finish(result: Result<(), NamespaceError>, success: StatusCode) -> Response<Body> {
    match result {
        Ok(()) => reply::empty(success),
        Err(error) => refusal(&error),
    }
}

fn refusal(error: &NamespaceError) -> Response<Body> {
    reply::text(error.status(), error)
}
