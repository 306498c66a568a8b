//! The mind of the agent: messages, node table and strategies, without I/O, clock or randomness.
//!
//! A shell feeds [`Input`]s and time into a [`Control`] and carries out its [`Output`]s. The same sequence of
//! calls always gives the same outputs, so a recording of inputs is a test case.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod all_local;
mod control;
mod counters;
mod explanation;
mod external;
mod federation;
mod function_spec;
mod lenient;
mod lineup;
mod message;
mod meter;
mod names;
mod neighbourhood;
mod neighbours;
mod node_margin;
mod node_usage;
mod pairing;
mod period_rates;
mod policy;
mod recalc;
mod rtt_band;
mod service_address;
mod settings;
mod static_shares;
mod status;
mod strategy;
mod text;
mod water_filling;

pub use control::{Control, Input, Output};
pub use counters::{Counters, FunctionCounters};
pub use explanation::Explanation;
pub use federation::{Exchange, Federation};
pub use function_spec::{FunctionSpec, LabelError, MAXRATE_LABEL};
pub use lineup::SwitchError;
pub use message::{MESSAGE_BYTES_MAX, Rejection, check_message};
pub use names::{FunctionName, NameError, NodeId};
pub use neighbourhood::{Neighbourhood, Scope};
pub use node_usage::{ForecasterKind, LoadGroup, MarginSettings, NodeUsage};
pub use pairing::{NotAToken, Token, Tokenless};
pub use policy::{FunctionPolicy, Peer, Policy, Route, Trust};
pub use service_address::ServiceAddress;
pub use settings::{Settings, SettingsError};
pub use status::{FunctionStatus, PeerFunctionStatus, PeerStatus, ShadowStatus, Status};
pub use strategy::{StrategyKind, UnknownStrategy};
