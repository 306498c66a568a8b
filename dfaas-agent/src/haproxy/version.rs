//! HAProxy's version.

use std::{
    fmt::{self, Display, Formatter},
    str::FromStr,
};

/// Major and minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(super) u32, pub(super) u32);

/// A text that names no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version of HAProxy")]
pub(crate) struct VersionError(String);

impl Version {
    /// Maps that are replaced as a whole came with 2.4.
    pub(super) const MIN: Self = Self(2, 4);

    /// Reads what `haproxy -v` prints: `HAProxy version 2.6.12-1 2023/12/16 - https://haproxy.org/`.
    pub(super) fn of_output(text: &str) -> Result<Self, VersionError> {
        let first = text.lines().next().unwrap_or_default();
        let number = first.split_once("roxy version ").map(|(_, number)| number);
        number.ok_or_else(|| VersionError(first.to_owned()))?.parse()
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let mut numbers = text
            .split(|character: char| !character.is_ascii_digit())
            .map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self(major, minor)),
            _ => Err(VersionError(text.to_owned())),
        }
    }
}

impl Display for Version {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        let version = |text: &str| Version::of_output(text).unwrap();
        let debian =
            version("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\nStatus: x\n");
        assert_eq!(debian, Version(2, 6));
        assert!(version("HAProxy version 2.10-dev1 2026/01/01") > debian);
        assert!(version("HA-Proxy version 2.2.9-2 2021/01/01 - https://haproxy.org/") < Version::MIN);
    }

    #[test]
    fn another_program_has_no_version() {
        let error = Version::of_output("GNU bash, version 5.2\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"GNU bash, version 5.2\" is no version of HAProxy"
        );
        assert!(Version::of_output("HAProxy version unknown").is_err());
        assert!(Version::of_output("").is_err());
    }
}
