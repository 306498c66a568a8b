//! A service that changes its mind with each question: weights, limits and who is asked at all.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::{Adviser, Namespace};

/// More than anybody asks for: what is changed here must not refuse anything.
const PLENTY_RPS: u32 = 1_000_000;

/// Starts a service on a node that advises something else each time for some functions, and never too little.
///
/// # Errors
///
/// When it cannot be started.
pub fn changing_adviser(on: &Namespace, functions: &[&str]) -> Result<Adviser> {
    let functions: Vec<String> = functions.iter().map(|name| (*name).to_owned()).collect();
    // A peer that was heard of may still send.
    let known = Arc::new(Mutex::new(Map::new()));
    let mut round: u64 = 0;
    Adviser::start(on, move |question| {
        round += 1;
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let advice = advice(question, round, &mut known);
        let all: Map<String, Value> = functions
            .iter()
            .map(|name| (name.clone(), advice.clone()))
            .collect();
        json!({"functions": all}).to_string()
    })
}

fn advice(question: &[u8], round: u64, known: &mut Map<String, Value>) -> Value {
    let question: Value = serde_json::from_slice(question).unwrap_or_default();
    let peers: Vec<String> = question["peers"]
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .cloned()
        .collect();
    for peer in &peers {
        known.insert(peer.clone(), json!(PLENTY_RPS + scattered(round, 7)));
    }
    let routes: Map<String, Value> = (0..)
        .zip(peers)
        // One of them is left out, in turns.
        .filter(|(place, _)| !(round + place).is_multiple_of(3))
        .map(|(place, peer)| {
            let cap_rps = PLENTY_RPS + scattered(round, place);
            (
                peer,
                json!({"weight": 1 + scattered(round, place) % 100, "cap_rps": cap_rps}),
            )
        })
        .collect();
    let local_rps = if round.is_multiple_of(2) {
        0
    } else {
        scattered(round, 9)
    };
    let here = 1 + scattered(round, 11) % 100;
    json!({"local_rps": local_rps, "here": here, "routes": routes, "admit": known})
}

/// A number below a thousand that looks like chance.
fn scattered(round: u64, place: u64) -> u32 {
    let mixed = (round * 64 + place).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    (mixed % 1000) as u32
}
