//! The table, as its files have it.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::want::Want;
use crate::shell;

/// Where the files of the table are.
const FOLDER: &str = "dfaas-provider/tests/conformance";

/// What is known of one software.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chapter {
    pub(crate) software: String,
    pub(crate) version: String,
    pub(crate) row: Vec<Row>,
}

/// One expectation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    /// What is expected.
    pub(crate) says: String,
    /// Where that stands, or how it was seen.
    pub(crate) source: String,
    /// Whether the real software was run, or its source read.
    pub(crate) known: Known,
    /// Why ours differs in the steps that say so, and where that is documented.
    pub(crate) differs: Option<String>,
    /// Files of the row's folder, with their text.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
    /// Files of `dfaas-provider/tests/provider` that the row needs in its folder.
    #[serde(default)]
    pub(crate) copies: Vec<String>,
    /// What the provider is started with besides its addresses and its state.
    #[serde(default)]
    pub(crate) arguments: Vec<String>,
    /// Whether the provider is given the user `admin` with the password `secret`.
    #[serde(default)]
    pub(crate) credentials: bool,
    /// Whether only root can have what is looked at.
    #[serde(default)]
    pub(crate) root: bool,
    /// Whether a real watchdog alone can be asked the same.
    #[serde(default)]
    pub(crate) watchdog: bool,
    /// Deployments, made before the first step.
    #[serde(default)]
    pub(crate) functions: Vec<Value>,
    /// What is done, and what must come of it.
    #[serde(default)]
    pub(crate) step: Vec<Step>,
}

/// How the answer of the real software is known.
#[derive(Clone, Copy, Debug, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Known {
    /// It was run.
    Run,
    /// Its source was read.
    Read,
    /// It is no software's: a rule of this platform for what OpenFaaS leaves to others.
    Rule,
}

/// One thing that is done. It has one of the first seven.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Step {
    /// `METHOD PATH` of a request.
    pub(crate) send: Option<String>,
    /// What is written into a connection, with pauses in milliseconds between.
    pub(crate) raw: Option<Vec<Piece>>,
    /// Connections that are kept open until the row ends.
    pub(crate) hold: Option<Hold>,
    /// Stop by SIGTERM, and start on the same state.
    pub(crate) restart: bool,
    /// Arguments of a `dfaas-provider` of its own.
    pub(crate) run: Option<Vec<String>>,
    /// Arguments of `faas-cli`.
    pub(crate) faas_cli: Option<Vec<String>>,
    /// A stack that is deployed, by `dfaas-provider deploy --stack` or by `faas-cli deploy -f`.
    pub(crate) deploy_stack: Option<String>,

    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Option<String>,
    pub(crate) json: Option<Value>,
    /// A body of this many bytes.
    pub(crate) size: Option<usize>,
    /// Variables of the program that is run.
    pub(crate) variables: BTreeMap<String, String>,
    /// How often it is done, at least once, and with which pauses in milliseconds.
    pub(crate) times: usize,
    pub(crate) pause_ms: u64,
    /// Whether it is repeated until what is wanted comes.
    pub(crate) until: bool,
    /// Close the side that sends behind the request, as `nc -N` does.
    pub(crate) half_close: bool,
    /// Close without reading an answer.
    pub(crate) leave: bool,

    /// What the real software answers.
    pub(crate) want: Want,
    /// What ours answers instead.
    pub(crate) ours: Option<Want>,
}

/// What is written into a connection.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Piece {
    Text(String),
    PauseMs(u64),
}

/// Connections that stay open.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hold {
    pub(crate) connections: usize,
    pub(crate) bytes: String,
}

/// Reads the table, in the order of its files' names.
///
/// # Errors
///
/// When a file cannot be read, or a row says what makes no sense.
pub(crate) fn read() -> Result<Vec<Chapter>> {
    let folder = shell::workspace().join(FOLDER);
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path)?;
        chapter(&text).with_context(|| format!("the table's {}", path.display()))
    };
    paths.iter().map(read).collect()
}

fn chapter(text: &str) -> Result<Chapter> {
    let chapter: Chapter = toml::from_str(text)?;
    for row in &chapter.row {
        row.check().with_context(|| row.says.clone())?;
    }
    Ok(chapter)
}

impl Row {
    /// Whether `faas-cli` has to do with it.
    pub(crate) fn has_faas_cli(&self) -> bool {
        let has = |step: &Step| step.faas_cli.is_some() || step.deploy_stack.is_some();
        self.step.iter().any(has)
    }

    /// Whether nothing of it can be done without `faas-cli`.
    pub(crate) fn is_for_faas_cli_alone(&self) -> bool {
        self.step.iter().any(|step| step.faas_cli.is_some())
    }

    fn check(&self) -> Result<()> {
        ensure!(!self.step.is_empty(), "it has no step, so it expects nothing");
        let differs = self.step.iter().any(|step| step.ours.is_some());
        ensure!(
            differs == self.differs.is_some(),
            "`differs` and a step's `ours` go together"
        );
        self.step.iter().try_for_each(Step::check)
    }
}

impl Step {
    fn check(&self) -> Result<()> {
        let actions = [
            self.send.is_some(),
            self.raw.is_some(),
            self.hold.is_some(),
            self.restart,
            self.run.is_some(),
            self.faas_cli.is_some(),
            self.deploy_stack.is_some(),
        ];
        let count = actions.into_iter().filter(|is| *is).count();
        ensure!(count == 1, "a step does one thing, and not {count}: {self:?}");
        let silent = self.hold.is_some() || self.restart || self.leave;
        ensure!(
            silent != self.want.says_something(),
            "a step that is answered wants something of the answer, and no other does: {self:?}"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_source_and_a_version() {
        let chapters = read().unwrap();
        assert!(chapters.len() >= 5);
        for chapter in &chapters {
            assert!(!chapter.version.is_empty(), "{}", chapter.software);
            for row in &chapter.row {
                assert!(!row.says.is_empty() && !row.source.is_empty(), "{row:?}");
            }
        }
    }

    #[test]
    fn no_row_stands_twice() {
        let chapters = read().unwrap();
        let mut names: Vec<_> = chapters.iter().flat_map(|chapter| &chapter.row).collect();
        names.sort_by_key(|row| &row.says);
        for pair in names.windows(2) {
            assert_ne!(pair[0].says, pair[1].says);
        }
    }

    #[test]
    fn rows_that_expect_nothing_are_refused() {
        let row = |steps: &str| {
            format!(
                "software = 's'\nversion = '1'\n[[row]]\nsays = 'x'\nsource = 'y'\nknown = 'run'\n{steps}"
            )
        };
        for (steps, why) in [
            ("", "no step"),
            ("[[row.step]]\nsend = 'GET /'", "wants something"),
            ("[[row.step]]\nwant.status = 200", "one thing"),
            (
                "[[row.step]]\nsend = 'GET /'\nrestart = true\nwant.status = 200",
                "one thing",
            ),
            (
                "[[row.step]]\nsend = 'GET /'\nwant.status = 200\nours.status = 400",
                "go together",
            ),
        ] {
            let error = format!("{:#}", chapter(&row(steps)).unwrap_err());
            assert!(error.contains(why), "{steps}: {error}");
        }
        let sound = row("[[row.step]]\nsend = 'GET /'\nwant.status = 200");
        assert_eq!(chapter(&sound).unwrap().row.len(), 1);
    }
}
