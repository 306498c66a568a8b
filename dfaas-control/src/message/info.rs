//! What nodes of the strategies static and node margin tell each other, as the Go agents write it.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;

use serde::{Deserialize, Serialize};

use super::{FUNCTIONS_MAX, Rejection, address, to_json};
use crate::names::FunctionName;

pub(super) const TYPE_STATIC: &str = "nodeinfoStatic";

/// What a node tells about itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeInfo {
    pub(crate) service: SocketAddrV4,
    pub(crate) functions: BTreeSet<FunctionName>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct InfoBody {
    #[serde(rename = "MsgType")]
    kind: String,
    #[serde(rename = "HAProxyHost")]
    host: String,
    #[serde(rename = "HAProxyPort")]
    port: u16,
    /// An empty list of Go is `null`.
    #[serde(rename = "Functions")]
    functions: Option<BTreeSet<FunctionName>>,
}

impl NodeInfo {
    pub(crate) fn encode_static(&self) -> Vec<u8> {
        to_json(&InfoBody {
            kind: TYPE_STATIC.to_owned(),
            host: self.service.ip().to_string(),
            port: self.service.port(),
            functions: Some(self.functions.clone()),
        })
    }
}

impl InfoBody {
    pub(super) fn check(self) -> Result<NodeInfo, Rejection> {
        let functions = self.functions.unwrap_or_default();
        if functions.len() > FUNCTIONS_MAX {
            return Err(Rejection::TooMany);
        }
        Ok(NodeInfo {
            service: address(&self.host, self.port)?,
            functions,
        })
    }
}
