//! What nodes of the strategies static and node margin tell each other, as the Go agents write it.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::{FUNCTIONS_MAX, Rejection, address, is_rate, to_json};
use crate::lenient;
use crate::names::FunctionName;
use crate::neighbourhood::Scope;
use crate::node_usage::{Load, NodeUsage};
use crate::service_address::ServiceAddress;

pub(super) const TYPE_STATIC: &str = "nodeinfoStatic";
pub(super) const TYPE_MARGIN_INFO: &str = "nodeinfoNMS";
pub(super) const TYPE_MARGIN: &str = "nodemargininfoNMS";

/// What a node tells about itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeInfo {
    pub(crate) service: ServiceAddress,
    pub(crate) functions: BTreeSet<FunctionName>,
    /// To whom it sends.
    pub(crate) scope: Scope,
    /// Told under node margin only.
    pub(crate) profile: Option<Profile>,
}

/// What kind of machine a node is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Profile {
    pub(crate) node_type: u8,
    pub(crate) limits: NodeUsage,
}

/// How much more a node can bear.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MarginNews {
    /// The mean over the metrics, in percent of the limits, for each neighbour.
    pub(crate) margin_percent: f64,
    pub(crate) load: Load,
}

#[derive(Serialize, Deserialize)]
pub(super) struct InfoBody {
    #[serde(rename = "MsgType")]
    kind: String,
    #[serde(rename = "HAProxyHost")]
    host: String,
    #[serde(rename = "HAProxyPort")]
    port: u16,
    #[serde(rename = "IPv6", default, skip_serializing_if = "Option::is_none")]
    ipv6: Option<Ipv6Addr>,
    #[serde(rename = "NodeType", default, skip_serializing_if = "Option::is_none")]
    node_type: Option<u8>,
    #[serde(rename = "MaxValues", default, skip_serializing_if = "Option::is_none")]
    limits: Option<NodeUsage>,
    /// An empty list of Go is `null`.
    #[serde(rename = "Functions", deserialize_with = "lenient::set")]
    functions: Option<BTreeSet<FunctionName>>,
    /// Go agents neither tell nor read it.
    #[serde(rename = "Neighbours", default, skip_serializing_if = "Scope::is_everyone")]
    scope: Scope,
}

#[derive(Serialize, Deserialize)]
pub(super) struct MarginBody {
    #[serde(rename = "MsgType")]
    kind: String,
    #[serde(rename = "Margin")]
    margin_percent: f64,
    #[serde(rename = "Load")]
    load: Load,
}

impl NodeInfo {
    pub(crate) fn encode_static(&self) -> Vec<u8> {
        to_json(&self.body(TYPE_STATIC, None))
    }

    pub(crate) fn encode_margin(&self, profile: &Profile) -> Vec<u8> {
        to_json(&self.body(TYPE_MARGIN_INFO, Some(profile)))
    }

    fn body(&self, kind: &str, profile: Option<&Profile>) -> InfoBody {
        InfoBody {
            kind: kind.to_owned(),
            host: self.service.ip().to_string(),
            port: self.service.port(),
            ipv6: self.service.ipv6(),
            node_type: profile.map(|profile| profile.node_type),
            limits: profile.map(|profile| profile.limits),
            functions: Some(self.functions.clone()),
            scope: self.scope.clone(),
        }
    }
}

impl MarginNews {
    pub(crate) fn encode(&self) -> Vec<u8> {
        to_json(&MarginBody {
            kind: TYPE_MARGIN.to_owned(),
            margin_percent: self.margin_percent,
            load: self.load,
        })
    }
}

impl InfoBody {
    pub(super) fn check(self) -> Result<NodeInfo, Rejection> {
        let functions = self.functions.unwrap_or_default();
        if functions.len() > FUNCTIONS_MAX {
            return Err(Rejection::TooMany);
        }
        self.scope.check()?;
        let profile = Profile {
            node_type: self.node_type.unwrap_or_default(),
            limits: self.limits.unwrap_or_default(),
        };
        if !profile.limits.is_limit() {
            return Err(Rejection::AbsurdValue);
        }
        Ok(NodeInfo {
            service: address(&self.host, self.port, self.ipv6)?,
            functions,
            scope: self.scope,
            profile: Some(profile),
        })
    }
}

impl MarginBody {
    pub(super) fn check(self) -> Result<MarginNews, Rejection> {
        let is_plausible =
            (0.0..=100.0).contains(&self.margin_percent) && self.load.rates().into_iter().all(is_rate);
        if !is_plausible {
            return Err(Rejection::AbsurdValue);
        }
        Ok(MarginNews {
            margin_percent: self.margin_percent,
            load: self.load,
        })
    }
}
