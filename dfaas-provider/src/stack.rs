//! Reads an OpenFaaS `stack.yaml`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tracing::warn;

use crate::wire::{Deployment, Pairs};

/// What `faas-cli` knows of a function; a key that is not among them is most likely a slip of the pen.
const FUNCTION_KEYS: [&str; 24] = [
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

#[derive(Debug, thiserror::Error)]
pub enum StackError {
    #[error("read the stack {path}: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the stack {path} is not as expected: {source}", path = path.display())]
    Yaml {
        path: PathBuf,
        source: serde_norway::Error,
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
struct Provider {
    #[serde(default)]
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Function {
    image: String,
    fprocess: String,
    namespace: String,
    environment: Pairs,
    environment_file: Vec<PathBuf>,
    labels: Pairs,
    annotations: Pairs,
    secrets: Vec<String>,
    constraints: Vec<String>,
    limits: Option<Pairs>,
    requests: Option<Pairs>,
    readonly_root_filesystem: bool,
}

#[derive(Deserialize)]
struct EnvironmentFile {
    #[serde(default)]
    environment: Pairs,
}

/// Reads the functions of a stack file, in the order of their names.
///
/// # Errors
/// If the file, or an environment file it names, cannot be read or is not a stack.
pub fn read(path: &Path) -> Result<Vec<Deployment>, StackError> {
    let text = fs::read_to_string(path).map_err(|source| StackError::Read {
        path: path.to_owned(),
        source,
    })?;
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

fn deployment(path: &Path, name: String, function: Function) -> Result<Deployment, StackError> {
    let mut env_vars = Pairs::new();
    for file in &function.environment_file {
        env_vars.extend(environment(&path.with_file_name(file), &name)?);
    }
    env_vars.extend(function.environment);
    Ok(Deployment {
        service: name,
        image: function.image,
        namespace: function.namespace,
        env_process: function.fprocess,
        env_vars,
        constraints: function.constraints,
        secrets: function.secrets,
        labels: function.labels,
        annotations: function.annotations,
        limits: function.limits,
        requests: function.requests,
        read_only_root_filesystem: function.readonly_root_filesystem,
    })
}

fn environment(path: &Path, function: &str) -> Result<Pairs, StackError> {
    let text = fs::read_to_string(path).map_err(|source| StackError::EnvironmentFile {
        path: path.to_owned(),
        function: function.to_owned(),
        source,
    })?;
    Ok(yaml::<EnvironmentFile>(path, &text)?.environment)
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
    fn variables_of_files_come_first() {
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
            Pairs::from([("a", "new"), ("b", "2")].map(|(a, b)| (a.into(), b.into())))
        );
    }

    #[test]
    fn other_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stack.yaml");
        for text in [
            "functions: [x]",
            "provider: {name: lambda}",
            "functions: {x: {labels: 1}}",
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
