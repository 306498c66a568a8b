//! What came of each profile on each kernel.

use std::{fmt, time::Duration};

use crate::report::{Score, Step};

/// A line for each profile on each kernel.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    kernel: String,
    profile: String,
    score: Score,
    took: Duration,
}

impl Table {
    /// Adds up the modules of tests: steps are named by kernel, profile and module.
    pub(crate) fn new(steps: &[Step]) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for step in steps {
            let mut words = step.name.split_whitespace();
            let mut word = || words.next().unwrap_or_default().to_owned();
            let (kernel, profile) = (word(), word());
            let known = rows
                .iter_mut()
                .find(|row| (&row.kernel, &row.profile) == (&kernel, &profile));
            if let Some(row) = known {
                row.score.add(step.score);
                row.took += step.took;
            } else {
                rows.push(Row {
                    kernel,
                    profile,
                    score: step.score,
                    took: step.took,
                });
            }
        }
        Self { rows }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel  profile      passed  failed  skipped  seconds")?;
        for row in &self.rows {
            let Score {
                passed,
                failed,
                skipped,
            } = row.score;
            let seconds = row.took.as_secs_f64();
            let (kernel, profile) = (&row.kernel, &row.profile);
            write!(
                f,
                "\n{kernel:<6}  {profile:<11}  {passed:>6}  {failed:>6}  {skipped:>7}  {seconds:>7.1}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modules_of_a_profile_are_added_up() {
        let step = |name: &str, passed, skipped, seconds| Step {
            name: name.to_owned(),
            took: Duration::from_secs(seconds),
            score: Score {
                passed,
                skipped,
                ..Score::default()
            },
            failed: Vec::new(),
        };
        let steps = [
            step("6.1 plain answers", 4, 0, 60),
            step("6.1 plain paths", 2, 1, 30),
            step("6.1 loss-5 answers", 4, 0, 90),
        ];
        let text = Table::new(&steps).to_string();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        let want = [
            "6.1     plain             6       0        1     90.0",
            "6.1     loss-5            4       0        0     90.0",
        ];
        assert_eq!(lines, want);
    }
}
