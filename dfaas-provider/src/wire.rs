//! The JSON of the OpenFaaS API. Absent is absent and never `null`, as Go's `omitempty` has it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::run::usage::Usage;

pub(crate) type Pairs = BTreeMap<String, String>;

/// What a client asks to run: the body of `POST` and `PUT /system/functions`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Deployment {
    #[serde(deserialize_with = "or_default")]
    pub service: String,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub image: String,
    #[serde(deserialize_with = "or_default")]
    pub namespace: String,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub env_process: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "pairs")]
    pub env_vars: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub constraints: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub secrets: Vec<String>,
    #[serde(deserialize_with = "pairs")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "pairs")]
    pub annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_pairs")]
    pub limits: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_pairs")]
    pub requests: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "is_false", deserialize_with = "or_default")]
    pub read_only_root_filesystem: bool,
}

/// What runs: an element of `GET /system/functions`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status<'a> {
    pub(crate) name: &'a str,
    pub(crate) image: &'a str,
    pub(crate) namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) env_process: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) env_vars: &'a Pairs,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(crate) constraints: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(crate) secrets: &'a [String],
    pub(crate) labels: &'a Pairs,
    pub(crate) annotations: Cow<'a, Pairs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limits: &'a Option<Pairs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requests: &'a Option<Pairs>,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) read_only_root_filesystem: bool,
    pub(crate) invocation_count: u64,
    pub(crate) replicas: u32,
    pub(crate) available_replicas: u32,
    pub(crate) created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Usage>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Removal {
    #[serde(deserialize_with = "or_default")]
    pub(crate) function_name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) namespace: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Scaling {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) service_name: String,
    pub(crate) replicas: u32,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) namespace: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Secret {
    #[serde(deserialize_with = "or_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) namespace: String,
    pub(crate) value: Option<String>,
    pub(crate) raw_value: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct SecretName {
    pub(crate) name: String,
    pub(crate) namespace: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Namespace {
    #[serde(deserialize_with = "or_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "pairs")]
    pub(crate) annotations: Pairs,
    #[serde(deserialize_with = "pairs")]
    pub(crate) labels: Pairs,
}

/// A line of `GET /system/logs`.
#[derive(Debug, Serialize)]
pub(crate) struct LogMessage<'a> {
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) instance: &'a str,
    pub(crate) timestamp: Timestamp,
    pub(crate) text: &'a str,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Go writes an empty map as `null`.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A value that is `null` is absent.
fn pairs<'de, D: Deserializer<'de>>(from: D) -> Result<Pairs, D::Error> {
    Ok(some_pairs(from)?.unwrap_or_default())
}

fn some_pairs<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Pairs>, D::Error> {
    let pairs: Option<BTreeMap<String, Option<String>>> = Option::deserialize(from)?;
    let given = |pairs: BTreeMap<String, Option<String>>| {
        pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    };
    Ok(pairs.map(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_collections_are_empty() {
        let text = r#"{"service":"x","labels":null,"annotations":null,"envVars":null,"secrets":null,
                "limits":null,"requests":null,"namespace":null,"image":null,"constraints":null,
                "readOnlyRootFilesystem":null}"#;
        let deployment: Deployment = serde_json::from_str(text).unwrap();
        assert_eq!(
            deployment,
            Deployment {
                service: "x".to_owned(),
                ..Deployment::default()
            }
        );
    }

    #[test]
    fn null_values_are_absent() {
        let text = r#"{"service":"x","labels":{"a":null,"b":"c"},"limits":{"memory":null,"cpu":"1"}}"#;
        let deployment: Deployment = serde_json::from_str(text).unwrap();
        assert_eq!(deployment.labels, Pairs::from([("b".to_owned(), "c".to_owned())]));
        assert_eq!(
            deployment.limits,
            Some(Pairs::from([("cpu".to_owned(), "1".to_owned())]))
        );
    }

    #[test]
    fn labels_are_objects_even_if_empty() {
        let value = serde_json::to_value(Deployment::default()).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"service": "", "namespace": "", "labels": {}, "annotations": {}})
        );
    }
}
