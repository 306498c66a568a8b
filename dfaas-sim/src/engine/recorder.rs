//! Counts what happens, and closes a row for each second.

use std::collections::BTreeMap;

use crate::record::{Flow, Record, Row, percentile};
use crate::scenario::Scenario;

const SECOND_NS: u64 = 1_000_000_000;

/// What happened to requests for a function at a node within the current second.
#[derive(Debug, Default)]
pub(super) struct Cell {
    pub(super) row: Row,
    latencies_us: Vec<u32>,
    /// By server.
    served_by: BTreeMap<usize, u64>,
}

/// The weights of a node's policy: by function and receiver.
pub(super) type Weights = BTreeMap<(usize, usize), f64>;

#[derive(Debug)]
pub(super) struct Recorder {
    functions: usize,
    second: u32,
    warmup_ns: u64,
    cells: Vec<Cell>,
    pub(super) record: Record,
}

impl Recorder {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let cells = scenario.nodes.iter().flat_map(|node| {
            let row = |function: &dfaas_control::FunctionName| Row {
                node: node.name.clone(),
                function: function.to_string(),
                ..Row::default()
            };
            scenario.functions.iter().map(row).map(|row| Cell {
                row,
                ..Cell::default()
            })
        });
        let capacities = scenario.nodes.iter().flat_map(|node| {
            let stations = node.functions.iter().zip(&scenario.functions);
            stations.filter_map(|(station, name)| {
                Some((
                    node.name.clone(),
                    name.to_string(),
                    station.as_ref()?.capacity_rps,
                ))
            })
        });
        Self {
            functions: scenario.functions.len(),
            second: 0,
            warmup_ns: u64::from(scenario.warmup_s) * SECOND_NS,
            cells: cells.collect(),
            record: Record {
                capacities: capacities.collect(),
                ..Record::default()
            },
        }
    }

    pub(super) fn at(&mut self, node: usize, function: usize) -> &mut Row {
        &mut self.cells[node * self.functions + function].row
    }

    /// A request has its answer.
    pub(super) fn served(
        &mut self,
        origin: usize,
        function: usize,
        server: usize,
        born_ns: u64,
        now_ns: u64,
    ) {
        let latency_us = u32::try_from((now_ns - born_ns) / 1_000).unwrap_or(u32::MAX);
        if born_ns >= self.warmup_ns {
            self.record.latencies_us.push(latency_us);
        }
        let cell = &mut self.cells[origin * self.functions + function];
        cell.latencies_us.push(latency_us);
        *cell.served_by.entry(server).or_insert(0) += 1;
        if server == origin {
            cell.row.served_own += 1;
        } else {
            cell.row.served_elsewhere += 1;
            self.at(server, function).served_others += 1;
        }
    }

    /// Whether a second ends before this time.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= u64::from(self.second + 1) * SECOND_NS
    }

    /// Ends a second. Functions that a node neither runs nor was asked for have no row.
    pub(super) fn close(&mut self, scenario: &Scenario, weights: &[Weights]) {
        let second = self.second;
        for (place, cell) in self.cells.iter_mut().enumerate() {
            let (node, function) = (place / self.functions, place % self.functions);
            let spec = &scenario.nodes[node];
            let flows = flows(cell, function, &weights[node]);
            let name = |server: usize| scenario.nodes[server].name.clone();
            self.record
                .flows
                .extend(flows.into_iter().map(|(server, served, weight)| Flow {
                    second,
                    node: cell.row.node.clone(),
                    function: cell.row.function.clone(),
                    server: name(server),
                    served,
                    weight,
                }));
            let row = cell.close(second);
            if spec.functions[function].is_some() || row.arrived + row.refused + row.failed > 0 {
                self.record.rows.push(row);
            }
        }
        self.second += 1;
    }
}

fn flows(cell: &Cell, function: usize, weights: &Weights) -> Vec<(usize, u64, Option<f64>)> {
    let routes = weights.range((function, 0)..(function + 1, 0));
    let mut flows: BTreeMap<usize, (u64, Option<f64>)> = routes
        .map(|(&(_, server), &weight)| (server, (0, Some(weight))))
        .collect();
    for (&server, &served) in &cell.served_by {
        flows.entry(server).or_insert((0, None)).0 = served;
    }
    flows
        .into_iter()
        .map(|(server, (served, weight))| (server, served, weight))
        .collect()
}

impl Cell {
    /// The row of this second; the next one begins.
    fn close(&mut self, second: u32) -> Row {
        self.latencies_us.sort_unstable();
        let at = |share| percentile(&self.latencies_us, share).map(|us| f64::from(us) / 1e3);
        let next = Row {
            node: self.row.node.clone(),
            function: self.row.function.clone(),
            ..Row::default()
        };
        let row = Row {
            second,
            p50_ms: at(0.5),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            ..std::mem::replace(&mut self.row, next)
        };
        self.latencies_us.clear();
        self.served_by.clear();
        row
    }
}
