//! The answer of `/status` for people.

use std::fmt::Write;

use serde_json::{Map, Value};

const COLUMN_GAP: &str = "  ";

/// Lays out what the agent said.
pub(crate) fn render(status: &Value) -> String {
    let mut text = String::new();
    head(&mut text, status);
    let functions = function_rows(status);
    table(
        &mut text,
        &[
            "FUNCTION", "HOSTED", "CAPACITY", "DEMAND", "LOCAL", "SERVED", "SENT", "ADMITTED", "REFUSED",
        ],
        &functions,
    );
    let routes = route_rows(status);
    table(
        &mut text,
        &[
            "FUNCTION", "PEER", "WEIGHT", "TAKES", "ADMITS", "SENT", "ADMITTED",
        ],
        &routes,
    );
    let peers = peer_rows(status);
    table(
        &mut text,
        &[
            "PEER",
            "CONNECTED",
            "NEIGHBOUR",
            "RTT",
            "SERVICE",
            "HEARD",
            "FUNCTIONS",
        ],
        &peers,
    );
    text
}

fn head(text: &mut String, status: &Value) {
    let service = format!(
        "{}:{} on {}",
        string(&status["address"]),
        status["port"],
        string(&status["interface"])
    );
    let listening: Vec<String> = elements(&status["overlay"]["listening"])
        .iter()
        .map(string)
        .collect();
    let lines = [
        ("node", string(&status["node"])),
        ("service", service),
        ("overlay", listening.join(", ")),
        ("strategy", string(&status["strategy"])),
        ("haproxy", proxy(&status["proxy"])),
        ("up for", seconds(&status["uptime_s"])),
        (
            "ready",
            if status["ready"] == true {
                "yes".to_owned()
            } else {
                "no".to_owned()
            },
        ),
    ];
    let problems = elements(&status["problems"])
        .iter()
        .map(|problem| ("", string(problem)));
    let warnings = elements(&status["warnings"])
        .iter()
        .map(|warning| ("warning", string(warning)));
    for (name, value) in lines.into_iter().chain(problems).chain(warnings) {
        writeln!(text, "{name:<8}  {value}").expect("a string takes everything");
    }
}

fn proxy(proxy: &Value) -> String {
    match string(&proxy["state"]).as_str() {
        "ready" => format!("version {}, process {}", string(&proxy["version"]), proxy["pid"]),
        "absent" => format!("none: {}", string(&proxy["reason"])),
        state => state.to_owned(),
    }
}

fn function_rows(status: &Value) -> Vec<Vec<String>> {
    let functions = entries(&status["control"]["functions"]);
    let row = |(name, function): (&String, &Value)| {
        let totals = &status["totals"]["functions"][name];
        let hosted = if function["hosted"] == true { "yes" } else { "no" };
        let rates = ["capacity_rps", "demand_rps"].map(|key| rate(&function[key]));
        // JSON has no infinity, and a strategy that draws this node by weight needs no limit.
        let local = match function["here"].as_f64() {
            Some(here) if here > 0.0 => format!("{:.1} %", here * 100.0),
            Some(_) if function["local_rps"].is_null() => "all".to_owned(),
            Some(_) | None => rate(&function["local_rps"]),
        };
        let counts = ["local", "forwarded", "admitted", "refused"].map(|key| sum(&totals[key]).to_string());
        [name.clone(), hosted.to_owned()]
            .into_iter()
            .chain(rates)
            .chain([local])
            .chain(counts)
            .collect()
    };
    functions.map(row).collect()
}

fn route_rows(status: &Value) -> Vec<Vec<String>> {
    let functions = entries(&status["control"]["functions"]);
    functions
        .flat_map(|(name, function)| routes_of(name, function, &status["totals"]["functions"][name]))
        .collect()
}

fn routes_of(name: &str, function: &Value, totals: &Value) -> Vec<Vec<String>> {
    let (routes, admit) = (&function["routes"], &function["admit"]);
    let mut peers: Vec<&String> = entries(routes)
        .chain(entries(admit))
        .map(|(peer, _)| peer)
        .collect();
    peers.sort();
    peers.dedup();
    let row = |peer: &String| {
        let route = &routes[peer];
        let weight = route["weight"]
            .as_f64()
            .map_or("-".to_owned(), |weight| format!("{:.1} %", weight * 100.0));
        // JSON has no infinity; a route without a number has no limit.
        let takes = if route.is_object() && route["cap_rps"].is_null() {
            "all".to_owned()
        } else {
            rate(&route["cap_rps"])
        };
        let counts = ["forwarded", "admitted"].map(|key| sum(&totals[key][peer]).to_string());
        [name.to_owned(), peer.clone(), weight, takes, rate(&admit[peer])]
            .into_iter()
            .chain(counts)
            .collect()
    };
    peers.into_iter().map(row).collect()
}

fn peer_rows(status: &Value) -> Vec<Vec<String>> {
    let row = |(id, peer): (&String, &Value)| {
        let [connected, neighbour] =
            ["connected", "neighbour"].map(|key| if peer[key] == true { "yes" } else { "no" });
        let rtt = peer["rtt_ms"]
            .as_f64()
            .map_or("-".to_owned(), |rtt| format!("{rtt:.1} ms"));
        let functions: Vec<&str> = entries(&peer["functions"])
            .map(|(name, _)| name.as_str())
            .collect();
        let heard = seconds(&peer["age_s"]);
        vec![
            id.clone(),
            connected.to_owned(),
            neighbour.to_owned(),
            rtt,
            string(&peer["service"]),
            heard,
            functions.join(" "),
        ]
    };
    entries(&status["control"]["peers"]).map(row).collect()
}

/// A table after an empty line, or nothing if it has no rows.
fn table(text: &mut String, head: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    let lines: Vec<&Vec<String>> = [&head].into_iter().chain(rows).collect();
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    text.push('\n');
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join(COLUMN_GAP).trim_end());
        text.push('\n');
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn elements(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

fn rate(value: &Value) -> String {
    value.as_f64().map_or("-".to_owned(), |rate| format!("{rate:.1}"))
}

fn seconds(value: &Value) -> String {
    value
        .as_f64()
        .map_or("-".to_owned(), |seconds| format!("{seconds:.1} s"))
}

/// A count, or the sum of counts by peer or status code.
fn sum(value: &Value) -> u64 {
    let parts = value.as_object().map(|parts| parts.values().map(sum).sum());
    value.as_u64().or(parts).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_unknown_is_a_dash() {
        let text = render(&json!({}));
        assert!(text.contains("node      -\n"), "{text}");
        assert!(text.contains("ready     no\n"), "{text}");
    }

    #[test]
    fn functions_and_routes_have_rows() {
        let text = render(&json!({
            "node": "n1", "ready": false, "proxy": {"state": "absent", "reason": "it is switched off"}, "problems": ["platform: no answer"],
            "control": {
                "functions": {"figlet": {
                    "hosted": true, "capacity_rps": 10.0, "demand_rps": 12.5, "local_rps": 10.0,
                    "routes": {"n2": {"weight": 1.0, "cap_rps": null}}, "admit": {"n3": 4.0},
                }},
                "peers": {"n2": {"connected": true, "neighbour": false, "rtt_ms": 1.26, "service": "10.0.0.2:80", "age_s": 0.5,
                    "functions": {"figlet": {}}}},
            },
            "totals": {"functions": {"figlet": {"local": 7, "forwarded": {"n2": 5}, "refused": {"429": 1, "503": 2}}}},
        }));
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert!(
            lines.contains(&vec!["haproxy", "none:", "it", "is", "switched", "off"]),
            "{text}"
        );
        assert!(lines.contains(&vec!["platform:", "no", "answer"]), "{text}");
        assert!(
            lines.contains(&vec!["figlet", "yes", "10.0", "12.5", "10.0", "7", "5", "0", "3"]),
            "{text}"
        );
        assert!(
            lines.contains(&vec!["figlet", "n2", "100.0", "%", "all", "-", "5", "0"]),
            "{text}"
        );
        assert!(
            lines.contains(&vec!["figlet", "n3", "-", "-", "4.0", "0", "0"]),
            "{text}"
        );
        assert!(
            lines.contains(&vec![
                "n2",
                "yes",
                "no",
                "1.3",
                "ms",
                "10.0.0.2:80",
                "0.5",
                "s",
                "figlet"
            ]),
            "{text}"
        );
    }
}
