//! The report as Prometheus reads it.

mod exposition;

use std::collections::BTreeMap;

use dfaas_control::{FunctionName, FunctionStatus, Status};

use self::exposition::{Exposition, Kind};
use crate::{
    data_plane::{FunctionTotals, Totals},
    haproxy::State,
    report::Report,
};

/// The text of `/metrics`.
pub(crate) fn encode(report: &Report) -> String {
    let mut text = Exposition::default();
    node(&mut text, report);
    requests(&mut text, &report.totals);
    first_bytes(&mut text, &report.totals);
    events(&mut text, &report.totals);
    proxied(&mut text, &report.totals);
    functions(&mut text, &report.control);
    overlay(&mut text, report);
    verdicts(&mut text, report);
    text.finish()
}

fn node(text: &mut Exposition, report: &Report) {
    text.family(
        "dfaas_build_info",
        Kind::Gauge,
        "The version of the agent; always 1.",
    );
    let labels = [
        ("version", report.version),
        ("strategy", &report.strategy.to_string()),
    ];
    text.sample("dfaas_build_info", &labels, 1.0);
    text.single(
        "dfaas_uptime_seconds",
        Kind::Gauge,
        "Time since the agent has started.",
        report.uptime_s,
    );
    let proxy_ready = matches!(report.proxy, State::Ready { .. });
    text.single(
        "dfaas_proxy_ready",
        Kind::Gauge,
        "Whether HAProxy takes what the kernel cannot frame.",
        f64::from(u8::from(proxy_ready)),
    );
    let ready = f64::from(u8::from(report.ready));
    text.single(
        "dfaas_ready",
        Kind::Gauge,
        "Whether the node can serve, as /healthz says.",
        ready,
    );
    text.single(
        "dfaas_flows",
        Kind::Gauge,
        "Live entries of the flow table.",
        report.totals.flows as f64,
    );
    text.single(
        "dfaas_peers",
        Kind::Gauge,
        "Connected peers.",
        report.overlay.connected as f64,
    );
}

const REQUESTS: &str = "dfaas_requests_total";

fn requests(text: &mut Exposition, totals: &Totals) {
    text.family(REQUESTS, Kind::Counter, "Requests by what became of them.");
    for (function, totals) in &totals.functions {
        let function = function.as_str();
        request(text, function, "local", "", totals.local);
        for (peer, count) in &totals.forwarded {
            request(text, function, "forwarded", peer.as_str(), *count);
        }
        for (peer, count) in &totals.admitted {
            request(text, function, "admitted", peer.as_str(), *count);
        }
        refusals(text, function, &totals.refused);
    }
    refusals(text, "", &totals.refused);
}

fn request(text: &mut Exposition, function: &str, decision: &str, peer: &str, count: u64) {
    let labels = [
        ("function", function),
        ("decision", decision),
        ("peer", peer),
        ("code", ""),
    ];
    text.sample(REQUESTS, &labels, count as f64);
}

fn refusals(text: &mut Exposition, function: &str, by_code: &BTreeMap<u16, u64>) {
    for (code, count) in by_code {
        let labels = [
            ("function", function),
            ("decision", "refused"),
            ("peer", ""),
            ("code", &code.to_string()),
        ];
        text.sample(REQUESTS, &labels, *count as f64);
    }
}

fn first_bytes(text: &mut Exposition, totals: &Totals) {
    const NAME: &str = "dfaas_first_byte_seconds";
    text.family(
        NAME,
        Kind::Histogram,
        "Time to the first byte of the answer, by who served.",
    );
    for (
        function,
        FunctionTotals {
            first_byte_local,
            first_byte_forwarded,
            ..
        },
    ) in &totals.functions
    {
        for (served_by, histogram) in [("local", first_byte_local), ("peer", first_byte_forwarded)] {
            text.histogram(
                NAME,
                &[("function", function.as_str()), ("served_by", served_by)],
                histogram,
            );
        }
    }
}

fn events(text: &mut Exposition, totals: &Totals) {
    const NAME: &str = "dfaas_events_total";
    text.family(NAME, Kind::Counter, "Packets and flows by what happened to them.");
    for (event, count) in &totals.events {
        text.sample(NAME, &[("event", event)], *count as f64);
    }
}

/// How the kernel's events are called that say why a connection went to HAProxy.
const PROXIED: &str = "proxied_";

fn proxied(text: &mut Exposition, totals: &Totals) {
    const NAME: &str = "dfaas_proxied_in_user_space_total";
    text.family(
        NAME,
        Kind::Counter,
        "Connections given to HAProxy, by what the kernel could not frame.",
    );
    for (event, count) in &totals.events {
        if let Some(reason) = event.strip_prefix(PROXIED) {
            text.sample(NAME, &[("reason", reason)], *count as f64);
        }
    }
}

/// A number of a function.
type FunctionValue = fn(&FunctionStatus) -> f64;

fn functions(text: &mut Exposition, status: &Status) {
    let values: [(&str, &str, FunctionValue); 3] = [
        (
            "dfaas_function_demand_rps",
            "What users ask of this node.",
            |status| status.demand_rps,
        ),
        (
            "dfaas_function_capacity_rps",
            "What the platform of this node can serve.",
            |status| status.capacity_rps,
        ),
        (
            "dfaas_function_local_rps",
            "What users may be served here.",
            |status| status.local_rps,
        ),
    ];
    for (name, help, value) in values {
        text.family(name, Kind::Gauge, help);
        for (function, status) in &status.functions {
            text.sample(name, &[("function", function.as_str())], value(status));
        }
    }
    by_peer(
        text,
        status,
        "dfaas_route_weight",
        "Shares of the excess.",
        |status| {
            status
                .routes
                .iter()
                .map(|(peer, route)| (peer.as_str(), route.weight))
                .collect()
        },
    );
    by_peer(
        text,
        status,
        "dfaas_route_cap_rps",
        "What a peer takes at most.",
        |status| {
            status
                .routes
                .iter()
                .map(|(peer, route)| (peer.as_str(), route.cap_rps))
                .collect()
        },
    );
    by_peer(
        text,
        status,
        "dfaas_admit_rps",
        "What is admitted from a peer.",
        |status| {
            status
                .admit
                .iter()
                .map(|(peer, rps)| (peer.as_str(), *rps))
                .collect()
        },
    );
}

fn by_peer(
    text: &mut Exposition,
    status: &Status,
    name: &'static str,
    help: &str,
    values: fn(&FunctionStatus) -> Vec<(&str, f64)>,
) {
    text.family(name, Kind::Gauge, help);
    let all = status.functions.iter();
    for (function, peer, value) in all.flat_map(|(function, status)| with_name(function, values(status))) {
        text.sample(name, &[("function", function), ("peer", peer)], value);
    }
}

fn with_name<'a>(
    function: &'a FunctionName,
    values: Vec<(&'a str, f64)>,
) -> impl Iterator<Item = (&'a str, &'a str, f64)> {
    values
        .into_iter()
        .map(|(peer, value)| (function.as_str(), peer, value))
}

fn overlay(text: &mut Exposition, report: &Report) {
    const MESSAGES: &str = "dfaas_overlay_messages_total";
    text.family(
        MESSAGES,
        Kind::Counter,
        "Messages of the overlay by what became of them.",
    );
    let counts = report.overlay.counts;
    let by_fate = [
        ("published", counts.published),
        ("received", counts.received),
        ("rejected", counts.rejected),
        ("dropped", counts.dropped),
    ];
    for (fate, count) in by_fate {
        text.sample(MESSAGES, &[("fate", fate)], count as f64);
    }
    let totals = [
        (
            "dfaas_overlay_looks_total",
            "Times that members were looked for in the DHT.",
            counts.looks,
        ),
        (
            "dfaas_overlay_found_total",
            "Members found there that were not connected.",
            counts.found,
        ),
        (
            "dfaas_overlay_strangers_total",
            "Nodes sent away because they did not join the topic.",
            counts.strangers,
        ),
        (
            "dfaas_overlay_banned_total",
            "Nodes banned for a while because of what they sent.",
            counts.banned,
        ),
        (
            "dfaas_overlay_unadmitted_total",
            "Nodes sent away, and messages and tokens dropped, because they are not admitted.",
            counts.unadmitted,
        ),
        (
            "dfaas_overlay_unproven_total",
            "Incoming connections that failed before it was proven who is at their other end.",
            counts.unproven,
        ),
        (
            "dfaas_overlay_punched_total",
            "Direct connections to nodes that nobody can dial.",
            counts.punched,
        ),
    ];
    for (name, help, count) in totals {
        text.family(name, Kind::Counter, help);
        text.sample(name, &[], count as f64);
    }
}

/// What the mind made of what peers say.
fn verdicts(text: &mut Exposition, report: &Report) {
    let rejected: u64 = report.control.rejected.values().sum();
    text.family(
        "dfaas_messages_total",
        Kind::Counter,
        "Messages of peers, by whether they made sense.",
    );
    for (verdict, count) in [("accepted", report.control.accepted), ("rejected", rejected)] {
        text.sample("dfaas_messages_total", &[("verdict", verdict)], count as f64);
    }
    const REJECTED: &str = "dfaas_rejected_messages_total";
    text.family(
        REJECTED,
        Kind::Counter,
        "Messages of peers that made no sense, by the reason.",
    );
    for (rejection, &count) in &report.control.rejected {
        let name = serde_json::to_value(rejection).expect("a name is always JSON");
        let reason = name.as_str().unwrap_or_default();
        text.sample(REJECTED, &[("reason", reason)], count as f64);
    }
}

#[cfg(test)]
mod tests;
