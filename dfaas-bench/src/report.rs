//! What was measured, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    case::{Case, Connections},
    contender::Contender,
    latency::Latencies,
    ports::Route,
    rounds::{Measured, Series},
    statistics::Median,
};

pub(crate) const HEAD: &str = "\
| case | connections | body | direct | dfaas | HAProxy | nginx | of direct | of HAProxy | floors |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---|
";

/// A case and what was measured of it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) case: Case,
    pub(crate) measured: Measured,
    /// At a constant rate.
    pub(crate) latencies: Option<Latencies>,
    /// Nanoseconds of eBPF programs a request.
    pub(crate) program_ns: f64,
}

/// What has to be reached.
#[derive(Debug)]
pub(crate) struct Floor {
    pub(crate) text: String,
    pub(crate) is_met: bool,
}

impl Line {
    fn series(&self, contender: Contender) -> Option<&Series> {
        self.measured.series.get(&contender)
    }

    fn rps(&self, contender: Contender) -> Option<Median> {
        Median::of(self.series(contender)?.rps.iter().copied())
    }

    /// One worker or two: the one that did more.
    fn best(&self, contenders: [Contender; 2]) -> Contender {
        let [one, two] = contenders;
        let rps = |contender| self.rps(contender).map_or(0.0, |median| median.value);
        if rps(two) > rps(one) { two } else { one }
    }

    pub(crate) fn haproxy(&self) -> Contender {
        self.best([1, 2].map(|workers| Contender::Haproxy { workers }))
    }

    pub(crate) fn nginx(&self) -> Contender {
        self.best([1, 2].map(|workers| Contender::Nginx { workers }))
    }

    fn ratio(&self, to: Contender) -> Option<Median> {
        let ours = self.series(Contender::Dfaas)?;
        Median::of_ratios(&ours.rps, &self.series(to)?.rps)
    }

    /// The floors that there are, and whether each is met.
    pub(crate) fn floors(&self) -> Vec<Floor> {
        let ratios = [
            ("direct", self.case.floors.direct, self.ratio(Contender::Direct)),
            ("HAProxy", self.case.floors.haproxy, self.ratio(self.haproxy())),
        ];
        let of_ratios = ratios.into_iter().filter_map(|(name, floor, ratio)| {
            let floor = floor?;
            Some(Floor {
                text: format!("{floor:.2} of {name}"),
                is_met: ratio.is_some_and(|ratio| ratio.value >= floor),
            })
        });
        of_ratios.chain(self.floors_of_times()).collect()
    }

    /// What we may add to the time of a request, and that it is less than HAProxy adds.
    fn floors_of_times(&self) -> Vec<Floor> {
        let Some(latencies) = &self.latencies else {
            return Vec::new();
        };
        let mut floors = Vec::new();
        for (name, permille, most_us) in [("p50", 500, 15.0), ("p99", 990, 60.0)] {
            let ours = latencies.added_us(Contender::Dfaas, permille);
            let theirs = latencies.added_us(self.haproxy(), permille);
            if self.case.route == Route::Local {
                floors.push(Floor {
                    text: format!("{name} +{most_us:.0} us at most"),
                    is_met: ours.is_some_and(|ours| ours <= most_us),
                });
            }
            floors.push(Floor {
                text: format!("{name} below HAProxy's"),
                is_met: ours.zip(theirs).is_some_and(|(ours, theirs)| ours < theirs),
            });
        }
        floors
    }

    /// A row of the table.
    pub(crate) fn row(&self) -> String {
        let rps = |contender| {
            self.rps(contender)
                .map_or("-".to_owned(), |median| thousands(median.value))
        };
        let ratio = |to| {
            self.ratio(to).map_or("-".to_owned(), |ratio| {
                format!("{:.2} ({:.2}-{:.2})", ratio.value, ratio.least, ratio.greatest)
            })
        };
        let floors = self.floors().into_iter().map(|floor| {
            let verdict = if floor.is_met { "met" } else { "**missed**" };
            format!("{}: {verdict}", floor.text)
        });
        let floors: Vec<String> = floors.collect();
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            self.case.name,
            self.case.clients,
            self.case.body_text(),
            rps(Contender::Direct),
            rps(Contender::Dfaas),
            rps(self.haproxy()),
            rps(self.nginx()),
            ratio(Contender::Direct),
            ratio(self.haproxy()),
            floors.join("; ")
        )
    }

    /// One object.
    pub(crate) fn json(&self) -> Value {
        let rps = |contender| self.rps(contender).map(|median| median.value);
        let spread = |to| self.ratio(to).map(|ratio| [ratio.least, ratio.greatest]);
        let cpu = |contender: Contender| {
            let series = self.series(contender)?;
            Median::of(series.cpu_us.iter().copied()).map(|median| median.value)
        };
        let (haproxy, nginx) = (self.haproxy(), self.nginx());
        let floors = self.floors();
        let latencies = self.latencies.as_ref();
        let of = |permille| latencies.and_then(|latencies| latencies.median_us(Contender::Dfaas, permille));
        json!({
            "case": self.case.name,
            "connections": self.case.clients,
            "keep_alive": self.case.connections == Connections::KeepAlive,
            "body": self.case.body_bytes(),
            "direct_rps": rps(Contender::Direct),
            "dfaas_rps": rps(Contender::Dfaas),
            "haproxy_rps": rps(haproxy),
            "haproxy": haproxy.name(),
            "nginx_rps": rps(nginx),
            "nginx": nginx.name(),
            "ratio_direct": self.ratio(Contender::Direct).map(|ratio| ratio.value),
            "ratio_haproxy": self.ratio(haproxy).map(|ratio| ratio.value),
            "p50_us": of(500),
            "p99_us": of(990),
            "p999_us": of(999),
            "latency": latencies.map(Latencies::json),
            "cpu_us_per_request": cpu(Contender::Dfaas),
            "direct_cpu_us_per_request": cpu(Contender::Direct),
            "haproxy_cpu_us_per_request": cpu(haproxy),
            "nginx_cpu_us_per_request": cpu(nginx),
            "bpf_ns_per_request": self.program_ns,
            "spread": {
                "ratio_direct": spread(Contender::Direct),
                "ratio_haproxy": spread(haproxy),
            },
            "floors_met": floors.iter().all(|floor| floor.is_met),
            "floors": floors.iter().map(|floor| json!({
                "floor": floor.text, "met": floor.is_met,
            })).collect::<Vec<_>>(),
        })
    }

    /// What is not in the table, for people.
    pub(crate) fn details(&self) -> String {
        let mut text = String::new();
        let cpu: Vec<String> = self
            .measured
            .series
            .iter()
            .filter_map(|(contender, series)| {
                let cpu = Median::of(series.cpu_us.iter().copied())?.value;
                Some(format!("{} {cpu:.1}", contender.name()))
            })
            .collect();
        let _ = writeln!(
            text,
            "  CPU us a request, all ends and softirq: {}; eBPF {:.0} ns a request",
            cpu.join(", "),
            self.program_ns
        );
        if let Some(latencies) = &self.latencies {
            text += &latencies.text();
        }
        text
    }
}

/// A rate as people read it.
fn thousands(value: f64) -> String {
    if value < 10_000.0 {
        format!("{value:.0}")
    } else {
        format!("{:.1}k", value / 1000.0)
    }
}
