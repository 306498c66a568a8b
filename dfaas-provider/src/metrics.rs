//! The Prometheus text of the `gateway_*` metrics. Only deployed functions have a label, so a client cannot
//! make series up by calling names.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use crate::calls::queue::Counts;
use crate::run::function::Function;
use crate::run::stats::{BUCKETS_MS, Durations};

pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the metrics of `functions`, whose names hold nothing to escape.
pub(crate) fn text<'a>(functions: impl Iterator<Item = &'a Function> + Clone) -> String {
    let mut out = String::new();
    family(
        &mut out,
        "gateway_function_invocation_total",
        "counter",
        "Calls that ended, by status code",
    );
    for function in functions.clone() {
        function.stats().for_each_code(|code, durations| {
            let name = function.name();
            let count = durations.count();
            line(
                &mut out,
                format_args!(
                    "gateway_function_invocation_total{{function_name=\"{name}\",code=\"{code}\"}} {count}"
                ),
            );
        });
    }
    family(
        &mut out,
        "gateway_function_invocation_started",
        "counter",
        "Calls that began",
    );
    for function in functions.clone() {
        let (name, count) = (function.name(), function.stats().started());
        line(
            &mut out,
            format_args!("gateway_function_invocation_started{{function_name=\"{name}\"}} {count}"),
        );
    }
    family(
        &mut out,
        "gateway_functions_seconds",
        "histogram",
        "How long calls took",
    );
    for function in functions.clone() {
        function.stats().for_each_code(|code, durations| {
            let labels = format!("function_name=\"{}\",code=\"{code}\"", function.name());
            histogram(&mut out, "gateway_functions_seconds", &labels, durations);
        });
    }
    family(
        &mut out,
        "gateway_service_count",
        "gauge",
        "Replicas of a function",
    );
    for function in functions {
        let (name, replicas) = (function.name(), function.replicas());
        line(
            &mut out,
            format_args!("gateway_service_count{{function_name=\"{name}\"}} {replicas}"),
        );
    }
    out
}

/// Writes the metrics of asynchronous calls.
pub(crate) fn queue(counts: &Counts) -> String {
    let mut out = String::new();
    let (waiting, failed) = (
        counts.waiting.load(Relaxed),
        counts.callbacks_failed.load(Relaxed),
    );
    let name = "dfaas_async_calls_waiting";
    family(
        &mut out,
        name,
        "gauge",
        "Asynchronous calls that wait or are being made",
    );
    line(&mut out, format_args!("{name} {waiting}"));
    let name = "dfaas_async_callbacks_failed_total";
    family(
        &mut out,
        name,
        "counter",
        "Results of asynchronous calls that could not be told",
    );
    line(&mut out, format_args!("{name} {failed}"));
    out
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    line(out, format_args!("# HELP {name} {help}"));
    line(out, format_args!("# TYPE {name} {kind}"));
}

fn histogram(out: &mut String, name: &str, labels: &str, durations: &Durations) {
    let mut cumulative = 0;
    for (slot, count) in durations.slots().enumerate() {
        cumulative += count;
        match BUCKETS_MS.get(slot) {
            Some(&bound_ms) => {
                let bound = bound_ms as f64 / 1000.0;
                line(
                    out,
                    format_args!("{name}_bucket{{{labels},le=\"{bound}\"}} {cumulative}"),
                );
            }
            None => line(
                out,
                format_args!("{name}_bucket{{{labels},le=\"+Inf\"}} {cumulative}"),
            ),
        }
    }
    line(
        out,
        format_args!("{name}_sum{{{labels}}} {}", durations.sum_seconds()),
    );
    line(out, format_args!("{name}_count{{{labels}}} {cumulative}"));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a string takes every text");
}
