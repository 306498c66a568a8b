//! A report as one file of HTML that needs nothing else.

use std::fmt::Write as _;

use anyhow::Result;

use crate::plot::{self, compare, run};
use crate::results::Results;
use crate::summary::Summary;

const STYLE: &str = "body{font:17px/1.5 system-ui,sans-serif;max-width:1280px;margin:2em auto;padding:0 1em;color:#111;background:#fff}\
table{border-collapse:collapse;margin:1em 0}th,td{padding:.3em .7em;border-bottom:1px solid #bbb;text-align:right}\
th:first-child,td:first-child{text-align:left}figure{margin:1.5em 0}svg{max-width:100%;height:auto}\
figcaption{color:#444}";

/// Makes a report of runs: what they came to, side by side, and the pictures of each.
///
/// # Errors
///
/// When a picture cannot be drawn.
pub fn html(all: &[Results]) -> Result<String> {
    let results: Vec<&Results> = all.iter().collect();
    let title = all
        .first()
        .map_or("nothing", |first| first.summary.scenario.as_str());
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{0}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{0}</h1>\n",
        escaped(title)
    );
    page += &table(&results);
    if results.len() > 1 {
        page += "<h2>Strategies compared</h2>\n";
        figure(
            &mut page,
            &compare::success_over_time(&results),
            "The share of each second's requests that was served.",
        )?;
        figure(
            &mut page,
            &compare::success_by_function(&results),
            "The share of all requests that was served.",
        )?;
    }
    figure(
        &mut page,
        &run::latency_distribution(&results),
        "Which share of answers had come within a time. Refused requests have no answer.",
    )?;
    if let Some(first) = results.first() {
        figure(
            &mut page,
            &run::topology(first),
            "The area of a node grows with its capacity.",
        )?;
    }
    for results in &results {
        section(&mut page, results)?;
    }
    page += "</body>\n</html>\n";
    Ok(page)
}

fn section(page: &mut String, results: &Results) -> Result<()> {
    let summary = &results.summary;
    let heading = format!("{}, seed {}", summary.strategy, summary.seed);
    let _infallible = writeln!(page, "<h2>{}</h2>", escaped(&heading));
    figure(
        page,
        &run::outcomes(results),
        "Refused for good, or without an answer; peers that send back let others be tried.",
    )?;
    figure(
        page,
        &run::served_by_node(results),
        "Requests answered by each node, its own users' and others'.",
    )?;
    figure(
        page,
        &run::latency_by_node(results),
        "From the user's request to the answer.",
    )?;
    if let Some(weights) = run::weights(results) {
        figure(page, &weights, "Of the node whose users others serve most.")?;
    }
    Ok(())
}

fn figure(page: &mut String, picture: &impl plot::Picture, caption: &str) -> Result<()> {
    let svg = plot::svg(picture)?;
    // The size is the page's to choose.
    let svg = svg.replacen("<svg width=\"1280\" height=\"720\"", "<svg", 1);
    let _infallible = write!(
        page,
        "<figure>\n{svg}\n<figcaption>{}</figcaption>\n</figure>\n",
        escaped(caption)
    );
    Ok(())
}

fn table(all: &[&Results]) -> String {
    type Of = fn(&Summary) -> String;
    let columns: [(&str, Of); 13] = [
        ("strategy", |of| of.strategy.to_string()),
        ("seed", |of| of.seed.to_string()),
        ("requests", |of| of.arrived.to_string()),
        ("served, %", |of| format!("{:.2}", of.success * 100.0)),
        ("refused", |of| of.refused.to_string()),
        ("failed", |of| of.failed.to_string()),
        ("p50, ms", |of| milliseconds(of.p50_ms)),
        ("p95, ms", |of| milliseconds(of.p95_ms)),
        ("p99, ms", |of| milliseconds(of.p99_ms)),
        ("fairness", |of| format!("{:.3}", of.fairness)),
        ("settled, s", |of| {
            of.settling_s.map_or("–".to_owned(), |s| format!("{s:.0}"))
        }),
        ("oscillation", |of| format!("{:.3}", of.oscillation)),
        ("bytes sent", |of| of.traffic.bytes.to_string()),
    ];
    let mut text = "<table>\n<tr>".to_owned();
    for (head, _) in columns {
        let _infallible = write!(text, "<th>{head}</th>");
    }
    text += "</tr>\n";
    for results in all {
        text += "<tr>";
        for (_, of) in columns {
            let _infallible = write!(text, "<td>{}</td>", escaped(&of(&results.summary)));
        }
        text += "</tr>\n";
    }
    text + "</table>\n"
}

fn milliseconds(ms: Option<f64>) -> String {
    ms.map_or("–".to_owned(), |ms| format!("{ms:.0}"))
}

/// What has a meaning in HTML stands for itself.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
