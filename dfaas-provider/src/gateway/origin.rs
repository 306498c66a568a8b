//! Who may use `/system`: no page of another site that a browser of this host shows.

use std::net::IpAddr;

use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::http::uri::Authority;
use hyper::{Response, StatusCode, Uri};

use crate::web::body::Body;
use crate::web::reply;

/// Browsers send it with every request of a page, and pages cannot change it.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The types that a form of any site may send without being asked first; the last one is also curl's default.
const FORM_TYPES: [&str; 3] = [
    "text/plain",
    "multipart/form-data",
    "application/x-www-form-urlencoded",
];

#[derive(Debug, PartialEq, thiserror::Error)]
enum Refusal {
    #[error("a page of {0} may not use this gateway")]
    Origin(String),
    #[error(
        "{0:?} is no name of this host: a page may have led its own name here; use an address, or set credentials"
    )]
    Host(String),
    #[error("the body is {0:?}; send application/json")]
    Type(String),
}

/// Refuses what a browser was led to send. With credentials, a name that was led here gets nowhere.
pub(super) fn check(headers: &HeaderMap, has_credentials: bool) -> Option<Response<Body>> {
    let refusal = try_check(headers, has_credentials).err()?;
    let status = match refusal {
        Refusal::Origin(_) | Refusal::Host(_) => StatusCode::FORBIDDEN,
        Refusal::Type(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
    };
    Some(reply::text(status, refusal))
}

fn try_check(headers: &HeaderMap, has_credentials: bool) -> Result<(), Refusal> {
    let text = |name: &HeaderName| {
        headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
    };
    let host = text(&HOST).unwrap_or_default();
    if let Some(origin) = text(&ORIGIN) {
        let same = origin.parse::<Uri>().is_ok_and(|uri| {
            uri.authority()
                .is_some_and(|authority| authority.as_str().eq_ignore_ascii_case(&host))
        });
        if !same {
            return Err(Refusal::Origin(origin.into_owned()));
        }
    }
    if !has_credentials && !is_local(&host) {
        return Err(Refusal::Host(host.into_owned()));
    }
    let from_page = headers.contains_key(FETCH_SITE);
    let content_type = text(&CONTENT_TYPE).unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let [plain, form_data, encoded] = FORM_TYPES;
    match kind.eq_ignore_ascii_case(plain)
        || kind.eq_ignore_ascii_case(form_data)
        || kind.eq_ignore_ascii_case(encoded) && from_page
    {
        true => Err(Refusal::Type(kind.to_owned())),
        false => Ok(()),
    }
}

/// Whether only this host or its administrator can have made the name: an address, a name without a domain, or the
/// host's own. Public names can be led to any address.
fn is_local(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return host.is_empty();
    };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let private = [".local", ".internal", ".lan", ".localhost", ".home.arpa"];
    name.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || name.eq_ignore_ascii_case(&crate::host_name())
        || private.iter().any(|end| name.to_ascii_lowercase().ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_sites_are_refused() {
        check("127.0.0.1:8080", &[(ORIGIN, "http://evil.example")], Some(403));
        check("127.0.0.1:8080", &[(ORIGIN, "null")], Some(403));
        check("127.0.0.1:8080", &[(ORIGIN, "http://127.0.0.1:8080")], None);
        check("evil.example", &[], Some(403));
        check(
            "evil.example:8080",
            &[(ORIGIN, "http://evil.example:8080")],
            Some(403),
        );
    }

    #[test]
    fn names_of_this_host_are_not() {
        for host in [
            "",
            "localhost:8080",
            "node-1",
            "[::1]:8080",
            "10.0.0.1",
            "a.local",
        ] {
            check(host, &[], None);
        }
    }

    #[test]
    fn forms_are_refused() {
        check("x", &[(CONTENT_TYPE, "text/plain;charset=UTF-8")], Some(415));
        check(
            "x",
            &[(CONTENT_TYPE, "multipart/form-data; boundary=x")],
            Some(415),
        );
        check("x", &[(CONTENT_TYPE, "application/json")], None);
        let form = (CONTENT_TYPE, "application/x-www-form-urlencoded");
        check("x", std::slice::from_ref(&form), None);
        check("x", &[form, (FETCH_SITE, "cross-site")], Some(415));
    }

    #[track_caller]
    fn check(host: &str, headers: &[(HeaderName, &str)], want: Option<u16>) {
        let mut map = HeaderMap::new();
        map.insert(HOST, host.parse().unwrap());
        for (name, value) in headers {
            map.insert(name, value.parse().unwrap());
        }
        let got = super::check(&map, false).map(|response| response.status().as_u16());
        assert_eq!(got, want, "{host} {headers:?}");
    }
}
