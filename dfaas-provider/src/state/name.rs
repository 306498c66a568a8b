//! Names of functions, namespaces and secrets, checked once when they come in.

use std::fmt;

/// The namespace of a function that names none.
pub(crate) const DEFAULT_NAMESPACE: &str = "openfaas-fn";

/// Kubernetes' limit for a label, which OpenFaaS documents for functions.
const NAME_BYTES_MAX: usize = 63;

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum NameError {
    #[error("the name is empty; give it one to {NAME_BYTES_MAX} characters of a-z A-Z 0-9 - _")]
    Empty,
    #[error("the name {name:?} has {length} characters; {NAME_BYTES_MAX} are allowed", length = name.len())]
    TooLong { name: String },
    #[error("the name {name:?} holds {found:?}; use only a-z A-Z 0-9 - _")]
    Character { name: String, found: char },
    #[error("the name {0:?} is a path, not a name; use letters, digits, - and _")]
    Path(String),
    #[error(
        "{service:?} is in the namespace {dotted:?} by its name, but {field:?} by its namespace field; give one of them"
    )]
    TwoNamespaces {
        service: String,
        dotted: String,
        field: String,
    },
}

/// A function's full name, `name.namespace`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionName {
    pub(crate) name: String,
    pub(crate) namespace: String,
}

impl FunctionName {
    /// Reads a name that may be dotted, beside a namespace field that may be empty.
    pub(crate) fn new(service: &str, namespace: &str) -> Result<Self, NameError> {
        let (name, dotted) = split(service);
        check_label(name)?;
        let namespace = match (dotted, namespace) {
            (None, "") => DEFAULT_NAMESPACE,
            (None, field) => field,
            (Some(dotted), "") => dotted,
            (Some(dotted), field) if dotted == field => field,
            (Some(dotted), field) => {
                return Err(NameError::TwoNamespaces {
                    service: service.to_owned(),
                    dotted: dotted.to_owned(),
                    field: field.to_owned(),
                });
            }
        };
        check_label(namespace)?;
        Ok(Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
        })
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.namespace)
    }
}

/// Splits `name.namespace` at its last dot.
fn split(service: &str) -> (&str, Option<&str>) {
    match service.rsplit_once('.') {
        Some((name, namespace)) => (name, Some(namespace)),
        None => (service, None),
    }
}

/// Checks a name without dots: a function's or a namespace's.
pub(crate) fn check_label(name: &str) -> Result<(), NameError> {
    check(name, |c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// Checks the name of a secret, which becomes a file name.
pub(crate) fn check_file_name(name: &str) -> Result<(), NameError> {
    check(name, |c| {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
    })?;
    match name.starts_with('.') {
        true => Err(NameError::Path(name.to_owned())),
        false => Ok(()),
    }
}

fn check(name: &str, allowed: impl Fn(char) -> bool) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong {
            name: name.to_owned(),
        });
    }
    match name.chars().find(|&c| !allowed(c)) {
        Some(found) => Err(NameError::Character {
            name: name.to_owned(),
            found,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_split_at_its_last_dot() {
        check("figlet", "", Ok("figlet.openfaas-fn"));
        check("figlet", "team-a", Ok("figlet.team-a"));
        check("figlet.team-a", "", Ok("figlet.team-a"));
        check("figlet.team-a", "team-a", Ok("figlet.team-a"));
        check(
            "a.b.c",
            "",
            Err(NameError::Character {
                name: "a.b".to_owned(),
                found: '.',
            }),
        );
    }

    #[test]
    fn two_namespaces_contradict() {
        assert!(matches!(
            FunctionName::new("x.a", "b"),
            Err(NameError::TwoNamespaces { .. })
        ));
    }

    #[test]
    fn names_have_one_to_63_characters() {
        check("", "", Err(NameError::Empty));
        assert!(FunctionName::new(&"a".repeat(63), "").is_ok());
        let name = "a".repeat(64);
        check(&name.clone(), "", Err(NameError::TooLong { name }));
    }

    #[test]
    fn paths_are_not_names() {
        for name in [".", "..", "...", "../x", "x/../y", "a b", "a\n", "a\0"] {
            assert!(FunctionName::new(name, "").is_err(), "{name:?}");
            assert!(check_file_name(name).is_err(), "{name:?}");
        }
        assert_eq!(check_file_name("tls.crt"), Ok(()));
    }

    #[track_caller]
    fn check(service: &str, namespace: &str, want: Result<&str, NameError>) {
        let got = FunctionName::new(service, namespace).map(|name| name.to_string());
        assert_eq!(got, want.map(str::to_owned));
    }
}
