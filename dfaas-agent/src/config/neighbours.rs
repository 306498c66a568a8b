//! To which peers the excess may go.

use std::collections::BTreeSet;

use dfaas_control::{Neighbourhood, NodeId};

use crate::{admitted::node_id, go_duration};

/// Reads `all`, `nearest:COUNT`, `within:DURATION`, or the ids of nodes.
pub(super) fn neighbourhood(text: &str) -> Result<Neighbourhood, String> {
    let text = text.trim();
    if let Some(count) = text.strip_prefix("nearest:") {
        return match count.parse() {
            Ok(0) | Err(_) => Err(format!("{count:?} is not a number of peers, as in nearest:3")),
            Ok(count) => Ok(Neighbourhood::Nearest(count)),
        };
    }
    if let Some(duration) = text.strip_prefix("within:") {
        let limit = go_duration::parse(duration).map_err(|error| format!("{error}, as in within:20ms"))?;
        return if limit.is_zero() {
            Err("nobody is within no time at all".to_owned())
        } else {
            Ok(Neighbourhood::Within(limit))
        };
    }
    if matches!(text, "all" | "") {
        return Ok(Neighbourhood::Everyone);
    }
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let ids: Result<BTreeSet<NodeId>, String> = names
        .map(|name| node_id(name).map_err(|error| error.to_string()))
        .collect();
    ids.map(Neighbourhood::Listed)
        .map_err(|error| format!("{error}; there are all, nearest:COUNT, within:DURATION, and ids of nodes"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ID: &str = "12D3KooWDZ3JhNfXuAa45LAupXfujbY23kqReX22gGiGj3RiXAMd";

    #[test]
    fn neighbours_are_all_near_or_named() {
        for text in ["all", " all ", ""] {
            assert_eq!(neighbourhood(text), Ok(Neighbourhood::Everyone));
        }
        assert_eq!(neighbourhood("nearest:3"), Ok(Neighbourhood::Nearest(3)));
        let limit = Duration::from_millis(20);
        assert_eq!(neighbourhood("within:20ms"), Ok(Neighbourhood::Within(limit)));
        let listed = Neighbourhood::Listed([NodeId::new(ID).unwrap()].into());
        assert_eq!(neighbourhood(&format!("{ID}, {ID},")), Ok(listed));
    }

    #[test]
    fn what_is_none_of_these_is_refused() {
        for (text, want) in [
            ("nearest:0", "is not a number of peers"),
            ("nearest:", "is not a number of peers"),
            ("within:0", "nobody is within no time at all"),
            ("within:far", "as in within:20ms"),
            ("some", "there are all, nearest:COUNT"),
        ] {
            let error = neighbourhood(text).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
