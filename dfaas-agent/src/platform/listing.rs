//! What a gateway's list of functions says.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
};

use dfaas_control::{FunctionName, FunctionSpec, LabelError, NameError, Settings};
use serde::Deserialize;

/// A gateway is asked once for each, each period.
const NAMESPACES_MAX: usize = 64;
const DEFAULT_NAMESPACE: &str = "openfaas-fn";
/// Functions with this label are started by their first request.
const SCALE_ZERO_LABEL: &str = "com.openfaas.scale.zero";

/// A function as `GET /system/functions` lists it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    available_replicas: Option<u64>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// What a person should know about a listed function.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Complaint {
    Name(NameError),
    Label(LabelError),
}

impl Display for Complaint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => write!(f, "Leaving out a function: {error}"),
            Self::Label(error) => write!(f, "Taking the default capacity: {error}"),
        }
    }
}

/// Reads the gateway's answer about a namespace, or about the default one. A gateway written in Go says `null` where there is no
/// function.
pub(super) fn read(body: &[u8], namespace: Option<&str>) -> Result<Vec<Entry>, serde_json::Error> {
    let mut entries = serde_json::from_slice::<Option<Vec<Entry>>>(body)?.unwrap_or_default();
    if let Some(namespace) = namespace {
        for entry in &mut entries {
            entry.namespace.get_or_insert_with(|| namespace.to_owned());
        }
    }
    Ok(entries)
}

/// Reads the gateway's list of namespaces: those beside the default one, whose names can stand in a URL.
pub(super) fn namespaces(body: &[u8]) -> Vec<String> {
    let all = serde_json::from_slice::<Option<Vec<String>>>(body).unwrap_or_default();
    let is_label = |name: &String| {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !name.is_empty() && name.bytes().all(is_plain)
    };
    let others = all.unwrap_or_default().into_iter();
    others
        .filter(|name| name != DEFAULT_NAMESPACE && is_label(name))
        .take(NAMESPACES_MAX)
        .collect()
}

/// The functions that are ready, and what to complain about, by the name as listed.
pub(super) fn specs(
    entries: &[Entry],
    settings: &Settings,
) -> (BTreeMap<FunctionName, FunctionSpec>, BTreeMap<String, Complaint>) {
    let mut specs = BTreeMap::new();
    let mut complaints = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.is_ready()) {
        let name = match FunctionName::new(entry.full_name()) {
            Ok(name) => name,
            Err(error) => {
                complaints.insert(entry.name.clone(), Complaint::Name(error));
                continue;
            }
        };
        let none = BTreeMap::new();
        let (spec, error) = settings.function_spec(entry.labels.as_ref().unwrap_or(&none));
        if let Some(error) = error {
            complaints.insert(entry.name.clone(), Complaint::Label(error));
        }
        specs.insert(name, spec);
    }
    (specs, complaints)
}

impl Entry {
    fn is_ready(&self) -> bool {
        let scales_from_zero = self
            .labels
            .as_ref()
            .and_then(|labels| labels.get(SCALE_ZERO_LABEL));
        self.available_replicas.unwrap_or_default() > 0
            || scales_from_zero.is_some_and(|value| value == "true")
    }

    /// The name as it stands in a request's path, without the default namespace.
    fn full_name(&self) -> String {
        let name = self
            .name
            .strip_suffix(DEFAULT_NAMESPACE)
            .and_then(|name| name.strip_suffix('.'));
        let name = name.unwrap_or(&self.name);
        match self.namespace.as_deref() {
            None | Some("" | DEFAULT_NAMESPACE) => name.to_owned(),
            Some(namespace) if name.ends_with(&format!(".{namespace}")) => name.to_owned(),
            Some(namespace) => format!("{name}.{namespace}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_namespace_is_left_out_of_names() {
        check_name("figlet", None, "figlet");
        check_name("figlet.openfaas-fn", None, "figlet");
        check_name("figlet", Some("openfaas-fn"), "figlet");
        check_name("figlet", Some("dev"), "figlet.dev");
        check_name("figlet.dev", Some("dev"), "figlet.dev");
        check_name("openfaas-fn", Some(""), "openfaas-fn");
    }

    #[test]
    fn only_functions_that_can_answer_are_ready() {
        check_ready(r#"{"name": "f", "availableReplicas": 1}"#, true);
        check_ready(r#"{"name": "f", "availableReplicas": 0}"#, false);
        check_ready(r#"{"name": "f", "labels": null}"#, false);
        check_ready(
            r#"{"name": "f", "labels": {"com.openfaas.scale.zero": "true"}}"#,
            true,
        );
        check_ready(
            r#"{"name": "f", "labels": {"com.openfaas.scale.zero": "false"}}"#,
            false,
        );
    }

    #[test]
    fn no_functions_may_be_null() {
        assert!(read(b"null", None).unwrap().is_empty());
        assert!(read(b"[]", None).unwrap().is_empty());
        assert!(read(b"{}", None).is_err());
        assert!(read(b"", None).is_err());
        assert!(namespaces(b"null").is_empty() && namespaces(b"<html>").is_empty());
    }

    #[track_caller]
    fn check_name(name: &str, namespace: Option<&str>, want: &str) {
        let namespace = namespace.map(str::to_owned);
        let entry = Entry {
            name: name.to_owned(),
            namespace,
            ..Entry::default()
        };
        assert_eq!(entry.full_name(), want);
    }

    #[track_caller]
    fn check_ready(json: &str, want: bool) {
        let entry: Entry = serde_json::from_str(json).unwrap();
        assert_eq!(entry.is_ready(), want, "{json}");
    }
}
