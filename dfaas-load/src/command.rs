//! The command line.

use std::{
    io::{IsTerminal as _, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use tokio::sync::watch;

use crate::{
    attack,
    client::Connections,
    format::{self, Format, Writer},
    plot::{self, Kind, Seconds},
    progress::Progress,
    report,
    sample::Sample,
    schedule::{Arrivals, Phase, Schedule},
    summary::Summary,
    target,
    workload::{Stream, TIMEOUT, Workload},
};

/// HTTP load at a rate that does not wait for answers, and what became of it
///
/// Latency counts from when a request was due, so a server that stands still is charged for all who would have asked meanwhile.
#[derive(Debug, Parser)]
#[command(name = "dfaas-load", version)]
pub(crate) enum Command {
    /// Carry out a workload file: several targets in parallel, with phases, ramps or traces of rates
    Run(Run),
    /// Ask targets (a file of vegeta's JSON targets) in turn at one rate
    Attack(Attack),
    /// Sum results up, of this program, vegeta, k6 or hey
    Report(Report),
    /// Write results in another format
    Convert(Convert),
    /// Draw results
    Plot(Plot),
}

#[derive(Debug, clap::Args)]
struct Output {
    /// Where results go; `-` is standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How they are written
    #[arg(long, value_enum, default_value = "vegeta-json")]
    format: Format,
    /// Print the summary as one line of JSON
    #[arg(long)]
    json: bool,
    /// How many requests may be under way at once; what is due beyond waits, and is charged for it
    #[arg(long, value_name = "NUMBER", default_value_t = attack::UNDER_WAY_MAX, value_parser = under_way_max)]
    max_under_way: usize,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// The workload, a TOML file
    workload: PathBuf,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Attack {
    /// Requests a second
    #[arg(long, value_parser = rate)]
    rate: f64,
    /// For how long, such as 5m or 30s
    #[arg(long, value_parser = humantime::parse_duration)]
    duration: Duration,
    /// vegeta's JSON targets, a line each; `-` is standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    targets: PathBuf,
    /// How requests lie within the rate
    #[arg(long, value_enum, default_value = "constant")]
    arrivals: Arrivals,
    /// For what is random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How connections are used
    #[arg(long, value_enum, default_value = "keep-alive")]
    connections: Connections,
    /// How long an answer is waited for
    #[arg(long, value_parser = humantime::parse_duration, default_value = "30s")]
    timeout: Duration,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Report {
    /// Results
    #[arg(required = true)]
    results: Vec<PathBuf>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    /// Write one HTML file with numbers and pictures
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Convert {
    /// Results
    results: PathBuf,
    /// Where they go; `-` is standard output
    output: PathBuf,
    /// How they are written
    #[arg(long, value_enum)]
    to: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Plot {
    /// Results
    results: PathBuf,
    /// The picture, PNG or SVG by its name
    picture: PathBuf,
    /// Take so many requests as a second, instead of the time at which they were due
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// What it shows
    #[arg(long, value_enum, default_value = "codes")]
    kind: Kind,
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or written, or says what cannot be. Requests without an answer are results.
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Run(run) => send(&Workload::read(&run.workload)?, &run.output),
            Self::Attack(attack) => send(&attack.workload()?, &attack.output),
            Self::Report(report) => report.run(),
            Self::Convert(convert) => {
                let samples = format::read(&convert.results)?;
                let mut writer = Writer::begin(convert.to, format::create(&convert.output)?)?;
                samples.iter().try_for_each(|sample| writer.write(sample))?;
                writer.end()
            }
            Self::Plot(plot) => {
                let seconds = plot
                    .rate
                    .map_or(Seconds::Due, |rate| Seconds::Blocks(rate as usize));
                plot::write(&plot.picture, plot.kind, seconds, &format::read(&plot.results)?)
            }
        }
    }
}

impl Attack {
    fn workload(&self) -> Result<Workload> {
        ensure!(!self.duration.is_zero(), "--duration 0s sends nothing: give more");
        let mut text = String::new();
        let targets = if self.targets == Path::new("-") {
            std::io::stdin()
                .read_to_string(&mut text)
                .context("reading targets")?;
            target::read_all(&text).context("standard input")?
        } else {
            let name = self.targets.display().to_string();
            let text = std::fs::read_to_string(&self.targets).with_context(|| format!("reading {name}"))?;
            target::read_all(&text).context(name)?
        };
        let phase = Phase::constant(self.duration.as_secs_f64(), self.rate);
        Ok(Workload {
            name: "attack".to_owned(),
            streams: vec![Stream {
                targets,
                start: Duration::ZERO,
                schedule: Schedule::new(vec![phase], self.arrivals, self.seed),
            }],
            timeout: if self.timeout.is_zero() {
                TIMEOUT
            } else {
                self.timeout
            },
            connections: self.connections,
        })
    }
}

impl Report {
    fn run(&self) -> Result<()> {
        let mut samples = Vec::new();
        for file in &self.results {
            samples.extend(format::read(file)?);
        }
        if let Some(file) = &self.html {
            let names: Vec<_> = self
                .results
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            report::write(file, &names.join(", "), &samples)?;
        }
        print(&Summary::of(&samples), self.json)
    }
}

/// Carries a workload out. Ctrl-C ends it early: what is under way is still waited for and written.
#[tokio::main]
async fn send(workload: &Workload, output: &Output) -> Result<()> {
    let mut writer = match &output.output {
        Some(file) => Some(Writer::begin(output.format, format::create(file)?)?),
        None => None,
    };
    if !std::io::stderr().is_terminal() {
        eprintln!(
            "{}: about {:.0} requests in {:.0?}",
            workload.name,
            workload.expected(),
            workload.duration()
        );
    }
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.send_replace(true);
        }
        // The channel stays until the program ends; a closed one would look like a stop.
        std::future::pending::<()>().await;
    });
    let mut results = attack::start(workload, output.max_under_way, stopped);
    let mut progress = Progress::begin(workload);
    let mut samples: Vec<Sample> = Vec::new();
    while let Some(sample) = results.recv().await {
        if let Some(writer) = &mut writer {
            writer.write(&sample)?;
        }
        progress.note(&sample);
        samples.push(sample);
    }
    progress.end();
    if let Some(writer) = writer {
        writer.end()?;
    }
    if output.output.as_deref() == Some(Path::new("-")) {
        eprint!("{}", Summary::of(&samples));
        return Ok(());
    }
    print(&Summary::of(&samples), output.json)
}

#[expect(clippy::print_stdout, reason = "the summary is what the command is for")]
fn print(summary: &Summary, as_json: bool) -> Result<()> {
    if as_json {
        println!("{}", serde_json::to_string(summary)?);
    } else {
        print!("{summary}");
    }
    Ok(())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text
        .parse()
        .ok()
        .filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "give requests a second, above 0".to_owned())
}

fn under_way_max(text: &str) -> Result<usize, String> {
    let number = text.parse().ok();
    number
        .filter(|&number| number > 0)
        .ok_or_else(|| "give a number from 1".to_owned())
}
