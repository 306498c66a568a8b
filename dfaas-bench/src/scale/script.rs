//! What a node's mind is told, kept as a recording, so that the agent can write what it decides into the kernel's maps.

use std::{
    io::{BufWriter, Write as _},
    path::Path,
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use dfaas_control::{Input, Settings};
use dfaas_testbed::binary;
use serde_json::json;
use tempfile::NamedTempFile;

/// The version of the agent's recordings.
const FORMAT: u32 = 1;

/// A recording of one mind.
#[derive(Debug)]
pub(super) struct Script {
    file: BufWriter<NamedTempFile>,
    begun: Instant,
}

impl Script {
    /// Begins a recording.
    ///
    /// # Errors
    ///
    /// When no file can be written.
    pub(super) fn new(settings: &Settings, begun: Instant) -> Result<Self> {
        let file = NamedTempFile::new().context("making a file for a recording")?;
        let mut script = Self {
            file: BufWriter::new(file),
            begun,
        };
        writeln!(
            script.file,
            "{}",
            json!({"dfaas_recording": FORMAT, "settings": settings})
        )?;
        Ok(script)
    }

    /// Notes that the mind is told something.
    ///
    /// # Errors
    ///
    /// When it cannot be written down.
    pub(super) fn note_input(&mut self, at: Instant, input: &Input) -> Result<()> {
        self.note(at, &json!({"input": input}))
    }

    /// Notes that the mind is to decide.
    ///
    /// # Errors
    ///
    /// When it cannot be written down.
    pub(super) fn note_timeout(&mut self, at: Instant) -> Result<()> {
        self.note(at, &json!("timeout"))
    }

    fn note(&mut self, at: Instant, event: &serde_json::Value) -> Result<()> {
        let at_ns = at.duration_since(self.begun).as_nanos() as u64;
        writeln!(self.file, "{}", json!({"at_ns": at_ns, "event": event}))?;
        Ok(())
    }

    /// How long the decisions take to be written into the kernel's maps, in milliseconds: the greatest, and in the median.
    ///
    /// # Errors
    ///
    /// When the agent cannot replay it.
    pub(super) fn written_ms(mut self) -> Result<(f64, f64)> {
        self.file.flush()?;
        let mut times = written_ms(self.file.get_ref().path())?;
        times.sort_unstable_by(f64::total_cmp);
        let greatest = *times.last().context("the mind decides")?;
        Ok((greatest, times[times.len() / 2]))
    }
}

fn written_ms(recording: &Path) -> Result<Vec<f64>> {
    let mut agent = Command::new(binary("dfaas-agent")?);
    let output = agent.arg("replay").arg(recording).arg("--maps").output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the agent cannot replay: {told}");
    let text = String::from_utf8(output.stdout)?;
    let times = text.lines().filter_map(|line| {
        let time = line.split_once("  written in ")?.1.strip_suffix(" us")?;
        Some(time.parse::<f64>().map(|time_us| time_us / 1e3))
    });
    Ok(times.collect::<Result<_, _>>()?)
}
