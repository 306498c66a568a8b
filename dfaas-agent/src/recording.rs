//! All that a node's mind was told, with times, as JSON lines: written while it works, read to see what it would have
//! decided.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, ErrorKind, LineWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use dfaas_control::{Control, Input, Output, Policy, Settings, StrategyKind};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{clock, data_plane::Rehearsal, steering};

/// The version of the format.
const FORMAT: u32 = 1;
/// A thousand nodes fill it in some days. What lies behind a gap could not be replayed, so nothing follows.
const BYTES_MAX: u64 = 1 << 30;
/// Lines that wait for the disk: some seconds of a large federation.
const LINES_MAX: usize = 4096;
/// What the name of the recording before ends with.
const OLDER: &str = ".old";
/// How late a decision of another strategy than the recorded one may come, in parts of a period.
const LATENESS: u32 = 10;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    dfaas_recording: u32,
    settings: Settings,
}

/// Any other line.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// Nanoseconds since the recording began.
    at_ns: u64,
    event: Event,
}

/// What the mind was told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    Input(Input),
    Timeout,
    Switch(StrategyKind),
}

/// Writes a recording, by a thread of its own: the loop does not wait for a disk.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// Absent once a line could not be written.
    lines: Option<SyncSender<String>>,
    writer: Option<JoinHandle<()>>,
    start: Instant,
}

impl Recorder {
    /// Begins a recording in a new file. One that is there already, as behind a restart, gets a name that ends with `.old`.
    ///
    /// # Errors
    /// The file cannot be made, or the one before not be renamed.
    pub(crate) fn create(path: &Path, settings: &Settings, start: Instant) -> Result<Self> {
        let named = || format!("recording to {} (--record)", path.display());
        put_aside(path).with_context(named)?;
        let mut file = LineWriter::new(File::create_new(path).with_context(named)?);
        let header = Header {
            dfaas_recording: FORMAT,
            settings: settings.clone(),
        };
        writeln!(file, "{}", serde_json::to_string(&header)?).with_context(named)?;
        let (lines, receiver) = sync_channel(LINES_MAX);
        let writer = thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || write(file, &receiver, BYTES_MAX))
            .with_context(named)?;
        Ok(Self {
            lines: Some(lines),
            writer: Some(writer),
            start,
        })
    }

    pub(crate) fn note(&mut self, now: Instant, event: Event) {
        let Some(lines) = &self.lines else {
            return;
        };
        let at_ns = now.saturating_duration_since(self.start).as_nanos() as u64;
        // Somebody else may read the file.
        let event = match event {
            Event::Input(input) => Event::Input(input.without_secrets()),
            Event::Timeout | Event::Switch(_) => event,
        };
        let line = serde_json::to_string(&Entry { at_ns, event })
            .expect("text keys and finite numbers are always JSON");
        // The disk is too slow, or the writer has said why it ended.
        if let Err(error) = lines.try_send(line) {
            warn!(%error, "The recording ends here");
            self.lines = None;
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            // It panics nowhere, and there is nobody left to tell.
            let _ = writer.join();
        }
    }
}

fn put_aside(path: &Path) -> Result<()> {
    let mut older = path.as_os_str().to_owned();
    older.push(OLDER);
    match fs::rename(path, PathBuf::from(older)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes lines until there are no more, or no room for them.
fn write(mut file: impl Write, lines: &Receiver<String>, bytes_max: u64) {
    let mut bytes = 0;
    for line in lines {
        bytes += line.len() as u64 + 1;
        if bytes > bytes_max {
            warn!(bytes_max, "The recording is as long as it may be, and ends here");
            return;
        }
        if let Err(error) = writeln!(file, "{line}") {
            warn!(%error, "The recording ends here");
            return;
        }
    }
}

/// Tells what a strategy would have decided, a line for each change; without a strategy, what was decided. With maps, the
/// decisions are written into some that nothing reads, and how long each took is told.
///
/// # Errors
/// The file cannot be read, or is no recording; the kernel gives no maps.
pub(crate) fn replay(
    path: &Path,
    strategy: Option<StrategyKind>,
    with_maps: bool,
    print: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<()> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut lines = BufReader::new(file).lines();
    let first = lines
        .next()
        .context("the file is empty")?
        .context("reading the first line")?;
    let header: Header = serde_json::from_str(&first).context("the first line is not that of a recording")?;
    ensure!(
        header.dfaas_recording == FORMAT,
        "the recording is of format {}, not {FORMAT}",
        header.dfaas_recording
    );
    let node = header.settings.node.clone();
    let mut player = Player::new(header.settings, strategy)?;
    if with_maps {
        player.rehearsal = Some(Rehearsal::new(&node)?);
    }
    for (number, line) in (2..).zip(lines) {
        let line = line.with_context(|| format!("reading line {number}"))?;
        let entry: Entry = serde_json::from_str(&line).with_context(|| format!("line {number}"))?;
        player.play(entry);
        player.tell(print)?;
    }
    Ok(())
}

/// A mind to which a recording is told.
struct Player {
    control: Control,
    start: Instant,
    now: Instant,
    /// The strategy is not the recorded one.
    is_other: bool,
    lateness: Duration,
    policy: Arc<Policy>,
    rehearsal: Option<Rehearsal>,
}

impl Player {
    fn new(settings: Settings, strategy: Option<StrategyKind>) -> Result<Self> {
        let errors: Vec<String> = settings.errors().iter().map(ToString::to_string).collect();
        if !errors.is_empty() {
            bail!("the recorded settings cannot be used: {}", errors.join("; "));
        }
        let start = clock::now();
        let lateness = settings.period / LATENESS;
        let settings = Settings {
            strategy: strategy.unwrap_or(settings.strategy),
            shadow: None,
            ..settings
        };
        Ok(Self {
            control: Control::new(settings, start),
            start,
            now: start,
            is_other: strategy.is_some(),
            lateness,
            policy: Arc::default(),
            rehearsal: None,
        })
    }

    fn play(&mut self, entry: Entry) {
        self.now = self.start + Duration::from_nanos(entry.at_ns);
        // The recorded node woke when its own strategy wanted to.
        while self.is_other
            && let Some(due) = self.control.poll_timeout()
            && due + self.lateness < self.now
        {
            self.control.handle_timeout(due);
        }
        match entry.event {
            // Another strategy asks at other times, and its questions are answered as they come.
            Event::Input(Input::Probed { .. }) if self.is_other => {}
            Event::Input(input) => self.control.handle_input(self.now, input),
            Event::Timeout => self.control.handle_timeout(self.now),
            Event::Switch(_) if self.is_other => {}
            // What the node refused, this one refuses too.
            Event::Switch(strategy) => drop(self.control.switch(self.now, strategy)),
        }
    }

    fn tell(&mut self, print: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        let at_s = self.now.duration_since(self.start).as_secs_f64();
        while let Some(output) = self.control.poll_output() {
            if let Output::Probe { peer, service, .. } = output {
                if self.is_other {
                    let is_there = true;
                    let probed = Input::Probed {
                        peer,
                        service,
                        is_there,
                    };
                    self.control.handle_input(self.now, probed);
                }
                continue;
            }
            let Output::Apply(policy) = output else {
                continue;
            };
            for line in steering::changes(&self.policy, &policy) {
                print(&format!("{at_s:10.3} s  {line}\n"))?;
            }
            if let Some(rehearsal) = &mut self.rehearsal {
                let taken = rehearsal.apply(&policy)?;
                print(&format!("{at_s:10.3} s  written in {} us\n", taken.as_micros()))?;
            }
            self.policy = policy;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
