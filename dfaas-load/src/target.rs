//! What is asked for: vegeta's JSON targets, one object a line.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hyper::{HeaderMap, Method, Uri, header::HeaderName, http::HeaderValue};
use serde::Deserialize;

/// A request that is made again and again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) method: Method,
    pub(crate) url: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A line of vegeta's JSON targets (its `lib/target.schema.json`).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    method: String,
    url: String,
    /// In base64.
    body: Option<String>,
    header: Option<BTreeMap<String, Vec<String>>>,
}

impl Target {
    /// A target of checked parts.
    ///
    /// # Errors
    ///
    /// When a part is no HTTP; the text says which.
    pub(crate) fn new(
        name: &str,
        method: &str,
        url: &str,
        headers: impl IntoIterator<Item = (String, String)>,
        body: Bytes,
    ) -> Result<Self> {
        let method: Method = method
            .parse()
            .with_context(|| format!("method {method:?} is no HTTP method"))?;
        let uri: Uri = url.parse().with_context(|| format!("url {url:?}"))?;
        ensure!(
            uri.scheme_str() == Some("http") && uri.host().is_some(),
            "url {url:?}: give an address such as http://localhost:8081/function/figlet (https is not spoken)"
        );
        let mut fields = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().with_context(|| format!("header name {name:?}"))?;
            let value: HeaderValue = value
                .parse()
                .with_context(|| format!("value {value:?} of header {name}"))?;
            fields.append(name, value);
        }
        Ok(Self {
            name: name.to_owned(),
            method,
            url: uri,
            headers: fields,
            body,
        })
    }
}

/// Reads vegeta's JSON targets.
///
/// # Errors
///
/// When a line is no target, with its number, or when there is none.
pub(crate) fn read_all(text: &str) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if !line.trim().is_empty() {
            targets.push(read(line).with_context(|| format!("line {}", index + 1))?);
        }
    }
    if targets.is_empty() {
        bail!(
            "no target; a line is such as {{\"method\": \"GET\", \"url\": \"http://localhost:8081/function/figlet\"}}"
        );
    }
    Ok(targets)
}

fn read(line: &str) -> Result<Target> {
    let line: Line = serde_json::from_str(line)?;
    let body = line.body.unwrap_or_default();
    let body = BASE64_STANDARD.decode(&body).context("body is no base64")?;
    let each =
        |(name, values): (String, Vec<String>)| values.into_iter().map(move |value| (name.clone(), value));
    let headers = line.header.unwrap_or_default().into_iter().flat_map(each);
    let path = line.url.clone();
    Target::new(&path, &line.method, &line.url, headers, body.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_request() {
        let line = r#"{"method":"POST","url":"http://localhost:8081/function/figlet","body":"SGVsbG8=","header":{"X-A":["1","2"]}}"#;
        let targets = read_all(&format!("{line}\n\n")).unwrap();
        assert_eq!(targets.len(), 1);
        assert_eq!(
            (targets[0].method.as_str(), targets[0].body.as_ref()),
            ("POST", &b"Hello"[..])
        );
        assert_eq!(targets[0].headers.get_all("x-a").iter().count(), 2);
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let good = r#"{"method":"GET","url":"http://a/"}"#;
        for (line, want) in [
            ("{", "EOF"),
            (
                r#"{"method":"GET","url":"/function/x"}"#,
                "give an address such as",
            ),
            (r#"{"method":"GET","url":"https://a/"}"#, "https is not spoken"),
            (r#"{"method":"G T","url":"http://a/"}"#, "is no HTTP method"),
            (
                r#"{"method":"GET","url":"http://a/","body":"%"}"#,
                "body is no base64",
            ),
            (
                r#"{"method":"GET","url":"http://a/","headers":{}}"#,
                "unknown field `headers`",
            ),
        ] {
            let error = format!("{:#}", read_all(&format!("{good}\n{line}")).unwrap_err());
            assert!(error.starts_with("line 2: ") && error.contains(want), "{error}");
        }
        assert!(read_all("\n").unwrap_err().to_string().starts_with("no target"));
    }
}
