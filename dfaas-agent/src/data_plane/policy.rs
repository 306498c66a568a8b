//! Policy, written into the maps: what changed, in an order in which no packet sees a half of it.

mod adopted;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData},
};
use dfaas_common::{
    http::{NAME_BYTES, NODE_ID_BYTES},
    maps::{
        self, Function, FunctionKey, Pair, Peer, PeerKey, STAMP_BYTES, Stamp, TARGET_DATA_IN_SYN, Target,
    },
    meter::Limit,
    packet::Address,
    pairing::{PEER_TOKENLESS, TOKEN_BYTES, TokenText},
};
use dfaas_control::{FunctionName, FunctionPolicy, NodeId, Policy, Route, Token};
use tracing::warn;

use self::adopted::Hold;
use super::{DataInSyn, indices::Indices, names::Names, program, remove, take};
use crate::steering;

/// What stands in a request to a peer whose token is not known. Nobody ever draws it.
const NO_TOKEN: &str = "00000000000000000000000000000000";
const _: () = assert!(NO_TOKEN.len() == TOKEN_BYTES);

/// Which bucket a limit meters against.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum BucketOf {
    Local(FunctionName),
    Cap(FunctionName, NodeId),
    Admission(FunctionName, NodeId),
}

/// The maps that hold policy, and what stands in them.
pub(super) struct PolicyMaps {
    functions: HashMap<MapData, FunctionKey, Function>,
    targets: Array<MapData, Target>,
    stamps: HashMap<MapData, u32, Stamp>,
    peers: HashMap<MapData, PeerKey, Peer>,
    admissions: HashMap<MapData, Pair, Limit>,
    caps: HashMap<MapData, Pair, Limit>,
    buckets: Indices<BucketOf>,
    written: Written,
    /// Peers that were taken out, and where they were.
    gone: Vec<(NodeId, [Address; 2])>,
    /// What no row names any more, but a program may that has read a row just before: it goes with the next policy.
    leaving: Leaving,
    left_out: LeftOut,
    sends_data_in_syn: bool,
    /// This node.
    node: NodeId,
    /// What an agent before this one has decided stands until then.
    hold: Option<Hold>,
}

/// A peer as it stands in the maps.
#[derive(Clone, Copy, PartialEq, Eq)]
struct PeerRows {
    target: Target,
    stamp: Stamp,
    peer: Peer,
}

#[derive(Default)]
struct Leaving {
    functions: BTreeSet<FunctionName>,
    caps: BTreeSet<(FunctionName, NodeId)>,
    targets: BTreeSet<NodeId>,
}

/// What the last policy had more than there is room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LeftOut {
    functions: usize,
    peers: usize,
    limits: usize,
}

#[derive(Default)]
struct Written {
    functions: BTreeMap<FunctionName, Function>,
    peers: BTreeMap<NodeId, PeerRows>,
    admissions: BTreeMap<(FunctionName, NodeId), Limit>,
    caps: BTreeMap<(FunctionName, NodeId), Limit>,
}

impl PolicyMaps {
    pub(super) fn new(ebpf: &mut Ebpf, node: &NodeId, data_in_syn: DataInSyn) -> Result<Self> {
        Ok(Self {
            functions: HashMap::try_from(take(ebpf, "FUNCTIONS")?)?,
            targets: Array::try_from(take(ebpf, "TARGETS")?)?,
            stamps: HashMap::try_from(take(ebpf, "STAMPS")?)?,
            peers: HashMap::try_from(take(ebpf, "PEERS")?)?,
            admissions: HashMap::try_from(take(ebpf, "ADMISSIONS")?)?,
            caps: HashMap::try_from(take(ebpf, "CAPS")?)?,
            // Bucket 0 belongs to limits that need none.
            buckets: Indices::new(1, maps::BUCKETS as u32),
            written: Written::default(),
            gone: Vec::new(),
            leaving: Leaving::default(),
            left_out: LeftOut::default(),
            sends_data_in_syn: data_in_syn != DataInSyn::Never,
            node: node.clone(),
            hold: None,
        })
    }

    /// Brings the maps to a policy.
    ///
    /// New peers and limits are there before a function's row names them, and go after the last row that does.
    ///
    /// Where there are not enough buckets, limits of peers have none, and what they would meter does not happen.
    pub(super) fn apply(&mut self, policy: &Policy, names: &mut Names) -> Result<()> {
        let before = std::mem::take(&mut self.left_out);
        for name in policy.functions.keys() {
            if names.functions.claim(name).is_some() {
                self.buckets.claim(&BucketOf::Local(name.clone()));
            }
        }
        self.add_peers(policy, names)?;
        self.add_limits(policy, names)?;
        self.write_functions(policy, names)?;
        if self.hold.is_none() {
            self.drop_functions(policy, names)?;
            self.drop_limits(policy, names)?;
            self.drop_peers(policy, names)?;
        }
        let LeftOut {
            functions,
            peers,
            limits,
        } = self.left_out;
        if self.left_out != before && self.leaves_out() {
            warn!(
                functions,
                peers,
                limits,
                "There is no room for these: the kernel has tables for {} functions, {} peers and {} limits",
                maps::FUNCTIONS,
                maps::TARGETS - 1,
                maps::BUCKETS - 1
            );
        }
        Ok(())
    }

    /// Whether there was no room for all of the last policy. There may be once those have gone that it does not name.
    pub(super) fn leaves_out(&self) -> bool {
        self.left_out != LeftOut::default()
    }

    /// The peers that were taken out since the last call.
    pub(super) fn take_gone(&mut self) -> Vec<(NodeId, [Address; 2])> {
        std::mem::take(&mut self.gone)
    }

    fn add_peers(&mut self, policy: &Policy, names: &mut Names) -> Result<()> {
        for (id, peer) in &policy.peers {
            let (Some(key), Some(index)) = (peer_key(id), names.peers.claim(id)) else {
                self.left_out.peers += 1;
                continue;
            };
            let mut rows = self.peer_rows(index, peer);
            if let (Some(_), Some(before)) = (&self.hold, self.written.peers.get(id)) {
                rows = adopted::blended(before, rows, peer.trust.sends.is_some());
            }
            if self.written.peers.get(id) == Some(&rows) {
                continue;
            }
            self.stamps
                .insert(index, rows.stamp, 0)
                .context("writing STAMPS")?;
            self.targets
                .set(index, rows.target, 0)
                .context("writing TARGETS")?;
            self.peers.insert(key, rows.peer, 0).context("writing PEERS")?;
            self.written.peers.insert(id.clone(), rows);
        }
        Ok(())
    }

    fn peer_rows(&self, index: u32, peer: &dfaas_control::Peer) -> PeerRows {
        let addresses = program::addresses(*peer.service.ip(), peer.service.ipv6());
        let in_syn = u32::from(self.sends_data_in_syn);
        PeerRows {
            target: Target {
                addresses,
                port: peer.service.port().to_be_bytes(),
                reserved: 0,
                flags: in_syn * TARGET_DATA_IN_SYN,
            },
            stamp: stamp(&self.node, peer.trust.sends),
            peer: Peer {
                index,
                addresses,
                flags: u32::from(peer.trust.tokenless) * PEER_TOKENLESS,
                tokens: peer.trust.accepts.map(token_text),
            },
        }
    }

    fn add_limits(&mut self, policy: &Policy, names: &mut Names) -> Result<()> {
        for (name, function) in &policy.functions {
            for (peer, &rate_rps) in &function.admit {
                let bucket = BucketOf::Admission(name.clone(), peer.clone());
                let Some((pair, bucket)) = self.metered(name, peer, bucket, names) else {
                    continue;
                };
                let limit = steering::admission(rate_rps, bucket);
                let key = (name.clone(), peer.clone());
                if self.written.admissions.insert(key, limit) != Some(limit) {
                    self.admissions
                        .insert(pair, limit, 0)
                        .context("writing ADMISSIONS")?;
                }
            }
            for (peer, route) in &function.routes {
                let bucket = BucketOf::Cap(name.clone(), peer.clone());
                let Some((pair, bucket)) = self.metered(name, peer, bucket, names) else {
                    continue;
                };
                let limit = steering::cap(route.cap_rps, bucket);
                let key = (name.clone(), peer.clone());
                if self.written.caps.insert(key, limit) != Some(limit) {
                    self.caps.insert(pair, limit, 0).context("writing CAPS")?;
                }
            }
        }
        Ok(())
    }

    /// The numbers of a limit between us and a peer, and of its bucket, if there is one for each.
    fn metered(
        &mut self,
        name: &FunctionName,
        peer: &NodeId,
        bucket: BucketOf,
        names: &mut Names,
    ) -> Option<(Pair, u32)> {
        let function = names.functions.claim(name)?;
        let index = names.peers.get(peer)?;
        let Some(bucket) = self.buckets.claim(&bucket) else {
            self.left_out.limits += 1;
            return None;
        };
        let pair = Pair {
            function,
            peer: index,
        };
        Some((pair, bucket))
    }

    fn write_functions(&mut self, policy: &Policy, names: &mut Names) -> Result<()> {
        for (name, function) in &policy.functions {
            let (Some(id), Some(bucket)) = (
                names.functions.claim(name),
                self.buckets.claim(&BucketOf::Local(name.clone())),
            ) else {
                self.left_out.functions += 1;
                continue;
            };
            if self.hold.is_some() && self.written.functions.contains_key(name) {
                continue;
            }
            let row = row(id, bucket, function, names);
            if self.written.functions.insert(name.clone(), row) != Some(row) {
                for key in function_keys(name) {
                    self.functions.insert(key, row, 0).context("writing FUNCTIONS")?;
                }
            }
        }
        Ok(())
    }

    fn drop_functions(&mut self, policy: &Policy, names: &mut Names) -> Result<()> {
        let gone: Vec<FunctionName> = self
            .written
            .functions
            .keys()
            .filter(|name| !policy.functions.contains_key(*name))
            .cloned()
            .collect();
        for name in std::mem::take(&mut self.leaving.functions) {
            if !policy.functions.contains_key(&name) {
                names.functions.retire(&name);
            }
        }
        for name in gone {
            self.leaving.functions.insert(name.clone());
            for key in function_keys(&name) {
                remove(&mut self.functions, &key, "FUNCTIONS")?;
            }
            self.written.functions.remove(&name);
            self.buckets.release(&BucketOf::Local(name.clone()));
        }
        Ok(())
    }

    fn drop_limits(&mut self, policy: &Policy, names: &Names) -> Result<()> {
        let is_admitted = |(name, peer): &(FunctionName, NodeId)| {
            policy
                .functions
                .get(name)
                .is_some_and(|function| function.admit.contains_key(peer))
        };
        let gone: Vec<_> = self
            .written
            .admissions
            .keys()
            .filter(|&key| !is_admitted(key))
            .cloned()
            .collect();
        for (name, peer) in gone {
            if let Some(pair) = names.pair(&name, &peer) {
                remove(&mut self.admissions, &pair, "ADMISSIONS")?;
            }
            self.buckets
                .release(&BucketOf::Admission(name.clone(), peer.clone()));
            self.written.admissions.remove(&(name, peer));
        }
        let has_route = |(name, peer): &(FunctionName, NodeId)| {
            policy
                .functions
                .get(name)
                .is_some_and(|function| function.routes.contains_key(peer))
        };
        let gone: BTreeSet<_> = self
            .written
            .caps
            .keys()
            .filter(|&key| !has_route(key))
            .cloned()
            .collect();
        let leaving = std::mem::replace(&mut self.leaving.caps, gone);
        for (name, peer) in leaving.intersection(&self.leaving.caps).cloned() {
            if let Some(pair) = names.pair(&name, &peer) {
                remove(&mut self.caps, &pair, "CAPS")?;
            }
            self.buckets.release(&BucketOf::Cap(name.clone(), peer.clone()));
            self.written.caps.remove(&(name, peer));
        }
        Ok(())
    }

    /// A peer that left keeps its index until another needs it, so that its counters keep their meaning if it comes back.
    fn drop_peers(&mut self, policy: &Policy, names: &mut Names) -> Result<()> {
        let gone: Vec<NodeId> = self
            .written
            .peers
            .keys()
            .filter(|id| !policy.peers.contains_key(*id))
            .cloned()
            .collect();
        for id in std::mem::take(&mut self.leaving.targets) {
            let index = names.peers.get(&id).filter(|_| !policy.peers.contains_key(&id));
            if let Some(index) = index {
                // Not removed: a client may still send a request again that was on its way there.
                self.stamps
                    .insert(index, stamp(&self.node, None), 0)
                    .context("writing STAMPS")?;
                self.targets
                    .set(index, Target::default(), 0)
                    .context("writing TARGETS")?;
                names.peers.retire(&id);
            }
        }
        for id in gone {
            self.leaving.targets.insert(id.clone());
            if let Some(key) = peer_key(&id) {
                remove(&mut self.peers, &key, "PEERS")?;
            }
            if let Some(rows) = self.written.peers.remove(&id) {
                self.gone.push((id, rows.peer.addresses));
            }
        }
        Ok(())
    }
}

/// The fields of a request to a peer. They are of one length, whatever is known.
fn stamp(node: &NodeId, token: Option<Token>) -> Stamp {
    let token = token.map_or_else(|| NO_TOKEN.to_owned(), |token| token.text());
    let text = format!("DFaaS-Node-ID: {node}\r\nDFaaS-Node-Token: {token}\r\n");
    let mut stamp = Stamp {
        length: text.len() as u32,
        reserved: 0,
        bytes: [0; STAMP_BYTES],
    };
    stamp.bytes[..text.len()].copy_from_slice(text.as_bytes());
    stamp
}

fn token_text(token: Option<Token>) -> TokenText {
    let mut value = [0; NODE_ID_BYTES];
    if let Some(token) = token {
        value[..TOKEN_BYTES].copy_from_slice(token.text().as_bytes());
    }
    TokenText::new(&value)
}

fn row(id: u32, bucket: u32, function: &FunctionPolicy, names: &Names) -> Function {
    let routes = function.routes.iter();
    let known: Vec<(u16, Route)> = routes
        .filter_map(|(peer, route)| Some((names.peers.get(peer)? as u16, *route)))
        .collect();
    let choice = steering::choice(steering::own_share(function), &known);
    Function {
        id,
        hosted: u32::from(function.hosted),
        local: steering::local(function.local_rps, bucket),
        slots: choice.slots,
        fallbacks: choice.fallbacks,
    }
}

fn function_keys(name: &FunctionName) -> impl Iterator<Item = FunctionKey> {
    steering::names_of(name).into_iter().filter_map(|text| {
        let mut key = FunctionKey {
            name: [0; NAME_BYTES],
        };
        key.name.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(key)
    })
}

fn peer_key(id: &NodeId) -> Option<PeerKey> {
    let mut key = PeerKey {
        id: [0; NODE_ID_BYTES],
    };
    key.id
        .get_mut(..id.as_str().len())?
        .copy_from_slice(id.as_str().as_bytes());
    Some(key)
}

#[cfg(test)]
mod full;
#[cfg(test)]
mod tests {
    use dfaas_common::pick;

    use super::*;

    #[test]
    fn a_row_names_the_peers_by_their_numbers() {
        let mut names = Names::new();
        let mut routes = BTreeMap::new();
        for (peer, weight, cap_rps) in [("a", 1.0, 5.0), ("b", 0.0, 20.0)] {
            let id = NodeId::new(peer).unwrap();
            names.peers.claim(&id);
            routes.insert(id, Route { weight, cap_rps });
        }
        let function = FunctionPolicy {
            local_rps: 10.0,
            hosted: true,
            here: 0.0,
            routes,
            admit: BTreeMap::new(),
        };
        let row = row(3, 4, &function, &names);
        assert_eq!(row.slots, [1; pick::SLOTS]);
        assert_eq!(row.fallbacks, [2, 1, 0, 0]);
        assert_eq!((row.local.interval_ns, row.local.bucket), (100_000_000, 4));
    }

    #[test]
    fn a_stamp_is_of_one_length_and_fits() {
        let node = NodeId::new("12D3KooWDZ3JhNfXuAa45LAupXfujbY23kqReX22gGiGj3RiXAMd").unwrap();
        let stamps = [None, Some(Token::new([0xab; 16]))].map(|token| stamp(&node, token));
        assert_eq!(stamps.map(|stamp| stamp.length), [121, 121]);
        let text = String::from_utf8(stamps[1].bytes[..121].to_vec()).unwrap();
        let token = "ab".repeat(16);
        assert_eq!(
            text,
            format!("DFaaS-Node-ID: {node}\r\nDFaaS-Node-Token: {token}\r\n")
        );
    }

    #[test]
    fn a_key_is_filled_up_with_zeros() {
        let keys: Vec<FunctionKey> = function_keys(&FunctionName::new("figlet").unwrap()).collect();
        assert_eq!(keys.len(), 2);
        assert_eq!(&keys[0].name[..8], b"figlet\0\0");
    }
}
