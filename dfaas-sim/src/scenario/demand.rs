//! The users of a scenario, and recorded rates.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use dfaas_control::FunctionName;

use super::DemandSpec;
use super::check::some;
use super::file::{At, Demand, Process, Trace};
use super::mistake::Book;
use crate::demand::Rate;

/// What demands refer to.
pub(super) struct Place<'a> {
    pub(super) nodes: &'a BTreeMap<&'a str, usize>,
    pub(super) functions: &'a [FunctionName],
    pub(super) seconds: f64,
}

pub(super) fn demands(demands: &[Demand], place: &Place<'_>, book: &mut Book<'_>) -> Vec<DemandSpec> {
    demands
        .iter()
        .flat_map(|demand| of_one(demand, place, book))
        .collect()
}

fn of_one(demand: &Demand, place: &Place<'_>, book: &mut Book<'_>) -> Vec<DemandSpec> {
    let from_s = book.time("from_s", &demand.from_s);
    let until_s = demand
        .until_s
        .as_ref()
        .map_or(place.seconds, |at| book.time("until_s", at));
    if until_s < from_s
        && let Some(at) = &demand.until_s
    {
        let what = format!("until_s is {until_s}, before from_s");
        book.note(&at.span, what, format!("give more than {from_s}"));
    }
    let name = demand.function.value.as_str();
    let function = place
        .functions
        .iter()
        .position(|function| function.as_str() == name);
    if function.is_none() {
        let names: Vec<&str> = place.functions.iter().map(FunctionName::as_str).collect();
        let what = format!("no node runs a function {name:?}");
        book.note(
            &demand.function.span,
            what,
            format!("the functions are {}", names.join(", ")),
        );
    }
    let nodes = nodes(&demand.node, place, book);
    let rate = rate(demand, book);
    let spec = |node| {
        Some(DemandSpec {
            node,
            function: function?,
            from_s,
            until_s: until_s.min(place.seconds),
            rate: rate.clone()?,
        })
    };
    nodes.into_iter().filter_map(spec).collect()
}

fn nodes(at: &At<String>, place: &Place<'_>, book: &mut Book<'_>) -> Vec<usize> {
    let found: Vec<usize> = match at.value.strip_suffix('*') {
        Some(start) => {
            let named = place.nodes.iter().filter(|(name, _)| name.starts_with(start));
            named.map(|(_, &number)| number).collect()
        }
        None => place.nodes.get(at.value.as_str()).copied().into_iter().collect(),
    };
    if found.is_empty() {
        let what = format!("there is no node {:?}", at.value);
        book.note(&at.span, what, format!("the nodes are {}", some(place.nodes)));
    }
    found
}

fn rate(demand: &Demand, book: &mut Book<'_>) -> Option<Rate> {
    Some(match &demand.process.value {
        Process::Even(steady) => Rate::Even(book.rate("rate_rps", &steady.rate_rps)),
        Process::Poisson(steady) => Rate::Constant(book.rate("rate_rps", &steady.rate_rps)),
        Process::Step(step) => Rate::Step {
            from_rps: book.rate("from_rps", &step.from_rps),
            to_rps: book.rate("to_rps", &step.to_rps),
            at_s: book.time("at_s", &step.at_s),
        },
        Process::Triangle(triangle) => {
            let [start_s, peak_s, end_s] = [
                ("start_s", &triangle.start_s),
                ("peak_s", &triangle.peak_s),
                ("end_s", &triangle.end_s),
            ]
            .map(|(what, at)| book.time(what, at));
            if !(start_s < peak_s && peak_s < end_s) {
                let what = format!("a triangle from {start_s} over {peak_s} to {end_s} s is none");
                book.note(&triangle.peak_s.span, what, "give start_s < peak_s < end_s");
            }
            Rate::Triangle {
                low_rps: book.rate("low_rps", &triangle.low_rps),
                high_rps: book.rate("high_rps", &triangle.high_rps),
                start_s,
                peak_s,
                end_s,
            }
        }
        Process::Diurnal(diurnal) => Rate::Diurnal {
            mean_rps: book.rate("mean_rps", &diurnal.mean_rps),
            amplitude: book.number("amplitude (a share)", &diurnal.amplitude, 0.0, 1.0),
            day_s: book.number("day_s", &diurnal.day_s, 1.0, 604_800.0),
        },
        Process::Bursty(bursty) => Rate::Bursty {
            low_rps: book.rate("low_rps", &bursty.low_rps),
            high_rps: book.rate("high_rps", &bursty.high_rps),
            low_s: book.number("low_s", &bursty.low_s, 0.01, 604_800.0),
            high_s: book.number("high_s", &bursty.high_s, 0.01, 604_800.0),
        },
        Process::Trace(trace) => {
            let step_s = book.number("step_s", &trace.step_s, 0.001, 604_800.0);
            let scale = book.number("scale", &trace.scale, 0.0, 1e6);
            let rates_rps = recorded(trace, demand, book)?;
            Rate::Trace {
                rates_rps: rates_rps
                    .into_iter()
                    .map(|rate| rate * scale)
                    .collect::<Arc<[f64]>>(),
                step_s,
            }
        }
    })
}

/// Reads a recorded rate; what is wrong with it is noted where the scenario names the file.
fn recorded(trace: &Trace, demand: &Demand, book: &mut Book<'_>) -> Option<Vec<f64>> {
    let folder = book.file().parent().unwrap_or(Path::new("."));
    let path = folder.join(&trace.file.value);
    let name = path.display().to_string();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            let what = format!("reading {name}: {error}");
            book.note(
                &trace.file.span,
                what,
                "give a path seen from the scenario's folder",
            );
            return None;
        }
    };
    let rates = if name.ends_with(".json") {
        let function = trace.function.as_ref().unwrap_or(&demand.function.value);
        let node = trace.node.as_ref().unwrap_or(&demand.node.value);
        from_json(&text, function, node)
    } else {
        from_csv(&text)
    };
    let wrong = |what: &str, remedy: &str, book: &mut Book<'_>| {
        book.note(&trace.file.span, format!("{name}{what}"), remedy);
    };
    match rates {
        Err((what, remedy)) => {
            wrong(&what, remedy, book);
            None
        }
        Ok(rates) if rates.is_empty() => {
            wrong(": the trace is empty", "record at least one rate", book);
            None
        }
        Ok(rates) => {
            if let Some(bad) = rates.iter().position(|&rate| !is_rate(rate)) {
                let what = format!(": rate {} of the trace is {}", bad + 1, rates[bad]);
                wrong(&what, RATES, book);
                return None;
            }
            Some(rates)
        }
    }
}

type Wrong = (String, &'static str);

const RATES: &str = "rates are numbers from 0 to 1e9";

fn is_rate(rate: f64) -> bool {
    (0.0..=1e9).contains(&rate)
}

fn from_csv(text: &str) -> Result<Vec<f64>, Wrong> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headers = reader
        .headers()
        .map_err(|error| (format!(": {error}"), "give a CSV file"))?;
    let column = headers.iter().position(|header| header.trim() == "rate_rps");
    let column = column.ok_or((
        ":1: there is no column rate_rps".to_owned(),
        "name a column rate_rps in the first line",
    ))?;
    let mut rates = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| (format!(": {error}"), "give each line as many columns"))?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell = record.get(column).unwrap_or_default().trim();
        let rate = cell.parse().map_err(|_| {
            (
                format!(":{line}: {cell:?} is not a number"),
                "give requests per second",
            )
        })?;
        if !is_rate(rate) {
            return Err((format!(":{line}: the rate is {rate}"), RATES));
        }
        rates.push(rate);
    }
    Ok(rates)
}

fn from_json(text: &str, function: &str, node: &str) -> Result<Vec<f64>, Wrong> {
    type Traces = BTreeMap<String, BTreeMap<String, Vec<f64>>>;
    let mut traces: Traces = serde_json::from_str(text).map_err(|error| {
        let remedy = "give an object of functions, each an object of nodes, each a list of rates";
        (format!(":{}: {error}", error.line()), remedy)
    })?;
    let nodes = traces.get_mut(function).ok_or((
        format!(" has no function {function:?}"),
        "name one that it has with the key function",
    ))?;
    nodes.remove(node).ok_or((
        format!(" has no node {node:?} for {function}"),
        "name one that it has with the key node",
    ))
}
