//! HAProxy's configuration: a text that never changes while HAProxy runs. All policy is in one map.
//!
//! The rules are those of `dfaas_common::decide`, word for word: the same order, the same token bucket, the same
//! number of draws. What a rule looks up is described in `rows`.

use std::{
    fmt::{self, Display, Formatter, Write},
    net::SocketAddr,
    os::fd::RawFd,
    path::PathBuf,
};

use dfaas_common::{
    decide::{Answer, DRAWS},
    maps::FALLBACKS,
    pairing::TOKEN_BYTES,
    pick::SLOTS,
};

use super::{
    ledger::FORGED,
    rows::{FALLBACK_FIELD, MISSING_LIMIT, OWN_SHARE, UNTIL},
};

/// The stick table with a row for each bucket and counter.
pub(super) const METERS: &str = "meters";
/// The name by which the map is recognized, wherever it is.
pub(crate) const MAP_NAME: &str = "dfaas-policy.map";
/// Two names, their kind, and slashes.
const METER_KEY_BYTES: usize = 200;
/// A bucket and a counter for each function and peer; rows are made when they are first needed.
const METERS_MAX: usize = 100_000;
/// A bucket is kept for as long as its next arrival may lie ahead (`rows::HORIZON_US`).
const METERS_EXPIRE: &str = "30m";
/// Connections that cannot be steered in the kernel are the exception; each takes two descriptors.
const CONNECTIONS_MAX: u32 = 4_096;
/// The range of a draw: the fractions of the golden ratio's multiples, which fall as evenly as can be.
const DRAW_RANGE: u32 = 65_536;
const DRAW_STRIDE: u32 = 40_503;
/// How far a second draw is from the first.
const DRAW_STEP: u32 = 25_033;
/// Buckets reckon in microseconds modulo this: a general purpose tag has 32 bits.
const CLOCK_RANGE: u64 = 1 << 32;

/// What HAProxy has to know before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where connections come in.
    pub(crate) entrances: Vec<Entrance>,
    /// The local port on which the platform serves functions and nothing else.
    pub(crate) functions_port: u16,
    /// Where policy comes in.
    pub(crate) control: PathBuf,
    /// The file of the map.
    pub(crate) map: PathBuf,
}

/// Where connections come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// HAProxy listens there.
    Address(SocketAddr),
    /// Somebody listens for HAProxy, which inherits the socket with this number.
    Inherited(RawFd),
}

impl Display for Entrance {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address @ SocketAddr::V4(_)) => address.fmt(f),
            Self::Address(address @ SocketAddr::V6(_)) => write!(f, "{address} v6only"),
            Self::Inherited(descriptor) => write!(f, "fd@{descriptor}"),
        }
    }
}

/// The whole configuration.
pub(crate) fn text(settings: &Settings) -> String {
    let mut text = String::new();
    global(&mut text, settings);
    let mut rules = Rules {
        text,
        map: settings.map.display().to_string(),
    };
    rules.frontend(settings);
    rules.platform(settings);
    rules.peers(settings);
    rules.meters();
    rules.text
}

fn global(text: &mut String, settings: &Settings) {
    // One thread: a bucket is read and written in different rules, and no other request may come between.
    put(
        text,
        &format!(
            "\
global
    stats socket {} mode 600 level admin
    nbthread 1
    maxconn {CONNECTIONS_MAX}
    no strict-limits

defaults
    mode http
    timeout connect 3s
    timeout client 60s
    timeout server 60s
    timeout http-request 30s
    timeout http-keep-alive 60s
    timeout tunnel 1h
    balance roundrobin
    no option abortonclose
    retries 1",
            settings.control.display()
        ),
    );
    // What is wrong before there is a whole head, HAProxy answers with a page of its own that nothing can change.
    for (status, answer) in [
        (400, Answer::Malformed),
        (502, Answer::NotAnswered),
        (503, Answer::Unavailable),
    ] {
        put(text, &format!("    http-error status {status} {}", page(answer)));
    }
    for (status, words) in [
        (500, "dfaas: HAProxy failed"),
        (504, "dfaas: the function's server did not answer in time"),
    ] {
        put(
            text,
            &format!("    http-error status {status} content-type text/plain string \"{words}\""),
        );
    }
}

/// Writes the rules of the frontend, and of the backend for what is not served here at once.
struct Rules {
    text: String,
    map: String,
}

impl Rules {
    fn frontend(&mut self, settings: &Settings) {
        put(&mut self.text, "\nfrontend service");
        for entrance in &settings.entrances {
            self.line(&format!("bind {entrance}"));
        }
        self.line("acl refused var(txn.refusal) -m found");
        self.sender();
        self.path();
        self.function();
        self.line("acl taken var(txn.taken) -m found");
        self.local();
        self.take("taken");
        // No function needs it.
        self.rule("del-header DFaaS-Node-Token", "taken");
        self.line("use_backend platform if taken");
        self.line("default_backend peers");
    }

    fn platform(&mut self, settings: &Settings) {
        let port = settings.functions_port;
        put(
            &mut self.text,
            &format!("\nbackend platform\n    server platform 127.0.0.1:{port}"),
        );
    }

    /// What only some requests need is here, so that the others do not pass by it.
    ///
    /// A peer decides about each request, whatever connection brings it, and connections are kept by their
    /// destination, so they may be used again.
    fn peers(&mut self, settings: &Settings) {
        put(&mut self.text, "\nbackend peers");
        self.line("acl refused var(txn.refusal) -m found");
        self.line("acl taken var(txn.taken) -m found");
        self.buckets();
        self.forward();
        self.take("");
        self.line(&format!("acl here var(txn.peer) -m str {OWN_SHARE}"));
        let place = self.look_up("str(p/),concat(,txn.peer)");
        self.set("place", &place, "!here");
        self.rule("set-dst var(txn.place),field(1,|)", "!here");
        self.rule("set-dst-port var(txn.place),field(2,|),add(0)", "!here");
        let own = self.look_up("str(self)");
        self.rule(&format!("set-header DFaaS-Node-ID %[{own}]"), "!here");
        self.rule(
            "set-header DFaaS-Node-Token %[var(txn.place),field(3,|)]",
            "!here",
        );
        self.rule("set-dst str(127.0.0.1)", "here");
        self.rule(&format!("set-dst-port int({})", settings.functions_port), "here");
        self.line("server peer 0.0.0.0:0");
    }

    fn meters(&mut self) {
        put(
            &mut self.text,
            &format!(
                "\nbackend {METERS}\n    stick-table type string len {METER_KEY_BYTES} size {METERS_MAX} \
                 expire {METERS_EXPIRE} store gpt0,gpc0"
            ),
        );
    }

    /// Who sent the request.
    fn sender(&mut self) {
        self.line("acl from_node req.fhdr_cnt(DFaaS-Node-ID) gt 0");
        self.line("acl two_nodes req.fhdr_cnt(DFaaS-Node-ID) gt 1");
        self.set("from", "req.fhdr(DFaaS-Node-ID)", "from_node");
        let place = self.look_up("str(p/),concat(,txn.from)");
        self.set("sender", &place, "from_node");
        self.line("acl known var(txn.sender) -m found");
        for terms in ["two_nodes", "from_node !known"] {
            self.refuse(Answer::Stranger, "str(x/403)", terms);
        }
        self.token();
    }

    /// Whether the sender has proven it (`dfaas_common::pairing`).
    fn token(&mut self) {
        self.line("acl has_token req.fhdr_cnt(DFaaS-Node-Token) gt 0");
        self.line("acl two_tokens req.fhdr_cnt(DFaaS-Node-Token) gt 1");
        self.set("token", "req.fhdr(DFaaS-Node-Token)", "has_token");
        self.line(&format!("acl whole_token var(txn.token) -m len {TOKEN_BYTES}"));
        self.line("acl tokenless var(txn.sender),field(6,|) -m str 1");
        for (field, name) in [(4, "new_token"), (5, "old_token")] {
            let accepted = format!("var(txn.sender),field({field},|)");
            self.line(&format!("acl {name} {accepted},strcmp(txn.token) eq 0"));
        }
        let forged = [
            "two_tokens",
            "has_token !from_node",
            "from_node !tokenless !whole_token",
            "from_node !tokenless !new_token !old_token",
        ];
        for terms in forged {
            self.refuse(Answer::Forged, &format!("str({FORGED})"), terms);
        }
    }

    /// What is asked for. Nothing is normalized: what looks odd is refused.
    fn path(&mut self) {
        self.line("acl root pathq -m str / /healthz");
        self.line("acl origin url_beg /");
        // Of a target that names the node, `path` is what is behind the authority (RFC 9112, section 3.2.2).
        self.line("acl absolute url_reg -i '^http://[^/?#]+/'");
        self.line("acl root url_reg -i '^http://[^/?#]+(/|/healthz)?$'");
        self.line("acl framed req.ver -m str 2.0");
        self.line("acl function path_beg /function/");
        self.rule(&format!("return status 200 {}", page(Answer::Root)), "root");
        for terms in ["!function", "!origin !absolute !framed"] {
            self.refuse(Answer::Forbidden, "str(x/403)", terms);
        }
    }

    /// Which function it is.
    fn function(&mut self) {
        self.set("name", "path,field(3,/)", "");
        let row = self.look_up("str(f/),concat(,txn.name)");
        self.set("row", &row, "");
        self.line("acl exists var(txn.row) -m found");
        self.refuse(Answer::NotFound, "str(x/404)", "!exists");
        // A path without these has nothing to be decoded, and climbs nowhere.
        self.line(r"acl odd path -m sub /. \\. %");
        // What cannot be decoded is looked at as it is.
        for path in ["path", "path,url_dec"] {
            self.line(&format!(r"acl climbs {path} -m reg '[/\\]\.\.?([/\\;]|$)'"));
        }
        self.refuse(Answer::Forbidden, "str(x/403)", "odd climbs");
        self.set("function", "var(txn.row),field(1,|)", "");
        self.line("acl hosted var(txn.row),field(2,|) -m str 1");
        self.refuse(Answer::NotFound, &pair("n", "from"), "from_node !hosted");
    }

    /// Serves it here, if the limit allows it.
    fn local(&mut self) {
        self.set("now", &format!("date(0,us),and({})", CLOCK_RANGE - 1), "");
        self.buckets();
        self.try_to_take("str(l/),concat(,txn.function)", "!from_node");
        self.attended();
        self.try_to_take(&pair("a", "from"), "from_node attended");
        self.refuse(Answer::OverLimit, &pair("o", "from"), "from_node !taken");
    }

    /// Whether an agent has answered lately for what is agreed with peers, as the programs see it
    /// (`dfaas_common::maps::Config::is_attended`).
    fn attended(&mut self) {
        let until = self.look_up(&format!("str({UNTIL})"));
        self.set("until", &until, "");
        self.line("acl attended date,sub(txn.until) -m int lt 0");
    }

    /// What rules ask of a bucket.
    fn buckets(&mut self) {
        self.line("acl never var(txn.arrival) -m int 0");
        self.line(&format!("acl past var(txn.wait) -m int ge {}", CLOCK_RANGE / 2));
        self.line("acl conforms var(txn.wait),sub(txn.tolerance) -m int le 0");
    }

    /// Sends it to a peer: drawn by weight, then by cap.
    fn forward(&mut self) {
        let open = "!taken";
        for own in [
            "date,sub(txn.until) -m int lt 0",
            &format!("var(txn.peer) -m str {OWN_SHARE}"),
        ] {
            self.line(&format!("acl may_go {own}"));
        }
        self.set("overflow", "str(d/),concat(,txn.function)", open);
        self.rule(&format!("track-sc0 var(txn.overflow) table {METERS}"), open);
        self.rule("sc-inc-gpc0(0)", open);
        self.set("columns", "var(txn.row),field(3,|),add(0)", open);
        let mask = DRAW_RANGE - 1;
        for draw in 0..DRAWS {
            let step = draw * DRAW_STEP;
            let point = format!("sc0_get_gpc0,mul({DRAW_STRIDE}),add({step}),and({mask}),mul(txn.columns)");
            self.set("point", &point, open);
            self.set("column", &format!("var(txn.point),div({DRAW_RANGE})"), open);
            let part = DRAW_RANGE as usize / SLOTS;
            self.set("part", &format!("var(txn.point),and({mask}),div({part})"), open);
            let routes = self.look_up("str(r/),concat(,txn.function,/),concat(,txn.column)");
            self.set("routes", &routes, open);
            self.set("threshold", "var(txn.routes),field(1,|),add(0)", open);
            self.set("peer", "var(txn.routes),field(3,|)", open);
            let below = "!taken { var(txn.part),sub(txn.threshold) -m int lt 0 }";
            self.set("peer", "var(txn.routes),field(2,|)", below);
            self.try_to_take(&pair("c", "peer"), "may_go");
        }
        for fallback in 0..FALLBACKS {
            let field = FALLBACK_FIELD + fallback;
            self.set("peer", &format!("var(txn.row),field({field},|)"), open);
            self.try_to_take(&pair("c", "peer"), "may_go");
        }
        self.refuse(Answer::Unavailable, "str(u/),concat(,txn.function)", open);
    }

    /// Sees whether a bucket has a token (`dfaas_common::meter::admit`).
    ///
    /// Once a token was found, nothing is overwritten, so the last attempt is the one to be taken.
    fn try_to_take(&mut self, key: &str, terms: &str) {
        let open = &format!("!taken {terms}");
        self.set("key", key, open);
        let limit = format!("var(txn.key),map_str({},{MISSING_LIMIT})", self.map);
        self.set("limit", &limit, open);
        self.set("arrival", &format!("var(txn.key),table_gpt0({METERS})"), open);
        let mask = CLOCK_RANGE - 1;
        self.set(
            "wait",
            &format!("var(txn.arrival),sub(txn.now),and({mask})"),
            open,
        );
        self.set("wait", "int(0)", &format!("{open} never"));
        self.set("wait", "int(0)", &format!("{open} past"));
        self.set("tolerance", "var(txn.limit),field(2,|),add(0)", open);
        self.set("taken", "int(1)", &format!("{open} conforms"));
    }

    /// Takes the token that was found.
    fn take(&mut self, terms: &str) {
        let mask = CLOCK_RANGE - 1;
        self.set("interval", "var(txn.limit),field(1,|),add(0)", terms);
        // Zero stands for a bucket that was never used.
        let arrival = format!("var(txn.now),add(txn.wait),add(txn.interval),and({mask}),or(1)");
        self.set("arrival", &arrival, terms);
        self.rule(&format!("track-sc1 var(txn.key) table {METERS}"), terms);
        self.rule("sc-set-gpt0(1) var(txn.arrival)", terms);
        self.rule("sc-inc-gpc0(1)", terms);
    }

    /// Counts a refusal, and answers it.
    fn refuse(&mut self, answer: Answer, key: &str, terms: &str) {
        self.set("refusal", key, terms);
        // The terms may cost more than a look at what came of them.
        self.rule(&format!("track-sc2 var(txn.refusal) table {METERS}"), "refused");
        self.rule("sc-inc-gpc0(2)", "refused");
        let status = status(answer);
        self.rule(&format!("return status {status} {}", page(answer)), "refused");
    }

    fn set(&mut self, variable: &str, expression: &str, terms: &str) {
        self.rule(&format!("set-var(txn.{variable}) {expression}"), terms);
    }

    /// A rule for requests of which all terms are true.
    fn rule(&mut self, action: &str, terms: &str) {
        let terms = terms.trim();
        if terms.is_empty() {
            self.line(&format!("http-request {action}"));
        } else {
            self.line(&format!("http-request {action} if {terms}"));
        }
    }

    fn line(&mut self, line: &str) {
        put(&mut self.text, &format!("    {line}"));
    }

    fn look_up(&self, key: &str) -> String {
        format!("{key},map_str({})", self.map)
    }
}

/// The key of a function and a peer.
fn pair(kind: &str, peer: &str) -> String {
    format!("str({kind}/),concat(,txn.function,/),concat(,txn.{peer})")
}

/// An answer of the data plane as HAProxy wants it described, without what concerns the connection.
fn page(answer: Answer) -> String {
    let (head, body) = answer
        .response()
        .split_once("\r\n\r\n")
        .expect("every answer has a head");
    let mut page = format!("content-type text/plain string \"{body}\"");
    let own = ["Content-Type", "Content-Length", "Connection"];
    let fields = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| !own.contains(name));
    for (name, value) in fields {
        page += &format!(" hdr {name} {value}");
    }
    page
}

fn status(answer: Answer) -> &'static str {
    answer
        .response()
        .split(' ')
        .nth(1)
        .expect("every answer has a status")
}

fn put(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_those_of_the_kernel() {
        assert_eq!(
            page(Answer::OverLimit),
            "content-type text/plain string \"dfaas: over the limit offered to the node\" hdr DFaaS-Refused 1 hdr Retry-After 1"
        );
        let codes = Answer::ALL.map(status);
        assert_eq!(
            codes,
            [
                "200", "400", "403", "403", "404", "429", "431", "503", "501", "403", "502"
            ]
        );
    }

    #[test]
    fn words_of_answers_need_no_escape() {
        for answer in Answer::ALL {
            assert!(
                !page(answer)
                    .replace(" string \"", "")
                    .contains(['\\', '%', '$', '#']),
                "{answer:?}"
            );
        }
    }

    #[test]
    fn what_differs_between_hosts_is_in_the_settings() {
        let text = text(&Settings {
            entrances: ["127.0.0.1:8091", "[::1]:8091"]
                .map(|address| Entrance::Address(address.parse().unwrap()))
                .into(),
            functions_port: 8090,
            control: "/run/x/control.sock".into(),
            map: "/run/x/dfaas-policy.map".into(),
        });
        for line in [
            "    stats socket /run/x/control.sock mode 600 level admin",
            "    bind 127.0.0.1:8091",
            "    bind [::1]:8091 v6only",
            "    server platform 127.0.0.1:8090",
            "    http-request set-var(txn.row) str(f/),concat(,txn.name),map_str(/run/x/dfaas-policy.map)",
            "    http-request set-var(txn.peer) var(txn.row),field(7,|) if !taken",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in:\n{text}"
            );
        }
    }
}
