//! What carries requests from the client to the backend.

/// What carries requests from the client to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contender {
    /// Nothing; where the backend is on the second node, the first one routes the packets.
    Direct,
    /// Our data plane.
    Dfaas,
    Haproxy {
        workers: u16,
    },
    Nginx {
        workers: u16,
    },
}

impl Contender {
    pub(crate) const ALL: [Self; 6] = [
        Self::Direct,
        Self::Dfaas,
        Self::Haproxy { workers: 1 },
        Self::Haproxy { workers: 2 },
        Self::Nginx { workers: 1 },
        Self::Nginx { workers: 2 },
    ];

    pub(crate) fn name(self) -> String {
        match self {
            Self::Direct => "direct".to_owned(),
            Self::Dfaas => "dfaas".to_owned(),
            Self::Haproxy { workers } => format!("haproxy-{workers}"),
            Self::Nginx { workers } => format!("nginx-{workers}"),
        }
    }
}
