//! A policy as rows of HAProxy's map: a key and a value a row, both without blanks.
//!
//! | key | value |
//! |---|---|
//! | `self` | this node's id, the stamp of forwarded requests |
//! | `until` | until when peers are dealt with unless the agent says otherwise, in seconds since 1970 |
//! | `p/PEER` | `address\|port\|sends\|accepts\|accepts\|tokenless` of an admitted peer: where it is, and the tokens |
//! | `f/NAME` | `FUNCTION\|hosted\|columns\|fallback…`; `NAME` with or without the default namespace |
//! | `r/FUNCTION/column` | `threshold\|PEER\|PEER`: the first peer below the threshold, else the second |
//! | `l/FUNCTION` | `interval\|tolerance` of what users may be served here |
//! | `a/FUNCTION/PEER` | the same of what the peer may send |
//! | `c/FUNCTION/PEER` | the same of what may be sent to the peer; the peer `.` is this node, drawn by its weight |
//!
//! The keys of limits are those of their buckets and counters in the stick table.

use std::collections::BTreeMap;

use dfaas_common::{
    maps::FALLBACKS,
    meter::Limit,
    pick::{HERE, SELF, SLOTS},
};
use dfaas_control::{FunctionName, FunctionPolicy, NodeId, Peer, Policy, Route, Token};

use crate::steering;

/// The first field of a function's row that holds a fallback.
pub(super) const FALLBACK_FIELD: usize = 4;
/// The row that the agent renews for as long as it lives.
pub(super) const UNTIL: &str = "until";
/// A limit that admits nothing.
pub(super) const MISSING_LIMIT: &str = "0|-1";
/// What stands for this node among peers.
pub(super) const OWN_SHARE: &str = ".";
/// A limit that admits everything: the wait of a bucket whose interval is 0 never grows.
const UNLIMITED: &str = "0|2147483647";
/// The longest interval and the longest tolerance: a wait of both fits into half of the clock's range.
const HORIZON_US: u64 = 900_000_000;
/// The longest identity that the kernel looks up.
const NODE_ID_BYTES: usize = dfaas_common::http::NODE_ID_BYTES;

/// The rows of a map.
pub(super) type Rows = BTreeMap<String, String>;

/// Translates a policy.
pub(super) fn of(node: &NodeId, policy: &Policy) -> Rows {
    let mut rows = Rows::from([("self".to_owned(), node.to_string())]);
    let peers: Vec<(&NodeId, &Peer)> = policy.peers.iter().filter(|(id, _)| is_plain(id)).collect();
    for (id, peer) in &peers {
        rows.insert(format!("p/{id}"), place(peer));
    }
    let ids: Vec<&NodeId> = peers.into_iter().map(|(id, _)| id).collect();
    for (name, function) in &policy.functions {
        add_function(&mut rows, name, function, &ids);
    }
    rows
}

fn place(peer: &Peer) -> String {
    let trust = &peer.trust;
    let [new, old] = trust.accepts.map(token);
    let address = peer.service.ip();
    let port = peer.service.port();
    let tokenless = u8::from(trust.tokenless);
    format!("{address}|{port}|{}|{new}|{old}|{tokenless}", token(trust.sends))
}

/// The text of a token; for none, one that is shorter than a token.
fn token(token: Option<Token>) -> String {
    token.map_or_else(|| "-".to_owned(), |token| token.text())
}

/// Whether an identity can stand in a row and in a request.
fn is_plain(id: &NodeId) -> bool {
    let text = id.as_str();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.len() <= NODE_ID_BYTES && text != OWN_SHARE && text.bytes().all(plain)
}

fn add_function(rows: &mut Rows, name: &FunctionName, function: &FunctionPolicy, peers: &[&NodeId]) {
    // A peer's number is its place in the list, plus one: 0 is this node.
    let numbered: Vec<(u16, Route)> = (1..)
        .zip(peers)
        .filter_map(|(number, peer)| Some((number, *function.routes.get(*peer)?)))
        .collect();
    let choice = steering::choice(steering::own_share(function), &numbered);
    let columns = columns(&choice.slots);
    let mut row = format!("{name}|{}|{}", u8::from(function.hosted), columns.len());
    for number in choice.fallbacks {
        row += &format!("|{}", peer(peers, number));
    }
    for known_as in steering::names_of(name) {
        rows.insert(format!("f/{known_as}"), row.clone());
    }
    for (index, column) in columns.iter().enumerate() {
        let (first, second) = (peer(peers, column.first), peer(peers, column.second));
        let value = format!("{}|{first}|{second}", column.threshold);
        rows.insert(format!("r/{name}/{index}"), value);
    }
    add_limits(rows, name, function, peers);
}

fn add_limits(rows: &mut Rows, name: &FunctionName, function: &FunctionPolicy, peers: &[&NodeId]) {
    if function.hosted {
        let limit = steering::local(function.local_rps, 0);
        rows.insert(format!("l/{name}"), limit_value(&limit));
    }
    if steering::own_share(function) > 0.0 {
        rows.insert(format!("c/{name}/{OWN_SHARE}"), UNLIMITED.to_owned());
    }
    for peer in peers {
        if let Some(route) = function.routes.get(*peer) {
            let limit = steering::cap(route.cap_rps, 0);
            rows.insert(format!("c/{name}/{peer}"), limit_value(&limit));
        }
        if let Some(&rate_rps) = function.admit.get(*peer) {
            let limit = steering::admission(rate_rps, 0);
            rows.insert(format!("a/{name}/{peer}"), limit_value(&limit));
        }
    }
}

/// The peer of a number; nothing if there is none.
fn peer<'a>(peers: &[&'a NodeId], number: u16) -> &'a str {
    if number == HERE {
        return OWN_SHARE;
    }
    let index = usize::from(number).checked_sub(1);
    index
        .and_then(|index| peers.get(index))
        .map_or("", |peer| peer.as_str())
}

/// Interval and tolerance in microseconds, the unit of HAProxy's clock.
fn limit_value(limit: &Limit) -> String {
    let interval_us = match limit.interval_ns {
        0 => return MISSING_LIMIT.to_owned(),
        u64::MAX => return UNLIMITED.to_owned(),
        interval_ns => interval_ns.div_ceil(1_000).min(HORIZON_US),
    };
    let tolerance_us = (limit.tolerance_ns / 1_000).min(HORIZON_US);
    format!("{interval_us}|{tolerance_us}")
}

/// A column of the alias method (Walker 1977; Vose 1991): two peers share what falls on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Column {
    /// How many of [`SLOTS`] the first peer has.
    threshold: usize,
    first: u16,
    second: u16,
}

/// The same proportions as in the slots, exactly, in as many columns as there are peers.
fn columns(slots: &[u16; SLOTS]) -> Vec<Column> {
    let mut counts = BTreeMap::<u16, usize>::new();
    for &number in slots.iter().filter(|&&number| number != SELF) {
        *counts.entry(number).or_default() += 1;
    }
    // In units in which a column holds SLOTS, as all of them together do.
    let count = counts.len();
    let scaled = counts.into_iter().map(|(number, slots)| (number, slots * count));
    let (mut small, mut large): (Vec<_>, Vec<_>) = scaled.partition(|&(_, share)| share < SLOTS);
    let mut columns = Vec::with_capacity(count);
    while let Some((first, threshold)) = small.pop() {
        let (second, share) = large.pop().expect("what is missing here is too much elsewhere");
        columns.push(Column {
            threshold,
            first,
            second,
        });
        let rest = share - (SLOTS - threshold);
        if rest < SLOTS { &mut small } else { &mut large }.push((second, rest));
    }
    let full = large.into_iter().map(|(number, _)| Column {
        threshold: SLOTS,
        first: number,
        second: number,
    });
    columns.extend(full);
    columns
}

const _: () = assert!(FALLBACKS > 0 && HORIZON_US * 2 < 1 << 31);

#[cfg(test)]
mod tests {
    use dfaas_common::pick;
    use dfaas_control::Trust;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_policy_becomes_rows() {
        let route = |weight, cap_rps| Route { weight, cap_rps };
        let figlet = FunctionPolicy {
            local_rps: 10.0,
            hosted: true,
            here: 0.0,
            routes: BTreeMap::from([
                (node("n2"), route(0.25, 4.0)),
                (node("n3"), route(0.75, f64::INFINITY)),
            ]),
            admit: BTreeMap::from([(node("n2"), 2.5), (node("n4"), 1.0)]),
        };
        let old = Trust {
            tokenless: true,
            ..Trust::default()
        };
        let ours = Trust {
            sends: Some(Token::new([3; 16])),
            accepts: [Some(Token::new([4; 16])), None],
            tokenless: false,
        };
        let peers = [("n2", old), ("n3", ours)].map(|(id, trust)| {
            let service = format!("10.0.0.{}:80", &id[1..]).parse().unwrap();
            (node(id), Peer { service, trust })
        });
        let policy = Policy {
            functions: BTreeMap::from([(FunctionName::new("figlet").unwrap(), figlet)]),
            peers: BTreeMap::from(peers),
            ..Policy::default()
        };
        let want = [
            ("a/figlet/n2", "400000|1200000"),
            ("c/figlet/n2", "250000|250000"),
            ("c/figlet/n3", "0|2147483647"),
            ("f/figlet", "figlet|1|2|n3|n2||"),
            ("f/figlet.openfaas-fn", "figlet|1|2|n3|n2||"),
            ("l/figlet", "100000|400000"),
            ("p/n2", "10.0.0.2|80|-|-|-|1"),
            (
                "p/n3",
                "10.0.0.3|80|03030303030303030303030303030303|04040404040404040404040404040404|-|0",
            ),
            ("r/figlet/0", "512|n2|n3"),
            ("r/figlet/1", "1024|n3|n3"),
            ("self", "n1"),
        ];
        let rows = of(&node("n1"), &policy);
        let got: Vec<(&str, &str)> = rows
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(got, want);
    }

    #[test]
    fn a_function_that_only_peers_run_has_no_local_limit() {
        let policy = Policy {
            functions: BTreeMap::from([(FunctionName::new("f").unwrap(), FunctionPolicy::default())]),
            ..Policy::default()
        };
        let rows = of(&node("n1"), &policy);
        assert_eq!(rows.get("f/f").unwrap(), "f|0|0||||");
        assert!(!rows.contains_key("l/f"));
    }

    #[test]
    fn this_node_has_a_share_of_what_it_hosts() {
        let function = |hosted| FunctionPolicy {
            hosted,
            here: 1.0,
            ..FunctionPolicy::default()
        };
        let (hosted, away) = (FunctionName::new("h").unwrap(), FunctionName::new("a").unwrap());
        let policy = Policy {
            functions: BTreeMap::from([(hosted, function(true)), (away, function(false))]),
            ..Policy::default()
        };
        let rows = of(&node("n1"), &policy);
        assert_eq!(rows["r/h/0"], "1024|.|.");
        assert_eq!(
            (rows["c/h/."].as_str(), rows["l/h"].as_str()),
            (UNLIMITED, MISSING_LIMIT)
        );
        assert!(
            !rows.contains_key("r/a/0") && !rows.contains_key("c/a/."),
            "{rows:?}"
        );
    }

    #[test]
    fn identities_that_would_break_a_row_are_left_out() {
        assert!(is_plain(&node(
            "12D3KooWDZ3JhNfXuAa45LAupXfujbY23kqReX22gGiGj3RiXAMd"
        )));
        for odd in [".", "a|b", "a/b", "a\\b", "<<", &"x".repeat(65)] {
            assert!(!is_plain(&node(odd)), "{odd}");
        }
    }

    #[test]
    fn limits_are_told_in_microseconds() {
        let value = |rate_rps, burst| limit_value(&Limit::new(rate_rps, burst, 0));
        assert_eq!(value(0.0, 5.0), MISSING_LIMIT);
        assert_eq!(value(f64::INFINITY, 1.0), UNLIMITED);
        assert_eq!(value(3.0, 1.0), "333334|0");
        assert_eq!(value(1e9, 1.0), "1|0");
        assert_eq!(value(1e-6, 1e6), "900000000|900000000");
    }

    proptest! {
        #[test]
        fn columns_keep_the_proportions_exactly(weights in proptest::collection::vec(0.0f64..1.0, 0..20)) {
            let weights: Vec<(u16, f64)> = (1..).zip(weights).collect();
            let slots = pick::fill(&weights);
            let columns = columns(&slots);
            let mut shares = BTreeMap::<u16, usize>::new();
            for column in &columns {
                prop_assert!(column.threshold <= SLOTS);
                *shares.entry(column.first).or_default() += column.threshold;
                *shares.entry(column.second).or_default() += SLOTS - column.threshold;
            }
            for (number, share) in shares {
                let in_slots = slots.iter().filter(|&&slot| slot == number).count();
                prop_assert_eq!(share, in_slots * columns.len(), "{}", number);
            }
        }
    }

    fn node(text: &str) -> NodeId {
        NodeId::new(text).unwrap()
    }
}
