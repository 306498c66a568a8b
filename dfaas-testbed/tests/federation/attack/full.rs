//! A node with less room than its clients want.

use std::time::Duration;

use anyhow::Result;
use dfaas_testbed::{Federation, Wire, wait_until};

use super::{FUNCTIONS, event, two, wait_for_clients};
use crate::kit::{FLOW_MAPS, turn};

/// The least that an agent can be given.
const FLOWS: usize = 1024;
const MORE: usize = 500;

#[test]
fn a_full_node_refuses_and_recovers() {
    let _turn = turn();
    let federation = two(|spec| spec.agent_arguments = vec![format!("--flows-max={FLOWS}")]);
    let node = &federation.nodes[0];
    let mut served = Vec::new();
    for number in 0..FLOWS {
        let (wire, status) = ask(&federation, number).unwrap();
        assert_eq!(status, 200, "connection {number}");
        served.push(wire);
    }
    let before = event(node, "flows_full");
    for number in 0..MORE {
        let (_, status) = ask(&federation, number).unwrap();
        assert_eq!(status, 503, "there is room for connection {number}");
    }
    let counted = || event(node, "flows_full") - before == MORE as u64;
    wait_until("refusals counted", Duration::from_secs(5), counted).unwrap();
    // Who has a place keeps it.
    for (number, wire) in served.iter_mut().enumerate() {
        assert_eq!(wire.ask(&request(number), "POST").unwrap().status, 200);
    }
    served.truncate(FLOWS - MORE);
    wait_for_clients(node, FLOWS - MORE);
    for number in 0..MORE {
        let (wire, status) = ask(&federation, number).unwrap();
        assert_eq!(status, 200, "connection {number}, after others went");
        served.push(wire);
    }
    check_pipelines(&mut served);
    drop(served);
    let left = || node.map_entries(&FLOW_MAPS).unwrap();
    let all_gone = || left().values().all(|entries| *entries == 0);
    let waited = wait_until("all forgotten", Duration::from_secs(10), all_gone);
    waited.unwrap_or_else(|error| panic!("{error}: {:?}", left()));
    federation.stop().unwrap();
}

/// There is room for half of what is sent too early; the rest comes again.
fn check_pipelines(served: &mut [Wire]) {
    for (number, wire) in served.iter_mut().enumerate() {
        // To one server each: there is no room for a second one for everybody.
        let two = [request(number), request(number)].concat();
        wire.send(&two).unwrap();
    }
    for (number, wire) in served.iter_mut().enumerate() {
        for _ in 0..2 {
            let response = wire.response("POST");
            let response = response.unwrap_or_else(|error| panic!("pipeline {number}: {error:#}"));
            assert_eq!(response.status, 200, "pipeline {number}");
        }
    }
}

/// Asks on a new connection.
fn ask(federation: &Federation, number: usize) -> Result<(Wire, u16)> {
    let mut wire = Wire::connect(&federation.client, federation.nodes[0].service())?;
    let status = wire.ask(&request(number), "POST")?.status;
    Ok((wire, status))
}

fn request(number: usize) -> Vec<u8> {
    let function = FUNCTIONS[number % FUNCTIONS.len()];
    format!("POST /function/{function} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello").into_bytes()
}
