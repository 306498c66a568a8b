//! A report as one file of HTML that needs nothing else.

use anyhow::Result;
use dfaas_plot::Page;

use crate::plot::{compare, run};
use crate::results::Results;
use crate::summary::Summary;

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
    let mut page = Page::new(title);
    table(&mut page, &results);
    if results.len() > 1 {
        page.heading("Strategies compared");
        page.figure(
            &compare::success_over_time(&results),
            "The share of each second's requests that was served.",
        )?;
        page.figure(
            &compare::success_by_function(&results),
            "The share of all requests that was served.",
        )?;
    }
    page.figure(
        &run::latency_distribution(&results),
        "Which share of answers had come within a time. Refused requests have no answer.",
    )?;
    if let Some(first) = results.first() {
        page.figure(
            &run::topology(first),
            "The area of a node grows with its capacity.",
        )?;
    }
    for results in &results {
        section(&mut page, results)?;
    }
    Ok(page.finish())
}

fn section(page: &mut Page, results: &Results) -> Result<()> {
    let summary = &results.summary;
    page.heading(&format!("{}, seed {}", summary.strategy, summary.seed));
    page.figure(
        &run::outcomes(results),
        "Refused for good, or without an answer; peers that send back let others be tried.",
    )?;
    page.figure(
        &run::served_by_node(results),
        "Requests answered by each node, its own users' and others'.",
    )?;
    page.figure(
        &run::latency_by_node(results),
        "From the user's request to the answer.",
    )?;
    if let Some(weights) = run::weights(results) {
        page.figure(&weights, "Of the node whose users others serve most.")?;
    }
    Ok(())
}

fn table(page: &mut Page, all: &[&Results]) {
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
    let row = |results: &&Results| columns.map(|(_, of)| of(&results.summary)).to_vec();
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    page.table(&columns.map(|(head, _)| head), &rows);
}

fn milliseconds(ms: Option<f64>) -> String {
    ms.map_or("–".to_owned(), |ms| format!("{ms:.0}"))
}
