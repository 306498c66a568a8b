//! Reads an OpenFaaS `stack.yaml`.

mod pairs;
mod substitution;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tracing::warn;

use self::pairs::{MERGE, MergedPairs, OneOrMany};
use self::substitution::SubstitutionError;
use crate::wire::{Deployment, Pairs};

/// What `faas-cli` knows of a function; a key that is not among them is most likely a slip of the pen.
const FUNCTION_KEYS: [&str; 25] = [
    MERGE,
    "annotations",
    "build_args",
    "build_options",
    "build_secrets",
    "constraints",
    "copy",
    "environment",
    "environment_file",
    "fprocess",
    "handler",
    "image",
    "labels",
    "lang",
    "language",
    "limits",
    "name",
    "namespace",
    "platforms",
    "publish",
    "readonly_root_filesystem",
    "registry",
    "requests",
    "secrets",
    "skip_build",
];

/// The gateway that every stack is generated with, which says nothing.
const USUAL_GATEWAY: &str = "http://127.0.0.1:8080";

#[derive(Debug, thiserror::Error)]
pub enum StackError {
    #[error("read the stack {path}: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the stack {path} is not as expected: {source}", path = path.display())]
    Yaml {
        path: PathBuf,
        source: serde_norway::Error,
    },
    #[error("the stack {path}: {source}", path = path.display())]
    Substitution {
        path: PathBuf,
        source: SubstitutionError,
    },
    #[error("the stack {path} is for the provider {name:?}; write provider.name: openfaas", path = path.display())]
    Provider { path: PathBuf, name: String },
    #[error("read the environment file {path} of the function {function}: {source}", path = path.display())]
    EnvironmentFile {
        path: PathBuf,
        function: String,
        source: io::Error,
    },
}

#[derive(Deserialize)]
struct Stack {
    #[serde(default)]
    provider: Provider,
    #[serde(default)]
    functions: BTreeMap<String, Function>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Provider {
    name: String,
    gateway: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Function {
    #[serde(rename = "<<")]
    merged: Option<OneOrMany<Box<Function>>>,
    image: Option<String>,
    fprocess: Option<String>,
    namespace: Option<String>,
    environment: Option<MergedPairs>,
    environment_file: Option<Vec<PathBuf>>,
    labels: Option<MergedPairs>,
    annotations: Option<MergedPairs>,
    secrets: Option<Vec<String>>,
    constraints: Option<Vec<String>>,
    limits: Option<MergedPairs>,
    requests: Option<MergedPairs>,
    readonly_root_filesystem: Option<bool>,
}

impl Function {
    /// Takes what its merge key holds for what it does not say itself.
    fn merge(mut self) -> Self {
        let merged = self.merged.take().map_or_else(Vec::new, OneOrMany::into_vec);
        for other in merged.into_iter().map(|other| other.merge()) {
            self = Self {
                merged: None,
                image: self.image.or(other.image),
                fprocess: self.fprocess.or(other.fprocess),
                namespace: self.namespace.or(other.namespace),
                environment: self.environment.or(other.environment),
                environment_file: self.environment_file.or(other.environment_file),
                labels: self.labels.or(other.labels),
                annotations: self.annotations.or(other.annotations),
                secrets: self.secrets.or(other.secrets),
                constraints: self.constraints.or(other.constraints),
                limits: self.limits.or(other.limits),
                requests: self.requests.or(other.requests),
                readonly_root_filesystem: self.readonly_root_filesystem.or(other.readonly_root_filesystem),
            };
        }
        self
    }
}

#[derive(Deserialize)]
struct EnvironmentFile {
    #[serde(default)]
    environment: MergedPairs,
}

/// Reads the functions of a stack file, in the order of their names.
///
/// # Errors
/// If the file, or an environment file it names, cannot be read or is not a stack.
pub fn read(path: &Path) -> Result<Vec<Deployment>, StackError> {
    let text = text_of(path)?;
    let stack: Stack = yaml(path, &text)?;
    if !matches!(stack.provider.name.as_str(), "" | "openfaas" | "faas") {
        return Err(StackError::Provider {
            path: path.to_owned(),
            name: stack.provider.name,
        });
    }
    for (function, key) in unknown_keys(&text) {
        warn!(path = %path.display(), function, key, "Ignored a key of the stack that has no meaning");
    }
    stack
        .functions
        .into_iter()
        .map(|(name, function)| deployment(path, name, function))
        .collect()
}

/// Reads which gateway a stack is for, if it is not the usual one.
///
/// # Errors
/// If the file cannot be read or is not a stack.
pub fn read_gateway(path: &Path) -> Result<Option<String>, StackError> {
    let stack: Stack = yaml(path, &text_of(path)?)?;
    let gateway = stack.provider.gateway.trim_end_matches('/').to_lowercase();
    Ok((!gateway.is_empty() && gateway != USUAL_GATEWAY).then_some(gateway))
}

fn text_of(path: &Path) -> Result<String, StackError> {
    let text = fs::read_to_string(path).map_err(|source| StackError::Read {
        path: path.to_owned(),
        source,
    })?;
    let variable = |name: &str| std::env::var(name).ok();
    substitution::substitute(&text, variable).map_err(|source| StackError::Substitution {
        path: path.to_owned(),
        source,
    })
}

fn deployment(path: &Path, name: String, function: Function) -> Result<Deployment, StackError> {
    let function = function.merge();
    let pairs = |pairs: Option<MergedPairs>| pairs.unwrap_or_default().0;
    // As with faas-cli, what a file says wins.
    let mut env_vars = pairs(function.environment);
    for file in function.environment_file.unwrap_or_default() {
        env_vars.extend(environment(&environment_path(path, file), &name)?);
    }
    Ok(Deployment {
        service: name,
        image: tagged(function.image.unwrap_or_default()),
        namespace: function.namespace.unwrap_or_default(),
        env_process: function.fprocess.unwrap_or_default(),
        env_vars,
        constraints: function.constraints.unwrap_or_default(),
        secrets: function.secrets.unwrap_or_default(),
        labels: pairs(function.labels),
        annotations: pairs(function.annotations),
        limits: function.limits.map(|limits| limits.0),
        requests: function.requests.map(|requests| requests.0),
        read_only_root_filesystem: function.readonly_root_filesystem.unwrap_or_default(),
    })
}

/// As with faas-cli, files are looked for where the command runs, and only then beside the stack.
fn environment_path(stack: &Path, file: PathBuf) -> PathBuf {
    match file.exists() {
        true => file,
        false => stack.with_file_name(file),
    }
}

/// As with faas-cli, an image without a version is the latest.
fn tagged(image: String) -> String {
    let repository = image.rsplit('/').next().unwrap_or_default();
    match repository.is_empty() || repository.contains([':', '@']) {
        true => image,
        false => format!("{image}:latest"),
    }
}

fn environment(path: &Path, function: &str) -> Result<Pairs, StackError> {
    let text = fs::read_to_string(path).map_err(|source| StackError::EnvironmentFile {
        path: path.to_owned(),
        function: function.to_owned(),
        source,
    })?;
    Ok(yaml::<EnvironmentFile>(path, &text)?.environment.0)
}

fn yaml<T: for<'de> Deserialize<'de>>(path: &Path, text: &str) -> Result<T, StackError> {
    serde_norway::from_str(text).map_err(|source| StackError::Yaml {
        path: path.to_owned(),
        source,
    })
}

/// Reads the text a second time, without the types: flattened unknown keys would cost `1.10` its zero.
fn unknown_keys(text: &str) -> Vec<(String, String)> {
    #[derive(Default, Deserialize)]
    struct Keys {
        #[serde(default)]
        functions: BTreeMap<String, BTreeMap<String, serde_norway::Value>>,
    }
    let keys: Keys = serde_norway::from_str(text).unwrap_or_default();
    let pairs = keys
        .functions
        .into_iter()
        .flat_map(|(function, keys)| keys.into_keys().map(move |key| (function.clone(), key)));
    pairs
        .filter(|(_, key)| !FUNCTION_KEYS.contains(&key.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: &str = "
version: 1.0
provider:
  name: openfaas
  gateway: http://127.0.0.1:8080
functions:
  figlet:
    lang: dockerfile
    image: ghcr.io/openfaas/figlet:latest
    fprocess: figlet
    labels:
      dfaas.maxrate: 30
    environment:
      version: 1.10
      write_debug: true
      name: \"x\"
    limits: {memory: 128Mi}
    secrets: [token]
  echo:
    image: builtin:echo
    enviroment: {}
";

    #[test]
    fn a_stack_becomes_deployments() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stack.yaml");
        fs::write(&path, STACK).unwrap();
        let stack = read(&path).unwrap();
        let names: Vec<_> = stack
            .iter()
            .map(|deployment| deployment.service.as_str())
            .collect();
        assert_eq!(names, ["echo", "figlet"]);
        let figlet = &stack[1];
        assert_eq!(
            (figlet.env_process.as_str(), &figlet.secrets[..]),
            ("figlet", &["token".to_owned()][..])
        );
        assert_eq!(figlet.labels["dfaas.maxrate"], "30");
        let variables: Vec<_> = figlet.env_vars.values().map(String::as_str).collect();
        assert_eq!(variables, ["x", "1.10", "true"]);
    }

    #[test]
    fn misspelt_keys_are_found() {
        assert_eq!(
            unknown_keys(STACK),
            [("echo".to_owned(), "enviroment".to_owned())]
        );
    }

    #[test]
    fn variables_of_files_win() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stack.yaml");
        let text = "functions: {x: {environment_file: [env.yaml], environment: {a: new}}}";
        fs::write(&path, text).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("env.yaml of the function x"), "{error}");
        fs::write(directory.path().join("env.yaml"), "environment: {a: old, b: 2}").unwrap();
        let variables = read(&path).unwrap()[0].env_vars.clone();
        assert_eq!(
            variables,
            Pairs::from([("a", "old"), ("b", "2")].map(|(a, b)| (a.into(), b.into())))
        );
    }

    #[test]
    fn merge_keys_are_followed() {
        let text = "
x-common: &common
  image: x
  labels: &labels {dfaas.maxrate: 5, version: 1.10}
functions:
  a: {<<: [*common, {fprocess: sh}], fprocess: cat}
  b: {<<: *common, image: 'y:1', labels: {<<: *labels, dfaas.maxrate: 7}}
";
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stack.yaml");
        fs::write(&path, text).unwrap();
        let stack = read(&path).unwrap();
        let [a, b] = &stack[..] else { panic!("{stack:?}") };
        assert_eq!((a.image.as_str(), a.env_process.as_str()), ("x:latest", "cat"));
        assert_eq!(a.labels["dfaas.maxrate"], "5");
        assert_eq!(b.image, "y:1");
        let labels: Vec<_> = b.labels.values().map(String::as_str).collect();
        assert_eq!(labels, ["7", "1.10"]);
        assert_eq!(unknown_keys(text), []);
    }

    #[test]
    fn a_stack_may_name_its_gateway() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stack.yaml");
        for (gateway, want) in [
            ("http://127.0.0.1:8080/", None),
            ("http://Edge-1:8080", Some("http://edge-1:8080")),
        ] {
            fs::write(
                &path,
                format!("provider: {{name: openfaas, gateway: '{gateway}'}}"),
            )
            .unwrap();
            assert_eq!(read_gateway(&path).unwrap().as_deref(), want);
        }
    }

    #[test]
    fn other_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stack.yaml");
        for text in [
            "functions: [x]",
            "provider: {name: lambda}",
            "functions: {x: {labels: 1}}",
            "functions: {x: {image: '${'}}",
            "a: ]",
        ] {
            fs::write(&path, text).unwrap();
            assert!(
                read(&path).unwrap_err().to_string().contains("stack.yaml"),
                "{text}"
            );
        }
    }
}
