//! The settings a function gives its watchdog by environment variables.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;

use crate::go_duration::{self, DurationError};
use crate::wire::Pairs;

const OUTPUT_BYTES_MAX: u64 = 64 << 20;

/// The default of every mode of the of-watchdog; the classic watchdog has none.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum SettingError {
    #[error("the variable {name} is {value:?}, not a whole number")]
    Number { name: &'static str, value: String },
    #[error("the variable {name} is {value:?}, not true or false")]
    Switch { name: &'static str, value: String },
    #[error("the variable {name}: {source}")]
    Duration {
        name: &'static str,
        source: DurationError,
    },
    #[error(
        "the variable mode is {0:?}; this node knows http, streaming, serializing, or none for a process a call"
    )]
    Mode(String),
    #[error("the variable upstream_url is {0:?}; write http://127.0.0.1:PORT, where the function listens")]
    Upstream(String),
    #[error("the variable {name} is {value:?}; write a path, as in /ready")]
    Path { name: &'static str, value: String },
    #[error("the variable content_type is {0:?}, which is no header value")]
    ContentType(String),
    #[error("the variable name {0:?} is empty or holds = or NUL; rename it")]
    VariableName(String),
    #[error("the value of the variable {0:?} holds a NUL character; remove it")]
    VariableValue(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mode {
    /// A process for each call, whose exit status is that of the answer, as under the classic watchdog.
    Classic,
    /// The same with the errors apart, as under the of-watchdog.
    Serializing,
    /// A process for each call, whose output is passed on as it comes.
    Streaming,
    /// A process that serves HTTP, at the given address or at one the platform chooses.
    Warm { upstream: Option<SocketAddr> },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) mode: Mode,
    /// Zero is no limit.
    pub(crate) exec_timeout: Duration,
    /// Zero is no limit.
    pub(crate) max_inflight: u32,
    pub(crate) output_bytes_max: u64,
    /// The platform's limit holds, if the function gives none.
    pub(crate) request_bytes_max: Option<u64>,
    pub(crate) combine_output: bool,
    pub(crate) write_debug: bool,
    pub(crate) content_type: Option<HeaderValue>,
    /// Whether a process learns of its request by variables.
    pub(crate) cgi_headers: bool,
    /// Whether the input is the whole request as JSON.
    pub(crate) marshal_request: bool,
    /// Whether a warm function gets its requests whole and with their length.
    pub(crate) buffer_request: bool,
    /// What is asked of the function to learn whether it is ready.
    pub(crate) ready_path: Option<Uri>,
}

impl Settings {
    pub(crate) fn read(variables: &Pairs) -> Result<Self, SettingError> {
        variables
            .iter()
            .try_for_each(|(name, value)| check_variable(name, value))?;
        let variables = Variables(variables);
        let mode = variables.mode()?;
        let timeout = match mode {
            Mode::Classic => Duration::ZERO,
            Mode::Serializing | Mode::Streaming | Mode::Warm { .. } => TIMEOUT,
        };
        // The of-watchdog has no such variable.
        let combine_output = mode == Mode::Classic && variables.switch("combine_output")?.unwrap_or(true);
        Ok(Self {
            mode,
            exec_timeout: variables.duration("exec_timeout")?.unwrap_or(timeout),
            max_inflight: variables.number("max_inflight")?.unwrap_or(0),
            output_bytes_max: variables.number("max_output_bytes")?.unwrap_or(OUTPUT_BYTES_MAX),
            request_bytes_max: variables.number("max_request_bytes")?,
            combine_output,
            write_debug: variables.switch("write_debug")?.unwrap_or(false),
            content_type: variables.content_type()?,
            cgi_headers: variables.switch("cgi_headers")?.unwrap_or(true),
            marshal_request: variables.switch("marshal_request")?.unwrap_or(false),
            buffer_request: variables.switch("http_buffer_req_body")?.unwrap_or(false),
            ready_path: variables.path("ready_path")?,
        })
    }
}

fn check_variable(name: &str, value: &str) -> Result<(), SettingError> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(SettingError::VariableName(name.to_owned()));
    }
    match value.contains('\0') {
        true => Err(SettingError::VariableValue(name.to_owned())),
        false => Ok(()),
    }
}

struct Variables<'a>(&'a Pairs);

impl Variables<'_> {
    /// An empty variable counts as none, as in the watchdogs.
    fn text(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    fn number<T: std::str::FromStr>(&self, name: &'static str) -> Result<Option<T>, SettingError> {
        let parse = |value: &str| {
            value.parse().map_err(|_| SettingError::Number {
                name,
                value: value.to_owned(),
            })
        };
        self.text(name).map(parse).transpose()
    }

    fn switch(&self, name: &'static str) -> Result<Option<bool>, SettingError> {
        match self.text(name) {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(value) => Err(SettingError::Switch {
                name,
                value: value.to_owned(),
            }),
        }
    }

    fn duration(&self, name: &'static str) -> Result<Option<Duration>, SettingError> {
        let parsed = self.text(name).map(go_duration::parse).transpose();
        parsed.map_err(|source| SettingError::Duration { name, source })
    }

    fn content_type(&self) -> Result<Option<HeaderValue>, SettingError> {
        let parse = |value: &str| {
            HeaderValue::from_str(value).map_err(|_| SettingError::ContentType(value.to_owned()))
        };
        self.text("content_type").map(parse).transpose()
    }

    fn path(&self, name: &'static str) -> Result<Option<Uri>, SettingError> {
        let parse = |value: &str| {
            let uri = value.parse().ok().filter(|_| value.starts_with('/'));
            uri.ok_or_else(|| SettingError::Path {
                name,
                value: value.to_owned(),
            })
        };
        self.text(name).map(parse).transpose()
    }

    fn mode(&self) -> Result<Mode, SettingError> {
        match self.text("mode") {
            None => Ok(Mode::Classic),
            Some("serializing") => Ok(Mode::Serializing),
            Some("streaming") => Ok(Mode::Streaming),
            Some("http") => Ok(Mode::Warm {
                upstream: self.upstream()?,
            }),
            Some(mode) => Err(SettingError::Mode(mode.to_owned())),
        }
    }

    fn upstream(&self) -> Result<Option<SocketAddr>, SettingError> {
        if let Some(url) = self
            .text("http_upstream_url")
            .or_else(|| self.text("upstream_url"))
        {
            return address(url)
                .map(Some)
                .ok_or_else(|| SettingError::Upstream(url.to_owned()));
        }
        let port: Option<u16> = self.number("port")?;
        Ok(port.map(|port| ([127, 0, 0, 1], port).into()))
    }
}

fn address(url: &str) -> Option<SocketAddr> {
    let uri: Uri = url.parse().ok()?;
    if uri.scheme_str() != Some("http") {
        return None;
    }
    let host = match uri.host()? {
        "localhost" => "127.0.0.1",
        host => host.trim_start_matches('[').trim_end_matches(']'),
    };
    // A process of this node listens nowhere else, and callers must not reach other hosts through it.
    let ip: IpAddr = host.parse().ok().filter(IpAddr::is_loopback)?;
    Some(SocketAddr::new(ip, uri.port_u16().unwrap_or(80)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_given_is_the_classic_watchdog() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.mode, Mode::Classic);
        assert_eq!(
            (settings.exec_timeout, settings.max_inflight),
            (Duration::ZERO, 0)
        );
        assert!(settings.combine_output);
    }

    #[test]
    fn http_mode_has_a_timeout_of_its_own() {
        let settings = read(&[("mode", "http")]).unwrap();
        assert_eq!(settings.mode, Mode::Warm { upstream: None });
        assert_eq!(settings.exec_timeout, TIMEOUT);
    }

    #[test]
    fn the_upstream_is_a_url_or_a_port() {
        check_upstream("upstream_url", "http://127.0.0.1:8082", "127.0.0.1:8082");
        check_upstream("upstream_url", "http://localhost:3000/", "127.0.0.1:3000");
        check_upstream("http_upstream_url", "http://[::1]:3000", "[::1]:3000");
        check_upstream("port", "8081", "127.0.0.1:8081");
        for url in [
            "https://127.0.0.1:1",
            "127.0.0.1:1",
            "http://example.com:1",
            "http://192.0.2.1:1",
            "x",
        ] {
            let error = read(&[("mode", "http"), ("upstream_url", url)]).unwrap_err();
            assert_eq!(error, SettingError::Upstream(url.to_owned()));
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        for (name, value) in [
            ("exec_timeout", "soon"),
            ("max_inflight", "-1"),
            ("max_output_bytes", "1MiB"),
            ("combine_output", "yes"),
            ("mode", "static"),
            ("content_type", "a\nb"),
            ("", "x"),
            ("a=b", "x"),
            ("x", "a\0b"),
        ] {
            assert!(read(&[(name, value)]).is_err(), "{name}={value:?}");
        }
    }

    #[track_caller]
    fn check_upstream(name: &str, value: &str, want: &str) {
        let mode = read(&[("mode", "http"), (name, value)]).unwrap().mode;
        assert_eq!(
            mode,
            Mode::Warm {
                upstream: Some(want.parse().unwrap())
            }
        );
    }

    fn read(variables: &[(&str, &str)]) -> Result<Settings, SettingError> {
        let pairs = variables
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Settings::read(&pairs)
    }
}
