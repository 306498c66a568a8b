//! Maps of text in a stack, with YAML's merge keys (`<<: *common`), whose values other keys win over.
//!
//! A map of any values would do that too, but costs `1.10` its zero.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::wire::Pairs;

pub(super) const MERGE: &str = "<<";

/// What a merge key holds: one map or several, the first of which wins.
pub(super) struct OneOrMany<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OneOrManyVisitor(PhantomData))
    }
}

struct OneOrManyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrManyVisitor<T> {
    type Value = OneOrMany<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map or a list of maps")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneOrMany<T>, A::Error> {
        let one = T::deserialize(MapAccessDeserializer::new(map))?;
        Ok(OneOrMany(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMany<T>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMany)
    }
}

impl<T> OneOrMany<T> {
    pub(super) fn into_vec(self) -> Vec<T> {
        self.0
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct MergedPairs(pub(super) Pairs);

impl<'de> Deserialize<'de> for MergedPairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = MergedPairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of names and values")
    }

    fn visit_unit<E>(self) -> Result<MergedPairs, E> {
        Ok(MergedPairs::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MergedPairs, A::Error> {
        let mut merged = Vec::new();
        let mut pairs = Pairs::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == MERGE {
                let maps = map.next_value::<OneOrMany<MergedPairs>>()?.into_vec();
                merged.extend(maps.into_iter().map(|pairs| pairs.0));
            } else {
                pairs.insert(key, map.next_value::<Option<String>>()?.unwrap_or_default());
            }
        }
        for (key, value) in merged.into_iter().flatten() {
            pairs.entry(key).or_insert(value);
        }
        Ok(MergedPairs(pairs))
    }
}
