//! Reading of what newer nodes may tell: entries whose names mean nothing here are left out, the rest is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Reads an object, without the entries whose keys are no such names.
///
/// # Errors
///
/// Something else than an object, or a value of another kind behind a name that means something.
pub(crate) fn map<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: TryFrom<String> + Ord,
    V: Deserialize<'de>,
{
    struct Entries<K, V>(PhantomData<(K, V)>);

    impl<'de, K: TryFrom<String> + Ord, V: Deserialize<'de>> Visitor<'de> for Entries<K, V> {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some(name) = entries.next_key::<String>()? {
                match K::try_from(name) {
                    Ok(name) => drop(map.insert(name, entries.next_value()?)),
                    Err(_) => drop(entries.next_value::<IgnoredAny>()?),
                }
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(Entries(PhantomData))
}

/// Reads a list of names, without those that are none. An empty list of Go is `null`.
///
/// # Errors
///
/// Something else than a list of texts.
pub(crate) fn set<'de, D, K>(deserializer: D) -> Result<Option<BTreeSet<K>>, D::Error>
where
    D: Deserializer<'de>,
    K: TryFrom<String> + Ord,
{
    struct Names<K>(PhantomData<K>);

    impl<'de, K: TryFrom<String> + Ord> Visitor<'de> for Names<K> {
        type Value = Option<BTreeSet<K>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of names")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Self::Value, A::Error> {
            let mut set = BTreeSet::new();
            while let Some(name) = names.next_element::<String>()? {
                set.extend(K::try_from(name));
            }
            Ok(Some(set))
        }
    }

    deserializer.deserialize_any(Names(PhantomData))
}
