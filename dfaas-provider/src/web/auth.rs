//! Basic authentication of the `/system` paths.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use subtle::ConstantTimeEq;

use crate::web::body::Body;
use crate::web::reply;

#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error("read the basic auth {what} from {path}: {source}; give a readable file, or none of the two", path = path.display())]
    Unreadable {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the basic auth {what} file {path} is empty; write the {what} into it", path = path.display())]
    Empty { what: &'static str, path: PathBuf },
}

/// The user and the password a client must present.
#[derive(Clone)]
pub struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// Reads both from files, without the white space around them.
    ///
    /// # Errors
    /// If a file cannot be read or holds nothing.
    pub fn read(user_file: &Path, password_file: &Path) -> Result<Self, CredentialsError> {
        Ok(Self {
            user: read("user", user_file)?,
            password: read("password", password_file)?,
        })
    }

    /// The header a client sends.
    pub(crate) fn header(&self) -> String {
        format!(
            "Basic {}",
            BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password))
        )
    }

    pub(crate) fn accept(&self, headers: &HeaderMap) -> bool {
        let Some((user, password)) = headers.get(AUTHORIZATION).and_then(presented) else {
            return false;
        };
        let user = user.as_bytes().ct_eq(self.user.as_bytes());
        let password = password.as_bytes().ct_eq(self.password.as_bytes());
        (user & password).into()
    }
}

fn read(what: &'static str, path: &Path) -> Result<String, CredentialsError> {
    let text = fs::read_to_string(path).map_err(|source| CredentialsError::Unreadable {
        what,
        path: path.to_owned(),
        source,
    })?;
    match text.trim() {
        "" => Err(CredentialsError::Empty {
            what,
            path: path.to_owned(),
        }),
        text => Ok(text.to_owned()),
    }
}

fn presented(value: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The answer to a request without valid credentials, word for word what `faas-cli` knows.
pub(crate) fn refusal() -> Response<Body> {
    let mut response = reply::typed(
        StatusCode::UNAUTHORIZED,
        HeaderValue::from_static("text/plain; charset=utf-8"),
        "invalid credentials",
    );
    response.headers_mut().insert(
        WWW_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"Restricted\""),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_pair_is_accepted() {
        check("Basic YWRtaW46c2VjcmV0", true); // admin:secret
        check("basic YWRtaW46c2VjcmV0", true);
        check("Basic YWRtaW46c2VjcmV0cw==", false); // admin:secrets
        check("Basic YWRtaW5zOnNlY3JldA==", false); // admins:secret
        check("Basic YWRtaW4=", false); // admin
        check("Basic ", false);
        check("Bearer ", false);
        check("Bearer YWRtaW46c2VjcmV0", false);
        check("Basic !!!", false);
        check("", false);
    }

    #[test]
    fn no_header_is_refused() {
        assert!(!credentials().accept(&HeaderMap::new()));
    }

    #[track_caller]
    fn check(header: &'static str, want: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static(header));
        assert_eq!(credentials().accept(&headers), want, "{header:?}");
    }

    fn credentials() -> Credentials {
        Credentials {
            user: "admin".to_owned(),
            password: "secret".to_owned(),
        }
    }
}
