//! What came of each row.

use std::{collections::BTreeMap, fmt, process::ExitCode};

use anyhow::Result;
use serde::Serialize;

use super::table::{Chapter, Known, Row};

/// What came of a row at one program.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict", content = "why")]
pub(crate) enum Verdict {
    Right,
    /// Ours is not as the real software's, and the documents say so.
    Differs(String),
    Wrong(String),
    NotRun(String),
}

/// A row with what came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    software: String,
    version: String,
    says: String,
    source: String,
    known: Known,
    /// The program that was asked.
    asked: &'static str,
    #[serde(flatten)]
    verdict: Verdict,
}

/// All rows.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) lines: Vec<Line>,
}

impl Verdict {
    /// What came of the row at our platform.
    pub(crate) fn of(row: &Row, done: Result<()>) -> Self {
        match (done, &row.differs) {
            (Ok(()), None) => Self::Right,
            (Ok(()), Some(why)) => Self::Differs(why.clone()),
            (Err(error), _) => Self::Wrong(format!("{error:#}")),
        }
    }

    /// What came of it at the real program: then the table is right.
    pub(crate) fn of_real(done: Result<()>) -> Self {
        match done {
            Ok(()) => Self::Right,
            Err(error) => Self::Wrong(format!("{error:#}")),
        }
    }

    pub(crate) fn was_run(&self) -> bool {
        !matches!(self, Self::NotRun(_))
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Differs(_) => "differs",
            Self::Wrong(_) => "WRONG",
            Self::NotRun(_) => "not run",
        }
    }
}

impl Line {
    pub(crate) fn new(chapter: &Chapter, row: &Row, asked: &'static str, verdict: Verdict) -> Self {
        Self {
            software: chapter.software.clone(),
            version: chapter.version.clone(),
            says: row.says.clone(),
            source: row.source.clone(),
            known: row.known,
            asked,
            verdict,
        }
    }

    pub(crate) fn was_run(&self) -> bool {
        self.verdict.was_run()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let real = format!("{} {}", self.software, self.version);
        writeln!(
            out,
            "{:<8} {:<16} {real:<38} {}",
            self.verdict.word(),
            self.asked,
            self.says
        )?;
        match &self.verdict {
            Verdict::Differs(why) => writeln!(out, "{:<8} {why}", ""),
            Verdict::Wrong(why) => writeln!(out, "{:<8} {why}\n{:<8} expected by {}", "", "", self.source),
            Verdict::Right | Verdict::NotRun(_) => Ok(()),
        }
    }
}

impl Report {
    /// Whether no row is wrong.
    pub(crate) fn is_right(&self) -> bool {
        self.count("WRONG") == 0
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        if self.is_right() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// The rows as an array.
    ///
    /// # Errors
    ///
    /// Never: a line is made of texts.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(&self.lines)?)
    }

    fn count(&self, word: &str) -> usize {
        let has = |line: &&Line| line.verdict.word() == word;
        self.lines.iter().filter(has).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [right, differ, wrong] = ["right", "differs", "WRONG"].map(|word| self.count(word));
        write!(
            out,
            "conformance: {right} right, {differ} differ as documented, {wrong} wrong"
        )?;
        let mut missing = BTreeMap::<_, usize>::new();
        for line in &self.lines {
            if let Verdict::NotRun(why) = &line.verdict {
                *missing.entry((line.asked, why)).or_default() += 1;
            }
        }
        for ((asked, why), count) in missing {
            write!(out, "\nnot run: {count} rows at {asked} ({why})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn one_wrong_row_makes_the_report_wrong_and_rows_that_were_not_run_do_not() {
        let line = |verdict| Line {
            software: "classic-watchdog".into(),
            version: "0.3.9".into(),
            says: "it answers".into(),
            source: "handler.go".into(),
            known: Known::Run,
            asked: "dfaas-provider",
            verdict,
        };
        let mut report = Report::default();
        report.lines.push(line(Verdict::Right));
        report
            .lines
            .push(line(Verdict::NotRun("give --watchdog PATH".into())));
        assert!(report.is_right());
        let text = report.to_string();
        assert!(
            text.contains("1 right, 0 differ as documented, 0 wrong"),
            "{text}"
        );
        assert!(
            text.contains("1 rows at dfaas-provider (give --watchdog PATH)"),
            "{text}"
        );
        report
            .lines
            .push(line(Verdict::of_real(Err(anyhow!("the code is 500")))));
        assert!(!report.is_right());
        let rows: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(
            (&rows[2]["verdict"], &rows[2]["why"], &rows[0]["version"]),
            (&"wrong".into(), &"the code is 500".into(), &"0.3.9".into())
        );
    }
}
