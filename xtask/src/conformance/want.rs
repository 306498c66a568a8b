//! What an answer must be, and where it is not.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

/// Any value of a header, but it must be there.
const ANY: &str = "*";
/// A header that must not be there.
const NONE: &str = "!";

/// What is wanted of an answer, or of a program that ended.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Want {
    /// The status code.
    pub(crate) status: Option<u16>,
    /// The exit code of a program.
    pub(crate) exit: Option<i32>,
    /// The whole body.
    pub(crate) text: Option<String>,
    /// How many bytes the body has.
    pub(crate) size: Option<usize>,
    /// Parts of the body, or of what a program wrote.
    pub(crate) holds: Vec<String>,
    /// What is no part of it.
    pub(crate) lacks: Vec<String>,
    /// Headers: their value, `*` for any, `!` for none.
    pub(crate) headers: BTreeMap<String, String>,
    /// The body as JSON; objects may have more.
    pub(crate) json: Option<Value>,
    /// The longest that it may take, in milliseconds.
    pub(crate) within_ms: Option<u64>,
    /// The shortest that it may take.
    pub(crate) at_least_ms: Option<u64>,
}

/// What came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Got {
    /// The status or exit code.
    pub(crate) code: i32,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) took_ms: u64,
}

impl Want {
    /// Whether anything can fall short of it.
    pub(crate) fn says_something(&self) -> bool {
        self.status.is_some()
            || self.exit.is_some()
            || self.text.is_some()
            || self.size.is_some()
            || self.json.is_some()
            || !(self.holds.is_empty() && self.lacks.is_empty() && self.headers.is_empty())
    }

    /// Checks what came.
    ///
    /// # Errors
    ///
    /// When it is not what is wanted; the error says what it is instead.
    pub(crate) fn check(&self, got: &Got, fill: impl Fn(&str) -> String) -> Result<()> {
        let body = String::from_utf8_lossy(&got.body);
        let shown: String = body.chars().take(400).collect();
        if let Some(code) = self.status.map(i32::from).or(self.exit) {
            ensure!(
                got.code == code,
                "the code is {}, not {code}: {shown:?}",
                got.code
            );
        }
        if let Some(text) = &self.text {
            let text = fill(text);
            ensure!(body == text, "the body is {shown:?}, not {text:?}");
        }
        if let Some(size) = self.size {
            let bytes = got.body.len();
            ensure!(bytes == size, "the body has {bytes} bytes, not {size}: {shown:?}");
        }
        for part in self.holds.iter().map(|part| fill(part)) {
            ensure!(body.contains(&part), "{part:?} is not in {shown:?}");
        }
        for part in self.lacks.iter().map(|part| fill(part)) {
            ensure!(!body.contains(&part), "{part:?} is in {shown:?}");
        }
        self.check_headers(got, &fill)?;
        if let Some(json) = &self.json {
            let wanted = serde_json::from_str(&fill(&json.to_string()))?;
            let found = serde_json::from_slice(&got.body).unwrap_or(Value::Null);
            ensure!(is_within(&wanted, &found), "the body is {shown:?}, not {wanted}");
        }
        if let Some(at_most) = self.within_ms {
            ensure!(
                got.took_ms <= at_most,
                "it took {} ms, more than {at_most}",
                got.took_ms
            );
        }
        if let Some(at_least) = self.at_least_ms {
            ensure!(
                got.took_ms >= at_least,
                "it took {} ms, less than {at_least}",
                got.took_ms
            );
        }
        Ok(())
    }

    fn check_headers(&self, got: &Got, fill: impl Fn(&str) -> String) -> Result<()> {
        for (name, value) in &self.headers {
            let found = got.header(name);
            match (value.as_str(), found) {
                (NONE, None) | (ANY, Some(_)) => {}
                (NONE, Some(found)) => bail!("there is a header {name}: {found:?}"),
                (ANY, None) => bail!("there is no header {name}"),
                (value, found) => {
                    let value = fill(value);
                    ensure!(
                        found == Some(value.as_str()),
                        "the header {name} is {found:?}, not {value:?}"
                    );
                }
            }
        }
        Ok(())
    }
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Whether all that is wanted is there: of an object its keys, of an array all elements in their order.
fn is_within(want: &Value, got: &Value) -> bool {
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => want
            .iter()
            .all(|(key, value)| got.get(key).is_some_and(|found| is_within(value, found))),
        (Value::Array(want), Value::Array(got)) => {
            want.len() == got.len() && want.iter().zip(got).all(|(want, got)| is_within(want, got))
        }
        (Value::Number(want), Value::Number(got)) => want.as_f64() == got.as_f64(),
        (want, got) => want == got,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_is_wanted() {
        let got = got(500, &[("Content-Type", "text/plain")], "exit status 3\n{}");
        check("status = 500", &got, Ok(()));
        check("status = 200", &got, Err("the code is 500, not 200"));
        check("holds = ['status 3']", &got, Ok(()));
        check("holds = ['status 4']", &got, Err("is not in"));
        check("lacks = ['status 3']", &got, Err("is in"));
        check("text = 'x'", &got, Err("the body is"));
        check("size = 15", &got, Err("the body has 16 bytes"));
        check("headers = {content-type = '*', x = '!'}", &got, Ok(()));
        check(
            "headers = {content-type = 'text/html'}",
            &got,
            Err("not \"text/html\""),
        );
        check("headers = {x = '*'}", &got, Err("no header x"));
        check("headers = {content-type = '!'}", &got, Err("there is a header"));
        check("within_ms = 6", &got, Err("it took 7 ms, more than 6"));
        check("at_least_ms = 8", &got, Err("it took 7 ms, less than 8"));
    }

    #[test]
    fn an_object_may_have_more() {
        let got = got(200, &[], r#"[{"name": "f", "replicas": 1.0, "labels": {}}]"#);
        check("json = [{name = 'f', replicas = 1}]", &got, Ok(()));
        check("json = []", &got, Err("not []"));
        check("json = [{name = 'g'}]", &got, Err("not"));
        check("json = [{label = {}}]", &got, Err("not"));
    }

    fn got(code: i32, headers: &[(&str, &str)], body: &str) -> Got {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Got {
            code,
            headers: headers.collect(),
            body: body.into(),
            took_ms: 7,
        }
    }

    #[track_caller]
    fn check(want: &str, got: &Got, expected: Result<(), &str>) {
        let want: Want = toml::from_str(want).unwrap();
        match (want.check(got, str::to_owned), expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (came, expected) => panic!("{came:?}, not {expected:?}"),
        }
    }
}
