//! What was done, how long it took, and what came of it.

use std::{
    fmt,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::Result;
use dfaas_testbed::now;

use crate::suite;

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Report {
    steps: Vec<Step>,
}

/// One of the things that were done.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) took: Duration,
    pub(crate) score: Score,
    /// The names of tests that failed.
    pub(crate) failed: Vec<String>,
}

/// What went well and what did not.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Score {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Tests that said that they could not be done here.
    pub(crate) skipped: u64,
}

impl Report {
    /// Does something that counts as one test.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> Result<()>) {
        println!("test: {name}");
        let start = now();
        let well = check()
            .inspect_err(|error| println!("test: {name}: {error:#}"))
            .is_ok();
        self.steps.push(Step {
            name: name.to_owned(),
            took: start.elapsed(),
            score: Score::of(well),
            failed: Vec::new(),
        });
    }

    /// Runs tests, shows what they write, and adds up their results.
    pub(crate) fn tests(&mut self, name: &str, command: &mut Command) {
        println!("test: {name}");
        let start = now();
        let mut score = Score::default();
        let mut failed = Vec::new();
        let ended = suite::each_line(command, |line| {
            println!("{line}");
            score.add(Score::read(line));
            failed.extend(failed_test(line).map(str::to_owned));
        });
        let well = ended.unwrap_or_else(|error| {
            println!("test: {name}: {error:#}");
            false
        });
        if !well && score.failed == 0 {
            // It ended before it could say so.
            score.failed = 1;
        }
        self.steps.push(Step {
            name: name.to_owned(),
            took: start.elapsed(),
            score,
            failed,
        });
    }

    /// Adds something that was done.
    pub(crate) fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// What was done so far.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What a task ends with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        if self.total().failed > 0 {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }

    fn total(&self) -> Score {
        self.steps.iter().fold(Score::default(), |mut total, step| {
            total.add(step.score);
            total
        })
    }
}

impl Score {
    fn of(well: bool) -> Self {
        Self {
            passed: well.into(),
            failed: (!well).into(),
            skipped: 0,
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// The numbers of a line such as `test result: ok. 5 passed; 0 failed; 0 ignored`.
    pub(crate) fn read(line: &str) -> Self {
        let Some(("", rest)) = line.split_once("test result: ") else {
            return Self::default();
        };
        let words: Vec<&str> = rest.split_whitespace().collect();
        let before = |name: &str| {
            words
                .windows(2)
                .find(|pair| pair[1].starts_with(name))
                .and_then(|pair| pair[0].parse().ok())
        };
        Self {
            passed: before("passed").unwrap_or(0),
            failed: before("failed").unwrap_or(0),
            skipped: 0,
        }
    }
}

/// The name in a line such as `test shares_add_up ... FAILED`.
pub(crate) fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took: Duration = self.steps.iter().map(|step| step.took).sum();
        for step in &self.steps {
            let seconds = step.took.as_secs_f64();
            writeln!(f, "{seconds:>7.1} s  {:<26} {}", step.name, step.score)?;
            for test in &step.failed {
                writeln!(f, "{:>9}  failed: {test}", "")?;
            }
        }
        writeln!(f, "{:>7.1} s  in all", took.as_secs_f64())?;
        write!(f, "{}", self.total())
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read() {
        check(
            "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
            (5, 0),
        );
        check("test result: FAILED. 4 passed; 2 failed; 0 ignored", (4, 2));
        check("test shares_add_up ... ok", (0, 0));
    }

    #[test]
    fn names_of_failed_tests_are_read() {
        assert_eq!(
            failed_test("test share::adds_up ... FAILED"),
            Some("share::adds_up")
        );
        assert_eq!(failed_test("test share::adds_up ... ok"), None);
        assert_eq!(failed_test("test result: FAILED. 4 passed; 2 failed"), None);
    }

    #[test]
    fn failures_are_counted_and_named_and_the_total_is_last() {
        let mut report = Report::default();
        report.check("good", || Ok(()));
        report.check("bad", || anyhow::bail!("no"));
        report.tests(
            "one of two",
            &mut shell_script(
                "echo 'test a ... FAILED'; echo 'test result: FAILED. 1 passed; 1 failed'; exit 101",
            ),
        );
        report.tests("killed", &mut shell_script("kill -9 $$"));
        report.tests("missing", &mut Command::new("no-such-program"));
        let text = report.to_string();
        assert!(text.contains("failed: a\n"), "{text}");
        assert_eq!(text.lines().last(), Some("2 passed, 4 failed"));
    }

    fn shell_script(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[track_caller]
    fn check(line: &str, want: (u64, u64)) {
        let score = Score::read(line);
        assert_eq!((score.passed, score.failed), want);
    }
}
