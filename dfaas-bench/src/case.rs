//! What is measured.

use crate::ports::Route;

/// A head that does not fit into what the kernel reads (`SEGMENT_SIZE` of the data plane is 1332 bytes).
const LONG_FIELD_BYTES: usize = 2000;

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    /// One after another on each connection.
    KeepAlive,
    /// Each on a connection of its own.
    PerRequest,
}

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Nothing; the response has this many bytes.
    Download(u32),
    /// This many bytes; the response has 64.
    Upload(u32),
}

/// What answer is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 200 and a body.
    Body,
    /// 429.
    OverLimit,
    /// 403.
    Forbidden,
}

/// Who frames the request in our data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    Short,
    /// It is handed to HAProxy.
    Long,
}

/// What has to be reached: ratios of throughput.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Floors {
    pub(crate) direct: Option<f64>,
    pub(crate) haproxy: Option<f64>,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) connections: Connections,
    pub(crate) clients: u32,
    pub(crate) body: Body,
    pub(crate) route: Route,
    pub(crate) answer: Answer,
    pub(crate) head: Head,
    pub(crate) floors: Floors,
    /// Whether it is one of the few that tell most.
    pub(crate) is_telling: bool,
    /// Whether the time of a request is measured as well, at a constant rate.
    pub(crate) has_latency: bool,
}

const LOCAL: Case = Case {
    name: "local, keep-alive",
    connections: Connections::KeepAlive,
    clients: 64,
    body: Body::Download(64),
    route: Route::Local,
    answer: Answer::Body,
    head: Head::Short,
    floors: Floors {
        direct: Some(0.90),
        haproxy: Some(2.0),
    },
    is_telling: false,
    has_latency: false,
};

const FORWARDED: Case = Case {
    name: "forwarded, keep-alive",
    route: Route::Forwarded,
    floors: Floors {
        direct: Some(0.80),
        haproxy: Some(3.5),
    },
    ..LOCAL
};

const LOCAL_PER_REQUEST: Case = Case {
    name: "local, a connection a request",
    connections: Connections::PerRequest,
    floors: Floors {
        direct: Some(0.75),
        haproxy: Some(2.0),
    },
    ..LOCAL
};

const FORWARDED_PER_REQUEST: Case = Case {
    name: "forwarded, a connection a request",
    connections: Connections::PerRequest,
    route: Route::Forwarded,
    floors: Floors {
        direct: Some(0.70),
        haproxy: Some(3.0),
    },
    ..LOCAL
};

const LARGE: Floors = Floors {
    direct: Some(0.95),
    haproxy: Some(1.5),
};
const UNTOLD: Floors = Floors {
    direct: None,
    haproxy: None,
};
const REFUSED: Floors = Floors {
    direct: None,
    haproxy: Some(3.0),
};

impl Case {
    /// All that are measured.
    pub(crate) fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for base in [LOCAL, LOCAL_PER_REQUEST, FORWARDED, FORWARDED_PER_REQUEST] {
            for clients in [64, 1, 16, 256] {
                let is_telling = clients == 64;
                cases.push(Self {
                    clients,
                    is_telling,
                    has_latency: is_telling && base.connections == Connections::KeepAlive,
                    ..base.clone()
                });
            }
        }
        cases.extend(Self::of_size());
        cases.push(Self {
            name: "local, head of 2 kB (by HAProxy)",
            head: Head::Long,
            floors: UNTOLD,
            is_telling: true,
            ..LOCAL
        });
        cases.push(Self {
            name: "forwarded, head of 2 kB (by HAProxy)",
            head: Head::Long,
            floors: UNTOLD,
            ..FORWARDED
        });
        for (name, answer) in [
            ("refused: 429", Answer::OverLimit),
            ("refused: 403", Answer::Forbidden),
        ] {
            cases.push(Self {
                name,
                answer,
                floors: REFUSED,
                is_telling: true,
                ..LOCAL_PER_REQUEST
            });
        }
        cases
    }

    /// More than a segment, down and up.
    fn of_size() -> Vec<Self> {
        let mut cases = Vec::new();
        for base in [LOCAL, FORWARDED] {
            let is_local = base.route == Route::Local;
            let download = if is_local {
                "local, download"
            } else {
                "forwarded, download"
            };
            cases.push(Self {
                name: download,
                body: Body::Download(16 << 10),
                floors: UNTOLD,
                ..base.clone()
            });
            cases.push(Self {
                name: download,
                body: Body::Download(1 << 20),
                clients: 16,
                floors: LARGE,
                is_telling: true,
                ..base.clone()
            });
            cases.push(Self {
                name: if is_local {
                    "local, upload"
                } else {
                    "forwarded, upload"
                },
                body: Body::Upload(1 << 20),
                clients: 16,
                floors: LARGE,
                is_telling: is_local,
                ..base.clone()
            });
        }
        cases
    }

    /// The size of the function's answer.
    pub(crate) fn response_bytes(&self) -> u32 {
        match self.body {
            Body::Download(bytes) => bytes,
            Body::Upload(_) => 64,
        }
    }

    /// The fields that its requests have, besides `Host`. Only a node of the federation may be over its limit.
    pub(crate) fn fields(&self, node: &str) -> Vec<String> {
        let mut fields = Vec::new();
        if self.connections == Connections::PerRequest {
            fields.push("Connection: close".to_owned());
        }
        match self.answer {
            Answer::Body => {}
            Answer::OverLimit => fields.push(format!("DFaaS-Node-ID: {node}")),
            Answer::Forbidden => fields.push("DFaaS-Node-ID: nobody-knows-this-one".to_owned()),
        }
        if self.head == Head::Long {
            fields.push(format!("X-Long: {}", "x".repeat(LONG_FIELD_BYTES)));
        }
        fields
    }

    /// What its body is, for people.
    pub(crate) fn body_text(&self) -> String {
        let (Body::Download(bytes) | Body::Upload(bytes)) = self.body;
        match bytes {
            1_048_576.. => format!("{} MiB", bytes >> 20),
            1024.. => format!("{} KiB", bytes >> 10),
            _ => format!("{bytes} B"),
        }
    }

    pub(crate) fn body_bytes(&self) -> u32 {
        let (Body::Download(bytes) | Body::Upload(bytes)) = self.body;
        bytes
    }
}
