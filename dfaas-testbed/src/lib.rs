//! Network namespaces, processes and federations for the demo and the tests.
//!
//! Everything lives in namespaces without a name that end with this process, however it ends; the interfaces of the
//! namespace it was started in are never touched.

#![forbid(unsafe_code)]

mod adviser;
mod burst;
mod changes;
mod clock;
mod federation;
mod http;
mod kernel_maps;
mod late_link;
mod links;
mod load;
mod mishaps;
mod namespace;
mod network;
mod node;
mod process;
mod relay;
mod response;
mod siege;
mod stack;
mod status;
mod tally;
mod wire;

pub use adviser::Adviser;
pub use burst::{Answers, Burst};
pub use changes::changing_adviser;
pub use clock::{now, pace, patience, wait_until};
pub use federation::{CLIENT, DATA_PLANE, Federation, NodeSpec, Place};
pub use http::{Answer, get};
pub use kernel_maps::{Held, bpftool, held};
pub use late_link::LateLink;
pub use links::Links;
pub use load::{Connections, Load, Outcome, Running, Sample};
pub use namespace::Namespace;
pub use network::Network;
pub use node::Node;
pub use process::{Process, binary};
pub use relay::Relay;
pub use response::Response;
pub use siege::{Siege, Toll};
pub use stack::{Function, figlet, shasum};
pub use status::{Status, Totals};
pub use tally::{Second, Tally};
pub use wire::Wire;
