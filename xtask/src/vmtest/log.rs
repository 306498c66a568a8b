//! What a machine says, and what it means.

use std::{mem, time::Instant};

use anyhow::{Result, ensure};
use dfaas_testbed::now;

use super::{instructions, machine::Said, plan::Run};
use crate::report::{Score, Step};

/// What a test says that cannot be done.
const SKIPPED: &str = "SKIPPED: ";

/// What a machine has said.
pub(crate) struct Log {
    kernel: &'static str,
    steps: Vec<Step>,
    /// The run that is under way.
    current: Option<(Step, Instant)>,
    /// The test that is under way in it.
    test: Option<String>,
    /// What verifiers processed that the table does not allow.
    findings: Vec<String>,
}

impl Log {
    pub(crate) fn new(kernel: &'static str) -> Self {
        Self {
            kernel,
            steps: Vec::new(),
            current: None,
            test: None,
            findings: Vec::new(),
        }
    }

    /// Takes what the machine says, and shows it.
    pub(crate) fn see(&mut self, said: &Said<'_>) {
        match said {
            Said::Begin(name) => {
                println!("vmtest: {}: {name}", self.kernel);
                let step = Step {
                    name: format!("{} {name}", self.kernel),
                    ..Step::default()
                };
                self.current = Some((step, now()));
            }
            Said::End(status) => self.end(*status),
            Said::Line(line) => self.line(line),
        }
    }

    fn line(&mut self, line: &str) {
        println!("{line}");
        let Some((step, _)) = &mut self.current else {
            return;
        };
        step.score.add(Score::read(line));
        // The harness counts a test that says so among those that passed.
        step.score.skipped += u64::from(line.contains(SKIPPED));
        if let Some((name, _)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... "))
        {
            self.test = Some(name.to_owned());
        }
        // What a test says at once stands between its name and what came of it.
        match line.rsplit(" ... ").next() {
            Some("ok") => self.test = None,
            Some("FAILED") => step.failed.extend(self.test.take()),
            _ => {}
        }
        self.findings.extend(instructions::check(self.kernel, line).err());
    }

    fn end(&mut self, status: i32) {
        let Some((mut step, start)) = self.current.take() else {
            return;
        };
        step.took = start.elapsed();
        // It ended before it could say so, or there was nothing to do, which nobody asks for.
        if step.score.failed == 0 && (status != 0 || step.score.passed == 0) {
            step.score.failed = 1;
            step.failed.extend(self.test.take());
        }
        step.score.passed = step.score.passed.saturating_sub(step.score.skipped);
        self.steps.push(step);
    }

    /// Whether all runs ended, and no verifier had to do more than it may.
    ///
    /// # Errors
    ///
    /// When that is not so.
    pub(crate) fn finish(&mut self, runs: &[Run]) -> Result<()> {
        if self.current.is_some() {
            self.end(-1);
        }
        let done = self.steps.len();
        ensure!(
            done == runs.len(),
            "the machine did {done} of {} runs",
            runs.len()
        );
        ensure!(self.findings.is_empty(), "{}", self.findings.join("; "));
        Ok(())
    }

    /// The runs that were done.
    pub(crate) fn steps(&mut self) -> impl Iterator<Item = Step> {
        mem::take(&mut self.steps).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_ended_well_is_counted() {
        let lines = ["test a ... ok", "test result: ok. 3 passed; 0 failed; 0 ignored"];
        check(&lines, Some(0), (3, 0));
    }

    #[test]
    fn failed_tests_are_named_though_they_said_something_or_never_ended() {
        let mut log = Log::new("5.10");
        log.see(&Said::Begin("plain"));
        for line in [
            "test a ... ok",
            "test b ... half of it",
            "FAILED",
            "test c ... FAILED",
        ] {
            log.see(&Said::Line(line));
        }
        log.see(&Said::End(101));
        log.see(&Said::Begin("loss-1"));
        log.see(&Said::Line("test d ... "));
        log.see(&Said::End(124));
        let failed: Vec<_> = log.steps().map(|step| step.failed).collect();
        assert_eq!(failed, [vec!["b", "c"], vec!["d"]]);
    }

    #[test]
    fn a_test_that_says_it_was_skipped_did_not_pass() {
        let lines = [
            "test a ... SKIPPED: a VLAN: no such device",
            "ok",
            "test result: ok. 1 passed; 0 failed; 0 ignored",
        ];
        check(&lines, Some(0), (0, 0));
    }

    #[test]
    fn a_run_that_failed_or_did_nothing_is_counted_as_failed() {
        check(
            &["test a ... FAILED", "test result: FAILED. 2 passed; 1 failed"],
            Some(101),
            (2, 1),
        );
        check(&["Killed"], Some(137), (0, 1));
        check(
            &["test result: ok. 0 passed; 0 failed; 0 ignored"],
            Some(0),
            (0, 1),
        );
        check(&["test a ... "], None, (0, 1));
    }

    #[track_caller]
    fn check(lines: &[&str], status: Option<i32>, want: (u64, u64)) {
        let mut log = Log::new("5.10");
        log.see(&Said::Begin("plain"));
        lines.iter().for_each(|line| log.see(&Said::Line(line)));
        if let Some(status) = status {
            log.see(&Said::End(status));
        }
        assert!(log.finish(&[]).is_err(), "one run too many");
        let steps: Vec<Step> = log.steps().collect();
        assert_eq!(steps.len(), 1);
        assert_eq!(steps[0].name, "5.10 plain");
        assert_eq!((steps[0].score.passed, steps[0].score.failed), want);
    }
}
