//! The original's recordings: what functions did on three types of nodes, minute by minute.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::rivals::reference::Metrics;

/// The node types of the original, which are the folders of recordings.
pub const TYPES: [&str; 3] = ["node_1", "node_2", "node_3"];
/// The functions that the original's simulator takes from recordings.
pub const FUNCTIONS: [&str; 3] = ["funca", "qrcode", "ocr"];

/// All recordings, by node type; of one type in the order of file names, so that a seed names the same everywhere.
#[derive(Debug, Clone)]
pub struct Recordings {
    pub(super) by_type: [Vec<Recording>; 3],
}

/// A file: one minute after the other.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    pub(super) minutes: Vec<Minute>,
}

/// What was measured in a minute, by the place of the function in [`FUNCTIONS`].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Minute {
    pub(super) functions: [Option<Measured>; 3],
}

/// What was measured of a function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    pub(super) metrics: Metrics,
    pub(super) is_overloaded: bool,
}

/// Why there are no recordings.
#[derive(Debug, thiserror::Error)]
pub enum RecordingsError {
    /// A folder or a file cannot be read.
    #[error("reading {path}: {error}; give a folder with {} in it", TYPES.join(", "), path = path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is not of the format.
    #[error("{path}:{line}:{column}: {what}; a recording has an input, and an output of one entry a minute", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
        /// What is wrong.
        what: String,
    },
    /// A recording has no minutes, or another number than the first one.
    #[error("{path}: {minutes} minutes are recorded, not {want}; record all alike, and at least one", path = path.display())]
    Minutes {
        /// The file.
        path: PathBuf,
        /// How many it has.
        minutes: usize,
        /// How many the first one has.
        want: usize,
    },
    /// A number is none that can have been measured.
    #[error("{path}: minute {minute}: {function} has {field} {value}; measured numbers are finite and not negative", path = path.display())]
    Number {
        /// The file.
        path: PathBuf,
        /// The minute, from 0.
        minute: usize,
        /// The function.
        function: String,
        /// Which number.
        field: &'static str,
        /// What it is.
        value: f64,
    },
    /// There is no recording of a type.
    #[error("{path} has no recording; put at least one .json file there", path = path.display())]
    None {
        /// The folder.
        path: PathBuf,
    },
}

#[derive(Deserialize)]
struct File {
    output: Vec<Instant>,
}

#[derive(Deserialize)]
struct Instant {
    ram_usage: f64,
    cpu_usage: f64,
    functions: Vec<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    service_count: f64,
    margin: f64,
    invoc_rate: f64,
    afet: f64,
    ram_xfunc: f64,
    cpu_xfunc: f64,
    max_rate: f64,
    state: State,
}

#[derive(Deserialize, PartialEq, Eq)]
enum State {
    Overload,
    Underload,
}

impl Recordings {
    /// Reads a folder with one folder for each node type.
    ///
    /// # Errors
    ///
    /// When there is none, or a file is not of the format.
    pub fn read(folder: &Path) -> Result<Self, RecordingsError> {
        let mut minutes = None;
        let mut by_type = [const { Vec::new() }; 3];
        for (recordings, kind) in by_type.iter_mut().zip(TYPES) {
            let folder = folder.join(kind);
            for path in json_files(&folder)? {
                let recording = Recording::read(&path)?;
                let found = recording.minutes.len();
                let want = *minutes.get_or_insert(found.max(1));
                if found != want {
                    return Err(RecordingsError::Minutes {
                        path,
                        minutes: found,
                        want,
                    });
                }
                recordings.push(recording);
            }
            if recordings.is_empty() {
                return Err(RecordingsError::None { path: folder });
            }
        }
        let mut recordings = Self { by_type };
        recordings.average();
        Ok(recordings)
    }

    /// How many minutes each has.
    pub fn minutes(&self) -> usize {
        self.by_type[0][0].minutes.len()
    }

    /// As the original's data base does: what was measured with the same functions, replicas and rates on the same type of
    /// node is averaged.
    fn average(&mut self) {
        for recordings in &mut self.by_type {
            let mut alike: BTreeMap<Vec<u64>, Vec<Minute>> = BTreeMap::new();
            for minute in recordings.iter().flat_map(|recording| &recording.minutes) {
                alike.entry(minute.key()).or_default().push(minute.clone());
            }
            for minute in recordings.iter_mut().flat_map(|recording| &mut recording.minutes) {
                if let Some(minutes) = alike.get(&minute.key()) {
                    *minute = Minute::mean(minutes);
                }
            }
        }
    }
}

fn json_files(folder: &Path) -> Result<Vec<PathBuf>, RecordingsError> {
    let unreadable = |error| RecordingsError::Unreadable {
        path: folder.to_owned(),
        error,
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

impl Recording {
    fn read(path: &Path) -> Result<Self, RecordingsError> {
        let text = fs::read_to_string(path).map_err(|error| RecordingsError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
        let file: File = serde_json::from_str(&text).map_err(|error| RecordingsError::Format {
            path: path.to_owned(),
            line: error.line(),
            column: error.column(),
            what: error.to_string(),
        })?;
        let minutes = file.output.into_iter().enumerate();
        let minutes = minutes.map(|(number, instant)| instant.check(path, number));
        Ok(Self {
            minutes: minutes.collect::<Result<_, _>>()?,
        })
    }
}

impl Instant {
    fn check(self, path: &Path, minute: usize) -> Result<Minute, RecordingsError> {
        let mut functions = [None; 3];
        for function in self.functions {
            let Some(place) = FUNCTIONS.iter().position(|name| *name == function.name) else {
                continue;
            };
            let metrics = Metrics {
                service_count: function.service_count,
                margin: function.margin,
                invoc_rate: function.invoc_rate,
                max_rate: function.max_rate,
                afet: function.afet,
                ram_usage: self.ram_usage,
                cpu_usage: self.cpu_usage,
                ram_xfunc: function.ram_xfunc,
                cpu_xfunc: function.cpu_xfunc,
            };
            let fields = [
                ("service_count", metrics.service_count),
                ("invoc_rate", metrics.invoc_rate),
                ("max_rate", metrics.max_rate),
                ("afet", metrics.afet),
                ("ram_usage", metrics.ram_usage),
                ("cpu_usage", metrics.cpu_usage),
                ("ram_xfunc", metrics.ram_xfunc),
                ("cpu_xfunc", metrics.cpu_xfunc),
            ];
            if let Some(&(field, value)) = fields
                .iter()
                .find(|(_, value)| !(value.is_finite() && *value >= 0.0))
            {
                return Err(RecordingsError::Number {
                    path: path.to_owned(),
                    minute,
                    function: function.name,
                    field,
                    value,
                });
            }
            functions[place] = Some(Measured {
                metrics,
                is_overloaded: function.state == State::Overload,
            });
        }
        Ok(Minute { functions })
    }
}

impl Minute {
    /// The functions, their replicas and rates.
    fn key(&self) -> Vec<u64> {
        let of = |function: &Option<Measured>| match function {
            Some(measured) => vec![
                1,
                measured.metrics.service_count.to_bits(),
                measured.metrics.invoc_rate.to_bits(),
            ],
            None => vec![0],
        };
        self.functions.iter().flat_map(of).collect()
    }

    fn mean(minutes: &[Self]) -> Self {
        let mut mean = minutes[0].clone();
        for (place, function) in mean.functions.iter_mut().enumerate() {
            let Some(function) = function else { continue };
            let all: Vec<Metrics> = minutes
                .iter()
                .filter_map(|minute| Some(minute.functions[place]?.metrics))
                .collect();
            let of = |field: fn(&Metrics) -> f64| all.iter().map(field).sum::<f64>() / all.len() as f64;
            function.metrics = Metrics {
                service_count: of(|metrics| metrics.service_count),
                margin: of(|metrics| metrics.margin),
                invoc_rate: of(|metrics| metrics.invoc_rate),
                max_rate: of(|metrics| metrics.max_rate),
                afet: of(|metrics| metrics.afet),
                ram_usage: of(|metrics| metrics.ram_usage),
                cpu_usage: of(|metrics| metrics.cpu_usage),
                ram_xfunc: of(|metrics| metrics.ram_xfunc),
                cpu_xfunc: of(|metrics| metrics.cpu_xfunc),
            };
        }
        mean
    }
}
