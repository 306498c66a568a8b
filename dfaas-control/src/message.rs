//! What nodes tell each other: one JSON object per message, of the kind its `MsgType` says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::lenient;
use crate::names::{FunctionName, NodeId};
use crate::neighbourhood::Scope;
use crate::rtt_band::RttBand;
use crate::service_address::ServiceAddress;
use crate::settings::PERIOD_MAX;

use self::info::{InfoBody, MarginBody, TYPE_MARGIN, TYPE_MARGIN_INFO, TYPE_STATIC};
pub(crate) use self::info::{MarginNews, NodeInfo, Profile};

mod info;

/// Largest message looked at: room for 1024 functions with the longest names, and 1000 peers, told of four times, with
/// identities of libp2p.
pub const MESSAGE_BYTES_MAX: usize = 512 * 1024;
/// Largest rate believed, in requests per second: beyond what any machine serves, far below where sums lose digits.
pub(crate) const RATE_RPS_MAX: f64 = 1e9;
/// Most functions one node may list. Decisions cost functions times nodes, so this bounds what a peer can make us do.
pub(crate) const FUNCTIONS_MAX: usize = 1024;
/// Most peers kept: every node hears from every other, so this bounds what a federation costs each.
pub(crate) const PEERS_MAX: usize = 1_000;
/// Longest service time believed, in seconds.
pub(crate) const SERVICE_TIME_S_MAX: f64 = 86_400.0;

/// The version of the messages that this node tells. A node that adds fields, bands or names need not raise it: what an older
/// one does not know it leaves out. One that is to be raised is when fields change their meaning or kind.
const VERSION: u32 = 1;

const TYPE_STATE: &str = "nodestate";
const TYPE_EXTERNAL: &str = "nodestateExternal";
const TYPE_SHADOW: &str = "shadow";
const TYPE_INFO: &str = "nodeinfo";
const TYPE_INFO_RECALC: &str = "nodeinfoRecalc";

/// Why a message was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// It came back to its sender.
    #[error("message is our own")]
    OwnMessage,
    /// It has more than [`MESSAGE_BYTES_MAX`] bytes.
    #[error("message is too large")]
    TooLarge,
    /// It is not the JSON its type demands.
    #[error("message is malformed")]
    Malformed,
    /// No strategy knows its type.
    #[error("message is of an unknown type")]
    UnknownType,
    /// It cannot be read, and says that it is of a version that this node does not know.
    #[error("message is of a newer version")]
    NewerVersion,
    /// It belongs to a strategy other than the configured one.
    #[error("message belongs to another strategy")]
    OtherStrategy,
    /// It holds a number that cannot be true, such as a negative rate.
    #[error("message holds an absurd value")]
    AbsurdValue,
    /// Nothing can be sent to the address it tells.
    #[error("message tells an address that cannot be reached")]
    BadAddress,
    /// It lists more functions or peers than one node may.
    #[error("message lists too much")]
    TooMany,
    /// A newer one from the same node came earlier.
    #[error("message is older than one already seen")]
    Outdated,
    /// Its sender has just been lost.
    #[error("sender of the message is gone")]
    SenderGone,
    /// There is no room for one more peer.
    #[error("no room for one more peer")]
    TableFull,
    /// The operator does not admit its sender.
    #[error("sender of the message is not admitted")]
    NotAdmitted,
    /// It does not name this node.
    #[error("message is not addressed to this node")]
    NotAddressed,
}

/// A message that passed all checks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    State(NodeState),
    External(NodeState),
    Offer(NodeOffer),
    StaticInfo(NodeInfo),
    MarginInfo(NodeInfo),
    Margin(MarginNews),
}

/// What a node tells about itself for water-filling.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeState {
    /// Incarnation and sequence: together they only grow.
    pub(crate) version: (u64, u64),
    pub(crate) service: ServiceAddress,
    pub(crate) period: Duration,
    pub(crate) functions: BTreeMap<FunctionName, FunctionState>,
    /// The latency band of all nodes that are not named.
    pub(crate) band: RttBand,
    /// The latency bands of the others: what is measured and told grows with what is unusual.
    pub(crate) bands: BTreeMap<NodeId, RttBand>,
    /// To whom it sends.
    pub(crate) scope: Scope,
    /// Whom its operator admits: it sends nothing to others, and takes nothing from them.
    pub(crate) admitted: Scope,
    /// Whom it hears and cannot send to.
    pub(crate) unreachable: BTreeSet<NodeId>,
}

/// What a node tells about one function, hosted or only asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FunctionState {
    #[serde(rename = "Capacity")]
    pub(crate) capacity_rps: f64,
    #[serde(rename = "Demand")]
    pub(crate) demand_rps: f64,
    #[serde(rename = "ServiceTimeP95", default, skip_serializing_if = "Option::is_none")]
    pub(crate) service_time_p95_s: Option<f64>,
}

/// What a Recalc node offers to each of its peers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeOffer {
    pub(crate) service: ServiceAddress,
    pub(crate) limits: BTreeMap<NodeId, BTreeMap<FunctionName, f64>>,
    pub(crate) scope: Scope,
}

#[derive(Deserialize)]
struct Envelope {
    /// What a branch of the Go agents adds has its kind in an object `header`.
    #[serde(rename = "MsgType", default)]
    kind: String,
    /// Who says nothing of it is of the first.
    #[serde(rename = "V", default)]
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StateBody {
    #[serde(rename = "MsgType")]
    kind: String,
    #[serde(rename = "V", default)]
    version: u32,
    incarnation: u64,
    sequence: u64,
    #[serde(rename = "HAProxyHost")]
    host: String,
    #[serde(rename = "HAProxyPort")]
    port: u16,
    #[serde(rename = "IPv6", default, skip_serializing_if = "Option::is_none")]
    ipv6: Option<Ipv6Addr>,
    period: f64,
    #[serde(deserialize_with = "lenient::map")]
    functions: BTreeMap<FunctionName, FunctionState>,
    #[serde(default = "farthest", skip_serializing_if = "is_farthest")]
    band: RttBand,
    #[serde(
        default,
        deserialize_with = "lenient::map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    bands: BTreeMap<NodeId, RttBand>,
    #[serde(rename = "Neighbours", default, skip_serializing_if = "Scope::is_everyone")]
    scope: Scope,
    #[serde(default, skip_serializing_if = "Scope::is_everyone")]
    admitted: Scope,
    #[serde(
        default,
        deserialize_with = "lenient::set",
        skip_serializing_if = "Option::is_none"
    )]
    unreachable: Option<BTreeSet<NodeId>>,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent, bound(deserialize = "N: Deserialize<'de>"))]
struct LimitsBody<N>(#[serde(deserialize_with = "lenient::map")] BTreeMap<FunctionName, N>);

#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "N: Deserialize<'de>"))]
struct OfferBody<N> {
    #[serde(rename = "MsgType")]
    kind: String,
    #[serde(rename = "HAProxyHost")]
    host: String,
    #[serde(rename = "HAProxyPort")]
    port: u16,
    #[serde(rename = "IPv6", default, skip_serializing_if = "Option::is_none")]
    ipv6: Option<Ipv6Addr>,
    #[serde(rename = "FuncLimits", deserialize_with = "lenient::map")]
    limits: BTreeMap<NodeId, LimitsBody<N>>,
    /// Go agents neither tell nor read it.
    #[serde(rename = "Neighbours", default, skip_serializing_if = "Scope::is_everyone")]
    scope: Scope,
}

/// Tells whether a peer's message can be read, whichever strategy it is for.
///
/// # Errors
///
/// Why it cannot.
pub fn check_message(body: &[u8]) -> Result<(), Rejection> {
    match unwrap_shadow(body) {
        Some(inner) => Message::decode(&inner?).map(drop),
        None => Message::decode(body).map(drop),
    }
}

impl Message {
    /// Reads a message from a peer.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Rejection> {
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(Rejection::TooLarge);
        }
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(Rejection::Malformed);
        }
        let envelope: Envelope = parse(body)?;
        let message = Self::decode_as(&envelope.kind, body);
        match message {
            Err(Rejection::Malformed) if envelope.version > VERSION => Err(Rejection::NewerVersion),
            message => message,
        }
    }

    fn decode_as(kind: &str, body: &[u8]) -> Result<Self, Rejection> {
        match kind {
            TYPE_STATE => parse::<StateBody>(body)?.check().map(Self::State),
            TYPE_EXTERNAL => parse::<StateBody>(body)?.check().map(Self::External),
            TYPE_INFO | TYPE_INFO_RECALC => parse::<OfferBody<f64>>(body)?.check().map(Self::Offer),
            TYPE_STATIC => parse::<InfoBody>(body)?.check().map(Self::StaticInfo),
            TYPE_MARGIN_INFO => parse::<InfoBody>(body)?.check().map(Self::MarginInfo),
            TYPE_MARGIN => parse::<MarginBody>(body)?.check().map(Self::Margin),
            _ => Err(Rejection::UnknownType),
        }
    }
}

impl NodeState {
    /// Tells whether the other state differs in nothing but its version.
    pub(crate) fn says_the_same_as(&self, other: &Self) -> bool {
        let content = |state: &Self| (state.service, state.period);
        content(self) == content(other) && self.functions == other.functions && self.is_placed_as(other)
    }

    /// Tells whether who is how far from it, and its neighbour, is the same in the other state.
    pub(crate) fn is_placed_as(&self, other: &Self) -> bool {
        (self.band, &self.bands, &self.unreachable) == (other.band, &other.bands, &other.unreachable)
            && (&self.scope, &self.admitted) == (&other.scope, &other.admitted)
    }

    /// The functions that its platform runs.
    pub(crate) fn hosted(&self) -> impl Iterator<Item = &FunctionName> {
        let hosted = self
            .functions
            .iter()
            .filter(|(_, function)| function.capacity_rps > 0.0);
        hosted.map(|(name, _)| name)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        self.encode_as(TYPE_STATE)
    }

    pub(crate) fn encode_external(&self) -> Vec<u8> {
        self.encode_as(TYPE_EXTERNAL)
    }

    fn encode_as(&self, kind: &str) -> Vec<u8> {
        to_json(&StateBody {
            kind: kind.to_owned(),
            version: VERSION,
            incarnation: self.version.0,
            sequence: self.version.1,
            host: self.service.ip().to_string(),
            port: self.service.port(),
            ipv6: self.service.ipv6(),
            period: self.period.as_secs_f64(),
            functions: self.functions.clone(),
            band: self.band,
            bands: self.bands.clone(),
            scope: self.scope.clone(),
            admitted: self.admitted.clone(),
            unreachable: Some(self.unreachable.clone()).filter(|ids| !ids.is_empty()),
        })
    }
}

/// Writes what a Recalc node offers. Limits are whole numbers, as the Go agents write them.
pub(crate) fn encode_offer(
    service: ServiceAddress,
    limits: BTreeMap<NodeId, BTreeMap<FunctionName, u64>>,
    scope: &Scope,
) -> Vec<u8> {
    to_json(&OfferBody {
        kind: TYPE_INFO_RECALC.to_owned(),
        host: service.ip().to_string(),
        port: service.port(),
        ipv6: service.ipv6(),
        limits: limits
            .into_iter()
            .map(|(id, limits)| (id, LimitsBody(limits)))
            .collect(),
        scope: scope.clone(),
    })
}

impl StateBody {
    fn check(self) -> Result<NodeState, Rejection> {
        let unreachable = self.unreachable.unwrap_or_default();
        if self.functions.len() > FUNCTIONS_MAX
            || self.bands.len() > PEERS_MAX
            || unreachable.len() > PEERS_MAX
        {
            return Err(Rejection::TooMany);
        }
        self.scope.check()?;
        self.admitted.check()?;
        if !(self.period > 0.0 && self.period <= PERIOD_MAX.as_secs_f64()) {
            return Err(Rejection::AbsurdValue);
        }
        if !self.functions.values().all(FunctionState::is_plausible) {
            return Err(Rejection::AbsurdValue);
        }
        Ok(NodeState {
            version: (self.incarnation, self.sequence),
            service: address(&self.host, self.port, self.ipv6)?,
            period: Duration::from_secs_f64(self.period),
            functions: self.functions,
            band: self.band,
            bands: self.bands,
            scope: self.scope,
            admitted: self.admitted,
            unreachable,
        })
    }
}

impl FunctionState {
    fn is_plausible(&self) -> bool {
        is_rate(self.capacity_rps)
            && is_rate(self.demand_rps)
            && self
                .service_time_p95_s
                .is_none_or(|time_s| (0.0..=SERVICE_TIME_S_MAX).contains(&time_s))
    }
}

impl OfferBody<f64> {
    fn check(self) -> Result<NodeOffer, Rejection> {
        let limits = self.limits.into_iter().map(|(id, limits)| (id, limits.0));
        let limits: BTreeMap<NodeId, BTreeMap<FunctionName, f64>> = limits.collect();
        if limits.len() > PEERS_MAX || limits.values().any(|limits| limits.len() > FUNCTIONS_MAX) {
            return Err(Rejection::TooMany);
        }
        self.scope.check()?;
        if !limits
            .values()
            .flat_map(BTreeMap::values)
            .all(|&limit| is_rate(limit))
        {
            return Err(Rejection::AbsurdValue);
        }
        Ok(NodeOffer {
            service: address(&self.host, self.port, self.ipv6)?,
            limits,
            scope: self.scope,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct ShadowBody<'a> {
    #[serde(rename = "MsgType")]
    kind: &'a str,
    #[serde(rename = "Body", borrow)]
    body: &'a RawValue,
}

/// What only shadows are to read, so that no node acts on what another one only considers.
pub(crate) fn wrap_shadow(body: &[u8]) -> Vec<u8> {
    let body = serde_json::from_slice(body).expect("a message is JSON");
    to_json(&ShadowBody {
        kind: TYPE_SHADOW,
        body,
    })
}

/// What is for shadows in a message, if it is one for them.
pub(crate) fn unwrap_shadow(body: &[u8]) -> Option<Result<Vec<u8>, Rejection>> {
    const START: &str = r#"{"MsgType":"shadow","#;
    if !body.starts_with(START.as_bytes()) {
        return None;
    }
    if body.len() > MESSAGE_BYTES_MAX {
        return Some(Err(Rejection::TooLarge));
    }
    Some(parse::<ShadowBody<'_>>(body).map(|shadow| shadow.body.get().as_bytes().to_vec()))
}

/// Tells whether a number can be a rate, which no NaN can.
pub(crate) fn is_rate(value: f64) -> bool {
    (0.0..=RATE_RPS_MAX).contains(&value)
}

fn farthest() -> RttBand {
    RttBand::FARTHEST
}

fn is_farthest(band: &RttBand) -> bool {
    *band == RttBand::FARTHEST
}

fn address(host: &str, port: u16, ipv6: Option<Ipv6Addr>) -> Result<ServiceAddress, Rejection> {
    let ip: Ipv4Addr = host.parse().map_err(|_| Rejection::BadAddress)?;
    let service = ServiceAddress::new(ip, port).with_ipv6(ipv6);
    if service.is_reachable() {
        Ok(service)
    } else {
        Err(Rejection::BadAddress)
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Rejection> {
    serde_json::from_slice(body).map_err(|_| Rejection::Malformed)
}

fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("text keys and finite numbers are always JSON")
}

#[cfg(test)]
mod tests;
