//! The page that people open first: what runs here.

use hyper::header::{HeaderValue, LOCATION};
use hyper::{Response, StatusCode};

use crate::platform::Platform;
use crate::web::body::Body;
use crate::web::reply;

pub(super) const PATH: &str = "/ui/";

pub(super) fn redirect() -> Response<Body> {
    let mut response = reply::empty(StatusCode::TEMPORARY_REDIRECT);
    response
        .headers_mut()
        .insert(LOCATION, HeaderValue::from_static(PATH));
    response
}

/// Names and numbers need no escape; images and processes, which do, are left to `faas-cli describe`.
pub(super) fn show(platform: &Platform) -> Response<Body> {
    let rows = platform.all().iter().fold(String::new(), |rows, function| {
        let status = function.status();
        let name = function.name();
        rows + &format!(
            "<tr><td><a href=\"/function/{name}\">{name}</a><td>{}<td>{}<td>{}\n",
            status.available_replicas, status.replicas, status.invocation_count
        )
    });
    let page = format!(
        "<!DOCTYPE html><meta charset=\"utf-8\"><title>Functions</title>\
         <style>body{{font-family:sans-serif;margin:2em}}td,th{{padding:.2em 1em;text-align:left}}</style>\
         <h1>Functions of this node</h1>\n\
         <table><tr><th>Function<th>Available<th>Replicas<th>Calls\n{rows}</table>\n"
    );
    reply::typed(
        StatusCode::OK,
        HeaderValue::from_static("text/html; charset=utf-8"),
        page,
    )
}
