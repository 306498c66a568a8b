//! The mind of the agent: messages, node table and strategies, without I/O, clock or randomness.
//!
//! A shell feeds [`Input`]s and time into a [`Control`] and carries out its [`Output`]s. The same sequence of
//! calls always gives the same outputs, so a recording of inputs is a test case.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod control;
mod counters;
mod function_spec;
mod message;
mod meter;
mod names;
mod pairing;
mod policy;
mod recalc;
mod rtt_band;
mod settings;
mod status;
mod strategy;
mod water_filling;

pub use control::{Control, Input, Output};
pub use counters::{Counters, FunctionCounters};
pub use function_spec::{FunctionSpec, LabelError, MAXRATE_LABEL};
pub use message::{MESSAGE_BYTES_MAX, Rejection};
pub use names::{FunctionName, NameError, NodeId};
pub use pairing::{NotAToken, Token, Tokenless};
pub use policy::{FunctionPolicy, Peer, Policy, Route, Trust};
pub use settings::{Settings, SettingsError};
pub use status::{FunctionStatus, PeerFunctionStatus, PeerStatus, Status};
pub use strategy::{StrategyKind, UnknownStrategy};
