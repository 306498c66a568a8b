//! As whom functions run.

use std::collections::BTreeSet;
use std::fs;
use std::str::FromStr;

/// The numbers that systemd keeps for users who have no name (systemd.exec, DynamicUser).
const OWN: std::ops::RangeInclusive<u32> = 61_184..=65_519;

/// As whom functions run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FunctionUser {
    /// As the platform itself.
    Same,
    /// Each as a user of its own, without a name.
    Own,
    /// All as one other user.
    One(u32),
}

impl FunctionUser {
    /// Users of their own, if the platform may change to them: it is root, and its user namespace has them
    /// (user_namespaces(7)).
    #[must_use]
    pub fn default_of_process() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self::Same;
        }
        // A host whose /proc is not mounted has one namespace of users as far as can be told.
        let mapped = fs::read_to_string("/proc/self/uid_map").map_or(true, |text| maps_all(&text, &OWN));
        if mapped {
            Self::Own
        } else {
            tracing::warn!(
                "Functions run as this platform's user: its user namespace has no others; map 65536 users to have one for each function"
            );
            Self::Same
        }
    }

    /// The user of a function, which keeps the one that it `had`; `taken` are those of the others.
    pub(crate) fn choose(self, had: Option<u32>, taken: &BTreeSet<u32>) -> Option<u32> {
        match self {
            Self::Same => None,
            Self::One(user) => Some(user),
            Self::Own => had
                .filter(|user| OWN.contains(user) && !taken.contains(user))
                .or_else(|| OWN.into_iter().find(|user| !taken.contains(user))),
        }
    }
}

impl FromStr for FunctionUser {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "own" => Ok(Self::Own),
            "same" => Ok(Self::Same),
            text => named(text).map(Self::One).ok_or_else(|| {
                format!("{text:?} is neither own nor same, nor the name or the number of a user of this host")
            }),
        }
    }
}

/// Whether a user namespace has all of these users; `uid_map` has lines of first user inside, first user outside, and count.
fn maps_all(uid_map: &str, users: &std::ops::RangeInclusive<u32>) -> bool {
    let mut ranges: Vec<(u64, u64)> = uid_map
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().ok());
            let (first, _outside, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
            Some((first, first + count))
        })
        .collect();
    ranges.sort_unstable();
    let mut next = u64::from(*users.start());
    for (first, end) in ranges {
        if first <= next && next < end {
            next = end;
        }
    }
    next > u64::from(*users.end())
}

fn named(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.split(':').next() == Some(text))?;
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_has_a_user_of_its_own() {
        let taken = BTreeSet::from([61_184, 61_185]);
        assert_eq!(FunctionUser::Own.choose(None, &taken), Some(61_186));
        assert_eq!(FunctionUser::Own.choose(Some(61_190), &taken), Some(61_190));
        assert_eq!(FunctionUser::Own.choose(Some(61_185), &taken), Some(61_186));
        assert_eq!(FunctionUser::Own.choose(Some(0), &taken), Some(61_186));
        assert_eq!(FunctionUser::Same.choose(Some(61_190), &taken), None);
    }

    #[test]
    fn a_user_namespace_has_users_or_not() {
        for (uid_map, want) in [
            ("         0          0 4294967295\n", true),
            ("0 100000 65536\n", true),
            ("0 0 1\n", false),
            ("0 1000 1\n1 100000 61184\n", false),
            ("1 100000 65535\n0 1000 1\n", true),
            ("0 100000 62000\n62000 200000 4000\n", true),
            ("0 100000 62000\n62001 200000 4000\n", false),
            ("", false),
        ] {
            assert_eq!(maps_all(uid_map, &OWN), want, "{uid_map:?}");
        }
    }

    #[test]
    fn users_are_named() {
        assert_eq!("own".parse(), Ok(FunctionUser::Own));
        assert_eq!("root".parse(), Ok(FunctionUser::One(0)));
        assert_eq!("1000".parse(), Ok(FunctionUser::One(1000)));
        assert!("nobody-of-this-name".parse::<FunctionUser>().is_err());
    }
}
