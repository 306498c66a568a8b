//! Why a function was not changed.

use hyper::StatusCode;

use crate::run::plan::PlanError;
use crate::state::files::FileError;
use crate::state::name::{FunctionName, NameError};
use crate::state::namespaces::NamespaceError;
use crate::state::secrets::SecretError;

/// How many replicas a function may have.
pub(super) const REPLICAS_MAX: u32 = 1000;

#[derive(Debug, thiserror::Error)]
pub enum FunctionError {
    #[error("function name: {0}")]
    Name(#[from] NameError),
    #[error("function {name}: {source}")]
    Plan { name: FunctionName, source: PlanError },
    #[error("function {name}: {source}")]
    Secret { name: FunctionName, source: SecretError },
    #[error("function {name}: {source}")]
    Namespace {
        name: FunctionName,
        source: NamespaceError,
    },
    #[error("the function {0} is deployed; change it with PUT, or remove it first")]
    Exists(FunctionName),
    #[error("there is no function {0}; list them with GET /system/functions")]
    Missing(FunctionName),
    #[error("function {name}: {replicas} replicas are more than the {REPLICAS_MAX} allowed")]
    Replicas { name: FunctionName, replicas: u32 },
    #[error("function {name}: it would listen on port {port}, which is {holder}'s; give it another, or none")]
    Port {
        name: FunctionName,
        port: u16,
        holder: String,
    },
    #[error(transparent)]
    File(#[from] FileError),
}

impl FunctionError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Name(_)
            | Self::Plan { .. }
            | Self::Secret { .. }
            | Self::Namespace { .. }
            | Self::Port { .. }
            | Self::Replicas { .. } => StatusCode::BAD_REQUEST,
            Self::Exists(_) => StatusCode::CONFLICT,
            Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::File(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}
