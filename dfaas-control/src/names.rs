//! Names of nodes and functions, checked once where they enter.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest node identity accepted. libp2p peer ids have 46 or 52 characters; the rest is room for other schemes.
const NODE_ID_BYTES_MAX: usize = 128;
/// Longest function name accepted: a DNS label, as Kubernetes and faasd demand.
const FUNCTION_NAME_BYTES_MAX: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has no characters.
    #[error("name is empty")]
    Empty,
    /// It has too many bytes.
    #[error("name has {bytes} bytes, more than {max}")]
    TooLong {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// It has a character outside the permitted set.
    #[error("name holds {0:?}")]
    Character(char),
}

/// The identity of a node: the text of its libp2p peer id. Policies repeat it for each function, so a copy shares it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(Arc<str>);

/// The name of a function, without the suffix of the platform's default namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionName(Arc<str>);

impl NodeId {
    /// Takes a text of 1 to 128 visible ASCII characters.
    ///
    /// # Errors
    ///
    /// Fails if the text is empty, too long or holds any other character.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        checked(text.into(), NODE_ID_BYTES_MAX, |c| c.is_ascii_graphic()).map(Self)
    }

    /// The identity as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FunctionName {
    /// Takes a text of 1 to 63 characters out of `[-a-zA-Z_0-9.]`.
    ///
    /// # Errors
    ///
    /// Fails if the text is empty, too long or holds any other character.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        checked(text.into(), FUNCTION_NAME_BYTES_MAX, allowed).map(Self)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! impl_text {
    ($name:ident) => {
        impl Display for $name {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

impl_text!(NodeId);
impl_text!(FunctionName);

fn checked(text: String, max: usize, allowed: impl Fn(char) -> bool) -> Result<Arc<str>, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > max {
        return Err(NameError::TooLong {
            bytes: text.len(),
            max,
        });
    }
    match text.chars().find(|&c| !allowed(c)) {
        Some(c) => Err(NameError::Character(c)),
        None => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_are_visible_ascii_of_bounded_length() {
        assert!(NodeId::new("12D3KooWExample").is_ok());
        assert!(NodeId::new("x".repeat(128)).is_ok());
        assert_eq!(
            NodeId::new("x".repeat(129)),
            Err(NameError::TooLong { bytes: 129, max: 128 })
        );
        assert_eq!(NodeId::new(""), Err(NameError::Empty));
        assert_eq!(NodeId::new("a b"), Err(NameError::Character(' ')));
        assert_eq!(NodeId::new("ä"), Err(NameError::Character('ä')));
    }

    #[test]
    fn function_names_hold_only_what_a_path_segment_may() {
        assert!(FunctionName::new("figlet-2.v_1").is_ok());
        assert!(FunctionName::new("f".repeat(63)).is_ok());
        assert_eq!(
            FunctionName::new("f".repeat(64)),
            Err(NameError::TooLong { bytes: 64, max: 63 })
        );
        assert_eq!(FunctionName::new("a/b"), Err(NameError::Character('/')));
        assert_eq!(FunctionName::new(""), Err(NameError::Empty));
    }

    #[test]
    fn names_are_checked_when_deserialised() {
        assert!(serde_json::from_str::<FunctionName>("\"figlet\"").is_ok());
        assert!(serde_json::from_str::<FunctionName>("\"fig let\"").is_err());
    }
}
