//! Whoever can stand between a client and functions: each is held to the same requests and the same answers.

use std::{net::SocketAddr, sync::OnceLock};

use dfaas_testbed::{Federation, Function, Namespace, NodeSpec, Wire};

use crate::kit::PLENTY_RPS;

/// What node 1 may serve of `shared` in a second; the others take all that is left, in these proportions.
pub(crate) const SHARED_RPS: [u32; 3] = [10, 100_000, 200_000];

/// What the name of a function ends with that reads all before it answers, with the same.
pub(crate) const CAT: &str = "-cat";

/// Three nodes that tests only ask. Each has an echo and a cat of its own, and all have `shared`, and
/// `guarded` and `buried`, which are not to be called. They end with the test program.
pub(crate) fn trio() -> &'static Federation {
    static TRIO: OnceLock<Federation> = OnceLock::new();
    TRIO.get_or_init(|| {
        let spec = |(own, shared_rps): (&str, u32)| {
            NodeSpec::new(vec![
                Function::echo(PLENTY_RPS).named(own),
                cat(&format!("{own}{CAT}")),
                Function::echo(PLENTY_RPS).named("guarded"),
                Function::echo(PLENTY_RPS).named("buried"),
                Function::echo(shared_rps).named("shared"),
            ])
        };
        let owns = ["near", "middle", "far"].into_iter().zip(SHARED_RPS);
        Federation::start(&owns.map(spec).collect::<Vec<_>>()).unwrap()
    })
}

fn cat(name: &str) -> Function {
    Function {
        image: "cat".to_owned(),
        process: Some("cat".to_owned()),
        ..Function::echo(PLENTY_RPS).named(name)
    }
}

/// A place where functions are called.
#[derive(Clone, Debug)]
pub(crate) struct FrontEnd {
    pub(crate) name: &'static str,
    pub(crate) from: &'static Namespace,
    pub(crate) address: SocketAddr,
    /// The functions that are reached there, and who serves them.
    pub(crate) functions: &'static [(&'static str, &'static str)],
}

impl FrontEnd {
    /// Node 1, as users see it.
    pub(crate) fn data_plane() -> Self {
        let federation = trio();
        Self {
            name: "data plane",
            from: &federation.client,
            address: federation.nodes[0].service(),
            functions: &[("near", "node1"), ("middle", "node2"), ("far", "node3")],
        }
    }

    /// Node 1, as users see it by IPv6.
    pub(crate) fn ipv6() -> Self {
        Self {
            name: "data plane by IPv6",
            address: trio().nodes[0].ipv6_service(),
            ..Self::data_plane()
        }
    }

    /// Node 1, asked for functions of one node only.
    pub(crate) fn data_plane_to(functions: &'static [(&'static str, &'static str); 1]) -> Self {
        Self {
            name: functions[0].0,
            functions,
            ..Self::data_plane()
        }
    }

    /// The platform of node 1, with nobody in between: what it answers is what the others must let through.
    pub(crate) fn platform() -> Self {
        Self {
            name: "platform",
            from: trio().nodes[0].namespace(),
            address: ([127, 0, 0, 1], 8090).into(),
            functions: &[("near", "node1")],
        }
    }

    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(self.from, self.address).unwrap()
    }

    /// The function of a request by its number, and who serves it.
    pub(crate) fn function(&self, number: usize) -> (&'static str, &'static str) {
        self.functions[number % self.functions.len()]
    }
}
